//! Histories: random clients request one payment concurrently over a network that loses, duplicates
//! and delays. All outcomes must be able to be true.
//!
//! [`memory`] makes them in this process, around the real [`cancel`](shared::cancel::cancel), each
//! reproducible from a seed; [`wire`] makes them with the providers' binaries, the real SDK and an
//! embedded DynamoDB. [`check`] verifies them by the rules of [`Payment`](spec::Payment) and more.
//! A call without a definite outcome stays open: it may have happened, or not, or may still happen.

pub mod check;
pub mod memory;
pub mod spec;
pub mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fmt,
    io::{Write, stderr},
    ops::Range,
    time::Duration,
};

use fastrand::Rng;
use shared::provider::Statuses;

/// A call's number in its history. It names the call.
pub type Number = usize;

/// One history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The provider's statuses.
    pub statuses: Statuses,
    /// The payment before the first call, if there was one.
    pub first: Option<Item>,
    /// Clients cannot see which call made a cancellation: [`Id::Other`] stands for all.
    pub anonymous: bool,
    /// How many times the payment may be re-opened.
    pub reopens: usize,
    /// The calls by their numbers, in the order in which they began.
    pub calls: Vec<Call>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// One call of one client. A client has one call at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Whose.
    pub client: usize,
    /// What for.
    pub operation: Operation,
}

/// What a client requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// That the payment be canceled.
    Cancel {
        /// Under this name.
        token: Token,
        /// For a request that is this one of several.
        fingerprint: usize,
    },
    /// That it be captured.
    Capture,
    /// That it be failed.
    Fail,
    /// That it be expired.
    Expire,
    /// That it be re-opened, once it is canceled.
    Reopen,
}

impl Operation {
    /// The statuses between which another service moves a payment; `None` for a cancel.
    #[must_use]
    pub fn words(self, statuses: &Statuses) -> Option<(Vec<&'static str>, &'static str)> {
        let from_open = |to| Some((statuses.cancelable.to_vec(), to));
        match self {
            Self::Cancel { .. } => None,
            Self::Capture => from_open("captured"),
            Self::Fail => from_open("failed"),
            Self::Expire => from_open("expired"),
            Self::Reopen => Some((vec![statuses.canceled], statuses.cancelable[0])),
        }
    }
}

/// What names a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Token {
    /// The client's idempotency key. Clients share keys.
    Key(usize),
    /// Without a key the Lambda request id, which is the call's own.
    RequestId(Number),
}

/// The payment, in what matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Item {
    /// Its status.
    pub status: &'static str,
    /// Only a person may cancel it.
    pub manual: bool,
    /// What canceled it.
    pub cancellation: Option<Cancellation>,
}

/// The trace of a cancel on the payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cancellation {
    /// Whose it is.
    pub id: Id,
    /// The request's token.
    pub token: Token,
    /// The request's fingerprint.
    pub fingerprint: usize,
}

/// Whose a cancellation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Id {
    /// Of this call.
    Of(Number),
    /// Of a request before the history began, or of one that is unknown.
    Other,
}

/// A client's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The payment is canceled, as it is now.
    Canceled {
        /// The payment.
        item: Item,
        /// By an earlier request with the same key.
        replayed: bool,
    },
    /// It cannot be canceled as it is.
    NotCancelable(Item),
    /// The key named another request.
    KeyReused,
    /// The key canceled the payment, which was re-opened since.
    Reopened(Item),
    /// There is no such payment.
    NotFound,
    /// Nothing was written.
    Unavailable,
    /// Another service's move was made.
    Moved,
    /// Another service's move was refused; the payment as it was.
    Refused(Option<Item>),
    /// Anything else. Nothing here gives cause for it.
    Other,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The call began.
    Called(Number),
    /// A fault occurred in it.
    Befell(Number, Fault),
    /// The store changed the payment for it; as it is now.
    Wrote(Number, Item),
    /// It ended with this outcome.
    Responded(Number, Outcome),
    /// It ended without a definite one.
    Undecided(Number),
}

/// A fault of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// An attempt is lost before the store sees it.
    RequestLost,
    /// The store does its work, and its outcome is lost.
    ResponseLost,
    /// The store gets an attempt twice: the second time at once, or later.
    Doubled,
    /// Nobody waits for an attempt any more, and it reaches the store later.
    Late,
    /// The call reaches its deadline, whatever is in flight.
    Deadline,
    /// The store refuses an attempt, and does nothing.
    Refused,
}

