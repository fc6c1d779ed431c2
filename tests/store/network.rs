//! The SDK's own HTTP client over real sockets, on a network that breaks. The timeouts are minutes,
//! so that nothing depends on the machine's speed.

use std::{future::pending as never, time::Duration};

use aws_sdk_dynamodb::config::{AsyncSleep, Sleep};
use harness::{
    faults::{Cut, Fault, FaultProxy, Instead},
    tables::Tables,
};
use shared::{
    budget::Budget,
    cancel::{Payments, TransitionResult},
    limits::MAX_BACKOFF,
    store::dynamodb::{self, DynamoDb},
};
use tokio::time::Instant;

use super::outage::{pending, transition};

/// A clock on which delays between attempts pass, and timeouts never come.
#[derive(Debug)]
struct Patient;

impl AsyncSleep for Patient {
    fn sleep(&self, duration: Duration) -> Sleep {
        if duration > MAX_BACKOFF {
            return Sleep::new(never());
        }
        Sleep::new(tokio::time::sleep(duration))
    }
}

#[tokio::test]
async fn what_a_real_network_breaks_is_retried_and_is_no_conflict() {
    let tables = Tables::new().unwrap();
    let proxy = FaultProxy::listening(&tables).await.unwrap();
    let config = proxy.config().into_builder().sleep_impl(Patient).build();
    let mut faults = Vec::new();
    for how in [Cut::Reset, Cut::Close] {
        faults.extend([0, 1, 200, usize::MAX].map(|after| Fault::Request { after, how }));
        faults.extend([0, 1, 40, usize::MAX].map(|after| Fault::Response { after, how }));
    }
    let responses = [
        Instead::InternalServerError,
        Instead::BadGateway,
        Instead::ServiceUnavailable,
        Instead::Throttled,
    ];
    for response in responses {
        faults.extend([true, false].map(|committed| Fault::Instead { response, committed }));
    }
    faults.push(Fault::Instead { response: Instead::Conflict, committed: false });
    for fault in faults {
        tables.put("payments", &pending()).unwrap();
        proxy.script([fault]);
        let transition = transition();
        let budget = Budget::until(Instant::now() + Duration::from_secs(600));
        // Its own client, and so its own retry budget.
        let store = DynamoDb::new(&config, dynamodb::Tables::default());
        let outcome = store.transition(&transition, &budget).await;
        let payment = match &outcome {
            Ok(TransitionResult::Transitioned(payment)) => Some(payment),
            Ok(TransitionResult::ConditionFailed(found)) => found.as_ref(),
            Err(_) => None,
        };
        let made = payment.and_then(|payment| payment.cancellation.as_ref());
        let canceled = made == Some(&transition.cancellation);
        assert!(canceled, "{fault:?}: {outcome:?}");
        assert_eq!((proxy.attempts(), proxy.transitions()), (2, 1), "{fault:?}");
    }
}

#[tokio::test]
async fn after_a_failure_of_the_store_the_retry_takes_another_connection() {
    let tables = Tables::new().unwrap();
    tables.put("payments", &pending()).unwrap();
    let proxy = FaultProxy::listening(&tables).await.unwrap();
    let config = proxy.config().into_builder().sleep_impl(Patient).build();
    proxy.script([Fault::Instead { response: Instead::InternalServerError, committed: false }]);
    let store = DynamoDb::new(&config, dynamodb::Tables::default());
    let budget = Budget::until(Instant::now() + Duration::from_secs(600));
    let outcome = store.transition(&transition(), &budget).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!((proxy.attempts(), proxy.connections()), (2, 2));
}
