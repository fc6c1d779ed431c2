//! The request as a [provider](crate::provider::Provider) reads it.

use std::{borrow::Cow, collections::HashMap, sync::OnceLock};

use http::HeaderMap;

use crate::{
    clock::Timestamp,
    error::{Fault, FaultKind},
    headers::HeaderMapExt,
    idempotency::IdempotencyKey,
    json::Object,
};

/// About the Lambda invocation that carries a request: an extension of the [`http::Request`].
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The Lambda request id: the response's `x-request-id`.
    pub request_id: String,
    /// The X-Ray trace: `1-5759e988-bd862e3fe1be46a994272793`.
    pub trace_id: Option<String>,
    /// When the response must have left.
    pub deadline: Option<Timestamp>,
}

/// The event source's own reading of the path, percent-decoded: an extension of the
/// [`http::Request`].
#[derive(Debug, Clone, Default)]
pub struct PathParameters(pub HashMap<String, String>);

/// A request on its provider's route. The body's JSON is parsed once, when it is first needed.
#[derive(Debug)]
pub struct Request<'a> {
    /// From the path, decoded. Empty only where the request was refused before the path was read.
    pub payment_id: &'a str,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The body's bytes as the client sent them.
    pub body: &'a [u8],
    /// Our clock when it arrived.
    pub received_at: Timestamp,
    text: &'a Result<Cow<'a, str>, Fault>,
    json: OnceLock<Result<Object<'a>, Fault>>,
}

impl<'a> Request<'a> {
    /// The request of these parts. `text` is the body's [text](crate::json::text).
    #[must_use]
    pub fn new(
        payment_id: &'a str,
        headers: &'a HeaderMap,
        body: &'a [u8],
        text: &'a Result<Cow<'a, str>, Fault>,
        received_at: Timestamp,
    ) -> Self {
        Self { payment_id, headers, body, received_at, text, json: OnceLock::new() }
    }

    /// The body as a JSON object.
    ///
    /// # Errors
    /// As [`Object::parse`] and [`json::text`](crate::json::text). An empty body is one of them.
    pub fn json(&self) -> Result<&Object<'a>, Fault> {
        let parse = || Object::parse(self.text.as_ref().map_err(Clone::clone)?);
        self.json.get_or_init(parse).as_ref().map_err(Clone::clone)
    }

    /// The body as a JSON object, or `None` if it is empty, blank or `null`.
    ///
    /// # Errors
    /// As [`json`](Self::json).
    pub fn optional_json(&self) -> Result<Option<&Object<'a>>, Fault> {
        match self.text.as_deref().map(str::trim) {
            Ok("" | "null") => Ok(None),
            Ok(_) | Err(_) => self.json().map(Some),
        }
    }

    /// The body as a JSON object that is declared as one: `application/json`, `text/json` or
    /// `*/*+json`, with or without parameters.
    ///
    /// # Errors
    /// [`FaultKind::ContentType`], and those of [`json`](Self::json).
    pub fn declared_json(&self) -> Result<&Object<'a>, Fault> {
        let declared = self.headers.single("Content-Type")?.unwrap_or_default();
        let essence = declared.split(';').next().unwrap_or_default().trim();
        let is_json = essence.split_once('/').is_some_and(|(kind, subtype)| {
            let is = |text: &str, word| text.eq_ignore_ascii_case(word);
            is(subtype, "json") && (is(kind, "application") || is(kind, "text"))
                || subtype.rsplit_once('+').is_some_and(|(_, suffix)| is(suffix, "json"))
        });
        if !is_json {
            return Err(Fault::new(FaultKind::ContentType, "Content type error"));
        }
        self.json()
    }

    /// The client's `Idempotency-Key`, if it sent one.
    ///
    /// # Errors
    /// [`FaultKind::Header`] if it breaks [its rule](IdempotencyKey::RULE).
    pub fn idempotency_key(&self) -> Result<Option<IdempotencyKey>, Fault> {
        const NAME: &str = "Idempotency-Key";
        let Some(text) = self.headers.single(NAME)? else {
            return Ok(None);
        };
        IdempotencyKey::parse(text).map(Some).ok_or_else(|| {
            let message = format!("{NAME} {}", IdempotencyKey::RULE);
            Fault::new(FaultKind::Header, message).field(NAME)
        })
    }
}
