//! Both tables in this process's memory, under the same contract: for tests that need millions of runs, and to keep the domain honest
//! about what it asks of a store.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::time::Instant;

use super::{Credentials, Payments, Signatures, StoreError, Verdict};
use crate::{
    auth::CredentialRecord,
    cancel::{Claim, Transition},
    payment::Payment,
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
    /// Puts a payment under its partition key, over whatever was there.
    pub fn put_payment(&self, pk: &str, payment: Payment) {
        lock(&self.payments).insert(pk.to_owned(), payment);
    }

    /// The payment under that partition key.
    #[must_use]
    pub fn payment(&self, pk: &str) -> Option<Payment> {
        lock(&self.payments).get(pk).cloned()
    }

    /// Puts a credential under its partition key, over whatever was there.
    pub fn put_credential(&self, pk: &str, record: CredentialRecord) {
        lock(&self.credentials).insert(pk.to_owned(), record);
    }

    /// Takes the credential under that partition key away.
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
    async fn transition(&self, wanted: &Transition) -> Result<Verdict, StoreError> {
        let mut payments = lock(&self.payments);
        let Some(payment) = payments.get_mut(wanted.key.pk()) else {
            return Ok(Verdict::Refused(None));
        };
        if payment.manual_cancellation
            || !wanted
                .statuses
                .cancelable
                .contains(&payment.status.as_str())
        {
            return Ok(Verdict::Refused(Some(payment.clone())));
        }
        payment.status = wanted.statuses.canceled.to_owned();
        payment.canceled_at = Some(wanted.at.clone());
        payment.updated_at = Some(wanted.at.clone());
        payment.cancellation = Some(wanted.cancellation.clone());
        Ok(Verdict::Made(payment.clone()))
    }
}

impl Credentials for MemoryStore {
    async fn find(&self, pk: &str, _: Instant) -> Result<Option<CredentialRecord>, StoreError> {
        self.credential_reads.fetch_add(1, Ordering::Relaxed);
        Ok(lock(&self.credentials).get(pk).cloned())
    }
}

impl Signatures for MemoryStore {
    async fn claim(&self, wanted: &Claim) -> Result<bool, StoreError> {
        let mut signatures = lock(&self.signatures);
        let served = signatures
            .entry(wanted.pk.clone())
            .or_insert_with(|| wanted.payment_id.clone());
        Ok(*served == wanted.payment_id)
    }
}

fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
