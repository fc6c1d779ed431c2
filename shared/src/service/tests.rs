use std::sync::atomic::AtomicUsize;

use super::*;
use crate::{
    auth::{Credential, CredentialRecord},
    cancel::{Transition, TransitionResult},
    error::StoreError,
    headers::HeaderMapExt,
    idempotency::Fingerprint,
    payment::{Payment, Statuses},
    store::memory::MemoryStore,
};

/// A provider whose response is the outcome's name, and which panics where a header names the
/// function.
pub(crate) struct TestProvider<const BROWSERS: bool = false>;

fn panic_if_requested(request: &Request<'_>, place: &str) {
    let requested = request.headers.single("panic").ok().flatten();
    assert!(requested != Some(place), "requested panic");
}

impl<const BROWSERS: bool> Provider for TestProvider<BROWSERS> {
    const NAME: &'static str = "test";
    const ROUTE: &'static str = "/payments/{id}/cancel";
    const STATUSES: Statuses = Statuses { cancelable: &["open"], canceled: "canceled" };
    const BODY: Body = Body::Json;
    const BROWSER_HEADERS: &'static [&'static str] = if BROWSERS { &["app-id"] } else { &[] };

    fn identify<'r>(request: &'r Request<'_>) -> Result<Credential<'r>, CancelError> {
        panic_if_requested(request, "identify");
        let id = request.headers.credential("key")?;
        id.map(Credential::public).ok_or(CancelError::Unauthenticated)
    }

    fn read(request: &Request<'_>, _: &Merchant) -> Result<CancelCommand, CancelError> {
        panic_if_requested(request, "read");
        Ok(CancelCommand::new(Fingerprint::of(&[])))
    }

    fn write(exchange: &Exchange<'_, '_>) -> Response<String> {
        let word = match exchange.outcome {
            Ok(_) => "canceled",
            Err(CancelError::Undecided { keyed: true }) => "undecided, keyed",
            Err(refused) => refused.as_str(),
        };
        if exchange.outcome.is_ok() {
            panic_if_requested(exchange.request, "write");
        }
        panic_if_requested(exchange.request, "always");
        provider::json(200, &word)
    }
}

/// What the store does once it is called.
#[derive(Clone, Copy, Default)]
enum Behavior {
    #[default]
    Responds,
    Delays(Duration),
    Panics,
}

const SILENT: Behavior = Behavior::Delays(Duration::from_secs(3600));

/// A store that counts its calls.
#[derive(Default)]
struct TestStore {
    memory: MemoryStore,
    transition: Behavior,
    find: Behavior,
    calls: AtomicUsize,
}

impl TestStore {
    async fn called(&self, behavior: Behavior) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match behavior {
            Behavior::Responds => {}
            Behavior::Delays(delay) => tokio::time::sleep(delay).await,
            Behavior::Panics => panic!("a fault in the SDK"),
        }
    }
}

impl Payments for TestStore {
    async fn transition(
        &self,
        transition: &Transition,
        budget: &Budget,
    ) -> Result<TransitionResult, StoreError> {
        self.called(self.transition).await;
        self.memory.transition(transition, budget).await
    }
}

impl Signatures for TestStore {
    async fn claim(&self, signature: &SignatureUse, budget: &Budget) -> Result<bool, StoreError> {
        self.memory.claim(signature, budget).await
    }
}

impl Credentials for TestStore {
    async fn find(
        &self,
        pk: &str,
        budget: &Budget,
    ) -> Result<Option<CredentialRecord>, StoreError> {
        self.called(self.find).await;
        self.memory.find(pk, budget).await
    }
}

fn store() -> TestStore {
    let store = TestStore::default();
    let record =
        CredentialRecord { merchant_id: "m".into(), active: true, ..CredentialRecord::default() };
    store.memory.put_credential("test#k", record);
    store.memory.put_payment("test#m#1", Payment { status: "open".into(), ..Payment::default() });
    store
}

/// A request with these headers alone.
fn bare(headers: &[(&'static str, &'static str)]) -> http::Request<Bytes> {
    let mut request = http::Request::post("/payments/1/cancel").body(Bytes::new()).unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    request
}

/// An authenticated request, with this header as well.
fn with_header(name: &'static str, value: &'static str) -> http::Request<Bytes> {
    bare(&[("key", "k"), (name, value)])
}

fn request() -> http::Request<Bytes> {
    bare(&[("key", "k")])
}

fn at_path(path: &str) -> http::Request<Bytes> {
    let mut request = request();
    *request.uri_mut() = path.parse().unwrap();
    request
}

