//! Histories through a whole provider, several times over: its service in this process on the
//! paused clock, or its binary behind a Lambda Runtime API, with a [`FaultProxy`] between its SDK
//! and DynamoDB's engine.
//!
//! The seed chooses clients, calls and faults. The order of processes is the machine's, so there
//! the same seed makes a similar history, not the same one. The meaning of a response's bytes is
//! learned before, on a working network. A response with other bytes is therefore wrong, and so is
//! a replay that differs from the first response in a byte.

mod dictionary;
mod pool;
mod requests;

use std::{
    marker::PhantomData,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use fastrand::Rng;
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use shared::{clock::SystemClock, provider::Provider};
use tokio::{task::JoinSet, time::sleep};

use self::{
    dictionary::Dictionary,
    pool::{Called, Pool},
    requests::{Requests, payment_id},
};
use super::{
    Call, Cancellation, Event, Fault, History, Id, Item, Number, Operation, Outcome, Seen, Token,
    Wish, check::linearizable, report, seeds,
};
use crate::{
    faults::{self, Cut, FaultProxy, Instead},
    golden::Case,
    progress::progress,
    spy::Spy,
    stage::WARM,
    tables::Tables,
    transport::{self, Transport},
};

/// How many histories of processes are made at once. Those of services wait for nothing.
const AT_ONCE: usize = 4;

/// Makes histories of the provider's service, 150 or `SERVICE_HISTORIES`, or of the processes of
/// its `binary`, 15 or `PROCESS_HISTORIES`, and checks them.
///
/// # Errors
/// If a response was untrue, or a history could not be made.
pub async fn histories<P: Provider>(cases: &[Case], binary: Option<&'static str>) -> Result<()> {
    let began = Instant::now();
    let (variable, sample, at_once) = match binary {
        None => ("SERVICE_HISTORIES", 150, 1),
        Some(_) => ("PROCESS_HISTORIES", 15, AT_ONCE),
    };
    let seeds = seeds(variable, sample);
    let number = seeds.end - seeds.start;
    let bar = progress(P::NAME, number, sample);
    let world = Arc::new(World::<P>::set(cases).await?);
    let waiting = Arc::new(Mutex::new(seeds));
    let mut workers = JoinSet::new();
    for _ in 0..at_once {
        let (world, waiting) = (Arc::clone(&world), Arc::clone(&waiting));
        let bar = bar.clone();
        workers.spawn(async move {
            let missing = world.requests.payment(999_998)?;
            let warming = world.requests.event(0, payment_id(&missing)?, Some("warming"))?;
            let pool = Pool::<P>::new(binary, world.tables.clone(), warming);
            let mut seen = Seen::new();
            loop {
                let Some(seed) = lock(&waiting).next() else {
                    return anyhow::Ok(seen);
                };
                let history = world.play(&pool, seed).await;
                for word in history.with_context(|| format!("history {seed}"))?.remarkable() {
                    *seen.entry(word).or_default() += 1;
                }
                bar.inc(1);
            }
        });
    }
    let mut all = Seen::new();
    while let Some(seen) = workers.join_next().await {
        for (word, count) in seen?? {
            *all.entry(word).or_default() += count;
        }
    }
    report(variable, P::NAME, number, began.elapsed(), &all);
    // Histories in which nothing happens prove nothing.
    for remarkable in
        ["canceled", "replayed", "undecided", "moved", "a response is lost", "re-opened since"]
    {
        let rare = remarkable == "re-opened since" && number < 150;
        ensure!(
            number < sample || rare || all.contains_key(remarkable),
            "not seen in {number} histories: {remarkable}"
        );
    }
    Ok(())
}

/// A provider's store, its requests and its responses.
struct World<P: Provider> {
    tables: Tables,
    requests: Requests,
    dictionary: Dictionary,
    provider: PhantomData<fn() -> P>,
}

/// The record of a history. Responses are read at its end, when the payment's states are known.
#[derive(Default)]
struct Record {
    calls: Vec<Call>,
    request_ids: Vec<String>,
    received: Vec<Option<Received>>,
    events: Vec<Event>,
    transitions: usize,
    /// The payment as it was when it was re-opened.
    reopened: Option<Value>,
}

/// A response as it came.
enum Received {
    Outcome { response: transport::ProviderResponse, outcome: String },
    Moved,
    Refused(Option<Value>),
}

impl Record {
    fn begin(
        &mut self,
        client: usize,
        operation: impl FnOnce(Number) -> Operation,
        request_id: Option<String>,
    ) -> Number {
        let number = self.calls.len();
        let operation = operation(number);
        self.calls.push(Call { client, operation });
        self.request_ids.push(request_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()));
        self.received.push(None);
        self.events.push(Event::Called(number));
        number
    }

    fn end(&mut self, number: Number, received: Received) {
        let undecided =
            matches!(&received, Received::Outcome { outcome, .. } if outcome == "undecided");
        self.events.push(match undecided {
            true => Event::Undecided(number),
            // The response is read later.
            false => Event::Responded(number, Outcome::Other),
        });
        self.received[number] = Some(received);
    }

    /// The token of a call. If the body must have one, the request id is put there.
    fn token(&self, number: Number, may_lack_a_key: bool) -> Option<String> {
        match self.calls[number].operation {
            Operation::Cancel { token: Token::Key(key), .. } => Some(format!("key-{key}")),
            Operation::Cancel { token: Token::RequestId(owner), .. } if !may_lack_a_key => {
                Some(self.request_ids[owner].clone())
            }
            Operation::Cancel { .. }
            | Operation::Capture
            | Operation::Fail
            | Operation::Expire
            | Operation::Reopen => None,
        }
    }

    /// The token in `text`. An unknown one becomes a key that no client has.
    fn token_of(&self, text: &str) -> Token {
        let key = text.strip_prefix("key-").and_then(|key| key.parse().ok());
        let id = text.strip_prefix("request ").unwrap_or(text);
        let owner = self.request_ids.iter().position(|owner| owner == id);
        match (key, owner) {
            (Some(key), _) => Token::Key(key),
            (None, Some(number)) => Token::RequestId(number),
            (None, None) => Token::Key(usize::MAX),
        }
    }
}

