//! DynamoDB, and how it is asked: where it is, as whom, for how long and how often.
//!
//! The SDK's operations run here on the SDK's own runtime, without its `Client`: for every client that one parses a table of all AWS partitions with regular
//! expressions, a third of a function's whole start, only to find the end of a host name. What it would put in place besides is put in place here, and a test
//! compares what both send.

use std::{
    fmt::Debug,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use aws_runtime::{
    auth::sigv4,
    invocation_id::InvocationIdInterceptor,
    recursion_detection::RecursionDetectionInterceptor,
    request_info::RequestInfoInterceptor,
    service_clock_skew::ServiceClockSkewInterceptor,
    user_agent::{ApiMetadata, AwsUserAgent},
};
use aws_sdk_dynamodb::{
    config::{
        BehaviorVersion, ConfigBag, Credentials as Keys, IdentityCache, Intercept, Layer, Region,
        RuntimeComponents, RuntimeComponentsBuilder, RuntimePlugin, SharedCredentialsProvider,
        SharedHttpClient, SharedInterceptor, StalledStreamProtectionConfig,
        interceptors::{BeforeTransmitInterceptorContextMut, BeforeTransmitInterceptorContextRef},
        retry::{RetryConfig, TokenBucket},
        timeout::TimeoutConfig,
    },
    error::{BoxError, BuildError, SdkError},
    operation::{
        get_item::{GetItem, GetItemError, GetItemOutput, builders::GetItemInputBuilder},
        update_item::{
            UpdateItem, UpdateItemError, UpdateItemOutput, builders::UpdateItemInputBuilder,
        },
    },
};
use aws_smithy_async::{rt::sleep::TokioSleep, time::SystemTimeSource};
use aws_smithy_http_client::{Builder as HttpClient, tls};
use aws_smithy_runtime::client::{
    http::{
        body::content_length_enforcement::EnforceContentLengthRuntimePlugin,
        connection_poisoning::ConnectionPoisoningInterceptor,
    },
    orchestrator::{
        AuthSchemeAndEndpointOrchestrationV2, endpoints::StaticUriEndpointResolver, invoke,
    },
    retries::{classifiers::HttpStatusCodeClassifier, strategy::StandardRetryStrategy},
};
use aws_smithy_runtime_api::client::{
    auth::static_resolver::StaticAuthSchemeOptionResolver,
    interceptors::{context::Input, dyn_dispatch_hint},
    runtime_plugin::{RuntimePlugins, StaticRuntimePlugin},
};
use aws_types::{SdkConfig, SigningName, os_shim_internal::Env, region::SigningRegion, sdk_config};
use tokio::time::Instant;
use tracing::{Instrument, debug_span};

use super::super::tally;

const SERVICE: &str = "dynamodb";

/// A connection within a region takes a few milliseconds; half a second means there is nobody.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// DynamoDB answers a write within 10 ms, its slowest in a few hundred. Three attempts of a second fit the
/// [longest time a caller waits](crate::service::LONGEST).
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// An attempt with less time than this before the answer is due would most likely be cut short, and leave the outcome open.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(100);
/// The first try and two more.
const ATTEMPTS: u32 = 3;
/// Between attempts: the SDK draws a random part of it, doubled each time.
const FIRST_BACKOFF: Duration = Duration::from_millis(25);
const LONGEST_BACKOFF: Duration = Duration::from_millis(250);
/// The retry budget of one process: 20 repetitions, of whatever sort, and one more for every five calls that succeed at once. A long outage is
/// then met with one attempt per call, and the first answered call after it needs no budget.
const RETRY_BUDGET: usize = 100;
const RETRY_COST: u32 = 5;

/// Where DynamoDB is and as whom to speak to it, from the variables that Lambda sets and the endpoint the SDK's own name. Not from `aws-config`: that also
/// looks for profiles, instance roles and web identities, and makes a client of another service for it, at twice the instructions of the whole start.
#[must_use]
pub fn environment() -> SdkConfig {
    let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
    let url = variable("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| variable("AWS_ENDPOINT_URL"));
    let mut config = limits();
    config.set_region(region.map(Region::new));
    config.set_endpoint_url(url);
    if let (Some(id), Some(secret)) = (
        variable("AWS_ACCESS_KEY_ID"),
        variable("AWS_SECRET_ACCESS_KEY"),
    ) {
        let session = variable("AWS_SESSION_TOKEN");
        let keys = Keys::new(id, secret, session, None, "environment");
        config.set_credentials_provider(Some(SharedCredentialsProvider::new(keys)));
    }
    config.build()
}

/// How the SDK asks, wherever DynamoDB is: every time-out and retry value stated here, because the SDK's own defaults would wait for minutes on a silent
/// peer, and are changing.
#[must_use]
pub fn limits() -> sdk_config::Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(ATTEMPT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(crate::service::LONGEST)
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(FIRST_BACKOFF)
        .with_max_backoff(LONGEST_BACKOFF);
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http_client())
        .timeout_config(timeouts)
        .retry_config(retries)
        // The attempt's time-out says the same.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

/// HTTPS with the one TLS stack that is linked.
#[must_use]
pub fn http_client() -> SharedHttpClient {
    let ring = tls::rustls_provider::CryptoMode::Ring;
    HttpClient::new()
        .tls_provider(tls::Provider::Rustls(ring))
        .build_https()
}

/// Where DynamoDB is in `region`: only the end of the name differs, by partition, which the region's own name tells.
fn endpoint(region: &str) -> String {
    let partition = match region.rsplitn(3, '-').last() {
        Some("cn") => "amazonaws.com.cn",
        Some("eusc-de") => "amazonaws.eu",
        Some("us-iso") => "c2s.ic.gov",
        Some("us-isob") => "sc2s.sgov.gov",
        Some("us-isof") => "csp.hci.ic.gov",
        Some("eu-isoe") => "cloud.adc-e.uk",
        _ => "amazonaws.com",
    };
    format!("https://{SERVICE}.{region}.{partition}")
}

/// Every attempt starts in time to end before `until`.
pub(super) fn within(until: Instant) -> StaticRuntimePlugin {
    let made = AtomicBool::new(false);
    StaticRuntimePlugin::new().with_runtime_components(
        RuntimeComponentsBuilder::new("within")
            .with_interceptor(SharedInterceptor::permanent(Attempts { until, made })),
    )
}

/// A single attempt, which takes nothing from the retry budget.
pub(super) fn once() -> StaticRuntimePlugin {
    let mut settings = Layer::new("once");
    settings.store_put(RetryConfig::disabled());
    StaticRuntimePlugin::new().with_config(settings.freeze())
}

/// Starts no attempt that cannot finish before the answer is due, and counts those that it starts.
#[derive(Debug)]
struct Attempts {
    until: Instant,
    made: AtomicBool,
}

#[dyn_dispatch_hint]
impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "Attempts"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if Instant::now() + SHORTEST_ATTEMPT > self.until {
            return Err("too little time is left for another attempt".into());
        }
        tally::count(self.made.swap(true, Ordering::Relaxed));
        Ok(())
    }
}

