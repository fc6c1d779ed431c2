//! A fake of the AWS Lambda Runtime API, and the real binary that polls it.
//!
//! The API is the documented one for custom runtimes (2018-06-01): the process long-polls `next`,
//! and posts a `response` or an `error` under the invocation's id.

use std::{
    collections::{HashMap, VecDeque},
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::{
    net::TcpListener,
    sync::{Notify, oneshot, watch},
    time::{Instant, timeout},
};

/// The trace that every invocation belongs to.
pub const TRACE: &str = "1-5bef4de7-ad49b0e87f6ef6c87fc2e700";

/// An invocation's result: the function's response, or its error.
type Ended = Result<String, String>;

/// Nothing here takes this long on any machine: a process that does not finish by then hangs.
const HANG: Duration = Duration::from_secs(600);

#[derive(Default)]
struct Invocations {
    first_poll: watch::Sender<Option<Instant>>,
    /// Polls that wait for an event.
    polling: watch::Sender<usize>,
    most_at_once: AtomicUsize,
    waiting: Mutex<VecDeque<Invocation>>,
    running: Mutex<HashMap<String, oneshot::Sender<Ended>>>,
    more: Notify,
}

struct Invocation {
    request_id: String,
    event: String,
    deadline: SystemTime,
    ended: oneshot::Sender<Ended>,
}

/// A function's process, ended when this is dropped.
pub struct Function {
    process: Child,
    started: Instant,
    invocations: Arc<Invocations>,
    log: Arc<Mutex<String>>,
    /// Whether its output has ended, and so the process.
    ended: watch::Receiver<bool>,
}

impl Function {
    /// Starts `binary` as Lambda would, with `environment` and nothing else around it.
    ///
    /// # Errors
    /// Where the process does not start.
    pub async fn start(binary: &str, environment: &[(&str, &str)]) -> Result<Self> {
        Self::spawn(Command::new(binary), environment).await
    }

    /// The same of a command: a binary under a tool, a script under its interpreter.
    ///
    /// # Errors
    /// Where the process does not start.
    pub async fn spawn(mut command: Command, environment: &[(&str, &str)]) -> Result<Self> {
        let invocations = Arc::<Invocations>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let app = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .with_state(Arc::clone(&invocations));
        let listener = axum::serve::ListenerExt::tap_io(listener, |connection| {
            let _ = connection.set_nodelay(true);
        });
        tokio::spawn(async move { axum::serve(listener, app).await });

        command
            .env_clear()
            .envs([
                ("AWS_LAMBDA_RUNTIME_API", address.to_string().as_str()),
                ("AWS_LAMBDA_FUNCTION_NAME", "under-test"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
                ("AWS_REGION", "us-east-1"),
                ("AWS_DEFAULT_REGION", "us-east-1"),
                ("AWS_ACCESS_KEY_ID", "local"),
                ("AWS_SECRET_ACCESS_KEY", "local"),
            ])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let started = Instant::now();
        let mut process =
            command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let log = Arc::<Mutex<String>>::default();
        let lines =
            BufReader::new(process.stdout.take().context("the process has no output")?).lines();
        let writer = Arc::clone(&log);
        let (end, ended) = watch::channel(false);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = writer.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
                drop(log);
                end.send_replace(false);
            }
            end.send_replace(true);
        });
        Ok(Self { process, started, invocations, log, ended })
    }

    /// How long it took from the start of the process to its first poll, once it has come.
    ///
    /// # Errors
    /// If the process ends or hangs before.
    pub async fn polled(&self) -> Result<Duration> {
        let mut polled = self.invocations.first_poll.subscribe();
        let polled = self.unless_ended(polled.wait_for(Option::is_some)).await??;
        Ok(polled.map_or(Duration::ZERO, |at| at - self.started))
    }

    /// Returns once this many polls wait for an event at the same time.
    ///
    /// # Errors
    /// If the process ends or hangs before.
    pub async fn polling(&self, number: usize) -> Result<()> {
        let mut polling = self.invocations.polling.subscribe();
        self.unless_ended(polling.wait_for(|there| *there >= number)).await??;
        Ok(())
    }

    async fn unless_ended<T>(&self, awaited: impl Future<Output = T>) -> Result<T> {
        let mut ended = self.ended.clone();
        tokio::select! {
            biased;
            there = timeout(HANG, awaited) => there.context("the process hangs"),
            _ = ended.wait_for(|ended| *ended) => bail!("the process has ended: {}", self.log()),
        }
    }

    /// The most invocations that it has had in flight or polled for at once.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.invocations.most_at_once.load(Ordering::Relaxed)
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends the process so that a tool around it writes what it has found, and waits for that.
    ///
    /// # Errors
    /// Where the process cannot be ended.
    pub fn end(mut self) -> Result<()> {
        let id = self.process.id();
        // strace is the parent of the traced process, and ends with it; valgrind is the process
        // itself.
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.unwrap_or_default();
        let ended = children.split_whitespace().next().map(str::to_owned);
        let ended = ended.unwrap_or_else(|| id.to_string());
        let status = Command::new("kill").args(["-TERM", &ended]).status()?;
        anyhow::ensure!(status.success(), "cannot end process {ended}");
        self.process.wait()?;
        Ok(())
    }

    /// Invokes the function as Lambda does with a timeout of `allowed`.
    ///
    /// # Errors
    /// The function's Lambda error, or its timeout.
    pub async fn invoke(&self, request_id: &str, event: &str, allowed: Duration) -> Result<String> {
        let (ended, end) = oneshot::channel();
        let invocation = Invocation {
            request_id: request_id.to_owned(),
            event: event.to_owned(),
            deadline: SystemTime::now() + allowed,
            ended,
        };
        self.invocations
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(invocation);
        self.invocations.more.notify_one();
        let ended = self.unless_ended(timeout(allowed, end)).await?;
        match ended.with_context(|| format!("the function did not respond within {allowed:?}"))? {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => bail!("the function ended in a Lambda error: {error}"),
            Err(_) => bail!("the invocation was dropped"),
        }
    }

    /// What the process has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What `find` finds in the log, once it does.
    ///
    /// # Errors
    /// If the process ends or hangs before.
    pub async fn logged<T>(&self, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let mut more = self.ended.clone();
        let found = async {
            loop {
                if let Some(found) = find(&self.log()) {
                    return found;
                }
                if more.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        self.unless_ended(found).await
    }

    /// Ends the process: all that it has logged.
    ///
    /// # Errors
    /// If the process cannot be ended.
    pub async fn finish(mut self) -> Result<String> {
        self.process.kill()?;
        let ended = self.ended.wait_for(|ended| *ended);
        timeout(HANG, ended).await.context("the process hangs")??;
        Ok(self.log())
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn next(State(invocations): State<Arc<Invocations>>) -> Response {
    invocations.first_poll.send_if_modified(|first| {
        let unset = first.is_none();
        first.get_or_insert_with(Instant::now);
        unset
    });
    loop {
        let waiting =
            invocations.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(Invocation { request_id, event, deadline, ended }) = waiting else {
            let _waits = Waits::begin(&invocations);
            invocations.more.notified().await;
            continue;
        };
        let deadline =
            deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().to_string();
        invocations
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(request_id.clone(), ended);
        invocations.count();
        let headers = [
            ("lambda-runtime-aws-request-id", request_id),
            ("lambda-runtime-deadline-ms", deadline),
            (
                "lambda-runtime-invoked-function-arn",
                "arn:aws:lambda:us-east-1:123456789012:function:under-test".to_owned(),
            ),
            ("lambda-runtime-trace-id", format!("Root={TRACE};Parent=9a9197af755a6419;Sampled=1")),
            ("content-type", "application/json".to_owned()),
        ];
        return (headers, event).into_response();
    }
}

impl Invocations {
    fn count(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).len();
        let at_once = running + *self.polling.borrow();
        self.most_at_once.fetch_max(at_once, Ordering::Relaxed);
    }
}

/// A poll that waits for an event.
struct Waits<'i>(&'i Invocations);

impl<'i> Waits<'i> {
    fn begin(invocations: &'i Invocations) -> Self {
        invocations.polling.send_modify(|polling| *polling += 1);
        invocations.count();
        Self(invocations)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.polling.send_modify(|polling| *polling -= 1);
    }
}

async fn response(
    invocations: State<Arc<Invocations>>,
    id: Path<String>,
    body: String,
) -> StatusCode {
    end(&invocations, &id, Ok(body))
}

async fn error(invocations: State<Arc<Invocations>>, id: Path<String>, body: String) -> StatusCode {
    end(&invocations, &id, Err(body))
}

fn end(invocations: &Invocations, id: &str, how: Ended) -> StatusCode {
    let ended = invocations.running.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    match ended.map(|ended| ended.send(how)) {
        Some(Ok(())) => StatusCode::ACCEPTED,
        Some(Err(_)) | None => StatusCode::NOT_FOUND,
    }
}
