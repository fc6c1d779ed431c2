//! One payment API, as its clients see it.

use http::{Response, StatusCode};
use serde::Serialize;

use crate::{
    auth::{Credential, Merchant},
    cancel::{CancelCommand, CancelError, Outcome},
    request::Request,
};

pub use crate::payment::{Attribute, Statuses};

/// A payment API: a few facts and three pure functions. Everything else about a cancel is the same
/// for all of them.
pub trait Provider: Send + Sync + 'static {
    /// The provider's folder, package, binary, key prefix and log field.
    const NAME: &'static str;
    /// The path, with one parameter: `/payments/{payment_id}/cancel`.
    const ROUTE: &'static str;
    /// The provider's own statuses.
    const STATUSES: Statuses;
    /// What the body is for.
    const BODY: Body;
    /// What the success response cannot do without. An item that lacks it is refused unchanged.
    const REQUIRED: &'static [Attribute] = &[];
    /// The request headers that a browser may send, if it may call this API at all: its credential
    /// is then no secret.
    const BROWSER_HEADERS: &'static [&'static str] = &[];

    /// The credential that the request presents.
    ///
    /// # Errors
    /// [`CancelError::Unauthenticated`] without one. [`CancelError::Malformed`] if it is ambiguous.
    fn identify<'r>(request: &'r Request<'_>) -> Result<Credential<'r>, CancelError>;

    /// What `merchant` requests.
    ///
    /// # Errors
    /// [`CancelError::Malformed`]. [`CancelError::NotFound`] if the id cannot be this provider's.
    fn read(request: &Request<'_>, merchant: &Merchant) -> Result<CancelCommand, CancelError>;

    /// The response to every outcome, but for the headers that all responses share.
    fn write(exchange: &Exchange<'_, '_>) -> Response<String>;
}

/// A request and its outcome.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a, 'r> {
    /// What was requested.
    pub request: &'a Request<'r>,
    /// The caller. `None` if the request failed before there was one.
    pub merchant: Option<&'a Merchant>,
    /// What happened.
    pub outcome: &'a Outcome,
}

/// How a provider reads the body. A body of another form is refused before any lookup. Whether a
/// body is required is decided by the provider's [`read`](Provider::read).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// As a JSON object, whatever content type is declared.
    Json,
    /// As a JSON object, or as none if it is blank or `null`.
    OptionalJson,
    /// As a JSON object that must be declared as one.
    DeclaredJson,
    /// As bytes, or not at all.
    Bytes,
}

/// A response with this status and JSON body.
#[must_use]
pub fn json(status: u16, body: &impl Serialize) -> Response<String> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // Bodies are strings, numbers and maps with string keys, which always serialize.
    let body = serde_json::to_string(body).unwrap_or_else(|_| "{}".to_owned());
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
