//! The cut-point matrix: every fault at every attempt, on a payment in every state, with and
//! without an idempotency key. No response may be untrue.
//!
//! A cell is one request of one client, through the real service and the real SDK, with a
//! [`FaultProxy`] before an embedded DynamoDB. Then the delayed requests arrive, and the client
//! retries on a working network.

use std::{collections::BTreeMap, env};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use shared::{clock::SystemClock, provider::Provider};

use crate::{
    faults::{Cut, Fault, FaultProxy, Instead},
    golden::{Call, Case},
    progress::progress,
    spy::{OUTCOME, Spy},
    stage::{WARM, canceling},
    tables::Tables,
    transport::{ProviderResponse, Transport},
};

/// The state of the payment when the request arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// In this status, cancelable or not.
    Status(String),
    /// In a cancelable status, but only a person may cancel it.
    Manual,
    /// Canceled by this very request, earlier.
    Ours,
    /// Canceled under our token by a request with another fingerprint.
    OursOtherwise,
    /// Canceled under another token.
    Theirs,
    /// Canceled by this very request, and re-opened by another service.
    Reopened,
    /// Canceled under another token, and re-opened.
    TheirsReopened,
    /// Canceled by this very request, re-opened, canceled under another token, and re-opened.
    ReopenedTwice,
    /// There is no such payment.
    Absent,
}

/// One cell of the matrix.
#[derive(Debug, Clone)]
struct Cell {
    faults: Vec<Fault>,
    state: State,
    keyed: bool,
    /// The provider's canceled status.
    canceled: &'static str,
}

/// What the matrix counted.
#[derive(Debug, Default)]
struct Counted {
    /// How often each outcome occurred.
    outcomes: BTreeMap<String, usize>,
    /// The cells with an untrue response, and the reasons.
    wrong: Vec<String>,
}

/// The cut-point matrix, and its counts.
#[expect(clippy::print_stdout, reason = "the counts are what the matrix is for")]
pub(super) async fn no_response_is_untrue<P: Provider>(cases: &[Case]) -> Result<()> {
    let number = number();
    let counted = matrix::<P>(cases, number).await?;
    println!(
        "{}: {number} cells, {} wrong, outcomes {:?}",
        P::NAME,
        counted.wrong.len(),
        counted.outcomes
    );
    ensure!(
        counted.wrong.is_empty(),
        "{} wrong, the first: {}",
        counted.wrong.len(),
        counted.wrong[0]
    );
    for outcome in ["canceled", "not_cancelable", "not_found", "key_reused", "undecided"] {
        ensure!(
            counted.outcomes.contains_key(outcome),
            "{outcome} never came of it: {:?}",
            counted.outcomes
        );
    }
    Ok(())
}

/// Every single fault.
pub(super) fn faults() -> Vec<Fault> {
    let cuts = [Cut::Reset, Cut::Close, Cut::Hang];
    let mut faults = vec![Fault::None, Fault::Twice];
    for how in cuts {
        // Before the request, after its first byte, within its head, within its body, and after all
        // of it.
        faults.extend([0, 1, 200, 1200, usize::MAX].map(|after| Fault::Request { after, how }));
        // The same of the response: before it, its first byte, within its head, within its body,
        // all but its last byte.
        faults.extend([0, 1, 40, 300, usize::MAX].map(|after| Fault::Response { after, how }));
        faults.push(Fault::Late(how));
    }
    use Instead::{
        BadGateway, Conflict, Denied, Garbage, InternalServerError, ServiceUnavailable, Throttled,
    };
    for response in [InternalServerError, BadGateway, ServiceUnavailable, Throttled, Garbage] {
        faults.extend([true, false].map(|committed| Fault::Instead { response, committed }));
    }
    // Who says this has written nothing.
    faults.extend([Conflict, Denied].map(|response| Fault::Instead { response, committed: false }));
    faults
}

