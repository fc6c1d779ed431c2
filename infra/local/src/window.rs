//! The page before the endpoints. It reads the payments, shows how to cancel each, and leaves the
//! request to the browser, which calls the same URLs as every other client.
//!
//! It is for this machine alone: see [`guard`](crate::guard).

use std::{convert::Infallible, sync::Arc, time::Instant};

use anyhow::Result;
use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::{self, Next},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{MethodRouter, get, post},
};
use futures_util::{Stream, StreamExt};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::clock::Timestamp;

use crate::{
    data::{NewPayment, Tables},
    endpoint::{Endpoint, text},
    example::Draft,
    guard::{Refusal, header, loopback_host, same_origin},
    interposer::{Interposer, Lose},
    record::{Exchange, Record, milliseconds, outcome},
    serve, terminal,
};

/// Nothing but the page's own files and URLs, and no frame around it in which a click could be led
/// astray.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'";

/// The page's files.
const FILES: [(&str, &str, &str); 9] = [
    ("/", "text/html", include_str!("../window/index.html")),
    ("/window/style.css", "text/css", include_str!("../window/style.css")),
    ("/window/icon.svg", "image/svg+xml", include_str!("../window/icon.svg")),
    ("/window/main.js", JAVASCRIPT, include_str!("../window/main.js")),
    ("/window/stack.js", JAVASCRIPT, include_str!("../window/stack.js")),
    ("/window/text.js", JAVASCRIPT, include_str!("../window/text.js")),
    ("/window/payments.js", JAVASCRIPT, include_str!("../window/payments.js")),
    ("/window/requests.js", JAVASCRIPT, include_str!("../window/requests.js")),
    ("/window/detail.js", JAVASCRIPT, include_str!("../window/detail.js")),
];
const JAVASCRIPT: &str = "text/javascript";

/// What the page reads.
pub(crate) struct Window {
    /// Where the tables are.
    pub(crate) dynamodb: String,
    /// The tables.
    pub(crate) tables: Tables,
    /// The endpoints.
    pub(crate) endpoints: Arc<[Endpoint]>,
    /// In front of the tables, where they are the stack's own, so that it may change what is in
    /// them.
    pub(crate) interposer: Option<Arc<Interposer>>,
    /// The last requests.
    pub(crate) record: Arc<Record>,
    /// Whether each request gets a line on standard output.
    pub(crate) lines: bool,
}

impl Window {
    fn endpoint(&self, provider: &str) -> Result<&Endpoint, Refusal> {
        let mut endpoints = self.endpoints.iter();
        endpoints
            .find(|endpoint| endpoint.name == provider)
            .ok_or_else(|| Refusal(StatusCode::NOT_FOUND, format!("no provider {provider}")))
    }

    fn own(&self) -> Result<&Arc<Interposer>, Refusal> {
        self.interposer.as_ref().ok_or_else(|| {
            let message =
                "only with the embedded DynamoDB: in another one the stack changes nothing";
            Refusal(StatusCode::FORBIDDEN, message.to_owned())
        })
    }

    /// A header as it may be kept: credentials only where they are the published ones.
    fn keepable(&self, name: &str, value: &str) -> bool {
        let known = self.endpoints.iter().map(|endpoint| &endpoint.demo.cancel);
        let secret = |kept: &String| kept.eq_ignore_ascii_case(name);
        let is_secret = ["authorization", "cookie"].contains(&name)
            || known.clone().any(|cancel| cancel.credential.iter().any(secret));
        !is_secret
            || known
                .flat_map(|cancel| &cancel.headers)
                .filter_map(|line| line.split_once(": "))
                .any(|(known, published)| known.eq_ignore_ascii_case(name) && published == value)
    }
}

/// The endpoints, with the page beside them.
pub(crate) fn router(window: Window) -> Router {
    let window = Arc::new(window);
    let page = FILES
        .into_iter()
        .fold(Router::new(), |router, (path, media_type, content)| {
            router.route(path, file(media_type, content).fallback(unknown))
        })
        .route("/window/payments", get(payments).post(add))
        .route("/window/requests", get(requests))
        .route("/window/prepare", post(prepare))
        .route("/window/status", post(move_status))
        .route("/window/lose", post(lose))
        .route("/window/reset", post(reset))
        .layer(middleware::from_fn(shut_in))
        .fallback(unknown)
        .with_state(Arc::clone(&window));
    let endpoints = window.endpoints.iter();
    endpoints
        .fold(page, |router, endpoint| {
            // The path is matched as it came, percent-encoded, so any payment id reaches its
            // provider. A trailing slash is tolerated, as on Lambda.
            router
                .route(endpoint.route, endpoint.handler.clone())
                .route(&format!("{}/", endpoint.route), endpoint.handler.clone())
        })
        .layer(middleware::from_fn(refuse_other_origins))
        .layer(middleware::from_fn_with_state(window, record))
}

