//! The one log event of a request.

use std::time::Duration;

use http::StatusCode;
use tracing::info;

use crate::{budget::Budget, cancel::Outcome, provider::Provider, request::Invocation};

/// The target of the event that every request ends with. It is below `shared`, so that
/// `RUST_LOG=shared=info` includes it.
pub const TARGET: &str = "shared::request";

/// Logs a request. Neither the body, the reason, a header nor anything of the payment's details is
/// in it. `payment` is its id and its merchant's.
pub(super) fn write<P: Provider>(
    invocation: &Invocation,
    payment: Option<(&str, &str)>,
    outcome: &Outcome,
    status: StatusCode,
    cold_start: bool,
    budget: &Budget,
    duration: Duration,
) {
    let (outcome, replayed) = match outcome {
        Ok(canceled) => ("canceled", canceled.replayed),
        Err(error) => (error.as_str(), false),
    };
    let microseconds = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    info!(
        target: TARGET,
        provider = P::NAME,
        outcome,
        status = status.as_u16(),
        payment_id = payment.map(|(id, _)| id),
        merchant_id = payment.map(|(_, id)| id),
        replayed,
        duration_ms = f64::from(microseconds) / 1000.0,
        store_attempts = budget.attempts(),
        store_retries = budget.retries(),
        cold_start,
        request_id = invocation.request_id,
        trace_id = invocation.trace_id,
    );
}
