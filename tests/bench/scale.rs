//! Throughput and latency of 1, 4 and 16 processes and of the one-machine stack, and of one process
//! as the table grows.
//!
//! `cargo run -p harness --example scale`, with `--requests N` for each line and `--rows N` for the
//! largest table; `tests/bench/run` calls it too. The shipped hyperswitch and the one-machine stack
//! must be built. Writes `tests/bench/scale.md`.
#![expect(clippy::print_stdout, reason = "a command's output")]

use std::{
    collections::HashMap,
    env, fs,
    iter::successors,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, builder::RangedU64ValueParser};
use dynoxide::{Database, ImportOptions, types::AttributeValue};
use futures_util::future::try_join_all;
use harness::{
    golden::{Call, Case, case},
    measure::{Spread, machine, processor_time},
    progress::progress,
    runtime::Function,
    transport::ProviderResponse,
};
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
};

/// Nothing waits for longer.
const TIMEOUT: Duration = Duration::from_secs(20);

type Numbers = RangedU64ValueParser<usize>;

/// Puts load on the processes and the one-machine stack, and writes the results.
#[derive(Parser)]
struct Options {
    /// How many requests there are in each line.
    #[arg(long, default_value_t = 3_000, value_parser = Numbers::new().range(100..))]
    requests: usize,
    /// How many payments the largest table has.
    #[arg(long, default_value_t = 1_000_000, value_parser = Numbers::new().range(1_000..))]
    rows: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    env::set_current_dir(&root)?;
    let case = case("hyperswitch", "cancels_requires_capture")?;

    let mut text = format!(
        "{};\n{} build of the store, which is SQLite in one process on the same machine.\n{} \
         requests a line.\n\n\
         | load | cancels per second | milliseconds: median (first to third quartile) | 99 % | \
         worst | processor time per cancel, ms: function | store and test |\n\
         |---|--:|--:|--:|--:|--:|--:|\n",
        machine().replace(", ", ",\n"),
        if cfg!(debug_assertions) { "debug" } else { "optimized" },
        options.requests
    );
    let tables = successors(Some(1_000), |rows| Some(rows * 10));
    let tables = tables.take_while(|rows| *rows < options.rows);
    let tables = tables.chain([options.rows]).collect::<Vec<_>>();
    let bar = progress("loads", 5 + tables.len() as u64, 0);
    for processes in [1, 4, 16] {
        bar.set_message(format!("{processes} processes"));
        let store = Store::start().await?;
        let ids = store.fill(0, options.requests)?;
        let load = behind_the_runtime_api(&case, &store, processes, ids).await?;
        text.push_str(&load.line(&format!("{processes} × one request in flight")));
        bar.inc(1);
    }
    for clients in [1, 16] {
        bar.set_message(format!("one-machine stack, {clients} clients"));
        let store = Store::start().await?;
        let ids = store.fill(0, options.requests)?;
        let load = through_the_stack(&case, &store, clients, ids).await?;
        text.push_str(&load.line(&format!("one-machine stack, {clients} clients over HTTP")));
        bar.inc(1);
    }
    text.push_str(
        "\n| payments in the table | one process: median (first to third quartile) | 99 % |\n\
         |--:|--:|--:|\n",
    );
    let store = Store::start().await?;
    let mut filled = 0;
    for rows in tables {
        bar.set_message(format!("{rows} payments"));
        let ids = store.fill(filled, rows - filled)?;
        filled = rows;
        // All over the table, not only what was put last.
        let every = ids.len().div_ceil(options.requests).max(1);
        let some = ids.into_iter().step_by(every).collect();
        let load = behind_the_runtime_api(&case, &store, 1, some).await?;
        let spread = Spread::of(&load.times);
        text.push_str(&format!("| {rows} | {spread} | {:.2} |\n", spread.at(0.99)));
        bar.inc(1);
    }
    print!("{text}");
    fs::write("tests/bench/scale.md", text)?;
    Ok(())
}

/// An embedded DynamoDB that can be filled quickly.
struct Store {
    address: SocketAddr,
    database: Database,
}

impl Store {
    async fn start() -> Result<Self> {
        let database = Database::memory()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(dynoxide::server::serve_on(listener, database.clone()));
        let config = embedded::config(&format!("http://{address}"));
        let tables = aws_sdk_dynamodb::Client::new(&config);
        embedded::create_tables(&tables, ["payments", "credentials"]).await?;
        Ok(Self { address, database })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts this many cancelable payments, numbered from `first`, and returns their ids.
    fn fill(&self, first: usize, number: usize) -> Result<Vec<String>> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let ids = (first..first + number).map(|n| format!("pay_{n:08}"));
        let ids = ids.collect::<Vec<_>>();
        for ids in ids.chunks(50_000) {
            let items = ids.iter().map(|id| {
                HashMap::from([
                    ("pk".to_owned(), text(&format!("hyperswitch#m_demo#{id}"))),
                    ("status".to_owned(), text("requires_capture")),
                    ("amount".to_owned(), AttributeValue::N("6540".to_owned())),
                    ("currency".to_owned(), text("USD")),
                    ("created_at".to_owned(), text("2024-01-01T00:00:00.000Z")),
                    ("updated_at".to_owned(), text("2024-01-01T00:05:00.000Z")),
                ])
            });
            self.database.import_items("payments", items.collect(), ImportOptions::default())?;
        }
        Ok(ids)
    }
}

