//! `admin payments move`

use std::collections::HashMap;

use anyhow::{Result, bail, ensure};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use shared::clock::milliseconds;

use super::{Named, Table, item::Item, put::word, text};
use crate::{
    Verdict,
    output::{Output, shown},
};

#[derive(Args)]
pub(crate) struct Move {
    #[command(flatten)]
    payment: Named,
    /// The status you saw; nothing is changed if the payment has another one by now
    #[arg(long, value_name = "STATUS")]
    from: String,
    /// The status to set
    #[arg(long, value_name = "STATUS")]
    to: String,
}

#[derive(Serialize)]
struct Moved {
    pk: String,
    moved: bool,
    /// The status now.
    status: Option<String>,
}

impl Move {
    pub(super) async fn run(self, table: &Table, output: Output) -> Result<Verdict> {
        let provider = self.payment.provider;
        let pk = self.payment.pk()?;
        // `--from` may be any text; `--to` must be a status of the provider.
        let to = word(provider, "--to", &self.to)?;
        ensure!(self.from != to, "--from and --to are the same");
        let canceled = provider.statuses.canceled;
        let now = milliseconds(Timestamp::now());
        let mut update = "SET #status = :to, updated_at = :now".to_owned();
        if to == canceled {
            update += ", canceled_at = :now";
        } else if self.from == canceled {
            update += " REMOVE canceled_at";
        }
        let values = HashMap::from([
            (":from".to_owned(), text(&self.from)),
            (":to".to_owned(), text(to)),
            (":now".to_owned(), text(&now)),
        ]);
        let updated = table.update(&pk, &update, "#status = :from", values).await?;
        let is = |item: &Item, name, value: &str| item.get(name) == Some(&text(value));
        let (moved, item) = match updated {
            Ok(item) => (true, item),
            Err(None) => bail!(table.missing(&pk)),
            // When a response is lost, the SDK retries the write, which then finds what it wrote
            // itself.
            Err(Some(item)) => (is(&item, "status", to) && is(&item, "updated_at", &now), item),
        };
        let status = item.get("status").and_then(|status| status.as_s().ok());
        let result = Moved { pk, moved, status: status.cloned() };
        output.print(&result, || {
            let status = result.status.as_deref().unwrap_or("missing");
            let line = if moved {
                format!("{}: {} -> {status}", result.pk, self.from)
            } else {
                format!("{}: not moved, its status is {status} and not {}", result.pk, self.from)
            };
            shown(&line) + "\n"
        })?;
        Ok(Verdict::from(moved))
    }
}
