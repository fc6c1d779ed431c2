//! Whether all outcomes of a history can have been true.

use stateright::semantics::{ConsistencyTester, LinearizabilityTester};

use super::{
    Call, Cancellation, Event, History, Id, Item, Number, Operation, Outcome, spec::Payment,
};

/// Checks a history whose [`Event::Wrote`] are all of the store's writes.
///
/// # Errors
/// The violation.
pub fn check(history: &History) -> Result<(), String> {
    one_transition(history)?;
    for (number, call) in history.calls.iter().enumerate() {
        Course::of(history, number)?.has_its_cause(history, *call)?;
    }
    linearizable(history)
}

/// Whether some sequential order of the calls explains the outcomes, in which no call comes before
/// one that had ended when it began. Calls without an outcome may stand anywhere after their
/// beginning, or nowhere.
///
/// # Errors
/// If there is no such order.
pub fn linearizable(history: &History) -> Result<(), String> {
    let mut tester = LinearizabilityTester::new(Payment {
        statuses: history.statuses,
        anonymous: history.anonymous,
        item: history.first,
    });
    // The tester tries its threads in order, and all orders of the open calls where it must.
    // Sorting finds an order sooner: calls that ended first, then open ones that changed the
    // payment, then those that might have. It does not decide whether there is one.
    let clients = history.calls.iter().map(|call| call.client + 1).max();
    let thread = |number: Number, call: Call| {
        let ended = |event: &Event| matches!(event, Event::Responded(n, _) if *n == number);
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
                tester.on_invoke(thread(number, call), (number, call.operation))?;
            }
            Event::Responded(number, outcome) => {
                tester.on_return(thread(number, call(history, number)?), outcome)?;
            }
            Event::Undecided(_) | Event::Befell(..) | Event::Wrote(..) => {}
        }
    }
    if tester.is_consistent() {
        Ok(())
    } else {
        Err("no order of the calls explains the outcomes".to_owned())
    }
}

fn call(history: &History, number: Number) -> Result<Call, String> {
    let call = history.calls.get(number).copied();
    call.ok_or_else(|| format!("#{number} is no call"))
}

/// A payment is canceled at most once, never if only a person may cancel it, and never from a
/// status that is not cancelable.
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
    let word = history.statuses.canceled;
    let canceled = |event: &&Event| matches!(event, Event::Wrote(_, item) if item.status == word);
    match history.events.iter().filter(canceled).count() {
        0 | 1 => Ok(()),
        transitions => Err(format!("{transitions} transitions to canceled")),
    }
}

/// The course of one call.
struct Course<'h> {
    number: Number,
    called: usize,
    ended: usize,
    outcome: Option<&'h Outcome>,
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
            outcome: None,
            undecided: false,
            faults: 0,
            wrote: Vec::new(),
        };
        for (at, event) in history.events.iter().enumerate() {
            match event {
                Event::Called(n) if *n == number => called = Some(at),
                Event::Befell(n, _) if *n == number => course.faults += 1,
                Event::Wrote(n, item) if *n == number => course.wrote.push(item),
                Event::Responded(n, outcome) if *n == number => {
                    course.outcome = Some(outcome);
                    course.ended = at;
                }
                Event::Undecided(n) if *n == number => {
                    course.undecided = true;
                    course.ended = at;
                }
                Event::Called(_)
                | Event::Befell(..)
                | Event::Wrote(..)
                | Event::Responded(..)
                | Event::Undecided(_) => {}
            }
        }
        course.called = called.ok_or_else(|| format!("#{number} never began"))?;
        Ok(course)
    }

    /// Whether its outcome has a cause, and no other outcome has.
    fn has_its_cause(&self, history: &History, call: Call) -> Result<(), String> {
        let require = |truth: bool, untruth: &str| {
            let number = self.number;
            truth.then_some(()).ok_or(format!("#{number} {untruth}"))
        };
        require(self.wrote.len() <= 1, "changed the payment more than once")?;
        let Some(outcome) = self.outcome else {
            return require(
                !self.undecided || self.faults > 0,
                "was left undecided, and nothing had befallen it",
            );
        };
        let (token, fingerprint) = match call.operation {
            Operation::Cancel { token, fingerprint } => (Some(token), fingerprint),
            Operation::Capture | Operation::Fail | Operation::Expire => (None, 0),
        };
        let of_its_key = |made: &Cancellation| Some(made.token) == token;
        let was = |what: &dyn Fn(Option<&Item>) -> bool| self.was(history, what);
        match outcome {
            Outcome::Canceled {
                item,
                replayed: false,
            } => require(
                self.wrote == [item] && item.status == history.statuses.canceled,
                "reported canceled, but did not cancel the payment",
            ),
            Outcome::Canceled {
                item,
                replayed: true,
            } => {
                require(
                    self.wrote.is_empty(),
                    "reported a replay, but made the transition itself",
                )?;
                let first = item.cancellation.filter(|made| {
                    of_its_key(made)
                        && made.fingerprint == fingerprint
                        && made.id != Id::Of(self.number)
                });
                require(
                    first.is_some(),
                    "reported a replay, but no earlier request with its key had canceled",
                )?;
                require(
                    was(&|there| there == Some(item)),
                    "reported a payment state that never existed during the call",
                )
            }
            Outcome::NotCancelable(item) => {
                require(
                    self.wrote.is_empty(),
                    "was refused, and changed the payment",
                )?;
                require(
                    !item.cancellation.as_ref().is_some_and(of_its_key),
                    "got a conflict with its own key's cancel",
                )?;
                let open = history.statuses.cancelable.contains(&item.status);
                require(
                    item.manual || !open,
                    "reported not cancelable, but the payment was cancelable",
                )?;
                require(
                    was(&|there| there == Some(item)),
                    "reported a payment state that never existed during the call",
                )
            }
            Outcome::Unavailable => require(
                self.wrote.is_empty(),
                "reported that nothing was written, but it was",
            ),
            Outcome::KeyReused => {
                require(
                    self.wrote.is_empty(),
                    "was refused, and changed the payment",
                )?;
                let otherwise =
                    |made: &Cancellation| of_its_key(made) && made.fingerprint != fingerprint;
                require(
                    was(&|there| {
                        there.is_some_and(|item| item.cancellation.as_ref().is_some_and(otherwise))
                    }),
                    "reported a reused key, but no other request had used it",
                )
            }
            Outcome::NotFound => {
                require(
                    self.wrote.is_empty(),
                    "was refused, and changed the payment",
                )?;
                require(
                    was(&|there| there.is_none()),
                    "reported not found, but the payment existed",
                )
            }
            Outcome::Moved => require(
                self.wrote.first().map(|item| item.status) == call.operation.word(),
                "reported moved, but did not move the payment",
            ),
            Outcome::Refused(reported) => {
                require(
                    self.wrote.is_empty(),
                    "was refused, and changed the payment",
                )?;
                require(
                    was(&|there| there == reported.as_ref()),
                    "reported a payment state that never existed during the call",
                )
            }
            Outcome::Other => require(false, "reported an outcome without a cause"),
        }
    }

    /// Whether the payment was so at any moment between the call and its outcome.
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
