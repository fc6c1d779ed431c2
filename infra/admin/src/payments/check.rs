//! `admin payments check`

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use futures_util::future::try_join_all;
use indicatif::ProgressBar;
use serde::Serialize;

use super::{
    Table,
    item::{Kind, faults, is_signature},
};
use crate::{
    Verdict,
    output::{Output, progress, shown},
};

/// So many keys of each kind are shown.
const EXAMPLES: usize = 5;

#[derive(Args)]
pub(crate) struct Check {
    /// How many segments of the table are read at once
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=64))]
    segments: i32,
}

/// What was found.
#[derive(Serialize, Default)]
struct Report {
    payments: u64,
    /// Used signatures, which are in the same table.
    signatures: u64,
    kinds: BTreeMap<Kind, Found>,
}

#[derive(Serialize, Default)]
struct Found {
    fault: bool,
    effect: &'static str,
    count: u64,
    /// Some of the keys.
    examples: Vec<String>,
}

impl Check {
    pub(super) async fn run(self, table: &Table, output: Output) -> Result<Verdict> {
        // DynamoDB counts a table's items every six hours: good enough for a bar.
        let described = table.client.describe_table().table_name(&table.name).send().await;
        let described = described.ok().and_then(|found| found.table);
        let length = described.and_then(|table| table.item_count).unwrap_or_default();
        let bar = progress(length.unsigned_abs(), format!("items of the table {}", table.name));
        let segments = (0..self.segments).map(|segment| self.segment(table, segment, &bar));
        let reports = try_join_all(segments).await?;
        drop(bar);
        let mut report = Report::default();
        for part in reports {
            report.merge(part);
        }
        output.print(&report, || report.lines(&table.name))?;
        Ok(Verdict::from(!report.kinds.values().any(|found| found.fault)))
    }

    async fn segment(&self, table: &Table, segment: i32, bar: &ProgressBar) -> Result<Report> {
        let mut report = Report::default();
        let mut pages = table
            .client
            .scan()
            .table_name(&table.name)
            .segment(segment)
            .total_segments(self.segments)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|failure| table.explain(&failure, "dynamodb:Scan"))?;
            for item in page.items.unwrap_or_default() {
                bar.inc(1);
                if is_signature(&item) {
                    report.signatures += 1;
                    continue;
                }
                report.payments += 1;
                let pk = item.get("pk").and_then(|pk| pk.as_s().ok());
                for kind in faults(&item) {
                    report.add(kind, 1, pk.cloned());
                }
            }
        }
        Ok(report)
    }
}

impl Report {
    fn add(&mut self, kind: Kind, count: u64, examples: impl IntoIterator<Item = String>) {
        let found = self.kinds.entry(kind).or_default();
        found.fault = kind.is_fault();
        found.effect = kind.effect();
        found.count += count;
        let room = EXAMPLES.saturating_sub(found.examples.len());
        found.examples.extend(examples.into_iter().take(room));
    }

    fn merge(&mut self, other: Self) {
        self.payments += other.payments;
        self.signatures += other.signatures;
        for (kind, found) in other.kinds {
            self.add(kind, found.count, found.examples);
        }
    }

    fn lines(&self, table: &str) -> String {
        let mut lines = format!("{} payments in the table {table}\n", self.payments);
        if self.signatures > 0 {
            lines += &format!("{} used signatures\n", self.signatures);
        }
        for found in self.kinds.values() {
            let what = if found.fault { "fault" } else { "note" };
            lines += &format!("{what}  {}  {}\n", found.count, found.effect);
            for example in &found.examples {
                lines += &format!("         {}\n", shown(example));
            }
        }
        if self.kinds.is_empty() {
            lines += "all of them follow the data model\n";
        }
        lines
    }
}
