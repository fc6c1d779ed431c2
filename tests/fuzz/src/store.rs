//! A store with one payment under every key, so that no input has to guess one.

use std::sync::{Arc, Mutex, MutexGuard};

use shared::{
    auth::CredentialRecord,
    cancel::{Claim, Transition},
    payment::Payment,
    store::{Credentials, Payments, Signatures, StoreError, Verdict},
};
use tokio::time::Instant;

/// Both tables, and what became of them.
#[derive(Debug, Clone)]
pub struct Store(Arc<Mutex<Tables>>);

/// What they hold.
#[derive(Debug)]
pub struct Tables {
    /// The one known credential and its key; without a key it is found under any.
    pub credential: (Option<String>, CredentialRecord),
    /// The one payment, whatever key it is asked for by, or what the store says instead.
    pub payment: Result<Option<Payment>, StoreError>,
    /// Whether the cancellation that is already there was made with the request's own key, and if so for the same request.
    pub own: Option<bool>,
    /// Of how many transitions it was asked.
    pub asked: usize,
}

impl Store {
    /// A store of these tables.
    #[must_use]
    pub fn new(tables: Tables) -> Self {
        Self(Arc::new(Mutex::new(tables)))
    }

    /// The tables as they are.
    ///
    /// # Panics
    /// Where somebody panicked with them.
    pub fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().expect("nobody has panicked")
    }
}

impl Payments for Store {
    async fn transition(&self, wanted: &Transition) -> Result<Verdict, StoreError> {
        let mut tables = self.tables();
        tables.asked += 1;
        let own = tables.own;
        let Some(payment) = tables.payment.as_mut().map_err(|error| *error)? else {
            return Ok(Verdict::Refused(None));
        };
        wanted.key.payment_id().clone_into(&mut payment.id);
        wanted
            .key
            .merchant_id()
            .clone_into(&mut payment.merchant_id);
        if let (Some(same), Some(made)) = (own, &mut payment.cancellation) {
            made.token.clone_from(&wanted.cancellation.token);
            if same {
                made.fingerprint
                    .clone_from(&wanted.cancellation.fingerprint);
            }
        }
        let cancelable = wanted.statuses.cancelable;
        if payment.manual_cancellation || !cancelable.contains(&payment.status.as_str()) {
            return Ok(Verdict::Refused(Some(payment.clone())));
        }
        wanted.statuses.canceled.clone_into(&mut payment.status);
        payment.canceled_at = Some(wanted.at.clone());
        payment.updated_at = Some(wanted.at.clone());
        payment.cancellation = Some(wanted.cancellation.clone());
        Ok(Verdict::Made(payment.clone()))
    }
}

impl Signatures for Store {
    async fn claim(&self, _: &Claim) -> Result<bool, StoreError> {
        unreachable!("not asked for in these settings")
    }
}

impl Credentials for Store {
    async fn find(&self, pk: &str, _: Instant) -> Result<Option<CredentialRecord>, StoreError> {
        let tables = self.tables();
        let (key, record) = &tables.credential;
        let found = key.as_ref().is_none_or(|key| key == pk);
        Ok(found.then(|| record.clone()))
    }
}