/// A history's plan and its place.
struct Play<'s, P: Provider> {
    world: &'s World<P>,
    pool: &'s Arc<Pool<P>>,
    payment: &'s Value,
    record: Arc<Mutex<Record>>,
    /// How many of a hundred attempts fail.
    faults_in_100: u8,
}

impl<P: Provider> World<P> {
    /// On a sound network it is learned what the requests are, and what the responses to them mean.
    async fn set(cases: &[Case]) -> Result<Self> {
        let tables = Tables::new()?;
        let proxy = FaultProxy::in_memory(&tables);
        let service = Transport::<Spy<P>>::service(&proxy.config(), WARM, SystemClock);
        let requests = Requests::find(cases, &service, &tables).await?;
        let mut world =
            Self { tables, requests, dictionary: Dictionary::default(), provider: PhantomData };
        world.dictionary = Dictionary::learn(&world, &service).await?;
        Ok(world)
    }

    /// Puts the payment of the history with that number there, or sees to it that there is none.
    fn put(&self, number: u64, first: Option<Item>) -> Result<Value> {
        let mut payment = self.requests.payment(number)?;
        let Some(item) = first else {
            let pk = payment["pk"].as_str().context("an item has no pk")?;
            self.tables.delete("payments", pk)?;
            return Ok(payment);
        };
        payment["status"] = json!(item.status);
        payment["manual_cancellation"] = json!(item.manual);
        if let Some(Cancellation { token: Token::Key(key), fingerprint, .. }) = item.cancellation {
            payment["canceled_at"] = json!("2024-01-01T00:10:00.000Z");
            payment["updated_at"] = json!("2024-01-01T00:10:00.000Z");
            payment["cancellation"] = self.requests.cancellation(fingerprint).clone();
            payment["cancellation"]["token"] = json!(format!("key-{key}"));
        }
        self.tables.put("payments", &payment)?;
        Ok(payment)
    }

