//! The log of the real binary: one event for each request, with listed fields only. No caller can
//! forge an event, and no secret is in one.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use shared::{limits::ATTEMPT_TIMEOUT, provider::Provider, service::TARGET};

use crate::{
    faults::{Cut, Fault, FaultProxy},
    golden::{Call, Case},
    runtime::{Function, TRACE},
    stage::{Stage, canceling, retried, shortest},
    tables::Tables,
    transport::{ALLOWED, ProviderResponse},
};

/// Every member that a request's event may have.
const MEMBERS: [&str; 15] = [
    "timestamp",
    "level",
    "target",
    "provider",
    "outcome",
    "status",
    "payment_id",
    "merchant_id",
    "replayed",
    "duration_ms",
    "store_attempts",
    "store_retries",
    "cold_start",
    "request_id",
    "trace_id",
];

/// Every member that another event may have, for the operator.
const OTHER_MEMBERS: [&str; 11] = [
    "timestamp",
    "level",
    "target",
    "message",
    "table",
    "kind",
    "code",
    "attribute",
    "attributes",
    "pk",
    "canceled",
];

/// Every outcome that a request's event may have.
const OUTCOMES: [&str; 11] = [
    "canceled",
    "malformed",
    "unauthenticated",
    "forbidden",
    "not_found",
    "not_cancelable",
    "key_reused",
    "no_such_endpoint",
    "unavailable",
    "undecided",
    "internal",
];

/// Every golden case, right and wrong, in one process.
pub(super) async fn of_golden_cases<P: Provider>(cases: &[Case], binary: &str) -> Result<()> {
    let stage = Stage::<P>::set(Some(binary), Duration::ZERO).await?;
    let mut secrets = Vec::new();
    let mut expected = BTreeMap::new();
    for case in cases.iter().filter(|case| case.given.store.is_none()) {
        stage.tables.empty()?;
        stage.tables.give(&case.given)?;
        let (call, response) = stage.call(case).await?;
        let requests = stage.proxy.take();
        for request in &requests {
            let trace = request.trace.as_deref().unwrap_or_default();
            ensure!(trace.contains(TRACE), "{request:?} is of another trace");
        }
        // A process that was held up for a second has made an attempt more.
        let made = (!retried(&requests)).then_some(requests.len());
        expected.insert(call.request_id, (case, response, made));
        secrets.extend(credentials(case));
    }
    let log = stage.finish().await?;

    let mut cold_starts = 0;
    for line in log.lines() {
        let event = serde_json::from_str::<Value>(line).with_context(|| line.to_owned())?;
        if event["target"] != TARGET {
            members(&event, &OTHER_MEMBERS)?;
            continue;
        }
        let id = event["request_id"].as_str().context("no request id")?;
        let exchange = expected.remove(id).with_context(|| format!("{id} again"))?;
        is_of_the_request::<P>(&event, &exchange).with_context(|| line.to_owned())?;
        cold_starts += usize::from(event["cold_start"] == true);
    }
    ensure!(expected.is_empty(), "{} requests have no event", expected.len());
    ensure!(cold_starts == 1, "{cold_starts} cold starts of one process");
    has_none_of(&log, &secrets)
}

/// Each member is what it should be, and so nothing of the body, the headers or the payment.
fn is_of_the_request<P: Provider>(
    event: &Value,
    (case, response, made): &(&Case, ProviderResponse, Option<usize>),
) -> Result<()> {
    members(event, &MEMBERS)?;
    let outcome = event["outcome"].as_str().unwrap_or_default();
    ensure!(OUTCOMES.contains(&outcome), "no such outcome: {outcome}");
    ensure!(event["provider"] == P::NAME, "another provider");
    ensure!(event["status"] == response.status, "another status");
    ensure!(event["trace_id"] == TRACE, "another trace");
    if let Some(made) = made {
        ensure!(event["store_attempts"] == *made, "{made} were made");
        ensure!(event["store_retries"] == 0, "nothing was retried");
    }
    let replayed = response.headers.contains_key("idempotent-replayed");
    ensure!(event["replayed"] == replayed, "replayed: {replayed}");
    let took = event["duration_ms"].as_f64().unwrap_or(-1.0);
    ensure!(took >= 0.0, "took {took} ms");

    if let Some(merchant) = event.get("merchant_id") {
        let known = |credential: &Value| credential["merchant_id"] == *merchant;
        ensure!(case.given.credentials.iter().any(known), "whose merchant?");
        ensure!(event.get("payment_id").is_some(), "a merchant alone");
    } else {
        let hidden = event.get("payment_id").is_none();
        ensure!(hidden, "an unauthenticated caller's payment id is logged");
    }
    Ok(())
}

