//! A proxy between the real SDK and DynamoDB that breaks attempts as a network does: at any byte of the request or of the answer, before the
//! store has done its work or after.
//!
//! ```text
//! let proxy = FaultProxy::start(store).await?;       // point the SDK at proxy.url()
//! proxy.script([Fault::Answer { after: 0, how: Cut::Reset }]);   // the first attempt; those after the script pass
//! …
//! proxy.deliver_late().await;                        // what `Fault::Late` held back reaches the store now
//! proxy.take()                                       // what the store really did
//! ```

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::{JoinSet, yield_now},
    time::sleep,
};

/// What befalls one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection is cut after that many bytes of the request, at the most all of them; the store sees none of it.
    Request {
        /// Bytes.
        after: usize,
        /// How.
        how: Cut,
    },
    /// The store does its work, and the connection is cut after that many bytes of its answer, at the most all but one.
    Answer {
        /// Bytes.
        after: usize,
        /// How.
        how: Cut,
    },
    /// Somebody on the way answers in the store's place, when it has done its work or without asking it.
    Instead {
        /// What.
        answer: Instead,
        /// Whether the store has done its work.
        committed: bool,
    },
    /// The store gets the request twice, and its second answer is passed on.
    Twice,
    /// The connection is cut, and the request reaches the store much later: at [`FaultProxy::deliver_late`].
    Late(Cut),
    /// The store does its work at once, and its answer takes this long.
    Slow(Duration),
}

/// How a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// With a TCP reset.
    Reset,
    /// With an orderly end of the stream.
    Close,
    /// Not at all: nothing is said any more.
    Hang,
}

/// An answer that is not the store's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// HTTP 500, as DynamoDB says it.
    InternalServerError,
    /// HTTP 502, as a proxy says it.
    BadGateway,
    /// HTTP 503, as DynamoDB says it.
    ServiceUnavailable,
    /// HTTP 400, `ProvisionedThroughputExceededException`.
    Throttled,
    /// HTTP 200 with a body that is no JSON.
    Garbage,
}

/// One thing that the store did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// `UpdateItem`, `GetItem`, …
    pub operation: String,
    /// The store's HTTP status: 200 where an update was made.
    pub status: u16,
    /// The request's `x-amzn-trace-id`, by which X-Ray knows what it belongs to.
    pub trace: Option<String>,
}

/// The proxy, on the loopback interface; it stands for one store and one script.
#[derive(Debug, Clone)]
pub struct FaultProxy {
    address: SocketAddr,
    inside: Arc<Inside>,
}

#[derive(Debug)]
struct Inside {
    store: SocketAddr,
    script: Mutex<VecDeque<Fault>>,
    then: Mutex<Fault>,
    attempts: Mutex<usize>,
    late: Mutex<Vec<Vec<u8>>>,
    log: Mutex<Vec<Done>>,
    last: Mutex<String>,
    refuse: Mutex<Duration>,
    refusing: Notify,
}

impl FaultProxy {
    /// Starts one in front of the DynamoDB at `store`. It ends with the runtime.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn start(store: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let inside = Arc::new(Inside {
            store,
            script: Mutex::default(),
            then: Mutex::new(Fault::None),
            attempts: Mutex::default(),
            late: Mutex::default(),
            log: Mutex::default(),
            last: Mutex::default(),
            refuse: Mutex::default(),
            refusing: Notify::new(),
        });
        tokio::spawn(Arc::clone(&inside).listen(listener));
        Ok(Self { address, inside })
    }

    /// Where the SDK finds it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What befalls the next attempts, one each; those after them pass. The count of [`attempts`](Self::attempts), the
    /// [log](Self::take) and what was held back start anew.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        *lock(&self.inside.script) = faults.into_iter().collect();
        *lock(&self.inside.then) = Fault::None;
        *lock(&self.inside.attempts) = 0;
        lock(&self.inside.late).clear();
        lock(&self.inside.log).clear();
    }

    /// What befalls every attempt from now on.
    pub fn always(&self, fault: Fault) {
        self.script([]);
        *lock(&self.inside.then) = fault;
    }

    /// From now on every attempt passes; what was held back, and the log, stay.
    pub fn calm(&self) {
        lock(&self.inside.script).clear();
        *lock(&self.inside.then) = Fault::None;
    }

    /// Ends every connection and refuses new ones for that long.
    pub async fn refuse(&self, duration: Duration) {
        *lock(&self.inside.refuse) = duration;
        self.inside.refusing.notify_one();
        while TcpStream::connect(self.address).await.is_ok() {
            yield_now().await;
        }
    }

    /// How many attempts have arrived.
    #[must_use]
    pub fn attempts(&self) -> usize {
        *lock(&self.inside.attempts)
    }

    /// What the store has done since the last call of this, in order.
    #[must_use]
    pub fn take(&self) -> Vec<Done> {
        std::mem::take(&mut *lock(&self.inside.log))
    }

    /// The body of the last request that reached the store.
    #[must_use]
    pub fn last_request(&self) -> String {
        lock(&self.inside.last).clone()
    }

    /// How many times the store has changed an item since then.
    #[must_use]
    pub fn transitions(&self) -> usize {
        let changed = |done: &&Done| done.operation == "UpdateItem" && done.status == 200;
        lock(&self.inside.log).iter().filter(changed).count()
    }

    /// Lets the store have what was held back.
    pub async fn deliver_late(&self) {
        let late = std::mem::take(&mut *lock(&self.inside.late));
        for request in late {
            let _ = self.inside.ask(&request).await;
        }
    }
}