/// The cells to try: every single fault in every state with and without a key, then sequences of
/// two and three faults by a fixed rule, up to `number` cells.
fn cells(states: &[State], canceled: &'static str, number: usize) -> Vec<Cell> {
    let faults = faults();
    let mut cells = Vec::new();
    for state in states {
        for keyed in [true, false] {
            for fault in &faults {
                let mut all = vec![vec![*fault]];
                if *state == State::TheirsReopened {
                    // A cancel of such a payment has a second write.
                    all.push(vec![Fault::None, *fault]);
                }
                cells.extend(all.into_iter().map(|faults| Cell {
                    faults,
                    state: state.clone(),
                    keyed,
                    canceled,
                }));
            }
        }
    }
    // Without a fixed order a sample would try the first states only.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 33).unwrap_or_default() % below
    };
    for i in (1..cells.len()).rev() {
        cells.swap(i, draw(i + 1));
    }
    while cells.len() < number {
        let length = 2 + draw(2);
        cells.push(Cell {
            faults: (0..length).map(|_| faults[draw(faults.len())]).collect(),
            state: states[draw(states.len())].clone(),
            keyed: draw(2) == 0,
            canceled,
        });
    }
    cells.truncate(number);
    cells
}

/// The default of `CUT_POINT_CELLS`.
const SAMPLE: usize = 400;

/// How many cells a provider's matrix has: `CUT_POINT_CELLS`, or a sample.
fn number() -> usize {
    env::var("CUT_POINT_CELLS").ok().and_then(|text| text.parse().ok()).unwrap_or(SAMPLE)
}

/// Tries `number` cells of the provider `P`.
async fn matrix<P: Provider>(cases: &[Case], number: usize) -> Result<Counted> {
    let case = canceling(cases)?;
    let bar = progress(P::NAME, number as u64, SAMPLE as u64);
    let bench = Bench::set()?;
    let mut counted = Counted::default();
    for (n, cell) in cells(&states::<P>(cases), P::STATUSES.canceled, number).iter().enumerate() {
        let played = bench.play::<P>(case, cell).await;
        match played.with_context(|| format!("cell {n}, {cell:?}"))? {
            Ok(outcome) => *counted.outcomes.entry(outcome).or_default() += 1,
            Err(wrong) => counted.wrong.push(format!("cell {n}, {cell:?}: {wrong}")),
        }
        bar.inc(1);
    }
    Ok(counted)
}

/// The states of the provider: each cancelable status, each other status of its golden cases, and
/// the special ones.
fn states<P: Provider>(cases: &[Case]) -> Vec<State> {
    let mut words: Vec<&str> = P::STATUSES.cancelable.to_vec();
    for item in cases.iter().flat_map(|case| &case.given.payments) {
        let word = item["status"].as_str().unwrap_or(P::STATUSES.canceled);
        if word != P::STATUSES.canceled && !words.contains(&word) {
            words.push(word);
        }
    }
    let words = words.into_iter().map(|word| State::Status(word.to_owned()));
    words
        .chain([
            State::Manual,
            State::Ours,
            State::OursOtherwise,
            State::Theirs,
            State::Reopened,
            State::TheirsReopened,
            State::ReopenedTwice,
            State::Absent,
        ])
        .collect()
}

/// One store, with a proxy before it.
struct Bench {
    proxy: FaultProxy,
    tables: Tables,
}

/// What a client saw and what the store holds.
struct Observed {
    response: ProviderResponse,
    outcome: String,
    item: Option<Value>,
}

impl Bench {
    fn set() -> Result<Self> {
        let tables = Tables::new()?;
        Ok(Self { proxy: FaultProxy::in_memory(&tables), tables })
    }

