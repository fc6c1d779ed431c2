//! Read → cancel → write, as one service that always responds.

mod log;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    borrow::Cow,
    convert::Infallible,
    fmt,
    future::Future,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderValue, Method, Response, header, request::Parts};
use tokio::time::Instant;
use tower_service::Service;
use tracing::{error, warn};
use uuid::Uuid;

pub use self::log::TARGET;
use crate::{
    auth::{Authenticator, Credentials, Merchant},
    budget::Budget,
    cancel::{
        self, Cancel, CancelCommand, CancelError, Outcome, PaymentKey, Payments, SignatureUse,
        Signatures,
    },
    clock::{Clock, SystemClock, Timestamp},
    error::{Fault, FaultKind},
    headers,
    idempotency::{IdempotencyKey, Token},
    json,
    limits::{DEADLINE_MARGIN, MAX_BODY, MAX_PAYMENT_ID, RESPONSE_TIMEOUT},
    provider::{self, Body, Exchange, Provider},
    request::{Invocation, PathParameters, Request},
    route,
};

/// What a deployment decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a found credential is cached, and so how long a revoked one may still work.
    pub credential_ttl: Duration,
    /// Whether keys that are not in [our format](crate::key) are refused without a lookup.
    pub issued_keys_only: bool,
    /// Whether a signature can be used for one payment only. Costs one more write for each cancel
    /// of a provider whose requests are signed.
    pub signature_single_use: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            credential_ttl: Duration::from_secs(60),
            issued_keys_only: false,
            signature_single_use: false,
        }
    }
}

/// All ports that a cancel needs.
pub trait Store: Payments + Credentials + Signatures {}

impl<S: Payments + Credentials + Signatures> Store for S {}

/// The cancel endpoint of the provider `P` over the tables `S`.
///
/// It takes an [`Invocation`], [`PathParameters`] and a [`Fault`] that the event source found from
/// the request's extensions, all optional.
pub struct CancelService<P, S> {
    inner: Arc<Inner<S>>,
    provider: PhantomData<fn() -> P>,
}

struct Inner<S> {
    store: S,
    authenticator: Authenticator,
    signature_single_use: bool,
    clock: Box<dyn Clock>,
    /// Until the first request.
    cold: AtomicBool,
}

impl<P: Provider, S: Store> CancelService<P, S> {
    /// The service over `store`.
    pub fn new(store: S, settings: &Settings) -> Self {
        Self::with_clock(store, settings, SystemClock)
    }

    /// The service over `store`, with this clock.
    pub fn with_clock(store: S, settings: &Settings, clock: impl Clock) -> Self {
        let inner = Inner {
            store,
            authenticator: Authenticator::new(settings.credential_ttl, settings.issued_keys_only),
            signature_single_use: settings.signature_single_use,
            clock: Box::new(clock),
            cold: AtomicBool::new(true),
        };
        Self { inner: Arc::new(inner), provider: PhantomData }
    }
}

impl<P, S> Clone for CancelService<P, S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), provider: PhantomData }
    }
}

impl<P: Provider, S> fmt::Debug for CancelService<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelService").field("provider", &P::NAME).finish_non_exhaustive()
    }
}

/// The boxed future of a response.
pub type ResponseFuture = BoxFuture<'static, Result<Response<String>, Infallible>>;

impl<P: Provider, S: Store> Service<http::Request<Bytes>> for CancelService<P, S> {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Bytes>) -> Self::Future {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move { Ok(inner.respond::<P>(request).await) })
    }
}

