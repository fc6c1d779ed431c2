//! Progress of a long run on a terminal. Elsewhere, as in CI, nothing is written.

use std::{fmt::Write, time::Duration};

pub use indicatif::ProgressBar;
use indicatif::{HumanDuration, ProgressState, ProgressStyle};

/// A line on standard error with the count, the elapsed time and an estimate of the rest. It is
/// removed with the bar.
///
/// There is none for a `sample` or less: every `cargo test` makes that, and it ends soon.
#[must_use]
pub fn progress(what: &'static str, of: u64, sample: u64) -> ProgressBar {
    if of <= sample {
        return ProgressBar::hidden();
    }
    let template = "{prefix} {bar:24} {human_pos} of {human_len} in {elapsed}{left}  {msg}";
    let style = ProgressStyle::with_template(template).expect("a template");
    // Before the first one is done, there is no estimate.
    let style = style.with_key("left", |state: &ProgressState, line: &mut dyn Write| {
        if state.pos() > 0 {
            let _ = write!(line, ", {:#} left", HumanDuration(state.eta()));
        }
    });
    let bar = ProgressBar::new(of).with_style(style).with_prefix(what);
    // So that the clock advances during a long step.
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}