    /// Plays a cell: the first outcome, or the reason why it is untrue.
    async fn play<P: Provider>(&self, case: &Case, cell: &Cell) -> Result<Result<String, String>> {
        let mut case = case.clone();
        if cell.keyed {
            case.event["headers"]["idempotency-key"] = json!("key-1");
        }
        let given = case.given.payments.first().context("the case has no payment")?.clone();
        let pk = given["pk"].as_str().context("the payment has no pk")?.to_owned();
        for credential in &case.given.credentials {
            self.tables.put("credentials", credential)?;
        }

        // Each cell has its own service, and so its own retry budget. A request for a missing
        // payment caches its credential. An undisturbed run shows our token and fingerprint.
        self.proxy.script([]);
        let service = Transport::<Spy<P>>::service(&self.proxy.config(), WARM, SystemClock);
        let call = Call::begin();
        self.put(&pk, Some(&given))?;
        // One text for all: a signed request is its own key, and another signature another request.
        let event = case.event();
        let undisturbed = self.send(&service, &call, &event, &pk).await?;
        ensure!(undisturbed.outcome == "canceled", "undisturbed: {}", undisturbed.outcome);
        let canceled = undisturbed.item.context("the payment is gone")?;
        let ours = canceled["cancellation"].clone();

        let before = prepare::<P>(&cell.state, &given, &ours);
        self.put(&pk, before.as_ref())?;
        self.proxy.script(cell.faults.iter().copied());
        let first = self.send(&service, &call, &event, &pk).await?;
        self.proxy.calm();
        self.proxy.deliver_late().await;
        let settled = self.tables.get("payments", &pk)?;
        let again = self.send(&service, &Call::begin(), &event, &pk).await?;
        let transitions = self.proxy.transitions();
        Ok(verify(cell, &ours, &first, settled.as_ref(), &again, transitions)
            .map(|()| first.outcome))
    }

    fn put(&self, pk: &str, item: Option<&Value>) -> Result<()> {
        match item {
            Some(item) => self.tables.put("payments", item),
            None => self.tables.delete("payments", pk),
        }
    }

    async fn send<P: Provider>(
        &self,
        service: &Transport<Spy<P>>,
        call: &Call,
        event: &str,
        pk: &str,
    ) -> Result<Observed> {
        let response = service.invoke(&call.request_id, event).await?;
        let outcome = response.headers.get(OUTCOME).context("no outcome")?.clone();
        Ok(Observed { response, outcome, item: self.tables.get("payments", pk)? })
    }
}

/// The item that is there when the request arrives.
fn prepare<P: Provider>(state: &State, given: &Value, ours: &Value) -> Option<Value> {
    let mut item = given.clone();
    let canceled = |item: &mut Value, cancellation: Value| {
        item["status"] = json!(P::STATUSES.canceled);
        item["canceled_at"] = json!("2024-01-01T00:10:00.000Z");
        item["updated_at"] = json!("2024-01-01T00:10:00.000Z");
        item["cancellation"] = cancellation;
    };
    match state {
        State::Status(word) => item["status"] = json!(word),
        State::Manual => item["manual_cancellation"] = json!(true),
        State::Ours => canceled(&mut item, ours.clone()),
        State::OursOtherwise => {
            let mut other = ours.clone();
            other["fingerprint"] = json!("0".repeat(64));
            canceled(&mut item, other);
        }
        State::Theirs => {
            let mut other = ours.clone();
            other["token"] = json!("another");
            canceled(&mut item, other);
        }
        State::Reopened => {
            canceled(&mut item, ours.clone());
            item["status"] = given["status"].clone();
        }
        State::TheirsReopened | State::ReopenedTwice => {
            let mut other = ours.clone();
            other["token"] = json!("another");
            if *state == State::ReopenedTwice {
                let mut earlier = ours.clone();
                earlier.as_object_mut()?.remove("reason");
                other["earlier"] = json!([earlier]);
            }
            canceled(&mut item, other);
            item["status"] = given["status"].clone();
        }
        State::Absent => return None,
    }
    Some(item)
}

