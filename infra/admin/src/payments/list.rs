//! `admin payments list`

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use super::{
    Table,
    item::{Forecast, Item},
    text,
};
use crate::{
    Verdict,
    credentials::merchant_id,
    output::{Output, columns, waiting},
};
use providers::Provider;

#[derive(Args)]
pub(crate) struct List {
    /// The payment provider
    #[arg(long, value_parser = crate::provider())]
    provider: &'static Provider,
    /// Only this merchant's
    #[arg(long, value_parser = merchant_id)]
    merchant: Option<String>,
    /// Only those with this status
    #[arg(long)]
    status: Option<String>,
    /// The most payments to list
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

#[derive(Serialize)]
struct Row {
    merchant_id: String,
    payment_id: String,
    status: String,
    amount: String,
    currency: String,
    updated_at: String,
    /// What a cancel would do now.
    cancel: &'static str,
}

impl List {
    pub(super) async fn run(self, table: &Table, output: Output) -> Result<Verdict> {
        ensure!(self.limit > 0, "--limit must be at least 1");
        let prefix = match &self.merchant {
            Some(merchant) => self.provider.pk(merchant, ""),
            None => format!("{}#", self.provider.name),
        };
        let mut filter = "begins_with(pk, :prefix)".to_owned();
        let mut scan = table
            .client
            .scan()
            .table_name(&table.name)
            .consistent_read(true)
            .expression_attribute_values(":prefix", text(&prefix));
        if let Some(status) = &self.status {
            filter += " AND #status = :status";
            scan = scan
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":status", text(status));
        }
        let mut pages = scan.filter_expression(filter).into_paginator().send();
        let waiting = waiting(format!("reading the table {}", table.name));
        let (mut rows, mut read) = (Vec::new(), 0);
        while let Some(page) = pages.next().await {
            let page = page.map_err(|failure| table.explain(&failure, "dynamodb:Scan"))?;
            read += page.scanned_count;
            waiting.set_message(format!("{read} items of the table {}", table.name));
            let items = page.items.unwrap_or_default();
            rows.extend(items.iter().map(|item| self.row(item)));
            if rows.len() >= self.limit {
                break;
            }
        }
        drop(waiting);
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        rows.sort_by(|one, other| {
            (&one.merchant_id, &one.payment_id).cmp(&(&other.merchant_id, &other.payment_id))
        });
        output.print(&rows, || lines(&rows, more))?;
        Ok(Verdict::Passed)
    }

    fn row(&self, item: &Item) -> Row {
        let text = |name| item.get(name).and_then(|value| value.as_s().ok()).cloned();
        let pk = text("pk").unwrap_or_default();
        let mut parts = pk.splitn(3, '#').skip(1).map(str::to_owned);
        let amount = item.get("amount").and_then(|amount| amount.as_n().ok());
        Row {
            merchant_id: parts.next().unwrap_or_default(),
            payment_id: parts.next().unwrap_or_default(),
            status: text("status").unwrap_or_default(),
            amount: amount.cloned().unwrap_or_default(),
            currency: text("currency").unwrap_or_default(),
            updated_at: text("updated_at").unwrap_or_default(),
            cancel: Forecast::of(self.provider, item).outcome,
        }
    }
}

fn lines(rows: &[Row], more: bool) -> String {
    if rows.is_empty() {
        return "no payments\n".to_owned();
    }
    let titles =
        ["merchant", "payment", "status", "amount", "currency", "updated at", "a cancel now"];
    let cells = |row: &Row| {
        [
            row.merchant_id.clone(),
            row.payment_id.clone(),
            row.status.clone(),
            row.amount.clone(),
            row.currency.clone(),
            row.updated_at.clone(),
            row.cancel.to_owned(),
        ]
    };
    let mut lines = columns(titles, &rows.iter().map(cells).collect::<Vec<_>>());
    if more {
        lines += "There are more; raise --limit or name a merchant or status.\n";
    }
    lines
}