/// A call that has not begun, and has no number yet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wish {
    /// A cancel, with the same key as others or without one.
    Cancel { key: Option<usize>, fingerprint: usize },
    /// Another service's move.
    Move(Operation),
}

impl Wish {
    pub(crate) fn draw(random: &mut Rng) -> Self {
        match random.u8(..20) {
            0..13 => Self::Cancel {
                key: match random.u8(..20) {
                    0..9 => Some(1),
                    9..12 => Some(2),
                    12..14 => Some(0),
                    _ => None,
                },
                fingerprint: usize::from(random.u8(..5) == 0),
            },
            13..15 => Self::Move(Operation::Capture),
            15 => Self::Move(Operation::Fail),
            16 => Self::Move(Operation::Expire),
            _ => Self::Move(Operation::Reopen),
        }
    }

    pub(crate) fn operation(self, number: Number) -> Operation {
        match self {
            Self::Cancel { key, fingerprint } => Operation::Cancel {
                token: key.map_or(Token::RequestId(number), Token::Key),
                fingerprint,
            },
            Self::Move(operation) => operation,
        }
    }
}

/// The seeds to try: `HISTORY_SEED` alone if it is set, else as many as `variable` names, or
/// `sample`.
///
/// # Panics
/// If a variable is not a number: a typo must not pass for a run.
#[must_use]
pub fn seeds(variable: &str, sample: u64) -> Range<u64> {
    let number = |variable| {
        let text = env::var(variable).ok()?;
        Some(text.replace('_', "").parse::<u64>().expect(variable))
    };
    match number("HISTORY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number(variable).unwrap_or(sample),
    }
}

/// The number of histories with each remarkable event.
pub type Seen = BTreeMap<&'static str, usize>;

/// Tells who operation for a number, in `variable`, that it was reached, and what was seen.
pub fn report(variable: &str, name: &str, number: u64, took: Duration, seen: &Seen) {
    if env::var_os(variable).is_none() && env::var_os("HISTORY_SEED").is_none() {
        return;
    }
    let rate = u128::from(number) * 1_000_000 / took.as_micros().max(1);
    let mut lines = format!(
        "\n{name}: {number} histories in {took:.1?}, {rate} a second, 0 untrue; among them\n"
    );
    for (remarkable, count) in seen {
        lines.push_str(&format!("{count:>9}  {remarkable}\n"));
    }
    let _ = stderr().write_all(lines.as_bytes());
}

impl History {
    /// Whether a service may re-open the payment.
    #[must_use]
    pub fn is_reopened(&self) -> bool {
        let mut calls = self.calls.iter();
        calls.any(|call| call.operation == Operation::Reopen)
    }

