//! The service behind the AWS Lambda runtime. The only module that knows the runtime.
//!
//! It takes the event as raw JSON and reads it itself (`event`), rather than through `lambda_http`: that crate panics
//! on some malformed events, keeps the last of several header lines, and reads the event once per front end. Here whatever the
//! event is, the caller gets the provider's own answer.

mod event;

use std::{
    convert::Infallible,
    env,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use lambda_runtime::{LambdaEvent, tower::Service};
use serde_json::value::RawValue;
use tracing::Level;

pub use event::{Answer, FrontEnd, read};
pub use lambda_runtime::Error;

use crate::{
    clock::Timestamp,
    provider::Provider,
    service::CancelService,
    store::{
        Credentials, Payments,
        dynamodb::{DynamoDb, sdk_config},
    },
    telemetry::{self, Targets},
};

/// Runs the provider `P` as a Lambda function, until the runtime ends the process.
///
/// # Errors
/// Where the Lambda runtime cannot be reached.
pub async fn run<P: Provider>() -> Result<(), Error> {
    telemetry::init(io::stdout, Targets::new().with_default(Level::INFO));
    let store = DynamoDb::new(&sdk_config().load().await);
    lambda_runtime::run(Handler(CancelService::<P, _>::new(store, credential_ttl()))).await
}

/// How long a found credential is remembered: `CREDENTIAL_TTL_SECONDS`, or 60 seconds.
#[must_use]
pub fn credential_ttl() -> Duration {
    let seconds = env::var("CREDENTIAL_TTL_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(60))
}

/// A [`CancelService`] that takes Lambda events and gives what their front end wants back.
#[derive(Debug)]
pub struct Handler<P, S>(pub CancelService<P, S>)
where
    P: Provider;

impl<P: Provider, S> Clone for Handler<P, S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P: Provider, S: Payments + Credentials> Service<LambdaEvent<Box<RawValue>>> for Handler<P, S> {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, event: LambdaEvent<Box<RawValue>>) -> Self::Future {
        let LambdaEvent { payload, context } = event;
        let (mut incoming, front_end) = event::read(payload.get());
        incoming.request_id = context.request_id;
        incoming.trace_id = context.xray_trace_id.as_deref().and_then(root);
        incoming.deadline = i64::try_from(context.deadline)
            .ok()
            .and_then(|at| Timestamp::from_millisecond(at).ok());
        let reply = self.0.call(incoming);
        Box::pin(async move { reply.await.map(|reply| Answer::new(reply, front_end)) })
    }
}

/// The trace in a tracing header: `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`.
fn root(header: &str) -> Option<String> {
    let mut parts = header.split(';');
    parts.find_map(|part| part.trim().strip_prefix("Root=").map(str::to_owned))
}
