//! Histories in this process: the real [`cancel`] over a [`MemoryStore`], and a network between
//! them that a seed controls.
//!
//! Nothing runs concurrently. Each step is drawn: one client proceeds, or one delayed message
//! reaches the store. So a seed always makes the same history.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use fastrand::Rng;
use futures_util::FutureExt;
use shared::{
    auth::Merchant,
    budget::Budget,
    cancel::{
        Cancel, CancelError, KeyReuse, PaymentKey, Payments, Transition, TransitionResult, cancel,
    },
    clock::Timestamp,
    error::StoreError,
    idempotency::{self, Fingerprint, IdempotencyKey},
    json::Json,
    payment::{self, Payment, Statuses},
    store::memory::MemoryStore,
};
use tokio::time::Instant;

use crate::merchant::merchant;

use super::{
    Call, Cancellation, Event, Fault, History, Id, Item, Number, Operation, Outcome, Token, Wish,
};

/// The statuses of these histories.
pub const STATUSES: Statuses =
    Statuses { cancelable: &["pending", "authorized"], canceled: "canceled" };

/// As many as the SDK makes.
const ATTEMPTS: usize = 3;

/// A history begins with at most this many calls. Undecided ones may be retried, at most as many
/// again.
const CALLS: usize = 8;
/// A third time shows nothing new.
const REOPENS: usize = 2;

const PROVIDER: &str = "p";
const PK: &str = "p#m#pay";

/// SHA-256 of no bytes, and of one zero byte: what [`fingerprint`] must come to.
const FINGERPRINTS: [&str; 2] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
];

fn fingerprint(request: usize) -> Fingerprint {
    match request {
        0 => Fingerprint::of(&[]),
        _ => Fingerprint::of(&[None]),
    }
}

/// A fault in the code or in the store, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Our token is not known again on the payment.
    TokenIgnored,
    /// Every attempt has its own token.
    TokenOfTheAttempt,
    /// Every attempt has its own id.
    IdOfTheAttempt,
    /// The condition is dropped: whatever the status, the payment is canceled.
    ConditionDropped,
    /// The condition forgets the payments that only a person may cancel.
    ManualIgnored,
    /// The condition is looked at first, and the write comes a moment later.
    GetThenPut,
    /// The refused condition returns the payment as it was before its last change.
    StaleRead,
    /// Silence is taken for a refusal.
    SilenceIsRefusal,
    /// Silence is taken for success.
    SilenceIsSuccess,
    /// The store reports the transition, and does nothing.
    NothingDone,
    /// A replay has the time of the retry.
    ReplayWithNewTime,
    /// A replay has the id of the retry.
    ReplayWithNewId,
    /// The client is left undecided without need.
    UndecidedWithoutNeed,
    /// The condition does not know the token of the payment.
    TokenNotInTheCondition,
    /// It knows only the last of several.
    EarlierTokensForgotten,
    /// What the last attempt met decides, whatever became of the others.
    LastAttemptDecides,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::TokenIgnored,
        Self::TokenOfTheAttempt,
        Self::IdOfTheAttempt,
        Self::ConditionDropped,
        Self::ManualIgnored,
        Self::GetThenPut,
        Self::StaleRead,
        Self::SilenceIsRefusal,
        Self::SilenceIsSuccess,
        Self::NothingDone,
        Self::ReplayWithNewTime,
        Self::ReplayWithNewId,
        Self::UndecidedWithoutNeed,
        Self::TokenNotInTheCondition,
        Self::EarlierTokensForgotten,
        Self::LastAttemptDecides,
    ];
}

/// The history of this seed.
#[must_use]
pub fn history(seed: u64) -> History {
    Scheduler::new(seed, None).play()
}

/// The history of this seed with a flaw in it.
#[must_use]
pub fn flawed(seed: u64, flaw: Flaw) -> History {
    Scheduler::new(seed, Some(flaw)).play()
}

/// What takes the steps.
struct Scheduler {
    world: Arc<World>,
    clients: Vec<Client>,
    /// A delayed message takes one in this many chances to arrive.
    slowness: u8,
}

struct Client {
    /// What it will request, the last one first.
    wishes: Vec<Wish>,
    /// The call it waits for.
    running: Option<(Number, Wish, Running)>,
}

