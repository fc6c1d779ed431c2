//! A store with one payment under every key, so that no input has to guess one.

use std::sync::{Arc, Mutex, MutexGuard};

use shared::{
    auth::{CredentialRecord, Credentials},
    budget::Budget,
    cancel::{Payments, SignatureUse, Signatures, Transition, TransitionResult},
    error::StoreError,
    payment::Payment,
    store::memory,
};

/// Both tables and their counts.
#[derive(Debug, Clone)]
pub struct Store(Arc<Mutex<Tables>>);

/// What they hold.
#[derive(Debug)]
pub struct Tables {
    /// The one known credential and its key; without a key it is found under any.
    pub credential: (Option<String>, CredentialRecord),
    /// The one payment, under every key, or the store's error instead.
    pub payment: Result<Option<Payment>, StoreError>,
    /// Whether the cancellation that is already there was made with the request's own key, and if
    /// so for the same request.
    pub own: Option<bool>,
    /// How many transitions were transitions for.
    pub transitions: usize,
}

impl Store {
    /// A store of these tables.
    #[must_use]
    pub fn new(tables: Tables) -> Self {
        Self(Arc::new(Mutex::new(tables)))
    }

    /// The tables.
    ///
    /// # Panics
    /// If a thread panicked while it held them.
    pub fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().expect("no test has panicked")
    }
}

impl Payments for Store {
    async fn transition(
        &self,
        transition: &Transition,
        _: &Budget,
    ) -> Result<TransitionResult, StoreError> {
        let mut tables = self.tables();
        tables.transitions += 1;
        let own = tables.own;
        let Some(payment) = tables.payment.as_mut().map_err(|error| *error)? else {
            return Ok(TransitionResult::ConditionFailed(None));
        };
        transition.key.payment_id().clone_into(&mut payment.id);
        let merchant_id = transition.key.merchant_id();
        merchant_id.clone_into(&mut payment.merchant_id);
        let ours = &transition.cancellation;
        if let (Some(same), Some(made)) = (own, &mut payment.cancellation) {
            made.token.clone_from(&ours.token);
            if same {
                made.fingerprint.clone_from(&ours.fingerprint);
            }
        }
        Ok(memory::apply(transition, payment))
    }
}

impl Signatures for Store {
    async fn claim(&self, _: &SignatureUse, _: &Budget) -> Result<bool, StoreError> {
        unreachable!("not called with these settings")
    }
}

impl Credentials for Store {
    async fn find(&self, pk: &str, _: &Budget) -> Result<Option<CredentialRecord>, StoreError> {
        let tables = self.tables();
        let (key, record) = &tables.credential;
        let found = key.as_ref().is_none_or(|key| key == pk);
        Ok(found.then(|| record.clone()))
    }
}
