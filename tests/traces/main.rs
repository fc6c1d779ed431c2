//! The functions with the feature `opentelemetry`, in front of a collector: `cargo run -p harness
//! --example traces`.
//!
//! Builds them first, because an ordinary build has none of it.
#![expect(clippy::print_stdout, reason = "a command's output")]

use std::{
    env,
    path::Path,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use axum::{Router, body::Bytes, extract::State, routing::post};
use harness::{
    golden::{Call, Case, cases, providers, put},
    runtime::{Function, TRACE},
    transport::{ALLOWED, ProviderResponse},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, trace::v1::Span,
};
use prost::Message;
use serde_json::Value;
use tokio::net::TcpListener;

/// What has been sent, one entry for each time.
type Sent = Arc<Mutex<Vec<Bytes>>>;

#[tokio::main]
async fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let providers = providers()?;
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--locked", "--quiet"]).current_dir(&root);
    for provider in &providers {
        build.args(["-p", provider, "--features", &format!("{provider}/opentelemetry")]);
    }
    ensure!(build.status()?.success(), "the functions do not build with the feature");
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);

    let sent = Sent::default();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let collector = format!("http://{}", listener.local_addr()?);
    let app = Router::new().route("/v1/traces", post(receive)).with_state(Arc::clone(&sent));
    tokio::spawn(async move { axum::serve(listener, app).await });
    for provider in &providers {
        let binary = target.join("debug").join(provider);
        let binary = binary.to_str().context("a path in UTF-8")?;
        let cases = cases(provider)?;
        // A cancel of a re-opened payment has a second span.
        let mut cancels = cases.iter().filter(|case| case.cancels() && case.then.writes == 1);
        let case = cancels.find(|case| case.name.starts_with("cancels_"));
        let case = case.context("no case cancels a payment")?;
        let spans = traced(binary, case, &collector, &sent).await?;
        println!("{provider}: {spans} spans");
        collector_is_silent(binary, case).await?;
    }
    println!("{} passed, 0 failed", 2 * providers.len());
    Ok(())
}

async fn receive(State(sent): State<Sent>, body: Bytes) {
    sent.lock().unwrap_or_else(PoisonError::into_inner).push(body);
}

/// One cancel: its span is within Lambda's trace and contains the call, its one attempt and the
/// outcome, and no secret.
async fn traced(binary: &str, case: &Case, collector: &str, sent: &Sent) -> Result<usize> {
    let store = store(case).await?;
    let environment = [
        ("AWS_ENDPOINT_URL_DYNAMODB", store.as_str()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector),
        ("PRIME_CONNECTION", "false"),
    ];
    let function = Function::start(binary, &environment).await?;
    let call = Call::begin();
    let event = case.event();
    let response = function.invoke(&call.request_id, &event, ALLOWED).await?;
    let response: ProviderResponse = serde_json::from_str(&response)?;
    ensure!(response.status == case.then.status, "{response:?}");

    let spans = until_sent(sent).await?;
    let named = |name: &str| {
        let mut found = spans.iter().filter(|span| span.name == name);
        let one = found.next().with_context(|| format!("no span {name} in {spans:#?}"))?;
        ensure!(found.next().is_none(), "two spans {name}");
        Ok(one)
    };
    let trace = hex::decode(TRACE.trim_start_matches("1-").replace('-', ""))?;
    ensure!(spans.iter().all(|span| span.trace_id == trace), "of another trace: {spans:#?}");
    let request = spans.iter().find(|span| span.name.starts_with("POST /"));
    let request = request.with_context(|| format!("no request in {spans:#?}"))?;
    ensure!(
        hex::encode(&request.parent_span_id) == "9a9197af755a6419",
        "not within Lambda's own span"
    );
    let write = named("DynamoDB.UpdateItem")?;
    ensure!(write.parent_span_id == request.span_id, "the write is not the request's");
    let look = named("DynamoDB.GetItem")?;
    ensure!(look.parent_span_id == request.span_id, "the lookup is not the request's");
    let attempts = spans.iter().filter(|span| span.name == "try_attempt");
    ensure!(attempts.count() == 2, "not one attempt each");
    let event = request.events.first().context("no event in the span")?;
    let outcome = event.attributes.iter().find(|one| one.key == "outcome");
    let outcome = format!("{:?}", outcome.context("no outcome")?.value);
    ensure!(outcome.contains("\"canceled\""), "the outcome is {outcome}");

    let bytes = sent.lock().unwrap_or_else(PoisonError::into_inner).concat();
    let text = String::from_utf8_lossy(&bytes);
    let headers = case.event.pointer("/headers").and_then(Value::as_object);
    let headers = headers.into_iter().flatten();
    let secrets = headers.filter(|(name, _)| {
        ["key", "token", "authorization", "signature"].iter().any(|part| name.contains(part))
    });
    for (name, secret) in secrets {
        let secret = secret.as_str().unwrap_or_default();
        let secret = secret.rsplit([' ', '=']).next().unwrap_or_default();
        ensure!(!text.contains(secret), "{name} is in the spans");
    }
    ensure!(!text.contains("AWS4-HMAC"), "a signature is in the spans");
    sent.lock().unwrap_or_else(PoisonError::into_inner).clear();
    Ok(spans.len())
}

/// A silent collector delays no response, and the next request by a second at most.
async fn collector_is_silent(binary: &str, case: &Case) -> Result<()> {
    let store = store(case).await?;
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let collector = format!("http://{}", silent.local_addr()?);
    let environment = [
        ("AWS_ENDPOINT_URL_DYNAMODB", store.as_str()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector),
    ];
    let function = Function::start(binary, &environment).await?;
    function.polled().await?;
    let event = case.event();
    let began = Instant::now();
    let first = function.invoke(&Call::begin().request_id, &event, ALLOWED).await?;
    let took = began.elapsed();
    ensure!(took < Duration::from_millis(900), "the response waited for the collector: {took:?}");
    let first: ProviderResponse = serde_json::from_str(&first)?;
    ensure!(first.status == case.then.status, "{first:?}");
    let second = function.invoke(&Call::begin().request_id, &event, ALLOWED).await?;
    let second: ProviderResponse = serde_json::from_str(&second)?;
    ensure!(second.status < 500, "{second:?}");
    let took = began.elapsed();
    ensure!(took < Duration::from_secs(4), "the second waited {took:?}");
    Ok(())
}

/// A DynamoDB with what the case was given.
async fn store(case: &Case) -> Result<String> {
    let (address, tables) = embedded::with_tables().await?;
    put(&case.given, &tables).await?;
    Ok(format!("http://{address}"))
}

/// The spans that have been sent, once there are any.
async fn until_sent(sent: &Sent) -> Result<Vec<Span>> {
    let deadline = Instant::now() + ALLOWED;
    loop {
        let bodies = sent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !bodies.is_empty() {
            let requests = bodies.into_iter().map(ExportTraceServiceRequest::decode);
            let requests = requests.collect::<Result<Vec<_>, _>>()?;
            let resources = requests.into_iter().flat_map(|request| request.resource_spans);
            let scopes = resources.flat_map(|resource| resource.scope_spans);
            return Ok(scopes.flat_map(|scope| scope.spans).collect());
        }
        ensure!(Instant::now() < deadline, "nothing was sent to the collector");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
