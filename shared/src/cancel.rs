//! The one job: move a payment to its canceled status, if it may be canceled, and report truly
//! whether that happened.

use std::future::Future;

use tracing::error;
use uuid::Uuid;

use crate::{
    auth::{AuthError, Merchant, Signature},
    budget::Budget,
    clock::{Timestamp, milliseconds},
    error::{Fault, StoreError},
    idempotency::{Fingerprint, IdempotencyKey, Token},
    limits::SIGNATURE_RETENTION,
    payment::{Attribute, Cancellation, Payment, Statuses},
};

/// What a provider read from the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelCommand {
    /// The payment's id as its key has it, if it is not the path's.
    pub payment_id: Option<String>,
    /// The idempotency key that the body carries (VTEX's `requestId`). It takes precedence over the
    /// `Idempotency-Key` header.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The caller's reason.
    pub reason: Option<String>,
    /// Of everything that makes two requests the same.
    pub fingerprint: Fingerprint,
}

impl CancelCommand {
    /// A command for the path's payment, with the header's key and without a reason.
    #[must_use]
    pub fn new(fingerprint: Fingerprint) -> Self {
        Self { payment_id: None, idempotency_key: None, reason: None, fingerprint }
    }
}

/// Every outcome of a cancel. Providers match it in full, so a forgotten case does not compile.
pub type Outcome = Result<Canceled, CancelError>;

/// The payment is canceled, by this request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canceled {
    /// As it is now.
    pub payment: Payment,
    /// An earlier request with the same key canceled it.
    pub replayed: bool,
}

/// Why a payment was not canceled, or is not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CancelError {
    /// The request is invalid. Nothing was done.
    #[error(transparent)]
    Malformed(#[from] Fault),
    /// The path is not the provider's. Nothing was done.
    #[error("no such endpoint")]
    NoSuchEndpoint,
    /// No credential, or one that is unknown, wrong or expired. Nothing was done.
    #[error("unauthenticated")]
    Unauthenticated,
    /// The credential is right, but disabled. Nothing was done.
    #[error("the credential is disabled")]
    Forbidden,
    /// The merchant has no such payment.
    #[error("the merchant has no such payment")]
    NotFound,
    /// The payment as it is: its status is not cancelable, or only a person may cancel it.
    #[error("the payment is not cancelable")]
    NotCancelable(Box<Payment>),
    /// The idempotency key has already canceled this payment, and the first response does not fit
    /// this request.
    #[error(transparent)]
    KeyReused(KeyReuse),
    /// The store did not take the write: the payment is not canceled by this request.
    #[error("the store is unavailable; nothing was written")]
    Unavailable,
    /// The store gave no definite response: the payment may or may not be canceled.
    #[error("the payment may or may not be canceled")]
    Undecided {
        /// A retry with the same key gets the true outcome. Without a key, it gets "already
        /// canceled" if the payment is.
        keyed: bool,
    },
    /// A fault of ours or of the item, described in the log. Nothing was written.
    #[error("internal error; nothing was written")]
    Internal,
}

/// How an idempotency key is used up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyReuse {
    /// It canceled the payment for a request with another fingerprint.
    #[error("Idempotency-Key was already used to cancel this payment with another body")]
    OtherRequest,
    /// It canceled the payment, which has been re-opened since. One key makes one transition.
    #[error("Idempotency-Key was already used to cancel this payment, which was re-opened since")]
    Reopened(Box<Payment>),
}

impl CancelError {
    /// The outcome as logs and metrics name it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::NoSuchEndpoint => "no_such_endpoint",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::NotCancelable(_) => "not_cancelable",
            Self::KeyReused(_) => "key_reused",
            Self::Unavailable => "unavailable",
            Self::Undecided { .. } => "undecided",
            Self::Internal => "internal",
        }
    }
}

impl From<AuthError> for CancelError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Unauthenticated => Self::Unauthenticated,
            AuthError::Forbidden => Self::Forbidden,
            AuthError::Unavailable => Self::Unavailable,
            AuthError::Internal => Self::Internal,
        }
    }
}

