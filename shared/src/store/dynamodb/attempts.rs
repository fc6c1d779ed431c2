//! The attempts of one call: which may start, how many there were, and whether one of them may have
//! been written.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
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
        let definite = match context.output_or_error() {
            Some(Ok(_)) => true,
            Some(Err(error)) => {
                let responded = error.as_operation_error().is_some_and(|error| {
                    error
                        .downcast_ref::<UpdateItemError>()
                        .is_some_and(|error| super::refusal(error).is_some())
                });
                responded || error.as_connector_error().is_some_and(never_connected)
            }
            None => false,
        };
        if self.state.sent.swap(false, Ordering::Relaxed) && !definite {
            self.state.lost.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Whether no connection was made: name resolution, TCP or TLS failed, and nothing was sent.
fn never_connected(error: &ConnectorError) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<legacy::Error>() {
            return error.is_connect();
        }
        source = error.source();
    }
    false
}