/// Says who asks, in the SDK's own words. They are found once: the SDK's interceptor reads the environment for each request, and says the same in a second
/// header, which is for browsers and takes its part of the signature.
#[derive(Debug)]
struct Agent(String);

impl Agent {
    fn new() -> Self {
        let service = ApiMetadata::new(SERVICE, aws_sdk_dynamodb::meta::PKG_VERSION);
        Self(AwsUserAgent::new_from_environment(Env::real(), service).ua_header())
    }
}

#[dyn_dispatch_hint]
impl Intercept for Agent {
    fn name(&self) -> &'static str {
        "Agent"
    }

    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.request_mut().headers_mut();
        headers.insert("user-agent", self.0.clone());
        Ok(())
    }
}

/// An answer to come. In a box, because its state takes kilobytes, which every future around it would hold and move.
pub(super) type Asked<O, E> = Pin<Box<dyn Future<Output = Result<O, SdkError<E>>> + Send>>;

/// What DynamoDB is asked through.
#[derive(Debug, Clone)]
pub(super) struct Client {
    plugins: RuntimePlugins,
}

impl Client {
    /// Asks the endpoint that `config` names, or else that of its region. Where it names neither, or no credentials, every call fails before it is sent.
    pub(super) fn new(config: &SdkConfig) -> Self {
        let ours = StaticRuntimePlugin::new()
            .with_config(settings(config).freeze())
            .with_runtime_components(components(config));
        Self {
            plugins: RuntimePlugins::new()
                .with_client_plugin(EnforceContentLengthRuntimePlugin::new())
                .with_client_plugin(ours),
        }
    }