impl<S: Store> Inner<S> {
    async fn respond<P: Provider>(&self, request: http::Request<Bytes>) -> Response<String> {
        let (now, began) = (self.clock.now(), Instant::now());
        let (parts, body) = request.into_parts();
        let invocation = parts.extensions.get().cloned().unwrap_or_else(not_invoked);
        let unreadable = parts.extensions.get::<Fault>().is_some();
        if parts.method == Method::GET && parts.uri.path() == "/" && !unreadable {
            // A load balancer's health check. It shows only that this process responds.
            let response = provider::json(200, &serde_json::json!({ "status": "ok" }));
            return with_shared_headers(response, None, &invocation);
        }
        let parameters = parts.extensions.get::<PathParameters>();
        let parameter = parameters.and_then(|all| all.0.get(route::parameter(P::ROUTE)));
        let parameter = parameter.map(String::as_str);
        let payment_id = route::payment_id(P::ROUTE, parts.uri.path(), parameter);
        let is_read = P::BODY != Body::Bytes && body.len() <= MAX_BODY;
        let text = if is_read { json::text(&body) } else { Ok(Cow::Borrowed("")) };
        let id = payment_id.as_deref().unwrap_or_default();
        let request = Request::new(id, &parts.headers, &body, &text, now);
        let budget = Budget::until(began + time_left(now, invocation.deadline));

        let mut call = Call::<P, S> {
            inner: self,
            request: &request,
            invocation: &invocation,
            budget: &budget,
            merchant: None,
            keyed: false,
            provider: PhantomData,
        };
        let outcome = call.outcome(&parts, payment_id.is_some()).await;
        let (merchant, keyed) = (call.merchant, call.keyed);
        let write = |outcome: &Outcome, merchant: Option<&Merchant>| {
            let exchange = Exchange { request: &request, merchant, outcome };
            catch_panic(|| P::write(&exchange))
        };
        // A provider that cannot describe this outcome can still describe a failure; `{}` is for
        // one that cannot do even that.
        let fallback = Err(after_panic(&outcome, keyed));
        let response = write(&outcome, merchant.as_ref())
            .or_else(|()| write(&fallback, None))
            .unwrap_or_else(|()| provider::json(500, &serde_json::json!({})));
        // Without a merchant the id is just something that a caller sent.
        let payment = merchant.as_ref().map(|merchant| (id, merchant.id()));
        let (status, cold) = (response.status(), self.cold.swap(false, Ordering::Relaxed));
        let duration = began.elapsed();
        log::write::<P>(&invocation, payment, &outcome, status, cold, &budget, duration);
        with_shared_headers(response, Some(&outcome), &invocation)
    }
}

/// One request on its way to an outcome.
struct Call<'a, P, S> {
    inner: &'a Inner<S>,
    request: &'a Request<'a>,
    invocation: &'a Invocation,
    budget: &'a Budget,
    /// The caller, once authenticated.
    merchant: Option<Merchant>,
    /// Whether the client can name this request again.
    keyed: bool,
    provider: PhantomData<fn() -> P>,
}

impl<P: Provider, S: Store> Call<'_, P, S> {
    async fn outcome(&mut self, parts: &Parts, on_route: bool) -> Outcome {
        let (inner, request) = (self.inner, self.request);
        check(parts, request, on_route)?;
        let credential =
            catch_panic(|| P::identify(request)).unwrap_or(Err(CancelError::Internal))?;
        let key = request.idempotency_key()?;
        self.keyed = key.is_some();
        check_body::<P>(request)?;
        let lookup = inner.authenticator.authenticate(
            &inner.store,
            P::NAME,
            &credential,
            request.received_at,
            self.budget,
        );
        let lookup = lookup.map(|found| found.map_err(CancelError::from));
        let merchant = guard(self.budget, CancelError::Unavailable, lookup).await?;
        let merchant = self.merchant.insert(merchant).clone();
        let command =
            catch_panic(|| P::read(request, &merchant)).unwrap_or(Err(CancelError::Internal))?;
        self.cancel(&merchant, command, key).await
    }

    async fn cancel(
        &mut self,
        merchant: &Merchant,
        command: CancelCommand,
        header_key: Option<IdempotencyKey>,
    ) -> Outcome {
        let CancelCommand { payment_id, idempotency_key, reason, fingerprint } = command;
        let payment_id = payment_id.unwrap_or_else(|| self.request.payment_id.to_owned());
        if !(1..=MAX_PAYMENT_ID).contains(&payment_id.len())
            || payment_id.chars().any(char::is_control)
        {
            return Err(CancelError::NotFound);
        }
        let signature = merchant.signature();
        let token = match (idempotency_key.or(header_key), signature) {
            (Some(key), _) => Token::of_key(key),
            (None, Some(signature)) => Token::of_signature(&signature.digest()),
            (None, None) => Token::of_invocation(&self.invocation.request_id),
        };
        self.keyed = token != Token::of_invocation(&self.invocation.request_id);
        if let Some(signature) = signature.filter(|_| self.inner.signature_single_use) {
            let now = self.inner.clock.now();
            let used = SignatureUse::new(P::NAME, merchant, signature, &payment_id, now);
            let claim = cancel::claim(&self.inner.store, &used, self.budget);
            let claimed = guard(self.budget, CancelError::Unavailable, claim).await;
            if claimed == Err(CancelError::Unauthenticated) {
                warn!(
                    provider = P::NAME,
                    merchant_id = merchant.id(),
                    payment_id,
                    "a signature that was used for another payment was sent again"
                );
            }
            claimed?;
        }
        let cancel = Cancel {
            key: PaymentKey::new(P::NAME, merchant, payment_id),
            statuses: P::STATUSES,
            required: P::REQUIRED,
            token,
            fingerprint,
            reason,
            keyed: self.keyed,
            now: self.inner.clock.now(),
        };
        let write = cancel::cancel(&self.inner.store, cancel, self.budget);
        let undecided = CancelError::Undecided { keyed: self.keyed };
        guard(self.budget, undecided, write).await
    }
}

