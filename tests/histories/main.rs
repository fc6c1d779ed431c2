//! Histories in this process, and the proof that an untrue one is noticed. Those through real processes run with each provider's own tests.
//!
//! ```sh
//! HISTORIES=1_000_000 cargo test --release -p harness --test histories   # as many as that
//! HISTORY_SEED=17 cargo test -p harness --test histories                 # the one of this seed, again
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
    Answer, Asked, Call, Cancellation, Event, Fault, History, Id, Item, Number, Seen, Token,
    check::{check, linearizable},
    memory::{Flaw, STATUSES, flawed, history},
    report, seeds,
};
use harness::progress::progress;

/// So many histories unless `HISTORIES` says otherwise.
const SAMPLE: u64 = 20_000;

/// Tries the seeds on all processors, each of which makes whole histories: what was seen in how many, or the first untruth met.
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
        let workers = (0..processors)
            .map(|_| scope.spawn(work))
            .collect::<Vec<_>>();
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
fn in_no_history_is_any_client_told_an_untruth() {
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
const REMARKABLE: [&str; 23] = [
    "a call is given up",
    "a re-opened payment is canceled again",
    "a request is doubled",
    "a request is late",
    "a request is lost",
    "an answer is lost",
    "an attempt is refused",
    "an undecided call cancels the payment",
    "an undecided call changes the payment",
    "an undecided call is repeated with its key",
    "canceled",
    "canceled, and its first answer was lost",
    "key reused",
    "moved",
    "not cancelable, because canceled",
    "not cancelable, because manual",
    "not cancelable, because moved",
    "not found",
    "re-opened since",
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

const OPEN: Item = Item {
    status: "pending",
    manual: false,
    cancellation: None,
};

const CAPTURED: Item = Item {
    status: "captured",
    ..OPEN
};

/// The payment, canceled by that call of [`cancel`] with that key.
fn canceled(number: Number, key: usize) -> Item {
    let cancellation = Cancellation {
        id: Id::Of(number),
        token: Token::Key(key),
        fingerprint: 0,
    };
    Item {
        status: STATUSES.canceled,
        cancellation: Some(cancellation),
        ..OPEN
    }
}

fn cancel(key: usize, fingerprint: usize) -> Asked {
    Asked::Cancel {
        token: Token::Key(key),
        fingerprint,
    }
}

fn made(item: Item) -> Answer {
    Answer::Canceled {
        item,
        replayed: false,
    }
}

fn replayed(item: Item) -> Answer {
    Answer::Canceled {
        item,
        replayed: true,
    }
}

/// A history made by hand, each call a client's of its own.
fn by_hand<const CALLS: usize>(asked: [Asked; CALLS], events: &[Event]) -> History {
    let calls = asked.into_iter().enumerate();
    History {
        statuses: STATUSES,
        first: Some(OPEN),
        anonymous: false,
        calls: calls
            .map(|(client, asked)| Call { client, asked })
            .collect(),
        events: events.to_vec(),
    }
}

/// Rejected, for that reason; and as no order of the calls explains it, where `linear` says that none does.
#[track_caller]
fn rejected(history: &History, reason: &str, linear: bool) {
    assert_eq!(check(history), Err(reason.to_owned()), "\n{history}");
    assert_eq!(linearizable(history).is_ok(), linear, "\n{history}");
}

#[test]
fn what_happens_as_it_should_is_accepted() {
    use Event::{Answered, Called, Wrote};
    let item = canceled(0, 1);
    let history = by_hand(
        [
            cancel(1, 0),
            cancel(1, 0),
            cancel(1, 1),
            cancel(2, 0),
            Asked::Capture,
        ],
        &[
            Called(0),
            Called(1),
            Wrote(0, item),
            Answered(1, replayed(item)),
            Answered(0, made(item)),
            Called(2),
            Called(3),
            Called(4),
            Answered(4, Answer::Refused(Some(item))),
            Answered(2, Answer::KeyReused),
            Answered(3, Answer::NotCancelable(item)),
        ],
    );
    assert_eq!(check(&history), Ok(()));
}

#[test]
fn an_undecided_call_may_have_happened_or_not_or_may_happen_later() {
    use Event::{Answered, Befell, Called, Undecided, Wrote};
    let item = canceled(0, 1);
    let begin = [Called(0), Befell(0, Fault::Late)];
    let told = [Called(1), Answered(1, Answer::NotCancelable(item))];
    let wrote = [Wrote(0, item)];
    let undecided = [Undecided(0)];
    let moved = [Called(1), Wrote(1, CAPTURED), Answered(1, Answer::Moved)];
    for (asked, events) in [
        (
            cancel(2, 0),
            [&begin[..], &wrote, &undecided, &told].concat(),
        ),
        (
            cancel(2, 0),
            [&begin[..], &undecided, &wrote, &told].concat(),
        ),
        (Asked::Capture, [&begin[..], &undecided, &moved].concat()),
    ] {
        assert_eq!(check(&by_hand([cancel(1, 0), asked], &events)), Ok(()));
    }
}

#[test]
fn a_false_conflict_is_rejected() {
    use Event::{Answered, Befell, Called, Wrote};
    let item = canceled(0, 1);
    let events = [
        Called(0),
        Befell(0, Fault::AnswerLost),
        Wrote(0, item),
        Answered(0, Answer::NotCancelable(item)),
    ];
    let reason = "#0 was refused, and changed the payment";
    rejected(&by_hand([cancel(1, 0)], &events), reason, false);
}

#[test]
fn a_conflict_with_the_cancel_of_ones_own_key_is_rejected() {
    use Event::{Answered, Befell, Called, Undecided, Wrote};
    let item = canceled(0, 1);
    let events = [
        Called(0),
        Befell(0, Fault::AnswerLost),
        Wrote(0, item),
        Undecided(0),
        Called(1),
        Answered(1, Answer::NotCancelable(item)),
    ];
    let reason = "#1 was told of a conflict with its own key's cancel";
    rejected(
        &by_hand([cancel(1, 0), cancel(1, 0)], &events),
        reason,
        false,
    );
}

#[test]
fn a_second_transition_is_rejected() {
    use Event::{Answered, Called, Wrote};
    let [first, second] = [canceled(0, 1), canceled(1, 2)];
    let events = [
        Called(0),
        Called(1),
        Wrote(0, first),
        Answered(0, made(first)),
        Wrote(1, second),
        Answered(1, made(second)),
    ];
    let reason = "#1 changed a payment that was not open to it";
    rejected(
        &by_hand([cancel(1, 0), cancel(2, 0)], &events),
        reason,
        false,
    );
}

#[test]
fn a_cancel_and_a_capture_that_both_win_are_rejected() {
    use Event::{Answered, Called, Wrote};
    let item = canceled(1, 1);
    let events = [
        Called(0),
        Called(1),
        Wrote(0, CAPTURED),
        Answered(0, Answer::Moved),
        Wrote(1, item),
        Answered(1, made(item)),
    ];
    let reason = "#1 changed a payment that was not open to it";
    rejected(
        &by_hand([Asked::Capture, cancel(1, 0)], &events),
        reason,
        false,
    );
}

#[test]
fn success_where_nothing_was_canceled_is_rejected() {
    use Event::{Answered, Called, Wrote};
    let events = [
        Called(0),
        Answered(0, made(canceled(0, 1))),
        Called(1),
        Wrote(1, CAPTURED),
        Answered(1, Answer::Moved),
    ];
    let reason = "#0 was told that it canceled the payment, and it did not";
    rejected(
        &by_hand([cancel(1, 0), Asked::Capture], &events),
        reason,
        false,
    );
}

#[test]
fn a_replay_that_was_none_is_rejected() {
    use Event::{Answered, Called, Wrote};
    let item = canceled(0, 1);
    let events = [Called(0), Wrote(0, item), Answered(0, replayed(item))];
    let reason = "#0 was told of a replay, and was none";
    rejected(&by_hand([cancel(1, 0)], &events), reason, false);
}

#[test]
fn a_replay_of_another_keys_cancel_is_rejected() {
    use Event::{Answered, Called, Wrote};
    let item = canceled(0, 1);
    let events = [
        Called(0),
        Wrote(0, item),
        Answered(0, made(item)),
        Called(1),
        Answered(1, replayed(item)),
    ];
    let reason = "#1 was told of a replay of what no other request with its key had done";
    rejected(
        &by_hand([cancel(1, 0), cancel(2, 0)], &events),
        reason,
        false,
    );
}

#[test]
fn a_replay_with_another_cancellation_than_the_first_answers_is_rejected() {
    use Event::{Answered, Called, Wrote};
    let events = [
        Called(2),
        Called(0),
        Wrote(0, canceled(0, 1)),
        Answered(0, made(canceled(0, 1))),
        Called(1),
        Answered(1, replayed(canceled(2, 1))),
    ];
    let reason = "#1 was told of a payment that was never so while it asked";
    let three = [cancel(1, 0), cancel(1, 0), cancel(1, 0)];
    rejected(&by_hand(three, &events), reason, false);
}

#[test]
fn a_refusal_after_which_the_payment_is_canceled_all_the_same_is_rejected() {
    use Event::{Answered, Befell, Called, Wrote};
    let item = canceled(0, 1);
    let events = [
        Called(0),
        Befell(0, Fault::Late),
        Answered(0, Answer::NotCancelable(CAPTURED)),
        Wrote(0, item),
    ];
    let reason = "#0 was refused, and changed the payment";
    rejected(&by_hand([cancel(1, 0)], &events), reason, false);
}

#[test]
fn a_status_that_was_only_true_later_is_rejected() {
    use Event::{Answered, Called, Wrote};
    let events = [
        Called(0),
        Answered(0, Answer::NotCancelable(CAPTURED)),
        Called(1),
        Wrote(1, CAPTURED),
        Answered(1, Answer::Moved),
    ];
    let reason = "#0 was told of a payment that was never so while it asked";
    rejected(
        &by_hand([cancel(1, 0), Asked::Capture], &events),
        reason,
        false,
    );
}

#[test]
fn a_payment_that_was_no_longer_so_is_rejected() {
    use Event::{Answered, Called, Wrote};
    let events = [
        Called(0),
        Wrote(0, CAPTURED),
        Answered(0, Answer::Moved),
        Called(1),
        Answered(1, Answer::Refused(Some(OPEN))),
    ];
    let reason = "#1 was told of a payment that was never so while it asked";
    rejected(
        &by_hand([Asked::Capture, Asked::Fail], &events),
        reason,
        false,
    );
}

#[test]
fn a_key_reused_for_the_same_request_is_rejected() {
    use Event::{Answered, Called, Wrote};
    let item = canceled(0, 1);
    for (asked, of) in [(cancel(1, 0), "the same"), (cancel(2, 1), "another key's")] {
        let events = [
            Called(0),
            Wrote(0, item),
            Answered(0, made(item)),
            Called(1),
            Answered(1, Answer::KeyReused),
        ];
        let reason = "#1 was told that its key was another request's, and it was not";
        let history = by_hand([cancel(1, 0), asked], &events);
        assert_eq!(check(&history), Err(reason.to_owned()), "{of}");
        assert!(linearizable(&history).is_err(), "{of}");
    }
}

#[test]
fn a_payment_that_is_not_found_though_it_is_there_is_rejected() {
    use Event::{Answered, Called};
    let events = [Called(0), Answered(0, Answer::NotFound)];
    let reason = "#0 was told of no payment, and there it was";
    rejected(&by_hand([cancel(1, 0)], &events), reason, false);
}

#[test]
fn a_cancelable_payment_that_is_refused_is_rejected() {
    use Event::{Answered, Called};
    let events = [Called(0), Answered(0, Answer::NotCancelable(OPEN))];
    let reason = "#0 was refused a cancelable payment";
    rejected(&by_hand([cancel(1, 0)], &events), reason, false);
}

#[test]
fn a_call_left_undecided_though_nothing_befell_it_is_rejected() {
    use Event::{Called, Undecided};
    let events = [Called(0), Undecided(0)];
    let reason = "#0 was left undecided, and nothing had befallen it";
    rejected(&by_hand([cancel(1, 0)], &events), reason, true);
}
