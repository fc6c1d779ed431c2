//! A fake of the AWS Lambda Runtime API, and the real binary that polls it.
//!
//! The API is the one AWS documents for custom runtimes (2018-06-01): the process long-polls `next`, and posts a `response` or an `error`
//! under the invocation's id.

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

/// What Lambda is told of an invocation: the function's answer, or the error it ended in.
type Ended = Result<String, String>;

#[derive(Default)]
struct Invocations {
    first_poll: watch::Sender<Option<Instant>>,
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
            .route(
                "/2018-06-01/runtime/invocation/{id}/response",
                post(response),
            )
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
        let mut process = command
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let log = Arc::<Mutex<String>>::default();
        let lines =
            BufReader::new(process.stdout.take().context("the process has no output")?).lines();
        let writer = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = writer.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
        });
        Ok(Self {
            process,
            started,
            invocations,
            log,
        })
    }

    /// How long it took from the start of the process to its first poll, once it has come.
    ///
    /// # Errors
    /// Where it does not come within a minute.
    pub async fn polled(&self) -> Result<Duration> {
        let mut polled = self.invocations.first_poll.subscribe();
        let polled = timeout(Duration::from_secs(60), polled.wait_for(Option::is_some)).await;
        let polled = polled.context("the process never polled")??;
        Ok(polled.map_or(Duration::ZERO, |at| at - self.started))
    }

    /// How many invocations it has had in hand at once, at most.
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
        // strace is the parent of what it watches, and ends with it; valgrind is the process itself.
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.unwrap_or_default();
        let ended = children.split_whitespace().next().map(str::to_owned);
        let ended = ended.unwrap_or_else(|| id.to_string());
        let asked = Command::new("kill").args(["-TERM", &ended]).status()?;
        anyhow::ensure!(asked.success(), "cannot end process {ended}");
        self.process.wait()?;
        Ok(())
    }

    /// Invokes the function as Lambda does with a time-out of `allowed`.
    ///
    /// # Errors
    /// The Lambda error where the function reports one, or that it did not answer in time.
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
        match timeout(allowed, end).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(error))) => bail!("the function ended in a Lambda error: {error}"),
            Ok(Err(_)) | Err(_) => bail!("the function did not answer within {allowed:?}"),
        }
    }

    /// What the process has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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
        let waiting = invocations
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let Some(Invocation {
            request_id,
            event,
            deadline,
            ended,
        }) = waiting
        else {
            invocations.more.notified().await;
            continue;
        };
        let deadline = deadline
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis()
            .to_string();
        let at_once = {
            let mut running = invocations
                .running
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            running.insert(request_id.clone(), ended);
            running.len()
        };
        invocations
            .most_at_once
            .fetch_max(at_once, Ordering::Relaxed);
        let headers = [
            ("lambda-runtime-aws-request-id", request_id),
            ("lambda-runtime-deadline-ms", deadline),
            (
                "lambda-runtime-invoked-function-arn",
                "arn:aws:lambda:us-east-1:123456789012:function:under-test".to_owned(),
            ),
            (
                "lambda-runtime-trace-id",
                format!("Root={TRACE};Parent=9a9197af755a6419;Sampled=1"),
            ),
            ("content-type", "application/json".to_owned()),
        ];
        return (headers, event).into_response();
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
    let ended = invocations
        .running
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(id);
    match ended.map(|ended| ended.send(how)) {
        Some(Ok(())) => StatusCode::ACCEPTED,
        Some(Err(_)) | None => StatusCode::NOT_FOUND,
    }
}
