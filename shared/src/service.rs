//! Read → cancel → write, as one service that always answers.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::Instant;
use tower_service::Service;
use tracing::{error, info, warn};

use crate::{
    auth::{Keyring, Merchant},
    cancel::{self, CancelError, Fault, FaultKind, IdempotencyKey, Outcome},
    clock::{Clock, SystemClock, Timestamp},
    provider::{Body, Provider, Reply},
    request::{Incoming, MAX_BODY, Request},
    store::{
        Signatures, Store,
        tally::{self, Tally},
    },
};

/// The longest a caller waits for an answer, whatever the Lambda deadline: VTEX's test suite wants one within 5 seconds.
pub const LONGEST: Duration = Duration::from_millis(4500);

/// The target of the one log event that every request ends with. Below `shared`, so that `RUST_LOG=shared=info` has it.
pub const REQUEST: &str = "shared::request";

/// How long before the Lambda deadline the answer is made: it must have left 100 ms before, and writing it takes time too, on the smallest memory
/// size a tenth of a processor.
const MARGIN: Duration = Duration::from_millis(200);

/// A payment id longer than this is nobody's: a table key has at most 2,048 bytes.
const LONGEST_PAYMENT_ID: usize = 255;

/// What a deployment decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a found credential is remembered, and so how long a revoked one may still work.
    pub credential_ttl: Duration,
    /// Whether keys that are not [in our form](crate::key) are refused without a look-up.
    pub issued_keys_only: bool,
    /// Whether a signature serves one payment only. Costs one more write for each cancel of a provider whose requests are signed.
    pub signature_single_use: bool,
    /// Whether a function's process connects to DynamoDB before it asks for its first request.
    pub prime_connection: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            credential_ttl: Duration::from_secs(60),
            issued_keys_only: false,
            signature_single_use: false,
            prime_connection: true,
        }
    }
}

impl From<Duration> for Settings {
    /// The defaults, but for the time a credential is remembered.
    fn from(credential_ttl: Duration) -> Self {
        Self {
            credential_ttl,
            ..Self::default()
        }
    }
}

/// The cancel endpoint of the provider `P` over the tables `S`.
pub struct CancelService<P, S> {
    parts: Arc<Parts<S>>,
    provider: PhantomData<fn() -> P>,
}

struct Parts<S> {
    store: S,
    keyring: Keyring,
    signature_single_use: bool,
    clock: Box<dyn Clock>,
    /// Until the first request.
    cold: AtomicBool,
}

impl<P: Provider, S: Store> CancelService<P, S> {
    /// The service over `store`.
    pub fn new(store: S, settings: impl Into<Settings>) -> Self {
        Self::with_clock(store, settings, SystemClock)
    }

    /// The same, with its own idea of time.
    pub fn with_clock(store: S, settings: impl Into<Settings>, clock: impl Clock) -> Self {
        let Settings {
            credential_ttl,
            issued_keys_only,
            signature_single_use,
            prime_connection: _,
        } = settings.into();
        let parts = Parts {
            store,
            keyring: Keyring::new(credential_ttl).issued_only(issued_keys_only),
            signature_single_use,
            clock: Box::new(clock),
            cold: AtomicBool::new(true),
        };
        Self {
            parts: Arc::new(parts),
            provider: PhantomData,
        }
    }
}

impl<P, S> Clone for CancelService<P, S> {
    fn clone(&self) -> Self {
        Self {
            parts: Arc::clone(&self.parts),
            provider: PhantomData,
        }
    }
}

impl<P: Provider, S> fmt::Debug for CancelService<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelService")
            .field("provider", &P::NAME)
            .finish_non_exhaustive()
    }
}

impl<P: Provider, S: Store> Service<Incoming> for CancelService<P, S> {
    type Response = Reply;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, incoming: Incoming) -> Self::Future {
        let parts = Arc::clone(&self.parts);
        Box::pin(async move { Ok(parts.answer::<P>(&incoming).await) })
    }
}

