//! One request, delivered by each front end.
//!
//! Every golden case is taken apart into the request its client sent, and put together again as API Gateway's HTTP API (payloads 2.0 and 1.0) and REST API, a
//! load balancer (single and multi-value headers) and a Function URL deliver it, in the variants each of them has. All must get the case's answer, and the same bytes.
//!
//! What each front end makes of a request is AWS's documentation of its events, and captures of live ones where it is silent: HTTP APIs decode path and
//! parameters, the others do not; HTTP APIs and Function URLs join header lines of one name with a comma.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};
use shared::{
    auth::{CredentialRecord, Credentials},
    budget::Budget,
    cancel::{Payments, SignatureUse, Signatures, Transition, TransitionResult},
    clock::{milliseconds, whole_seconds},
    error::StoreError,
    lambda::{EventSource, Handler},
    payment::Payment,
    provider::Provider,
    route,
    service::CancelService,
    store::memory::MemoryStore,
};

use crate::{
    clock::Still,
    golden::{Case, Given},
    memory::{caching, credential, payment},
    transport::{Answer, call},
};

/// The front ends by the names that the files in `tests/front_ends` use, and the form of answer that each takes.
pub const FRONT_ENDS: [(&str, EventSource); 6] = [
    ("http_api_2.0", EventSource::HttpApi),
    ("http_api_1.0", EventSource::RestApi),
    ("rest_api", EventSource::RestApi),
    ("load_balancer", EventSource::LoadBalancer),
    ("load_balancer_multi_value", EventSource::LoadBalancer),
    ("function_url", EventSource::HttpApi),
];

/// Events that are JSON, and no HTTP request.
#[must_use]
pub fn malformed() -> Vec<String> {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let mut events: Vec<String> = [
        "null",
        "true",
        "0",
        "\"POST\"",
        "[]",
        "[{}]",
        "{}",
        r#"{"Records": [{"eventSource": "aws:sqs", "body": "{}"}]}"#,
        r#"{"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}"#,
        r#"{"version": "2.0"}"#,
        r#"{"httpMethod": "POST"}"#,
        r#"{"path": "/payments/1/cancel"}"#,
        r#"{"rawPath": "/payments/1/cancel", "requestContext": null}"#,
        r#"{"rawPath": "/payments/1/cancel", "requestContext": {}}"#,
        r#"{"rawPath": "/payments/1/cancel", "requestContext": {"http": {"method": null}}}"#,
        r#"{"rawPath": "/payments/1/cancel", "requestContext": {"http": {"method": "POST"}, "domainName": 5}}"#,
        r#"{"httpMethod": "POST", "path": "/", "headers": "api-key: k"}"#,
        r#"{"httpMethod": "POST", "path": "/", "headers": {"api-key": ["k"]}}"#,
        r#"{"httpMethod": "POST", "path": "/", "headers": {"api-key": {}}}"#,
        r#"{"httpMethod": "POST", "path": "/", "pathParameters": {"id": 1}}"#,
        r#"{"httpMethod": "POST", "path": "/", "pathParameters": {"id": null}}"#,
        r#"{"httpMethod": "POST", "path": "/", "body": 1}"#,
        r#"{"httpMethod": "POST", "path": "/", "body": "\ud800"}"#,
        r#"{"httpMethod": "POST", "path": "/", "isBase64Encoded": 1}"#,
        r#"{"httpMethod": "POST", "httpMethod": "GET", "path": "/"}"#,
        r#"{"httpMethod": ["POST"], "path": "/"}"#,
        r#"{"httpMethod": "POST", "path": {}}"#,
    ]
    .map(str::to_owned)
    .into();
    events.push(deep.clone());
    for member in [
        "headers",
        "body",
        "path",
        "pathParameters",
        "requestContext",
    ] {
        events.push(format!(r#"{{"httpMethod": "POST", "{member}": {deep}}}"#));
    }
    events
}

/// Checks that `answer` has the form of the front end of that name.
///
/// # Errors
/// Where it has another one, or there is no such front end.
pub fn check_form(front_end: &str, answer: &Answer) -> Result<()> {
    let known = FRONT_ENDS.iter().find(|(name, _)| *name == front_end);
    let (_, form) = known.with_context(|| format!("{front_end} is no front end"))?;
    ensure!(
        answer.source == *form,
        "{front_end} got the form {:?}",
        answer.source
    );
    Ok(())
}

/// What RFC 3986 leaves as it is.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const REQUEST_ID: &str = "7d0f1c52-3c1b-4c8a-9f5e-2f6f0a9b1e44";
const CANCELLATION_ID: &str = "0123456789abcdef0123456789abcdef";

/// How many requests were made of how many cases.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counted {
    /// Golden cases.
    pub cases: usize,
    /// Different events made of them.
    pub events: usize,
}

/// Every case through every front end in every variant.
///
/// # Errors
/// The first event whose answer is another one.
pub async fn one_answer<P: Provider>(cases: &[Case]) -> Result<Counted> {
    let mut counted = Counted::default();
    for (number, case) in cases.iter().enumerate() {
        let now = Timestamp::now();
        let request = Sent::of(&serde_json::from_str(&case.event_at(now))?, P::ROUTE)
            .with_context(|| case.name.clone())?;
        let mut first: Option<Told> = None;
        let mut seen = HashSet::new();
        for (front_end, _) in FRONT_ENDS {
            for variant in variants(number) {
                if !request.passes(variant) {
                    continue;
                }
                let event = request.delivered(front_end, variant, P::ROUTE).to_string();
                if !seen.insert(event.clone()) {
                    continue;
                }
                let told = tell::<P>(case, now, &event).await;
                let (answer, payments) = told
                    .with_context(|| format!("{}, {front_end}, {variant:?}: {event}", case.name))?;
                check_form(front_end, &answer).with_context(|| case.name.clone())?;
                // The first is the golden answer; then all have to be the first.
                if first.is_none() {
                    case.check_answer(&known(now), &answer)
                        .with_context(|| case.name.clone())?;
                }
                let told = (answer.status, answer.headers, answer.body, payments);
                let first = first.get_or_insert_with(|| told.clone());
                ensure!(
                    told == *first,
                    "{}, {front_end}, {variant:?}\n  is        {told:?}\n  should be {first:?}",
                    case.name
                );
            }
        }
        ensure!(first.is_some(), "{} passes no front end", case.name);
        counted.cases += 1;
        counted.events += seen.len();
    }
    Ok(counted)
}

/// Status, headers, body, and what is stored afterwards.
type Told = (
    u16,
    BTreeMap<String, String>,
    String,
    BTreeMap<String, Option<Payment>>,
);

/// What the placeholders of a golden answer stand for.
fn known(now: Timestamp) -> BTreeMap<&'static str, String> {
    let at = milliseconds(now);
    BTreeMap::from([
        ("{request_id}", REQUEST_ID.to_owned()),
        ("{canceled_at_seconds}", whole_seconds(&at).into_owned()),
        ("{canceled_at}", at),
        ("{cancellation_id}", CANCELLATION_ID.to_owned()),
    ])
}

