//! The HTTP events that Lambda delivers, and the answers it takes: API Gateway's payload formats 1.0 and 2.0, Function URLs, and
//! load balancers with single and with multi-value headers. One struct reads them all in one pass, because what a cancel needs
//! of them lies in a handful of members whose names do not clash.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{
    cancel::{Fault, FaultKind},
    headers::Headers,
    provider::Reply,
    request::Incoming,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    /// REST APIs, payload 1.0, load balancers.
    http_method: Option<String>,
    path: Option<String>,
    /// Load balancers with multi-value headers send these only; API Gateway sends both, and the single ones then hold the last value.
    multi_value_headers: Option<BTreeMap<String, Vec<String>>>,
    /// Payload 2.0 and Function URLs.
    raw_path: Option<String>,
    /// All of them.
    headers: Option<BTreeMap<String, String>>,
    path_parameters: Option<BTreeMap<String, String>>,
    request_context: Option<RequestContext>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
}

#[derive(Deserialize)]
struct RequestContext {
    http: Option<Http>,
}

#[derive(Deserialize)]
struct Http {
    method: Option<String>,
}

/// What the event's front end wants of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontEnd {
    /// Headers with one value each.
    SingleValueHeaders,
    /// A load balancer with multi-value headers takes no others.
    MultiValueHeaders,
}

/// Reads an event. One that cannot be read becomes a request that says so, which the provider then refuses in its own words.
pub(super) fn read(event: &str) -> (Incoming, FrontEnd) {
    let Ok(event) = serde_json::from_str::<Event>(event) else {
        let fault = Fault::new(FaultKind::Event, "the Lambda event is not an HTTP request");
        return (
            Incoming {
                fault: Some(fault),
                ..Incoming::default()
            },
            FrontEnd::SingleValueHeaders,
        );
    };
    let front_end = match (&event.headers, &event.multi_value_headers) {
        (None, Some(_)) => FrontEnd::MultiValueHeaders,
        _ => FrontEnd::SingleValueHeaders,
    };

    let mut headers = Headers::default();
    for (name, values) in event.multi_value_headers.iter().flatten() {
        values.iter().for_each(|value| headers.append(name, value));
    }
    for (name, value) in event.headers.iter().flatten() {
        headers.append(name, value);
    }

    let context = event
        .request_context
        .and_then(|context| context.http)
        .and_then(|http| http.method);
    let body = event.body.unwrap_or_default();
    let (body, fault) = if event.is_base64_encoded == Some(true) {
        match STANDARD.decode(body.as_bytes()) {
            Ok(bytes) => (bytes, None),
            Err(_) => (
                Vec::new(),
                Some(Fault::new(
                    FaultKind::Event,
                    "request body is not valid base64",
                )),
            ),
        }
    } else {
        (body.into_bytes(), None)
    };

    let incoming = Incoming {
        request_id: String::new(),
        method: event.http_method.or(context).unwrap_or_default(),
        path: event.raw_path.or(event.path).unwrap_or_default(),
        path_parameters: event.path_parameters.into_iter().flatten().collect(),
        headers,
        body,
        deadline: None,
        fault,
    };
    (incoming, front_end)
}

/// An answer in the form that every front end takes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    status_code: u16,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    multi_value_headers: BTreeMap<&'static str, [String; 1]>,
    body: String,
    is_base64_encoded: bool,
}

impl Answer {
    /// The answer that says `reply` to `front_end`.
    #[must_use]
    pub fn new(reply: Reply, front_end: FrontEnd) -> Self {
        let Reply {
            status,
            headers,
            body,
        } = reply;
        let mut answer = Self {
            status_code: status,
            headers: BTreeMap::new(),
            multi_value_headers: BTreeMap::new(),
            body,
            is_base64_encoded: false,
        };
        match front_end {
            FrontEnd::SingleValueHeaders => answer.headers.extend(headers),
            FrontEnd::MultiValueHeaders => {
                let lines = headers.into_iter().map(|(name, value)| (name, [value]));
                answer.multi_value_headers.extend(lines);
            }
        }
        answer
    }
}