    pub(super) fn get_item(
        &self,
        input: GetItemInputBuilder,
        how: StaticRuntimePlugin,
    ) -> Asked<GetItemOutput, GetItemError> {
        self.ask("GetItem", GetItem::new(), input.build(), how)
    }

    pub(super) fn update_item(
        &self,
        input: UpdateItemInputBuilder,
        how: StaticRuntimePlugin,
    ) -> Asked<UpdateItemOutput, UpdateItemError> {
        self.ask("UpdateItem", UpdateItem::new(), input.build(), how)
    }

    #[expect(
        clippy::expect_used,
        reason = "what comes back is of the types that the operation put in"
    )]
    fn ask<I, O, E>(
        &self,
        name: &'static str,
        operation: impl RuntimePlugin + 'static,
        input: Result<I, BuildError>,
        how: StaticRuntimePlugin,
    ) -> Asked<O, E>
    where
        I: Debug + Send + Sync + 'static,
        O: Debug + Send + Sync + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        let plugins = self.plugins.clone();
        let plugins = plugins
            .with_operation_plugin(operation)
            .with_operation_plugin(how);
        let call = debug_span!(
            "DynamoDB",
            "otel.name" = format_args!("DynamoDB.{name}"),
            "rpc.system" = "aws-api",
            "rpc.service" = "DynamoDB",
            "rpc.method" = name,
        );
        let asked = async move {
            let input = Input::erase(input.map_err(SdkError::construction_failure)?);
            match invoke("DynamoDB", name, input, &plugins).await {
                Ok(output) => Ok(output.downcast().expect("the operation's output")),
                Err(failure) => Err(failure
                    .map_service_error(|error| error.downcast().expect("the operation's error"))),
            }
        };
        Box::pin(asked.instrument(call))
    }
}

/// What the SDK's runtime reads.
fn settings(config: &SdkConfig) -> Layer {
    let mut settings = Layer::new("client");
    let budget = TokenBucket::builder()
        .capacity(RETRY_BUDGET)
        .retry_cost(RETRY_COST)
        .timeout_retry_cost(RETRY_COST)
        .throttling_retry_cost(RETRY_COST)
        .build();
    settings.store_put(budget);
    settings.store_or_unset(config.retry_config().cloned());
    settings.store_or_unset(config.timeout_config().cloned());
    settings.store_or_unset(config.stalled_stream_protection());
    settings.store_or_unset(config.region().cloned().map(SigningRegion::from));
    settings.store_put(SigningName::from_static(SERVICE));
    settings.store_put(AuthSchemeAndEndpointOrchestrationV2);
    settings
}

