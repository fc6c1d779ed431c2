//! Whether everything that the clients of a history were told can have been true.

use stateright::semantics::{ConsistencyTester, LinearizabilityTester};

use super::{Answer, Asked, Call, Cancellation, Event, History, Id, Item, Number, spec::Payment};

/// Judges a history whose [`Event::Wrote`] are all that the store did.
///
/// # Errors
/// What was untrue.
pub fn check(history: &History) -> Result<(), String> {
    one_transition(history)?;
    for (number, call) in history.calls.iter().enumerate() {
        Course::of(history, number)?.has_its_cause(history, *call)?;
    }
    linearizable(history)
}

/// Whether the answers are those that the calls would have had one after another, in an order in which none comes before one that had ended
/// when it began. Calls without an answer may stand anywhere after their beginning, or nowhere.
///
/// # Errors
/// That there is no such order.
pub fn linearizable(history: &History) -> Result<(), String> {
    let mut tester = LinearizabilityTester::new(Payment {
        statuses: history.statuses,
        anonymous: history.anonymous,
        item: history.first,
    });
    // The tester tries its threads in their order, and all orders of the open calls where it must. With hindsight, those that ended come first, then the
    // open ones that changed the payment, and then those that might have: that decides how long it takes to find an order, not whether there is one.
    let clients = history.calls.iter().map(|call| call.client + 1).max();
    let thread = |number: Number, call: Call| {
        let ended = |event: &Event| matches!(event, Event::Answered(n, _) if *n == number);
        let wrote = |event: &Event| matches!(event, Event::Wrote(n, _) if *n == number);
        if history.events.iter().any(ended) {
            return call.client;
        }
        let rank = if history.events.iter().any(wrote) {
            0
        } else {
            1
        };
        clients.unwrap_or_default() + rank * history.calls.len() + number
    };
    for event in &history.events {
        match *event {
            Event::Called(number) => {
                let call = call(history, number)?;
                tester.on_invoke(thread(number, call), (number, call.asked))?;
            }
            Event::Answered(number, answer) => {
                tester.on_return(thread(number, call(history, number)?), answer)?;
            }
            Event::Undecided(_) | Event::Befell(..) | Event::Wrote(..) => {}
        }
    }
    if tester.is_consistent() {
        Ok(())
    } else {
        Err("no order of the calls explains the answers".to_owned())
    }
}

fn call(history: &History, number: Number) -> Result<Call, String> {
    let call = history.calls.get(number).copied();
    call.ok_or_else(|| format!("#{number} is no call"))
}

/// A payment moves to its canceled word at most once, never one that only a person may cancel, and from a word that is not cancelable it never moves.
fn one_transition(history: &History) -> Result<(), String> {
    let mut before = history.first;
    for event in &history.events {
        if let Event::Wrote(number, item) = event {
            let open = before.is_some_and(|before| {
                history.statuses.cancelable.contains(&before.status)
                    && !(before.manual && item.cancellation.is_some())
            });
            if !open {
                return Err(format!(
                    "#{number} changed a payment that was not open to it"
                ));
            }
            before = Some(*item);
        }
    }
    let canceled = |event: &&Event| matches!(event, Event::Wrote(_, item) if item.status == history.statuses.canceled);
    match history.events.iter().filter(canceled).count() {
        0 | 1 => Ok(()),
        transitions => Err(format!("{transitions} transitions to canceled")),
    }
}

/// What became of one call.
struct Course<'h> {
    number: Number,
    called: usize,
    ended: usize,
    answer: Option<&'h Answer>,
    undecided: bool,
    faults: usize,
    wrote: Vec<&'h Item>,
}

impl<'h> Course<'h> {
    fn of(history: &'h History, number: Number) -> Result<Self, String> {
        let mut called = None;
        let mut course = Self {
            number,
            called: 0,
            ended: history.events.len(),
            answer: None,
            undecided: false,
            faults: 0,
            wrote: Vec::new(),
        };
        for (at, event) in history.events.iter().enumerate() {
            match event {
                Event::Called(n) if *n == number => called = Some(at),
                Event::Befell(n, _) if *n == number => course.faults += 1,
                Event::Wrote(n, item) if *n == number => course.wrote.push(item),
                Event::Answered(n, answer) if *n == number => {
                    course.answer = Some(answer);
                    course.ended = at;
                }
                Event::Undecided(n) if *n == number => {
                    course.undecided = true;
                    course.ended = at;
                }
                Event::Called(_)
                | Event::Befell(..)
                | Event::Wrote(..)
                | Event::Answered(..)
                | Event::Undecided(_) => {}
            }
        }
        course.called = called.ok_or_else(|| format!("#{number} never began"))?;
        Ok(course)
    }

