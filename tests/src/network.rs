//! A network in memory: connections between an SDK client and its server, without a socket.
//!
//! Tokio's paused clock advances when nothing can run. Only the kernel knows of a socket's data, so
//! the clock would run past it. Over these connections the clock advances exactly when a peer is
//! silent.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_smithy_runtime_api::client::{
    connection::{CaptureSmithyConnection, ConnectionMetadata},
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use futures_util::future::{Ready, ready};
use hyper::Uri;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection as Metadata, capture_connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    net::TcpStream,
    time::timeout,
};
use tower_service::Service;

/// More than any request or response here has, so that writing never waits for the reader.
const BUFFER: usize = 1024 * 1024;

/// One side of a connection that can be reset.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Ends it so that the other side sees a reset.
    ///
    /// # Errors
    /// If the operating system refuses.
    fn reset(self) -> io::Result<()>;
}

impl Connection for TcpStream {
    fn reset(self) -> io::Result<()> {
        self.set_zero_linger()
    }
}

/// One side of a connection in memory.
#[derive(Debug)]
pub struct Pipe {
    stream: DuplexStream,
    reset: Arc<AtomicBool>,
}

impl Pipe {
    /// Both sides of a new one.
    #[must_use]
    pub fn pair() -> (Self, Self) {
        let (one, other) = duplex(BUFFER);
        let reset = Arc::<AtomicBool>::default();
        let side = |stream| Self { stream, reset: Arc::clone(&reset) };
        (side(one), side(other))
    }
}

impl Connection for Pipe {
    fn reset(self) -> io::Result<()> {
        self.reset.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let ended = matches!(read, Poll::Ready(Ok(()))) && buffer.filled().len() == before;
        if ended && self.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        read
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Metadata for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// The HTTP client of an SDK client in place of TCP: its own pool of connections, which `connect`
/// makes.
pub fn http_client(
    connect: impl Fn() -> io::Result<Pipe> + Clone + Send + Sync + 'static,
) -> SharedHttpClient {
    let client =
        Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(Dial(connect));
    http_client_fn(move |settings, _| {
        SharedHttpConnector::new(Connector {
            client: client.clone(),
            read_timeout: settings.read_timeout(),
        })
    })
}

#[derive(Clone)]
struct Dial<F>(F);

impl<F: Fn() -> io::Result<Pipe>> Service<Uri> for Dial<F> {
    type Response = TokioIo<Pipe>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<Pipe>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready((self.0)().map(TokioIo::new))
    }
}

/// The SDK's own connector with another way to connect, which its own does not accept: the same
/// pool, the same read timeout, and connections that it can discard.
struct Connector<F> {
    client: Client<Dial<F>, SdkBody>,
    read_timeout: Option<Duration>,
}

impl<F> fmt::Debug for Connector<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl<F> HttpConnector for Connector<F>
where
    F: Fn() -> io::Result<Pipe> + Clone + Send + Sync + 'static,
{
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(fault) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(fault.into())));
            }
        };
        let captured = capture_connection(&mut request);
        if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
            capture.set_connection_retriever(move || {
                captured.connection_metadata().as_ref()?;
                let captured = captured.clone();
                let metadata = ConnectionMetadata::builder().proxied(false).poison_fn(move || {
                    if let Some(connection) = captured.connection_metadata().as_ref() {
                        connection.poison();
                    }
                });
                Some(metadata.build())
            });
        }
        let (responded, limit) = (self.client.request(request), self.read_timeout);
        HttpConnectorFuture::new(async move {
            let responded = match limit {
                Some(limit) => timeout(limit, responded)
                    .await
                    .map_err(|silence| ConnectorError::timeout(silence.into()))?,
                None => responded.await,
            };
            let response = responded.map_err(|cut| ConnectorError::io(cut.into()))?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|fault| ConnectorError::other(fault.into(), None))
        })
    }
}
