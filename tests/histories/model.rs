//! The protocol of a cancel as a model, and every state that it can reach.
//!
//! Clients request a cancel, and retry until the outcome is definite. A function sends each request
//! to the store in up to three attempts. The network loses, duplicates and delays; the store is
//! busy; a function crashes at any moment; another service captures or re-opens the payment. The
//! actions have the code's names. What the function and the store do in them follows
//! `shared::cancel` and the one write's condition line by line.
//!
//! ```sh
//! # Prints the number of states.
//! cargo test -p harness --test histories model -- --nocapture
//! # With more faults.
//! MODEL_FAULTS=5 cargo test --release -p harness --test histories model -- --nocapture
//! ```
#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints its counts with --nocapture"
)]

use std::{cmp::Reverse, collections::BTreeSet, env, thread};

use harness::progress::progress;
use stateright::{Checker, Expectation, Model, Property};

/// The SDK's.
const ATTEMPTS: u8 = 3;

/// A client, by its place among the clients.
type Name = usize;

/// What there is, and what may go wrong.
#[derive(Debug, Clone)]
struct Cancels {
    clients: Vec<Request>,
    /// How many faults occur in all. The number is finite, because a network that loses everything
    /// forever permits no outcome. So a retry is promised an outcome only if the network works for
    /// long enough at some time.
    faults: u8,
    world: World,
    flaw: Option<Flaw>,
}

/// What a client requests.
#[derive(Debug, Clone, Copy)]
struct Request {
    /// Under this idempotency key.
    key: Option<u8>,
    /// With a request that is this one of several.
    fingerprint: u8,
    /// It stops after this many definite outcomes.
    times: u8,
}

/// What other services do with the payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum World {
    /// It is open, until one of them captures it.
    Captures,
    /// Its status is not cancelable, until one of them makes it cancelable.
    Opens,
    /// It is open. Once it is canceled, one of them re-opens it, two times.
    Reopens,
}

