//! The window: a page in front of the endpoints, for eyes. It reads the demo payments, says how each is asked to cancel, and leaves the asking to the page, which
//! calls the very URLs that every other client calls.
//!
//! It is for this machine alone. The port is on loopback, but any web page in this machine's browser can send requests to it, and one whose name is
//! made to point at 127.0.0.1 (DNS rebinding) could read the answers too. So what the window serves asks for a `Host` that is loopback's, and nothing is done for
//! a request whose `Origin` is another.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Error, Result};
use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Path, Query, Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, REFERRER_POLICY,
            X_CONTENT_TYPE_OPTIONS,
        },
        request::Parts,
        uri::Authority,
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use serde::Deserialize;
use serde_json::json;
use shared::request::MAX_BODY;
use uuid::Uuid;

use crate::{
    data::Tables,
    serve::{self, Endpoint},
};

/// Nothing but the page's own files and URLs, and no frame around it in which a click could be led astray.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// How many of the page's requests are kept, for the page to show them as they came.
const KEPT: usize = 32;

/// What the page looks at.
pub(crate) struct Window {
    /// The endpoints' own URL.
    pub(crate) url: String,
    /// Where the tables are.
    pub(crate) dynamodb: String,
    /// Whether they are this tool's, so that it may change what is in them.
    pub(crate) embedded: bool,
    /// The tables.
    pub(crate) tables: Tables,
    /// The endpoints.
    pub(crate) endpoints: Arc<[Endpoint]>,
    /// The page's last requests, by the `x-request-id` of their answers.
    pub(crate) sent: Mutex<VecDeque<(String, String)>>,
}

/// The endpoints, with the window in front.
pub(crate) fn router(window: Window) -> Router {
    let endpoints = serve::router(&window.endpoints);
    let window = Arc::new(window);
    let endpoints = endpoints.layer(middleware::from_fn_with_state(window.clone(), keep));
    let page = Router::new()
        .route(
            "/",
            file("text/html", include_str!("../window/index.html")).fallback(unknown),
        )
        .route(
            "/window/style.css",
            file("text/css", include_str!("../window/style.css")),
        )
        .route(
            "/window/script.js",
            file("text/javascript", include_str!("../window/script.js")),
        )
        .route(
            "/window/icon.svg",
            file("image/svg+xml", include_str!("../window/icon.svg")),
        )
        .route("/window/payments", get(payments))
        .route("/window/requests/{provider}/{id}", get(prepare))
        .route("/window/sent/{id}", get(sent))
        .route("/window/reset", post(reset))
        .layer(middleware::from_fn(guard))
        .fallback(unknown)
        .with_state(window);
    page.merge(endpoints)
        .layer(middleware::from_fn(same_origin))
}

fn file(media_type: &'static str, text: &'static str) -> MethodRouter<Arc<Window>> {
    let media_type = HeaderValue::from_str(&format!("{media_type}; charset=utf-8"));
    let media_type = media_type.unwrap_or(HeaderValue::from_static("text/plain"));
    get(async move || ([(CONTENT_TYPE, media_type)], text))
}

/// Why something was not done.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "message": self.1 }))).into_response()
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(StatusCode::BAD_GATEWAY, format!("{error:#}"))
    }
}

/// What is neither is told the endpoints.
async fn unknown(State(window): State<Arc<Window>>, method: Method, uri: Uri) -> Response {
    let routes: Vec<_> = window
        .endpoints
        .iter()
        .map(|endpoint| format!("POST {}", endpoint.route))
        .collect();
    let message = format!("no endpoint at {method} {}", uri.path());
    let body = Json(json!({ "message": message, "endpoints": routes }));
    (StatusCode::NOT_FOUND, body).into_response()
}

/// Every demo payment as its table has it, by key: whatever else a table may hold is not looked at.
async fn payments(State(window): State<Arc<Window>>) -> Result<Response, Refusal> {
    let mut items = window.tables.payments(&window.endpoints).await?;
    let providers: Vec<_> = window
        .endpoints
        .iter()
        .map(|endpoint| {
            let payments: Vec<_> = endpoint
                .demo_ids()
                .map(|id| {
                    let item = items.remove(&endpoint.pk(&id));
                    let cancelable = item.as_ref().is_some_and(|item| endpoint.cancelable(item));
                    json!({ "id": id, "cancelable": cancelable, "item": item })
                })
                .collect();
            json!({
                "name": endpoint.name,
                "route": endpoint.route,
                "canceled": endpoint.statuses.canceled,
                "payments": payments,
            })
        })
        .collect();
    let all = json!({
        "dynamodb": window.dynamodb,
        "resettable": window.embedded,
        "providers": providers,
    });
    Ok(Json(all).into_response())
}

/// The `Idempotency-Key` to use once more.
#[derive(Deserialize)]
struct Again {
    key: Option<String>,
}

