//! What a person sees: colored on a terminal, plain elsewhere and where `NO_COLOR` is set.

use std::{
    io::{self, Write},
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use anyhow::Error;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{data::Payment, demo::Story, serve::Endpoint};

const FAINT: Style = Style::new().dimmed();
const NAME: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const REFUSED: Style = AnsiColor::Yellow.on_default();

/// How far the start is: the tables, and so many items. On a terminal only; it goes away with what is returned.
pub(crate) fn loading(items: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg}  {pos} of {len} items  {elapsed}");
    let bar = ProgressBar::new(items as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message("tables");
    // A DynamoDB far away, or none, lets one wait.
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// How to cancel a payment of this provider. All of it is shell, the line above the command too.
pub(crate) fn command(endpoint: &Endpoint, url: &str, next: Option<Payment>) -> io::Result<()> {
    let canceled = endpoint.statuses.canceled;
    let (id, what) = match next {
        Some(Payment { id, status }) => (id, format!("{status} -> {canceled}")),
        None => (
            endpoint.demo_ids().next().unwrap_or_default(),
            "all its demo payments are canceled already".to_owned(),
        ),
    };
    let command = endpoint.demo.cancel.command(&endpoint.url(url, &id), &id);
    let name = endpoint.name;
    writeln!(
        anstream::stdout(),
        "{FAINT}#{FAINT:#} {NAME}{name}{NAME:#}{FAINT}: {what}{FAINT:#}\n{command}\n"
    )
}

/// The last line of the start.
pub(crate) fn ready(url: &str, dynamodb: &str) -> io::Result<()> {
    writeln!(
        anstream::stdout(),
        "{GOOD}ready{GOOD:#}  {url}  {FAINT}(DynamoDB on {dynamodb}){FAINT:#}"
    )
}

/// The demo's stories, one line each.
pub(crate) fn stories(stories: &[Story]) -> io::Result<()> {
    let width = |title: &str, cell: fn(&Story) -> usize| {
        stories.iter().map(cell).fold(title.len(), usize::max)
    };
    let provider = width("provider", |story| story.provider.len());
    let payment = width("payment", |story| story.payment.len());
    let before = width("before", |story| story.before.len());
    let after = width("after", |story| story.after.len());

    let mut out = anstream::stdout().lock();
    writeln!(
        out,
        "{FAINT}{:provider$}  {:payment$}  {:before$}    {:after$}  http  second try{FAINT:#}",
        "provider", "payment", "before", "after"
    )?;
    for story in stories {
        let mark = if story.wrong.is_some() { BAD } else { GOOD };
        write!(
            out,
            "{NAME}{:provider$}{NAME:#}  {:payment$}  {:before$} -> {mark}{:after$}{mark:#}  {:<4}  {REFUSED}{}{REFUSED:#}",
            story.provider, story.payment, story.before, story.after, story.http, story.again
        )?;
        match &story.wrong {
            Some(wanted) => writeln!(out, "  {BAD}wrong: must be {wanted}{BAD:#}")?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

/// Why the process ends.
pub(crate) fn error(error: &Error) {
    // Where even this cannot be written, the exit code still says it.
    let _ = writeln!(anstream::stderr(), "{BAD}error:{BAD:#} {error:#}");
}
