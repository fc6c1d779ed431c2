//! What the tool prints: lines for people, or JSON; and progress while something far away is waited
//! for.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// How results are printed.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// As JSON, or as `lines` has it. Neither can move a terminal's cursor.
    pub(crate) fn print(
        self,
        value: &impl Serialize,
        lines: impl FnOnce() -> String,
    ) -> Result<()> {
        let text = if self.json {
            // Only strings can hold such characters, and there this is the JSON form of them.
            let json = serde_json::to_string_pretty(value)?;
            escaped(&json, |it, out| {
                let mut units = [0; 2];
                for unit in it.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }) + "\n"
        } else {
            escaped(&lines(), |it, out| out.extend(it.escape_unicode()))
        };
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).context(
            "it was done, but could not be printed; revoke the secret, which was never shown",
        )
    }
}

/// The text, on one line, with every character that a terminal obeys or hides as its code.
pub(crate) fn shown(text: &str) -> String {
    escaped(text, |it, out| out.extend(it.escape_unicode())).replace('\n', "\\u{a}")
}

/// The text, its lines kept.
pub(crate) fn shown_lines(text: &str) -> String {
    escaped(text, |it, out| out.extend(it.escape_unicode()))
}

fn escaped(text: &str, with: impl Fn(char, &mut String)) -> String {
    let mut out = String::with_capacity(text.len());
    for it in text.chars() {
        if it != '\n' && is_unseen(it) {
            with(it, &mut out);
        } else {
            out.push(it);
        }
    }
    out
}

/// Controls, and what changes the direction or the place of its neighbors.
fn is_unseen(it: char) -> bool {
    it.is_control()
        || ['\u{ad}', '\u{61c}', '\u{feff}'].contains(&it)
        || ['\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2060}'..='\u{206f}']
            .iter()
            .any(|range| range.contains(&it))
}

/// Rows under their titles.
pub(crate) fn columns<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<_> = [titles.map(str::to_owned)]
        .into_iter()
        .chain(rows.iter().map(|row| row.each_ref().map(|cell| shown(cell))))
        .collect();
    let width = |column: usize| {
        let lengths = rows.iter().filter_map(|row| row.get(column));
        lengths.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    rows.iter()
        .map(|row| {
            let cells = row.iter().enumerate();
            let cells: Vec<_> = cells.map(|(n, cell)| format!("{cell:0$}", width(n))).collect();
            format!("{}\n", cells.join("  ").trim_end())
        })
        .collect()
}

/// A line on a terminal while something far away is waited for; elsewhere nothing. It goes away
/// with what is returned.
pub(crate) fn waiting(what: String) -> ProgressBar {
    bar(ProgressBar::new_spinner(), "{spinner} {msg}, {elapsed}", what)
}

/// The same for work of a known length.
pub(crate) fn progress(length: u64, what: String) -> ProgressBar {
    let template = "{spinner} {msg}  {pos} of {len}  {wide_bar}  {elapsed}";
    bar(ProgressBar::new(length), template, what)
}

fn bar(bar: ProgressBar, template: &str, what: String) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    let bar = bar
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        .with_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_as_its_code() {
        let shown = shown("a\u{1b}[2J\nb\u{9b}\u{202e}é");
        assert_eq!(shown, "a\\u{1b}[2J\\u{a}b\\u{9b}\\u{202e}é");
        let rows = columns(["x", "y"], &[["a\r".to_owned(), "b".to_owned()]]);
        assert_eq!(rows, "x       y\na\\u{d}  b\n");
    }
}