type Running = Pin<Box<dyn Future<Output = Option<Outcome>>>>;

impl Scheduler {
    fn new(seed: u64, flaw: Option<Flaw>) -> Self {
        let mut random = Rng::with_seed(seed);
        let item = |status| Item { status, manual: false, cancellation: None };
        let first = match random.u8(..20) {
            0 => None,
            1 => Some(item("captured")),
            2 => Some(Item { manual: true, ..item("pending") }),
            3 => Some(Item {
                cancellation: Some(Cancellation {
                    id: Id::Other,
                    token: Token::Key(0),
                    fingerprint: 0,
                }),
                ..item("canceled")
            }),
            4..12 => Some(item("pending")),
            _ => Some(item("authorized")),
        };
        let mut clients = Vec::new();
        let mut calls = 0;
        for _ in 0..random.usize(1..=4) {
            let wishes = random.usize(1..=3).min(CALLS - calls);
            calls += wishes;
            clients.push(Client {
                wishes: (0..wishes).map(|_| Wish::draw(&mut random)).collect(),
                running: None,
            });
        }
        let weather = Weather::draw(&mut random);
        let slowness = [1, 4, 16][random.usize(..3)];
        Self { slowness, world: Arc::new(World::new(random, weather, flaw, first)), clients }
    }

    fn play(mut self) -> History {
        loop {
            let waiting = |client: &Client| client.running.is_some() || !client.wishes.is_empty();
            let busy = self.clients.iter().filter(|client| waiting(client)).count();
            let held_back = self.world.lock().held_back.len();
            if busy + held_back == 0 {
                return self.world.history();
            }
            let drawn = self.world.lock().random.usize(..busy + held_back);
            if drawn >= busy {
                if busy > 0 && self.world.lock().random.u8(..self.slowness) > 0 {
                    continue;
                }
                let (number, message) = self.world.lock().held_back.swap_remove(drawn - busy);
                drop(self.world.deliver(number, &message));
            } else if let Some(client) =
                (0..self.clients.len()).filter(|client| waiting(&self.clients[*client])).nth(drawn)
            {
                self.step(client);
            }
        }
    }

    /// One client makes one step.
    fn step(&mut self, client: usize) {
        let waiting = &mut self.clients[client];
        let Some((number, wish, running)) = &mut waiting.running else {
            if let Some(wish) = waiting.wishes.pop() {
                let number = self.world.begin(client, wish);
                let running = Box::pin(call(Arc::clone(&self.world), number));
                waiting.running = Some((number, wish, running));
            }
            return;
        };
        let (number, wish) = (*number, *wish);
        let outcome = if self.world.gives_up(number) {
            None
        } else {
            match running.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => return,
                Poll::Ready(outcome) => outcome,
            }
        };
        waiting.running = None;
        if self.world.end(number, outcome) {
            waiting.wishes.push(wish);
        }
    }
}

/// How the network is in one history.
struct Weather {
    /// How many of a hundred attempts fail.
    faults_in_100: u8,
    /// In one of these ways.
    kinds: &'static [Fault],
}

impl Weather {
    fn draw(random: &mut Rng) -> Self {
        use Fault::{Doubled, Late, Refused, RequestLost, ResponseLost};
        Self {
            faults_in_100: [0, 25, 50, 75, 90][random.usize(..5)],
            kinds: match random.u8(..6) {
                0 => &[RequestLost, Late],
                1 => &[ResponseLost, Late],
                2 => &[ResponseLost, Refused],
                3 => &[Refused],
                _ => &[RequestLost, ResponseLost, Doubled, Late, Refused],
            },
        }
    }
}

/// Everything but the clients: the table, what is under way to it, and the record.
struct World {
    table: MemoryStore,
    flaw: Option<Flaw>,
    weather: Weather,
    record: Mutex<Record>,
}

struct Record {
    random: Rng,
    first: Option<Item>,
    calls: Vec<Call>,
    events: Vec<Event>,
    /// Every state that the payment has had.
    states: Vec<(Option<Payment>, Option<Item>)>,
    /// Whose the ids are that were sent to the store.
    ids: Vec<(String, Number)>,
    /// What will reach the store later.
    held_back: Vec<(Number, Message)>,
    retries: usize,
    /// Those that re-opened the payment.
    reopened: Vec<Number>,
}

