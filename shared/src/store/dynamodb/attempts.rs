//! The attempts of one call: which may start, how many there were, and whether one of them may have
//! been written.

use std::{
    iter,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_sdk_dynamodb::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef},
    },
    error::{BoxError, ConnectorError},
    operation::update_item::UpdateItemError,
};
use hyper_util::client::legacy;
use tokio::time::Instant;

use crate::{budget::Budget, limits::MIN_ATTEMPT};

/// Starts no attempt that cannot finish within the budget, counts those that start, and records
/// whether one had no definite response.
#[derive(Debug, Clone)]
pub(super) struct Attempts {
    budget: Budget,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    started: AtomicBool,
    /// The request of the current attempt may have reached DynamoDB.
    sent: AtomicBool,
    /// An attempt was sent and had no definite response.
    lost: AtomicBool,
}

impl Attempts {
    pub(super) fn within(budget: &Budget) -> Self {
        Self { budget: budget.clone(), state: Arc::default() }
    }

    /// Whether an attempt may have been written without a response that confirms it.
    pub(super) fn may_have_written(&self) -> bool {
        self.state.lost.load(Ordering::Relaxed) || self.state.sent.load(Ordering::Relaxed)
    }
}

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
        if Instant::now() + MIN_ATTEMPT > self.budget.deadline() {
            return Err("too little time is left for another attempt".into());
        }
        self.budget.count(self.state.started.swap(true, Ordering::Relaxed));
        Ok(())
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.state.sent.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Runs after a timeout, too, but not if the whole call is dropped.
    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let definite = context.output_or_error().is_some_and(|result| {
            result.err().is_none_or(|error| {
                let refused = error.as_operation_error().and_then(|error| error.downcast_ref());
                refused.is_some_and(|error: &UpdateItemError| super::refusal(error).is_some())
                    || error.as_connector_error().is_some_and(never_connected)
            })
        });
        if self.state.sent.swap(false, Ordering::Relaxed) && !definite {
            self.state.lost.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Whether no connection was made: name resolution, TCP or TLS failed, and nothing was sent.
fn never_connected(error: &ConnectorError) -> bool {
    let error: &(dyn std::error::Error + 'static) = error;
    let mut causes = iter::successors(Some(error), |error| error.source());
    let client = causes.find_map(|cause| cause.downcast_ref::<legacy::Error>());
    client.is_some_and(legacy::Error::is_connect)
}
