//! A DynamoDB behind TLS, as on AWS, that can replay its last responses, so that a measurement
//! excludes the store.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{StatusCode, Uri, header::CONTENT_LENGTH, response},
    response::{IntoResponse, Response},
    serve::Listener,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
    server::TlsStream,
};

/// The front, on the loopback interface.
#[derive(Debug, Clone)]
pub struct Echo {
    address: SocketAddr,
    certificate: String,
    inside: Arc<Inside>,
}

#[derive(Debug)]
struct Inside {
    store: SocketAddr,
    client: Client<HttpConnector, Body>,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    /// Whether responses are replayed instead of calling the store.
    again: bool,
    /// The last one of each operation.
    responses: HashMap<String, (response::Parts, Bytes)>,
    /// The operations that the store got, and their HTTP statuses.
    log: Vec<(String, u16)>,
}

impl Echo {
    /// Starts one in front of the DynamoDB at `store`. It ends with the runtime.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn start(store: SocketAddr) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::Pkcs8(key))?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let listener = Tls { listener, acceptor: TlsAcceptor::from(Arc::new(config)) };
        let inside = Arc::new(Inside {
            store,
            client: Client::builder(TokioExecutor::new()).build_http(),
            said: Mutex::default(),
        });
        let app = Router::new().fallback(pass).with_state(Arc::clone(&inside));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, certificate: made.cert.pem(), inside })
    }

    /// The certificate to trust, in PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Where an SDK finds it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// From now on replays the last response of each operation, or calls the store again.
    pub fn again(&self, again: bool) {
        self.inside.said().again = again;
    }

    /// The operations that the store got since the last call of this, with their HTTP statuses.
    #[must_use]
    pub fn take(&self) -> Vec<(String, u16)> {
        std::mem::take(&mut self.inside.said().log)
    }
}

impl Inside {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn echo(&self, operation: &str) -> Option<(response::Parts, Bytes)> {
        let said = self.said();
        said.responses.get(operation).filter(|_| said.again).cloned()
    }

    async fn pass_on(
        &self,
        operation: String,
        request: Request,
    ) -> Result<(response::Parts, Bytes)> {
        let (head, body) = self.client.request(request).await?.into_parts();
        let body = to_bytes(Body::new(body), usize::MAX).await?;
        let mut said = self.said();
        said.log.push((operation.clone(), head.status.as_u16()));
        said.responses.insert(operation, (head.clone(), body.clone()));
        Ok((head, body))
    }
}

async fn pass(State(inside): State<Arc<Inside>>, mut request: Request) -> Response {
    let target = request.headers().get("x-amz-target");
    let operation = target
        .and_then(|target| target.to_str().ok()?.rsplit('.').next())
        .unwrap_or_default()
        .to_owned();
    if let Some((head, body)) = inside.echo(&operation) {
        // What the client has sent is read to its end, or the connection could not be used again.
        let sent = to_bytes(request.into_body(), usize::MAX).await.unwrap_or_default();
        return match as_written(head, &body, &sent) {
            Ok(response) => response,
            Err(failure) => (StatusCode::BAD_GATEWAY, failure.to_string()).into_response(),
        };
    }
    let uri = format!("http://{}/", inside.store).parse::<Uri>();
    *request.uri_mut() = uri.unwrap_or_default();
    match inside.pass_on(operation, request).await {
        Ok((head, body)) => Response::from_parts(head, Body::from(body)),
        Err(failure) => (StatusCode::BAD_GATEWAY, failure.to_string()).into_response(),
    }
}

/// The response, with the cancellation that the request `sent` has written: no other one proves a
/// cancel.
fn as_written(mut head: response::Parts, body: &[u8], sent: &[u8]) -> Result<Response> {
    let mut body: Value = serde_json::from_slice(body)?;
    let sent: Value = serde_json::from_slice(sent)?;
    if let Some(cancellation) = sent.pointer("/ExpressionAttributeValues/:cancellation") {
        body["Attributes"]["cancellation"] = cancellation.clone();
    }
    head.headers.remove(CONTENT_LENGTH);
    head.headers.remove("x-amz-crc32");
    Ok(Response::from_parts(head, Body::from(serde_json::to_vec(&body)?)))
}

/// A listener whose connections are TLS.
struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (connection, address) = Listener::accept(&mut self.listener).await;
            let _ = connection.set_nodelay(true);
            // One that does not shake hands is no client of ours.
            if let Ok(secure) = self.acceptor.accept(connection).await {
                return (secure, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
