//! Read → cancel → write, as one service that always answers.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::FutureExt;
use tower_service::Service;
use tracing::{error, info};

use crate::{
    auth::{Keyring, Merchant},
    cancel::{self, CancelError, Fault, FaultKind, Outcome},
    clock::{Clock, SystemClock, Timestamp},
    provider::{Body, Provider, Reply},
    request::{Incoming, MAX_BODY, Request},
    store::{Credentials, Payments},
};

/// The longest a caller waits for an answer, whatever the Lambda deadline: VTEX's test suite wants one within 5 seconds.
pub const LONGEST: Duration = Duration::from_millis(4500);

/// How long before the Lambda deadline the answer is made: it must have left 100 ms before, and writing it takes time too.
const MARGIN: Duration = Duration::from_millis(150);

/// A payment id longer than this is nobody's: a table key has at most 2,048 bytes.
const LONGEST_PAYMENT_ID: usize = 255;

/// The cancel endpoint of the provider `P` over the tables `S`.
pub struct CancelService<P, S> {
    parts: Arc<Parts<S>>,
    provider: PhantomData<fn() -> P>,
}

struct Parts<S> {
    store: S,
    keyring: Keyring,
    clock: Box<dyn Clock>,
}

impl<P: Provider, S: Payments + Credentials> CancelService<P, S> {
    /// The service over `store`, with a found credential remembered for `credential_ttl`.
    pub fn new(store: S, credential_ttl: Duration) -> Self {
        Self::with_clock(store, credential_ttl, SystemClock)
    }

    /// The same, with its own idea of time.
    pub fn with_clock(store: S, credential_ttl: Duration, clock: impl Clock) -> Self {
        let parts = Parts {
            store,
            keyring: Keyring::new(credential_ttl),
            clock: Box::new(clock),
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

impl<P: Provider, S: Payments + Credentials> Service<Incoming> for CancelService<P, S> {
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

impl<S: Payments + Credentials> Parts<S> {
    async fn answer<P: Provider>(&self, incoming: &Incoming) -> Reply {
        let now = self.clock.now();
        let until = tokio::time::Instant::now() + budget(now, incoming.deadline);
        let request = Request::new(incoming, P::ROUTE, now);

        let (outcome, merchant) = match self.authenticate::<P>(incoming, &request, until).await {
            Ok(merchant) => (
                self.cancel::<P>(incoming, &request, &merchant, until).await,
                Some(merchant),
            ),
            Err(refused) => (Err(refused), None),
        };
        let reply = guarded(|| P::write(&outcome, &request, merchant.as_ref()))
            // A provider that cannot word this outcome can still word its own failure; `{}` is for one that cannot even that.
            .or_else(|()| guarded(|| P::write(&Err(CancelError::Internal), &request, None)))
            .unwrap_or_else(|()| Reply::json(500, &serde_json::json!({})));
        log::<P>(incoming, &request, &outcome, merchant.as_ref(), &reply);
        with_shared_headers(reply, &outcome, incoming)
    }

    /// Everything that can be refused for free is refused before the look-up.
    async fn authenticate<P: Provider>(
        &self,
        incoming: &Incoming,
        request: &Request<'_>,
        until: tokio::time::Instant,
    ) -> Result<Merchant, CancelError> {
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
        if request.payment_id.is_empty() {
            return Err(CancelError::NotFound);
        }
        let credential = guarded(|| P::identify(request)).unwrap_or(Err(CancelError::Internal))?;
        request.idempotency_key()?;
        if P::BODY == Body::Json && !request.body.is_empty() {
            request.json().map_err(Clone::clone)?;
        }
        let look_up =
            self.keyring
                .authenticate(&self.store, P::NAME, &credential, request.received_at);
        within(until, look_up).await
    }

    async fn cancel<P: Provider>(
        &self,
        incoming: &Incoming,
        request: &Request<'_>,
        merchant: &Merchant,
        until: tokio::time::Instant,
    ) -> Outcome {
        let mut command =
            guarded(|| P::read(request, merchant)).unwrap_or(Err(CancelError::Internal))?;
        if command.payment_id.len() > LONGEST_PAYMENT_ID
            || command.payment_id.chars().any(char::is_control)
        {
            return Err(CancelError::NotFound);
        }
        if command.idempotency_key.is_none() {
            command.idempotency_key = request.idempotency_key()?;
        }
        let now = self.clock.now();
        let write = cancel::cancel(
            &self.store,
            merchant,
            P::NAME,
            P::STATUSES,
            command,
            &incoming.request_id,
            now,
        );
        within(until, write).await
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
    until: tokio::time::Instant,
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

/// One line a request. Neither the body, the reason, a header nor anything of the payment's details is in it.
fn log<P: Provider>(
    incoming: &Incoming,
    request: &Request<'_>,
    outcome: &Outcome,
    merchant: Option<&Merchant>,
    reply: &Reply,
) {
    let (word, replayed) = match outcome {
        Ok(canceled) => ("canceled", canceled.replayed),
        Err(error) => (error.word(), false),
    };
    info!(
        provider = P::NAME,
        outcome = word,
        status = reply.status,
        request_id = incoming.request_id,
        // Without a merchant the id is just something a stranger typed.
        payment_id = merchant.map(|_| request.payment_id.as_str()),
        merchant_id = merchant.map(Merchant::id),
        replayed,
        "cancel"
    );
}
