//! What a person sees in a terminal: colored there, plain elsewhere and where `NO_COLOR` is set.

use std::{
    io::{self, Write},
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};

use crate::record::Exchange;

const FAINT: Style = Style::new().dimmed();
const NAME: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const REFUSED: Style = AnsiColor::Yellow.on_default();

/// The progress of the start: the tables, and this many items. On a terminal only; it is removed
/// when the returned bar is dropped.
pub(crate) fn loading(items: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg}  {pos} of {len} items  {elapsed}");
    let bar = ProgressBar::new(items as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message("tables");
    // A DynamoDB far away, or none, lets one wait.
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A command of one provider. All of it is shell, the line above the command too.
pub(crate) fn command(name: &str, what: &str, command: &str) -> io::Result<()> {
    writeln!(
        anstream::stdout(),
        "{FAINT}#{FAINT:#} {NAME}{name}{NAME:#}{FAINT}: {what}{FAINT:#}\n{command}\n"
    )
}

/// The start in five lines; the last one is the ready line.
pub(crate) fn banner(url: &str, dynamodb: &str, kept: &str, example: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{FAINT}page{FAINT:#}   {NAME}{url}{NAME:#}")?;
    writeln!(out, "{FAINT}store{FAINT:#}  DynamoDB on {dynamodb}, {kept}")?;
    writeln!(out, "{FAINT}try{FAINT:#}    {example}")?;
    writeln!(
        out,
        "{FAINT}more{FAINT:#}   --commands prints one for each of the five; Ctrl-C ends the stack"
    )?;
    writeln!(out, "{GOOD}ready{GOOD:#}  {url}  {FAINT}(DynamoDB on {dynamodb}){FAINT:#}")
}

/// One request, one line: time, provider, path, status, outcome, milliseconds. The path has room
/// for a One2Pays cancel; on a narrower terminal it loses its middle.
pub(crate) fn request(exchange: &Exchange) {
    const PATH: usize = 60;
    const REST: usize = 8 + 2 + 13 + 2 + 2 + 3 + 2 + 22 + 2 + 7;
    let out = anstream::stdout();
    let room = if out.is_terminal() {
        let (_, columns) = console::Term::stdout().size();
        usize::from(columns).saturating_sub(REST).clamp(16, PATH)
    } else {
        PATH
    };
    let style = match exchange.status {
        200..=299 => GOOD,
        500.. => BAD,
        _ => REFUSED,
    };
    // Of RFC 3339, the time of day; UTC, as in the items.
    let time = exchange.at.get(11..19).unwrap_or_default();
    let provider = exchange.provider.unwrap_or("-");
    let path = shortened(&exchange.path, room);
    let (status, outcome, took) = (exchange.status, &exchange.outcome, exchange.milliseconds);
    // A terminal that is gone does not stop the stack.
    let _ = writeln!(
        out.lock(),
        "{FAINT}{time}{FAINT:#}  {provider:13}  {path:room$}  \
         {style}{status}  {outcome:22}{style:#}  {FAINT}{took:>4} ms{FAINT:#}",
    );
}

/// The text, without its middle where it is longer than that.
fn shortened(text: &str, longest: usize) -> String {
    let characters: Vec<_> = text.chars().collect();
    let Some(left_out) = characters.len().checked_sub(longest).filter(|n| *n > 0) else {
        return text.to_owned();
    };
    let start = (longest - 1) / 2;
    let (start, rest) = characters.split_at(start);
    let end = rest.iter().skip(left_out + 1);
    start.iter().chain(['…'].iter()).chain(end).collect()
}

/// A heading of the demo.
pub(crate) fn heading(text: &str) -> io::Result<()> {
    writeln!(anstream::stdout(), "{NAME}{text}{NAME:#}")
}

/// A line of the demo: what was tried, the status, what it means, and what it should have been
/// where it was something else.
pub(crate) fn tried(
    what: &str,
    status: &str,
    meaning: &str,
    wrong: Option<&str>,
) -> io::Result<()> {
    let style = match (wrong, status.as_bytes().first()) {
        (Some(_), _) => BAD,
        (None, Some(b'2')) => GOOD,
        (None, _) => REFUSED,
    };
    let wrong = wrong
        .map_or_else(String::new, |expected| format!("  {BAD}wrong: must be {expected}{BAD:#}"));
    writeln!(anstream::stdout(), "  {what:22}  {style}{status:3}{style:#}  {meaning}{wrong}")
}

/// What the user should know, on standard error.
pub(crate) fn warning(text: &str) {
    // If it cannot be written, no one reads it.
    let _ = writeln!(anstream::stderr(), "{REFUSED}warning:{REFUSED:#} {text}");
}

/// Why the process ends.
pub(crate) fn error(text: &str) {
    // If this cannot be written either, the exit code still reports it.
    let _ = writeln!(anstream::stderr(), "{BAD}error:{BAD:#} {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_too_long_loses_its_middle() {
        assert_eq!(shortened("/a/b", 4), "/a/b");
        assert_eq!(shortened("/payments/1/cancel", 9), "/pay…ncel");
    }
}
