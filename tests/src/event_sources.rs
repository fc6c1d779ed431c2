//! One request, delivered by each event source.
//!
//! Every golden case's request is [rendered](golden::source) as each source delivers it, in all its
//! variants: API Gateway's HTTP API (payloads 2.0 and 1.0) and REST API, a load balancer (single
//! and multi-value headers), a Function URL and VPC Lattice. All must get the case's response, with
//! the same bytes.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use golden::{
    Request,
    source::{self, LINES, NAMES, PARAMETERS, PREFIXES, Variant},
};
use jiff::Timestamp;
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
    service::CancelService,
    store::memory::MemoryStore,
};

use crate::{
    clock::Still,
    golden::{Case, Given},
    memory::{caching, credential, payment},
    transport::{ProviderResponse, call},
};

/// The event sources by the names of literal events, and the response format that each takes.
pub const EVENT_SOURCES: [(&str, EventSource); 7] = [
    ("http_api_2.0", EventSource::HttpApi),
    ("http_api_1.0", EventSource::RestApi),
    ("rest_api", EventSource::RestApi),
    ("load_balancer", EventSource::LoadBalancer),
    ("load_balancer_multi_value", EventSource::LoadBalancer),
    ("function_url", EventSource::HttpApi),
    ("vpc_lattice", EventSource::Lattice),
];

