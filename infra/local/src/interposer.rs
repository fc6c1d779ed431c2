//! The port before the embedded DynamoDB, which the functions' SDK calls. It refuses web pages and
//! counts the store requests of each cancel. On request it loses the store's responses as a network
//! does: the write is made, and its response never arrives.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result};
use axum::{
    http::{HeaderMap, Request, header::ORIGIN},
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::guard::{Refusal, header, same_origin};

/// What DynamoDB accepts.
const MAX_REQUEST: usize = 16 * 1024 * 1024;

/// Which responses of one request's writes are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Lose {
    /// The first one. The SDK tries again.
    First,
    /// All of them. The function cannot know what happened.
    Every,
}

/// One `UpdateItem` as the store saw it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Attempt {
    /// 200 where it was written.
    status: u16,
    /// Whether the response was lost on its way back.
    lost: bool,
}

impl Attempt {
    /// Whether the store made the update.
    pub(crate) fn written(&self) -> bool {
        self.status == 200
    }
}

/// The port before the embedded DynamoDB.
pub(crate) struct Interposer {
    store: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The next request for this payment, by its partition key, loses responses.
    armed: Option<(String, Lose)>,
    /// The requests in progress.
    watched: Vec<Watched>,
}

struct Watched {
    id: Uuid,
    pk: String,
    lose: Option<Lose>,
    attempts: Vec<Attempt>,
    /// Whether another request for the payment ran at the same time: then these attempts may be
    /// either's.
    shared: bool,
}

/// The response was lost. hyper then closes the connection without a response.
#[derive(Debug)]
struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the response is lost, as configured")
    }
}

impl std::error::Error for Lost {}

impl Interposer {
    /// Starts the embedded DynamoDB and serves it on `address`, until the process ends.
    pub(crate) async fn start(
        address: SocketAddr,
        data: Option<&Path>,
    ) -> Result<(SocketAddr, Arc<Self>)> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let interposer = Arc::new(Self {
            store: inner(data).await?,
            client: Client::builder(TokioExecutor::new()).build_http(),
            state: Mutex::default(),
        });
        tokio::spawn(serve(listener, Arc::clone(&interposer)));
        Ok((address, interposer))
    }

    /// Has the next request for the payment lose responses.
    pub(crate) fn arm(&self, pk: String, lose: Lose) {
        self.state().armed = Some((pk, lose));
    }

    /// A request to cancel the payment begins.
    pub(crate) fn watch(&self, pk: &str) -> Uuid {
        let id = Uuid::new_v4();
        let mut state = self.state();
        let lose = state.armed.take_if(|(armed, _)| armed == pk);
        let mut shared = false;
        for other in state.watched.iter_mut().filter(|other| other.pk == pk) {
            other.shared = true;
            shared = true;
        }
        state.watched.push(Watched {
            id,
            pk: pk.to_owned(),
            lose: lose.map(|(_, lose)| lose),
            attempts: Vec::new(),
            shared,
        });
        id
    }

    /// The request has ended: its store requests, if they are known.
    pub(crate) fn watched(&self, id: Uuid) -> Option<Vec<Attempt>> {
        let mut state = self.state();
        let at = state.watched.iter().position(|watched| watched.id == id)?;
        let watched = state.watched.swap_remove(at);
        (!watched.shared).then_some(watched.attempts)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pass(&self, request: Request<Incoming>) -> Result<Response, Lost> {
        if let Err(refusal) = same_origin(request.headers()) {
            return Ok(refusal.into_response());
        }
        let (mut head, body) = request.into_parts();
        // The embedded DynamoDB lets every web page in that names its origin.
        head.headers.remove(ORIGIN);
        let Ok(body) = Limited::new(body, MAX_REQUEST).collect().await else {
            return Ok(Refusal::bad("the request broke off or is too large").into_response());
        };
        let body = body.to_bytes();
        let pk = updated(&head.headers, &body);
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = format!("http://{}{path}", self.store).parse().unwrap_or_default();
        let forwarded = Request::from_parts(head, Full::new(body));
        let response = self.client.request(forwarded).await.map_err(|_| Lost)?;
        if pk.is_some_and(|pk| self.attempted(&pk, response.status().as_u16())) {
            return Err(Lost);
        }
        Ok(response.into_response())
    }

    /// Notes an update. Whether its response gets lost.
    fn attempted(&self, pk: &str, status: u16) -> bool {
        let mut state = self.state();
        let mut lost = false;
        for watched in state.watched.iter_mut().filter(|watched| watched.pk == pk) {
            lost |= match watched.lose {
                None => false,
                Some(Lose::First) => watched.attempts.is_empty(),
                Some(Lose::Every) => true,
            };
            watched.attempts.push(Attempt { status, lost });
        }
        lost
    }
}

async fn serve(listener: TcpListener, interposer: Arc<Interposer>) {
    loop {
        // A connection that failed before it was accepted has no client.
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let interposer = Arc::clone(&interposer);
        tokio::spawn(async move {
            let pass = service_fn(move |request| {
                let interposer = Arc::clone(&interposer);
                async move { interposer.pass(request).await }
            });
            let connection = auto::Builder::new(TokioExecutor::new());
            // How it ended is the client's to know.
            let _ = connection.serve_connection(TokioIo::new(stream), pass).await;
        });
    }
}

/// The embedded DynamoDB, out of web pages' reach, because dynoxide responds to all of them. Linux
/// and Windows have sixteen million addresses for loopback; elsewhere, at least the port is secret.
async fn inner(data: Option<&Path>) -> Result<SocketAddr> {
    let [a, b, c, ..] = *Uuid::new_v4().as_bytes();
    let hidden = Ipv4Addr::new(127, a, b, c.clamp(1, 254));
    let bindable = std::net::TcpListener::bind((hidden, 0)).is_ok();
    let host = if bindable { hidden } else { Ipv4Addr::LOCALHOST };
    embedded::start((host, 0).into(), data).await.context("the embedded DynamoDB did not start")
}

/// The partition key that an `UpdateItem` names.
fn updated(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let operation = header(headers, "x-amz-target")?;
    if !operation.ends_with(".UpdateItem") {
        return None;
    }
    let input: Value = serde_json::from_slice(body).ok()?;
    Some(input.pointer("/Key/pk/S")?.as_str()?.to_owned())
}