/// What is sent to the store.
#[derive(Clone)]
enum Message {
    Transition(Box<Transition>),
    Move(Operation),
}

impl World {
    fn new(random: Rng, weather: Weather, flaw: Option<Flaw>, first: Option<Item>) -> Self {
        let table = MemoryStore::default();
        let payment = first.as_ref().map(|item| payment_of(item, "before"));
        if let Some(payment) = &payment {
            table.put_payment(PK, payment.clone());
        }
        Self {
            table,
            flaw,
            weather,
            record: Mutex::new(Record {
                random,
                first,
                calls: Vec::with_capacity(CALLS),
                events: Vec::with_capacity(8 * CALLS),
                states: vec![(payment, first)],
                ids: Vec::with_capacity(CALLS),
                held_back: Vec::new(),
                retries: 0,
                reopened: Vec::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn history(&self) -> History {
        let record = self.lock();
        History {
            statuses: STATUSES,
            first: record.first,
            anonymous: false,
            reopens: REOPENS,
            calls: record.calls.clone(),
            events: record.events.clone(),
        }
    }

    fn begin(&self, client: usize, wish: Wish) -> Number {
        let mut record = self.lock();
        let number = record.calls.len();
        let operation = wish.operation(number);
        record.calls.push(Call { client, operation });
        record.events.push(Event::Called(number));
        number
    }

    /// Whether the call reaches its deadline at this moment.
    fn gives_up(&self, number: Number) -> bool {
        let mut record = self.lock();
        let given_up = self.weather.faults_in_100 > 0 && record.random.u8(..50) == 0;
        if given_up {
            let fault = Fault::Deadline;
            record.events.push(Event::Befell(number, fault));
        }
        given_up
    }

    /// Ends the call; whether the client retry it.
    fn end(&self, number: Number, outcome: Option<Outcome>) -> bool {
        let mut record = self.lock();
        let Some(outcome) = outcome else {
            record.events.push(Event::Undecided(number));
            let retry = record.retries < CALLS && record.random.u8(..3) > 0;
            record.retries += usize::from(retry);
            return retry;
        };
        record.events.push(Event::Responded(number, outcome));
        false
    }

    /// The fault of the next attempt.
    fn draw(&self, number: Number) -> Option<Fault> {
        let mut record = self.lock();
        if record.random.u8(..100) >= self.weather.faults_in_100 {
            return None;
        }
        let kinds = self.weather.kinds;
        let fault = kinds[record.random.usize(..kinds.len())];
        record.events.push(Event::Befell(number, fault));
        Some(fault)
    }

    fn hold_back(&self, number: Number, message: &Message) {
        self.lock().held_back.push((number, message.clone()));
    }

    /// The message reaches the store, which decides on it at this moment.
    fn deliver(&self, number: Number, message: &Message) -> TransitionResult {
        let before = self.table.payment(PK);
        let result = match message {
            Message::Transition(transition) => {
                self.lock().ids.push((transition.cancellation.id.clone(), number));
                self.transition(transition, before.clone())
            }
            Message::Move(operation) => self.move_on(number, *operation, before.clone()),
        };
        let after = self.table.payment(PK);
        if after != before {
            let mut record = self.lock();
            let item = after.as_ref().map(|payment| record.item_of(payment));
            record.states.push((after, item));
            record.events.extend(item.map(|item| Event::Wrote(number, item)));
        }
        result
    }

    fn transition(&self, transition: &Transition, before: Option<Payment>) -> TransitionResult {
        match (self.flaw, before) {
            (Some(Flaw::ConditionDropped), Some(mut payment)) => {
                payment.status = "pending".to_owned();
                payment.manual_cancellation = false;
                self.table.put_payment(PK, payment);
            }
            (Some(Flaw::ManualIgnored), Some(mut payment)) => {
                payment.manual_cancellation = false;
                self.table.put_payment(PK, payment);
            }
            (Some(Flaw::TokenNotInTheCondition), Some(mut payment))
                if STATUSES.cancelable.contains(&payment.status.as_str()) =>
            {
                payment.cancellation = None;
                self.table.put_payment(PK, payment);
            }
            (Some(Flaw::EarlierTokensForgotten), Some(mut payment))
                if STATUSES.cancelable.contains(&payment.status.as_str())
                    && payment.cancellation.as_ref().map(|made| made.token.as_str())
                        != Some(&transition.cancellation.token) =>
            {
                payment.earlier_cancellations.clear();
                self.table.put_payment(PK, payment);
            }
            (Some(Flaw::NothingDone), Some(payment))
                if STATUSES.cancelable.contains(&payment.status.as_str()) =>
            {
                return TransitionResult::Transitioned(payment);
            }
            _ => {}
        }
        let budget = Budget::until(Instant::now());
        let decided = self.table.transition(transition, &budget).now_or_never();
        let decided = decided.expect("memory does not wait");
        let mut result = decided.expect("memory always decides");
        if let TransitionResult::ConditionFailed(Some(payment)) = &mut result {
            match (self.flaw, &mut payment.cancellation) {
                (Some(Flaw::ReplayWithNewId), Some(made))
                    if made.token == transition.cancellation.token =>
                {
                    made.id.clone_from(&transition.cancellation.id);
                }
                (Some(Flaw::ReplayWithNewTime), Some(_)) => {
                    payment.canceled_at = transition.at.as_str().into();
                }
                (Some(Flaw::StaleRead), _) => {
                    let record = self.lock();
                    let earlier = record.states.len().saturating_sub(2);
                    return TransitionResult::ConditionFailed(record.states[earlier].0.clone());
                }
                _ => {}
            }
        }
        result
    }

    /// Another service's write: conditional, as the data model requires. A re-opening is of one
    /// cancellation, so its double is refused.
    fn move_on(
        &self,
        number: Number,
        operation: Operation,
        before: Option<Payment>,
    ) -> TransitionResult {
        let reopens = operation == Operation::Reopen;
        let mut record = self.lock();
        let refused =
            reopens && (record.reopened.contains(&number) || record.reopened.len() == REOPENS);
        match (before, operation.words(&STATUSES)) {
            (Some(mut payment), Some((from, word)))
                if from.contains(&payment.status.as_str()) && !refused =>
            {
                record.reopened.extend(reopens.then_some(number));
                payment.status = word.to_owned();
                self.table.put_payment(PK, payment.clone());
                TransitionResult::Transitioned(payment)
            }
            (before, _) => TransitionResult::ConditionFailed(before),
        }
    }

    fn outcome(&self, outcome: shared::cancel::Outcome) -> Option<Outcome> {
        let record = self.lock();
        Some(match outcome {
            Ok(canceled) => Outcome::Canceled {
                item: record.reported(&canceled.payment),
                replayed: canceled.replayed,
            },
            Err(CancelError::NotCancelable(payment)) => {
                Outcome::NotCancelable(record.reported(&payment))
            }
            Err(CancelError::KeyReused(KeyReuse::OtherRequest)) => Outcome::KeyReused,
            Err(CancelError::KeyReused(KeyReuse::Reopened(payment))) => {
                Outcome::Reopened(record.reported(&payment))
            }
            Err(CancelError::NotFound) => Outcome::NotFound,
            Err(CancelError::Undecided { .. }) => return None,
            Err(CancelError::Unavailable) => Outcome::Unavailable,
            Err(
                CancelError::Malformed(_)
                | CancelError::NoSuchEndpoint
                | CancelError::Unauthenticated
                | CancelError::Forbidden
                | CancelError::Internal,
            ) => Outcome::Other,
        })
    }
}

impl Record {
    /// A payment in a response, which must be a state that the payment has had.
    fn reported(&self, payment: &Payment) -> Item {
        let mut states = self.states.iter();
        let state = states.find(|(state, _)| state.as_ref() == Some(payment));
        state.and_then(|(_, item)| *item).unwrap_or(Item {
            status: "a payment that there never was",
            manual: false,
            cancellation: None,
        })
    }

    /// The payment that the store has made of it, every attribute looked at.
    fn item_of(&self, payment: &Payment) -> Item {
        let words = ["pending", "authorized", "canceled", "captured", "failed", "expired"];
        let status = words.into_iter().find(|word| *word == payment.status);
        let cancellation = payment.cancellation.as_ref().map(|made| {
            let owner = self.ids.iter().find(|(id, _)| *id == made.id);
            Cancellation {
                id: owner.map_or(Id::Other, |(_, number)| Id::Of(*number)),
                token: token(&made.token),
                fingerprint: usize::from(made.fingerprint == FINGERPRINTS[1]),
            }
        });
        let item = Item {
            status: status.unwrap_or("a word that is none"),
            manual: payment.manual_cancellation,
            cancellation,
        };
        let id = payment.cancellation.as_ref().map(|made| made.id.as_str());
        let made = payment_of(&item, id.unwrap_or_default());
        if (Payment { earlier_cancellations: payment.earlier_cancellations.clone(), ..made })
            == *payment
        {
            item
        } else {
            Item { status: "a payment that no request makes", ..item }
        }
    }
}

/// The complete payment of `item`.
fn payment_of(item: &Item, id: &str) -> Payment {
    let at = item.cancellation.map(|made| match made.id {
        Id::Of(number) => format!("2024-01-01T00:{:02}:00.000Z", number + 1),
        Id::Other => "2024-01-01T00:00:00.500Z".to_owned(),
    });
    let at = at.map_or(Json::Null, |at| at.as_str().into());
    Payment {
        id: "pay".to_owned(),
        merchant_id: "m".to_owned(),
        status: item.status.to_owned(),
        amount: Json::Number("6540".to_owned()),
        currency: "USD".into(),
        created_at: "2024-01-01T00:00:00.000Z".into(),
        updated_at: at.clone(),
        canceled_at: at,
        manual_cancellation: item.manual,
        details: BTreeMap::new(),
        cancellation: item.cancellation.map(|made| payment::Cancellation {
            id: id.to_owned(),
            token: match made.token {
                Token::Key(key) => format!("key-{key}"),
                Token::RequestId(number) => format!("request {}", request_id(number)),
            },
            fingerprint: FINGERPRINTS[made.fingerprint].to_owned(),
            reason: Some("reason".to_owned()),
        }),
        earlier_cancellations: Vec::new(),
    }
}

fn request_id(number: Number) -> String {
    format!("request-{number}")
}

/// The token in `text`. An invalid one becomes a key that no client has.
fn token(text: &str) -> Token {
    let number = |prefix| text.strip_prefix(prefix)?.parse::<usize>().ok();
    match (number("key-"), number("request request-")) {
        (Some(key), _) => Token::Key(key),
        (None, Some(number)) => Token::RequestId(number),
        (None, None) => Token::Key(usize::MAX),
    }
}

/// When the call began, by our clock: a minute for each.
fn clock(number: Number) -> Timestamp {
    let minutes = i64::try_from(number + 1).expect("few calls");
    Timestamp::from_second(1_704_067_200 + 60 * minutes).expect("a time")
}

static MERCHANT: LazyLock<Merchant> = LazyLock::new(|| merchant(PROVIDER));

/// One call, from its beginning to its outcome. `None` where it was left undecided.
async fn call(world: Arc<World>, number: Number) -> Option<Outcome> {
    let operation = world.lock().calls[number].operation;
    let way = Way { world, number, refused: AtomicBool::new(false) };
    let Operation::Cancel { token, fingerprint: request } = operation else {
        return match way.send(Message::Move(operation), 1).await {
            Ok(TransitionResult::Transitioned(_)) => Some(Outcome::Moved),
            Ok(TransitionResult::ConditionFailed(payment)) => {
                let record = way.world.lock();
                Some(Outcome::Refused(payment.map(|payment| record.reported(&payment))))
            }
            Err(StoreError::Unavailable) => Some(Outcome::Unavailable),
            Err(StoreError::Undecided | StoreError::Internal) => None,
        };
    };
    let key = match token {
        Token::Key(key) => IdempotencyKey::parse(&format!("key-{key}")),
        Token::RequestId(_) => None,
    };
    let operation = Cancel {
        key: PaymentKey::new(PROVIDER, &MERCHANT, "pay".to_owned()),
        statuses: STATUSES,
        required: &[],
        keyed: key.is_some(),
        token: match key {
            Some(key) => idempotency::Token::of_key(key),
            None => idempotency::Token::of_invocation(&request_id(number)),
        },
        fingerprint: fingerprint(request),
        reason: Some("reason".to_owned()),
        now: clock(number),
    };
    let outcome = cancel(&way, operation, &Budget::until(Instant::now())).await;
    let refused = way.refused.load(Ordering::Relaxed);
    way.world.outcome(match outcome {
        Ok(canceled) if refused && way.world.flaw == Some(Flaw::TokenIgnored) => {
            Err(CancelError::NotCancelable(Box::new(canceled.payment)))
        }
        outcome => outcome,
    })
}

/// A call's connection to the store: the SDK's attempts and their faults.
struct Way {
    world: Arc<World>,
    number: Number,
    /// The store has refused the transition.
    refused: AtomicBool,
}

impl Payments for Way {
    async fn transition(
        &self,
        transition: &Transition,
        _: &Budget,
    ) -> Result<TransitionResult, StoreError> {
        let flaw = self.world.flaw;
        if flaw == Some(Flaw::UndecidedWithoutNeed) && self.number == 3 {
            return Err(StoreError::Undecided);
        }
        let message = Message::Transition(Box::new(transition.clone()));
        match self.send(message, ATTEMPTS).await {
            Ok(result) => {
                let refused = matches!(result, TransitionResult::ConditionFailed(_));
                self.refused.store(refused, Ordering::Relaxed);
                Ok(result)
            }
            Err(_) if flaw == Some(Flaw::SilenceIsRefusal) => {
                Ok(TransitionResult::ConditionFailed(None))
            }
            Err(_) if flaw == Some(Flaw::SilenceIsSuccess) => Ok(TransitionResult::Transitioned(
                payment_of(&Item { status: "canceled", manual: false, cancellation: None }, ""),
            )),
            Err(error) => Err(error),
        }
    }
}

impl Way {
    /// Sends a message until there is an outcome, `attempts` times at most.
    async fn send(
        &self,
        message: Message,
        attempts: usize,
    ) -> Result<TransitionResult, StoreError> {
        let Self { world, number, .. } = self;
        let mut message = message;
        let mut lost = false;
        for attempt in 0..attempts {
            if attempt > 0
                && let Message::Transition(transition) = &mut message
            {
                match world.flaw {
                    Some(Flaw::TokenOfTheAttempt) => transition.cancellation.token.push('+'),
                    Some(Flaw::IdOfTheAttempt) => transition.cancellation.id.push('+'),
                    _ => {}
                }
            }
            let fault = world.draw(*number);
            pause().await;
            let result = match fault {
                Some(Fault::RequestLost | Fault::Deadline | Fault::Refused) => None,
                Some(Fault::Late) => {
                    world.hold_back(*number, &message);
                    None
                }
                Some(Fault::ResponseLost) => {
                    drop(world.deliver(*number, &message));
                    None
                }
                Some(Fault::Doubled) => {
                    // Either the second one arrives later and its result is dropped, or it arrives
                    // at once and its result counts. Without a token, as for the other services,
                    // that result would be ambiguous.
                    let first = world.deliver(*number, &message);
                    if attempts == 1 || world.lock().random.bool() {
                        world.hold_back(*number, &message);
                        Some(first)
                    } else {
                        Some(world.deliver(*number, &message))
                    }
                }
                None if world.flaw == Some(Flaw::GetThenPut) => {
                    Some(self.get_then_put(&message).await)
                }
                None => Some(world.deliver(*number, &message)),
            };
            pause().await;
            if let Some(result) = result {
                return Ok(result);
            }
            let earlier = lost && world.flaw != Some(Flaw::LastAttemptDecides);
            lost = earlier || fault != Some(Fault::Refused);
        }
        Err(if lost { StoreError::Undecided } else { StoreError::Unavailable })
    }

    async fn get_then_put(&self, message: &Message) -> TransitionResult {
        let before = self.world.table.payment(PK);
        pause().await;
        if let (Some(payment), Message::Transition(_)) = (before, message)
            && STATUSES.cancelable.contains(&payment.status.as_str())
        {
            self.world.table.put_payment(PK, payment);
        }
        self.world.deliver(self.number, message)
    }
}

/// Lets the others go on.
async fn pause() {
    let mut paused = false;
    poll_fn(|_| if std::mem::replace(&mut paused, true) { Poll::Ready(()) } else { Poll::Pending })
        .await;
}