/// Checks the outcome against the store as it is after all delayed requests have arrived.
fn verify(
    cell: &Cell,
    ours: &Value,
    first: &Observed,
    settled: Option<&Value>,
    again: &Observed,
    transitions: usize,
) -> Result<(), String> {
    let made = settled.map(|item| &item["cancellation"]);
    let canceled = settled.is_some_and(|item| item["status"] == cell.canceled);
    let ours_on_it = made.is_some_and(|made| {
        made["token"] == ours["token"] && made["fingerprint"] == ours["fingerprint"]
    }) && canceled;
    let require = |truth: bool, untruth: &str| {
        if truth { Ok(()) } else { Err(format!("{untruth}: {}", first.response.body)) }
    };
    require(transitions <= 1, "a second transition")?;
    let has = |response, committed| {
        let instead = Fault::Instead { response, committed };
        cell.faults.contains(&instead)
    };
    // A throttled request wrote nothing, as DynamoDB documents. A store that throttles after it has
    // committed is believed too.
    let lied = has(Instead::Throttled, true);
    let wrote = ours_on_it && cell.state != State::Ours && !lied;
    let wrong = cell.faults.iter().filter(|fault| **fault != Fault::None).collect::<Vec<_>>();
    match first.outcome.as_str() {
        "canceled" => require(ours_on_it, "success where nothing was canceled")?,
        "not_cancelable" => {
            require(settled.is_some() && !ours_on_it, "a conflict where our own write did it")?
        }
        "key_reused" => require(
            [State::OursOtherwise, State::Reopened, State::ReopenedTwice].contains(&cell.state),
            "a key reused that was not",
        )?,
        // For a retry: the first delivery of this call may have written, so its outcome is
        // undecided.
        "unavailable" => {
            require(!wrote, "unavailable, but the payment is canceled")?;
            require(says_to_retry(first), "unavailable without Retry-After")?;
        }
        "not_found" => require(settled.is_none(), "not found, but the payment exists")?,
        "undecided" if matches!(wrong.as_slice(), [fault] if !is_garbage(fault)) => {
            require(false, "undecided, with two attempts left")?;
        }
        "undecided" => {
            require(says_to_retry(first), "undecided without Retry-After")?;
            let open = cell.faults.iter().any(|fault| !is_definite(fault));
            require(open, "undecided, and nothing was written")?;
        }
        // An operator has to act, and certainly nothing was written.
        "internal" => {
            require(!wrote, "an internal error, and it is canceled")?;
            require(has(Instead::Denied, false), "an internal error, and nothing is wrong")?;
        }
        _ => require(false, "a response without a cause")?,
    }
    // On a working network, a retry must get a definite outcome. With its key, the same one as
    // first.
    if !["canceled", "not_cancelable", "key_reused", "not_found"].contains(&again.outcome.as_str())
    {
        return Err(format!("{} on a sound network", again.outcome));
    }
    // Whether the token outlives the invocation: a client's key does, the Lambda request id does
    // not.
    let kept =
        again.item.as_ref().is_some_and(|item| item["cancellation"]["token"] == ours["token"]);
    if ours_on_it && (cell.keyed || again.outcome == "canceled") && kept {
        require(again.outcome == "canceled", "our own cancel was not recognized by its key")?;
        if first.outcome == "canceled" && first.response.body != again.response.body {
            return Err(format!(
                "a replay with another body: {} after {}",
                again.response.body, first.response.body
            ));
        }
    }
    Ok(())
}

fn says_to_retry(observed: &Observed) -> bool {
    observed.response.status >= 500 && observed.response.headers.contains_key("retry-after")
}

/// The store's own word that it wrote nothing, or that it did.
fn is_definite(fault: &Fault) -> bool {
    use Instead::{Conflict, Denied, Throttled};
    matches!(
        fault,
        Fault::None
            | Fault::Twice
            | Fault::Slow(_)
            | Fault::Instead { response: Conflict | Denied | Throttled, .. }
    )
}

/// What reads as a response is not retried.
fn is_garbage(fault: &Fault) -> bool {
    matches!(fault, Fault::Instead { response: Instead::Garbage, .. })
}
