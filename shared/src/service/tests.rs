use std::{
    io::{self, BufRead},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderName;
use sha2::{Digest, Sha256};

use super::*;
use crate::{
    auth::{Credential, CredentialRecord},
    cancel::{Transition, TransitionResult},
    error::StoreError,
    idempotency::Fingerprint,
    json::Json,
    payment::{Payment, Statuses},
    store::memory::MemoryStore,
};

/// A provider whose response is the outcome's name, and which panics where a header names the
/// function.
struct TestProvider;

fn panic_if_requested(request: &Request<'_>, place: &str) {
    let requested = request.headers.single("panic").ok().flatten();
    assert!(requested != Some(place), "requested panic");
}

impl Provider for TestProvider {
    const NAME: &'static str = "test";
    const ROUTE: &'static str = "/payments/{id}/cancel";
    const STATUSES: Statuses = Statuses { cancelable: &["open"], canceled: "canceled" };
    const BODY: Body = Body::Json;

    fn identify<'r>(request: &'r Request<'_>) -> Result<Credential<'r>, CancelError> {
        panic_if_requested(request, "identify");
        let id = request.headers.credential("key")?;
        let id = id.ok_or(CancelError::Unauthenticated)?;
        let tag = request.headers.single("tag")?.and_then(|tag| {
            let bytes = hex::decode(tag).ok()?;
            bytes.try_into().ok()
        });
        Ok(match tag {
            Some(tag) => Credential::signature(id, [b"", b"signed", b""], tag),
            None => Credential::public(id),
        })
    }

    fn read(request: &Request<'_>, _: &Merchant) -> Result<CancelCommand, CancelError> {
        panic_if_requested(request, "read");
        Ok(CancelCommand::new(Fingerprint::of(&[])))
    }

    fn write(exchange: &Exchange<'_, '_>) -> Response<String> {
        let word = match exchange.outcome {
            Ok(canceled) if canceled.replayed => "replayed",
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Behavior {
    #[default]
    Responds,
    Delays(Duration),
    Panics,
}

/// A store that counts its calls.
#[derive(Default)]
struct TestStore {
    memory: MemoryStore,
    transition: Behavior,
    find: Behavior,
    loses_claims: bool,
    claims: Mutex<Vec<SignatureUse>>,
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
        self.called(Behavior::Responds).await;
        self.claims.lock().unwrap().push(signature.clone());
        let claimed = self.memory.claim(signature, budget).await;
        if self.loses_claims { Err(StoreError::Undecided) } else { claimed }
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

fn payment() -> Payment {
    Payment { id: "1".into(), merchant_id: "m".into(), status: "open".into(), ..Payment::default() }
}

fn store() -> TestStore {
    let store = TestStore::default();
    let record =
        CredentialRecord { merchant_id: "m".into(), active: true, ..CredentialRecord::default() };
    store.memory.put_credential("test#k", record);
    store.memory.put_payment("test#m#1", payment());
    store
}

fn request(headers: &[(&str, &str)]) -> http::Request<Bytes> {
    let mut request = http::Request::post("/payments/1/cancel");
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        request = request.header(name, *value);
    }
    let invocation = Invocation { request_id: "r".into(), trace_id: None, deadline: None };
    request.extension(invocation).body(Bytes::new()).unwrap()
}

fn at_path(path: &str) -> http::Request<Bytes> {
    let mut request = request(&[("key", "k")]);
    *request.uri_mut() = path.parse().unwrap();
    request
}

fn with_body(body: &[u8]) -> http::Request<Bytes> {
    request(&[("key", "k")]).map(|_| Bytes::copy_from_slice(body))
}

fn service(store: TestStore) -> CancelService<TestProvider, TestStore> {
    CancelService::new(store, &Settings::default())
}

async fn respond(
    service: &CancelService<TestProvider, TestStore>,
    request: http::Request<Bytes>,
) -> String {
    let Ok(response) = service.clone().call(request).await;
    response.into_body().trim_matches('"').to_owned()
}

/// The outcome, and how often the store was called for it.
async fn outcome(store: TestStore, request: http::Request<Bytes>) -> (String, usize) {
    let service = service(store);
    let word = respond(&service, request).await;
    (word, service.inner.store.calls.load(Ordering::Relaxed))
}

/// The service with or without the guard, for two merchants with one signing secret.
fn signed(store: TestStore, signature_single_use: bool) -> CancelService<TestProvider, TestStore> {
    for (key, merchant_id) in [("k", "m"), ("twin", "m2")] {
        let record = CredentialRecord {
            merchant_id: merchant_id.into(),
            signing_secret: Some("secret".into()),
            active: true,
            ..CredentialRecord::default()
        };
        store.memory.put_credential(&format!("test#{key}"), record);
    }
    for pk in ["test#m#2", "test#m2#1", "test#m2#2"] {
        store.memory.put_payment(pk, payment());
    }
    let settings = Settings { signature_single_use, ..Settings::default() };
    CancelService::new(store, &settings)
}

/// The outcome for the merchant of `key` who requests that payment with the one signature.
async fn outcome_signed(
    service: &CancelService<TestProvider, TestStore>,
    key: &str,
    payment: &str,
) -> String {
    let mut request = request(&[("key", key), ("tag", &tag())]);
    *request.uri_mut() = format!("/payments/{payment}/cancel").parse().unwrap();
    // Each gets an id of its own: the token must not be the invocation's.
    request.extensions_mut().remove::<Invocation>();
    respond(service, request).await
}

fn tag() -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"secret").unwrap();
    mac.update(b"signed");
    hex::encode(mac.finalize().into_bytes())
}

#[tokio::test]
async fn without_the_guard_a_signature_cancels_every_payment_it_fits() {
    let service = signed(store(), false);
    assert_eq!(outcome_signed(&service, "k", "1").await, "canceled");
    assert_eq!(outcome_signed(&service, "k", "2").await, "canceled");
    assert!(service.inner.store.claims.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_single_use_signature_cancels_the_first_payment_of_its_merchant() {
    let service = signed(store(), true);
    assert_eq!(outcome_signed(&service, "k", "1").await, "canceled");
    assert_eq!(outcome_signed(&service, "k", "2").await, "unauthenticated");
    assert_eq!(outcome_signed(&service, "k", "1").await, "replayed");
    // Another merchant with the same secret is another merchant all the same.
    assert_eq!(outcome_signed(&service, "twin", "2").await, "canceled");
    assert_eq!(outcome_signed(&service, "twin", "1").await, "unauthenticated");
    let memory = &service.inner.store.memory;
    let status = |pk| memory.payment(pk).unwrap().status;
    assert_eq!(
        ["test#m#1", "test#m#2", "test#m2#1", "test#m2#2"].map(status),
        ["canceled", "open", "open", "canceled"]
    );
}

#[tokio::test]
async fn a_claim_stores_the_signatures_digest_for_longer_than_its_window() {
    let service = signed(store(), true);
    let now = Timestamp::now().as_second();
    outcome_signed(&service, "k", "1").await;
    let claims = service.inner.store.claims.lock().unwrap();
    let digest = hex::encode(Sha256::digest(hex::decode(tag()).unwrap()));
    assert_eq!(claims[0].pk, format!("test.signature#m#{digest}"));
    assert_eq!(claims[0].payment_id, "1");
    // One2Pays' window ends ten minutes after the earliest use.
    assert!(claims[0].expires_at > now + 3600);
}

#[tokio::test]
async fn an_unsigned_request_claims_nothing() {
    let settings = Settings { signature_single_use: true, ..Settings::default() };
    let service = CancelService::new(store(), &settings);
    assert_eq!(respond(&service, request(&[("key", "k")])).await, "canceled");
    assert!(service.inner.store.claims.lock().unwrap().is_empty());
}

#[tokio::test]
async fn after_a_lost_claim_the_payment_is_certainly_not_canceled() {
    let lossy = TestStore { loses_claims: true, ..store() };
    let service = signed(lossy, true);
    assert_eq!(outcome_signed(&service, "k", "1").await, "unavailable");
    let payment = service.inner.store.memory.payment("test#m#1");
    assert_eq!(payment.unwrap().status, "open");
}

#[tokio::test]
async fn a_signed_request_is_its_own_key() {
    let service = signed(store(), false);
    assert_eq!(outcome_signed(&service, "k", "1").await, "canceled");
    assert_eq!(outcome_signed(&service, "k", "1").await, "replayed");
}

#[tokio::test]
async fn what_can_be_refused_for_free_is_refused_before_the_store_is_called() {
    let key = ("key", "k");
    let mut get = request(&[key]);
    *get.method_mut() = Method::GET;
    let mut broken = request(&[key]);
    let fault = Fault::new(FaultKind::Event, "no event");
    broken.extensions_mut().insert(fault);
    for (refused, word) in [
        (request(&[]), "unauthenticated"),
        (request(&[key, ("key", "l")]), "malformed"),
        (request(&[key, ("idempotency-key", "a b")]), "malformed"),
        (get, "malformed"),
        (at_path("/payments/1"), "no_such_endpoint"),
        (at_path("/"), "no_such_endpoint"),
        (with_body(b"{"), "malformed"),
        (with_body(br#"{"a":1,"a":2}"#), "malformed"),
        (with_body(&vec![b' '; MAX_BODY + 1]), "malformed"),
        (broken, "malformed"),
    ] {
        let shown = format!("{refused:?}");
        assert_eq!(outcome(store(), refused).await, (word.to_owned(), 0), "{shown}");
    }
}

#[tokio::test]
async fn another_path_is_refused_before_the_method_and_the_credential() {
    let mut request = request(&[]);
    *request.uri_mut() = "/settlements".parse().unwrap();
    *request.method_mut() = Method::PUT;
    assert_eq!(outcome(store(), request).await, ("no_such_endpoint".into(), 0));
}

#[tokio::test]
async fn a_health_check_needs_no_store() {
    let check = http::Request::get("/").body(Bytes::new()).unwrap();
    assert_eq!(outcome(store(), check).await, (r#"{"status":"ok"}"#.into(), 0));
}

#[tokio::test]
async fn a_payment_id_that_no_key_can_hold_is_not_looked_up() {
    for id in ["", &"x".repeat(256), "a%00b", "a%0Ab"] {
        let refused = at_path(&format!("/payments/{id}/cancel"));
        assert_eq!(outcome(store(), refused).await, ("not_found".into(), 1), "{id}");
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
        let (body, _) = outcome(store(), request(&[("key", "k"), ("panic", place)])).await;
        assert_eq!(body, word, "{place}");
    }
    // In the store it is unknown how far the write came.
    let panics = TestStore { transition: Behavior::Panics, ..store() };
    assert_eq!(outcome(panics, request(&[("key", "k")])).await.0, "undecided");
    let panics = TestStore { find: Behavior::Panics, ..store() };
    assert_eq!(outcome(panics, request(&[("key", "k")])).await.0, "unavailable");
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_is_undecided_in_time_for_the_deadline() {
    for (allowed, waited) in [(1_000, 800), (3_000, 2_800), (60_000, 4_500)] {
        for (key, word) in [("", "undecided"), ("x", "undecided, keyed")] {
            let silent =
                TestStore { transition: Behavior::Delays(Duration::from_secs(3600)), ..store() };
            let now = Timestamp::UNIX_EPOCH + Duration::from_secs(1);
            let service = CancelService::with_clock(silent, &Settings::default(), FixedClock(now));
            let mut late = request(&[("key", "k"), ("idempotency-key", key)][..1 + key.len()]);
            let invocation = late.extensions_mut().get_mut::<Invocation>().unwrap();
            invocation.deadline = Some(now + Duration::from_millis(allowed));
            let began = Instant::now();
            assert_eq!(respond(&service, late).await, word);
            // Tokio's timers have a resolution of a millisecond.
            let late = began.elapsed() - Duration::from_millis(waited);
            assert!(late <= Duration::from_millis(1), "{late:?} after {waited} ms");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_lookup_leaves_the_payment_certainly_not_canceled() {
    let silent = TestStore { find: Behavior::Delays(Duration::from_secs(3600)), ..store() };
    assert_eq!(outcome(silent, request(&[("key", "k")])).await.0, "unavailable");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_past_is_ignored() {
    let slow = TestStore { transition: Behavior::Delays(Duration::from_secs(4)), ..store() };
    let mut watched = request(&[("key", "k")]);
    let invocation = watched.extensions_mut().get_mut::<Invocation>().unwrap();
    invocation.deadline = Some(Timestamp::UNIX_EPOCH);
    assert_eq!(outcome(slow, watched).await.0, "canceled");
}

struct FixedClock(Timestamp);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}

#[tokio::test]
async fn a_key_makes_one_transition_even_if_the_payment_is_reopened() {
    let service = service(store());
    let keyed = || request(&[("key", "k"), ("idempotency-key", "x")]);
    assert_eq!(respond(&service, keyed()).await, "canceled");
    assert_eq!(respond(&service, keyed()).await, "replayed");
    let memory = &service.inner.store.memory;
    let reopened = Payment { status: "open".into(), ..memory.payment("test#m#1").unwrap() };
    memory.put_payment("test#m#1", reopened);
    assert_eq!(respond(&service, keyed()).await, "key_reused");
    assert_eq!(memory.payment("test#m#1").unwrap().status, "open");
    let other = request(&[("key", "k"), ("idempotency-key", "y")]);
    assert_eq!(respond(&service, other).await, "canceled");
}

#[tokio::test]
async fn a_client_cannot_name_an_invocation() {
    let service = service(store());
    assert_eq!(respond(&service, request(&[("key", "k")])).await, "canceled");
    let guessed = request(&[("key", "k"), ("idempotency-key", "r")]);
    assert_eq!(respond(&service, guessed).await, "not_cancelable");
}

#[tokio::test]
async fn without_a_key_another_request_is_no_retry() {
    let service = service(store());
    let mut another = request(&[("key", "k")]);
    let invocation = another.extensions_mut().get_mut::<Invocation>().unwrap();
    invocation.request_id = "r2".into();
    assert_eq!(respond(&service, request(&[("key", "k")])).await, "canceled");
    assert_eq!(respond(&service, another).await, "not_cancelable");
}

#[tokio::test]
async fn every_response_has_the_shared_headers() {
    let headers = async |request| {
        let Ok(response) = service(store()).call(request).await;
        let lines = response.headers().iter();
        let lines = lines.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        let mut lines: Vec<_> = lines.collect();
        lines.sort();
        lines
    };
    let shared = ["cache-control: no-store", "content-type: application/json", "x-request-id: r"];
    assert_eq!(headers(request(&[("key", "k")])).await, shared);
    let mut get = request(&[]);
    *get.method_mut() = Method::GET;
    assert!(headers(get).await.contains(&"allow: POST".to_owned()));
}

#[tokio::test]
async fn an_item_that_the_response_cannot_do_without_is_not_canceled() {
    struct Shows;

    impl Provider for Shows {
        const NAME: &'static str = "test";
        const ROUTE: &'static str = TestProvider::ROUTE;
        const STATUSES: Statuses = TestProvider::STATUSES;
        const BODY: Body = Body::Json;
        const REQUIRED: &'static [provider::Attribute] = &[provider::Attribute::Amount];

        fn identify<'r>(request: &'r Request<'_>) -> Result<Credential<'r>, CancelError> {
            TestProvider::identify(request)
        }

        fn read(request: &Request<'_>, merchant: &Merchant) -> Result<CancelCommand, CancelError> {
            TestProvider::read(request, merchant)
        }

        fn write(exchange: &Exchange<'_, '_>) -> Response<String> {
            TestProvider::write(exchange)
        }
    }

    for (status, amount, word, after) in [
        ("open", Json::Null, "internal", "open"),
        ("open", "6540".into(), "internal", "open"),
        ("open", Json::Number("4307.23".into()), "canceled", "canceled"),
        ("captured", Json::Null, "not_cancelable", "captured"),
    ] {
        let store = store();
        let payment = Payment { status: status.into(), amount, ..payment() };
        store.memory.put_payment("test#m#1", payment);
        let service = CancelService::<Shows, _>::new(store, &Settings::default());
        let Ok(response) = service.clone().call(request(&[("key", "k")])).await;
        assert_eq!(response.body().trim_matches('"'), word);
        let stored = service.inner.store.memory.payment("test#m#1").unwrap();
        assert_eq!(stored.status, after);
    }
}

#[cfg(feature = "lambda")]
#[test]
fn the_log_has_the_duration_in_milliseconds_and_the_retries() {
    let (log, writer) = io::pipe().unwrap();
    let subscriber = tracing_subscriber::fmt().with_ansi(false);
    let subscriber = subscriber.with_writer(Arc::new(writer)).finish();
    let budget = Budget::until(Instant::now());
    budget.count(false);
    budget.count(true);
    tracing::subscriber::with_default(subscriber, || {
        RequestLog {
            provider: "test",
            invocation: &not_invoked(),
            payment: None,
            outcome: &Err(CancelError::NotFound),
            status: 404,
            cold_start: false,
            budget: &budget,
            duration: Duration::from_micros(1500),
        }
        .write();
    });
    let mut line = String::new();
    io::BufReader::new(log).read_line(&mut line).unwrap();
    assert!(line.contains(" duration_ms=1.5 store_attempts=2 store_retries=1 "), "{line}");
}
