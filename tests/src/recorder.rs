//! Between the SDK and DynamoDB: passes every request on, and remembers which they were and how they ended.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::net::TcpListener;

/// One request to DynamoDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// `UpdateItem`, `GetItem`, …
    pub operation: String,
    /// DynamoDB's HTTP status.
    pub status: u16,
}

/// A proxy on the loopback interface.
#[derive(Debug, Clone)]
pub struct Recorder {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Recorded>>>,
}

#[derive(Clone)]
struct Passing {
    client: Client<HttpConnector, Body>,
    store: SocketAddr,
    seen: Arc<Mutex<Vec<Recorded>>>,
}

impl Recorder {
    /// Starts one in front of the DynamoDB at `store`.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn start(store: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let seen = Arc::default();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let passing = Passing {
            client,
            store,
            seen: Arc::clone(&seen),
        };
        let app = Router::new().fallback(pass).with_state(passing);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, seen })
    }

    /// Where the SDK finds it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has passed since the last call of this.
    #[must_use]
    pub fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn pass(State(passing): State<Passing>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let operation = parts
        .headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok()?.rsplit('.').next().map(str::to_owned))
        .unwrap_or_default();
    let body = to_bytes(body, usize::MAX).await.expect("a request body");
    parts.uri = Uri::builder()
        .scheme("http")
        .authority(passing.store.to_string())
        .path_and_query("/")
        .build()
        .expect("an address is a URI");
    match passing
        .client
        .request(Request::from_parts(parts, Body::from(body)))
        .await
    {
        Ok(response) => {
            let status = response.status().as_u16();
            passing
                .seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Recorded { operation, status });
            response.map(Body::new).into_response()
        }
        Err(failure) => (StatusCode::BAD_GATEWAY, failure.to_string()).into_response(),
    }
}

/// A DynamoDB that hangs up on every connection.
///
/// # Errors
/// Where no port is free.
pub async fn unreachable() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    Ok(format!("http://{address}"))
}