/// The results of a load.
struct Load {
    took: Duration,
    /// Milliseconds, one for each cancel.
    times: Vec<f64>,
    /// Of the processes under load.
    function: Duration,
    /// Of this one, which is the store, the Runtime API and the clients.
    here: Duration,
}

impl Load {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
    fn line(&self, name: &str) -> String {
        let number = self.times.len() as f64;
        let spread = Spread::of(&self.times);
        let each = |time: Duration| time.as_secs_f64() * 1000.0 / number;
        format!(
            "| {name} | {:.0} | {spread} | {:.2} | {:.2} | {:.2} | {:.2} |\n",
            number / self.took.as_secs_f64(),
            spread.at(0.99),
            spread.at(1.0),
            each(self.function),
            each(self.here),
        )
    }
}

/// This many processes of the shipped binary, called as Lambda calls them: the next request follows
/// the last response.
async fn behind_the_runtime_api(
    case: &Case,
    store: &Store,
    processes: usize,
    ids: Vec<String>,
) -> Result<Load> {
    credentials(case, store).await?;
    let binary = "target/release/hyperswitch";
    ensure!(
        Path::new(binary).exists(),
        "{binary} is not there; build it with: cargo build --release -p hyperswitch"
    );
    let url = store.url();
    let mut functions = Vec::new();
    for _ in 0..processes {
        let environment =
            [("AWS_ENDPOINT_URL_DYNAMODB", url.as_str()), ("CREDENTIAL_TTL_SECONDS", "86400")];
        let function = Function::start(binary, &environment).await?;
        function.polled().await?;
        functions.push(function);
    }
    let event = case.event();
    let used = || {
        let times = functions.iter().map(|function| processor_time(function.id()));
        times.sum::<Result<Duration>>()
    };
    let (ids, next) = (Arc::new(ids), AtomicUsize::new(0));
    let (before, here_before, began) =
        (used()?, processor_time(std::process::id())?, Instant::now());
    let times = functions.iter().map(|function| {
        let (ids, next, event) = (&ids, &next, &event);
        async move {
            let mut times = Vec::new();
            while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                let event = event.replace("pay_hs_requires_capture", id);
                let call = Call::begin();
                let began = Instant::now();
                let response = function.invoke(&call.request_id, &event, TIMEOUT).await?;
                times.push(began.elapsed().as_secs_f64() * 1000.0);
                let response: ProviderResponse = serde_json::from_str(&response)?;
                ensure!(response.status == 200, "{id} was not canceled: {response:?}");
            }
            Ok(times)
        }
    });
    let times = try_join_all(times).await?.concat();
    Ok(Load {
        took: began.elapsed(),
        times,
        function: used()? - before,
        here: processor_time(std::process::id())? - here_before,
    })
}

/// The one-machine stack over HTTP, in front of this store.
async fn through_the_stack(
    case: &Case,
    store: &Store,
    clients: usize,
    ids: Vec<String>,
) -> Result<Load> {
    let stack = Stack::start(&store.url()).await?;
    credentials(case, store).await?;
    let key = case.event.pointer("/headers/api-key");
    let key = key.and_then(Value::as_str).context("the case has no key")?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let next = AtomicUsize::new(0);
    let (before, here_before, began) =
        (processor_time(stack.id())?, processor_time(std::process::id())?, Instant::now());
    let times = (0..clients).map(|_| {
        let (ids, next, client, stack) = (&ids, &next, &client, &stack);
        async move {
            let mut times = Vec::new();
            while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                let request = Request::post(format!("{}/payments/{id}/cancel", stack.url))
                    .header("api-key", key)
                    .header("content-type", "application/json")
                    .body(Full::from("{}"))?;
                let began = Instant::now();
                let response = client.request(request).await?;
                let status = response.status();
                response.into_body().collect().await?;
                times.push(began.elapsed().as_secs_f64() * 1000.0);
                ensure!(status == 200, "{id} was not canceled: {status}");
            }
            anyhow::Ok(times)
        }
    });
    let times = try_join_all(times).await?.concat();
    Ok(Load {
        took: began.elapsed(),
        times,
        function: processor_time(stack.id())? - before,
        here: processor_time(std::process::id())? - here_before,
    })
}

async fn credentials(case: &Case, store: &Store) -> Result<()> {
    let config = embedded::config(&store.url());
    let tables = aws_sdk_dynamodb::Client::new(&config);
    for item in &case.given.credentials {
        embedded::put(&tables, "credentials", item).await?;
    }
    Ok(())
}

/// `cargo run -p local`, ended when this is dropped.
struct Stack {
    process: tokio::process::Child,
    url: String,
}

impl Stack {
    async fn start(store: &str) -> Result<Self> {
        // Beside this one, in the folder of the same profile.
        let binary = env::current_exe()?.with_file_name("../local");
        ensure!(
            binary.exists(),
            "{} is not there; build it with: cargo build -p local",
            binary.display()
        );
        let mut process = tokio::process::Command::new(binary)
            .args(["--port", "0", "--endpoint-url", store])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().context("the stack says nothing")?;
        let mut lines = BufReader::new(output).lines();
        while let Some(line) = lines.next_line().await? {
            if let Some(url) = line.strip_prefix("ready") {
                let url = url.split_whitespace().next().context("ready, but where?")?.to_owned();
                return Ok(Self { process, url });
            }
        }
        bail!("the stack ended before it was ready")
    }

    fn id(&self) -> u32 {
        self.process.id().unwrap_or_default()
    }
}
