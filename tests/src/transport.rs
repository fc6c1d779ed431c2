//! Two ways to a provider: its service in this process, and its real binary behind the Lambda
//! Runtime API.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use aws_config::SdkConfig;
use lambda_runtime::{Context as LambdaContext, LambdaEvent};
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::{
    clock::Clock,
    lambda::{EventSource, Handler},
    provider::Provider,
    service::{CancelService, Settings, Store},
    store::dynamodb::{DynamoDb, Tables},
};
use tower_service::Service;

use crate::runtime::Function;

/// The Lambda timeout of a process under test: so long that only its own limits matter.
pub const ALLOWED: Duration = Duration::from_secs(900);

/// A provider behind one of the transports.
pub enum Transport<P: Provider> {
    /// The very service that Lambda runs, event in, response out.
    Service(Handler<CancelService<P, DynamoDb>>),
    /// The real binary.
    Binary(Function),
}

/// A provider's response, out of the form that the event's source takes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Form")]
pub struct ProviderResponse {
    /// HTTP status.
    pub status: u16,
    /// All header lines.
    pub headers: BTreeMap<String, String>,
    /// The body's bytes.
    pub body: String,
    /// Who takes such a form.
    pub source: EventSource,
}

/// A response as the event's source gets it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Form {
    status_code: u16,
    status_description: Option<()>,
    headers: BTreeMap<String, String>,
    multi_value_headers: Option<BTreeMap<String, [String; 1]>>,
    body: String,
    is_base64_encoded: bool,
    cookies: Option<[String; 0]>,
}

impl TryFrom<Form> for ProviderResponse {
    type Error = &'static str;

    fn try_from(form: Form) -> Result<Self, &'static str> {
        let lines = form.multi_value_headers.map(|lines| {
            let lines = lines.into_iter().map(|(name, [value])| (name, value));
            lines.collect::<BTreeMap<_, _>>()
        });
        let (headers, source) = match (form.headers, lines, form.cookies) {
            (headers, None, None) => (headers, EventSource::Lattice),
            (headers, Some(lines), Some([])) if lines.is_empty() => (headers, EventSource::HttpApi),
            (headers, Some(lines), None) if headers.is_empty() => (lines, EventSource::RestApi),
            (headers, Some(lines), None) if headers == lines => {
                (headers, EventSource::LoadBalancer)
            }
            _ => return Err("no event source takes a response of this form"),
        };
        let None = form.status_description else {
            return Err("the response has a status description");
        };
        if form.is_base64_encoded {
            return Err("the body is said to be base64");
        }
        Ok(Self { status: form.status_code, headers, body: form.body, source })
    }
}

/// The response of `handler` to `event`, with this Lambda request id and a deadline in Unix
/// milliseconds.
///
/// # Errors
/// If the response has no event source's format.
pub async fn call<P, S>(
    handler: &Handler<CancelService<P, S>>,
    request_id: &str,
    deadline: u64,
    event: &str,
) -> Result<ProviderResponse>
where
    P: Provider,
    S: Store,
{
    let mut context = LambdaContext::default();
    context.request_id = request_id.to_owned();
    context.deadline = deadline;
    let event = LambdaEvent::new(RawValue::from_string(event.to_owned())?, context);
    let Ok(response) = handler.clone().call(event).await;
    Ok(serde_json::from_value(serde_json::to_value(&response)?)?)
}

impl<P: Provider> Transport<P> {
    /// The service over the DynamoDB of this SDK configuration, with credentials cached for `ttl`,
    /// and the time of `clock`.
    pub fn service(config: &SdkConfig, ttl: Duration, clock: impl Clock) -> Self {
        let settings = Settings { credential_ttl: ttl, ..Settings::default() };
        let store = DynamoDb::new(config, Tables::default());
        Self::Service(Handler(CancelService::with_clock(store, &settings, clock)))
    }

    /// The binary over the DynamoDB at `url`, with credentials cached for `ttl`.
    ///
    /// # Errors
    /// Where the process does not start.
    pub async fn binary(path: &str, url: &str, ttl: Duration) -> Result<Self> {
        let ttl = ttl.as_secs().to_string();
        let environment = [("AWS_ENDPOINT_URL_DYNAMODB", url), ("CREDENTIAL_TTL_SECONDS", &ttl)];
        let function = Function::start(path, &environment).await?;
        // So that its store requests before the first event are not counted as a request's.
        function.polled().await?;
        Ok(Self::Binary(function))
    }

    /// The response to a Lambda event.
    ///
    /// # Errors
    /// Where there is none, or it is not of the form that API Gateway takes.
    pub async fn invoke(&self, request_id: &str, event: &str) -> Result<ProviderResponse> {
        match self {
            Self::Binary(function) => {
                let response = function.invoke(request_id, event, ALLOWED).await?;
                serde_json::from_str(&response).with_context(|| format!("no response: {response}"))
            }
            Self::Service(handler) => {
                let deadline = (SystemTime::now() + ALLOWED).duration_since(UNIX_EPOCH)?;
                call(handler, request_id, u64::try_from(deadline.as_millis())?, event).await
            }
        }
    }
}