    async fn play(&self, pool: &Arc<Pool<P>>, seed: u64) -> Result<History> {
        // The providers' histories differ, though their seeds are the same.
        let name =
            P::NAME.bytes().fold(0_u64, |name, byte| name.wrapping_mul(31) + u64::from(byte));
        let mut random = Rng::with_seed(seed ^ (name << 32));
        let first = first::<P>(&mut random);
        let payment = self.put(seed, first)?;
        let play = Play {
            world: self,
            pool,
            payment: &payment,
            record: Arc::default(),
            faults_in_100: [0, 25, 50, 75][random.usize(..4)],
        };
        let mut clients = Vec::new();
        for client in 0..random.usize(1..=4) {
            let wishes = (0..random.usize(1..=2)).map(|_| Wish::draw(&mut random)).collect();
            clients.push(play.client(client, wishes, random.fork()));
        }
        try_join_all(clients).await?;
        pool.quiet().await?;
        play.retry_all().await?;
        pool.quiet().await?;
        let last = self.tables.get("payments", pk(&payment)?)?;

        let record = std::mem::take(&mut *lock(&play.record));
        let mut history = History {
            statuses: P::STATUSES,
            first,
            anonymous: true,
            reopens: 1,
            calls: record.calls.clone(),
            events: record.events.clone(),
        };
        let checked = self.check(&record, &mut history, &payment, last.as_ref());
        checked.map_err(|wrong| anyhow!("{wrong}\n{history}"))?;
        Ok(history)
    }

    /// Reads the responses, and checks them together with the store's writes.
    fn check(
        &self,
        record: &Record,
        history: &mut History,
        payment: &Value,
        stored: Option<&Value>,
    ) -> Result<(), String> {
        let last = stored.map(|stored| self.item(record, payment, stored)).transpose()?;
        for event in &mut history.events {
            if let Event::Responded(number, response) = event {
                *response = self.read(record, *number, payment, stored, [history.first, last])?;
            }
        }
        let canceled =
            |item: Option<Item>| item.is_some_and(|item| item.status == P::STATUSES.canceled);
        let expected = match record.reopened {
            Some(_) => usize::from(!canceled(history.first)) + usize::from(canceled(last)),
            None => usize::from(canceled(last) && !canceled(history.first)),
        };
        if record.transitions != expected {
            return Err(format!(
                "{} transitions to canceled, where {expected} should be",
                record.transitions
            ));
        }
        linearizable(history)
    }

    /// The stored payment in what matters, and nothing else about it changed.
    fn item(&self, record: &Record, payment: &Value, stored: &Value) -> Result<Item, String> {
        let words = [Operation::Capture, Operation::Fail, Operation::Expire]
            .into_iter()
            .filter_map(|operation| Some(operation.words(&P::STATUSES)?.1));
        let mut words =
            P::STATUSES.cancelable.iter().copied().chain([P::STATUSES.canceled]).chain(words);
        let status = words.find(|word| stored["status"] == *word);
        let cancellation = stored.get("cancellation").map(|made| {
            let fingerprint = [0, 1].into_iter().find(|request| {
                made["fingerprint"] == self.requests.cancellation(*request)["fingerprint"]
            });
            Cancellation {
                id: Id::Other,
                token: record.token_of(made["token"].as_str().unwrap_or_default()),
                fingerprint: fingerprint.unwrap_or(usize::MAX),
            }
        });
        let rest = |item: &Value| {
            let mut item = item.clone();
            for changed in ["status", "canceled_at", "updated_at", "cancellation"] {
                item[changed] = Value::Null;
            }
            item
        };
        if rest(stored) != rest(payment) {
            return Err(format!("the payment came to {stored}"));
        }
        Ok(Item {
            status: status.ok_or_else(|| format!("the payment came to {stored}"))?,
            manual: stored["manual_cancellation"] == true,
            cancellation,
        })
    }