impl<S: Store> Parts<S> {
    async fn answer<P: Provider>(&self, incoming: &Incoming) -> Reply {
        let (now, began) = (self.clock.now(), Instant::now());
        let until = began + budget(now, incoming.deadline);
        let request = Request::new(incoming, P::ROUTE, now);

        let decided = self.decide::<P>(incoming, &request, until);
        let ((outcome, merchant), store) = tally::counted(decided).await;
        let reply = guarded(|| P::write(&outcome, &request, merchant.as_ref()))
            // A provider that cannot word this outcome can still word its own failure; `{}` is for one that cannot even that.
            .or_else(|()| guarded(|| P::write(&Err(CancelError::Internal), &request, None)))
            .unwrap_or_else(|()| Reply::json(500, &serde_json::json!({})));
        Told {
            provider: P::NAME,
            incoming,
            // Without a merchant the id is just something a stranger typed.
            payment: merchant
                .as_ref()
                .map(|merchant| (request.payment_id.as_str(), merchant.id())),
            outcome: &outcome,
            status: reply.status,
            cold_start: self.cold.swap(false, Ordering::Relaxed),
            store,
            took: began.elapsed(),
        }
        .log();
        with_shared_headers(reply, &outcome, incoming)
    }

    /// The outcome, and the merchant where the request got as far as having one.
    async fn decide<P: Provider>(
        &self,
        incoming: &Incoming,
        request: &Request<'_>,
        until: Instant,
    ) -> (Outcome, Option<Merchant>) {
        match self.authenticate::<P>(incoming, request, until).await {
            Ok((merchant, key)) => {
                let cancel = self.cancel::<P>(incoming, request, &merchant, key, until);
                (cancel.await, Some(merchant))
            }
            Err(refused) => (Err(refused), None),
        }
    }

    /// Who asks, and the key they name the request by. Everything that can be refused for free is refused before the look-up.
    async fn authenticate<P: Provider>(
        &self,
        incoming: &Incoming,
        request: &Request<'_>,
        until: Instant,
    ) -> Result<(Merchant, Option<IdempotencyKey>), CancelError> {
        if let Some(fault) = &incoming.fault {
            return Err(fault.clone().into());
        }
        if incoming.method != "POST" {
            return Err(Fault::new(FaultKind::Method, "method must be POST").into());
        }
        if incoming.body.len() > MAX_BODY {
            let message = format!("request body is larger than {MAX_BODY} bytes");
            return Err(Fault::new(FaultKind::TooLarge, message).into());
        }
        incoming.headers.within_limits()?;
        if !request.on_route {
            return Err(CancelError::NotFound);
        }
        let credential = guarded(|| P::identify(request)).unwrap_or(Err(CancelError::Internal))?;
        let key = request.idempotency_key()?;
        if !request.body.is_empty() {
            match P::BODY {
                Body::Json => request.json().map(drop)?,
                Body::DeclaredJson => request.declared_json().map(drop)?,
                Body::Bytes => {}
            }
        }
        let look_up = self.keyring.authenticate(
            &self.store,
            P::NAME,
            &credential,
            request.received_at,
            until,
        );
        Ok((within(until, look_up).await?, key))
    }

    async fn cancel<P: Provider>(
        &self,
        incoming: &Incoming,
        request: &Request<'_>,
        merchant: &Merchant,
        key: Option<IdempotencyKey>,
        until: Instant,
    ) -> Outcome {
        let mut command =
            guarded(|| P::read(request, merchant)).unwrap_or(Err(CancelError::Internal))?;
        if !(1..=LONGEST_PAYMENT_ID).contains(&command.payment_id.len())
            || command.payment_id.chars().any(char::is_control)
        {
            return Err(CancelError::NotFound);
        }
        command.idempotency_key = command.idempotency_key.or(key);
        self.claim::<P>(merchant, &command.payment_id, until)
            .await?;
        let asked = cancel::Cancel {
            merchant,
            provider: P::NAME,
            statuses: P::STATUSES,
            command,
            request_id: &incoming.request_id,
            now: self.clock.now(),
            until,
        };
        let write = cancel::cancel(&self.store, asked);
        within(until, write).await
    }
}