/// Where a payment is stored: `{provider}#{merchant_id}#{payment_id}`.
///
/// The merchant is part of the key, so another merchant's payment is simply another key: *missing*
/// and *not yours* are the same read, at the same cost, with the same response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentKey {
    merchant_id: String,
    payment_id: String,
    pk: String,
}

impl PaymentKey {
    /// The key of `merchant`'s payment `payment_id`. Only [`auth`](crate::auth) makes a
    /// [`Merchant`], so an unauthenticated caller cannot name a payment.
    #[must_use]
    pub fn new(provider: &str, merchant: &Merchant, payment_id: String) -> Self {
        let pk = format!("{provider}#{}#{payment_id}", merchant.id());
        Self { merchant_id: merchant.id().to_owned(), payment_id, pk }
    }

    /// The table's partition key.
    #[must_use]
    pub fn pk(&self) -> &str {
        &self.pk
    }

    /// The merchant's part.
    #[must_use]
    pub fn merchant_id(&self) -> &str {
        &self.merchant_id
    }

    /// The payment's part.
    #[must_use]
    pub fn payment_id(&self) -> &str {
        &self.payment_id
    }
}

/// The transition that a store makes atomically, or not at all.
#[derive(Debug, Clone)]
pub struct Transition {
    /// Which payment.
    pub key: PaymentKey,
    /// From which statuses, to which.
    pub statuses: Statuses,
    /// What the success response cannot do without.
    pub required: &'static [Attribute],
    /// When: `canceled_at` and `updated_at`.
    pub at: String,
    /// The record to leave on the payment.
    pub cancellation: Cancellation,
}

impl Transition {
    /// Whether `payment` was once canceled with this transition's token.
    #[must_use]
    pub fn is_token_of(&self, payment: &Payment) -> bool {
        payment.cancellation_with(&self.cancellation.token).is_some()
    }
}

/// The port to the payments table.
///
/// It has one method, the atomic transition itself. There is no `find` and no `save`, so
/// get-then-put cannot be written.
pub trait Payments: Send + Sync + 'static {
    /// Moves a payment to its canceled status if its status is cancelable, no flag reserves it for
    /// a person, it does not carry this transition's token, and it has the required attributes. All
    /// of it or nothing, decided by the store at one moment.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not decide, or cannot use the item.
    fn transition(
        &self,
        transition: &Transition,
        budget: &Budget,
    ) -> impl Future<Output = Result<TransitionResult, StoreError>> + Send;
}

/// What the store decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransitionResult {
    /// The transition is made. The payment after it.
    Transitioned(Payment),
    /// The condition was false. The payment at that moment, or `None` if there is none.
    ConditionFailed(Option<Payment>),
}

/// The use of a signature for one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureUse {
    /// `{provider}.signature#{merchant_id}#{digest}`, in the payments table. No provider's name has
    /// a dot, so this is no payment's key.
    pub pk: String,
    /// The payment's id as its key has it.
    pub payment_id: String,
    /// When it may be deleted, in seconds since 1970.
    pub expires_at: i64,
}

impl SignatureUse {
    /// The use of `merchant`'s `signature` for `payment_id`.
    #[must_use]
    pub fn new(
        provider: &str,
        merchant: &Merchant,
        signature: &Signature,
        payment_id: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            pk: format!("{provider}.signature#{}#{}", merchant.id(), signature.digest()),
            payment_id: payment_id.to_owned(),
            expires_at: now.as_second().saturating_add_unsigned(SIGNATURE_RETENTION.as_secs()),
        }
    }
}

/// The port to the used signatures, which are in the payments table: a function may write there.
pub trait Signatures: Send + Sync + 'static {
    /// Records the use: `true` the first time, and for the same payment again; `false` if the
    /// signature was used for another payment. Decided by the store at one moment.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not decide.
    fn claim(
        &self,
        signature: &SignatureUse,
        budget: &Budget,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// Records the use of a signature for a payment, before the payment is touched. Where a protocol
/// signs neither path nor method, a captured request would otherwise cancel other payments.
///
/// # Errors
/// [`CancelError::Unauthenticated`] if it was used for another payment.
/// [`CancelError::Unavailable`] or [`CancelError::Internal`] if the store did not decide: the
/// payment is untouched either way.
pub async fn claim(
    store: &impl Signatures,
    signature: &SignatureUse,
    budget: &Budget,
) -> Result<(), CancelError> {
    match store.claim(signature, budget).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(CancelError::Unauthenticated),
        Err(StoreError::Undecided | StoreError::Unavailable) => Err(CancelError::Unavailable),
        Err(StoreError::Internal) => Err(CancelError::Internal),
    }
}

