//! `admin credentials revoke`

use anyhow::Result;
use aws_sdk_dynamodb::types::AttributeValue;
use clap::Args;
use jiff::Timestamp;

use super::{Named, Table, lines};
use crate::output::Output;

#[derive(Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    credential: Named,
}

impl Revoke {
    pub(super) async fn run(self, table: &Table, output: Output, now: Timestamp) -> Result<()> {
        let entry = self.credential.find(table, now).await?;
        let revoked = AttributeValue::Bool(false);
        let entry = table.set(&entry, "active", revoked, now).await?;
        output.print(&entry, || {
            format!(
                "{}A function that has cached it accepts it for up to CREDENTIAL_TTL_SECONDS more \
                 (60 by default).\n",
                lines(std::slice::from_ref(&entry))
            )
        })
    }
}
