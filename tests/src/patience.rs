//! A store that is silent or slow, and callers whose Lambda function is about to be stopped.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use shared::provider::Provider;
use tokio::task::JoinSet;

use crate::{
    contract::canceling,
    faults::{Cut, Fault, FaultProxy},
    golden::{Call, Case},
    progress::progress,
    spy::{OUTCOME, Spy},
    transport::Transport,
};

/// How many callers wait at once.
const AT_ONCE: usize = 25;

/// What must be left of the time when the answer is there.
const LEFT: Duration = Duration::from_millis(100);

/// So many requests unless `DEADLINES` says otherwise.
const SAMPLE: usize = 100;

/// Every request, with time-outs from a third of a second to two seconds, on a store that says nothing or is late, with the credential remembered and
/// without: no answer comes later than 100 ms before the time-out, and where the store said nothing it is undecided. `DEADLINES` says how many
/// requests; by default it is a sample.
#[expect(clippy::print_stdout, reason = "the counts are what it is for")]
pub(crate) async fn deadlines<P: Provider>(cases: &[Case]) -> Result<()> {
    let number = env::var("DEADLINES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(SAMPLE);
    let bar = progress(P::NAME, number as u64, SAMPLE as u64);
    let case = Arc::new(canceling(cases)?.clone());
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for worker in 0..AT_ONCE {
        let (case, next) = (Arc::clone(&case), Arc::clone(&next));
        let bar = bar.clone();
        workers.spawn(async move {
            let (store, tables) = embedded::with_tables().await?;
            for credential in &case.given.credentials {
                embedded::put(&tables, "credentials", credential).await?;
            }
            let proxy = FaultProxy::start(store).await?;
            let ttl = Duration::from_secs(if worker % 5 == 0 { 0 } else { 600 });
            let service = Transport::<Spy<P>>::service(&proxy.url(), ttl).await;
            service
                .invoke(&Call::begin().request_id, &case.event())
                .await?;

            let mut answered = (0, 0);
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= number {
                    return Ok::<_, anyhow::Error>(answered);
                }
                let silent = n.is_multiple_of(2);
                let delay = Duration::from_millis(n as u64 * 37 % 2000);
                proxy.always(if silent {
                    Fault::Request {
                        after: usize::MAX,
                        how: Cut::Hang,
                    }
                } else {
                    Fault::Slow(delay)
                });
                let allowed = Duration::from_millis(333 + n as u64 * 61 % 1667);
                let began = Instant::now();
                let answer = service
                    .invoke_within(&Call::begin().request_id, &case.event(), allowed)
                    .await?;
                let took = began.elapsed();
                ensure!(
                    took + LEFT <= allowed,
                    "an answer after {took:?} of {allowed:?}"
                );
                let outcome = answer.headers.get(OUTCOME).context("no outcome")?;
                ensure!(
                    !silent || outcome == "undecided",
                    "{outcome} of a silent store"
                );
                if outcome == "undecided" {
                    ensure!(
                        answer.status >= 500 && answer.headers.contains_key("retry-after"),
                        "not said: {answer:?}"
                    );
                    answered.0 += 1;
                } else {
                    answered.1 += 1;
                }
                bar.inc(1);
            }
        });
    }
    let (mut undecided, mut decided) = (0, 0);
    while let Some(answered) = workers.join_next().await {
        let (more_undecided, more_decided) = answered??;
        undecided += more_undecided;
        decided += more_decided;
    }
    println!(
        "{}: {number} requests to a silent or slow store, {undecided} undecided, {decided} decided, 0 late",
        P::NAME
    );
    ensure!(
        undecided > 0 && decided > 0,
        "only one sort of answer was tried"
    );
    Ok(())
}