impl<S: Signatures> Parts<S> {
    /// Keeps a signature that canceled one payment from another, where that is asked for and the request is signed at all.
    async fn claim<P: Provider>(
        &self,
        merchant: &Merchant,
        payment_id: &str,
        until: Instant,
    ) -> Result<(), CancelError> {
        let Some(signature) = merchant.signature().filter(|_| self.signature_single_use) else {
            return Ok(());
        };
        let now = self.clock.now();
        let claim = cancel::Claim::new(P::NAME, merchant, signature, payment_id, now, until);
        let claimed = within(until, cancel::claim(&self.store, &claim)).await;
        if claimed == Err(CancelError::Unauthenticated) {
            let (provider, merchant_id) = (P::NAME, merchant.id());
            warn!(
                provider,
                merchant_id, payment_id, "a signature that served another payment was sent again"
            );
        }
        claimed
    }
}

/// How long the store may take. A deadline that has passed on arrival is none: `cargo lambda watch` sends 1970.
fn budget(now: Timestamp, deadline: Option<Timestamp>) -> Duration {
    match deadline {
        Some(deadline) if deadline > now => {
            let left = Duration::try_from(deadline.duration_since(now)).unwrap_or_default();
            left.saturating_sub(MARGIN).min(LONGEST)
        }
        Some(_) | None => LONGEST,
    }
}

/// What the store says in time. Silence, and a panic on the way, leave the outcome open.
async fn within<T>(
    until: Instant,
    work: impl Future<Output = Result<T, CancelError>>,
) -> Result<T, CancelError> {
    match tokio::time::timeout_at(until, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(decided)) => decided,
        Ok(Err(_)) => {
            error!("panicked while the store was asked");
            Err(CancelError::Undecided)
        }
        Err(_) => {
            error!("no answer from the store before the deadline");
            Err(CancelError::Undecided)
        }
    }
}

/// A provider's pure function, its panic caught: one bad request must not end the process.
fn guarded<T>(function: impl FnOnce() -> T) -> Result<T, ()> {
    catch_unwind(AssertUnwindSafe(function)).map_err(|_| error!("a provider's function panicked"))
}

fn with_shared_headers(mut reply: Reply, outcome: &Outcome, incoming: &Incoming) -> Reply {
    let mut header = |name, value: &str| reply.headers.push((name, value.to_owned()));
    header("content-type", "application/json");
    header("cache-control", "no-store");
    header("x-request-id", &incoming.request_id);
    match outcome {
        Ok(canceled) if canceled.replayed => header("idempotent-replayed", "true"),
        Err(CancelError::Undecided) => header("retry-after", "1"),
        Err(CancelError::Malformed(Fault {
            kind: FaultKind::Method,
            ..
        })) => header("allow", "POST"),
        Ok(_) | Err(_) => {}
    }
    reply
}

/// What the log is told of a request. Neither the body, the reason, a header nor anything of the payment's details is in it.
struct Told<'a> {
    provider: &'static str,
    incoming: &'a Incoming,
    /// Its id and its merchant's.
    payment: Option<(&'a str, &'a str)>,
    outcome: &'a Outcome,
    status: u16,
    cold_start: bool,
    store: Tally,
    took: Duration,
}

