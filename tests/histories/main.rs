//! Histories in this process, and the proof that an untrue one is detected. Histories of real
//! processes run with each provider's own tests.
//!
//! ```sh
//! HISTORIES=1_000_000 cargo test --release -p harness --test histories   # as many as that
//! HISTORY_SEED=17 cargo test -p harness --test histories                 # this seed's, again
//! ```
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod model;

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use harness::history::{
    Call, Cancellation, Event, Fault, History, Id, Item, Number, Operation, Outcome, Seen, Token,
    check::{check, linearizable},
    memory::{Flaw, STATUSES, flawed, history},
    report, seeds,
};
use harness::progress::progress;

/// The default of `HISTORIES`.
const SAMPLE: u64 = 60_000;

/// Tries the seeds on all processors. Returns how many histories had each remarkable event, or the
/// first violation.
fn try_all(seeds: Range<u64>) -> Result<Seen, String> {
    let next = AtomicU64::new(seeds.start);
    let bar = progress("histories in process", seeds.end - seeds.start, SAMPLE);
    let work = || {
        let mut seen = Seen::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return Ok(seen);
            }
            let history = history(seed);
            if let Err(wrong) = check(&history) {
                next.store(seeds.end, Ordering::Relaxed);
                let again = format!("HISTORY_SEED={seed} cargo test -p harness --test histories");
                return Err(format!("{wrong}\n{history}  again: {again}"));
            }
            for remarkable in history.remarkable() {
                *seen.entry(remarkable).or_default() += 1;
            }
            bar.inc(1);
        }
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers = (0..processors).map(|_| scope.spawn(work)).collect::<Vec<_>>();
        let mut all = Seen::new();
        for worker in workers {
            for (remarkable, count) in worker.join().unwrap()? {
                *all.entry(remarkable).or_default() += count;
            }
        }
        Ok(all)
    })
}

#[test]
fn no_history_has_an_untrue_outcome() {
    let seeds = seeds("HISTORIES", SAMPLE);
    let number = seeds.end - seeds.start;
    let began = Instant::now();
    let seen = try_all(seeds).unwrap_or_else(|wrong| panic!("{wrong}"));
    report("HISTORIES", "in process", number, began.elapsed(), &seen);
    // Histories in which nothing happens prove nothing.
    if number >= SAMPLE {
        for remarkable in REMARKABLE {
            let count = seen.get(remarkable).copied().unwrap_or_default();
            assert!(count >= 100, "seen {count} times only: {remarkable}");
        }
        assert_eq!(seen.len(), REMARKABLE.len(), "{seen:?}");
    }
}

/// Everything that may be seen in a history.
const REMARKABLE: [&str; 24] = [
    "a call is given up",
    "a re-opened payment is canceled again",
    "a request is doubled",
    "a request is late",
    "a request is lost",
    "a response is lost",
    "an attempt is refused",
    "an undecided call cancels the payment",
    "an undecided call changes the payment",
    "an undecided call is retried with its key",
    "canceled",
    "canceled, and its first response was lost",
    "key reused",
    "moved",
    "not cancelable, because canceled",
    "not cancelable, because manual",
    "not cancelable, because moved",
    "not found",
    "re-opened since",
    "re-opened since, and once more after another key",
    "refused",
    "replayed",
    "unavailable",
    "undecided",
];

#[test]
fn a_seed_makes_the_same_history_again() {
    for seed in 0..1000 {
        assert_eq!(history(seed), history(seed));
    }
    assert_ne!(history(1), history(2));
}

#[test]
fn every_flaw_is_noticed_within_2000_histories() {
    for flaw in Flaw::ALL {
        let noticed = (0..2000).any(|seed| check(&flawed(seed, flaw)).is_err());
        assert!(noticed, "{flaw:?}");
    }
}

#[test]
fn the_linearizability_alone_notices_most_flaws() {
    // The rest is nothing that an order of the calls could contradict.
    let of_another_kind = [Flaw::UndecidedWithoutNeed];
    for flaw in Flaw::ALL {
        let noticed = (0..2000).any(|seed| linearizable(&flawed(seed, flaw)).is_err());
        assert_eq!(noticed, !of_another_kind.contains(&flaw), "{flaw:?}");
    }
}

const OPEN: Item = Item { status: "pending", manual: false, cancellation: None };

const CAPTURED: Item = Item { status: "captured", ..OPEN };

/// The payment, canceled by that call of [`cancel`] with that key.
fn canceled(number: Number, key: usize) -> Item {
    let cancellation = Cancellation { id: Id::Of(number), token: Token::Key(key), fingerprint: 0 };
    Item { status: STATUSES.canceled, cancellation: Some(cancellation), ..OPEN }
}

fn cancel(key: usize, fingerprint: usize) -> Operation {
    Operation::Cancel { token: Token::Key(key), fingerprint }
}

fn made(item: Item) -> Outcome {
    Outcome::Canceled { item, replayed: false }
}