/// What the SDK's runtime does its work with.
fn components(config: &SdkConfig) -> RuntimeComponentsBuilder {
    let url = match (config.endpoint_url(), config.region()) {
        (Some(url), _) => Some(url.to_owned()),
        (None, region) => region.map(|region| endpoint(region.as_ref())),
    };
    let mut components = RuntimeComponentsBuilder::new("client")
        .with_http_client(config.http_client())
        .with_endpoint_resolver(url.map(StaticUriEndpointResolver::uri))
        .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![
            sigv4::SCHEME_ID,
        ])))
        .with_auth_scheme(sigv4::SigV4AuthScheme::new())
        .with_retry_strategy(Some(StandardRetryStrategy::new()))
        .with_time_source(Some(SystemTimeSource::new()))
        .with_sleep_impl(Some(TokioSleep::new()))
        .with_identity_cache(Some(
            config
                .identity_cache()
                .unwrap_or_else(|| IdentityCache::lazy().build()),
        ))
        .with_retry_classifier(HttpStatusCodeClassifier::default())
        .with_interceptor(SharedInterceptor::permanent(
            ConnectionPoisoningInterceptor::new(),
        ))
        .with_interceptor(SharedInterceptor::permanent(
            ServiceClockSkewInterceptor::new(),
        ))
        .with_interceptor(SharedInterceptor::permanent(RequestInfoInterceptor::new()))
        .with_interceptor(SharedInterceptor::permanent(Agent::new()))
        .with_interceptor(SharedInterceptor::permanent(InvocationIdInterceptor::new()))
        .with_interceptor(SharedInterceptor::permanent(
            RecursionDetectionInterceptor::new(),
        ));
    if let Some(credentials) = config.credentials_provider() {
        components.set_identity_resolver(sigv4::SCHEME_ID, credentials);
    }
    components
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{Arc, Mutex},
    };

    use aws_sdk_dynamodb::{
        config::endpoint::{DefaultResolver, Params, ResolveEndpoint},
        types::{AttributeValue, ReturnValue},
    };
    use aws_smithy_runtime_api::client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
        orchestrator::HttpRequest,
        result::ConnectorError,
    };

    use super::*;

    /// The SDK's own table of partitions, against ours.
    #[tokio::test]
    async fn every_partition_has_the_endpoint_that_the_sdk_resolves() {
        let sdk = DefaultResolver::new();
        for region in [
            "us-east-1",
            "eu-central-1",
            "ap-southeast-7",
            "mx-central-1",
            "cn-north-1",
            "cn-northwest-1",
            "us-gov-west-1",
            "us-gov-east-1",
            "us-iso-east-1",
            "us-isob-west-1",
            "us-isof-south-1",
            "eu-isoe-west-1",
            "eusc-de-east-1",
        ] {
            let params = Params::builder().region(region).build().unwrap();
            let resolved = sdk.resolve_endpoint(&params).await.unwrap();
            assert_eq!(endpoint(region), resolved.url(), "{region}");
        }
    }

    /// Keeps a request instead of sending it.
    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Option<HttpRequest>>>);

    impl HttpConnector for Kept {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            *self.0.lock().unwrap() = Some(request);
            HttpConnectorFuture::ready(Err(ConnectorError::user("not sent".into())))
        }
    }

    fn config(kept: &Kept) -> SdkConfig {
        let kept = SharedHttpConnector::new(kept.clone());
        let keys = Keys::new("AKID", "secret", Some("session".into()), None, "test");
        limits()
            .region(Region::from_static("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(keys))
            .http_client(http_client_fn(move |_, _| kept.clone()))
            .build()
    }

    /// Everything of the request but what differs from one to the next, and the second way to name the agent.
    fn sent(kept: &Kept) -> BTreeMap<String, String> {
        let request = kept.0.lock().unwrap().take().unwrap();
        let mut sent = BTreeMap::from([
            ("method".into(), request.method().to_owned()),
            ("uri".into(), request.uri().to_owned()),
            (
                "body".into(),
                String::from_utf8_lossy(request.body().bytes().unwrap()).into_owned(),
            ),
        ]);
        for (name, value) in request.headers() {
            let value = match name {
                "amz-sdk-invocation-id" | "x-amz-date" => "another each time",
                "user-agent" => value.split(' ').next().unwrap(),
                "x-amz-user-agent" => continue,
                // Its headers but the one above; the signature differs.
                "authorization" => &value
                    .split(", Signature=")
                    .next()
                    .unwrap()
                    .replace(";x-amz-user-agent", ""),
                _ => value,
            };
            sent.insert(name.to_owned(), value.to_owned());
        }
        sent
    }

    /// What the SDK's client puts in place, and we by hand: headers, signature, endpoint, body.
    #[tokio::test]
    async fn the_sdk_s_own_client_sends_the_same() {
        let kept = Kept::default();
        let config = config(&kept);
        let input = UpdateItemInputBuilder::default()
            .table_name("payments")
            .key("pk", AttributeValue::S("p#m#pay".into()))
            .update_expression("SET a = :a")
            .expression_attribute_values(":a", AttributeValue::Bool(true))
            .return_values(ReturnValue::AllNew);
        let until = Instant::now() + Duration::from_secs(10);
        let _ = Client::new(&config)
            .update_item(input.clone(), within(until))
            .await;
        let ours = sent(&kept);
        let _ = input
            .send_with(&aws_sdk_dynamodb::Client::new(&config))
            .await;
        let sdk_s = sent(&kept);
        assert_eq!(ours, sdk_s);
        assert!(ours.contains_key("x-amz-security-token"));
    }
}
