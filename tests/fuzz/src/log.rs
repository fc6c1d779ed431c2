//! The log, kept in memory: the lines that the function would write to standard output.

use std::{
    io,
    sync::{Mutex, Once, PoisonError},
};

use tracing_subscriber::{filter::Targets, fmt, prelude::*};

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        lines.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts keeping it, as [`shared::telemetry`] would write it, at the level that functions have unless told otherwise.
pub fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let lines = fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(|| Writer);
        tracing_subscriber::registry()
            .with(lines)
            .with(Targets::new().with_default(tracing_subscriber::filter::LevelFilter::INFO))
            .init();
    });
}

/// What was logged since the last time.
#[must_use]
pub fn take() -> String {
    let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8(std::mem::take(&mut *lines)).expect("the log is UTF-8")
}
