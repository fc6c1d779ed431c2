//! Both tables in this process's memory, under the same contract, for tests that need millions of
//! runs. It shows that the domain depends on no DynamoDB type.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    auth::{CredentialRecord, Credentials},
    budget::Budget,
    cancel::{Payments, SignatureUse, Signatures, Transition, TransitionResult},
    error::StoreError,
    payment::{Cancellation, Payment},
};

/// Both tables.
#[derive(Debug, Default)]
pub struct MemoryStore {
    payments: Mutex<HashMap<String, Payment>>,
    credentials: Mutex<HashMap<String, CredentialRecord>>,
    signatures: Mutex<HashMap<String, String>>,
    credential_reads: AtomicUsize,
}

impl MemoryStore {
    /// Puts a payment under its partition key, and replaces what was there.
    pub fn put_payment(&self, pk: &str, payment: Payment) {
        lock(&self.payments).insert(pk.to_owned(), payment);
    }

    /// The payment under that partition key.
    #[must_use]
    pub fn payment(&self, pk: &str) -> Option<Payment> {
        lock(&self.payments).get(pk).cloned()
    }

    /// Puts a credential under its partition key, and replaces what was there.
    pub fn put_credential(&self, pk: &str, record: CredentialRecord) {
        lock(&self.credentials).insert(pk.to_owned(), record);
    }

    /// Deletes the credential under that partition key.
    pub fn delete_credential(&self, pk: &str) {
        lock(&self.credentials).remove(pk);
    }

    /// How many times a credential was looked up.
    #[must_use]
    pub fn credential_reads(&self) -> usize {
        self.credential_reads.load(Ordering::Relaxed)
    }
}

impl Payments for MemoryStore {
    async fn transition(
        &self,
        transition: &Transition,
        budget: &Budget,
    ) -> Result<TransitionResult, StoreError> {
        budget.count(false);
        let mut payments = lock(&self.payments);
        let Some(payment) = payments.get_mut(transition.key.pk()) else {
            return Ok(TransitionResult::ConditionFailed(None));
        };
        Ok(apply(transition, payment))
    }
}

/// The one write, on a payment in memory.
pub fn apply(transition: &Transition, payment: &mut Payment) -> TransitionResult {
    let condition = transition.statuses.is_cancelable(&payment.status)
        && !payment.manual_cancellation
        && !transition.is_token_of(payment)
        && transition.required.iter().all(|attribute| attribute.is_in(payment));
    if !condition {
        return TransitionResult::ConditionFailed(Some(payment.clone()));
    }
    transition.statuses.canceled.clone_into(&mut payment.status);
    payment.canceled_at = transition.at.as_str().into();
    payment.updated_at = transition.at.as_str().into();
    let last = payment.cancellation.replace(transition.cancellation.clone());
    payment.earlier_cancellations.extend(last.map(|last| Cancellation { reason: None, ..last }));
    TransitionResult::Transitioned(payment.clone())
}

impl Credentials for MemoryStore {
    async fn find(
        &self,
        pk: &str,
        budget: &Budget,
    ) -> Result<Option<CredentialRecord>, StoreError> {
        budget.count(false);
        self.credential_reads.fetch_add(1, Ordering::Relaxed);
        Ok(lock(&self.credentials).get(pk).cloned())
    }
}

impl Signatures for MemoryStore {
    async fn claim(&self, signature: &SignatureUse, budget: &Budget) -> Result<bool, StoreError> {
        budget.count(false);
        let mut signatures = lock(&self.signatures);
        let used_for =
            signatures.entry(signature.pk.clone()).or_insert_with(|| signature.payment_id.clone());
        Ok(*used_for == signature.payment_id)
    }
}

fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
