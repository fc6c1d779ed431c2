//! A silent or slow store, and invocations that are about to reach their Lambda timeout.

use std::{env, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use shared::{clock::Clock, provider::Provider};

use crate::{
    clock::Virtual,
    faults::{Cut, Fault, FaultProxy},
    golden::{Call, Case},
    progress::progress,
    spy::{OUTCOME, Spy},
    stage::{WARM, canceling},
    tables::Tables,
    transport::{Transport, call},
};

/// What must be left of the time when the response is there.
const LEFT: Duration = Duration::from_millis(100);

/// The default of `DEADLINES`.
const SAMPLE: usize = 300;

/// A store that responds within this, and this long before the deadline, is waited for.
const PROMPT: Duration = Duration::from_millis(950);
const ROOM: Duration = Duration::from_millis(250);

/// Requests with Lambda timeouts from a third of a second to two seconds, on a silent or slow
/// store, with the credential cached and not. To the millisecond, no response comes later than 100
/// ms before the timeout. If the store did not respond to the write, the outcome is undecided; if
/// it was prompt, it is not. `DEADLINES` sets the number of requests.
#[expect(clippy::print_stdout, reason = "the counts are what it is for")]
pub(super) async fn deadlines<P: Provider>(cases: &[Case]) -> Result<()> {
    let number = env::var("DEADLINES").ok().and_then(|text| text.parse().ok());
    let number = number.unwrap_or(SAMPLE);
    let bar = progress(P::NAME, number as u64, SAMPLE as u64);
    let case = canceling(cases)?;
    let tables = Tables::new()?;
    for credential in &case.given.credentials {
        tables.put("credentials", credential)?;
    }
    let proxy = FaultProxy::in_memory(&tables);
    let clock = Virtual::start();
    let services =
        [Duration::ZERO, WARM].map(|ttl| Transport::<Spy<P>>::service(&proxy.config(), ttl, clock));
    let [undecided, decided] = &mut [0, 0];
    for n in 0..number {
        let cached = !n.is_multiple_of(5);
        let Transport::Service(handler) = &services[usize::from(cached)] else {
            bail!("a service is no process");
        };
        let send = async |deadline: u64| {
            let event = case.event_at(clock.now());
            call(handler, &Call::begin().request_id, deadline, &event).await
        };
        if cached {
            // The cached credential is there, and the retry budget full again.
            proxy.script([]);
            send(0).await?;
        }
        let silent = n.is_multiple_of(2);
        let delay = Duration::from_millis(n as u64 * 37 % 2000);
        proxy.always(match silent {
            true => Fault::Request { after: usize::MAX, how: Cut::Hang },
            false => Fault::Slow(delay),
        });
        let allowed = Duration::from_millis(333 + n as u64 * 61 % 1667);
        let deadline = clock.now().checked_add(allowed)?;
        let response = send(u64::try_from(deadline.as_millisecond())?).await?;
        let responded = clock.now();
        ensure!(
            responded.checked_add(LEFT)? <= deadline,
            "responded at {responded}, and the deadline is {deadline}"
        );
        let outcome = response.headers.get(OUTCOME).context("no outcome")?;
        let prompt = cached && delay <= PROMPT && delay + ROOM <= allowed;
        match outcome.as_str() {
            "unavailable" => {
                ensure!(!cached, "unavailable, and the write was sent");
                ensure!(response.status >= 500 && response.headers.contains_key("retry-after"));
            }
            "undecided" => {
                ensure!(
                    silent || !prompt,
                    "undecided, and the store took {delay:?} of {allowed:?}"
                );
                ensure!(
                    response.status >= 500 && response.headers.contains_key("retry-after"),
                    "no Retry-After: {response:?}"
                );
                *undecided += 1;
            }
            other => {
                ensure!(!silent, "{other} of a silent store");
                *decided += 1;
            }
        }
        bar.inc(1);
    }
    println!(
        "{}: {number} requests to a silent or slow store, {undecided} undecided, {decided} decided",
        P::NAME
    );
    ensure!(*undecided > 0 && *decided > 0, "only one kind of response was tried");
    Ok(())
}
