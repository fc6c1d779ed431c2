//! A proxy between the real SDK and DynamoDB that breaks attempts as a network does: at any byte of
//! the request or of the response, before the store has done its work or after.
//!
//! ```text
//! let proxy = FaultProxy::in_memory(&tables);        // an SDK in this process: proxy.config()
//! let proxy = FaultProxy::listening(&tables).await?; // another process: proxy.url()
//! proxy.script([Fault::Response { after: 0, how: Cut::Reset }]); // the first; later ones pass
//! …
//! proxy.deliver_late().await;                        // what `Fault::Late` delayed arrives
//! proxy.take()                                       // what the store really did
//! ```

use std::{
    collections::VecDeque,
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_config::SdkConfig;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use crate::{
    clock::Virtual,
    network::{Connection, Pipe, http_client},
    tables::Tables,
};

/// What happens to one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection is cut after this many bytes of the request, at most all of them; the store
    /// sees none of it.
    Request {
        /// Bytes.
        after: usize,
        /// How.
        how: Cut,
    },
    /// The store does its work, and the connection is cut after this many bytes of its response, at
    /// most all but one.
    Response {
        /// Bytes.
        after: usize,
        /// How.
        how: Cut,
    },
    /// An intermediary responds instead of the store, after the store has done its work or without
    /// calling it.
    Instead {
        /// What.
        response: Instead,
        /// Whether the store has done its work.
        committed: bool,
    },
    /// The store gets the request twice, and its second response is passed on.
    Twice,
    /// The connection is cut, and the request reaches the store much later: at
    /// [`FaultProxy::deliver_late`].
    Late(Cut),
    /// The store does its work at once, and its response takes this long.
    Slow(Duration),
}

/// How a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// With a TCP reset.
    Reset,
    /// With an orderly end of the stream.
    Close,
    /// Not at all: the peer goes silent.
    Hang,
}

/// A response that is not the store's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// HTTP 500, as DynamoDB sends it.
    InternalServerError,
    /// HTTP 502, as a proxy sends it.
    BadGateway,
    /// HTTP 503, as DynamoDB sends it.
    ServiceUnavailable,
    /// HTTP 400, `ProvisionedThroughputExceededException`.
    Throttled,
    /// HTTP 400, `TransactionConflictException`.
    Conflict,
    /// HTTP 400, `AccessDeniedException`.
    Denied,
    /// HTTP 200 with a body that is no JSON.
    Garbage,
}

/// One operation of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// `UpdateItem`, `GetItem`, …
    pub operation: String,
    /// The requested key.
    pub pk: String,
    /// The store's HTTP status: 200 where an update was made.
    pub status: u16,
    /// The request's `x-amzn-trace-id`, by which X-Ray knows what it belongs to.
    pub trace: Option<String>,
    /// Whether it is the SDK's second attempt or a later one, by its `amz-sdk-request`.
    pub retry: bool,
}

/// The proxy of one store with one script.
#[derive(Debug, Clone)]
pub struct FaultProxy {
    address: Option<SocketAddr>,
    inside: Arc<Inside>,
}

/// What is behind it: tables of this process, or a DynamoDB that listens there.
enum Store {
    Tables(Tables),
    Address(SocketAddr),
}

struct Inside {
    store: Store,
    state: Mutex<State>,
    connections: Mutex<JoinSet<()>>,
    /// Changes whenever the state has.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    script: VecDeque<Fault>,
    then: Option<Fault>,
    attempts: usize,
    connections: usize,
    refuse: usize,
    refused: usize,
    late: Vec<Vec<u8>>,
    log: Vec<Done>,
    last: String,
}

impl FaultProxy {
    /// One that an SDK in this process reaches through [`FaultProxy::config`].
    #[must_use]
    pub fn in_memory(tables: &Tables) -> Self {
        Self::new(Store::Tables(tables.clone()))
    }