/// A fault in the code, to see that the model notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// Canceled with our token is a conflict like any other.
    TokenIgnored,
    /// The write has no condition.
    ConditionDropped,
    /// Every attempt has its own id, so its cancel looks like an earlier request's.
    IdOfTheAttempt,
    /// No response is taken for a refusal.
    SilenceIsRefusal,
    /// The fingerprint is not compared.
    FingerprintIgnored,
    /// After silence the function gives up for good, and the client with it.
    NoRetry,
    /// The condition ignores the payment's token.
    TokenNotInTheCondition,
    /// A cancellation replaces the one before it.
    EarlierTokensForgotten,
    /// The last attempt's error decides, although an earlier response was lost.
    LastAttemptDecides,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    payment: Payment,
    clients: Vec<Client>,
    /// Attempts on their way to the store.
    network: BTreeSet<Attempt>,
    faults: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Payment {
    status: Status,
    cancellation: Option<Cancellation>,
    transitions: u8,
    /// The cancellations that were undone by re-opening it.
    undone: [Option<Cancellation>; 2],
    /// Those before the one on it, which it keeps.
    earlier: [Option<Cancellation>; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Status {
    Processing,
    Open,
    Captured,
    Canceled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Cancellation {
    id: Id,
    token: Token,
    fingerprint: u8,
}

/// Names an invocation, and with it the cancellation that it attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Id {
    client: Name,
    invocation: u8,
    /// 0, but for [`Flaw::IdOfTheAttempt`].
    attempt: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Token {
    Key(u8),
    RequestId(Name, u8),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Client {
    /// How many requests it has made.
    invocations: u8,
    /// The function that works on the last of them.
    running: Option<Function>,
    /// The outcomes it got, and for which of its requests.
    outcomes: Vec<(u8, Outcome)>,
    /// Its requests that were unavailable: nothing was written.
    unavailable: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Function {
    /// Which of its writes it works on, and of that the attempt that it waits for.
    write: u8,
    attempt: u8,
    /// The cancellation that the write is to follow.
    follows: Option<Cancellation>,
    /// An earlier attempt had no response.
    lost: bool,
    /// The store's response to it, on its way back.
    result: Option<StoreResult>,
}

/// One `UpdateItem` request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Attempt {
    client: Name,
    invocation: u8,
    write: u8,
    attempt: u8,
    follows: Option<Cancellation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum StoreResult {
    Transitioned(Payment),
    ConditionFailed(Payment),
    /// It was throttled or conflicting, and nothing was written.
    Busy,
}

/// A definite one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Outcome {
    Canceled { payment: Payment, replayed: bool },
    NotCancelable(Payment),
    KeyReused,
    Reopened(Payment),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// The client sends its request or retries it, and a function sends its first attempt.
    Cancel(Name),
    /// An attempt reaches the store, which decides on it.
    Transition(Attempt),
    /// The store's response reaches the function, and the function's the client.
    Made(Name),
    Refused(Name),
    /// The attempt times out, and the function makes the next one.
    Retry(Name),
    /// The last attempt times out, or is refused by a busy store.
    Undecided(Name),
    /// Another service has the payment.
    Capture,
    Open,
    Reopen,
    /// What goes wrong.
    RequestLost(Attempt),
    Busy(Attempt),
    StoreResponseLost(Name),
    Doubled(Attempt),
    /// The function waits no longer, and the attempt is still on its way.
    Late(Name),
    /// The function ends at once, whatever is on its way.
    Crash(Name),
    /// The function's response does not reach the client.
    FunctionResponseLost(Name),
}

impl Cancels {
    fn token(&self, client: Name, invocation: u8) -> Token {
        let key = self.clients[client].key;
        key.map_or(Token::RequestId(client, invocation), Token::Key)
    }

    fn cancellation(&self, attempt: Attempt) -> Cancellation {
        let Attempt { client, invocation, attempt, .. } = attempt;
        let of_the_attempt = self.flaw == Some(Flaw::IdOfTheAttempt);
        Cancellation {
            id: Id { client, invocation, attempt: if of_the_attempt { attempt } else { 0 } },
            token: self.token(client, invocation),
            fingerprint: self.clients[client].fingerprint,
        }
    }

    /// The one write.
    fn transition(&self, state: &mut State, attempt: Attempt) {
        let ours = self.cancellation(attempt);
        let Payment { status, cancellation, transitions, earlier, .. } = state.payment;
        let follows = cancellation.is_none()
            || cancellation == attempt.follows
            || self.flaw == Some(Flaw::TokenNotInTheCondition);
        let condition =
            status == Status::Open && follows || self.flaw == Some(Flaw::ConditionDropped);
        let result = if condition {
            state.payment = Payment {
                status: Status::Canceled,
                cancellation: Some(ours),
                transitions: transitions + 1,
                earlier: match self.flaw {
                    Some(Flaw::EarlierTokensForgotten) => [None; 2],
                    _ => [cancellation, earlier[0]],
                },
                ..state.payment
            };
            StoreResult::Transitioned(state.payment)
        } else {
            StoreResult::ConditionFailed(state.payment)
        };
        Self::respond(state, attempt, result);
    }

    /// The response to an attempt that has timed out is dropped.
    fn respond(state: &mut State, attempt: Attempt, result: StoreResult) {
        let client = &mut state.clients[attempt.client];
        if let Some(function) = &mut client.running
            && (client.invocations, function.write, function.attempt)
                == (attempt.invocation, attempt.write, attempt.attempt)
            && function.result.is_none()
        {
            function.result = Some(result);
        }
    }

    /// What the function makes of the store's response.
    fn outcome(&self, ours: Cancellation, result: StoreResult) -> Option<Outcome> {
        match result {
            StoreResult::Transitioned(payment) => {
                Some(Outcome::Canceled { payment, replayed: false })
            }
            StoreResult::ConditionFailed(payment) => Some(self.refused(payment, ours)),
            StoreResult::Busy => None,
        }
    }

    fn refused(&self, payment: Payment, ours: Cancellation) -> Outcome {
        let own = match payment.status {
            Status::Open => payment.kept(ours.token),
            Status::Canceled => payment.cancellation.filter(|made| made.token == ours.token),
            Status::Processing | Status::Captured => None,
        };
        if let Some(made) = own
            && self.flaw != Some(Flaw::TokenIgnored)
        {
            if made.fingerprint != ours.fingerprint && self.flaw != Some(Flaw::FingerprintIgnored) {
                return Outcome::KeyReused;
            }
            if payment.status == Status::Open {
                return Outcome::Reopened(payment);
            }
            let replayed = made.id != ours.id;
            return Outcome::Canceled { payment, replayed };
        }
        Outcome::NotCancelable(payment)
    }

    /// The attempt that the client's function waits for, and what it attempts.
    fn awaited(state: &State, client: Name) -> Option<(Attempt, Function)> {
        let Client { invocations, running, .. } = &state.clients[client];
        running.map(|function| {
            let Function { write, attempt, follows, .. } = function;
            (Attempt { client, invocation: *invocations, write, attempt, follows }, function)
        })
    }

    /// The function ends with a response to the client. Or it writes once more, because the payment
    /// was re-opened after a cancel that is not its own.
    fn end(&self, state: &mut State, client: Name) {
        if let Some((attempt, Function { result: Some(result), .. })) = Self::awaited(state, client)
        {
            if let StoreResult::ConditionFailed(payment) = result
                && payment.status == Status::Open
                && payment.cancellation.is_some_and(|made| Some(made) != attempt.follows)
                && payment.kept(self.cancellation(attempt).token).is_none()
            {
                let (write, follows) = (attempt.write + 1, payment.cancellation);
                state.network.insert(Attempt { write, attempt: 0, follows, ..attempt });
                state.clients[client].running =
                    Some(Function { write, attempt: 0, follows, lost: false, result: None });
                return;
            }
            let outcome = self.outcome(self.cancellation(attempt), result);
            let client = &mut state.clients[client];
            let outcomes = outcome.map(|outcome| (client.invocations, outcome));
            client.outcomes.extend(outcomes);
            client.running = None;
        }
    }

    /// The function makes its next attempt, or has made its last.
    fn retry(&self, state: &mut State, client: Name) {
        let Some((attempt, function)) = Self::awaited(state, client) else {
            return;
        };
        let busy = function.result == Some(StoreResult::Busy);
        let lost = function.lost || !busy;
        if function.attempt + 1 < ATTEMPTS {
            let attempt = Attempt { attempt: attempt.attempt + 1, ..attempt };
            state.network.insert(attempt);
            state.clients[client].running =
                Some(Function { attempt: attempt.attempt, lost, result: None, ..function });
            return;
        }
        let client = &mut state.clients[client];
        client.running = None;
        if busy && (!lost || self.flaw == Some(Flaw::LastAttemptDecides)) {
            client.unavailable.push(client.invocations);
        }
        if self.flaw == Some(Flaw::SilenceIsRefusal) {
            let refused = Outcome::NotCancelable(state.payment);
            client.outcomes.push((client.invocations, refused));
        }
    }

    /// Grows with every action: no run comes to a state twice, and every run ends.
    fn age(&self, state: &State) -> impl Ord + use<> {
        let running = state.clients.iter().filter_map(|client| client.running);
        (
            self.faults - state.faults,
            state.clients.iter().map(|client| client.invocations).sum::<u8>(),
            Reverse(running.clone().count()),
            running.clone().map(|function| function.write).sum::<u8>(),
            running.map(|function| function.attempt).sum::<u8>(),
            Reverse(state.network.len()),
            state.payment.undone.into_iter().flatten().count(),
            state.payment.status,
        )
    }
}

impl Model for Cancels {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let client =
            Client { invocations: 0, running: None, outcomes: Vec::new(), unavailable: Vec::new() };
        vec![State {
            payment: Payment {
                status: match self.world {
                    World::Captures | World::Reopens => Status::Open,
                    World::Opens => Status::Processing,
                },
                cancellation: None,
                transitions: 0,
                undone: [None; 2],
                earlier: [None; 2],
            },
            clients: vec![client; self.clients.len()],
            network: BTreeSet::new(),
            faults: self.faults,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(state.network.iter().copied().map(Action::Transition));
        match state.payment.status {
            Status::Open if self.world == World::Captures => actions.push(Action::Capture),
            Status::Processing => actions.push(Action::Open),
            Status::Canceled
                if self.world == World::Reopens && state.payment.undone[1].is_none() =>
            {
                actions.push(Action::Reopen);
            }
            Status::Open | Status::Captured | Status::Canceled => {}
        }
        for (client, request) in self.clients.iter().enumerate() {
            let Some((attempt, function)) = Self::awaited(state, client) else {
                let one = &state.clients[client];
                let gives_up = self.flaw == Some(Flaw::NoRetry)
                    && one.outcomes.len() < usize::from(one.invocations);
                if one.outcomes.len() < usize::from(request.times) && !gives_up {
                    actions.push(Action::Cancel(client));
                }
                continue;
            };
            let last = function.attempt + 1 == ATTEMPTS;
            match function.result {
                Some(StoreResult::Transitioned(_)) => actions.push(Action::Made(client)),
                Some(StoreResult::ConditionFailed(_)) => actions.push(Action::Refused(client)),
                None if state.network.contains(&attempt) => {}
                None | Some(StoreResult::Busy) if last => actions.push(Action::Undecided(client)),
                None | Some(StoreResult::Busy) => actions.push(Action::Retry(client)),
            }
            if state.faults > 0 {
                actions.push(Action::Crash(client));
                match function.result {
                    Some(StoreResult::Busy) => {}
                    Some(StoreResult::Transitioned(_) | StoreResult::ConditionFailed(_)) => actions
                        .extend([
                            Action::StoreResponseLost(client),
                            Action::FunctionResponseLost(client),
                        ]),
                    None if state.network.contains(&attempt) => actions.push(Action::Late(client)),
                    None => {}
                }
            }
        }
        if state.faults > 0 {
            let attempts = state.network.iter().copied();
            actions.extend(attempts.flat_map(|attempt| {
                [Action::RequestLost(attempt), Action::Busy(attempt), Action::Doubled(attempt)]
            }));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Cancel(client) => {
                let one = &mut state.clients[client];
                one.invocations += 1;
                let function =
                    Function { write: 0, attempt: 0, follows: None, lost: false, result: None };
                one.running = Some(function);
                state.network.insert(Attempt::first(client, one.invocations));
            }
            Action::Transition(attempt) => {
                state.network.remove(&attempt);
                self.transition(&mut state, attempt);
            }
            Action::Made(client) | Action::Refused(client) => self.end(&mut state, client),
            Action::Retry(client) | Action::Undecided(client) => self.retry(&mut state, client),
            Action::Capture => state.payment.status = Status::Captured,
            Action::Open => state.payment.status = Status::Open,
            Action::Reopen => {
                state.payment.status = Status::Open;
                state.payment.undone = [state.payment.cancellation, state.payment.undone[0]];
            }
            Action::RequestLost(attempt) => drop(state.network.remove(&attempt)),
            Action::Busy(attempt) => {
                state.network.remove(&attempt);
                Self::respond(&mut state, attempt, StoreResult::Busy);
            }
            Action::Doubled(attempt) => self.transition(&mut state, attempt),
            Action::Late(client) => self.retry(&mut state, client),
            Action::StoreResponseLost(client) => self.retry(&mut state, client),
            Action::Crash(client) | Action::FunctionResponseLost(client) => {
                state.clients[client].running = None
            }
        }
        if matches!(
            action,
            Action::RequestLost(_)
                | Action::Busy(_)
                | Action::Doubled(_)
                | Action::Late(_)
                | Action::StoreResponseLost(_)
                | Action::Crash(_)
                | Action::FunctionResponseLost(_)
        ) {
            state.faults -= 1;
        }
        assert!(self.age(&state) > self.age(last), "{action:?} leads round");
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("at most one transition", Self::one_transition),
            Property::always(
                "nothing is written of what is unavailable",
                Self::unavailable_is_unwritten,
            ),
            Property::always("no conflict where our own write did it", Self::no_false_conflict),
            Property::always("no success where nothing was canceled", Self::no_false_success),
            Property::always("no refusal of an open payment", Self::no_refusal_without_cause),
            Property::always("a replay equals the first response", Self::replays_are_replays),
            Property::always("only another request reuses a key", Self::reused_keys_are_reused),
            // The checker does not continue from a state that another run has reached, and so can
            // miss that something never happens on the first run. Here it cannot: outcomes are
            // never removed and no run has a cycle, so a run without some outcome ends in a state
            // that shows it.
            Property::eventually(
                "a client that retries gets a definite outcome",
                Self::all_have_outcomes,
            ),
            // Without these the rest could hold because nothing happens.
            Property::sometimes("made", Self::is_made),
            Property::sometimes("an undecided call cancels the payment later", Self::is_late),
        ];
        let keyed = self.clients.iter().any(|request| request.key.is_some());
        if self.world == World::Reopens {
            // A refusal is not final here: see the end of this file.
            if keyed {
                let since = "a key is used up by a payment that is open again";
                properties.push(Property::sometimes(since, Self::is_reopened));
            }
        } else {
            let undone = "no refusal of what is canceled all the same";
            properties.extend([
                Property::always(undone, Self::no_refusal_undone),
                Property::sometimes("not cancelable", Self::is_refused),
            ]);
        }
        if keyed {
            properties.push(Property::sometimes("replayed", Self::is_replayed));
            let found = "a retry finds an undecided cancel done";
            properties.push(Property::sometimes(found, Self::is_found_done));
        }
        if self.shares_a_key_for_two_requests() {
            properties.push(Property::sometimes("key reused", Self::is_reused));
        }
        properties
    }
}

impl Cancels {
    /// A payment that was re-opened may have another one, under a token that made none before.
    fn one_transition(&self, state: &State) -> bool {
        let made: BTreeSet<_> = state.payment.all_made().collect();
        let tokens: BTreeSet<_> = made.iter().map(|made| made.token).collect();
        made.len() == tokens.len() && made.len() == usize::from(state.payment.transitions)
    }

    fn unavailable_is_unwritten(&self, state: &State) -> bool {
        state.clients.iter().enumerate().all(|(name, client)| {
            let unwritten = |invocation: &u8| {
                state
                    .payment
                    .all_made()
                    .all(|made| (made.id.client, made.id.invocation) != (name, *invocation))
            };
            client.unavailable.iter().all(unwritten)
        })
    }

    fn no_false_conflict(&self, state: &State) -> bool {
        self.outcomes(state).all(|(ours, outcome)| match outcome {
            Outcome::NotCancelable(payment) => {
                let made = payment.cancellation;
                made.is_none_or(|made| made.token != ours.token)
            }
            Outcome::Canceled { .. } | Outcome::KeyReused | Outcome::Reopened(_) => true,
        })
    }

    fn no_false_success(&self, state: &State) -> bool {
        self.outcomes(state).all(|(_, outcome)| match outcome {
            Outcome::Canceled { payment, .. } => {
                let mut all = state.payment.all_made();
                payment.status == Status::Canceled
                    && all.any(|made| Some(made) == payment.cancellation)
            }
            Outcome::NotCancelable(_) | Outcome::KeyReused | Outcome::Reopened(_) => true,
        })
    }

    fn no_refusal_undone(&self, state: &State) -> bool {
        self.outcomes(state).all(|(ours, outcome)| match outcome {
            Outcome::NotCancelable(_) | Outcome::KeyReused => {
                let made = state.payment.cancellation;
                made.is_none_or(|made| !made.is_of_the_invocation(ours))
            }
            Outcome::Canceled { .. } | Outcome::Reopened(_) => true,
        })
    }

    fn no_refusal_without_cause(&self, state: &State) -> bool {
        self.outcomes(state).all(|(ours, outcome)| match outcome {
            Outcome::NotCancelable(payment) => payment.status != Status::Open,
            Outcome::Reopened(payment) => {
                let mut undone = payment.undone.into_iter().flatten();
                undone.any(|made| made.token == ours.token)
            }
            Outcome::Canceled { .. } | Outcome::KeyReused => true,
        })
    }

    fn replays_are_replays(&self, state: &State) -> bool {
        self.outcomes(state).all(|(ours, outcome)| match outcome {
            Outcome::Canceled { payment, replayed } => payment.cancellation.is_some_and(|made| {
                made.is_of_the_invocation(ours) != replayed
                    && (made.token, made.fingerprint) == (ours.token, ours.fingerprint)
            }),
            Outcome::NotCancelable(_) | Outcome::KeyReused | Outcome::Reopened(_) => true,
        })
    }

    fn reused_keys_are_reused(&self, state: &State) -> bool {
        self.outcomes(state).all(|(ours, outcome)| match outcome {
            Outcome::KeyReused => state
                .payment
                .all_made()
                .any(|made| made.token == ours.token && made.fingerprint != ours.fingerprint),
            Outcome::Canceled { .. } | Outcome::NotCancelable(_) | Outcome::Reopened(_) => true,
        })
    }

    fn all_have_outcomes(&self, state: &State) -> bool {
        let has_all = |(client, request): (&Client, &Request)| {
            client.outcomes.len() >= usize::from(request.times)
        };
        state.clients.iter().zip(&self.clients).all(has_all)
    }

    fn is_made(&self, state: &State) -> bool {
        let made = |outcome| matches!(outcome, Outcome::Canceled { replayed: false, .. });
        self.outcomes(state).any(|(_, outcome)| made(outcome))
    }

    fn is_replayed(&self, state: &State) -> bool {
        let replayed = |outcome| matches!(outcome, Outcome::Canceled { replayed: true, .. });
        self.outcomes(state).any(|(_, outcome)| replayed(outcome))
    }

    /// It got a replay before the first response.
    fn is_found_done(&self, state: &State) -> bool {
        state.clients.iter().enumerate().any(|(name, client)| match client.outcomes.first() {
            Some((_, Outcome::Canceled { payment, replayed: true })) => {
                payment.cancellation.is_some_and(|made| made.id.client == name)
            }
            Some(_) | None => false,
        })
    }

    fn is_refused(&self, state: &State) -> bool {
        let refused = |outcome| matches!(outcome, Outcome::NotCancelable(_));
        self.outcomes(state).any(|(_, outcome)| refused(outcome))
    }

    fn is_reused(&self, state: &State) -> bool {
        self.outcomes(state).any(|(_, outcome)| outcome == Outcome::KeyReused)
    }

    fn is_reopened(&self, state: &State) -> bool {
        let reopened = |outcome| matches!(outcome, Outcome::Reopened(_));
        self.outcomes(state).any(|(_, outcome)| reopened(outcome))
    }

    /// The function had left it undecided, or had crashed.
    fn is_late(&self, state: &State) -> bool {
        state.payment.cancellation.is_some_and(|made| {
            let Client { invocations, running, outcomes, .. } = &state.clients[made.id.client];
            running.is_none() && outcomes.is_empty() && *invocations == made.id.invocation
        })
    }

    /// The outcomes, each with the cancellation that its request would have made.
    fn outcomes(&self, state: &State) -> impl Iterator<Item = (Cancellation, Outcome)> {
        let clients = state.clients.iter().enumerate();
        clients.flat_map(move |(client, one)| {
            one.outcomes.iter().map(move |(invocation, outcome)| {
                (self.cancellation(Attempt::first(client, *invocation)), *outcome)
            })
        })
    }

    fn shares_a_key_for_two_requests(&self) -> bool {
        let two = |one: &Request, other: &Request| {
            one.key.is_some() && one.key == other.key && one.fingerprint != other.fingerprint
        };
        let clients = &self.clients;
        clients.iter().any(|one| clients.iter().any(|other| two(one, other)))
    }
}

impl Payment {
    /// The cancellation on it, and those that were undone.
    fn all_made(&self) -> impl Iterator<Item = Cancellation> + use<> {
        self.cancellation.into_iter().chain(self.undone.into_iter().flatten())
    }

    /// The cancellation with `token` that it shows, the last one or one before it.
    fn kept(&self, token: Token) -> Option<Cancellation> {
        let mut all = self.cancellation.into_iter().chain(self.earlier.into_iter().flatten());
        all.find(|made| made.token == token)
    }
}

impl Attempt {
    /// The first of an invocation.
    fn first(client: Name, invocation: u8) -> Self {
        Self { client, invocation, write: 0, attempt: 0, follows: None }
    }
}

impl Cancellation {
    /// Whether both are attempts of one invocation.
    fn is_of_the_invocation(&self, other: Self) -> bool {
        (self.id.client, self.id.invocation) == (other.id.client, other.id.invocation)
    }
}

const KEYED: Request = Request { key: Some(1), fingerprint: 0, times: 2 };

const KEYLESS: Request = Request { key: None, ..KEYED };

/// Who may be there together.
fn companies() -> [(&'static str, Vec<Request>); 6] {
    let once = |request| Request { times: 1, ..request };
    let other_request = Request { fingerprint: 1, ..KEYED };
    let other_key = Request { key: Some(2), ..KEYED };
    [
        ("one client with a key", vec![KEYED]),
        ("one client without a key", vec![KEYLESS]),
        ("two clients with one key", vec![KEYED, once(KEYED)]),
        ("two clients with one key, for two requests", vec![KEYED, once(other_request)]),
        ("two clients with a key each", vec![KEYED, once(other_key)]),
        ("a client with a key and one without", vec![KEYED, once(KEYLESS)]),
    ]
}

fn check(model: Cancels) -> impl Checker<Cancels> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let checker = model.checker().threads(processors).spawn_bfs().join();
    assert!(checker.is_done(), "there are states left");
    checker
}

#[test]
fn no_state_has_an_untrue_outcome_and_every_client_gets_one() {
    let faults = env::var("MODEL_FAULTS").map_or(3, |text| text.parse().expect("MODEL_FAULTS"));
    let mut states = 0;
    let companies = companies();
    // With three faults it is over soon.
    let usual = if faults > 3 { 0 } else { u64::MAX };
    let bar = progress("companies of clients", 2 * companies.len() as u64, usual);
    for (company, clients) in companies {
        for world in [World::Captures, World::Reopens] {
            let checker = check(Cancels { clients: clients.clone(), faults, world, flaw: None });
            checker.assert_properties();
            let (unique, longest) = (checker.unique_state_count(), checker.max_depth());
            println!(
                "{company}, {world:?}, {faults} faults: {unique} states, at most {longest} actions"
            );
            states += unique;
            bar.inc(1);
        }
    }
    drop(bar);
    println!("{states} states, all there are");
    // The number of states with three faults. A change of the model changes it; so does an action
    // that can no longer happen.
    assert!(faults != 3 || states == 1_512_094, "{states} states");
}

/// The model with this flaw breaks this promise.
#[track_caller]
fn bites(flaw: Flaw, clients: Vec<Request>, faults: u8, promise: &'static str) {
    let model = |flaw| Cancels {
        clients: clients.clone(),
        faults,
        world: match flaw {
            Some(Flaw::TokenNotInTheCondition | Flaw::EarlierTokensForgotten) => World::Reopens,
            Some(_) | None => World::Captures,
        },
        flaw,
    };
    check(model(None)).assert_no_discovery(promise);
    let found = check(model(Some(flaw))).assert_any_discovery(promise);
    println!("{flaw:?}, {promise}: {:?}", found.into_actions());
}

#[test]
fn with_the_token_ignored_a_lost_response_becomes_a_false_conflict() {
    bites(Flaw::TokenIgnored, vec![KEYED], 1, "no conflict where our own write did it");
    bites(Flaw::TokenIgnored, vec![KEYLESS], 1, "no conflict where our own write did it");
}

#[test]
fn with_the_condition_dropped_there_are_two_transitions() {
    bites(Flaw::ConditionDropped, vec![KEYED], 0, "at most one transition");
    bites(Flaw::ConditionDropped, vec![KEYED], 1, "at most one transition");
}

#[test]
fn with_an_id_for_each_attempt_the_own_cancel_looks_like_a_replay() {
    bites(Flaw::IdOfTheAttempt, vec![KEYLESS], 1, "a replay equals the first response");
}

#[test]
fn with_silence_as_refusal_a_refused_payment_is_canceled_later() {
    let after_three = 3;
    for promise in ["no refusal of an open payment", "no refusal of what is canceled all the same"]
    {
        bites(Flaw::SilenceIsRefusal, vec![KEYED], after_three, promise);
    }
}

#[test]
fn with_the_fingerprint_ignored_another_request_gets_a_replay() {
    let other_request = Request { fingerprint: 1, ..KEYED };
    let clients = vec![KEYED, other_request];
    bites(Flaw::FingerprintIgnored, clients, 0, "a replay equals the first response");
}

#[test]
fn without_retries_some_client_gets_no_outcome() {
    bites(Flaw::NoRetry, vec![KEYED], 3, "a client that retries gets a definite outcome");
}

#[test]
fn without_the_token_in_the_condition_a_key_cancels_a_payment_twice() {
    bites(Flaw::TokenNotInTheCondition, vec![KEYED], 0, "at most one transition");
}

#[test]
fn with_the_earlier_tokens_forgotten_a_key_cancels_again_after_another() {
    let other_key = Request { key: Some(2), ..KEYED };
    let clients = vec![KEYED, other_key];
    bites(Flaw::EarlierTokensForgotten, clients, 0, "at most one transition");
}

#[test]
fn if_the_last_attempt_decides_a_write_is_reported_as_none() {
    bites(Flaw::LastAttemptDecides, vec![KEYED], 3, "nothing is written of what is unavailable");
}

/// The limit of the promise. A refusal is definite because a status that is not cancelable is
/// assumed to stay so. If another service later makes such a payment cancelable, an attempt that
/// was thought lost can arrive after its retry was refused, and cancel the payment. It is still one
/// transition, and a retry of the request reports it; but the refusal was not final.
#[test]
fn after_a_refusal_a_late_attempt_can_cancel_a_reopened_payment() {
    let model = |faults| Cancels { clients: vec![KEYED], faults, world: World::Opens, flaw: None };
    check(model(0)).assert_no_discovery("no refusal of what is canceled all the same");
    let checker = check(model(1));
    let found = checker.assert_any_discovery("no refusal of what is canceled all the same");
    println!("{:?}", found.into_actions());
    for property in checker.model().properties() {
        let promised = !matches!(property.expectation, Expectation::Sometimes);
        let broken = promised && checker.discovery(property.name).is_some();
        let name = property.name;
        assert_eq!(broken, name == "no refusal of what is canceled all the same", "{name}");
    }
}
