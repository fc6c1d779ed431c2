//! Events as they come, and as they never should.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shared::provider::Provider;

use crate::{
    front_ends,
    golden::{Call, Case, delivered},
    stage::{Stage, canceling},
    transport::Transport,
};

/// Events that no front end makes: each gets the answer that the provider gives to an event without a method, and then
/// a payment can still be canceled.
pub(super) async fn malformed<P: Provider>(cases: &[Case], path: Option<&str>) -> Result<()> {
    let mut expected = canceling(cases)?.clone();
    let ordinary = golden::source::request(&expected.event())?;
    expected.then = golden::malformed_event(P::NAME)?;
    // Nothing is stored: no event may get as far as the tables.
    expected.given = golden::Given::default();
    let stage = Stage::<P>::set(path, Duration::ZERO).await?;
    for event in front_ends::malformed(&ordinary, P::ROUTE) {
        let shown: String = event.chars().take(200).collect();
        let call = Call::begin();
        let answer = stage.provider.invoke(&call.request_id, &event).await;
        let answer = answer.with_context(|| shown.clone())?;
        expected.check(&call, &answer, &[]).context(shown)?;
    }
    if let Transport::Binary(_) = &stage.provider {
        // Lambda takes no invocation that is not JSON, so nobody waits for an answer. The process must go on all the same.
        for event in ["", "POST /payments", "{", "\u{0}"] {
            let call = Call::begin();
            let answer = stage.provider.invoke(&call.request_id, event).await;
            ensure!(answer.is_err(), "{event:?} got {answer:?}");
        }
    }
    stage.play(canceling(cases)?).await?;
    Ok(())
}

/// Every golden case through every front end, and the counts of both.
#[expect(clippy::print_stdout, reason = "the counts say how much was compared")]
pub(super) async fn every_front_end<P: Provider>(cases: &[Case]) -> Result<()> {
    let counted = front_ends::one_answer::<P>(cases).await?;
    let requests = delivered(P::NAME)?;
    println!(
        "{}: {} golden cases in {} formats, {} events; {} requests in literal events, {} events",
        P::NAME,
        counted.cases,
        front_ends::FRONT_ENDS.len(),
        counted.events,
        requests.len(),
        requests.values().map(Vec::len).sum::<usize>(),
    );
    Ok(())
}