impl Told<'_> {
    /// One event a request.
    fn log(&self) {
        let (outcome, replayed) = match self.outcome {
            Ok(canceled) => ("canceled", canceled.replayed),
            Err(error) => (error.word(), false),
        };
        let microseconds = u32::try_from(self.took.as_micros()).unwrap_or(u32::MAX);
        info!(
            target: REQUEST,
            provider = self.provider,
            outcome,
            status = self.status,
            payment_id = self.payment.map(|(id, _)| id),
            merchant_id = self.payment.map(|(_, id)| id),
            replayed,
            duration_ms = f64::from(microseconds) / 1000.0,
            store_attempts = self.store.attempts,
            store_retries = self.store.retries,
            cold_start = self.cold_start,
            request_id = self.incoming.request_id,
            trace_id = self.incoming.trace_id,
            requests = 1,
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use hmac::{Hmac, KeyInit, Mac};
    use sha2::{Digest, Sha256};

    use serde_json::{Map, json};

    use super::*;
    use crate::{
        auth::{Credential, CredentialRecord},
        cancel::{CancelCommand, Claim, Fingerprint, Transition},
        headers::Headers,
        payment::Payment,
        provider::Statuses,
        store::{Credentials, Payments, StoreError, Verdict, memory::MemoryStore},
    };

    /// A provider whose answer is the outcome's word, and which panics where a header says so.
    struct Toy;

    fn panic_where_asked(request: &Request<'_>, place: &str) {
        let asked = request.headers.single("panic").ok().flatten();
        assert!(asked != Some(place), "asked to panic");
    }

    impl Provider for Toy {
        const NAME: &'static str = "toy";
        const ROUTE: &'static str = "/payments/{id}/cancel";
        const STATUSES: Statuses = Statuses {
            cancelable: &["open"],
            canceled: "canceled",
        };
        const BODY: Body = Body::Json;

        fn identify<'r>(request: &'r Request<'_>) -> Result<Credential<'r>, CancelError> {
            panic_where_asked(request, "identify");
            let id = request
                .headers
                .credential("key")?
                .ok_or(CancelError::Unauthenticated)?;
            let tag = request.headers.single("tag")?.and_then(|tag| {
                let bytes = hex::decode(tag).ok()?;
                bytes.try_into().ok()
            });
            Ok(match tag {
                Some(tag) => Credential::signature(id, [b"", b"signed", b""], tag),
                None => Credential::public(id),
            })
        }

        fn read(request: &Request<'_>, _: &Merchant) -> Result<CancelCommand, CancelError> {
            panic_where_asked(request, "read");
            Ok(CancelCommand {
                payment_id: request.payment_id.clone(),
                idempotency_key: None,
                reason: None,
                fingerprint: Fingerprint::of(&[]),
            })
        }

        fn write(outcome: &Outcome, request: &Request<'_>, _: Option<&Merchant>) -> Reply {
            let word = outcome
                .as_ref()
                .map_or_else(CancelError::word, |_| "canceled");
            if word == "canceled" {
                panic_where_asked(request, "write");
            }
            panic_where_asked(request, "always");
            Reply::json(200, &word)
        }
    }

    /// A store that counts, and answers late, never, or with a panic.
    #[derive(Default)]
    struct Slow {
        memory: MemoryStore,
        takes: Option<Duration>,
        panics: bool,
        asked: AtomicUsize,
        claims: Mutex<Vec<Claim>>,
        loses_claims: bool,
    }

    impl Payments for Slow {
        async fn transition(&self, wanted: &Transition) -> Result<Verdict, StoreError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            assert!(!self.panics, "a fault in the SDK");
            if let Some(takes) = self.takes {
                tokio::time::sleep(takes).await;
            }
            self.memory.transition(wanted).await
        }
    }

    impl Signatures for Slow {
        async fn claim(&self, wanted: &Claim) -> Result<bool, StoreError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.claims.lock().unwrap().push(wanted.clone());
            let claimed = self.memory.claim(wanted).await;
            if self.loses_claims {
                Err(StoreError::Undecided)
            } else {
                claimed
            }
        }
    }

    impl Credentials for Slow {
        async fn find(
            &self,
            pk: &str,
            until: Instant,
        ) -> Result<Option<CredentialRecord>, StoreError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.memory.find(pk, until).await
        }
    }

    fn store() -> Slow {
        let store = Slow::default();
        let record = CredentialRecord {
            merchant_id: "m".into(),
            active: true,
            ..CredentialRecord::default()
        };
        store.memory.put_credential("toy#k", record);
        let payment = Payment {
            id: "1".into(),
            merchant_id: "m".into(),
            status: "open".into(),
            amount: 1,
            currency: "USD".into(),
            created_at: "2024-01-01T00:00:00.000Z".into(),
            updated_at: None,
            canceled_at: None,
            manual_cancellation: false,
            details: Map::new(),
            cancellation: None,
        };
        store.memory.put_payment("toy#m#1", payment);
        store
    }

    fn incoming(headers: &[(&str, &str)]) -> Incoming {
        Incoming {
            request_id: "r".into(),
            method: "POST".into(),
            path: "/payments/1/cancel".into(),
            headers: headers.iter().copied().collect::<Headers>(),
            ..Incoming::default()
        }
    }

    async fn ask(store: Slow, incoming: Incoming) -> (String, usize) {
        let mut service = CancelService::<Toy, _>::new(store, Duration::from_secs(60));
        let Ok(reply) = service.call(incoming).await;
        (
            reply.body.trim_matches('"').to_owned(),
            service.parts.store.asked.load(Ordering::Relaxed),
        )
    }

    /// The service over this store, with or without the guard, for two merchants with one signing secret.
    fn signed(store: Slow, signature_single_use: bool) -> CancelService<Toy, Slow> {
        for (key, merchant_id) in [("k", "m"), ("twin", "m2")] {
            let record = CredentialRecord {
                merchant_id: merchant_id.into(),
                signing_secret: Some("secret".into()),
                active: true,
                ..CredentialRecord::default()
            };
            store.memory.put_credential(&format!("toy#{key}"), record);
        }
        let payment = store.memory.payment("toy#m#1").unwrap();
        for pk in ["toy#m#2", "toy#m2#1", "toy#m2#2"] {
            store.memory.put_payment(pk, payment.clone());
        }
        let settings = Settings {
            signature_single_use,
            ..Settings::default()
        };
        CancelService::new(store, settings)
    }

    /// The answer to the merchant of `key` who asks for that payment with the one signature.
    async fn ask_signed(service: &CancelService<Toy, Slow>, key: &str, payment: &str) -> String {
        let asked = Incoming {
            path: format!("/payments/{payment}/cancel"),
            ..incoming(&[("key", key), ("tag", &tag())])
        };
        let Ok(reply) = service.clone().call(asked).await;
        reply.body.trim_matches('"').to_owned()
    }

    fn tag() -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"secret").unwrap();
        mac.update(b"signed");
        hex::encode(mac.finalize().into_bytes())
    }

    #[tokio::test]
    async fn a_signature_serves_as_many_payments_as_it_fits_unless_guarded() {
        let service = signed(store(), false);
        assert_eq!(ask_signed(&service, "k", "1").await, "canceled");
        assert_eq!(ask_signed(&service, "k", "2").await, "canceled");
        assert!(service.parts.store.claims.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_guarded_signature_serves_the_first_payment_of_its_merchant() {
        let service = signed(store(), true);
        assert_eq!(ask_signed(&service, "k", "1").await, "canceled");
        assert_eq!(ask_signed(&service, "k", "2").await, "unauthenticated");
        assert_eq!(ask_signed(&service, "k", "1").await, "canceled");
        // Who has the same secret is another merchant for all that.
        assert_eq!(ask_signed(&service, "twin", "2").await, "canceled");
        assert_eq!(ask_signed(&service, "twin", "1").await, "unauthenticated");
        let memory = &service.parts.store.memory;
        let status = |pk| memory.payment(pk).unwrap().status;
        assert_eq!(
            ["toy#m#1", "toy#m#2", "toy#m2#1", "toy#m2#2"].map(status),
            ["canceled", "open", "open", "canceled"]
        );
    }

    #[tokio::test]
    async fn a_claim_names_the_signature_and_does_not_tell_it_and_outlasts_its_window() {
        let service = signed(store(), true);
        let now = Timestamp::now().as_second();
        ask_signed(&service, "k", "1").await;
        let claims = service.parts.store.claims.lock().unwrap();
        let digest = hex::encode(Sha256::digest(hex::decode(tag()).unwrap()));
        assert_eq!(claims[0].pk, format!("toy.signature#m#{digest}"));
        assert_eq!(claims[0].payment_id, "1");
        // One2Pays' window ends ten minutes after the earliest use.
        assert!(claims[0].expires_at > now + 3600);
    }

    #[tokio::test]
    async fn an_unsigned_request_claims_nothing_where_signatures_are_guarded() {
        let settings = Settings {
            signature_single_use: true,
            ..Settings::default()
        };
        let mut service = CancelService::<Toy, _>::new(store(), settings);
        let Ok(reply) = service.call(incoming(&[("key", "k")])).await;
        assert_eq!(reply.body, json!("canceled").to_string());
        assert!(service.parts.store.claims.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_lost_claim_is_undecided_and_the_payment_is_not_touched() {
        let lossy = Slow {
            loses_claims: true,
            ..store()
        };
        let service = signed(lossy, true);
        assert_eq!(ask_signed(&service, "k", "1").await, "undecided");
        let payment = service.parts.store.memory.payment("toy#m#1");
        assert_eq!(payment.unwrap().status, "open");
    }

    #[tokio::test]
    async fn what_can_be_refused_for_free_is_refused_before_the_store_is_asked() {
        let key = ("key", "k");
        let large = Incoming {
            body: vec![b' '; MAX_BODY + 1],
            ..incoming(&[key])
        };
        let broken = Incoming {
            fault: Some(Fault::new(FaultKind::Event, "no event")),
            ..incoming(&[key])
        };
        for (refused, word) in [
            (incoming(&[]), "unauthenticated"),
            (incoming(&[key, ("key", "l")]), "malformed"),
            (incoming(&[key, ("idempotency-key", "a b")]), "malformed"),
            (
                Incoming {
                    method: "GET".into(),
                    ..incoming(&[key])
                },
                "malformed",
            ),
            (
                Incoming {
                    path: "/payments/1".into(),
                    ..incoming(&[key])
                },
                "not_found",
            ),
            (
                Incoming {
                    body: b"{".to_vec(),
                    ..incoming(&[key])
                },
                "malformed",
            ),
            (
                Incoming {
                    body: br#"{"a":1,"a":2}"#.to_vec(),
                    ..incoming(&[key])
                },
                "malformed",
            ),
            (large, "malformed"),
            (broken, "malformed"),
        ] {
            assert_eq!(
                ask(store(), refused.clone()).await,
                (word.to_owned(), 0),
                "{refused:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_payment_id_that_no_key_can_hold_is_not_asked_for() {
        for id in [
            String::new(),
            "x".repeat(256),
            "a%00b".into(),
            "a%0Ab".into(),
        ] {
            let path = format!("/payments/{id}/cancel");
            let refused = Incoming {
                path,
                ..incoming(&[("key", "k")])
            };
            assert_eq!(
                ask(store(), refused).await,
                ("not_found".to_owned(), 1),
                "{id}"
            );
        }
    }

    #[tokio::test]
    async fn a_panic_ends_in_the_providers_own_words() {
        for (place, word) in [
            ("identify", "internal"),
            ("read", "internal"),
            ("write", "internal"),
            ("always", "{}"),
        ] {
            let (body, _) = ask(store(), incoming(&[("key", "k"), ("panic", place)])).await;
            assert_eq!(body, word, "{place}");
        }
        // In the store nobody knows how far the write came.
        let panicking = Slow {
            panics: true,
            ..store()
        };
        assert_eq!(
            ask(panicking, incoming(&[("key", "k")])).await.0,
            "undecided"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_store_is_undecided_before_the_deadline() {
        for allowed in [1_000, 3_000, 60_000] {
            let slow = Slow {
                takes: Some(Duration::from_secs(3600)),
                ..store()
            };
            let deadline = Timestamp::now()
                .checked_add(Duration::from_millis(allowed))
                .unwrap();
            let began = Instant::now();
            let late = Incoming {
                deadline: Some(deadline),
                ..incoming(&[("key", "k")])
            };
            assert_eq!(ask(slow, late).await.0, "undecided");
            assert!(
                began.elapsed() <= Duration::from_millis(allowed - 100).min(LONGEST),
                "{:?}",
                began.elapsed()
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_has_passed_is_none() {
        let slow = Slow {
            takes: Some(Duration::from_secs(4)),
            ..store()
        };
        let watched = Incoming {
            deadline: Some(Timestamp::UNIX_EPOCH),
            ..incoming(&[("key", "k")])
        };
        assert_eq!(ask(slow, watched).await.0, "canceled");
    }

    #[tokio::test]
    async fn every_answer_has_the_shared_headers() {
        let mut service = CancelService::<Toy, _>::new(store(), Duration::from_secs(60));
        let Ok(reply) = service.call(incoming(&[("key", "k")])).await;
        let header = |name, value: &str| (name, value.to_owned());
        assert_eq!(
            reply.headers,
            [
                header("content-type", "application/json"),
                header("cache-control", "no-store"),
                header("x-request-id", "r")
            ]
        );
        assert_eq!(reply.body, json!("canceled").to_string());
        let Ok(refused) = service
            .call(Incoming {
                method: "GET".into(),
                ..incoming(&[])
            })
            .await;
        assert!(refused.headers.contains(&header("allow", "POST")));
    }
}
