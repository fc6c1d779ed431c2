//! Requests at once, and again, in several processes.

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use serde_json::json;
use shared::provider::Provider;

use crate::{
    faults::FaultProxy,
    golden::{Call, Case},
    stage::{WARM, canceling},
    tables::Tables,
    transport::{ProviderResponse, Transport},
};

/// 64 requests at once, spread over 4 processes: DynamoDB makes one transition, and one caller gets
/// a first cancel.
pub(super) async fn one_winner<P: Provider>(cases: &[Case], binary: &str) -> Result<()> {
    let case = canceling(cases)?;
    let tables = Tables::new()?;
    tables.give(&case.given)?;
    let proxy = FaultProxy::listening(&tables).await?;
    let mut processes = Vec::new();
    for _ in 0..4 {
        processes.push(Transport::<P>::binary(binary, &proxy.url(), WARM).await?);
    }
    let event = case.event();
    let requests = (0..64).map(|n| {
        let process = &processes[n % 4];
        let event = &event;
        async move { process.invoke(&Call::begin().request_id, event).await }
    });
    let responses = try_join_all(requests).await?;

    let transitions = proxy.transitions();
    ensure!(transitions == 1, "{transitions} transitions");
    let canceled = |response: &&ProviderResponse| {
        response.status == 200 && !response.headers.contains_key("idempotent-replayed")
    };
    let winners = responses.iter().filter(canceled).count();
    ensure!(winners == 1, "{winners} callers got a first cancel");
    ensure!(responses.iter().all(|response| response.status < 500), "a caller got a server error");
    Ok(())
}

/// A retry in another process gets the same bytes, marked as a replay.
pub(super) async fn replay<P: Provider>(cases: &[Case], binary: &str) -> Result<()> {
    let mut case = canceling(cases)?.clone();
    case.event["headers"]["idempotency-key"] = json!("key-1");
    let tables = Tables::new()?;
    tables.give(&case.given)?;
    let proxy = FaultProxy::listening(&tables).await?;
    let send = async |process: &Transport<P>| {
        let call = Call::begin();
        process.invoke(&call.request_id, &case.event()).await
    };
    let process = Transport::<P>::binary(binary, &proxy.url(), WARM).await?;
    let first = send(&process).await?;
    let table = tables.scan("payments")?;
    ensure!(
        first.status == 200 && !first.headers.contains_key("idempotent-replayed"),
        "the first: {first:?}"
    );

    let process = Transport::<P>::binary(binary, &proxy.url(), WARM).await?;
    for again in 0..3 {
        let second = send(&process).await?;
        ensure!(
            second.body == first.body && second.status == 200,
            "replay {again}: {second:?} after {first:?}"
        );
        let said = second.headers.get("idempotent-replayed");
        ensure!(said.is_some_and(|said| said == "true"), "replay {again}: {second:?}");
    }
    ensure!(tables.scan("payments")? == table, "a replay changed the payment");
    Ok(())
}
