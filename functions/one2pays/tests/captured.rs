//! Replays of a captured request within its window, without and with `SIGNATURE_SINGLE_USE`.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use futures_util::future::join_all;
use harness::{
    faults::{Cut, Done, Fault, FaultProxy},
    golden::{Call, Given, case},
    memory::{request, respond},
    runtime::Function,
    tables::Tables,
    transport::{ALLOWED, ProviderResponse},
};
use http::Response;
use one2pays::One2Pays;
use serde_json::{Value, json};
use shared::{
    clock::Timestamp,
    service::{CancelService, Settings},
    store::dynamodb::{self, DynamoDb},
};

const THIS: &str = "550e8400-e29b-41d4-a716-446655440000";
const OTHER: &str = "550e8400-e29b-41d4-a716-446655440020";
const SINGLE_USE: [(&str, &str); 1] = [("SIGNATURE_SINGLE_USE", "true")];

/// A captured request that cancels [`THIS`], and its tables: a golden case.
struct Captured {
    event: String,
    given: Given,
}

impl Captured {
    fn now() -> Self {
        let case = case("one2pays", "cancels_processing").unwrap();
        Self { event: case.event(), given: case.given }
    }

    fn with_key(&self, key: &str) -> String {
        let mut event: Value = serde_json::from_str(&self.event).unwrap();
        event["headers"]["idempotency-key"] = json!(key);
        event.to_string()
    }

    /// The same signature, sent to the other payment.
    fn diverted(&self) -> String {
        self.event.replace(THIS, OTHER)
    }
}

/// Two of the real binary's processes over one DynamoDB.
struct Stage {
    captured: Captured,
    processes: [Function; 2],
    proxy: FaultProxy,
    tables: Tables,
}

impl Stage {
    async fn set(environment: &[(&str, &str)]) -> Self {
        let captured = Captured::now();
        let tables = Tables::new().unwrap();
        tables.give(&captured.given).unwrap();
        let proxy = FaultProxy::listening(&tables).await.unwrap();
        let url = proxy.url();
        let environment = [&[("AWS_ENDPOINT_URL_DYNAMODB", url.as_str())], environment].concat();
        let start = async || {
            let process = Function::start(env!("CARGO_BIN_EXE_one2pays"), &environment).await;
            let process = process.unwrap();
            process.polled().await.unwrap();
            process
        };
        let processes = [start().await, start().await];
        // Each has connected before its first poll.
        let _ = proxy.take();
        Self { captured, processes, proxy, tables }
    }

    /// The response of the `n`-th process. Each request has its own request id.
    async fn send(&self, n: usize, event: &str) -> ProviderResponse {
        let id = Call::begin().request_id;
        let response = self.processes[n].invoke(&id, event, ALLOWED).await.unwrap();
        serde_json::from_str(&response).unwrap()
    }

    /// Both processes at once, each with one request after another, so that none waits until its
    /// Lambda timeout.
    async fn send_1000_times(&self, event: &str) -> Vec<ProviderResponse> {
        let each = [0, 1].map(|process| async move {
            let mut responses = Vec::new();
            for _ in 0..500 {
                responses.push(self.send(process, event).await);
            }
            responses
        });
        join_all(each).await.concat()
    }

    /// How often a payment was canceled. The guard's own writes are not of payments.
    fn transitions(&self) -> usize {
        let canceled = |done: &&Done| {
            done.operation == "UpdateItem"
                && done.status == 200
                && !done.pk.starts_with("one2pays.signature#")
        };
        self.proxy.take().iter().filter(canceled).count()
    }
}

/// The service in this process, over DynamoDB's engine, on the paused clock.
struct InProcess {
    captured: Captured,
    service: CancelService<One2Pays, DynamoDb>,
    proxy: FaultProxy,
    tables: Tables,
}

