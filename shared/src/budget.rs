//! How long the store may take for one request, and how many calls it took.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::time::Instant;

/// Handed down to every port with each call. Clones share their counts.
#[derive(Debug, Clone)]
pub struct Budget {
    deadline: Instant,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    attempts: AtomicU64,
    retries: AtomicU64,
}

impl Budget {
    /// A budget that ends at `deadline`.
    #[must_use]
    pub fn until(deadline: Instant) -> Self {
        Self { deadline, counts: Arc::default() }
    }

    /// After this, the request no longer waits for the store.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Counts one call to the store; `retry` if it retries a failed one.
    pub fn count(&self, retry: bool) {
        self.counts.attempts.fetch_add(1, Ordering::Relaxed);
        if retry {
            self.counts.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All calls so far, lookups of a credential included.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.counts.attempts.load(Ordering::Relaxed)
    }

    /// The calls that retried a failed one.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.counts.retries.load(Ordering::Relaxed)
    }
}