impl Inside {
    async fn listen(self: Arc<Self>, mut listener: TcpListener) -> io::Result<()> {
        let address = listener.local_addr()?;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (inside, (connection, _)) = (Arc::clone(&self), accepted?);
                    // An error there is a peer that went away: the fault did its work.
                    connections.spawn(async move { inside.serve(connection).await });
                }
                () = self.refusing.notified() => {
                    drop(listener);
                    connections.shutdown().await;
                    let duration = *lock(&self.refuse);
                    sleep(duration).await;
                    listener = TcpListener::bind(address).await?;
                }
            }
        }
    }

    async fn serve(&self, mut connection: TcpStream) -> io::Result<()> {
        loop {
            if connection.peek(&mut [0]).await? == 0 {
                return Ok(());
            }
            *lock(&self.attempts) += 1;
            let next = lock(&self.script).pop_front();
            let fault = next.unwrap_or_else(|| *lock(&self.then));
            if let Fault::Request { after, how } = fault {
                read_request(&mut connection, after).await?;
                return cut(connection, how).await;
            }
            let request = read_request(&mut connection, usize::MAX).await?;
            match fault {
                Fault::None => connection.write_all(&self.ask(&request).await?).await?,
                Fault::Answer { after, how } => {
                    let answer = self.ask(&request).await?;
                    let part = answer
                        .get(..after.min(answer.len() - 1))
                        .unwrap_or_default();
                    connection.write_all(part).await?;
                    return cut(connection, how).await;
                }
                Fault::Instead { answer, committed } => {
                    if committed {
                        self.ask(&request).await?;
                    }
                    connection.write_all(answer.bytes().as_bytes()).await?;
                }
                Fault::Twice => {
                    self.ask(&request).await?;
                    connection.write_all(&self.ask(&request).await?).await?;
                }
                Fault::Late(how) => {
                    lock(&self.late).push(request);
                    return cut(connection, how).await;
                }
                Fault::Slow(delay) => {
                    let answer = self.ask(&request).await?;
                    sleep(delay).await;
                    connection.write_all(&answer).await?;
                }
                Fault::Request { .. } => return Ok(()),
            }
        }
    }

    /// The store's answer, byte for byte. A connection each, which the store ends, so that the answer's end is the stream's.
    async fn ask(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let text = String::from_utf8_lossy(request);
        let operation = header(&text, "x-amz-target").and_then(|target| target.rsplit('.').next());
        let mut store = TcpStream::connect(self.store).await?;
        let head = text.find("\r\n").unwrap_or_default();
        store
            .write_all(request.get(..head).unwrap_or_default())
            .await?;
        store.write_all(b"\r\nconnection: close").await?;
        store
            .write_all(request.get(head..).unwrap_or_default())
            .await?;
        let mut answer = Vec::new();
        store.read_to_end(&mut answer).await?;
        let status = String::from_utf8_lossy(&answer)
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        lock(&self.log).push(Done {
            operation: operation.unwrap_or_default().to_owned(),
            status: status.ok_or(io::ErrorKind::InvalidData)?,
            trace: header(&text, "x-amzn-trace-id").map(str::to_owned),
        });
        *lock(&self.last) = body(&text).to_owned();
        // To the SDK the connection is one that stays.
        let answer = String::from_utf8_lossy(&answer).replacen("connection: close\r\n", "", 1);
        Ok(answer.into_bytes())
    }
}

impl Instead {
    fn bytes(self) -> String {
        let error = |name: &str| {
            format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{name}","message":"made up"}}"#)
        };
        let (status, body) = match self {
            Self::InternalServerError => {
                ("500 Internal Server Error", error("InternalServerError"))
            }
            Self::BadGateway => ("502 Bad Gateway", "<html>bad gateway</html>".to_owned()),
            Self::ServiceUnavailable => ("503 Service Unavailable", error("ServiceUnavailable")),
            Self::Throttled => (
                "400 Bad Request",
                error("ProvisionedThroughputExceededException"),
            ),
            Self::Garbage => ("200 OK", "\u{1}not JSON".to_owned()),
        };
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {length}\r\n\r\n{body}"
        )
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
async fn read_request(connection: &mut TcpStream, at_most: usize) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let mut wanted = usize::MAX;
    while request.len() < wanted.min(at_most) {
        let mut buffer = vec![0; (wanted.min(at_most) - request.len()).min(16 * 1024)];
        let read = connection.read(&mut buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        request.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if wanted == usize::MAX
            && let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(request.get(..end).unwrap_or_default()).into_owned();
            let length =
                header(&head, "content-length").and_then(|length| length.parse::<usize>().ok());
            wanted = end + 4 + length.unwrap_or_default();
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

fn body(request: &str) -> &str {
    request.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

async fn cut(mut connection: TcpStream, how: Cut) -> io::Result<()> {
    match how {
        Cut::Reset => connection.set_zero_linger(),
        Cut::Close => {
            connection.shutdown().await?;
            drain(connection).await
        }
        Cut::Hang => drain(connection).await,
    }
}

/// Reads on, so that no unread byte turns the end into a reset, and says nothing until the peer goes.
async fn drain(mut connection: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while connection.read(&mut buffer).await? > 0 {}
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
