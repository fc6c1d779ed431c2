//! Events as they come, and as they never should.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shared::provider::Provider;

use crate::{
    event_sources,
    golden::{Call, Case, delivered},
    stage::{Stage, canceling},
    transport::Transport,
};

/// Events that no event source makes: each gets the provider's response to an event without a
/// method, and a payment can still be canceled afterwards.
pub(super) async fn malformed<P: Provider>(cases: &[Case], path: Option<&str>) -> Result<()> {
    let mut expected = canceling(cases)?.clone();
    let ordinary = golden::source::request(&expected.event())?;
    expected.then = golden::malformed_event(P::NAME)?;
    // Nothing is stored: no event may get as far as the tables.
    expected.given = golden::Given::default();
    let stage = Stage::<P>::set(path, Duration::ZERO).await?;
    for event in event_sources::malformed(&ordinary, P::ROUTE) {
        let shown: String = event.chars().take(200).collect();
        let call = Call::begin();
        let response = stage.provider.invoke(&call.request_id, &event).await;
        let response = response.with_context(|| shown.clone())?;
        expected.check(&call, &response, &[]).context(shown)?;
    }
    if let Transport::Binary(_) = &stage.provider {
        // Lambda takes no invocation that is not JSON, so no response is expected. The process must
        // go on all the same.
        for event in ["", "POST /payments", "{", "\u{0}"] {
            let call = Call::begin();
            let response = stage.provider.invoke(&call.request_id, event).await;
            ensure!(response.is_err(), "{event:?} got {response:?}");
        }
    }
    stage.play(canceling(cases)?).await?;
    Ok(())
}

/// Every golden case through every event source, and the counts of both.
#[expect(clippy::print_stdout, reason = "the counts say how much was compared")]
pub(super) async fn every_event_source<P: Provider>(cases: &[Case]) -> Result<()> {
    let counted = event_sources::one_response::<P>(cases).await?;
    let requests = delivered(P::NAME)?;
    println!(
        "{}: {} golden cases in {} formats, {} events; {} requests in literal events, {} events",
        P::NAME,
        counted.cases,
        event_sources::EVENT_SOURCES.len(),
        counted.events,
        requests.len(),
        requests.values().map(Vec::len).sum::<usize>(),
    );
    Ok(())
}