/// The answer to one event, and the payments afterwards.
async fn tell<P: Provider>(
    case: &Case,
    now: Timestamp,
    event: &str,
) -> Result<(Answer, BTreeMap<String, Option<Payment>>)> {
    let tables = Tables::with(&case.given)?;
    let service =
        CancelService::<P, _>::with_clock(tables.clone(), &caching(Duration::ZERO), Still(now));
    let answer = call(&Handler(service), REQUEST_ID, 0, event).await?;
    let keys = case.given.payments.iter();
    let keys = keys.filter_map(|item| item["pk"].as_str());
    let stored = keys.map(|pk| (pk.to_owned(), tables.memory.payment(pk)));
    Ok((answer, stored.collect()))
}

/// The tables of a golden case in memory: some hundred thousand calls are too many for a database. The golden runs have a real one.
#[derive(Clone, Default)]
struct Tables {
    memory: Arc<MemoryStore>,
    /// Items that break the data model.
    broken: BTreeSet<String>,
    unreachable: bool,
}

impl Tables {
    fn with(given: &Given) -> Result<Self> {
        let mut tables = Self {
            unreachable: given.store.is_some(),
            ..Self::default()
        };
        for item in &given.payments {
            let pk = item["pk"].as_str().context("an item has no pk")?;
            match payment(item) {
                Ok(payment) => tables.memory.put_payment(pk, payment),
                Err(_) => drop(tables.broken.insert(pk.to_owned())),
            }
        }
        for item in &given.credentials {
            let pk = item["pk"].as_str().context("an item has no pk")?;
            match credential(item) {
                Ok(credential) => tables.memory.put_credential(pk, credential),
                Err(_) => drop(tables.broken.insert(pk.to_owned())),
            }
        }
        Ok(tables)
    }

    fn reach(&self, pk: &str) -> Result<(), StoreError> {
        if self.unreachable {
            return Err(StoreError::Unavailable);
        }
        if self.broken.contains(pk) {
            return Err(StoreError::Internal);
        }
        Ok(())
    }
}

