//! A long outage of the store: the retry budget, and the recovery.
#![expect(clippy::print_stdout, reason = "its counts are worth reading")]

use std::time::Duration;

use harness::{
    faults::{Cut, Fault, FaultProxy, Instead},
    merchant::merchant,
    tables::Tables,
};
use serde_json::{Value, json};
use shared::{
    budget::Budget,
    cancel::{PaymentKey, Payments, Transition, TransitionResult},
    error::StoreError,
    limits::MAX_ATTEMPTS,
    payment::{Cancellation, Statuses},
};
use tokio::time::Instant;

use super::dynamodb;

fn within(milliseconds: u64) -> Budget {
    Budget::until(Instant::now() + Duration::from_millis(milliseconds))
}

pub(crate) fn transition() -> Transition {
    Transition {
        key: PaymentKey::new("p", &merchant("p"), "pay".into()),
        statuses: Statuses { cancelable: &["pending"], canceled: "canceled" },
        required: &[],
        at: "2024-01-01T00:10:00.000Z".into(),
        cancellation: Cancellation {
            id: "id".into(),
            token: "token".into(),
            fingerprint: "f".into(),
            reason: None,
        },
    }
}

/// A store with one pending payment, and a proxy before it.
fn stage() -> (Tables, FaultProxy) {
    let tables = Tables::new().unwrap();
    tables.put("payments", &pending()).unwrap();
    let proxy = FaultProxy::in_memory(&tables);
    (tables, proxy)
}

pub(crate) fn pending() -> Value {
    json!({
        "pk": "p#m#pay", "status": "pending", "amount": 1, "currency": "USD",
        "created_at": "2024-01-01T00:00:00.000Z",
    })
}

/// Runs an outage of 300 calls, and the first call after it.
async fn outage(fault: Fault, error: StoreError) {
    let (_, proxy) = stage();
    let payments = dynamodb(&proxy);

    proxy.always(fault);
    let mut drained = 0;
    for call in 0..300 {
        let outcome = payments.transition(&transition(), &within(4500)).await;
        assert_eq!(outcome, Err(error));
        if call == 49 {
            drained = proxy.attempts();
        }
    }
    let requests = proxy.attempts() - drained;
    println!("{fault:?}: {drained} requests in the first 50 calls, {requests} in the 250 after");
    assert!(drained > 50, "nothing was ever retried");
    assert!(requests * 10 <= 250 * 11, "{requests} requests in 250 calls");

    proxy.always(Fault::None);
    let began = Instant::now();
    assert!(matches!(
        payments.transition(&transition(), &within(4500)).await,
        Ok(TransitionResult::Transitioned(_))
    ));
    assert_eq!(proxy.attempts(), 1);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_gets_one_attempt_per_call_and_recovers_at_once() {
    let fault = Fault::Instead { response: Instead::InternalServerError, committed: false };
    outage(fault, StoreError::Undecided).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_up_gets_one_attempt_per_call_and_recovers() {
    let fault = Fault::Request { after: 0, how: Cut::Reset };
    outage(fault, StoreError::Undecided).await;
}

#[tokio::test(start_paused = true)]
async fn a_throttling_store_gets_one_attempt_per_call_and_recovers_at_once() {
    let fault = Fault::Instead { response: Instead::Throttled, committed: false };
    outage(fault, StoreError::Unavailable).await;
}

#[tokio::test(start_paused = true)]
async fn retries_come_back_with_time() {
    let (_, proxy) = stage();
    let payments = dynamodb(&proxy);
    // Writes that conflict take all retries.
    proxy.always(Fault::Instead { response: Instead::Conflict, committed: false });
    let mut before = 0;
    for seconds in [0, 0, 0, 0, 0, 0, 0, 0, 20] {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        before = proxy.attempts();
        let outcome = payments.transition(&transition(), &within(4500)).await;
        assert_eq!(outcome, Err(StoreError::Unavailable));
    }
    assert_eq!(proxy.attempts() - before, MAX_ATTEMPTS as usize);
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_is_tried_again_and_is_certainly_no_write() {
    let attempts = MAX_ATTEMPTS as usize;
    for refused in 0..=2 * attempts {
        let (_, proxy) = stage();
        let payments = dynamodb(&proxy);
        proxy.refuse(refused);
        let outcome = payments.transition(&transition(), &within(4500)).await;
        assert_eq!(proxy.refused(), refused.min(attempts));
        if refused < attempts {
            assert!(matches!(outcome, Ok(TransitionResult::Transitioned(_))), "{outcome:?}");
        } else {
            assert_eq!(outcome, Err(StoreError::Unavailable));
            assert_eq!(proxy.transitions(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_attempt_times_out_after_a_second_and_is_retried() {
    let (_, proxy) = stage();
    let payments = dynamodb(&proxy);
    let hang = Fault::Request { after: usize::MAX, how: Cut::Hang };
    proxy.script([hang]);
    let began = Instant::now();
    let outcome = payments.transition(&transition(), &within(4500)).await;
    assert!(matches!(outcome, Ok(TransitionResult::Transitioned(_))), "{outcome:?}");
    assert_eq!(proxy.attempts(), 2);
    // The attempt's limit, and at most the first backoff.
    let took = began.elapsed().as_millis();
    assert!((1000..=1030).contains(&took), "{took} ms");
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_costs_a_start_one_attempt() {
    let (_, proxy) = stage();
    proxy.always(Fault::Request { after: 0, how: Cut::Hang });
    let began = Instant::now();
    dynamodb(&proxy).prime("p").await;
    assert_eq!(proxy.attempts(), 1);
    let took = began.elapsed().as_millis();
    assert!((1000..=1001).contains(&took), "{took} ms");
}

#[tokio::test(start_paused = true)]
async fn no_attempt_starts_that_cannot_finish() {
    let (_, proxy) = stage();
    let payments = dynamodb(&proxy);
    proxy.always(Fault::Instead { response: Instead::InternalServerError, committed: false });

    let outcome = payments.transition(&transition(), &within(90)).await;
    assert_eq!(outcome, Err(StoreError::Unavailable));
    assert_eq!(proxy.attempts(), 0);

    // The first attempt hangs for its second; a second one would have no time.
    proxy.always(Fault::Request { after: usize::MAX, how: Cut::Hang });
    let outcome = payments.transition(&transition(), &within(1090)).await;
    assert_eq!(outcome, Err(StoreError::Undecided));
    assert_eq!(proxy.attempts(), 1);
}
