//! A function's process is killed at every stage of an invocation, and the client retries its
//! request.

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use shared::provider::Provider;

use crate::{
    faults::{Cut, Fault, FaultProxy},
    golden::{Call, Case},
    stage::{WARM, canceling},
    tables::Tables,
    transport::Transport,
};

/// Where the process is when it is killed, and whether the store has made the transition by then.
const STAGES: [(&str, Fault, bool); 5] = [
    ("before the write", Fault::Request { after: 0, how: Cut::Hang }, false),
    ("within the write", Fault::Request { after: 600, how: Cut::Hang }, false),
    ("with the write on its way", Fault::Late(Cut::Hang), false),
    ("after the write", Fault::Response { after: 0, how: Cut::Hang }, true),
    ("within the store's response", Fault::Response { after: 300, how: Cut::Hang }, true),
];

/// Killed at each stage, and after its response but before the client has it; with a key and
/// without. The retry, in a new process, finds one transition. With its key it always gets the same
/// body.
pub(super) async fn killed<P: Provider>(cases: &[Case], binary: &str) -> Result<()> {
    for keyed in [true, false] {
        for (stage, fault, committed) in STAGES {
            at_stage::<P>(cases, binary, keyed, Some((fault, committed)))
                .await
                .with_context(|| format!("killed {stage}, keyed: {keyed}"))?;
        }
        at_stage::<P>(cases, binary, keyed, None).await.with_context(|| {
            format!("killed before the response reached the client, keyed: {keyed}")
        })?;
    }
    Ok(())
}

async fn at_stage<P: Provider>(
    cases: &[Case],
    binary: &str,
    keyed: bool,
    at: Option<(Fault, bool)>,
) -> Result<()> {
    let mut case = canceling(cases)?.clone();
    if keyed {
        case.event["headers"]["idempotency-key"] = json!("key-1");
    }
    let tables = Tables::new()?;
    for credential in &case.given.credentials {
        tables.put("credentials", credential)?;
    }
    let proxy = FaultProxy::listening(&tables).await?;
    let first = Transport::<P>::binary(binary, &proxy.url(), WARM).await?;
    // Warm the credential with a payment that is not there yet.
    first.invoke(&Call::begin().request_id, &case.event()).await?;
    for payment in &case.given.payments {
        tables.put("payments", payment)?;
    }

    proxy.script([]);
    let event = case.event();
    let call = Call::begin();
    let mut lost = None;
    if let Some((fault, committed)) = at {
        // For every attempt: a process that is killed late may have made a second one.
        proxy.always(fault);
        tokio::select! {
            biased;
            () = proxy.reached(1, usize::from(committed)) => {}
            response = first.invoke(&call.request_id, &event) => {
                bail!("it responded before that: {:?}", response?);
            }
        }
    } else {
        lost = Some(first.invoke(&call.request_id, &event).await?);
    }
    drop(first); // Kills it.
    proxy.calm();
    proxy.deliver_late().await;

    let second = Transport::<P>::binary(binary, &proxy.url(), WARM).await?;
    let retried = second.invoke(&Call::begin().request_id, &case.event()).await?;
    let once_more = second.invoke(&Call::begin().request_id, &case.event()).await?;
    ensure!(proxy.transitions() == 1, "{} transitions", proxy.transitions());
    let item = tables.scan("payments")?;
    ensure!(
        item.iter().any(|item| item["status"] == P::STATUSES.canceled),
        "not canceled: {item:?}"
    );
    if keyed {
        ensure!(retried.status == 200, "the retry was refused: {retried:?}");
        ensure!(once_more.body == retried.body, "{} after {}", once_more.body, retried.body);
        let lost = lost.map_or_else(|| retried.body.clone(), |lost| lost.body);
        ensure!(retried.body == lost, "{} after {lost}", retried.body);
    } else {
        ensure!(retried.status < 500 && once_more.status < 500, "{retried:?}, {once_more:?}");
    }
    Ok(())
}
