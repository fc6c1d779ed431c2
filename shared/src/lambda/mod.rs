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
    str::FromStr,
    task::{Context, Poll},
    time::Duration,
};

use lambda_runtime::{LambdaEvent, Runtime, tower::Service};
use serde_json::value::RawValue;
use tracing::Level;

pub use event::{FrontEnd, read};
pub use lambda_runtime::Error;

use crate::{
    clock::Timestamp,
    provider::Provider,
    service::{CancelService, Settings},
    store::{
        Store,
        dynamodb::{DynamoDb, environment},
    },
    telemetry::{self, Targets},
};

/// Runs the provider `P` as a Lambda function, until the runtime ends the process.
///
/// Before the first poll, while Lambda still gives a whole processor whatever the memory size, the connection to DynamoDB is made
/// ([`DynamoDb::prime`]); `PRIME_CONNECTION=false` leaves that to the first request. With `AWS_LAMBDA_MAX_CONCURRENCY`, which Lambda Managed
/// Instances set, as many requests are served at once.
///
/// # Errors
/// Where a setting is none, or the Lambda runtime cannot be reached.
pub async fn run<P: Provider>() -> Result<(), Error> {
    telemetry::init(io::stdout, Targets::new().with_default(Level::INFO));
    let settings = settings()?;
    let store = DynamoDb::new(&environment());
    if settings.prime_connection {
        store.prime(P::NAME).await;
    }
    let service = CancelService::<P, _>::new(store, settings);
    // Not `lambda_runtime::run`: that opens a span for each request, which no line of the log shows.
    let runtime = Runtime::new(Handler(service));
    #[cfg(feature = "opentelemetry")]
    let runtime = runtime.layer(crate::traces::around_each(P::ROUTE)?);
    // In a task of its own, because each wake of the one the process began with costs a system call.
    tokio::spawn(runtime.run_concurrent()).await?
}

/// The settings that the environment has: `CREDENTIAL_TTL_SECONDS`, `ISSUED_KEYS_ONLY`, `SIGNATURE_SINGLE_USE`, `PRIME_CONNECTION`.
///
/// # Errors
/// Where one of them is not what it must be. A guard that somebody meant to switch on must not stay off for a typo.
pub fn settings() -> Result<Settings, String> {
    let text = |name| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    settings_from(text)
}

fn settings_from(text: impl Fn(&'static str) -> Option<String>) -> Result<Settings, String> {
    fn parsed<T: FromStr>(
        name: &str,
        text: Option<String>,
        default: T,
        rule: &str,
    ) -> Result<T, String> {
        match text.filter(|text| !text.is_empty()) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| format!("{name} is {text:?} and must be {rule}")),
        }
    }
    let Settings {
        credential_ttl,
        issued_keys_only,
        signature_single_use,
        prime_connection,
    } = Settings::default();
    let seconds = |name, default: Duration| {
        parsed(
            name,
            text(name),
            default.as_secs(),
            "a whole number of seconds",
        )
    };
    let flag = |name, default| parsed(name, text(name), default, "true or false");
    Ok(Settings {
        credential_ttl: Duration::from_secs(seconds("CREDENTIAL_TTL_SECONDS", credential_ttl)?),
        issued_keys_only: flag("ISSUED_KEYS_ONLY", issued_keys_only)?,
        signature_single_use: flag("SIGNATURE_SINGLE_USE", signature_single_use)?,
        prime_connection: flag("PRIME_CONNECTION", prime_connection)?,
    })
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

impl<P: Provider, S: Store> Service<LambdaEvent<Box<RawValue>>> for Handler<P, S> {
    type Response = Box<RawValue>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Box<RawValue>, Infallible>> + Send>>;

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
        Box::pin(async move { reply.await.map(|reply| event::write(reply, front_end)) })
    }
}

/// The trace in a tracing header: `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`.
fn root(header: &str) -> Option<String> {
    let mut parts = header.split(';');
    parts.find_map(|part| part.trim().strip_prefix("Root=").map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_what_the_environment_says_or_else_the_documented_defaults() {
        let defaults = Settings {
            credential_ttl: Duration::from_secs(60),
            issued_keys_only: false,
            signature_single_use: false,
            prime_connection: true,
        };
        assert_eq!(settings_from(|_| None), Ok(defaults));
        assert_eq!(settings_from(|_| Some(String::new())), Ok(defaults));
        let given = |name| {
            let value = match name {
                "CREDENTIAL_TTL_SECONDS" => "0",
                "ISSUED_KEYS_ONLY" => "true",
                _ => "false",
            };
            Some(value.to_owned())
        };
        let expected = Settings {
            credential_ttl: Duration::ZERO,
            issued_keys_only: true,
            signature_single_use: false,
            prime_connection: false,
        };
        assert_eq!(settings_from(given), Ok(expected));
    }

    #[test]
    fn a_setting_that_is_none_is_refused_and_named() {
        for (wrong, value, rule) in [
            ("CREDENTIAL_TTL_SECONDS", "6O", "a whole number of seconds"),
            ("CREDENTIAL_TTL_SECONDS", "-1", "a whole number of seconds"),
            ("ISSUED_KEYS_ONLY", "yes", "true or false"),
            ("SIGNATURE_SINGLE_USE", "True", "true or false"),
            ("PRIME_CONNECTION", "no", "true or false"),
        ] {
            let given = |name| (name == wrong).then(|| value.to_owned());
            let refused = settings_from(given).unwrap_err();
            assert_eq!(refused, format!("{wrong} is {value:?} and must be {rule}"));
        }
    }
}
