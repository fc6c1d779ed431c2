//! What can go wrong with a request, and with the store.

use std::borrow::Cow;

/// What is wrong with a request.
///
/// The message names kinds, rules and places, never a value: a request may carry secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// The category of the fault.
    pub kind: FaultKind,
    /// For the caller.
    pub message: String,
    /// The header or body field at fault, in its documented spelling.
    pub field: Option<Cow<'static, str>>,
    /// For [`FaultKind::Type`]: the type that was sent, and the expected one.
    pub types: Option<(&'static str, &'static str)>,
    /// The provider's own code, where it has one for this fault.
    pub code: Option<&'static str>,
}

/// The categories of [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The Lambda event is not an HTTP request.
    Event,
    /// A method other than `POST`.
    Method,
    /// The body is larger than [`MAX_BODY`](crate::limits::MAX_BODY).
    TooLarge,
    /// A header's value, or too many headers.
    Header,
    /// The body's content type.
    ContentType,
    /// The body's JSON syntax.
    Json,
    /// A body field that is missing or has another type.
    Type,
    /// A body field's value.
    Value,
}

impl Fault {
    /// A fault that `message` describes.
    #[must_use]
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), field: None, types: None, code: None }
    }

    /// The same fault, of this header or body field.
    #[must_use]
    pub fn field(self, field: impl Into<Cow<'static, str>>) -> Self {
        Self { field: Some(field.into()), ..self }
    }

    /// The same fault, under the provider's own code.
    #[must_use]
    pub fn code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// The HTTP status of such a fault; providers may document another.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.kind {
            FaultKind::TooLarge => 413,
            FaultKind::Method => 405,
            FaultKind::Event
            | FaultKind::Header
            | FaultKind::ContentType
            | FaultKind::Json
            | FaultKind::Type
            | FaultKind::Value => 400,
        }
    }
}

/// Why a store did not decide. The store has logged the reason, which it alone knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// At least one attempt may have been written.
    #[error("the write may or may not have been made")]
    Undecided,
    /// Nothing was written, and a retry may succeed.
    #[error("nothing was written; a retry may succeed")]
    Unavailable,
    /// Nothing was written, and an operator has to check the store or the item.
    #[error("nothing was written; the store or the item needs an operator")]
    Internal,
}