fn file(media_type: &'static str, content: &'static str) -> MethodRouter<Arc<Window>> {
    let media_type = HeaderValue::from_str(&format!("{media_type}; charset=utf-8"));
    let media_type = media_type.unwrap_or(HeaderValue::from_static("text/plain"));
    get(async move || ([(CONTENT_TYPE, media_type)], content))
}

/// A path that is neither a page nor an endpoint gets the list of endpoints.
async fn unknown(State(window): State<Arc<Window>>, method: Method, uri: Uri) -> Response {
    let routes: Vec<_> =
        window.endpoints.iter().map(|endpoint| format!("POST {}", endpoint.route)).collect();
    let message = format!("no endpoint at {method} {}", uri.path());
    // Hyperswitch's Node SDK (2.0.0) takes every body without an `error` for a success.
    let error = json!({ "message": message });
    let body = Json(json!({ "error": error, "message": message, "endpoints": routes }));
    (StatusCode::NOT_FOUND, body).into_response()
}

/// The demo merchant's payments: in a store of the stack's own all of them, new ones first; in
/// another one the demo payments, and nothing else is looked at.
async fn payments(State(window): State<Arc<Window>>) -> Result<Response, Refusal> {
    let own = window.interposer.is_some();
    let mut items = if own {
        window.tables.all_payments().await?
    } else {
        window.tables.demo_payments(&window.endpoints).await?
    };
    let mut providers = Vec::new();
    for endpoint in window.endpoints.iter() {
        let payment = |id: &str, item: Option<&Value>| {
            let cancelable = item.is_some_and(|item| endpoint.cancelable(item));
            json!({ "id": id, "cancelable": cancelable, "item": item })
        };
        let demo: Vec<_> = endpoint
            .demo_ids()
            .map(|id| payment(&id, items.remove(&endpoint.pk(&id)).as_ref()))
            .collect();
        let mut added: Vec<_> =
            items.iter().filter_map(|(pk, item)| Some((endpoint.id_in(pk)?, item))).collect();
        added.sort_by_key(|(id, item)| (std::cmp::Reverse(text(item, "created_at")), *id));
        let added = added.iter().map(|(id, item)| payment(id, Some(item)));
        providers.push(json!({
            "name": endpoint.name,
            "route": endpoint.route,
            "canceled": endpoint.statuses.canceled,
            "statuses": endpoint.all_statuses(),
            "credential": endpoint.demo.cancel.credential,
            "payments": added.chain(demo).collect::<Vec<_>>(),
        }));
    }
    let dynamodb = &window.dynamodb;
    Ok(Json(json!({ "dynamodb": dynamodb, "own": own, "providers": providers })).into_response())
}

/// A new payment of a provider.
#[derive(Deserialize)]
struct Added {
    provider: String,
    payment: NewPayment,
}

async fn add(
    State(window): State<Arc<Window>>,
    Json(Added { provider, payment }): Json<Added>,
) -> Result<StatusCode, Refusal> {
    window.own()?;
    let endpoint = window.endpoint(&provider)?;
    let id = &payment.id;
    if id.is_empty() || id.len() > 255 || id.contains(['/', '#']) {
        let rule = "must be 1 to 255 bytes without / and #";
        return Err(Refusal::bad(format!("the id {rule}")));
    }
    if window.tables.add(endpoint, &payment).await? {
        Ok(StatusCode::CREATED)
    } else {
        let message = format!("there is a payment {id} of {provider} already");
        Err(Refusal(StatusCode::CONFLICT, message))
    }
}

/// A payment's status, as it was seen and as it is to be.
#[derive(Deserialize)]
struct Move {
    provider: String,
    id: String,
    from: String,
    to: String,
}

async fn move_status(
    State(window): State<Arc<Window>>,
    Json(Move { provider, id, from, to }): Json<Move>,
) -> Result<StatusCode, Refusal> {
    window.own()?;
    let endpoint = window.endpoint(&provider)?;
    if window.tables.move_status(endpoint, &id, &from, &to).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        let message = format!("{id} is not {from} any more; its status was not changed");
        Err(Refusal(StatusCode::CONFLICT, message))
    }
}

/// The payment whose next request loses store responses.
#[derive(Deserialize)]
struct Losing {
    provider: String,
    id: String,
    lose: Lose,
}

