//! The one log event of a request.

use std::time::Duration;

use tracing::info;

use crate::{budget::Budget, cancel::Outcome, request::Invocation};

/// The target of the event that every request ends with. It is below `shared`, so that
/// `RUST_LOG=shared=info` includes it.
pub const TARGET: &str = "shared::request";

/// What is logged of a request. Neither the body, the reason, a header nor anything of the
/// payment's details is in it.
pub(super) struct RequestLog<'a> {
    pub(super) provider: &'static str,
    pub(super) invocation: &'a Invocation,
    /// Its id and its merchant's.
    pub(super) payment: Option<(&'a str, &'a str)>,
    pub(super) outcome: &'a Outcome,
    pub(super) status: u16,
    pub(super) cold_start: bool,
    pub(super) budget: &'a Budget,
    pub(super) duration: Duration,
}

impl RequestLog<'_> {
    pub(super) fn write(&self) {
        let (outcome, replayed) = match self.outcome {
            Ok(canceled) => ("canceled", canceled.replayed),
            Err(error) => (error.as_str(), false),
        };
        let microseconds = u32::try_from(self.duration.as_micros()).unwrap_or(u32::MAX);
        info!(
            target: TARGET,
            provider = self.provider,
            outcome,
            status = self.status,
            payment_id = self.payment.map(|(id, _)| id),
            merchant_id = self.payment.map(|(_, id)| id),
            replayed,
            duration_ms = f64::from(microseconds) / 1000.0,
            store_attempts = self.budget.attempts(),
            store_retries = self.budget.retries(),
            cold_start = self.cold_start,
            request_id = self.invocation.request_id,
            trace_id = self.invocation.trace_id,
        );
    }
}