impl Payments for Tables {
    async fn transition(
        &self,
        transition: &Transition,
        budget: &Budget,
    ) -> Result<TransitionResult, StoreError> {
        self.reach(transition.key.pk())?;
        // The one thing in an answer that would differ from call to call.
        let mut transition = transition.clone();
        CANCELLATION_ID.clone_into(&mut transition.cancellation.id);
        self.memory.transition(&transition, budget).await
    }
}

impl Credentials for Tables {
    async fn find(
        &self,
        pk: &str,
        budget: &Budget,
    ) -> Result<Option<CredentialRecord>, StoreError> {
        self.reach(pk)?;
        self.memory.find(pk, budget).await
    }
}

impl Signatures for Tables {
    async fn claim(&self, signature: &SignatureUse, budget: &Budget) -> Result<bool, StoreError> {
        self.reach(&signature.pk)?;
        self.memory.claim(signature, budget).await
    }
}

/// In what a front end, or its configuration, may differ.
#[derive(Debug, Clone, Copy, Default)]
struct Variant {
    /// A stage, or a base path mapping, in front of the path.
    prefix: usize,
    /// What of the path parameters is there.
    parameters: usize,
    /// Whether the client has percent-encoded every byte of the id, and not those only that must be.
    escaped: bool,
    /// Whether the front end has base64-encoded a body that is text.
    base64: bool,
    /// The case of the header names.
    names: usize,
    /// How values of one header are spread over its lines.
    lines: usize,
}

/// API Gateway's limit for all headers together, in bytes.
const LONGEST_HEADERS: usize = 10_240;

const PREFIXES: [&str; 3] = ["", "/prod", "/billing/v2"];

/// The route's own; none, as null, as no member, or as the whole path, as routes of `$default` and `{proxy+}` have it.
const PARAMETERS: [&str; 4] = ["own", "null", "absent", "proxy"];

const NAMES: [fn(&str) -> String; 3] = [str::to_lowercase, titled, str::to_uppercase];

/// As the client sent them; one line for each value; each line twice.
const LINES: [fn(&str) -> Vec<String>; 3] = [
    |value| vec![value.to_owned()],
    |value| value.split(',').map(str::to_owned).collect(),
    |value| vec![value.to_owned(); 2],
];

/// Each factor by itself, and then all at once in six combinations, others for each case.
fn variants(number: usize) -> impl Iterator<Item = Variant> {
    let plain = Variant::default();
    let alone = [
        plain,
        Variant { prefix: 1, ..plain },
        Variant { prefix: 2, ..plain },
        Variant {
            parameters: 1,
            ..plain
        },
        Variant {
            parameters: 2,
            ..plain
        },
        Variant {
            parameters: 3,
            ..plain
        },
        Variant {
            escaped: true,
            ..plain
        },
        Variant {
            base64: true,
            ..plain
        },
        Variant { names: 1, ..plain },
        Variant { names: 2, ..plain },
        Variant { lines: 1, ..plain },
        Variant { lines: 2, ..plain },
    ];
    let combined = (0..6).map(move |n| {
        // Six places of a walk through all 432 that is coprime to their number.
        let mut at = (number * 6 + n) * 5 % 432;
        let mut next = |size: usize| {
            let digit = at % size;
            at /= size;
            digit
        };
        Variant {
            prefix: next(PREFIXES.len()),
            parameters: next(PARAMETERS.len()),
            escaped: next(2) == 1,
            base64: next(2) == 1,
            names: next(NAMES.len()),
            lines: next(LINES.len()),
        }
    });
    alone.into_iter().chain(combined)
}

/// `x-api-key` as `X-Api-Key`.
fn titled(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    });
    words.collect::<Vec<_>>().join("-")
}

/// A request as its client sent it.
struct Sent {
    method: String,
    /// Decoded.
    id: String,
    headers: BTreeMap<String, String>,
    body: Option<Vec<u8>>,
}

impl Sent {
    /// The request in a golden event, which is one of an HTTP API, payload 2.0, or of a Function URL.
    fn of(event: &Value, route: &str) -> Result<Self> {
        let text = |path: &str| event.pointer(path).and_then(Value::as_str);
        let id = match event["pathParameters"][route::parameter(route)].as_str() {
            Some(id) => id.to_owned(),
            None => {
                let from_right = route
                    .split('/')
                    .rev()
                    .position(|part| part.starts_with('{'));
                let path = text("/rawPath").context("no rawPath")?;
                let id = path.rsplit('/').nth(from_right.unwrap_or_default());
                percent_decode_str(id.context("no id")?)
                    .decode_utf8()?
                    .into_owned()
            }
        };
        let body = match (text("/body"), event["isBase64Encoded"] == true) {
            (None, _) => None,
            (Some(body), false) => Some(body.as_bytes().to_vec()),
            (Some(body), true) => Some(STANDARD.decode(body)?),
        };
        let method = text("/requestContext/http/method").context("no method")?;
        Ok(Self {
            method: method.to_owned(),
            id,
            headers: serde_json::from_value(event["headers"].clone())?,
            body,
        })
    }

