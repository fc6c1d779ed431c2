//! Limits come before work: a request within a limit is served, and one over it is refused without
//! a store request, for the credential as for the payment.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use shared::{
    clock::Timestamp,
    limits::{MAX_BODY, MAX_HEADER_BYTES, MAX_HEADER_LINES, MAX_IDEMPOTENCY_KEY, MAX_JSON_DEPTH},
    provider::{Body, Provider},
};

use crate::{
    golden::Case,
    memory::{Recorder, request, respond, service},
    stage::shortest,
};

/// An event on one side of a limit, and on which.
struct Edge {
    what: &'static str,
    event: String,
    /// The status of the refusal.
    refused: Option<u16>,
}

/// Every limit, from both sides.
pub(super) async fn edges<P: Provider>(cases: &[Case]) -> Result<()> {
    let case = shortest(cases)?;
    for Edge { what, event, refused } in all::<P>(case)? {
        let tables = Recorder::with(&case.given.credentials, &case.given.payments)?;
        let service = service::<P>(&tables, Duration::from_secs(60), Timestamp::now());
        let response = respond(&service, request(&event)).await;
        let requests = tables.take();
        match refused {
            None => ensure!(
                response.status() == 200 && requests.len() == 2,
                "within {what}: {response:?}, {requests:?}"
            ),
            Some(status) => {
                ensure!(response.status() == status, "over {what}: {response:?}");
                ensure!(requests.is_empty(), "over {what} the store got {requests:?}");
                let body: Value = serde_json::from_str(response.body())?;
                ensure!(body.is_object(), "over {what}: {response:?}");
            }
        }
    }
    Ok(())
}

fn all<P: Provider>(case: &Case) -> Result<Vec<Edge>> {
    let mut edges = Vec::new();
    let mut edge = |what, case: &Case, refused| {
        edges.push(Edge { what, event: case.event(), refused });
    };
    for (over, refused) in [(0, None), (1, Some(413))] {
        let body = padded(body(case), MAX_BODY + over)?;
        edge("a body's length", &with_body(case, &body), refused);
        let mut encoded = with_body(case, &STANDARD.encode(&body));
        encoded.event["isBase64Encoded"] = json!(true);
        edge("an encoded body's length", &encoded, refused);
    }
    for (over, refused) in [(0, None), (1, Some(400))] {
        edge("the number of headers", &with_lines(case, MAX_HEADER_LINES + over)?, refused);
        edge("the headers' length", &with_bytes(case, MAX_HEADER_BYTES + over)?, refused);
        let mut key = case.clone();
        key.event["headers"]["idempotency-key"] = json!("k".repeat(MAX_IDEMPOTENCY_KEY + over));
        edge("an idempotency key's length", &key, refused);
        if P::BODY != Body::Bytes {
            let within = over == 0;
            let depth = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
            let deep = with_field(case, &format!("\"x\":{}", depth(MAX_JSON_DEPTH - 1 + over)))?;
            edge("a body's depth", &deep, refused);
            let twice = if within { "\"x\":1,\"y\":1" } else { "\"x\":1,\"\\u0078\":1" };
            edge("each field once", &with_field(case, twice)?, refused);
            let inner = if within { "{\"x\":1,\"y\":1}" } else { "{\"x\":1,\"x\":1}" };
            edge("each inner field once", &with_field(case, &format!("\"o\":[{inner}]"))?, refused);
        }
    }
    Ok(edges)
}

fn body(case: &Case) -> &str {
    match case.event["body"].as_str() {
        None | Some("") => "{}",
        Some(body) => body,
    }
}

fn with_body(case: &Case, body: &str) -> Case {
    let mut case = case.clone();
    case.event["body"] = json!(body);
    case.event["isBase64Encoded"] = json!(false);
    case
}

/// The body with white space after it.
fn padded(body: &str, length: usize) -> Result<String> {
    ensure!(body.len() <= length, "the case's body is too long");
    Ok(format!("{body:length$}"))
}

/// One more field in the body.
fn with_field(case: &Case, field: &str) -> Result<Case> {
    let open = body(case).trim_end().strip_suffix('}').context("an object")?;
    let comma = if open.trim() == "{" { "" } else { "," };
    Ok(with_body(case, &format!("{open}{comma}{field}}}")))
}

fn headers(case: &mut Case) -> Result<&mut Map<String, Value>> {
    case.event["headers"].as_object_mut().context("headers")
}

/// This many header lines. A signed request has two of them only after signing, so the event is
/// counted as sent.
fn with_lines(case: &Case, number: usize) -> Result<Case> {
    let mut case = case.clone();
    let sent: Value = serde_json::from_str(&case.event())?;
    let there = sent["headers"].as_object().context("headers")?.len();
    let lines = headers(&mut case)?;
    lines.extend((there..number).map(|n| (format!("x-{n}"), json!("1"))));
    Ok(case)
}

/// Header lines whose names and values have this many bytes together.
fn with_bytes(case: &Case, number: usize) -> Result<Case> {
    let mut case = case.clone();
    let sent: Value = serde_json::from_str(&case.event())?;
    let there = sent["headers"].as_object().context("headers")?;
    let bytes = there.iter().map(|(name, value)| name.len() + value.as_str().map_or(0, str::len));
    let rest = number
        .checked_sub(bytes.sum::<usize>() + "x-long".len())
        .context("the case's headers are too long")?;
    headers(&mut case)?.insert("x-long".to_owned(), json!("1".repeat(rest)));
    Ok(case)
}
