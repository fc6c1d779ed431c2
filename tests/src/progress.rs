//! How far a long run is, for whoever waits for it at a terminal. Elsewhere, in CI for one, nothing is written.

use std::{fmt::Write, time::Duration};

pub use indicatif::ProgressBar;
use indicatif::{HumanDuration, ProgressState, ProgressStyle};

/// A line on standard error that is written anew: what is done, how many of how many, for how long, and how long yet where that can be told. It goes away with the bar.
///
/// There is none where no more than a `sample` is made: that is what every `cargo test` does, and it is over soon.
#[must_use]
pub fn progress(what: &'static str, of: u64, sample: u64) -> ProgressBar {
    if of <= sample {
        return ProgressBar::hidden();
    }
    let template = "{prefix} {bar:24} {human_pos} of {human_len} in {elapsed}{left}  {msg}";
    let style = ProgressStyle::with_template(template).expect("a template");
    // Before the first is done nobody knows.
    let style = style.with_key("left", |state: &ProgressState, line: &mut dyn Write| {
        if state.pos() > 0 {
            let _ = write!(line, ", {:#} left", HumanDuration(state.eta()));
        }
    });
    let bar = ProgressBar::new(of).with_style(style).with_prefix(what);
    // So that the clock goes on where one step takes long.
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}