    /// A call's outcome.
    fn read(
        &self,
        record: &Record,
        number: Number,
        payment: &Value,
        stored: Option<&Value>,
        [first, last]: [Option<Item>; 2],
    ) -> Result<Outcome, String> {
        let (own_token, fingerprint) = match record.calls[number].operation {
            Operation::Cancel { token, fingerprint } => (Some(token), fingerprint),
            Operation::Capture | Operation::Fail | Operation::Expire | Operation::Reopen => {
                (None, 0)
            }
        };
        let (response, outcome) = match &record.received[number] {
            None => return Err(format!("#{number} got no response")),
            Some(Received::Moved) => return Ok(Outcome::Moved),
            Some(Received::Refused(found)) => {
                let found = found.as_ref().map(|found| self.item(record, payment, found));
                return Ok(Outcome::Refused(found.transpose()?));
            }
            Some(Received::Outcome { response, outcome }) => (response, outcome),
        };
        if outcome == "unavailable" {
            let said = response.status >= 500 && response.headers.contains_key("retry-after");
            return match said {
                true => Ok(Outcome::Unavailable),
                false => Err(format!("#{number} is unavailable without Retry-After: {response:?}")),
            };
        }
        let token = record.token(number, self.requests.may_lack_a_key());
        let payment_id = payment_id(payment).map_err(|error| error.to_string())?;
        // The bytes show the cancellation that is stored, or was when the payment was re-opened.
        let mut read = Vec::new();
        for stored in [stored, record.reopened.as_ref()] {
            let made = stored.map(|stored| self.item(record, payment, stored)).transpose()?;
            let all = self.dictionary.read(
                fingerprint,
                outcome,
                response,
                payment_id,
                token.as_deref(),
                stored,
            );
            // A canceled payment's response shows whose token canceled it: the stored one.
            read.extend(all.into_iter().map(|item| match (item, made) {
                (Some(reported), Some(made))
                    if reported.status == made.status
                        && reported.cancellation.map(|made| made.fingerprint)
                            == made.cancellation.map(|made| made.fingerprint) =>
                {
                    Some(made)
                }
                _ => item,
            }));
        }
        let own = |item: &&Option<Item>| {
            let made = item.and_then(|item| item.cancellation);
            outcome == "canceled" && made.is_some_and(|made| Some(made.token) == own_token)
        };
        // If the same bytes may mean several payments, one of them must be true.
        let item = read.iter().find(own);
        let item = item.or_else(|| read.iter().find(|item| [first, last].contains(item)));
        let item = item.or(read.first());
        // A refusal does not show what canceled the payment.
        let seen = |item: Item| Item { cancellation: None, ..item };
        let is_of_it = |item: &Item| {
            let made = item.cancellation;
            made.is_some_and(|made| made.fingerprint == fingerprint)
        };
        match (outcome.as_str(), item) {
            ("canceled", Some(Some(item))) => Ok(Outcome::Canceled {
                item: *item,
                replayed: response.headers.contains_key("idempotent-replayed"),
            }),
            ("not_cancelable", Some(Some(item))) => Ok(Outcome::NotCancelable(seen(*item))),
            ("key_reused", Some(Some(item))) if is_of_it(item) => {
                Ok(Outcome::Reopened(seen(*item)))
            }
            ("key_reused", Some(Some(_))) => Ok(Outcome::KeyReused),
            ("not_found", Some(None)) => Ok(Outcome::NotFound),
            _ => Err(format!(
                "#{number}, {outcome}, got a response unseen on a working network: {response:?}"
            )),
        }
    }
}

