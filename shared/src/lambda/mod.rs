//! The service behind the AWS Lambda runtime. The only folder that knows the runtime.

mod event;
mod settings;
#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    io,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use lambda_http::tower::{Layer, Service, util::option_layer};
use lambda_runtime::{LambdaEvent, Runtime};
use serde_json::value::RawValue;
use tracing::Level;

pub use self::{
    event::{EventSource, read, write},
    settings::{LambdaSettings, settings},
};
pub use lambda_runtime::Error;

use crate::{
    clock::Timestamp,
    cors,
    provider::Provider,
    request::Invocation,
    service::CancelService,
    store::dynamodb::{DynamoDb, from_environment},
    telemetry::{self, Targets},
};

/// Runs the provider `P` as a Lambda function, until the runtime ends the process.
///
/// Before the first poll, while Lambda still gives a whole processor whatever the memory size, the
/// connection to DynamoDB is made ([`DynamoDb::prime`]); `PRIME_CONNECTION=false` leaves that to
/// the first request. With `AWS_LAMBDA_MAX_CONCURRENCY`, which Lambda Managed Instances set, as
/// many requests are served at once.
///
/// # Errors
/// If a setting is invalid, or the Lambda runtime cannot be reached.
pub async fn run<P: Provider>() -> Result<(), Error> {
    telemetry::init(io::stdout, Targets::new().with_default(Level::INFO));
    let settings = settings()?;
    let cors = option_layer(cors::layer::<P>(&settings.cors_origins)?);
    let store = DynamoDb::new(&from_environment().await, settings.tables);
    if settings.prime_connection {
        store.prime(P::NAME).await;
    }
    let service = cors.layer(CancelService::<P, _>::new(store, &settings.service));
    // Not `lambda_runtime::run`, which opens a span for each request that no log line shows.
    let runtime = Runtime::new(Handler(service));
    #[cfg(feature = "opentelemetry")]
    let runtime = runtime.layer(crate::traces::around_each(P::ROUTE)?);
    // In its own task, because each wake of the process's first task costs a system call.
    tokio::spawn(runtime.run_concurrent()).await?
}

/// A service of HTTP requests that takes Lambda events and returns what their source takes.
#[derive(Debug, Clone)]
pub struct Handler<T>(pub T);

impl<T> Service<LambdaEvent<Box<RawValue>>> for Handler<T>
where
    T: Service<Request<Bytes>, Response = Response<String>, Error = Infallible>,
    T::Future: Send + 'static,
{
    type Response = Box<RawValue>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Box<RawValue>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, event: LambdaEvent<Box<RawValue>>) -> Self::Future {
        let LambdaEvent { payload, context } = event;
        let (mut request, source) = read(payload.get());
        let deadline = i64::try_from(context.deadline).ok();
        request.extensions_mut().insert(Invocation {
            request_id: context.request_id,
            trace_id: context.xray_trace_id.as_deref().and_then(root),
            deadline: deadline.and_then(|at| Timestamp::from_millisecond(at).ok()),
        });
        let response = self.0.call(request);
        Box::pin(async move { response.await.map(|response| write(response, source)) })
    }
}

/// The trace in a tracing header:
/// `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`.
fn root(header: &str) -> Option<String> {
    let mut parts = header.split(';');
    parts.find_map(|part| part.trim().strip_prefix("Root=").map(str::to_owned))
}
