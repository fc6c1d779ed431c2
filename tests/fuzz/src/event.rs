//! A whole Lambda event, to every provider.

use std::time::Duration;

use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Map, Value, value::RawValue};
use sha2::{Digest, Sha256};
use shared::{
    auth::CredentialRecord,
    clock::Timestamp,
    lambda::{Handler, read},
    payment::Payment,
    provider::Reply,
    service::CancelService,
};
use tower_service::Service;

use crate::{
    MERCHANT, Still,
    canary::Canary,
    check, finish, log,
    provider::{Contract, PROVIDERS, With, pick},
    store::{Store, Tables},
};

const REQUEST_ID: &str = "9c1b6a52-0000-4000-8000-00000000000e";

/// Has `event` answered by each provider, and checks the answers.
///
/// # Panics
/// Where something does not hold.
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
        answer::<P>(self.0);
    }
}

fn answer<P: Contract>(event: &str) {
    let canary = Canary::fresh();
    let (incoming, _) = read(event);
    // The events of the golden cases are signed at their time.
    let signed_at = incoming.headers.single("x-timestamp").ok().flatten();
    let now = signed_at
        .and_then(|at| Timestamp::from_millisecond(at.parse().ok()?).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH);
    let mut details = Map::new();
    for name in P::HIDDEN {
        details.insert((*name).to_owned(), canary.secret.clone().into());
    }
    details.insert("email".to_owned(), canary.private.clone().into());
    let payment = Payment {
        id: String::new(),
        merchant_id: MERCHANT.to_owned(),
        status: P::STATUSES.cancelable[0].to_owned(),
        amount: 100,
        currency: "USD".to_owned(),
        created_at: "2024-01-01T00:00:00.000Z".to_owned(),
        updated_at: None,
        canceled_at: None,
        manual_cancellation: false,
        details,
        cancellation: None,
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
        asked: 0,
    });
    let mut service = CancelService::<P, _>::with_clock(store.clone(), Duration::ZERO, Still(now));
    let reply = match RawValue::from_string(event.to_owned()) {
        Ok(payload) => {
            let mut context = Context::default();
            REQUEST_ID.clone_into(&mut context.request_id);
            let Ok(answer) = finish(Handler(service).call(LambdaEvent::new(payload, context)));
            unwrapped(&serde_json::to_value(&answer).expect("an answer is JSON"))
        }
        // What is no JSON the runtime keeps from the function; it must be read as a fault all the same.
        Err(_) => {
            let incoming = shared::request::Incoming {
                request_id: REQUEST_ID.to_owned(),
                ..incoming
            };
            assert!(incoming.fault.is_some(), "taken for a request: {event}");
            let Ok(reply) = finish(service.call(incoming));
            reply
        }
    };
    let canceled = check::<P>(&reply, REQUEST_ID, &canary);
    let tables = store.tables();
    let word = tables.payment.as_ref().ok().and_then(Option::as_ref);
    assert!(
        !canceled || word.is_some_and(|payment| payment.status == P::STATUSES.canceled),
        "told to be canceled, and is not"
    );
}

/// The reply in the answer that a front end takes, with every member checked.
fn unwrapped(answer: &Value) -> Reply {
    let lines = match (answer.get("headers"), answer.get("multiValueHeaders")) {
        (Some(Value::Object(lines)), None) => lines.clone(),
        (None, Some(Value::Object(lines))) => lines
            .iter()
            .map(|(name, lines)| {
                assert_eq!(lines.as_array().map(Vec::len), Some(1), "{name}");
                (name.clone(), lines[0].clone())
            })
            .collect(),
        _ => panic!("headers of both kinds, or of none: {answer}"),
    };
    assert_eq!(answer["isBase64Encoded"], false);
    let name = |name: &str| -> &'static str {
        [
            "content-type",
            "cache-control",
            "x-request-id",
            "retry-after",
            "allow",
            "wcp-version",
        ]
        .into_iter()
        .find(|known| *known == name)
        .unwrap_or_else(|| panic!("an undocumented header: {name}"))
    };
    Reply {
        status: answer["statusCode"]
            .as_u64()
            .and_then(|status| u16::try_from(status).ok())
            .expect("a status"),
        headers: lines
            .iter()
            .map(|(given, line)| (name(given), line.as_str().expect("a line").to_owned()))
            .collect(),
        body: answer["body"].as_str().expect("a body").to_owned(),
    }
}
