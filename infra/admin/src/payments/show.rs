//! `admin payments show`

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::{
    Named, Table,
    item::{Forecast, Item, Kind, faults, object, without_secrets},
};
use crate::{
    Verdict,
    aws::Account,
    output::{Output, shown, waiting},
};
use providers::Provider;

#[derive(Args)]
pub(crate) struct Show {
    #[command(flatten)]
    payment: Named,
}

impl Show {
    pub(super) async fn run(self, account: &Account, output: Output) -> Result<Verdict> {
        let pk = self.payment.pk()?;
        let waiting = waiting(format!("reading the table {}", account.payments));
        let found = account.get(&account.payments, &pk).await?;
        drop(waiting);
        let item = found.ok_or_else(|| Table::of(account).missing(&pk))?;
        Shown::new(self.payment.provider, &item).print(output)?;
        Ok(Verdict::Passed)
    }
}

/// A payment as an operator sees it.
#[derive(Serialize)]
pub(super) struct Shown {
    item: Value,
    /// What a cancel would do now.
    cancel: Forecast,
    faults: Vec<Kind>,
}

impl Shown {
    pub(super) fn new(provider: &Provider, item: &Item) -> Self {
        Self {
            item: without_secrets(object(item)),
            cancel: Forecast::of(provider, item),
            faults: faults(item),
        }
    }

    pub(super) fn print(&self, output: Output) -> Result<()> {
        output.print(self, || self.lines())
    }

    fn lines(&self) -> String {
        let mut lines = String::new();
        let members = self.item.as_object().into_iter().flatten();
        for (name, value) in members {
            let value = match value.as_str() {
                Some(text) => shown(text),
                None => value.to_string(),
            };
            lines += &format!("{:<20} {value}\n", shown(name));
        }
        let why = shown(&self.cancel.why);
        lines += &format!("a cancel now: {}, because {why}\n", self.cancel.outcome);
        for kind in &self.faults {
            let what = if kind.is_fault() { "fault" } else { "note" };
            lines += &format!("{what}: {}\n", kind.effect());
        }
        lines
    }
}