async fn lose(
    State(window): State<Arc<Window>>,
    Json(Losing { provider, id, lose }): Json<Losing>,
) -> Result<StatusCode, Refusal> {
    let interposer = window.own()?;
    let endpoint = window.endpoint(&provider)?;
    interposer.arm(endpoint.pk(&id), lose);
    Ok(StatusCode::NO_CONTENT)
}

/// The payment to cancel, and what may differ from its provider's demo file.
#[derive(Deserialize)]
struct PrepareRequest {
    provider: String,
    id: String,
    #[serde(flatten)]
    draft: Draft,
}

/// A request that cancels the payment, for the page to send. It is signed here, as a merchant's own
/// server would sign it.
async fn prepare(
    State(window): State<Arc<Window>>,
    Json(PrepareRequest { provider, id, draft }): Json<PrepareRequest>,
) -> Result<Response, Refusal> {
    let endpoint = window.endpoint(&provider)?;
    let (headers, body) = endpoint.demo.cancel.prepare(&id, &draft)?;
    let prepared = json!({ "path": endpoint.url("", &id), "headers": headers, "body": body });
    Ok(Json(prepared).into_response())
}

/// Makes the demo payments what they were at first.
async fn reset(State(window): State<Arc<Window>>) -> Result<StatusCode, Refusal> {
    window.own()?;
    window.tables.reset(&window.endpoints).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Every request that reaches the stack, as it comes. A browser that reconnects names the last one
/// that it got.
async fn requests(
    State(window): State<Arc<Window>>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let last = header(&headers, "last-event-id").and_then(|last| last.parse().ok());
    let events = window.record.after(last.unwrap_or_default()).map(|exchange| {
        let event = Event::default().id(exchange.number.to_string());
        Ok(event.json_data(&*exchange).unwrap_or_default())
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

/// Records every request but the page's own.
async fn record(State(window): State<Arc<Window>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let of_the_page = path.starts_with("/window/")
        || request.method() == Method::GET && ["/", "/favicon.ico"].contains(&path);
    if of_the_page {
        return next.run(request).await;
    }
    let at = Timestamp::now().to_string();
    let mut endpoints = window.endpoints.iter();
    let found = endpoints.find_map(|endpoint| Some((endpoint, endpoint.payment_in(path)?)));
    let (head, body) = request.into_parts();
    let Ok(body) = serve::read(body).await else {
        // Who sent it is gone.
        return Refusal::bad("the request broke off").into_response();
    };
    let mut exchange = Exchange {
        number: 0,
        at,
        provider: found.as_ref().map(|(endpoint, _)| endpoint.name),
        payment: found.as_ref().map(|(_, id)| id.clone()),
        method: head.method.to_string(),
        path: head.uri.to_string(),
        headers: Vec::new(),
        body: String::from_utf8_lossy(&body).into_owned(),
        whole: std::str::from_utf8(&body).is_ok() && body.len() <= serve::MAX_BODY,
        status: 0,
        response_headers: Vec::new(),
        response_body: String::new(),
        outcome: String::new(),
        milliseconds: 0,
        attempts: None,
    };
    exchange.headers = pairs(&head.headers);
    for (name, value) in &mut exchange.headers {
        if !window.keepable(name, value) {
            "(not a demo credential, so not kept)".clone_into(value);
            exchange.whole = false;
        }
    }
    let watch = match (&window.interposer, &found) {
        (Some(interposer), Some((endpoint, id))) => {
            Some((interposer, interposer.watch(&endpoint.pk(id))))
        }
        _ => None,
    };

    let began = Instant::now();
    let request = Request::from_parts(head, Body::from(body));
    let (head, body) = next.run(request).await.into_parts();
    exchange.milliseconds = milliseconds(began.elapsed());
    exchange.attempts = watch.and_then(|(interposer, id)| interposer.watched(id));
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Refusal(StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    };
    let attempts = exchange.attempts.as_deref();
    exchange.outcome = outcome(head.status, &head.headers, &body, attempts);
    exchange.status = head.status.as_u16();
    exchange.response_headers = pairs(&head.headers);
    exchange.response_body = String::from_utf8_lossy(&body).into_owned();
    let exchange = window.record.add(exchange);
    if window.lines {
        terminal::request(&exchange);
    }
    Response::from_parts(head, Body::from(body))
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// Refuses what comes by another name than loopback's, and shuts the page in.
async fn shut_in(request: Request, next: Next) -> Response {
    let mut response = match loopback_host(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn refuse_other_origins(request: Request, next: Next) -> Response {
    match same_origin(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}
