//! The ports to the tables, and their adapters.
//!
//! The payments port is one method, the atomic transition itself. There is no `find` and no `save`, so get-then-put cannot be
//! written. Used signatures have a port of their own, as narrow: nobody can ask of one without using it.

#[cfg(feature = "lambda")]
pub mod dynamodb;
pub mod memory;
pub(crate) mod tally;

use std::future::Future;

use tokio::time::Instant;

use crate::{
    auth::CredentialRecord,
    cancel::{Claim, Transition},
    payment::Payment,
};

/// The payments table.
pub trait Payments: Send + Sync + 'static {
    /// Moves a payment to its canceled word if its status is one of the cancelable words, no flag reserves it for a person, and every
    /// attribute that an answer is written from is there. All of it or nothing, decided by the store at one moment.
    ///
    /// # Errors
    /// [`StoreError`] where the store did not say which, or the item breaks the data model.
    fn transition(
        &self,
        wanted: &Transition,
    ) -> impl Future<Output = Result<Verdict, StoreError>> + Send;
}

/// The credentials table.
pub trait Credentials: Send + Sync + 'static {
    /// The item under that key, `{provider}#{key id}`. After `until` nobody waits for it any more.
    ///
    /// # Errors
    /// [`StoreError`] where it could not be read.
    fn find(
        &self,
        pk: &str,
        until: Instant,
    ) -> impl Future<Output = Result<Option<CredentialRecord>, StoreError>> + Send;
}

/// The used signatures, in the payments table: that is where a function may write.
pub trait Signatures: Send + Sync + 'static {
    /// Lets a signature serve a payment: `true` the first time and for the same payment again, `false` where it serves another. Decided by the
    /// store at one moment.
    ///
    /// # Errors
    /// [`StoreError`] where the store did not say which.
    fn claim(&self, wanted: &Claim) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// All that a cancel needs.
pub trait Store: Payments + Credentials + Signatures {}

impl<S: Payments + Credentials + Signatures> Store for S {}

/// What the store decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The transition is made; the payment after it.
    Made(Payment),
    /// The condition did not hold; the payment as it was at that moment, or `None` where there is none.
    Refused(Option<Payment>),
}

/// Why a store did not decide. The reason has been logged by the store, which alone knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError {
    /// No definite answer: the transition may or may not have been made.
    Undecided,
    /// The store, or the item in it, is not as it must be; an operator has to look.
    Internal,
}
