//! The two ways a test reaches a provider: its service in this process, and its real binary behind the Lambda Runtime API.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use lambda_runtime::{Context as LambdaContext, LambdaEvent};
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::{
    lambda::Handler, provider::Provider, service::CancelService, store::dynamodb::DynamoDb,
};
use tower_service::Service;

use crate::runtime::Function;

/// How long a function may take, as its Lambda time-out would say.
pub const ALLOWED: Duration = Duration::from_secs(10);

/// A provider behind one of the transports.
pub enum Transport<P: Provider> {
    /// The very service that Lambda runs, event in, answer out.
    Service(Box<Handler<P, DynamoDb>>),
    /// The real binary.
    Binary(Function),
}

/// A provider's answer, out of the form its front end wants.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Answer {
    /// HTTP status.
    #[serde(rename = "statusCode")]
    pub status: u16,
    /// All header lines.
    pub headers: BTreeMap<String, String>,
    /// The body's bytes.
    pub body: String,
    is_base64_encoded: bool,
    #[serde(default)]
    cookies: Vec<String>,
}

impl<P: Provider> Transport<P> {
    /// The service over the DynamoDB at `url`, with credentials remembered for `ttl`.
    pub async fn service(url: &str, ttl: Duration) -> Self {
        let store = DynamoDb::new(&embedded::config(url).await);
        Self::Service(Box::new(Handler(CancelService::new(store, ttl))))
    }

    /// The binary over the DynamoDB at `url`, with credentials remembered for `ttl`.
    ///
    /// # Errors
    /// Where the process does not start.
    pub async fn binary(path: &str, url: &str, ttl: Duration) -> Result<Self> {
        let ttl = ttl.as_secs().to_string();
        let environment = [
            ("AWS_ENDPOINT_URL_DYNAMODB", url),
            ("CREDENTIAL_TTL_SECONDS", &ttl),
        ];
        Ok(Self::Binary(Function::start(path, &environment).await?))
    }

    /// The answer to a Lambda event.
    ///
    /// # Errors
    /// Where there is none, or it is not of the form that API Gateway takes.
    pub async fn invoke(&self, request_id: &str, event: &str) -> Result<Answer> {
        self.invoke_within(request_id, event, ALLOWED).await
    }

    /// The same, with a Lambda time-out of `allowed`.
    ///
    /// # Errors
    /// As [`Transport::invoke`].
    pub async fn invoke_within(
        &self,
        request_id: &str,
        event: &str,
        allowed: Duration,
    ) -> Result<Answer> {
        let answer = match self {
            Self::Binary(function) => function.invoke(request_id, event, allowed).await?,
            Self::Service(handler) => {
                let mut context = LambdaContext::default();
                context.request_id = request_id.to_owned();
                let deadline = (SystemTime::now() + allowed).duration_since(UNIX_EPOCH)?;
                context.deadline = u64::try_from(deadline.as_millis())?;
                let event = LambdaEvent::new(RawValue::from_string(event.to_owned())?, context);
                let mut handler = (**handler).clone();
                let Ok(answer) = handler.call(event).await;
                serde_json::to_string(&answer)?
            }
        };
        let answer: Answer =
            serde_json::from_str(&answer).with_context(|| format!("no answer: {answer}"))?;
        ensure!(!answer.is_base64_encoded, "the body is said to be base64");
        ensure!(answer.cookies.is_empty(), "a cookie is set: {answer:?}");
        Ok(answer)
    }

    /// What it has logged so far, where that can be told.
    #[must_use]
    pub fn log(&self) -> String {
        match self {
            Self::Service(_) => String::new(),
            Self::Binary(function) => function.log(),
        }
    }
}
