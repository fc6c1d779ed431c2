//! Where DynamoDB is, as whom it is called, for how long and how often.

use aws_config::{
    BehaviorVersion, SdkConfig,
    ecs::EcsCredentialsProvider,
    environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider},
    meta::credentials::CredentialsProviderChain,
    provider_config::ProviderConfig,
};
use aws_sdk_dynamodb::{
    Config,
    config::{
        SharedHttpClient, StalledStreamProtectionConfig,
        interceptors::InterceptorContext,
        retry::{ClassifyRetry, RetryAction, RetryConfig, RetryPartition, TokenBucket},
        timeout::TimeoutConfig,
    },
    operation::update_item::UpdateItemError,
};
use aws_smithy_http_client::{Builder, tls};

use crate::limits::{
    ATTEMPT_TIMEOUT, CONNECT_TIMEOUT, INITIAL_BACKOFF, MAX_ATTEMPTS, MAX_BACKOFF, RESPONSE_TIMEOUT,
    RETRY_COST, RETRY_REFILL, RETRY_TOKENS,
};

/// The version of the SDK's defaults, named so that an upgrade does not change them.
#[must_use]
pub fn behavior_version() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// Reads the environment: Region, endpoint URLs, FIPS, dual stack and application id as
/// `aws-config` reads them. Credentials come from the environment, else from the container.
///
/// The default chain would also create a client of the Security Token Service and one of the
/// instance metadata service, at every cold start, for credentials that no function uses.
pub async fn from_environment() -> SdkConfig {
    let http_client = http_client();
    let container = ProviderConfig::without_region().with_http_client(http_client.clone());
    let credentials = CredentialsProviderChain::first_try(
        "Environment",
        EnvironmentVariableCredentialsProvider::new(),
    )
    .or_else("Container", EcsCredentialsProvider::builder().configure(&container).build());
    aws_config::defaults(behavior_version())
        .http_client(http_client)
        .region(EnvironmentVariableRegionProvider::new())
        .credentials_provider(credentials)
        .load()
        .await
}

/// HTTPS with the one TLS stack that is linked.
#[must_use]
pub fn http_client() -> SharedHttpClient {
    let ring = tls::rustls_provider::CryptoMode::Ring;
    Builder::new().tls_provider(tls::Provider::Rustls(ring)).build_https()
}

/// `config` with our timeouts and retries. Every value is stated, because the SDK's own would wait
/// for minutes on a silent peer, and are changing.
pub(super) fn with_limits(config: &SdkConfig) -> Config {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(ATTEMPT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(RESPONSE_TIMEOUT)
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(MAX_ATTEMPTS)
        .with_initial_backoff(INITIAL_BACKOFF)
        .with_max_backoff(MAX_BACKOFF);
    let budget = TokenBucket::builder()
        .capacity(RETRY_TOKENS)
        .retry_cost(RETRY_COST)
        .timeout_retry_cost(RETRY_COST)
        .throttling_retry_cost(RETRY_COST)
        .refill_rate(RETRY_REFILL)
        .build();
    aws_sdk_dynamodb::config::Builder::from(config)
        .timeout_config(timeouts)
        .retry_config(retries)
        .retry_partition(RetryPartition::custom("payments").token_bucket(budget).build())
        .retry_classifier(Conflicts)
        // The attempt's timeout does the same.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build()
}

/// Retries a write that conflicted with a transaction, which the SDK does not.
#[derive(Debug)]
struct Conflicts;

impl ClassifyRetry for Conflicts {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let failure = context.output_or_error().and_then(Result::err);
        let failure = failure.and_then(|failure| failure.as_operation_error());
        match failure.and_then(|error| error.downcast_ref()) {
            Some(UpdateItemError::TransactionConflictException(_)) => RetryAction::server_error(),
            Some(_) | None => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "Conflicts"
    }
}