    /// Whether API Gateway lets it through: its headers are within [`LONGEST_HEADERS`] when they are spread over these lines.
    fn passes(&self, variant: Variant) -> bool {
        let sizes = self.headers.iter().map(|(name, value)| {
            let lines = LINES[variant.lines](value);
            let size = |line: &String| name.len() + line.len();
            lines.iter().map(size).sum::<usize>()
        });
        sizes.sum::<usize>() <= LONGEST_HEADERS
    }

    /// It, as `front_end` delivers it.
    fn delivered(&self, front_end: &str, variant: Variant, route: &str) -> Value {
        let parameter = route::parameter(route);
        let place = format!("{{{parameter}}}");
        let encoded_id = if variant.escaped {
            self.id.bytes().map(|byte| format!("%{byte:02X}")).collect()
        } else {
            utf8_percent_encode(&self.id, RESERVED).to_string()
        };
        let path = |id: &str| PREFIXES[variant.prefix].to_owned() + &route.replace(&place, id);
        let (encoded, decoded) = (path(&encoded_id), path(&self.id));
        let parameters = |id: &str, path: &str| match PARAMETERS[variant.parameters] {
            "own" => json!({ parameter: id }),
            "proxy" => json!({ "proxy": path.trim_start_matches('/') }),
            _ => Value::Null,
        };
        let with_parameters = |mut event: Value, parameters: Value| {
            if PARAMETERS[variant.parameters] != "absent" {
                event["pathParameters"] = parameters;
            }
            event
        };

        let lines: BTreeMap<String, Vec<String>> = self
            .headers
            .iter()
            .map(|(name, value)| (NAMES[variant.names](name), LINES[variant.lines](value)))
            .collect();
        let joined: BTreeMap<_, _> = lines
            .iter()
            .map(|(name, lines)| (name, lines.join(",")))
            .collect();
        let last: BTreeMap<_, _> = lines
            .iter()
            .map(|(name, lines)| (name, lines.last()))
            .collect();

        let text = self
            .body
            .as_ref()
            .map(|body| String::from_utf8(body.clone()));
        let (body, base64) = match (&self.body, text) {
            (None, _) | (_, None) => (None, variant.base64),
            (Some(_), Some(Ok(text))) if !variant.base64 => (Some(text), false),
            (Some(body), _) => (Some(STANDARD.encode(body)), true),
        };
        let method = &self.method;
        let payload_2 = |path: &str, domain: &str, route_key: &str| {
            let mut event = json!({
                "version": "2.0", "routeKey": route_key, "rawPath": path, "rawQueryString": "", "headers": joined,
                "requestContext": {
                    "accountId": "123456789012", "domainName": domain, "requestId": "r1", "routeKey": route_key, "stage": "$default",
                    "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "test" },
                },
                "isBase64Encoded": base64,
            });
            if let Some(body) = &body {
                event["body"] = json!(body);
            }
            event
        };
        let payload_1 = |path: &str| {
            json!({
                "resource": route, "path": path, "httpMethod": method, "headers": last, "multiValueHeaders": lines,
                "queryStringParameters": null, "multiValueQueryStringParameters": null, "stageVariables": null,
                "requestContext": { "accountId": "123456789012", "resourcePath": route, "httpMethod": method, "path": path, "stage": "prod" },
                "body": body, "isBase64Encoded": base64,
            })
        };
        let balancer = |headers: &str, values: Value| {
            json!({
                "requestContext": { "elb": { "targetGroupArn": "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/t/1" } },
                "httpMethod": method, "path": encoded, "queryStringParameters": {}, headers: values,
                "body": body.clone().unwrap_or_default(), "isBase64Encoded": base64,
            })
        };
        match front_end {
            "http_api_2.0" => {
                let event = payload_2(&decoded, "pay.example.com", &format!("POST {route}"));
                with_parameters(event, parameters(&self.id, &decoded))
            }
            "http_api_1.0" => {
                let mut event = payload_1(&decoded);
                event["version"] = json!("1.0");
                with_parameters(event, parameters(&self.id, &decoded))
            }
            "rest_api" => with_parameters(payload_1(&encoded), parameters(&encoded_id, &encoded)),
            "load_balancer" => balancer("headers", json!(joined)),
            "load_balancer_multi_value" => balancer("multiValueHeaders", json!(lines)),
            "function_url" => payload_2(&encoded, "u1.lambda-url.us-east-1.on.aws", "$default"),
            other => unreachable!("{other} is no front end"),
        }
    }
}