fn with_method(method: Method, mut request: http::Request<Bytes>) -> http::Request<Bytes> {
    *request.method_mut() = method;
    request
}

fn with_body(body: &[u8]) -> http::Request<Bytes> {
    request().map(|_| Bytes::copy_from_slice(body))
}

fn with_deadline(mut request: http::Request<Bytes>, deadline: Timestamp) -> http::Request<Bytes> {
    request.extensions_mut().insert(Invocation { deadline: Some(deadline), ..not_invoked() });
    request
}

/// The outcome, and how often the store was called for it.
async fn outcome(store: TestStore, request: http::Request<Bytes>) -> (String, usize) {
    let mut service =
        CancelService::<TestProvider, _>::with_clock(store, &Settings::default(), FixedClock);
    let Ok(response) = service.call(request).await;
    let word = response.into_body().trim_matches('"').to_owned();
    (word, service.inner.store.calls.load(Ordering::Relaxed))
}

struct FixedClock;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        NOW
    }
}

#[tokio::test]
async fn what_can_be_refused_for_free_is_refused_before_the_store_is_called() {
    let mut broken = request();
    broken.extensions_mut().insert(Fault::new(FaultKind::Event, "no event"));
    for (refused, word, calls) in [
        (bare(&[]), "unauthenticated", 0),
        (with_header("key", "l"), "malformed", 0),
        (with_header("idempotency-key", "a b"), "malformed", 0),
        (with_method(Method::GET, request()), "malformed", 0),
        (at_path("/payments/1"), "no_such_endpoint", 0),
        (at_path("/"), "no_such_endpoint", 0),
        (with_method(Method::PUT, at_path("/settlements")), "no_such_endpoint", 0),
        (with_body(b"{"), "malformed", 0),
        (with_body(br#"{"a":1,"a":2}"#), "malformed", 0),
        (with_body(&vec![b' '; MAX_BODY + 1]), "malformed", 0),
        (broken, "malformed", 0),
        // A load balancer's health check.
        (with_method(Method::GET, at_path("/")), r#"{"status":"ok"}"#, 0),
        // Ids that no key can hold are not looked up, but whose they would be is.
        (at_path("/payments//cancel"), "not_found", 1),
        (at_path(&format!("/payments/{}/cancel", "x".repeat(256))), "not_found", 1),
        (at_path("/payments/a%00b/cancel"), "not_found", 1),
        (at_path("/payments/a%0Ab/cancel"), "not_found", 1),
    ] {
        let shown = format!("{refused:?}");
        assert_eq!(outcome(store(), refused).await, (word.to_owned(), calls), "{shown}");
    }
}

#[tokio::test]
async fn a_panic_ends_in_the_providers_envelope() {
    for (place, word) in [
        ("identify", "internal"),
        ("read", "internal"),
        // The payment is canceled by then.
        ("write", "undecided"),
        ("always", "{}"),
    ] {
        assert_eq!(outcome(store(), with_header("panic", place)).await.0, word, "{place}");
    }
    // In the store it is unknown how far the write came.
    let panics = TestStore { transition: Behavior::Panics, ..store() };
    assert_eq!(outcome(panics, request()).await.0, "undecided");
    let panics = TestStore { find: Behavior::Panics, ..store() };
    assert_eq!(outcome(panics, request()).await.0, "unavailable");
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_is_undecided_in_time_for_the_deadline() {
    for (allowed, waited) in [(1_000, 800), (3_000, 2_800), (60_000, 4_500)] {
        for (late, word) in
            [(request(), "undecided"), (with_header("idempotency-key", "x"), "undecided, keyed")]
        {
            let silent = TestStore { transition: SILENT, ..store() };
            let late = with_deadline(late, NOW + Duration::from_millis(allowed));
            let began = Instant::now();
            assert_eq!(outcome(silent, late).await.0, word);
            // Tokio's timers have a resolution of a millisecond.
            let late = began.elapsed() - Duration::from_millis(waited);
            assert!(late <= Duration::from_millis(1), "{late:?} after {waited} ms");
        }
    }
    // A lookup writes nothing.
    let silent = TestStore { find: SILENT, ..store() };
    assert_eq!(outcome(silent, request()).await.0, "unavailable");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_past_is_ignored() {
    let slow = TestStore { transition: Behavior::Delays(Duration::from_secs(4)), ..store() };
    assert_eq!(
        outcome(slow, with_deadline(request(), NOW - Duration::from_secs(1))).await.0,
        "canceled"
    );
}