fn replayed(item: Item) -> Outcome {
    Outcome::Canceled { item, replayed: true }
}

/// A hand-made history; each call has its own client.
fn by_hand<const CALLS: usize>(operations: [Operation; CALLS], events: &[Event]) -> History {
    let calls = operations.into_iter().enumerate();
    History {
        statuses: STATUSES,
        first: Some(OPEN),
        anonymous: false,
        reopens: 1,
        calls: calls.map(|(client, operation)| Call { client, operation }).collect(),
        events: events.to_vec(),
    }
}

/// Rejected for that reason; with `linear`, also because no order of the calls explains it.
#[track_caller]
fn rejected(history: &History, reason: &str, linear: bool) {
    assert_eq!(check(history), Err(reason.to_owned()), "\n{history}");
    assert_eq!(linearizable(history).is_ok(), linear, "\n{history}");
}

#[test]
fn what_happens_as_it_should_is_accepted() {
    use Event::{Called, Responded, Wrote};
    let item = canceled(0, 1);
    let history = by_hand(
        [cancel(1, 0), cancel(1, 0), cancel(1, 1), cancel(2, 0), Operation::Capture],
        &[
            Called(0),
            Called(1),
            Wrote(0, item),
            Responded(1, replayed(item)),
            Responded(0, made(item)),
            Called(2),
            Called(3),
            Called(4),
            Responded(4, Outcome::Refused(Some(item))),
            Responded(2, Outcome::KeyReused),
            Responded(3, Outcome::NotCancelable(item)),
        ],
    );
    assert_eq!(check(&history), Ok(()));
}

#[test]
fn an_undecided_call_may_have_happened_or_not_or_may_happen_later() {
    use Event::{Befell, Called, Responded, Undecided, Wrote};
    let item = canceled(0, 1);
    let begin = [Called(0), Befell(0, Fault::Late)];
    let reported = [Called(1), Responded(1, Outcome::NotCancelable(item))];
    let wrote = [Wrote(0, item)];
    let undecided = [Undecided(0)];
    let moved = [Called(1), Wrote(1, CAPTURED), Responded(1, Outcome::Moved)];
    for (operation, events) in [
        (cancel(2, 0), [&begin[..], &wrote, &undecided, &reported].concat()),
        (cancel(2, 0), [&begin[..], &undecided, &wrote, &reported].concat()),
        (Operation::Capture, [&begin[..], &undecided, &moved].concat()),
    ] {
        assert_eq!(check(&by_hand([cancel(1, 0), operation], &events)), Ok(()));
    }
}

#[test]
fn a_false_conflict_is_rejected() {
    use Event::{Befell, Called, Responded, Wrote};
    let item = canceled(0, 1);
    let events = [
        Called(0),
        Befell(0, Fault::ResponseLost),
        Wrote(0, item),
        Responded(0, Outcome::NotCancelable(item)),
    ];
    let reason = "#0 was refused, and changed the payment";
    rejected(&by_hand([cancel(1, 0)], &events), reason, false);
}

#[test]
fn a_conflict_with_the_cancel_of_ones_own_key_is_rejected() {
    use Event::{Befell, Called, Responded, Undecided, Wrote};
    let item = canceled(0, 1);
    let events = [
        Called(0),
        Befell(0, Fault::ResponseLost),
        Wrote(0, item),
        Undecided(0),
        Called(1),
        Responded(1, Outcome::NotCancelable(item)),
    ];
    let reason = "#1 got a conflict with its own key's cancel";
    rejected(&by_hand([cancel(1, 0), cancel(1, 0)], &events), reason, false);
}

#[test]
fn a_second_transition_is_rejected() {
    use Event::{Called, Responded, Wrote};
    let [first, second] = [canceled(0, 1), canceled(1, 2)];
    let events = [
        Called(0),
        Called(1),
        Wrote(0, first),
        Responded(0, made(first)),
        Wrote(1, second),
        Responded(1, made(second)),
    ];
    let reason = "#1 changed a payment that was not open to it";
    rejected(&by_hand([cancel(1, 0), cancel(2, 0)], &events), reason, false);
}

#[test]
fn a_cancel_and_a_capture_that_both_win_are_rejected() {
    use Event::{Called, Responded, Wrote};
    let item = canceled(1, 1);
    let events = [
        Called(0),
        Called(1),
        Wrote(0, CAPTURED),
        Responded(0, Outcome::Moved),
        Wrote(1, item),
        Responded(1, made(item)),
    ];
    let reason = "#1 changed a payment that was not open to it";
    rejected(&by_hand([Operation::Capture, cancel(1, 0)], &events), reason, false);
}