    /// One on the loopback interface, for processes. It ends with the runtime.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn listening(tables: &Tables) -> io::Result<Self> {
        Self::new(Store::Tables(tables.clone())).listen().await
    }

    /// The same before a DynamoDB that listens itself.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn start(store: SocketAddr) -> io::Result<Self> {
        Self::new(Store::Address(store)).listen().await
    }

    fn new(store: Store) -> Self {
        let inside = Inside {
            store,
            state: Mutex::default(),
            connections: Mutex::default(),
            changed: watch::Sender::default(),
        };
        Self { address: None, inside: Arc::new(inside) }
    }

    async fn listen(mut self) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        self.address = Some(listener.local_addr()?);
        let inside = Arc::clone(&self.inside);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                inside.spawn(connection);
            }
        });
        Ok(self)
    }

    /// Where a process finds it: nowhere, if it does not listen.
    #[must_use]
    pub fn url(&self) -> String {
        match self.address {
            Some(address) => format!("http://{address}"),
            None => "http://in-memory.invalid".to_owned(),
        }
    }

    /// The functions' own SDK configuration, pointed at this.
    #[must_use]
    pub fn config(&self) -> SdkConfig {
        let config = embedded::config(&self.url());
        if self.address.is_some() {
            return config;
        }
        let inside = Arc::clone(&self.inside);
        let client = http_client(move || inside.connect());
        config.into_builder().http_client(client).time_source(Virtual::start()).build()
    }

    /// The faults of the next attempts, in order; later attempts pass. Resets the count of
    /// [`attempts`](Self::attempts), the [log](Self::take) and the delayed requests.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.inside.change(|state| {
            *state = State {
                script: faults.into_iter().collect(),
                last: std::mem::take(&mut state.last),
                ..State::default()
            }
        });
    }

    /// The fault of every attempt from now on.
    pub fn always(&self, fault: Fault) {
        self.script([]);
        self.then(fault);
    }

    /// The fault of every attempt after the script.
    pub fn then(&self, fault: Fault) {
        self.inside.change(|state| state.then = Some(fault));
    }

    /// From now on every attempt passes; what was held back, and the log, stay.
    pub fn calm(&self) {
        self.inside.change(|state| {
            state.script.clear();
            state.then = None;
            state.refuse = 0;
        });
    }

    /// Ends every connection, and refuses this many new ones. Only for a proxy that does not
    /// listen.
    pub fn refuse(&self, connections: usize) {
        self.inside.change(|state| state.refuse = connections);
        lock(&self.inside.connections).abort_all();
    }

    /// How many connections have been refused since the last script.
    #[must_use]
    pub fn refused(&self) -> usize {
        lock(&self.inside.state).refused
    }

    /// How many attempts have arrived.
    #[must_use]
    pub fn attempts(&self) -> usize {
        lock(&self.inside.state).attempts
    }

    /// How many connections have been made since the last script.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.inside.state).connections
    }

    /// Returns once this many attempts have arrived, and the store has changed an item this often.
    pub async fn reached(&self, attempts: usize, transitions: usize) {
        let mut changed = self.inside.changed.subscribe();
        while self.attempts() < attempts || self.transitions() < transitions {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// What the store has done since the last call of this, in order.
    #[must_use]
    pub fn take(&self) -> Vec<Done> {
        std::mem::take(&mut lock(&self.inside.state).log)
    }

    /// The body of the last request that reached the store.
    #[must_use]
    pub fn last_request(&self) -> String {
        lock(&self.inside.state).last.clone()
    }

    /// How many times the store has changed an item since then.
    #[must_use]
    pub fn transitions(&self) -> usize {
        let changed = |done: &&Done| done.operation == "UpdateItem" && done.status == 200;
        lock(&self.inside.state).log.iter().filter(changed).count()
    }

    /// Lets the store have what was held back.
    pub async fn deliver_late(&self) {
        let late = std::mem::take(&mut lock(&self.inside.state).late);
        for request in late {
            let _ = self.inside.pass_on(&request).await;
        }
    }
}

impl Inside {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        self.changed.send_replace(());
    }

    /// The client's side of a new connection.
    fn connect(self: &Arc<Self>) -> io::Result<Pipe> {
        let mut state = lock(&self.state);
        if state.refuse > 0 {
            state.refuse -= 1;
            state.refused += 1;
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        drop(state);
        let (theirs, ours) = Pipe::pair();
        self.spawn(ours);
        Ok(theirs)
    }

    fn spawn(self: &Arc<Self>, connection: impl Connection) {
        lock(&self.state).connections += 1;
        let inside = Arc::clone(self);
        let mut connections = lock(&self.connections);
        while connections.try_join_next().is_some() {}
        // An error there is a peer that went away: the fault did its work.
        connections.spawn(async move { drop(inside.serve(connection).await) });
    }

    async fn serve(&self, connection: impl Connection) -> io::Result<()> {
        let mut connection = BufReader::new(connection);
        loop {
            if connection.fill_buf().await?.is_empty() {
                return Ok(());
            }
            let mut next = None;
            self.change(|state| {
                state.attempts += 1;
                next = state.script.pop_front().or(state.then);
            });
            let fault = next.unwrap_or(Fault::None);
            if let Fault::Request { after, how } = fault {
                read_request(&mut connection, after).await?;
                return cut(connection, how).await;
            }
            let request = read_request(&mut connection, usize::MAX).await?;
            match fault {
                Fault::None => connection.write_all(&self.pass_on(&request).await?).await?,
                Fault::Response { after, how } => {
                    let response = self.pass_on(&request).await?;
                    let part = response.get(..after.min(response.len() - 1)).unwrap_or_default();
                    connection.write_all(part).await?;
                    return cut(connection, how).await;
                }
                Fault::Instead { response, committed } => {
                    if committed {
                        self.pass_on(&request).await?;
                    }
                    connection.write_all(response.bytes().as_bytes()).await?;
                }
                Fault::Twice => {
                    self.pass_on(&request).await?;
                    connection.write_all(&self.pass_on(&request).await?).await?;
                }
                Fault::Late(how) => {
                    self.change(|state| state.late.push(request));
                    return cut(connection, how).await;
                }
                Fault::Slow(delay) => {
                    let response = self.pass_on(&request).await?;
                    sleep(delay).await;
                    connection.write_all(&response).await?;
                }
                Fault::Request { .. } => return Ok(()),
            }
        }
    }

    /// The store's response, byte for byte.
    async fn pass_on(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let text = String::from_utf8_lossy(request);
        let operation = header(&text, "x-amz-target").and_then(|target| target.rsplit('.').next());
        let operation = operation.unwrap_or_default();
        let (status, response) = match &self.store {
            Store::Tables(tables) => {
                let (status, body) =
                    tables.respond(operation, body(&text)).map_err(io::Error::other)?;
                (status, response(status, &body))
            }
            Store::Address(address) => forward(*address, request).await?,
        };
        self.change(|state| {
            state.log.push(Done {
                operation: operation.to_owned(),
                pk: pk(body(&text)),
                status,
                trace: header(&text, "x-amzn-trace-id").map(str::to_owned),
                retry: header(&text, "amz-sdk-request")
                    .is_some_and(|attempt| !attempt.starts_with("attempt=1;")),
            });
            body(&text).clone_into(&mut state.last);
        });
        Ok(response.into_bytes())
    }
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").finish_non_exhaustive()
    }
}

