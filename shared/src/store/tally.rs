//! What a request costs at the store, for its log line.

use std::{cell::Cell, future::Future};

/// Requests to the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// All of them, the look-up of a credential among them.
    pub(crate) attempts: u64,
    /// Those that repeated one which had no definite answer.
    pub(crate) retries: u64,
}

tokio::task_local! {
    static TALLY: Cell<Tally>;
}

/// Does `work`, and counts what it asks of the store.
pub(crate) async fn counted<T>(work: impl Future<Output = T>) -> (T, Tally) {
    let counted = async {
        let done = work.await;
        (done, TALLY.with(Cell::get))
    };
    TALLY.scope(Cell::default(), counted).await
}

/// Counts one request to the store, `again` where it repeats another.
#[cfg_attr(
    not(feature = "lambda"),
    expect(dead_code, reason = "memory needs one attempt")
)]
pub(crate) fn count(again: bool) {
    // Outside of a request, as in a test of the store alone, nobody counts.
    let _ = TALLY.try_with(|tally| {
        let Tally { attempts, retries } = tally.get();
        tally.set(Tally {
            attempts: attempts + 1,
            retries: retries + u64::from(again),
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_request_has_its_own_tally() {
        let one = counted(async {
            count(false);
            tokio::task::yield_now().await;
            count(true);
        });
        let other = counted(async { count(false) });
        let (((), one), ((), other)) = tokio::join!(one, other);
        count(false);
        assert_eq!((one.attempts, one.retries), (2, 1));
        assert_eq!((other.attempts, other.retries), (1, 0));
    }
}
