//! Time, as an argument.

use std::borrow::Cow;

pub use jiff::Timestamp;

/// Where the service takes the time from.
pub trait Clock: Send + Sync + 'static {
    /// The current moment.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// `2024-01-01T00:10:00.000Z`: the form of every time in the payments table.
#[must_use]
pub fn milliseconds(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// A stored time in whole seconds, `2024-01-01T00:10:00Z`, as some providers write it.
///
/// The fraction is cut off, not rounded, so that no response shows a time in the future. A text
/// that is not a time is returned as stored, because a response must not fail for it.
#[must_use]
pub fn whole_seconds(stored: &str) -> Cow<'_, str> {
    stored
        .parse::<Timestamp>()
        .ok()
        .and_then(|at| Timestamp::from_second(at.as_millisecond().div_euclid(1000)).ok())
        .map_or(Cow::Borrowed(stored), |at| Cow::Owned(at.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_cut_the_fraction_off() {
        assert_eq!(whole_seconds("2024-06-15T10:32:00.999Z"), "2024-06-15T10:32:00Z");
        assert_eq!(whole_seconds("1969-12-31T23:59:59.500Z"), "1969-12-31T23:59:59Z");
        assert_eq!(whole_seconds("last Tuesday"), "last Tuesday");
    }
}