    /// The remarkable events in it: outcomes, faults and combinations.
    #[must_use]
    pub fn remarkable(&self) -> BTreeSet<&'static str> {
        let mut found = BTreeSet::new();
        let had = |number, which| {
            let mut events = self.events.iter();
            events.any(|event| *event == Event::Befell(number, which))
        };
        for (at, event) in self.events.iter().enumerate() {
            let earlier = self.events.get(..at).unwrap_or_default();
            match event {
                Event::Called(number) => {
                    let call = self.calls.get(*number);
                    if earlier.iter().any(
                        |event| matches!(event, Event::Undecided(n) if self.calls.get(*n) == call),
                    ) {
                        found.insert("an undecided call is retried with its key");
                    }
                }
                Event::Befell(_, Fault::RequestLost) => drop(found.insert("a request is lost")),
                Event::Befell(_, Fault::ResponseLost) => drop(found.insert("a response is lost")),
                Event::Befell(_, Fault::Doubled) => drop(found.insert("a request is doubled")),
                Event::Befell(_, Fault::Late) => drop(found.insert("a request is late")),
                Event::Befell(_, Fault::Deadline) => drop(found.insert("a call is given up")),
                Event::Befell(_, Fault::Refused) => drop(found.insert("an attempt is refused")),
                Event::Wrote(number, item) => {
                    let canceled = |item: &Item| item.status == self.statuses.canceled;
                    let mut earlier_writes = earlier.iter();
                    if canceled(item)
                        && earlier_writes
                            .any(|event| matches!(event, Event::Wrote(_, item) if canceled(item)))
                    {
                        found.insert("a re-opened payment is canceled again");
                    }
                    if earlier.contains(&Event::Undecided(*number)) {
                        found.insert("an undecided call changes the payment");
                        if item.status == self.statuses.canceled {
                            found.insert("an undecided call cancels the payment");
                        }
                    }
                }
                Event::Responded(number, outcome) => match outcome {
                    Outcome::Canceled { replayed: false, .. } => {
                        found.insert("canceled");
                        if had(*number, Fault::ResponseLost) {
                            found.insert("canceled, and its first response was lost");
                        }
                    }
                    Outcome::Canceled { replayed: true, .. } => drop(found.insert("replayed")),
                    Outcome::NotCancelable(item) if item.status == self.statuses.canceled => {
                        found.insert("not cancelable, because canceled");
                    }
                    Outcome::NotCancelable(item) if item.manual => {
                        found.insert("not cancelable, because manual");
                    }
                    Outcome::NotCancelable(_) => {
                        found.insert("not cancelable, because moved");
                    }
                    Outcome::KeyReused => drop(found.insert("key reused")),
                    Outcome::Reopened(item) => {
                        found.insert("re-opened since");
                        let call = self.calls.get(*number).map(|call| call.operation);
                        if let (Some(made), Some(Operation::Cancel { token, .. })) =
                            (item.cancellation, call)
                            && made.token != token
                        {
                            found.insert("re-opened since, and once more after another key");
                        }
                    }
                    Outcome::NotFound => drop(found.insert("not found")),
                    Outcome::Unavailable => drop(found.insert("unavailable")),
                    Outcome::Moved => drop(found.insert("moved")),
                    Outcome::Refused(_) => drop(found.insert("refused")),
                    Outcome::Other => drop(found.insert("other")),
                },
                Event::Undecided(_) => drop(found.insert("undecided")),
            }
        }
        found
    }
}

impl fmt::Display for History {
    /// One line an event.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.first {
            Some(item) => writeln!(f, "  first, the payment is {item}")?,
            None => writeln!(f, "  first, there is no payment")?,
        }
        for event in &self.events {
            match event {
                Event::Called(number) => match self.calls.get(*number) {
                    Some(Call { client, operation }) => {
                        writeln!(f, "  #{number} client {client} requests: {operation}")?;
                    }
                    None => writeln!(f, "  #{number} is called, which is no call")?,
                },
                Event::Befell(number, fault) => writeln!(f, "  #{number}   befallen: {fault:?}")?,
                Event::Wrote(number, item) => writeln!(f, "  #{number}   makes it {item}")?,
                Event::Responded(number, outcome) => writeln!(f, "  #{number} gets: {outcome}")?,
                Event::Undecided(number) => writeln!(f, "  #{number} is left undecided")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancel { token: Token::Key(key), fingerprint } => {
                write!(f, "cancel, key {key}, request {fingerprint}")
            }
            Self::Cancel { token: Token::RequestId(_), fingerprint } => {
                write!(f, "cancel, no key, request {fingerprint}")
            }
            Self::Capture => write!(f, "capture"),
            Self::Fail => write!(f, "fail"),
            Self::Expire => write!(f, "expire"),
            Self::Reopen => write!(f, "re-open"),
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if self.manual {
            write!(f, ", for a person only")?;
        }
        match self.cancellation {
            Some(Cancellation { id, token, fingerprint }) => {
                match id {
                    Id::Of(number) => write!(f, " by #{number}")?,
                    Id::Other => write!(f, " by another")?,
                }
                match token {
                    Token::Key(key) => write!(f, ", key {key}, request {fingerprint}"),
                    Token::RequestId(_) => write!(f, ", no key, request {fingerprint}"),
                }
            }
            None => Ok(()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Canceled { item, replayed: false } => write!(f, "canceled; it is {item}"),
            Self::Canceled { item, replayed: true } => {
                write!(f, "canceled, replayed; it is {item}")
            }
            Self::NotCancelable(item) => write!(f, "not cancelable; it is {item}"),
            Self::KeyReused => write!(f, "key reused"),
            Self::Reopened(item) => write!(f, "re-opened since; it is {item}"),
            Self::NotFound => write!(f, "not found"),
            Self::Unavailable => write!(f, "unavailable"),
            Self::Moved => write!(f, "moved"),
            Self::Refused(Some(item)) => write!(f, "refused; it is {item}"),
            Self::Refused(None) => write!(f, "refused; there is none"),
            Self::Other => write!(f, "something else"),
        }
    }
}
