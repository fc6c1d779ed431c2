//! The same faults on this handler and on an ordinary one: a conditional `UpdateItem` with the
//! SDK's own timeouts and retries that reports a conflict when its condition fails.

use std::{collections::BTreeMap, env, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::{
    Client,
    config::{Credentials, SharedCredentialsProvider},
    operation::update_item::UpdateItemError,
    types::AttributeValue,
};
use futures_util::future::try_join_all;
use shared::{
    clock::SystemClock,
    provider::{Provider, Statuses},
};
use tokio::time::timeout;

use super::cut_points::faults;
use crate::{
    faults::{Fault, FaultProxy},
    golden::{Call, Case},
    spy::{OUTCOME, Spy},
    stage::{WARM, canceling},
    tables::Tables,
    transport::Transport,
};

/// Its table has the counts.
const README: &str = include_str!("../../../README.md");

/// How long the plain handler is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Every single fault on a cancelable payment, with both handlers. Prints how often each was untrue
/// or silent; with `SIDE_BY_SIDE=1`, the whole table.
#[expect(clippy::print_stdout, reason = "the table is what it is for")]
pub(super) async fn side_by_side<P: Provider>(cases: &[Case]) -> Result<()> {
    let case = canceling(cases)?;
    let rows = try_join_all(faults().into_iter().map(|fault| async move {
        let ours = try_once::<P>(case, fault, true).await?;
        let plain = try_once::<P>(case, fault, false).await?;
        Ok::<_, anyhow::Error>((fault, ours, plain))
    }))
    .await?;

    let mut counts = [BTreeMap::<&str, usize>::new(), BTreeMap::new()];
    for (fault, ours, plain) in &rows {
        *counts[0].entry(ours.verdict()).or_default() += 1;
        *counts[1].entry(plain.verdict()).or_default() += 1;
        if env::var_os("SIDE_BY_SIDE").is_some() {
            println!("{:62} | {:42} | {}", format!("{fault:?}"), ours.text(), plain.text());
        }
    }
    println!(
        "{}: {} faults, here {:?}, the plain way {:?}",
        P::NAME,
        rows.len(),
        counts[0],
        counts[1]
    );
    let count = |way: usize, verdict| counts[way].get(verdict).copied().unwrap_or_default();
    let heading = format!("| {} network and store faults on one cancel |", rows.len());
    ensure!(README.contains(&heading), "the README lacks {heading}");
    for (label, verdict) in [
        ("reported the truth", "true"),
        ("reported that the outcome is undecided", "undecided"),
        ("reported a conflict that did not happen", "UNTRUE"),
        ("no response within 5 seconds", "silent"),
    ] {
        let row = format!("| {label} | {} | {} |", count(0, verdict), count(1, verdict));
        ensure!(README.contains(&row), "the README lacks {row}\n{rows:?}");
    }
    Ok(())
}

/// The caller's outcome, and whether the payment was canceled by then.
#[derive(Debug)]
struct Observed {
    outcome: Option<String>,
    canceled: bool,
}

impl Observed {
    fn verdict(&self) -> &'static str {
        match self.outcome.as_deref() {
            None => "silent",
            Some("undecided") => "undecided",
            Some("unavailable" | "internal") if !self.canceled => "true",
            Some("canceled") if self.canceled => "true",
            Some(_) => "UNTRUE",
        }
    }

    fn text(&self) -> String {
        let outcome = self.outcome.as_deref().unwrap_or("no response in 5 s");
        let fact = if self.canceled { "canceled" } else { "untouched" };
        format!("{}: {outcome} ({fact})", self.verdict())
    }
}

async fn try_once<P: Provider>(case: &Case, fault: Fault, ours: bool) -> Result<Observed> {
    let tables = Tables::new()?;
    for credential in &case.given.credentials {
        tables.put("credentials", credential)?;
    }
    let proxy = FaultProxy::in_memory(&tables);
    let service = Transport::<Spy<P>>::service(&proxy.config(), WARM, SystemClock);
    service.invoke(&Call::begin().request_id, &case.event()).await?; // The credential is warm.
    let payment = case.given.payments.first().context("the case has no payment")?;
    tables.put("payments", payment)?;

    proxy.script([fault]);
    let outcome = if ours {
        let response = service.invoke(&Call::begin().request_id, &case.event()).await?;
        response.headers.get(OUTCOME).cloned()
    } else {
        let pk = payment["pk"].as_str().context("the payment has no pk")?;
        let response = timeout(TIMEOUT, plain_cancel(&proxy, P::STATUSES, pk)).await;
        response.ok().transpose()?.map(str::to_owned)
    };
    let pk = payment["pk"].as_str().unwrap_or_default();
    let item = tables.get("payments", pk)?;
    let canceled = item.is_some_and(|item| item["status"] == P::STATUSES.canceled);
    Ok(Observed { outcome, canceled })
}

/// The ordinary handler: SDK defaults, but for the TLS library, which no request here uses.
async fn plain_cancel(proxy: &FaultProxy, statuses: Statuses, pk: &str) -> Result<&'static str> {
    let credentials = Credentials::new("local", "local", None, None, "plain");
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(proxy.config().http_client().context("no HTTP client")?)
        .endpoint_url(proxy.url())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .load()
        .await;
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let words =
        (0..statuses.cancelable.len()).map(|n| format!(":from{n}")).collect::<Vec<_>>().join(", ");
    let mut request = Client::new(&config)
        .update_item()
        .table_name("payments")
        .key("pk", text(pk))
        .update_expression("SET #status = :canceled")
        .condition_expression(format!("#status IN ({words})"))
        .expression_attribute_names("#status", "status")
        .expression_attribute_values(":canceled", text(statuses.canceled));
    for (n, word) in statuses.cancelable.iter().enumerate() {
        request = request.expression_attribute_values(format!(":from{n}"), text(word));
    }
    match request.send().await {
        Ok(_) => Ok("canceled"),
        Err(failure) => match failure.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok("conflict"),
            Some(UpdateItemError::ResourceNotFoundException(_)) => bail!("the table is gone"),
            Some(_) | None => Ok("undecided"), // A 500, as it should be.
        },
    }
}
