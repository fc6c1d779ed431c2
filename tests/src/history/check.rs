//! Whether all outcomes of a history can have been true.

use stateright::semantics::{ConsistencyTester, LinearizabilityTester};

use super::{
    Call, Cancellation, Event, Fault, History, Id, Item, Number, Operation, Outcome, spec::Payment,
};

/// Checks a history whose [`Event::Wrote`] are all of the store's writes.
///
/// # Errors
/// The violation.
pub fn check(history: &History) -> Result<(), String> {
    one_transition_a_key(history)?;
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
        undone: Vec::new(),
        reopens: history.reopens,
    });
    // The tester tries its threads in order, and all orders of the open calls where it must.
    // Sorting finds an order sooner: calls that ended first, then open ones that changed the
    // payment, in that order, then those that might have. It does not decide whether there is one.
    // An open call that is known to have changed nothing is left out.
    let clients = history.calls.iter().map(|call| call.client + 1).max();
    let wrote = |number: Number| {
        let by_it = |event: &Event| matches!(event, Event::Wrote(n, _) if *n == number);
        history.events.iter().position(by_it)
    };
    let thread = |number: Number, call: Call| {
        let ended = |event: &Event| matches!(event, Event::Responded(n, _) if *n == number);
        if history.events.iter().any(ended) {
            return Some(call.client);
        }
        let rank = match wrote(number) {
            Some(at) => at,
            None if history.anonymous => history.events.len() + number,
            None => return None,
        };
        Some(clients.unwrap_or_default() + rank)
    };
    // If the payment is re-opened, an attempt whose response is lost, or that comes late, can make
    // the transition although another attempt of its call is refused. It counts as a call of its
    // own. `has_its_cause` holds each refused call to that.
    let parted = |number: Number| {
        use Fault::{Doubled, Late, ResponseLost};
        use Outcome::{KeyReused, NotCancelable, Refused, Reopened};
        let any = |what: &dyn Fn(&Event) -> bool| history.events.iter().any(what);
        let is_open = |fault: &Fault| matches!(fault, Late | Doubled | ResponseLost);
        let is_refusal = |outcome: &Outcome| {
            matches!(outcome, NotCancelable(_) | KeyReused | Reopened(_) | Refused(_))
        };
        let had = any(
            &|event| matches!(event, Event::Befell(n, fault) if *n == number && is_open(fault)),
        );
        let refused =
            any(&|event| matches!(event, Event::Responded(n, o) if *n == number && is_refusal(o)));
        history.is_reopened() && had && refused && (history.anonymous || wrote(number).is_some())
    };
    for event in &history.events {
        match *event {
            Event::Called(number) => {
                let call = call(history, number)?;
                if let Some(thread) = thread(number, call) {
                    tester.on_invoke(thread, (number, call.operation))?;
                }
                if parted(number) {
                    let all =
                        clients.unwrap_or_default() + history.events.len() + history.calls.len();
                    tester.on_invoke(all + number, (number, call.operation))?;
                }
            }
            Event::Responded(number, outcome) => {
                tester.on_return(call(history, number)?.client, outcome)?;
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

/// Each key cancels a payment at most once, never if only a person may cancel it, and never from a
/// status that is not cancelable. Only a canceled payment is re-opened.
fn one_transition_a_key(history: &History) -> Result<(), String> {
    let made = history.first.and_then(|item| item.cancellation);
    let mut tokens: Vec<_> = made.map(|made| made.token).into_iter().collect();
    let mut before = history.first;
    for event in &history.events {
        if let Event::Wrote(number, item) = event {
            let operation = call(history, *number)?.operation;
            let open = before.is_some_and(|before| match operation.words(&history.statuses) {
                Some((from, _)) => from.contains(&before.status),
                None => history.statuses.cancelable.contains(&before.status) && !before.manual,
            });
            if !open {
                return Err(format!("#{number} changed a payment that was not open to it"));
            }
            if let Operation::Cancel { token, .. } = operation {
                if tokens.contains(&token) {
                    return Err(format!("#{number} made its key's second transition"));
                }
                tokens.push(token);
            }
            before = Some(*item);
        }
    }
    Ok(())
}

/// The course of one call.
struct Course<'h> {
    number: Number,
    called: usize,
    ended: usize,
    outcome: Option<&'h Outcome>,
    undecided: bool,
    /// Those that leave it open what the store did.
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
                Event::Befell(n, fault) if *n == number && *fault != Fault::Refused => {
                    course.faults += 1;
                }
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
            Operation::Capture | Operation::Fail | Operation::Expire | Operation::Reopen => {
                (None, 0)
            }
        };
        // If the payment was re-opened since, one of its attempts may have written all the same.
        let reopens = |n: &Number| {
            let call = history.calls.get(*n);
            call.is_some_and(|call| call.operation == Operation::Reopen)
        };
        let is_reopening = |event: &Event| matches!(event, Event::Wrote(n, _) if reopens(n));
        let since = history.events.get(self.called..).unwrap_or_default();
        let wrote_nothing = self.wrote.is_empty() || since.iter().any(is_reopening);
        let of_its_key = |made: &Cancellation| Some(made.token) == token;
        let was = |what: &dyn Fn(Option<&Item>) -> bool| self.was(history, what);
        // Every cancellation that had been made when it ended.
        let made = || {
            let events = history.events.get(..self.ended).unwrap_or_default().iter();
            let written = events.filter_map(|event| match event {
                Event::Wrote(_, item) => Some(*item),
                Event::Called(_)
                | Event::Befell(..)
                | Event::Responded(..)
                | Event::Undecided(_) => None,
            });
            history.first.into_iter().chain(written).filter_map(|item| item.cancellation)
        };
        match outcome {
            Outcome::Canceled { item, replayed: false } => require(
                matches!(self.wrote.as_slice(), [wrote] if *wrote == item)
                    && item.status == history.statuses.canceled,
                "reported canceled, but did not cancel the payment",
            ),
            Outcome::Canceled { item, replayed: true } => {
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
                require(wrote_nothing, "was refused, and changed the payment")?;
                let canceled = item.status == history.statuses.canceled;
                require(
                    !(canceled && item.cancellation.as_ref().is_some_and(of_its_key)),
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
            Outcome::Unavailable => {
                require(self.wrote.is_empty(), "reported that nothing was written, but it was")
            }
            Outcome::Reopened(item) => {
                require(wrote_nothing, "was refused, and changed the payment")?;
                let open = history.statuses.cancelable.contains(&item.status);
                require(
                    open && made().any(|made| of_its_key(&made) && made.fingerprint == fingerprint),
                    "reported a re-opened payment that its key had not canceled",
                )?;
                require(
                    was(&|there| there == Some(item)),
                    "reported a payment state that never existed during the call",
                )
            }
            Outcome::KeyReused => {
                require(wrote_nothing, "was refused, and changed the payment")?;
                let otherwise =
                    |made: &Cancellation| of_its_key(made) && made.fingerprint != fingerprint;
                require(
                    made().any(|made| otherwise(&made)),
                    "reported a reused key, but no other request had used it",
                )
            }
            Outcome::NotFound => {
                require(self.wrote.is_empty(), "was refused, and changed the payment")?;
                require(
                    was(&|there| there.is_none()),
                    "reported not found, but the payment existed",
                )
            }
            Outcome::Moved => require(
                self.wrote.first().map(|item| item.status)
                    == call.operation.words(&history.statuses).map(|(_, to)| to),
                "reported moved, but did not move the payment",
            ),
            Outcome::Refused(reported) => {
                require(wrote_nothing, "was refused, and changed the payment")?;
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