#[test]
fn success_where_nothing_was_canceled_is_rejected() {
    use Event::{Called, Responded, Wrote};
    let events = [
        Called(0),
        Responded(0, made(canceled(0, 1))),
        Called(1),
        Wrote(1, CAPTURED),
        Responded(1, Outcome::Moved),
    ];
    let reason = "#0 reported canceled, but did not cancel the payment";
    rejected(&by_hand([cancel(1, 0), Operation::Capture], &events), reason, false);
}

#[test]
fn a_replay_that_was_none_is_rejected() {
    use Event::{Called, Responded, Wrote};
    let item = canceled(0, 1);
    let events = [Called(0), Wrote(0, item), Responded(0, replayed(item))];
    let reason = "#0 reported a replay, but made the transition itself";
    rejected(&by_hand([cancel(1, 0)], &events), reason, false);
}

#[test]
fn a_replay_of_another_keys_cancel_is_rejected() {
    use Event::{Called, Responded, Wrote};
    let item = canceled(0, 1);
    let events = [
        Called(0),
        Wrote(0, item),
        Responded(0, made(item)),
        Called(1),
        Responded(1, replayed(item)),
    ];
    let reason = "#1 reported a replay, but no earlier request with its key had canceled";
    rejected(&by_hand([cancel(1, 0), cancel(2, 0)], &events), reason, false);
}

#[test]
fn a_replay_with_another_cancellation_than_the_first_is_rejected() {
    use Event::{Called, Responded, Wrote};
    let events = [
        Called(2),
        Called(0),
        Wrote(0, canceled(0, 1)),
        Responded(0, made(canceled(0, 1))),
        Called(1),
        Responded(1, replayed(canceled(2, 1))),
    ];
    let reason = "#1 reported a payment state that never existed during the call";
    let three = [cancel(1, 0), cancel(1, 0), cancel(1, 0)];
    rejected(&by_hand(three, &events), reason, false);
}

#[test]
fn a_refusal_after_which_the_payment_is_canceled_all_the_same_is_rejected() {
    use Event::{Befell, Called, Responded, Wrote};
    let item = canceled(0, 1);
    let events = [
        Called(0),
        Befell(0, Fault::Late),
        Responded(0, Outcome::NotCancelable(CAPTURED)),
        Wrote(0, item),
    ];
    let reason = "#0 was refused, and changed the payment";
    rejected(&by_hand([cancel(1, 0)], &events), reason, false);
}

#[test]
fn a_status_that_was_only_true_later_is_rejected() {
    use Event::{Called, Responded, Wrote};
    let events = [
        Called(0),
        Responded(0, Outcome::NotCancelable(CAPTURED)),
        Called(1),
        Wrote(1, CAPTURED),
        Responded(1, Outcome::Moved),
    ];
    let reason = "#0 reported a payment state that never existed during the call";
    rejected(&by_hand([cancel(1, 0), Operation::Capture], &events), reason, false);
}

#[test]
fn a_payment_that_was_no_longer_so_is_rejected() {
    use Event::{Called, Responded, Wrote};
    let events = [
        Called(0),
        Wrote(0, CAPTURED),
        Responded(0, Outcome::Moved),
        Called(1),
        Responded(1, Outcome::Refused(Some(OPEN))),
    ];
    let reason = "#1 reported a payment state that never existed during the call";
    rejected(&by_hand([Operation::Capture, Operation::Fail], &events), reason, false);
}

#[test]
fn a_key_reused_for_the_same_request_is_rejected() {
    use Event::{Called, Responded, Wrote};
    let item = canceled(0, 1);
    for (operation, of) in [(cancel(1, 0), "the same"), (cancel(2, 1), "another key's")] {
        let events = [
            Called(0),
            Wrote(0, item),
            Responded(0, made(item)),
            Called(1),
            Responded(1, Outcome::KeyReused),
        ];
        let reason = "#1 reported a reused key, but no other request had used it";
        let history = by_hand([cancel(1, 0), operation], &events);
        assert_eq!(check(&history), Err(reason.to_owned()), "{of}");
        assert!(linearizable(&history).is_err(), "{of}");
    }
}

#[test]
fn a_payment_that_is_not_found_though_it_is_there_is_rejected() {
    use Event::{Called, Responded};
    let events = [Called(0), Responded(0, Outcome::NotFound)];
    let reason = "#0 reported not found, but the payment existed";
    rejected(&by_hand([cancel(1, 0)], &events), reason, false);
}

#[test]
fn a_cancelable_payment_that_is_refused_is_rejected() {
    use Event::{Called, Responded};
    let events = [Called(0), Responded(0, Outcome::NotCancelable(OPEN))];
    let reason = "#0 reported not cancelable, but the payment was cancelable";
    rejected(&by_hand([cancel(1, 0)], &events), reason, false);
}

#[test]
fn a_call_left_undecided_though_nothing_befell_it_is_rejected() {
    use Event::{Called, Undecided};
    let events = [Called(0), Undecided(0)];
    let reason = "#0 was left undecided, and nothing had befallen it";
    rejected(&by_hand([cancel(1, 0)], &events), reason, true);
}