    /// Whether there is a cause for what it was told, and for no other answer.
    fn has_its_cause(&self, history: &History, call: Call) -> Result<(), String> {
        let told = |truth: bool, untruth: &str| {
            let number = self.number;
            truth.then_some(()).ok_or(format!("#{number} {untruth}"))
        };
        told(self.wrote.len() <= 1, "changed the payment more than once")?;
        let Some(answer) = self.answer else {
            return told(
                !self.undecided || self.faults > 0,
                "was left undecided, and nothing had befallen it",
            );
        };
        let (token, fingerprint) = match call.asked {
            Asked::Cancel { token, fingerprint } => (Some(token), fingerprint),
            Asked::Capture | Asked::Fail | Asked::Expire => (None, 0),
        };
        let of_its_key = |made: &Cancellation| Some(made.token) == token;
        let was = |what: &dyn Fn(Option<&Item>) -> bool| self.was(history, what);
        match answer {
            Answer::Canceled {
                item,
                replayed: false,
            } => told(
                self.wrote == [item] && item.status == history.statuses.canceled,
                "was told that it canceled the payment, and it did not",
            ),
            Answer::Canceled {
                item,
                replayed: true,
            } => {
                told(self.wrote.is_empty(), "was told of a replay, and was none")?;
                let first = item.cancellation.filter(|made| {
                    of_its_key(made)
                        && made.fingerprint == fingerprint
                        && made.id != Id::Of(self.number)
                });
                told(
                    first.is_some(),
                    "was told of a replay of what no other request with its key had done",
                )?;
                told(
                    was(&|there| there == Some(item)),
                    "was told of a payment that was never so while it asked",
                )
            }
            Answer::NotCancelable(item) => {
                told(
                    self.wrote.is_empty(),
                    "was refused, and changed the payment",
                )?;
                told(
                    !item.cancellation.as_ref().is_some_and(of_its_key),
                    "was told of a conflict with its own key's cancel",
                )?;
                let open = history.statuses.cancelable.contains(&item.status);
                told(item.manual || !open, "was refused a cancelable payment")?;
                told(
                    was(&|there| there == Some(item)),
                    "was told of a payment that was never so while it asked",
                )
            }
            Answer::Unavailable => told(
                self.wrote.is_empty(),
                "was told that nothing was written, and it was",
            ),
            Answer::KeyReused => {
                told(
                    self.wrote.is_empty(),
                    "was refused, and changed the payment",
                )?;
                let otherwise =
                    |made: &Cancellation| of_its_key(made) && made.fingerprint != fingerprint;
                told(
                    was(&|there| {
                        there.is_some_and(|item| item.cancellation.as_ref().is_some_and(otherwise))
                    }),
                    "was told that its key was another request's, and it was not",
                )
            }
            Answer::NotFound => {
                told(
                    self.wrote.is_empty(),
                    "was refused, and changed the payment",
                )?;
                told(
                    was(&|there| there.is_none()),
                    "was told of no payment, and there it was",
                )
            }
            Answer::Moved => told(
                self.wrote.first().map(|item| item.status) == call.asked.word(),
                "was told that it moved the payment, and it did not",
            ),
            Answer::Refused(told_of) => {
                told(
                    self.wrote.is_empty(),
                    "was refused, and changed the payment",
                )?;
                told(
                    was(&|there| there == told_of.as_ref()),
                    "was told of a payment that was never so while it asked",
                )
            }
            Answer::Other => told(false, "was told something for which there was no cause"),
        }
    }

    /// Whether the payment was so at any moment between the call and its answer.
    fn was(&self, history: &History, what: &dyn Fn(Option<&Item>) -> bool) -> bool {
        let mut now = history.first.as_ref();
        for (at, event) in history.events.iter().enumerate().take(self.ended) {
            if let Event::Wrote(_, item) = event {
                if at > self.called && what(now) {
                    return true;
                }
                now = Some(item);
            }
        }
        what(now)
    }
}
