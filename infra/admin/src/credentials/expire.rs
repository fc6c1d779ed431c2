//! `admin credentials expire`

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use shared::clock::milliseconds;

use super::{End, Named, Table, lines, table::text};
use crate::output::Output;

#[derive(Args)]
pub(crate) struct Expire {
    #[command(flatten)]
    credential: Named,
    #[command(flatten)]
    end: End,
}

impl Expire {
    pub(super) async fn run(self, table: &Table, output: Output, now: Timestamp) -> Result<()> {
        let entry = self.credential.find(table, now).await?;
        let ends = text(milliseconds(self.end.moment(now)?.unwrap_or(now)));
        let entry = table.set(&entry, "expires_at", ends, now).await?;
        output.print(&entry, || lines(std::slice::from_ref(&entry)))
    }
}
