//! The payment as its table holds it.

use std::collections::BTreeMap;

use crate::json::Json;

/// A payment.
///
/// Its status is the provider's own and is never translated: similar statuses of two providers are
/// two facts. Attributes that a response only shows are kept as stored, whatever their type, and
/// decide nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Payment {
    /// The provider's id of it.
    pub id: String,
    /// The merchant's id.
    pub merchant_id: String,
    /// The provider's own status.
    pub status: String,
    /// Minor units of `currency`.
    pub amount: Json,
    /// ISO 4217, in any case.
    pub currency: Json,
    /// RFC 3339, UTC, milliseconds.
    pub created_at: Json,
    /// RFC 3339, UTC, milliseconds.
    pub updated_at: Json,
    /// RFC 3339, UTC, milliseconds. When it was canceled, if it was.
    pub canceled_at: Json,
    /// Only a person may cancel it.
    pub manual_cancellation: bool,
    /// The provider's other fields, as the payment's creator stored them.
    pub details: BTreeMap<String, Json>,
    /// The cancel that was made here, if one was.
    pub cancellation: Option<Cancellation>,
    /// Those before it, without their reasons. After each of them another service re-opened the
    /// payment.
    pub earlier_cancellations: Vec<Cancellation>,
}

impl Payment {
    /// The reason given for canceling it, if any.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.cancellation.as_ref()?.reason.as_deref()
    }

    /// The cancellation that was made with `token`, even if another one followed.
    #[must_use]
    pub fn cancellation_with(&self, token: &str) -> Option<&Cancellation> {
        let all = self.cancellation.iter().chain(&self.earlier_cancellations);
        all.into_iter().find(|made| made.token == token)
    }

    /// The stored detail of that name; null if there is none.
    #[must_use]
    pub fn detail(&self, name: &str) -> Json {
        self.details.get(name).cloned().unwrap_or_default()
    }
}

/// An attribute that a success response may be unable to do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// A number.
    Amount,
    /// A string.
    Currency,
}

impl Attribute {
    /// Its name in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amount => "amount",
            Self::Currency => "currency",
        }
    }

    /// Whether `payment` has it, with the type that responses need.
    #[must_use]
    pub fn is_in(self, payment: &Payment) -> bool {
        match self {
            Self::Amount => matches!(payment.amount, Json::Number(_)),
            Self::Currency => matches!(payment.currency, Json::Text(_)),
        }
    }
}

/// The record that a cancel leaves on the payment, in the same write that moves the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancellation {
    /// The id of this cancellation: 32 hexadecimal digits, new for every attempted cancel.
    pub id: String,
    /// The [`Token`](crate::idempotency::Token) of the request. A cancel that finds its own token
    /// has found its own write.
    pub token: String,
    /// The [`Fingerprint`](crate::idempotency::Fingerprint) of the request. A key that comes back
    /// with another one is refused.
    pub fingerprint: String,
    /// The caller's reason.
    pub reason: Option<String>,
}

/// A provider's statuses. The only decision is membership, and the store makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statuses {
    /// From which a payment may be canceled.
    pub cancelable: &'static [&'static str],
    /// To which it then moves.
    pub canceled: &'static str,
}

impl Statuses {
    /// Whether a payment in this status may be canceled.
    #[must_use]
    pub fn is_cancelable(&self, status: &str) -> bool {
        self.cancelable.contains(&status)
    }

    /// Whether `payment` could be canceled, but only by a person.
    #[must_use]
    pub fn only_manually(&self, payment: &Payment) -> bool {
        payment.manual_cancellation && self.is_cancelable(&payment.status)
    }
}
