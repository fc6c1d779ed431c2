//! Whether everything that the clients of a history were told can have been true.

use stateright::semantics::{ConsistencyTester, LinearizabilityTester};

use super::{
    Answer, Asked, Call, Cancellation, Event, Fault, History, Id, Item, Number, spec::Payment,
};

/// Judges a history whose [`Event::Wrote`] are all that the store did.
///
/// # Errors
/// What was untrue.
pub fn check(history: &History) -> Result<(), String> {
    one_transition_a_key(history)?;
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
        reopened: false,
    });
    // The tester tries its threads in their order, and all orders of the open calls where it must. With hindsight, those that ended come first, then the
    // open ones that changed the payment, as they did, and then those that might have: that decides how long it takes to find an order, not whether there
    // is one. Of an open call that is known to have changed nothing, nothing is to be explained.
    let clients = history.calls.iter().map(|call| call.client + 1).max();
    let wrote = |number: Number| {
        let by_it = |event: &Event| matches!(event, Event::Wrote(n, _) if *n == number);
        history.events.iter().position(by_it)
    };
    let thread = |number: Number, call: Call| {
        let ended = |event: &Event| matches!(event, Event::Answered(n, _) if *n == number);
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
    // An attempt that somebody else's re-opening parts from its call is a request of its own: it was made before, or arrives after. Which one may be, the
    // causes of each answer say.
    let parted = |number: Number| {
        let befell = |event: &Event| matches!(event, Event::Befell(n, Fault::Late | Fault::Doubled | Fault::AnswerLost) if *n == number);
        let refused = |event: &Event| matches!(event, Event::Answered(n, Answer::NotCancelable(_) | Answer::KeyReused | Answer::Reopened(_) | Answer::Refused(_)) if *n == number);
        let any = |what: &dyn Fn(&Event) -> bool| history.events.iter().any(what);
        history.is_reopened()
            && any(&befell)
            && any(&refused)
            && (history.anonymous || wrote(number).is_some())
    };
    for event in &history.events {
        match *event {
            Event::Called(number) => {
                let call = call(history, number)?;
                if let Some(thread) = thread(number, call) {
                    tester.on_invoke(thread, (number, call.asked))?;
                }
                if parted(number) {
                    let all =
                        clients.unwrap_or_default() + history.events.len() + history.calls.len();
                    tester.on_invoke(all + number, (number, call.asked))?;
                }
            }
            Event::Answered(number, answer) => {
                tester.on_return(call(history, number)?.client, answer)?;
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

/// A payment moves from its cancelable words to its canceled one, for each key once, and never one that only a person may cancel. From there it is re-opened, and
/// from another word it never moves.
fn one_transition_a_key(history: &History) -> Result<(), String> {
    let made = history.first.and_then(|item| item.cancellation);
    let mut tokens: Vec<_> = made.map(|made| made.token).into_iter().collect();
    let mut before = history.first;
    for event in &history.events {
        if let Event::Wrote(number, item) = event {
            let asked = call(history, *number)?.asked;
            let open = before.is_some_and(|before| match asked.words(&history.statuses) {
                Some((from, _)) => from.contains(&before.status),
                None => history.statuses.cancelable.contains(&before.status) && !before.manual,
            });
            if !open {
                return Err(format!(
                    "#{number} changed a payment that was not open to it"
                ));
            }
            if let Asked::Cancel { token, .. } = asked {
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

/// What became of one call.
struct Course<'h> {
    number: Number,
    called: usize,
    ended: usize,
    answer: Option<&'h Answer>,
    undecided: bool,
    /// Those after which nobody knows what the store did.
    faults: usize,
    wrote: Vec<(usize, &'h Item)>,
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
                Event::Befell(n, fault) if *n == number && *fault != Fault::Refused => {
                    course.faults += 1;
                }
                Event::Wrote(n, item) if *n == number => course.wrote.push((at, item)),
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
            Asked::Capture | Asked::Fail | Asked::Expire | Asked::Reopen => (None, 0),
        };
        // Or what it did was undone before an attempt was refused, or was done by one that came later.
        let is_reopening = |event: &Event| matches!(event, Event::Wrote(n, _) if history.calls.get(*n).is_some_and(|call| call.asked == Asked::Reopen));
        let since = history.events.get(self.called..).unwrap_or_default();
        let wrote_nothing = self.wrote.is_empty() || since.iter().any(is_reopening);
        let of_its_key = |made: &Cancellation| Some(made.token) == token;
        let was = |what: &dyn Fn(Option<&Item>) -> bool| self.was(history, what);
        match answer {
            Answer::Canceled {
                item,
                replayed: false,
            } => told(
                matches!(self.wrote.as_slice(), [(_, wrote)] if *wrote == item)
                    && item.status == history.statuses.canceled,
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
                told(wrote_nothing, "was refused, and changed the payment")?;
                let canceled = item.status == history.statuses.canceled;
                told(
                    !(canceled && item.cancellation.as_ref().is_some_and(of_its_key)),
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
            Answer::Reopened(item) => {
                told(wrote_nothing, "was refused, and changed the payment")?;
                let open = history.statuses.cancelable.contains(&item.status);
                let own = item.cancellation.filter(of_its_key);
                told(
                    open && own.is_some_and(|made| made.fingerprint == fingerprint),
                    "was told of a re-opened payment that it had not canceled",
                )?;
                told(
                    was(&|there| there == Some(item)),
                    "was told of a payment that was never so while it asked",
                )
            }
            Answer::KeyReused => {
                told(wrote_nothing, "was refused, and changed the payment")?;
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
                self.wrote.first().map(|(_, item)| item.status)
                    == call.asked.words(&history.statuses).map(|(_, to)| to),
                "was told that it moved the payment, and it did not",
            ),
            Answer::Refused(told_of) => {
                told(wrote_nothing, "was refused, and changed the payment")?;
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