/// The response of the DynamoDB at `store`. Each request has its own connection, which DynamoDB
/// closes, so that the response ends with the stream.
async fn forward(store: SocketAddr, request: &[u8]) -> io::Result<(u16, String)> {
    let head = request.windows(2).position(|bytes| bytes == b"\r\n");
    let (line, rest) = request.split_at(head.unwrap_or_default());
    let mut store = TcpStream::connect(store).await?;
    store.write_all(&[line, b"\r\nconnection: close", rest].concat()).await?;
    let mut response = String::new();
    store.read_to_string(&mut response).await?;
    let status = response.split(' ').nth(1);
    let status = status.and_then(|status| status.parse().ok());
    // To the SDK the connection is one that stays.
    let response = response.replacen("connection: close\r\n", "", 1);
    Ok((status.ok_or(io::ErrorKind::InvalidData)?, response))
}

/// A whole HTTP response.
fn response(status: impl fmt::Display, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} \r\ncontent-type: application/x-amz-json-1.0\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

impl Instead {
    fn bytes(self) -> String {
        let error = |name: &str| {
            format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{name}","message":"made up"}}"#)
        };
        let (status, body) = match self {
            Self::InternalServerError => (500, error("InternalServerError")),
            Self::BadGateway => (502, "<html>bad gateway</html>".to_owned()),
            Self::ServiceUnavailable => (503, error("ServiceUnavailable")),
            Self::Throttled => (400, error("ProvisionedThroughputExceededException")),
            Self::Conflict => (400, error("TransactionConflictException")),
            Self::Denied => (400, error("AccessDeniedException")),
            Self::Garbage => (200, "\u{1}not JSON".to_owned()),
        };
        response(status, &body)
    }
}

/// A DynamoDB that hangs up on every connection: its URL.
///
/// # Errors
/// Where no port is free.
pub async fn unreachable() -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    Ok(format!("http://{address}"))
}

/// Reads one request, or that many bytes of it.
async fn read_request(
    connection: &mut BufReader<impl Connection>,
    at_most: usize,
) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let mut whole = usize::MAX;
    while request.len() < whole.min(at_most) {
        let mut buffer = vec![0; (whole.min(at_most) - request.len()).min(16 * 1024)];
        let read = connection.read(&mut buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        request.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if whole == usize::MAX
            && let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(request.get(..end).unwrap_or_default()).into_owned();
            let length =
                header(&head, "content-length").and_then(|length| length.parse::<usize>().ok());
            whole = end + 4 + length.unwrap_or_default();
        }
    }
    Ok(request)
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let lines = request
        .split("\r\n")
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'));
    lines
        .into_iter()
        .find(|(given, _)| given.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

fn pk(body: &str) -> String {
    let body = serde_json::from_str::<Value>(body).unwrap_or_default();
    let pk = body.pointer("/Key/pk/S").and_then(Value::as_str);
    pk.unwrap_or_default().to_owned()
}

fn body(request: &str) -> &str {
    request.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

async fn cut(connection: BufReader<impl Connection>, how: Cut) -> io::Result<()> {
    let mut connection = connection.into_inner();
    match how {
        Cut::Reset => return connection.reset(),
        Cut::Close => connection.shutdown().await?,
        Cut::Hang => {}
    }
    // Reads on, so that no unread byte turns the end into a reset, and stays silent until the peer
    // closes.
    let mut buffer = [0; 4096];
    while connection.read(&mut buffer).await? > 0 {}
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
