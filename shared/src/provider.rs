//! One payment API, as its clients see it.

use serde::Serialize;

use crate::{
    auth::{Credential, Merchant},
    cancel::{CancelCommand, CancelError, Outcome},
    payment::Payment,
    request::Request,
};

/// A payment API: four facts and three pure functions. Everything else about a cancel is the same for all of them.
pub trait Provider: Send + Sync + 'static {
    /// The provider's folder, package, binary, key prefix and log field.
    const NAME: &'static str;
    /// The path, with one parameter: `/payments/{payment_id}/cancel`.
    const ROUTE: &'static str;
    /// The provider's own words.
    const STATUSES: Statuses;
    /// What the body is for.
    const BODY: Body;

    /// Who asks: the credential the request presents.
    ///
    /// # Errors
    /// [`CancelError::Unauthenticated`] without one, [`CancelError::Malformed`] where it cannot be told which.
    fn identify<'r>(request: &'r Request<'_>) -> Result<Credential<'r>, CancelError>;

    /// What `merchant` asks for.
    ///
    /// # Errors
    /// [`CancelError::Malformed`], or [`CancelError::NotFound`] where the id cannot be one of this provider's.
    fn read(request: &Request<'_>, merchant: &Merchant) -> Result<CancelCommand, CancelError>;

    /// The answer to every outcome. `merchant` is `None` where the request failed before there was one.
    fn write(outcome: &Outcome, request: &Request<'_>, merchant: Option<&Merchant>) -> Reply;
}

/// A provider's status words: the only decision is membership, and the store takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statuses {
    /// From which a payment may be canceled.
    pub cancelable: &'static [&'static str],
    /// To which it then moves.
    pub canceled: &'static str,
}

impl Statuses {
    /// Whether all that stands against canceling `payment` is that a person must do it.
    #[must_use]
    pub fn only_manually(&self, payment: &Payment) -> bool {
        payment.manual_cancellation && self.cancelable.contains(&payment.status.as_str())
    }
}

/// What a provider does with the request's body. Bytes that are not what it reads are refused before any look-up; whether there must be any,
/// the provider's [`read`](Provider::read) says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Reads it as a JSON object, whatever content type is declared.
    Json,
    /// Reads it as a JSON object, which must be declared as one.
    DeclaredJson,
    /// Takes it as bytes, or not at all.
    Bytes,
}

/// An answer, complete but for the headers that all answers share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Header lines beyond the shared ones; names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: String,
}

impl Reply {
    /// An answer with this status and body.
    #[must_use]
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        match serde_json::to_string(body) {
            Ok(body) => Self {
                status,
                headers: Vec::new(),
                body,
            },
            // Bodies are strings, numbers and maps with string keys, which always serialize.
            Err(_) => Self {
                status: 500,
                headers: Vec::new(),
                body: "{}".to_owned(),
            },
        }
    }

    /// The same answer with one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
