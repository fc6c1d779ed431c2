//! Hostile input, found by libFuzzer: what every target tries, and what must hold of every answer.
//!
//! Each input becomes a request to a provider's real service. Nothing may panic (libFuzzer's hook ends the process even where the service would have
//! caught it), the answer must be one the provider documents, it must be true to the store, and no secret may be in it or in the log.

pub mod canary;
pub mod event;
pub mod item;
pub mod log;
pub mod provider;
pub mod request;
pub mod signature;
pub mod store;

use std::{future::Future, sync::LazyLock};

use serde_json::Value;
use shared::{
    clock::{Clock, Timestamp},
    provider::Reply,
};
use tokio::runtime::{Builder, Runtime};

use crate::{canary::Canary, provider::Contract};

/// The one merchant whose credential is known.
pub const MERCHANT: &str = "m_demo";

/// A clock that stands still.
#[derive(Debug, Clone, Copy)]
pub struct Still(pub Timestamp);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// Runs what the service does to its end.
pub fn finish<T>(work: impl Future<Output = T>) -> T {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        let runtime = Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime")
    });
    RUNTIME.block_on(work)
}

/// What must hold of every answer of the provider `P`, and of what was logged on the way. Returns whether it says that the payment is canceled.
pub fn check<P: Contract>(reply: &Reply, request_id: &str, canary: &Canary) -> bool {
    let Reply {
        status,
        headers,
        body,
    } = reply;
    assert!(
        P::STATUS.contains(status),
        "{} does not document status {status}: {body}",
        P::NAME
    );
    let header = |name: &str| {
        let mut lines = headers.iter().filter(|(given, _)| *given == name);
        let line = lines.next().map(|(_, line)| line.as_str());
        assert!(lines.next().is_none(), "header {name} is there twice");
        line
    };
    assert_eq!(header("content-type"), Some("application/json"));
    assert_eq!(header("cache-control"), Some("no-store"));
    assert_eq!(header("x-request-id"), Some(request_id));
    if let Err(fault) = shared::body::Object::parse(body.as_bytes()) {
        panic!("the body is no clean JSON object: {}", fault.message);
    }
    let parsed: Value = serde_json::from_str(body).expect("it has just been read");
    assert!(
        P::well_formed(*status, &parsed),
        "{}'s envelope does not look like that: {status} {body}",
        P::NAME
    );
    let lines = log::take();
    canary.not_in_log(&lines);
    let lines = lines.lines().map(|line| {
        assert!(
            !line.contains(|character: char| character.is_control()),
            "a control character in the log: {line:?}"
        );
        let event = serde_json::from_str::<Value>(line).expect("a line of the log is JSON");
        assert!(event.is_object(), "a line of the log is no event: {line}");
        event
    });
    let told = lines
        .filter(|event| event["target"] == shared::service::REQUEST)
        .count();
    assert_eq!(told, 1, "one line a request");
    canary.not_in_answer(body);
    headers
        .iter()
        .for_each(|(_, line)| canary.not_in_answer(line));
    P::says_canceled(*status, &parsed)
}
