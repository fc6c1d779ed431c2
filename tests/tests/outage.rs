//! A long outage of the store: the retry budget, and the recovery.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and its counts are worth reading"
)]

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use harness::{
    faults::{Cut, Fault, FaultProxy, Instead},
    merchant::merchant,
};
use serde_json::{Value, json};
use shared::{
    cancel::Transition,
    payment::{Cancellation, PaymentKey},
    provider::Statuses,
    store::{Payments, StoreError, Verdict, dynamodb::DynamoDb},
};
use tokio::time::Instant;

fn transition() -> Transition {
    Transition {
        key: PaymentKey::new("p", &merchant("p"), "pay".into()),
        statuses: Statuses {
            cancelable: &["pending"],
            canceled: "canceled",
        },
        at: "2024-01-01T00:10:00.000Z".into(),
        cancellation: Cancellation {
            id: "id".into(),
            token: "token".into(),
            fingerprint: "f".into(),
            reason: None,
        },
        until: Instant::now() + Duration::from_secs(4),
    }
}

/// A store with one pending payment, and a proxy before it.
async fn stage() -> (Client, FaultProxy) {
    let (store, tables) = embedded::with_tables().await.unwrap();
    embedded::put(&tables, "payments", &pending())
        .await
        .unwrap();
    (tables, FaultProxy::start(store).await.unwrap())
}

fn pending() -> Value {
    json!({"pk": "p#m#pay", "status": "pending", "amount": 1, "currency": "USD", "created_at": "2024-01-01T00:00:00.000Z"})
}

/// Runs an outage of 300 calls, and the first call after it.
async fn outage(fault: Fault) {
    let (_, proxy) = stage().await;
    let payments = DynamoDb::new(&embedded::config(&proxy.url()));

    proxy.always(fault);
    let mut drained = 0;
    for call in 0..300 {
        assert_eq!(
            payments.transition(&transition()).await,
            Err(StoreError::Undecided)
        );
        if call == 49 {
            drained = proxy.attempts();
        }
    }
    let requests = proxy.attempts() - drained;
    println!("{fault:?}: {drained} requests in the first 50 calls, {requests} in the 250 after");
    assert!(drained > 50, "nothing was ever repeated");
    assert!(
        requests * 10 <= 250 * 11,
        "{requests} requests in 250 calls"
    );

    proxy.always(Fault::None);
    let began = Instant::now();
    assert!(matches!(
        payments.transition(&transition()).await,
        Ok(Verdict::Made(_))
    ));
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "recovered after {:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_store_that_fails_is_asked_once_per_call_and_again_at_once_when_it_is_back() {
    outage(Fault::Instead {
        answer: Instead::InternalServerError,
        committed: false,
    })
    .await;
}

#[tokio::test]
async fn a_store_that_hangs_up_is_asked_once_per_call_and_again_at_once_when_it_is_back() {
    outage(Fault::Request {
        after: 0,
        how: Cut::Reset,
    })
    .await;
}

#[tokio::test]
async fn a_store_that_throttles_is_asked_once_per_call_and_again_at_once_when_it_is_back() {
    outage(Fault::Instead {
        answer: Instead::Throttled,
        committed: false,
    })
    .await;
}

#[tokio::test]
async fn a_port_that_refuses_for_a_moment_is_tried_again_and_one_that_refuses_on_is_undecided() {
    let (tables, proxy) = stage().await;
    let payments = DynamoDb::new(&embedded::config(&proxy.url()));
    // Random waits before the repetitions, at most 25 and 50 ms: now and then all three attempts are refused, and the next call finds it open.
    let mut made = 0;
    for _ in 0..20 {
        embedded::put(&tables, "payments", &pending())
            .await
            .unwrap();
        proxy.script([]);
        proxy.refuse(Duration::from_millis(5)).await;
        match payments.transition(&transition()).await {
            Ok(Verdict::Made(_)) => made += 1,
            Err(StoreError::Undecided) => assert_eq!(proxy.transitions(), 0),
            other => panic!("{other:?}"),
        }
    }
    assert!(made > 10, "only {made} of 20 got through");
    proxy.refuse(Duration::from_secs(60)).await;
    assert_eq!(
        payments.transition(&transition()).await,
        Err(StoreError::Undecided)
    );
}

#[tokio::test]
async fn a_silent_attempt_is_given_up_after_its_second_and_repeated() {
    let (_, proxy) = stage().await;
    let payments = DynamoDb::new(&embedded::config(&proxy.url()));
    let hang = Fault::Request {
        after: usize::MAX,
        how: Cut::Hang,
    };
    proxy.script([hang]);
    assert!(matches!(
        payments.transition(&transition()).await,
        Ok(Verdict::Made(_))
    ));
    assert!(proxy.attempts() >= 2);
}

#[tokio::test]
async fn no_attempt_starts_that_cannot_finish() {
    let (_, proxy) = stage().await;
    let payments = DynamoDb::new(&embedded::config(&proxy.url()));
    proxy.always(Fault::Instead {
        answer: Instead::InternalServerError,
        committed: false,
    });

    let soon = Transition {
        until: Instant::now() + Duration::from_millis(90),
        ..transition()
    };
    assert_eq!(payments.transition(&soon).await, Err(StoreError::Undecided));
    assert_eq!(proxy.attempts(), 0);

    // The first attempt hangs for its second; a second one would have no time.
    proxy.always(Fault::Request {
        after: usize::MAX,
        how: Cut::Hang,
    });
    let soon = Transition {
        until: Instant::now() + Duration::from_millis(1090),
        ..transition()
    };
    assert_eq!(payments.transition(&soon).await, Err(StoreError::Undecided));
    assert_eq!(proxy.attempts(), 1);
}
