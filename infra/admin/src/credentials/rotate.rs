//! `admin credentials rotate`

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use jiff::Timestamp;
use shared::clock::milliseconds;

use super::{
    End, Named, Table, duration,
    issue::{Issued, Order},
    table::Entry,
};
use crate::output::Output;

#[derive(Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    credential: Named,
    /// How long the old one still works
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    overlap: Duration,
    #[command(flatten)]
    end: End,
}

impl Rotate {
    pub(super) async fn run(self, table: &Table, output: Output, now: Timestamp) -> Result<()> {
        let provider = self.credential.provider;
        let old = self.credential.find(table, now).await?;
        ensure!(
            old.state == "active",
            "{} is {} and needs no successor; issue a new credential",
            old.key,
            old.state
        );
        let mut issued = Issued::new(
            Order {
                provider,
                scheme: provider.scheme(old.scheme)?,
                merchant_id: &old.merchant_id,
                api_version: old.api_version.as_deref(),
                ends: self.end.moment(now)?,
                id: None,
                secret: None,
            },
            now,
        )?;
        let given = old.expires_at.as_deref().map(str::parse::<Timestamp>);
        let given = given.transpose().with_context(|| {
            format!("expires_at of {} is not an RFC 3339 time; set it with expire", old.key)
        })?;
        let ends = now.checked_add(self.overlap)?;
        let ends = given.map_or(ends, |given| given.min(ends));
        table.replace(&old, ends, &issued.item).await?;
        issued.replaces = Some(Entry { expires_at: Some(milliseconds(ends)), ..old });
        output.print(&issued, || issued.lines())
    }
}
