//! The request, whatever front end carried it.

use std::sync::OnceLock;

use crate::{
    body::Object,
    cancel::{CancelError, Fault, FaultKind, IdempotencyKey},
    clock::Timestamp,
    headers::Headers,
    route,
};

/// The largest body that is read, in bytes. The largest a specification allows, Hyperswitch's 50 account details of 500 characters, is beyond it; real ones
/// are a few hundred bytes.
pub const MAX_BODY: usize = 16 * 1024;

/// What a front end delivers to the [service](crate::service).
#[derive(Debug, Clone, Default)]
pub struct Incoming {
    /// The invocation's id: the answer's `x-request-id`, and the cancellation's token where the client sent no key.
    pub request_id: String,
    /// The trace that the invocation belongs to, as X-Ray names it: `1-5759e988-bd862e3fe1be46a994272793`.
    pub trace_id: Option<String>,
    /// `POST`, or something else.
    pub method: String,
    /// With or without a stage in front.
    pub path: String,
    /// The front end's own reading of the path, if it has one.
    pub path_parameters: Vec<(String, String)>,
    /// Whether the front end has percent-decoded both.
    pub decoded: bool,
    /// All of them, in order.
    pub headers: Headers,
    /// As the client sent it: base64 already undone.
    pub body: Vec<u8>,
    /// When the answer must have left.
    pub deadline: Option<Timestamp>,
    /// Why the front end's event could not be read, if it could not.
    pub fault: Option<Fault>,
}

/// What a [provider](crate::provider::Provider) sees of it. The body's JSON is parsed once, when first asked for.
#[derive(Debug)]
pub struct Request<'a> {
    /// From the path, decoded; empty where the path names none.
    pub payment_id: String,
    /// Whether the path is the provider's.
    pub on_route: bool,
    /// The request's headers.
    pub headers: &'a Headers,
    /// The body's bytes as the client sent them.
    pub body: &'a [u8],
    /// Our clock when it arrived.
    pub received_at: Timestamp,
    json: OnceLock<Result<Object<'a>, Fault>>,
}

impl<'a> Request<'a> {
    /// The request that `incoming` is, under a provider's `route`.
    #[must_use]
    pub fn new(incoming: &'a Incoming, route: &str, received_at: Timestamp) -> Self {
        let path = route::Path {
            text: &incoming.path,
            parameters: &incoming.path_parameters,
            decoded: incoming.decoded,
        };
        let payment_id = route::payment_id(route, &path);
        Self {
            on_route: payment_id.is_some(),
            payment_id: payment_id.map(Into::into).unwrap_or_default(),
            headers: &incoming.headers,
            body: &incoming.body,
            received_at,
            json: OnceLock::new(),
        }
    }

    /// The body as a JSON object.
    ///
    /// # Errors
    /// As [`Object::parse`]; an empty body is one of them.
    pub fn json(&self) -> Result<&Object<'a>, Fault> {
        self.json
            .get_or_init(|| Object::parse(self.body))
            .as_ref()
            .map_err(Clone::clone)
    }

    /// The same, for a provider that wants it declared: `content-type: application/json`, with or without parameters.
    ///
    /// # Errors
    /// [`FaultKind::ContentType`], and those of [`Request::json`].
    pub fn declared_json(&self) -> Result<&Object<'a>, Fault> {
        let declared = self.headers.single("Content-Type")?.unwrap_or_default();
        let kind = declared.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(Fault::new(FaultKind::ContentType, "Content type error"));
        }
        self.json()
    }

    /// The client's `Idempotency-Key`, if it sent one.
    ///
    /// # Errors
    /// [`CancelError::Malformed`] where it breaks [its rule](IdempotencyKey::RULE).
    pub fn idempotency_key(&self) -> Result<Option<IdempotencyKey>, CancelError> {
        const NAME: &str = "Idempotency-Key";
        let Some(text) = self.headers.single(NAME)? else {
            return Ok(None);
        };
        match IdempotencyKey::parse(text) {
            Some(key) => Ok(Some(key)),
            None => {
                let message = format!("{NAME} {}", IdempotencyKey::RULE);
                Err(Fault::new(FaultKind::Header, message).field(NAME).into())
            }
        }
    }
}