/// One cancel, with everything that it needs.
#[derive(Debug)]
pub struct Cancel {
    /// Which payment.
    pub key: PaymentKey,
    /// The provider's statuses.
    pub statuses: Statuses,
    /// What the provider's success response cannot do without.
    pub required: &'static [Attribute],
    /// Names this request.
    pub token: Token,
    /// Of everything that makes two requests the same.
    pub fingerprint: Fingerprint,
    /// The caller's reason.
    pub reason: Option<String>,
    /// Whether the client chose the token, and so can retry with it.
    pub keyed: bool,
    /// Our clock.
    pub now: Timestamp,
}

/// Cancels: one conditional write, whose condition is the status check.
///
/// When a response is lost, the SDK retries the write. The retry finds the payment already canceled
/// by the first attempt. The token on it shows whose cancel that was, so a lost response never
/// turns into a conflict that did not happen.
///
/// # Errors
/// Every [`CancelError`] but those of reading the request.
pub async fn cancel(store: &impl Payments, cancel: Cancel, budget: &Budget) -> Outcome {
    let Cancel { key, statuses, required, token, fingerprint, reason, keyed, now } = cancel;
    let transition = Transition {
        key,
        statuses,
        required,
        at: milliseconds(now),
        cancellation: Cancellation {
            id: Uuid::new_v4().simple().to_string(),
            token: token.as_str().to_owned(),
            fingerprint: fingerprint.as_str().to_owned(),
            reason,
        },
    };
    match store.transition(&transition, budget).await {
        Ok(TransitionResult::Transitioned(payment)) => Ok(Canceled { payment, replayed: false }),
        Ok(TransitionResult::ConditionFailed(found)) => condition_failed(found, &transition),
        Err(StoreError::Undecided) => Err(CancelError::Undecided { keyed }),
        Err(StoreError::Unavailable) => Err(CancelError::Unavailable),
        Err(StoreError::Internal) => Err(CancelError::Internal),
    }
}

/// What a failed condition means, from the payment as it was at that moment.
fn condition_failed(found: Option<Payment>, transition: &Transition) -> Outcome {
    let Some(payment) = found else {
        return Err(CancelError::NotFound);
    };
    let ours = &transition.cancellation;
    let open = transition.statuses.is_cancelable(&payment.status) && !payment.manual_cancellation;
    let canceled = payment.status == transition.statuses.canceled;
    let last = payment.cancellation.as_ref();
    let own = if open {
        payment.cancellation_with(&ours.token)
    } else {
        last.filter(|last| canceled && last.token == ours.token)
    };
    if let Some(made) = own {
        if made.fingerprint != ours.fingerprint {
            return Err(CancelError::KeyReused(KeyReuse::OtherRequest));
        }
        if open {
            let reopened = KeyReuse::Reopened(Box::new(payment));
            return Err(CancelError::KeyReused(reopened));
        }
        // With the id of this very call it is our own write, whose response was lost.
        let replayed = made.id != ours.id;
        return Ok(Canceled { payment, replayed });
    }
    if open {
        let missing = transition.required.iter();
        let missing = missing
            .filter(|attribute| !attribute.is_in(&payment))
            .map(|attribute| attribute.name())
            .collect::<Vec<_>>();
        // If nothing is missing, the condition was false for the token, whatever stands beside it.
        if missing.is_empty() {
            let reopened = KeyReuse::Reopened(Box::new(payment));
            return Err(CancelError::KeyReused(reopened));
        }
        error!(
            pk = transition.key.pk(),
            attributes = missing.join(", "),
            "the payment was not canceled: it lacks what the provider's response needs"
        );
        return Err(CancelError::Internal);
    }
    Err(CancelError::NotCancelable(Box::new(payment)))
}
