//! The payment as its table holds it.

use serde_json::{Map, Value};

use crate::auth::Merchant;

/// A payment. Its status is the provider's own word and is never translated: two providers' words that look alike are
/// two facts.
#[derive(Debug, Clone, PartialEq)]
pub struct Payment {
    /// The provider's id of it.
    pub id: String,
    /// Whose it is.
    pub merchant_id: String,
    /// The provider's own word.
    pub status: String,
    /// Integer minor units of `currency`.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// RFC 3339, UTC, milliseconds.
    pub created_at: String,
    /// RFC 3339, UTC, milliseconds.
    pub updated_at: Option<String>,
    /// RFC 3339, UTC, milliseconds; when it was canceled, if it was.
    pub canceled_at: Option<String>,
    /// Only a person may cancel it.
    pub manual_cancellation: bool,
    /// The provider's other fields, as the payment's creator stored them.
    pub details: Map<String, Value>,
    /// What canceled it, if we did.
    pub cancellation: Option<Cancellation>,
}

impl Payment {
    /// The reason that canceled it was given, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.cancellation.as_ref()?.reason.as_deref()
    }
}

/// The trace a cancel leaves on the payment, in the same write that moves the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancellation {
    /// Names this cancellation: 32 hexadecimal digits, made anew for every attempted cancel.
    pub id: String,
    /// The client's idempotency key, or the Lambda request id. A cancel that meets its own token has met itself.
    pub token: String,
    /// [`Fingerprint`](crate::cancel::Fingerprint) of the request, so that a key that comes back with another one is noticed.
    pub fingerprint: String,
    /// The caller's reason.
    pub reason: Option<String>,
}

/// Where a payment lies: `{provider}#{merchant_id}#{payment_id}`.
///
/// The merchant is part of the key, so another merchant's payment is simply another key: *missing* and *not yours* are the same
/// read, at the same cost, with the same answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentKey {
    merchant_id: String,
    payment_id: String,
    pk: String,
}

impl PaymentKey {
    /// The key of `merchant`'s payment `payment_id`. Only [`auth`](crate::auth) makes a [`Merchant`], so an unauthenticated
    /// caller cannot name a payment.
    #[must_use]
    pub fn new(provider: &str, merchant: &Merchant, payment_id: String) -> Self {
        let pk = format!("{provider}#{}#{payment_id}", merchant.id());
        Self {
            merchant_id: merchant.id().to_owned(),
            payment_id,
            pk,
        }
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