/// Events that are JSON but not HTTP requests. Among them is `ordinary`, a request to `route`,
/// broken as each event source delivers it.
#[must_use]
pub fn malformed(ordinary: &Request, route: &str) -> Vec<String> {
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
        r#"{"rawPath": "/1", "requestContext": {"http": {"method": "POST"}, "domainName": 5}}"#,
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
    for member in ["headers", "body", "path", "pathParameters", "requestContext"] {
        events.push(format!(r#"{{"httpMethod": "POST", "{member}": {deep}}}"#));
    }
    for (source, _) in EVENT_SOURCES {
        events.extend(broken(&source::event(ordinary, route, source, Variant::default())));
    }
    events
}

/// `event` with one member of another type, missing, or given twice.
fn broken(event: &Value) -> Vec<String> {
    let mut events = Vec::new();
    let mut with = |change: &dyn Fn(&mut Value)| {
        let mut event = event.clone();
        change(&mut event);
        events.push(event.to_string());
    };
    with(&|event| event["body"] = json!({ "reason": "none" }));
    with(&|event| event["isBase64Encoded"] = json!("no"));
    let method = if event.get("httpMethod").is_some() {
        "/httpMethod"
    } else if event.get("method").is_some() {
        "/method"
    } else {
        "/requestContext/http/method"
    };
    for value in [Value::Null, json!(["POST"])] {
        with(&|event| *event.pointer_mut(method).expect("a method") = value.clone());
    }
    for headers in ["headers", "multiValueHeaders"] {
        if event.get(headers).is_some() {
            with(&|event| event[headers] = json!("host: pay.example.com"));
            with(&|event| event[headers]["accept"] = Value::Null);
            with(&|event| event[headers]["accept"] = json!({}));
            // The parser panics on more names than a map can hold.
            let many = (0..40_000).map(|n| (format!("x-{n}"), json!("v")));
            let many = Value::from_iter(many);
            with(&|event| event[headers] = many.clone());
        }
    }
    let twice = event.to_string();
    events.push(twice.replacen('{', r#"{"isBase64Encoded":false,"#, 1));
    events
}

/// Checks that `response` has the form of the event source of that name.
///
/// # Errors
/// Where it has another one, or there is no such event source.
pub fn check_form(event_source: &str, response: &ProviderResponse) -> Result<()> {
    let known = EVENT_SOURCES.iter().find(|(name, _)| *name == event_source);
    let (_, form) = known.with_context(|| format!("{event_source} is no event source"))?;
    ensure!(response.source == *form, "{event_source} got the form {:?}", response.source);
    Ok(())
}

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

/// Every case through every event source in every variant.
///
/// # Errors
/// The first event with another response.
pub async fn one_response<P: Provider>(cases: &[Case]) -> Result<Counted> {
    let mut counted = Counted::default();
    for (number, case) in cases.iter().enumerate() {
        let now = Timestamp::now();
        let request = source::request(&case.event_at(now)).with_context(|| case.name.clone())?;
        let mut first: Option<Observed> = None;
        let mut seen = HashSet::new();
        for (event_source, _) in EVENT_SOURCES {
            for variant in variants(number) {
                if !passes(&request, variant) {
                    continue;
                }
                let event = source::event(&request, P::ROUTE, event_source, variant).to_string();
                if !seen.insert(event.clone()) {
                    continue;
                }
                let observed = tell::<P>(case, now, &event).await;
                let (response, payments) = observed.with_context(|| {
                    format!("{}, {event_source}, {variant:?}: {event}", case.name)
                })?;
                check_form(event_source, &response).with_context(|| case.name.clone())?;
                // The first is the golden response; then all have to be the first.
                if first.is_none() {
                    case.check_response(&known(now), &response)
                        .with_context(|| case.name.clone())?;
                }
                let observed = (response.status, response.headers, response.body, payments);
                let first = first.get_or_insert_with(|| observed.clone());
                ensure!(
                    observed == *first,
                    "{}, {event_source}, {variant:?}\n  is {observed:?}\n  not {first:?}",
                    case.name
                );
            }
        }
        ensure!(first.is_some(), "{} passes no event source", case.name);
        counted.cases += 1;
        counted.events += seen.len();
    }
    Ok(counted)
}

/// Status, headers, body, and what is stored afterwards.
type Observed = (u16, BTreeMap<String, String>, String, BTreeMap<String, Option<Payment>>);

/// The values of a golden response's placeholders.
fn known(now: Timestamp) -> BTreeMap<&'static str, String> {
    let at = milliseconds(now);
    BTreeMap::from([
        ("{request_id}", REQUEST_ID.to_owned()),
        ("{canceled_at_seconds}", whole_seconds(&at).into_owned()),
        ("{canceled_at}", at),
        ("{cancellation_id}", CANCELLATION_ID.to_owned()),
    ])
}

/// The response to one event, and the payments afterwards.
async fn tell<P: Provider>(
    case: &Case,
    now: Timestamp,
    event: &str,
) -> Result<(ProviderResponse, BTreeMap<String, Option<Payment>>)> {
    let tables = Tables::with(&case.given)?;
    let service =
        CancelService::<P, _>::with_clock(tables.clone(), &caching(Duration::ZERO), Still(now));
    let response = call(&Handler(service), REQUEST_ID, 0, event).await?;
    let keys = case.given.payments.iter();
    let keys = keys.filter_map(|item| item["pk"].as_str());
    let stored = keys.map(|pk| (pk.to_owned(), tables.memory.payment(pk)));
    Ok((response, stored.collect()))
}

/// The tables of a golden case in memory, because some hundred thousand calls are too many for a
/// database. The golden tests use DynamoDB's engine.
#[derive(Clone, Default)]
struct Tables {
    memory: Arc<MemoryStore>,
    /// Items that break the data model.
    broken: BTreeSet<String>,
    unreachable: bool,
    lossy: bool,
}

impl Tables {
    fn with(given: &Given) -> Result<Self> {
        let mut tables = Self {
            unreachable: given.store.as_deref() == Some("unreachable"),
            lossy: given.store.as_deref() == Some("lossy"),
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
        if self.lossy {
            return Err(StoreError::Undecided);
        }
        // The one part of a response that would differ between calls.
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

/// API Gateway's limit for all headers together, in bytes.
const LONGEST_HEADERS: usize = 10_240;

/// Each factor by itself, and then all at once in six combinations, others for each case.
fn variants(number: usize) -> impl Iterator<Item = Variant> {
    let plain = Variant::default();
    let alone = [
        plain,
        Variant { prefix: 1, ..plain },
        Variant { prefix: 2, ..plain },
        Variant { parameters: 1, ..plain },
        Variant { parameters: 2, ..plain },
        Variant { parameters: 3, ..plain },
        Variant { escaped: true, ..plain },
        Variant { base64: true, ..plain },
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

/// Whether API Gateway lets it through: its headers are within [`LONGEST_HEADERS`] when they are
/// spread over these lines.
fn passes(request: &Request, variant: Variant) -> bool {
    let sizes = request.headers.iter().map(|(name, value)| {
        let lines = LINES[variant.lines](value);
        let size = |line: &String| name.len() + line.len();
        lines.iter().map(size).sum::<usize>()
    });
    sizes.sum::<usize>() <= LONGEST_HEADERS
}