/// How the payment is asked to cancel: what the printed command sends, and an `Idempotency-Key`. It is signed here, where a merchant's own server would sign it.
async fn prepare(
    State(window): State<Arc<Window>>,
    Path((provider, id)): Path<(String, String)>,
    Query(Again { key }): Query<Again>,
) -> Result<Response, Refusal> {
    let mut endpoints = window.endpoints.iter();
    let endpoint = endpoints
        .find(|endpoint| endpoint.name == provider && endpoint.demo_ids().any(|known| known == id))
        .ok_or_else(|| {
            Refusal(
                StatusCode::NOT_FOUND,
                format!("no demo payment {id} of {provider}"),
            )
        })?;
    let key = match key {
        Some(key) => Uuid::try_parse(&key)
            .map_err(|_| Refusal(StatusCode::BAD_REQUEST, "key is no UUID".to_owned()))?,
        None => Uuid::new_v4(),
    };
    let key = key.simple().to_string();
    let example = &endpoint.demo.cancel;
    let (mut headers, body) = example.filled(&id, &key)?;
    headers.push(("Idempotency-Key".to_owned(), key.clone()));
    let prepared = json!({
        "path": endpoint.url("", &id),
        "headers": headers,
        "body": body,
        "key": key,
        "command": example.command(&endpoint.url(&window.url, &id), &id),
    });
    Ok(Json(prepared).into_response())
}

/// A request of the page as it came.
async fn sent(
    State(window): State<Arc<Window>>,
    Path(id): Path<String>,
) -> Result<String, Refusal> {
    let kept = window.sent.lock().unwrap_or_else(PoisonError::into_inner);
    let found = kept.iter().find(|(answered, _)| *answered == id);
    found
        .map(|(_, request)| request.clone())
        .ok_or_else(|| Refusal(StatusCode::NOT_FOUND, format!("no request {id} is kept")))
}

/// Makes the demo payments what they were at first.
async fn reset(State(window): State<Arc<Window>>) -> Result<StatusCode, Refusal> {
    if !window.embedded {
        let message =
            "only in the embedded DynamoDB; in another one this tool changes nothing that is there";
        return Err(Refusal(StatusCode::FORBIDDEN, message.to_owned()));
    }
    window.tables.reset(&window.endpoints).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Keeps what the page sends to an endpoint, and nobody else's: other clients may use credentials that are secret. Browsers, and they alone, say where
/// a request is from.
async fn keep(State(window): State<Arc<Window>>, request: Request, next: Next) -> Response {
    if header(request.headers(), "sec-fetch-site") != Some("same-origin") {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return Refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the page sends no such body".to_owned(),
        )
        .into_response();
    };
    let text = as_it_came(&head, &body);
    let response = next.run(Request::from_parts(head, Body::from(body))).await;
    if let Some(id) = header(response.headers(), "x-request-id") {
        let mut kept = window.sent.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((id.to_owned(), text));
        if kept.len() > KEPT {
            kept.pop_front();
        }
    }
    response
}

/// A request's bytes, but for the case of the headers' names, which the HTTP library does not tell.
fn as_it_came(head: &Parts, body: &[u8]) -> String {
    let mut text = format!("{} {} {:?}\r\n", head.method, head.uri, head.version);
    for (name, value) in &head.headers {
        text += &format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes()));
    }
    text + "\r\n" + &String::from_utf8_lossy(body)
}

/// Refuses what comes by another name than loopback's, and shuts the page in.
async fn guard(request: Request, next: Next) -> Response {
    let host = header(request.headers(), HOST.as_str()).and_then(|host| host.parse().ok());
    let mut response = if host.as_ref().is_some_and(loopback) {
        next.run(request).await
    } else {
        let message = "the window opens under 127.0.0.1 or localhost only";
        Refusal(StatusCode::FORBIDDEN, message.to_owned()).into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Refuses what a web page elsewhere sends; a browser always names it, except for a `GET`, of which nothing comes. No other client sends an `Origin`.
async fn same_origin(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let ours = match header(headers, ORIGIN.as_str()) {
        None => !headers.contains_key(ORIGIN),
        Some(origin) => origin.strip_prefix("http://").is_some_and(|origin| {
            header(headers, HOST.as_str()) == Some(origin)
                && origin.parse().as_ref().is_ok_and(loopback)
        }),
    };
    if ours {
        next.run(request).await
    } else {
        let message = "a web page of another origin may do nothing here";
        Refusal(StatusCode::FORBIDDEN, message.to_owned()).into_response()
    }
}

/// Whether the name is this machine's own, which no name server can give to another.
fn loopback(authority: &Authority) -> bool {
    ["127.0.0.1", "localhost", "[::1]"].contains(&authority.host())
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
