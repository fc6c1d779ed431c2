//! `admin credentials list`

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;

use super::{Table, lines};
use crate::output::Output;
use providers::Provider;

#[derive(Args)]
pub(crate) struct List {
    /// Only this provider's
    #[arg(long, value_parser = crate::provider())]
    provider: Option<&'static Provider>,
    /// Only this merchant's
    #[arg(long)]
    merchant: Option<String>,
}

impl List {
    pub(super) async fn run(self, table: &Table, output: Output, now: Timestamp) -> Result<()> {
        let prefix = self.provider.map(|provider| format!("{}#", provider.name));
        let prefix = prefix.unwrap_or_default();
        let entries = table.list(&prefix, self.merchant.as_deref(), now).await?;
        output.print(&entries, || lines(&entries))
    }
}
