//! The credentials that merchants cancel with.

mod expire;
pub(crate) mod issue;
mod list;
mod revoke;
mod rotate;
pub(crate) mod table;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use jiff::{Span, SpanRelativeTo, Timestamp};
use providers::Provider;

use crate::{
    aws::Account,
    output::{Output, columns},
};
use table::{Entry, Table};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes a credential and shows its secret once
    Issue(issue::Issue),
    /// Shows what there is: no secret, and of a secret's digest the first digits; reads the whole
    /// table
    List(list::List),
    /// Makes a successor at once, and ends the old credential after --overlap
    Rotate(rotate::Rotate),
    /// Disables a credential for good
    Revoke(revoke::Revoke),
    /// Ends a credential now or at a given time
    Expire(expire::Expire),
}

impl Command {
    pub(crate) async fn run(self, account: &Account, output: Output) -> Result<()> {
        let table = Table::of(account);
        let now = Timestamp::now();
        match self {
            Self::Issue(command) => command.run(&table, output, now).await,
            Self::List(command) => command.run(&table, output, now).await,
            Self::Rotate(command) => command.run(&table, output, now).await,
            Self::Revoke(command) => command.run(&table, output, now).await,
            Self::Expire(command) => command.run(&table, output, now).await,
        }
    }
}

/// A credential that exists.
#[derive(Args)]
struct Named {
    /// The payment provider
    #[arg(long, value_parser = crate::provider())]
    provider: &'static Provider,
    /// Its public id, the digits that `list` shows, or a leaked secret that begins with pck_
    key: String,
}

impl Named {
    async fn find(&self, table: &Table, now: Timestamp) -> Result<Entry> {
        table.find(self.provider, &self.key, now).await
    }
}

/// When a credential ends.
#[derive(Args)]
struct End {
    /// It ends this long from now: 90d, 12h, 30m
    #[arg(long = "in", value_name = "TIME", value_parser = duration, conflicts_with = "at")]
    after: Option<Duration>,
    /// It ends at this moment: 2030-01-01T00:00:00Z
    #[arg(long, value_name = "RFC3339")]
    at: Option<Timestamp>,
}

impl End {
    fn moment(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        match self.after {
            Some(after) => Ok(Some(now.checked_add(after)?)),
            None => Ok(self.at),
        }
    }
}

/// A merchant id is the middle of a payment's key, `{provider}#{merchant_id}#{payment_id}`.
pub(crate) fn merchant_id(text: &str) -> Result<String, String> {
    let fits = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !fits || text.contains('#') {
        return Err("must be 1 to 255 visible ASCII characters, and no '#'".to_owned());
    }
    Ok(text.to_owned())
}

/// `90d`, `12h`, `1d 12h`. A day has 24 hours.
fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<Span>()
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .and_then(Duration::try_from)
        .map_err(|_| "must be a time like 90d, 12h or 30m, and not negative".to_owned())
}

/// One line each, under their titles.
fn lines(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "no credentials\n".to_owned();
    }
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let titles = ["provider", "scheme", "merchant", "key", "state", "expires at", "created at"];
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            [
                entry.provider.clone(),
                entry.scheme.unwrap_or("-").to_owned(),
                entry.merchant_id.clone(),
                entry.key.clone(),
                entry.state.to_owned(),
                or_dash(&entry.expires_at),
                or_dash(&entry.created_at),
            ]
        })
        .collect();
    columns(titles, &rows)
}
