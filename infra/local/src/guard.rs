//! Protects this machine's ports. They are on loopback, but any web page in this machine's browser
//! can send requests to them. A page whose name resolves to 127.0.0.1 (DNS rebinding) could also
//! read the responses.

use anyhow::Error;
use axum::{
    Json,
    http::{
        HeaderMap, StatusCode,
        header::{HOST, ORIGIN},
        uri::Authority,
    },
    response::{IntoResponse, Response},
};
use serde_json::json;

/// Why something was not done.
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) String);

impl Refusal {
    /// The request is wrong.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "message": self.1 }))).into_response()
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(StatusCode::BAD_GATEWAY, format!("{error:#}"))
    }
}

/// Refuses what a web page of another origin sends. A browser always names the origin, except for a
/// `GET`, which changes nothing here. No other client sends an `Origin`.
pub(crate) fn same_origin(headers: &HeaderMap) -> Result<(), Refusal> {
    let ours = match header(headers, ORIGIN.as_str()) {
        None => !headers.contains_key(ORIGIN),
        Some(origin) => origin.strip_prefix("http://").is_some_and(|origin| {
            header(headers, HOST.as_str()) == Some(origin)
                && origin.parse().as_ref().is_ok_and(loopback)
        }),
    };
    ours.then_some(()).ok_or_else(|| {
        let message = "a web page of another origin may do nothing here";
        Refusal(StatusCode::FORBIDDEN, message.to_owned())
    })
}

/// Refuses a request to any name but loopback's.
pub(crate) fn loopback_host(headers: &HeaderMap) -> Result<(), Refusal> {
    let host = header(headers, HOST.as_str()).and_then(|host| host.parse().ok());
    host.as_ref().is_some_and(loopback).then_some(()).ok_or_else(|| {
        let message = "the page opens at 127.0.0.1 or localhost only";
        Refusal(StatusCode::FORBIDDEN, message.to_owned())
    })
}

/// Whether the name is this machine's own, which no name server can give to another.
pub(crate) fn loopback(authority: &Authority) -> bool {
    let host = authority.host();
    host == "localhost" || host == "[::1]" || host == "127.0.0.1"
}

/// A header's value, where it is text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