/// Everything that can be refused without knowing the provider's credential.
fn check(parts: &Parts, request: &Request<'_>, on_route: bool) -> Result<(), CancelError> {
    if let Some(fault) = parts.extensions.get::<Fault>() {
        return Err(fault.clone().into());
    }
    if !on_route {
        return Err(CancelError::NoSuchEndpoint);
    }
    if parts.method != Method::POST {
        return Err(Fault::new(FaultKind::Method, "method must be POST").into());
    }
    if request.body.len() > MAX_BODY {
        let message = format!("request body is larger than {MAX_BODY} bytes");
        return Err(Fault::new(FaultKind::TooLarge, message).into());
    }
    Ok(headers::within_limits(request.headers)?)
}

/// A body that is there must have its provider's form before any lookup.
fn check_body<P: Provider>(request: &Request<'_>) -> Result<(), Fault> {
    match P::BODY {
        Body::Json | Body::DeclaredJson | Body::Bytes if request.body.is_empty() => Ok(()),
        Body::Json => request.json().map(drop),
        Body::OptionalJson => request.optional_json().map(drop),
        Body::DeclaredJson => request.declared_json().map(drop),
        Body::Bytes => Ok(()),
    }
}

/// For a request without an [`Invocation`], as from another HTTP server.
fn not_invoked() -> Invocation {
    Invocation { request_id: Uuid::new_v4().to_string(), trace_id: None, deadline: None }
}

/// How long the store may take. A deadline in the past is ignored: `cargo lambda watch` sends 1970.
fn time_left(now: Timestamp, deadline: Option<Timestamp>) -> Duration {
    match deadline {
        Some(deadline) if deadline > now => {
            let left = Duration::try_from(deadline.duration_since(now)).unwrap_or_default();
            left.saturating_sub(DEADLINE_MARGIN).min(RESPONSE_TIMEOUT)
        }
        Some(_) | None => RESPONSE_TIMEOUT,
    }
}

/// The store's result within the budget. After silence or a panic it is `unknown`.
async fn guard<T>(
    budget: &Budget,
    unknown: CancelError,
    work: impl Future<Output = Result<T, CancelError>>,
) -> Result<T, CancelError> {
    let work = AssertUnwindSafe(work).catch_unwind();
    match tokio::time::timeout_at(budget.deadline(), work).await {
        Ok(Ok(decided)) => decided,
        Ok(Err(_)) => {
            error!("the store panicked");
            Err(unknown)
        }
        Err(_) => {
            error!("the store did not respond before the deadline");
            Err(unknown)
        }
    }
}

/// A provider's pure function, its panic caught: one bad request must not end the process.
fn catch_panic<T>(function: impl FnOnce() -> T) -> Result<T, ()> {
    catch_unwind(AssertUnwindSafe(function)).map_err(|_| error!("a provider's function panicked"))
}

/// What remains true if a provider cannot describe `outcome`.
fn after_panic(outcome: &Outcome, keyed: bool) -> CancelError {
    match outcome {
        Ok(_) | Err(CancelError::Undecided { .. }) => CancelError::Undecided { keyed },
        Err(CancelError::Unavailable) => CancelError::Unavailable,
        Err(
            CancelError::Malformed(_)
            | CancelError::NoSuchEndpoint
            | CancelError::Unauthenticated
            | CancelError::Forbidden
            | CancelError::NotFound
            | CancelError::NotCancelable(_)
            | CancelError::KeyReused(_)
            | CancelError::Internal,
        ) => CancelError::Internal,
    }
}

fn with_shared_headers(
    mut response: Response<String>,
    outcome: Option<&Outcome>,
    invocation: &Invocation,
) -> Response<String> {
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(&invocation.request_id) {
        headers.insert("x-request-id", id);
    }
    match outcome {
        Some(Ok(canceled)) if canceled.replayed => {
            headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
        }
        Some(Err(CancelError::Undecided { .. } | CancelError::Unavailable)) => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Some(Err(CancelError::Malformed(Fault { kind: FaultKind::Method, .. }))) => {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        Some(_) | None => {}
    }
    response
}