fn first<P: Provider>(random: &mut Rng) -> Option<Item> {
    let words = P::STATUSES.cancelable;
    let open =
        Item { status: words[random.usize(..words.len())], manual: false, cancellation: None };
    match random.u8(..20) {
        0 => None,
        1 => Some(Item { status: "captured", ..open }),
        2 => Some(Item { manual: true, ..open }),
        3 => Some(Item {
            status: P::STATUSES.canceled,
            cancellation: Some(Cancellation {
                id: Id::Other,
                token: Token::Key(0),
                fingerprint: 0,
            }),
            ..open
        }),
        _ => Some(open),
    }
}

impl<P: Provider> Play<'_, P> {
    async fn client(&self, client: usize, mut wishes: Vec<Wish>, mut random: Rng) -> Result<()> {
        let mut retries = 0;
        while let Some(wish) = wishes.pop() {
            sleep(Duration::from_micros(random.u64(..4000))).await;
            let script = self.script(&mut random);
            if let Wish::Move(operation) = wish {
                self.move_on(client, operation, !script.is_empty())?;
                continue;
            }
            let delays = [4_000, 30_000].map(|most| Duration::from_micros(random.u64(..most)));
            let number =
                self.cancel(client, |number| wish.operation(number), None, &script, delays).await?;
            let undecided = lock(&self.record).events.contains(&Event::Undecided(number));
            if undecided && retries < 2 && random.bool() {
                retries += 1;
                wishes.push(wish);
            }
        }
        Ok(())
    }

    /// The faults of a call's attempts: at most as many as the SDK makes attempts.
    fn script(&self, random: &mut Rng) -> Vec<faults::Fault> {
        let mut script = Vec::new();
        while script.len() < 3 && random.u8(..100) < self.faults_in_100 {
            // To be silent costs a process a second an attempt, so few are.
            let how = match random.u8(..100) {
                0 => Cut::Hang,
                1..50 => Cut::Reset,
                _ => Cut::Close,
            };
            let response = match random.u8(..6) {
                0 => Instead::InternalServerError,
                1 => Instead::BadGateway,
                2 => Instead::ServiceUnavailable,
                3 => Instead::Throttled,
                4 => Instead::Garbage,
                _ => {
                    script.push(faults::Fault::Instead {
                        response: Instead::Conflict,
                        committed: false,
                    });
                    continue;
                }
            };
            script.push(match random.u8(..8) {
                0 => faults::Fault::Request { after: random.usize(..1500), how },
                1 | 2 => faults::Fault::Response { after: random.usize(..600), how },
                3 => faults::Fault::Instead { response, committed: true },
                4 => faults::Fault::Instead { response, committed: false },
                5 => faults::Fault::Twice,
                _ => faults::Fault::Late(how),
            });
        }
        script
    }

    /// One call through a process of the function.
    async fn cancel(
        &self,
        client: usize,
        operation: impl FnOnce(Number) -> Operation,
        request_id: Option<String>,
        script: &[faults::Fault],
        [latency, later]: [Duration; 2],
    ) -> Result<Number> {
        let mut lease = self.pool.lease().await?;
        let requests = &self.world.requests;
        let (number, request_id, event) = {
            let mut record = lock(&self.record);
            let number = record.begin(client, operation, request_id);
            let Operation::Cancel { fingerprint, .. } = record.calls[number].operation else {
                return Err(anyhow!("#{number} is no cancel"));
            };
            let token = record.token(number, requests.may_lack_a_key());
            let event = requests.event(fingerprint, payment_id(self.payment)?, token.as_deref())?;
            (number, record.request_ids[number].clone(), event)
        };
        let called = lease.call(&request_id, &event, script, latency).await;
        let record = Arc::clone(&self.record);
        lease.end(later, move |transitions| lock(&record).transitions += transitions);

        let Called { response, outcome, faults, attempts } =
            called.with_context(|| format!("#{number}, {script:?}"))?;
        if ["undecided", "unavailable"].contains(&outcome.as_str()) {
            ensure!(
                !faults.is_empty() || (self.pool.has_processes() && attempts > 1),
                "#{number} is {outcome} without a fault: {response:?}"
            );
            let said = response.status >= 500 && response.headers.contains_key("retry-after");
            ensure!(said, "#{number} is undecided without Retry-After: {response:?}");
        }
        let mut record = lock(&self.record);
        record.events.extend(faults.into_iter().map(|fault| Event::Befell(number, fault.into())));
        record.end(number, Received::Outcome { response, outcome });
        Ok(number)
    }

    /// Another service moves the payment, under the condition that the data model requires. If its
    /// response is `lost`, it does not retry.
    fn move_on(&self, client: usize, operation: Operation, lost: bool) -> Result<()> {
        let Some((from, word)) = operation.words(&P::STATUSES) else {
            return Err(anyhow!("{operation} moves nothing"));
        };
        let (tables, pk) = (&self.world.tables, pk(self.payment)?);
        let number = lock(&self.record).begin(client, |_| operation, None);
        let movable = |item: &Option<Value>| {
            let again = operation == Operation::Reopen && lock(&self.record).reopened.is_some();
            let seen = item.as_ref()?["status"].as_str()?;
            (from.contains(&seen) && !again).then(|| seen.to_owned())
        };
        let mut found = tables.get("payments", pk)?;
        let received = loop {
            let seen = movable(&found).unwrap_or_else(|| "none".to_owned());
            match tables.move_on(pk, &seen, word)? {
                Ok(()) => break Received::Moved,
                // Others have moved it between the read and the write.
                Err(now) if movable(&now).is_some() => found = now,
                Err(now) => break Received::Refused(now),
            }
        };
        let mut record = lock(&self.record);
        if operation == Operation::Reopen && matches!(received, Received::Moved) {
            record.reopened = found;
        }
        if lost {
            record.events.push(Event::Befell(number, Fault::ResponseLost));
            record.events.push(Event::Undecided(number));
        } else {
            record.end(number, received);
        }
        Ok(())
    }

    /// At the end the network works, and every cancel is retried: canceled payments are replayed
    /// byte for byte, and no outcome stays undecided.
    async fn retry_all(&self) -> Result<()> {
        let calls = lock(&self.record).calls.len();
        for number in 0..calls {
            let (Call { client, operation }, request_id) = {
                let record = lock(&self.record);
                (record.calls[number], record.request_ids[number].clone())
            };
            let Operation::Cancel { .. } = operation else {
                continue;
            };
            let again = self
                .cancel(client, |_| operation, Some(request_id), &[], [Duration::ZERO; 2])
                .await?;
            let record = lock(&self.record);
            if let (
                Some(Received::Outcome { response: first, outcome }),
                Some(Received::Outcome { response: second, outcome: now }),
            ) = (&record.received[number], &record.received[again])
                && outcome == "canceled"
                && record.reopened.is_none()
            {
                ensure!(
                    now == "canceled"
                        && first.body == second.body
                        && second.headers.contains_key("idempotent-replayed"),
                    "#{number} got {first:?}, and its retry {second:?}"
                );
            }
        }
        Ok(())
    }
}

impl From<faults::Fault> for Fault {
    fn from(fault: faults::Fault) -> Self {
        match fault {
            faults::Fault::Twice => Self::Doubled,
            faults::Fault::Late(_) => Self::Late,
            faults::Fault::Instead {
                response: Instead::Throttled | Instead::Conflict | Instead::Denied,
                committed: false,
            } => Self::Refused,
            faults::Fault::Request { .. } | faults::Fault::Instead { committed: false, .. } => {
                Self::RequestLost
            }
            faults::Fault::None
            | faults::Fault::Response { .. }
            | faults::Fault::Slow(_)
            | faults::Fault::Instead { committed: true, .. } => Self::ResponseLost,
        }
    }
}

fn pk(payment: &Value) -> Result<&str> {
    payment["pk"].as_str().context("an item has no pk")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
