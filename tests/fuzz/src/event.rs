//! A whole Lambda event, to every provider.

use std::collections::BTreeMap;

use http::Response;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};
use shared::{
    auth::CredentialRecord,
    clock::Timestamp,
    error::Fault,
    headers::HeaderMapExt,
    json::Json,
    lambda::{EventSource, Handler, read},
    payment::Payment,
};
use tower_service::Service;

use crate::{
    MERCHANT, REQUEST_ID,
    canary::Canary,
    check, finish, is_health_check, log,
    provider::{Contract, PROVIDERS, With, pick},
    send, service,
    store::{Store, Tables},
};

/// Sends `event` to each provider, and checks the responses.
///
/// # Panics
/// If something does not hold.
pub fn run(event: &[u8]) {
    let Ok(event) = std::str::from_utf8(event) else {
        return; // The runtime takes JSON, which is UTF-8.
    };
    log::keep();
    (0..PROVIDERS).for_each(|which| pick(which, Event(event)));
}

struct Event<'a>(&'a str);

impl With for Event<'_> {
    fn with<P: Contract>(self) {
        response::<P>(self.0);
    }
}

fn response<P: Contract>(event: &str) {
    let canary = Canary::fresh();
    let (request, source) = read(event);
    let health = is_health_check(&request);
    // The events of the golden cases are signed at their time.
    let signed_at = request.headers().single("x-timestamp").ok().flatten();
    let now = signed_at
        .and_then(|at| Timestamp::from_millisecond(at.parse().ok()?).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH);
    let hidden = P::HIDDEN.iter().map(|name| (*name, &canary.secret));
    let details = hidden.chain([("email", &canary.private)]);
    let payment = Payment {
        status: P::STATUSES.cancelable[0].to_owned(),
        amount: Json::Number("100".to_owned()),
        currency: "USD".into(),
        created_at: "2024-01-01T00:00:00.000Z".into(),
        details: details.map(|(name, value)| (name.to_owned(), value.as_str().into())).collect(),
        ..Payment::default()
    };
    // The secrets of the demo data: the golden events present them.
    let record = CredentialRecord {
        merchant_id: MERCHANT.to_owned(),
        secret_sha256: Some(hex::encode(Sha256::digest("demo-token"))),
        signing_secret: Some("sk_test_demo".to_owned()),
        active: true,
        ..CredentialRecord::default()
    };
    let store = Store::new(Tables {
        credential: (None, record),
        payment: Ok(Some(payment)),
        own: None,
        transitions: 0,
    });
    let canceled = match RawValue::from_string(event.to_owned()) {
        Ok(payload) => {
            let mut context = Context::default();
            REQUEST_ID.clone_into(&mut context.request_id);
            let mut handler = Handler(service::<P, _>(store.clone(), now));
            let Ok(response) = finish(handler.call(LambdaEvent::new(payload, context)));
            let response = serde_json::from_str(response.get()).expect("a response is JSON");
            check::<P>(&unwrapped(&response, source), health, &canary)
        }
        // The runtime keeps what is not JSON from the function. It must be read as a fault all the
        // same.
        Err(_) => {
            let fault = request.extensions().get::<Fault>();
            assert!(fault.is_some(), "taken for a request: {event}");
            send::<P>(request, store.clone(), now, &canary)
        }
    };
    let tables = store.tables();
    let word = tables.payment.as_ref().ok().and_then(Option::as_ref);
    assert!(
        !canceled || word.is_some_and(|payment| payment.status == P::STATUSES.canceled),
        "reported canceled, and is not"
    );
}

/// The HTTP response in what the event's source takes, with every member checked.
fn unwrapped(response: &Value, source: EventSource) -> Response<String> {
    let members = |name: &str| response[name].as_object().into_iter().flatten();
    let text = |line: &Value| line.as_str().expect("a line").to_owned();
    let single = members("headers").map(|(name, line)| (name.clone(), text(line)));
    let single: BTreeMap<_, _> = single.collect();
    let lines = members("multiValueHeaders").map(|(name, lines)| {
        assert_eq!(lines.as_array().map(Vec::len), Some(1), "{name}");
        (name.clone(), text(&lines[0]))
    });
    let lines: BTreeMap<_, _> = lines.collect();
    let headers = match source {
        EventSource::RestApi => {
            assert!(single.is_empty(), "{response}");
            lines
        }
        EventSource::HttpApi | EventSource::Lattice => {
            assert!(lines.is_empty(), "{response}");
            single
        }
        EventSource::LoadBalancer => {
            assert_eq!(single, lines, "{response}");
            single
        }
    };
    assert_eq!(response["isBase64Encoded"], false);
    let status = response["statusCode"].as_u64().expect("a status");
    let mut unwrapped = Response::builder().status(u16::try_from(status).expect("a status"));
    for (name, line) in headers {
        unwrapped = unwrapped.header(name, line);
    }
    let body = response["body"].as_str().expect("a body").to_owned();
    unwrapped.body(body).expect("a response")
}