/// Of a cancel whose first write gets no response: it lasts an attempt's timeout and makes another.
pub(super) async fn of_a_retry(cases: &[Case], binary: &str) -> Result<()> {
    /// Finding the credential, and the write.
    const OPERATIONS: usize = 2;
    let case = canceling(cases)?;
    let tables = Tables::new()?;
    tables.give(&case.given)?;
    let proxy = FaultProxy::listening(&tables).await?;
    let function = Function::start(binary, &[("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url())]).await?;
    function.polled().await?;
    proxy.script([Fault::None, Fault::Request { after: 0, how: Cut::Hang }]);
    function.invoke(&Call::begin().request_id, &case.event(), ALLOWED).await?;
    let attempts = proxy.attempts();
    let log = function.finish().await?;
    let lines = log.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    let event = lines.iter().find(|line| line["target"] == TARGET).context("no event")?;
    ensure!(attempts > OPERATIONS, "no attempt was retried: {event}");
    ensure!(event["store_attempts"] == attempts, "{attempts} were made: {event}");
    ensure!(event["store_retries"] == attempts - OPERATIONS, "{attempts} were made: {event}");
    // No machine is so slow that it takes a thousand times as long.
    let took = event["duration_ms"].as_f64().unwrap_or_default();
    let least = ATTEMPT_TIMEOUT.as_secs_f64() * 1e3;
    ensure!((least..least * 1e3).contains(&took), "{event}");
    Ok(())
}

fn members(event: &Value, allowed: &[&str]) -> Result<()> {
    for name in event.as_object().context("an event is an object")?.keys() {
        ensure!(allowed.contains(&name.as_str()), "{name} is logged");
    }
    Ok(())
}

/// Every credential that the case sends or stores.
fn credentials(case: &Case) -> Vec<String> {
    let sent = case.event["headers"].as_object().into_iter().flatten();
    let sent = sent
        .filter(|(name, _)| {
            ["key", "token", "authorization", "signature", "app-id"]
                .iter()
                .any(|part| name.contains(part))
        })
        .filter(|(name, _)| *name != "idempotency-key")
        .filter_map(|(_, value)| value.as_str()?.rsplit([' ', '=']).next());
    let stored = case.given.credentials.iter().flat_map(|item| {
        let secrets = ["secret_sha256", "signing_secret"].map(|name| item[name].as_str());
        let key_id = item["pk"].as_str().and_then(|pk| pk.split('#').nth(1));
        secrets.into_iter().chain([key_id]).flatten()
    });
    sent.chain(stored).map(str::to_owned).collect()
}

/// As whole words: `wcp_expired` is a key in one case, and `pay_wcp_expired` a payment.
fn has_none_of(log: &str, secrets: &[String]) -> Result<()> {
    let word = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    let words = log.split(|character| !word(character)).collect::<HashSet<_>>();
    for secret in secrets.iter().filter(|secret| secret.len() >= 6) {
        let leaked = if secret.chars().all(word) {
            words.contains(secret.as_str())
        } else {
            log.contains(secret.as_str())
        };
        ensure!(!leaked, "{secret} is in the log");
    }
    Ok(())
}

/// A line end, the start of another event, a terminal escape in one character and in two, NUL, DEL,
/// and two more line ends of Unicode.
const HOSTILE: &str = "x\r\n{\"target\":\"shared::request\",\"outcome\":\"canceled\"}\
    \u{1b}[31m\u{9b}31m\0\u{7f}\u{85}\u{2028}";

/// The SDK and the runtime trace requests with their headers, and responses with their bodies.
pub(super) async fn at_every_level(cases: &[Case], binary: &str) -> Result<()> {
    const CANARY: &str = "canary-of-the-secret-access-key";
    let case = canceling(cases)?;
    let mut secrets = credentials(case);
    secrets.push(CANARY.to_owned());
    for (variable, levels) in [
        ("RUST_LOG", "trace"),
        ("AWS_LAMBDA_LOG_LEVEL", "TRACE"),
        ("RUST_LOG", "debug"),
        ("RUST_LOG", "info,aws_smithy_runtime=trace,hyper=trace,lambda_runtime=trace"),
        ("RUST_LOG", "error"),
    ] {
        let tables = Tables::new()?;
        tables.give(&case.given)?;
        let url = FaultProxy::listening(&tables).await?.url();
        let environment = [
            ("AWS_ENDPOINT_URL_DYNAMODB", url.as_str()),
            ("AWS_SECRET_ACCESS_KEY", CANARY),
            (variable, levels),
        ];
        let function = Function::start(binary, &environment).await?;
        let id = Call::begin().request_id;
        function.invoke(&id, &case.event(), ALLOWED).await?;
        let log = function.finish().await?;
        let has_debug = log.contains("DEBUG");
        ensure!(has_debug == (levels != "error"), "{levels}: {log}");
        has_none_of(&log, &secrets).with_context(|| format!("{variable}={levels}"))?;
    }
    Ok(())
}

/// [`HOSTILE`] in place of every text in an event that cancels, one at a time, in both log formats.
pub(super) async fn of_hostile_events(cases: &[Case], binary: &str) -> Result<()> {
    let case = shortest(cases)?;
    let tables = Tables::new()?;
    for credential in &case.given.credentials {
        tables.put("credentials", credential)?;
    }
    let url = FaultProxy::listening(&tables).await?.url();
    let events = hostile(&serde_json::from_str(&case.event())?);
    ensure!(events.len() > 20, "only {} places", events.len());
    for format in ["JSON", "Text"] {
        let environment =
            [("AWS_ENDPOINT_URL_DYNAMODB", url.as_str()), ("AWS_LAMBDA_LOG_FORMAT", format)];
        let function = Function::start(binary, &environment).await?;
        for event in &events {
            let id = Call::begin().request_id;
            function.invoke(&id, &event.to_string(), ALLOWED).await?;
        }
        let log = function.finish().await?;
        let lines = log.lines().count();
        ensure!(lines == events.len(), "{lines} lines: {log}");
        ensure!(log.contains("[31m"), "nothing of it was logged: {log}");
        for line in log.lines() {
            ensure!(!line.contains(char::is_control), "{line:?}");
            let whole = match format {
                "JSON" => serde_json::from_str::<Value>(line)?["target"] == TARGET,
                _ => line.starts_with("20") && line.contains(TARGET),
            };
            ensure!(whole, "no event of its own: {line}");
        }
    }
    Ok(())
}

/// The event with [`HOSTILE`] in place of each of its texts, and of those in its body's JSON.
fn hostile(event: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    let body = event["body"].as_str().unwrap_or_default();
    if let Ok(body) = serde_json::from_str::<Value>(body) {
        for body in with_hostile_text(&body) {
            let mut event = event.clone();
            event["body"] = body.to_string().into();
            all.push(event);
        }
    }
    all.extend(with_hostile_text(event));
    all
}

fn with_hostile_text(value: &Value) -> Vec<Value> {
    let inside = |parts: Vec<Value>, put: &dyn Fn(Value) -> Value| {
        parts.into_iter().map(put).collect::<Vec<_>>()
    };
    match value {
        Value::String(_) => vec![HOSTILE.into()],
        Value::Object(map) => map
            .iter()
            .flat_map(|(name, member)| {
                inside(with_hostile_text(member), &|hostile| {
                    let mut map = map.clone();
                    map.insert(name.clone(), hostile);
                    map.into()
                })
            })
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => Vec::new(),
    }
}
