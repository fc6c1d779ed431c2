//! Traces for OpenTelemetry, with the feature of that name. Without it, none of this is linked.
//!
//! Each request has a span within the trace that Lambda names. In it are the spans of the call to
//! DynamoDB and of every attempt, which the AWS SDK makes, and the request's log event. They are
//! sent by OTLP over HTTP to `OTEL_EXPORTER_OTLP_ENDPOINT`, by default `http://localhost:4318`,
//! where a collector that runs as a Lambda extension listens. No other event of the SDK is sent,
//! because those quote requests, signatures included.

use std::{
    collections::HashMap,
    env,
    sync::LazyLock,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use lambda_runtime::{
    Error, LambdaInvocation,
    tower::layer::{LayerFn, layer_fn},
};
use opentelemetry::{propagation::TextMapPropagator, trace::TracerProvider};
use opentelemetry_aws::trace::{XrayIdGenerator, XrayPropagator};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tower_service::Service;
use tracing::{Instrument, Metadata, Subscriber, info_span, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use crate::service::TARGET;

/// A collector is on the same machine; one that is silent for longer loses the spans.
const LONGEST: Duration = Duration::from_secs(1);

static PROVIDER: LazyLock<Result<SdkTracerProvider, ExporterBuildError>> = LazyLock::new(|| {
    let exporter = SpanExporter::builder().with_http().with_timeout(LONGEST).build()?;
    let mut resource = Resource::builder();
    if let (Err(_), Ok(name)) =
        (env::var("OTEL_SERVICE_NAME"), env::var("AWS_LAMBDA_FUNCTION_NAME"))
    {
        resource = resource.with_service_name(name);
    }
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_id_generator(XrayIdGenerator::default())
        .with_resource(resource.build())
        .build())
});

/// Makes OpenTelemetry's spans of those that are traced.
pub(crate) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>() -> Option<impl Layer<S>> {
    let provider = PROVIDER.as_ref().ok()?;
    let traced = filter_fn(is_traced).with_max_level_hint(LevelFilter::DEBUG);
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("shared"));
    Some(spans.with_location(false).with_filter(traced))
}

fn is_traced(about: &Metadata<'_>) -> bool {
    let of_the_call = about.target().starts_with("shared::store::dynamodb");
    let of_an_attempt =
        about.name() == "try_attempt" && about.target().starts_with("aws_smithy_runtime");
    let ours = about.target() == module_path!();
    about.target() == TARGET || about.is_span() && (ours || of_the_call || of_an_attempt)
}

/// A span around each invocation of a function that serves `route`. Spans are sent after the
/// response and before the next poll, because the environment may be frozen then.
///
/// # Errors
/// If the variables that OpenTelemetry reads name no valid endpoint.
pub(crate) fn around_each<S>(
    route: &'static str,
) -> Result<LayerFn<impl Fn(S) -> Traced<S>>, Error> {
    let provider = PROVIDER.as_ref().map_err(ToString::to_string)?;
    Ok(layer_fn(move |inner| Traced { inner, provider, route }))
}

/// A service whose invocations are traced.
#[derive(Clone)]
pub(crate) struct Traced<S> {
    inner: S,
    provider: &'static SdkTracerProvider,
    route: &'static str,
}

impl<S> Service<LambdaInvocation> for Traced<S>
where
    S: Service<LambdaInvocation, Response = (), Error = Error>,
    S::Future: Send + 'static,
{
    type Response = ();
    type Error = Error;
    type Future = BoxFuture<'static, Result<(), Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, invocation: LambdaInvocation) -> Self::Future {
        let (provider, route) = (self.provider, self.route);
        let span = info_span!(
            "request",
            "otel.name" = format!("POST {route}"),
            "otel.kind" = "server",
            "http.route" = route,
            "faas.invocation_id" = invocation.context.request_id,
        );
        if let Some(header) = invocation.context.xray_trace_id.clone() {
            let carrier = HashMap::from([("x-amzn-trace-id".to_owned(), header)]);
            // Fails only if no subscriber takes the span.
            let _ = span.set_parent(XrayPropagator::new().extract(&carrier));
        }
        let request = span.in_scope(|| self.inner.call(invocation)).instrument(span);
        Box::pin(async move {
            let done = request.await;
            let sent = tokio::task::spawn_blocking(move || provider.force_flush());
            let _ = tokio::time::timeout(LONGEST, sent).await;
            done
        })
    }
}
