//! Hostile input, found by libFuzzer: what every target tries, and what must hold of every
//! response.
//!
//! Each input becomes a request to a provider's real service. Nothing may panic: libFuzzer's hook
//! ends the process even where the service would have caught it. The response must be one that the
//! provider documents, it must be true to the store, and no secret may be in it or in the log.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is a finding"
)]

pub mod canary;
pub mod event;
pub mod item;
pub mod log;
pub mod provider;
pub mod request;
pub mod signature;
pub mod store;

use std::{future::Future, sync::LazyLock, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Number, Value};
use shared::{
    clock::{Clock, Timestamp},
    error::Fault,
    json::Object,
    request::Invocation,
    service::{CancelService, Settings, Store},
};
use tokio::runtime::{Builder, Runtime};
use tower_service::Service;

use crate::{canary::Canary, provider::Contract};

/// The one merchant with a credential.
pub const MERCHANT: &str = "m_demo";

/// The id of every request.
pub const REQUEST_ID: &str = "9c1b6a52-0000-4000-8000-00000000000e";

/// Every header that a response may have.
const HEADERS: [&str; 7] = [
    "allow",
    "cache-control",
    "content-type",
    "idempotent-replayed",
    "retry-after",
    "wcp-version",
    "x-request-id",
];

/// A fixed clock.
#[derive(Debug, Clone, Copy)]
struct Still(Timestamp);

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

/// The service over `store`, at a time that does not pass. It caches no credential.
pub fn service<P: Contract, S: Store>(store: S, now: Timestamp) -> CancelService<P, S> {
    let settings = Settings { credential_ttl: Duration::ZERO, ..Settings::default() };
    CancelService::with_clock(store, &settings, Still(now))
}

/// Sends `request`, and checks the response. Returns whether it reports the payment canceled.
pub fn send<P: Contract>(
    mut request: Request<Bytes>,
    store: impl Store,
    now: Timestamp,
    canary: &Canary,
) -> bool {
    let health = is_health_check(&request);
    request.extensions_mut().insert(Invocation {
        request_id: REQUEST_ID.to_owned(),
        trace_id: None,
        deadline: None,
    });
    let Ok(response) = finish(service::<P, _>(store, now).call(request));
    check::<P>(&response, health, canary)
}

/// Whether it is a load balancer's health check, which no provider sees.
pub fn is_health_check(request: &Request<Bytes>) -> bool {
    request.method() == Method::GET
        && request.uri().path() == "/"
        && request.extensions().get::<Fault>().is_none()
}

/// What must hold of every response of the provider `P`, and of the log. Returns whether the
/// response reports the payment canceled.
pub fn check<P: Contract>(response: &Response<String>, health: bool, canary: &Canary) -> bool {
    let (status, body) = (response.status().as_u16(), response.body());
    for name in response.headers().keys() {
        assert!(HEADERS.contains(&name.as_str()), "undocumented: {name}");
        let lines = response.headers().get_all(name).iter().count();
        assert_eq!(lines, 1, "header {name} is there {lines} times");
    }
    let header = |name: &str| {
        let line = response.headers().get(name)?;
        Some(line.to_str().expect("a header of ours is ASCII"))
    };
    assert_eq!(header("content-type"), Some("application/json"));
    assert_eq!(header("cache-control"), Some("no-store"));
    assert_eq!(header("x-request-id"), Some(REQUEST_ID));
    if let Err(fault) = Object::parse(body) {
        panic!("the body is no clean JSON object: {fault}");
    }
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
    let logged = lines.filter(|event| event["target"] == shared::service::TARGET).count();
    assert_eq!(logged, usize::from(!health), "one line for each cancel");
    canary.not_in_response(body);
    HEADERS.iter().filter_map(|name| header(name)).for_each(|line| canary.not_in_response(line));
    if health {
        assert_eq!((status, body.as_str()), (200, r#"{"status":"ok"}"#));
        return false;
    }
    assert!(P::STATUS.contains(&status), "{} does not document status {status}: {body}", P::NAME);
    let parsed: Value = serde_json::from_str(body).expect("it has just been read");
    assert!(
        P::well_formed(status, &parsed),
        "{}'s envelope does not look like that: {status} {body}",
        P::NAME
    );
    P::says_canceled(status, &parsed)
}

/// Whether DynamoDB could return that text as a number.
pub fn is_number(text: &str) -> bool {
    text.parse::<Number>().is_ok() && !text.contains(['e', 'E'])
}