impl InProcess {
    fn set(signature_single_use: bool) -> Self {
        let captured = Captured::now();
        let tables = Tables::new().unwrap();
        tables.give(&captured.given).unwrap();
        let proxy = FaultProxy::in_memory(&tables);
        let store = DynamoDb::new(&proxy.config(), dynamodb::Tables::default());
        let settings = Settings { signature_single_use, ..Settings::default() };
        Self { captured, service: CancelService::new(store, &settings), proxy, tables }
    }

    async fn send(&self, event: &str) -> Response<String> {
        respond(&self.service, request(event)).await
    }

    fn operations(&self) -> Vec<String> {
        let done = self.proxy.take().into_iter();
        done.map(|done| done.operation).collect()
    }
}

fn statuses(tables: &Tables) -> [String; 2] {
    [THIS, OTHER].map(|id| {
        let item = tables.get("payments", &format!("one2pays#m_demo#{id}"));
        let item = item.unwrap().unwrap();
        item["status"].as_str().unwrap().to_owned()
    })
}

fn body(response: &ProviderResponse) -> Value {
    serde_json::from_str(&response.body).unwrap()
}

/// The documented refusal.
fn unauthenticated() -> Value {
    let message = "Invalid signature or expired timestamp";
    json!({"success": false, "error": {"code": "INVALID_CREDENTIALS", "message": message}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_captured_request_sent_1000_times_makes_one_transition() {
    for environment in [&[], SINGLE_USE.as_slice()] {
        let stage = Stage::set(environment).await;
        let responses = stage.send_1000_times(&stage.captured.event).await;
        let replayed = |response: &&ProviderResponse| {
            response.headers.get("idempotent-replayed") == Some(&"true".into())
        };
        assert_eq!(responses.len(), 1000);
        assert_eq!(responses.iter().filter(replayed).count(), 999);
        for response in &responses {
            assert_eq!((response.status, &response.body), (200, &responses[0].body));
        }
        assert_eq!(stage.transitions(), 1);
        assert_eq!(statuses(&stage.tables), ["canceled", "processing"]);
    }
}

#[tokio::test(start_paused = true)]
async fn by_default_a_signature_cancels_any_payment_as_the_protocol_allows() {
    let stage = InProcess::set(false);
    assert_eq!(stage.send(&stage.captured.event).await.status(), 200);
    assert_eq!(stage.send(&stage.captured.diverted()).await.status(), 200);
    assert_eq!(statuses(&stage.tables), ["canceled", "canceled"]);
    // And no used signature is stored.
    assert_eq!(stage.operations(), ["GetItem", "UpdateItem", "UpdateItem"]);
    assert_eq!(stage.tables.scan("payments").unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn single_use_costs_one_write_and_diverted_requests_reach_no_payment() {
    let stage = InProcess::set(true);
    assert_eq!(stage.send(&stage.captured.event).await.status(), 200);
    // The credential's lookup, the claim, the cancel.
    assert_eq!(stage.operations(), ["GetItem", "UpdateItem", "UpdateItem"]);
    assert_eq!(stage.send(&stage.captured.diverted()).await.status(), 401);
    assert_eq!(stage.operations(), ["UpdateItem"]);
}

#[tokio::test]
async fn single_use_allows_one_payment_and_its_retries() {
    let stage = Stage::set(&SINGLE_USE).await;
    let event = stage.captured.with_key("k");
    let first = stage.send(0, &event).await;
    assert_eq!(first.status, 200);
    let diverted = stage.send(1, &stage.captured.diverted()).await;
    assert_eq!((diverted.status, body(&diverted)), (401, unauthenticated()));
    for n in 0..2 {
        let again = stage.send(n, &event).await;
        assert_eq!((again.status, &again.body), (200, &first.body));
    }
    // Spelled otherwise, it is the same payment.
    let shouted = stage.send(0, &event.replace(THIS, &THIS.to_uppercase())).await;
    assert_eq!((shouted.status, &shouted.body), (200, &first.body));
    assert_eq!(statuses(&stage.tables), ["canceled", "processing"]);
    // What is left of it: neither the signature nor anything that makes one.
    let items = stage.tables.scan("payments").unwrap();
    let left: Vec<_> = items.iter().filter(|item| item["status"].is_null()).collect();
    assert_eq!(left.len(), 1);
    let pk = left[0]["pk"].as_str().unwrap();
    let digest = pk.strip_prefix("one2pays.signature#m_demo#").unwrap();
    assert_eq!(digest.len(), 64);
    let signature = serde_json::from_str::<Value>(&event).unwrap()["headers"]["x-signature"]
        .as_str()
        .unwrap()
        .replace("sha256=", "");
    assert_ne!(digest, signature);
    assert_eq!(left[0]["payment_id"], THIS);
    let ends = left[0]["signature_expires_at"].as_i64().unwrap();
    let hours = (ends - Timestamp::now().as_second()) as f64 / 3600.0;
    assert!((23.9..=24.0).contains(&hours), "{hours} h");
    assert_eq!(left[0].as_object().unwrap().len(), 3);
    for (warnings, process) in stage.processes.into_iter().enumerate() {
        let log = process.finish().await.unwrap();
        assert!(!log.contains(&signature) && !log.contains(digest), "{log}");
        let warned = log.matches("used for another payment").count();
        assert_eq!(warned, warnings, "{log}");
    }
}

#[tokio::test(start_paused = true)]
async fn single_use_without_a_response_leaves_the_payment_untouched() {
    let stage = InProcess::set(true);
    // Warm: the credential is known, the signature is not yet used.
    let other = stage.captured.event.replace(THIS, "none");
    assert_eq!(stage.send(&other).await.status(), 400);
    let before = statuses(&stage.tables);
    for fault in [
        Fault::Request { after: 0, how: Cut::Reset },
        Fault::Response { after: 0, how: Cut::Reset },
    ] {
        stage.proxy.always(fault);
        let response = stage.send(&stage.captured.event).await;
        assert_eq!(response.status(), 503, "{fault:?}: {}", response.body());
        assert!(response.headers()["retry-after"] == "1");
        assert_eq!(statuses(&stage.tables), before, "{fault:?}");
    }
    // On a sound network the same request is decided, though the claim had been made.
    stage.proxy.calm();
    assert_eq!(stage.send(&stage.captured.event).await.status(), 200);
    // One lost response of the claim is retried. The retry finds the claim made for this payment.
    let fresh = InProcess::set(true);
    assert_eq!(fresh.send(&other).await.status(), 400);
    fresh.proxy.script([Fault::Response { after: 0, how: Cut::Reset }]);
    assert_eq!(fresh.send(&fresh.captured.event).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn single_use_is_counted_for_each_merchant() {
    // Two merchants with one secret and a payment each. They sign the same bytes, so the signature
    // is the same.
    let stage = InProcess::set(true);
    let twin = json!({"pk": "one2pays#pk_test_twin", "merchant_id": "m_demo_2",
        "signing_secret": "sk_test_demo", "active": true});
    stage.tables.put("credentials", &twin).unwrap();
    let payment = stage.tables.get("payments", &format!("one2pays#m_demo#{OTHER}"));
    let mut payment = payment.unwrap().unwrap();
    payment["pk"] = json!(format!("one2pays#m_demo_2#{OTHER}"));
    stage.tables.put("payments", &payment).unwrap();
    let twins = stage.captured.diverted().replace("pk_test_demo", "pk_test_twin");
    assert_eq!(stage.send(&stage.captured.event).await.status(), 200);
    assert_eq!(stage.send(&twins).await.status(), 200);
    assert_eq!(statuses(&stage.tables), ["canceled", "processing"]);
}

#[tokio::test]
async fn a_misspelled_switch_starts_no_function() {
    let wrong =
        [("SIGNATURE_SINGLE_USE", "yes"), ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")];
    let function = Function::start(env!("CARGO_BIN_EXE_one2pays"), &wrong).await.unwrap();
    let event = Captured::now().event;
    let response = function.invoke("r", &event, ALLOWED).await;
    let failure = response.unwrap_err().to_string();
    assert!(failure.contains("the process has ended"), "{failure}");
}
