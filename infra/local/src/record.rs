//! Every request that reaches the stack, refused ones included: kept for the page, and a line each
//! for the terminal.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, StatusCode};
use futures_util::{Stream, stream};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use crate::{guard::header, interposer::Attempt};

/// How many are kept, in memory.
const KEPT: usize = 200;

/// One request and its response.
#[derive(Clone, Serialize)]
pub(crate) struct Exchange {
    /// Counted from 1; given when it is recorded.
    pub(crate) number: u64,
    /// When it arrived: RFC 3339, UTC.
    pub(crate) at: String,
    /// The provider of the path.
    pub(crate) provider: Option<&'static str>,
    /// The payment that the path names.
    pub(crate) payment: Option<String>,
    /// `POST`, or something else.
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    /// In lower case, as HTTP libraries give them.
    pub(crate) headers: Vec<(String, String)>,
    /// As text; of one that is too large, the beginning.
    pub(crate) body: String,
    /// Whether all of it is here. A credential that is not a published one is not kept.
    pub(crate) whole: bool,
    /// The response's.
    pub(crate) status: u16,
    /// The response's.
    pub(crate) response_headers: Vec<(String, String)>,
    /// The response's.
    pub(crate) response_body: String,
    /// Its outcome: see [`outcome`].
    pub(crate) outcome: String,
    /// From the last byte of the request to the first of the response.
    pub(crate) milliseconds: u64,
    /// The writes that the function sent to the store, if they are known.
    pub(crate) attempts: Option<Vec<Attempt>>,
}

/// The last ones.
pub(crate) struct Record {
    kept: Mutex<VecDeque<Arc<Exchange>>>,
    last: watch::Sender<u64>,
}

impl Record {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self { kept: Mutex::default(), last: watch::Sender::new(0) }
    }

    /// Takes it in.
    pub(crate) fn add(&self, mut exchange: Exchange) -> Arc<Exchange> {
        let mut kept = self.kept();
        exchange.number = *self.last.borrow() + 1;
        let exchange = Arc::new(exchange);
        kept.push_back(Arc::clone(&exchange));
        if kept.len() > KEPT {
            kept.pop_front();
        }
        self.last.send_replace(exchange.number);
        exchange
    }

    /// All that are kept and came after that number, and then those that come.
    pub(crate) fn after(
        self: &Arc<Self>,
        number: u64,
    ) -> impl Stream<Item = Arc<Exchange>> + use<> {
        let state = (Arc::clone(self), self.last.subscribe(), number);
        stream::unfold(state, async |(record, mut last, number)| {
            loop {
                let next = record.next(number);
                if let Some(exchange) = next {
                    let number = exchange.number;
                    return Some((exchange, (record, last, number)));
                }
                last.changed().await.ok()?;
            }
        })
    }

    fn next(&self, number: u64) -> Option<Arc<Exchange>> {
        let kept = self.kept();
        kept.iter().find(|kept| kept.number > number).cloned()
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Arc<Exchange>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outcome of a response: the `code` of the provider's error envelope, flat or nested, or
/// `replayed`, `canceled`, `already canceled` (a success without a write), or the status's own
/// name.
pub(crate) fn outcome(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    attempts: Option<&[Attempt]>,
) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let code = body.pointer("/error/code").or_else(|| body.get("code"));
    let written = attempts.is_none_or(|attempts| attempts.iter().any(Attempt::written));
    match code.and_then(Value::as_str) {
        Some(code) => code.to_owned(),
        None if header(headers, "idempotent-replayed").is_some() => "replayed".to_owned(),
        None if status.is_success() && written => "canceled".to_owned(),
        None if status.is_success() => "already canceled".to_owned(),
        None => status.canonical_reason().unwrap_or_default().to_lowercase(),
    }
}

/// In whole milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
