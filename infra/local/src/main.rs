//! The five cancel endpoints on one machine: an embedded DynamoDB, demo payments in it, and the
//! real URLs in front.
//!
//! The [`CancelService`](shared::service::CancelService) that Lambda runs serves each URL; nothing
//! here knows how a payment is canceled.

mod case;
mod data;
mod demo;
mod endpoint;
mod example;
mod guard;
mod interposer;
mod record;
mod serve;
mod store;
mod terminal;
mod window;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Error, Result, bail};
use aws_config::SdkConfig;
use clap::Parser;
use providers::Visitor;
use shared::{
    lambda::{LambdaSettings, settings},
    provider::Provider,
    service::Settings,
    store::dynamodb::DynamoDb,
    telemetry::{self, Targets},
};
use tokio::net::TcpListener;
use tracing::Level;

use case::Case;
use data::Tables;
use demo::Demo;
use endpoint::Endpoint;
use example::Form;
use interposer::Interposer;
use record::Record;
use store::{about_port, config_elsewhere, explained, here, http_url, on_this_machine};
use window::Window;

/// The providers of this machine, over one store.
struct Endpoints {
    store: DynamoDb,
    settings: Settings,
    all: Vec<Endpoint>,
}

impl Visitor for Endpoints {
    fn visit<P: Provider>(&mut self) -> Result<()> {
        let endpoint = Endpoint::new::<P>(&self.store, &self.settings)?;
        self.all.push(endpoint);
        Ok(())
    }
}

fn endpoints(config: &SdkConfig) -> Result<Vec<Endpoint>> {
    let LambdaSettings { service, tables, .. } = settings().map_err(Error::msg)?;
    let mut endpoints =
        Endpoints { store: DynamoDb::new(config, tables), settings: service, all: Vec::new() };
    providers::visit(&mut endpoints)?;
    Ok(endpoints.all)
}

/// Serves the five cancel endpoints on this machine, over an embedded DynamoDB with demo payments.
#[derive(Parser)]
#[command(name = "local", version)]
struct Arguments {
    /// Serve the endpoints on this port of 127.0.0.1 [default: 9000, with --demo any free one]; 0
    /// takes any free one.
    #[arg(long)]
    port: Option<u16>,

    /// Serve the embedded DynamoDB on this port of 127.0.0.1 [default: 8000, with --demo any free
    /// one]; 0 takes any free one.
    #[arg(long, value_name = "PORT")]
    dynamodb_port: Option<u16>,

    /// Keep the tables in this folder instead of in memory.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Use the DynamoDB at this URL instead of the embedded one.
    ///
    /// Creates both tables there if they are missing, and adds the demo items that are missing.
    /// Region and credentials come from the environment, as the AWS SDK reads them [default:
    /// us-east-1 and a dummy key].
    #[arg(long, value_name = "URL", value_parser = http_url)]
    #[arg(conflicts_with_all = ["data", "dynamodb_port"])]
    endpoint_url: Option<String>,

    /// Put the demo keys, which are public, into a DynamoDB that is not on this machine.
    #[arg(long, requires = "endpoint_url")]
    yes: bool,

    /// Show what the endpoints do, over HTTP, and exit: cancels and second tries, a lost response,
    /// a race.
    ///
    /// Exits with 0 only if every line is as expected.
    #[arg(long, conflicts_with_all = ["commands", "env", "case"])]
    demo: bool,

    /// Print a command for each of the five: those of the running stack on --port, or else of the
    /// one that this starts.
    #[arg(long, conflicts_with_all = ["env", "case"])]
    commands: bool,

    /// Print the environment in which the functions find the running stack's DynamoDB, and exit.
    #[arg(long)]
    env: bool,

    /// Put the given items of a case of events/ into the running stack's DynamoDB, print the
    /// command that invokes it, and exit.
    #[arg(long, value_name = "FILE", conflicts_with = "env")]
    case: Option<PathBuf>,
}

impl Arguments {
    fn port(&self) -> u16 {
        self.port.unwrap_or(if self.demo { 0 } else { 9000 })
    }

    fn dynamodb_port(&self) -> u16 {
        self.dynamodb_port.unwrap_or(if self.demo { 0 } else { 8000 })
    }

    /// The DynamoDB of a stack that is running.
    async fn running(&self) -> (String, SdkConfig) {
        match &self.endpoint_url {
            Some(url) => (url.clone(), config_elsewhere(url).await),
            None => {
                let url = format!("http://{}", here(self.dynamodb_port()));
                let config = embedded::config(&url);
                (url, config)
            }
        }
    }

    /// What to do once every demo payment is canceled. Only kept tables come to that.
    fn start_afresh(&self) -> String {
        match &self.data {
            Some(folder) => format!("delete {}, or name another folder", folder.display()),
            None => "delete both tables, or use another DynamoDB".to_owned(),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Only the service's errors by default; `RUST_LOG` sets more.
    let faults = Targets::new().with_target("shared", Level::ERROR);
    // The demo makes its faults itself.
    let faults = if arguments.demo { Targets::new() } else { faults };
    telemetry::init(io::stderr, faults);
    // Polled first, so that from here on Ctrl-C ends the process quietly. A demo that it cut short
    // has shown nothing.
    let interrupted = ExitCode::from(u8::from(arguments.demo));
    tokio::select! {
        biased;
        Ok(()) = tokio::signal::ctrl_c() => interrupted,
        done = run(arguments) => match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                terminal::error(&explained(&error));
                ExitCode::FAILURE
            }
        },
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let printed = if arguments.env {
        let (url, config) = arguments.running().await;
        case::environment(&url, &config).await?
    } else if let Some(event) = &arguments.case {
        let case = Case::read(event)?;
        let (url, config) = arguments.running().await;
        case.put(&Tables::new(&config))
            .await
            .with_context(|| format!("cannot use the DynamoDB on {url}"))?;
        case::invocation(event)
    } else {
        return start(arguments).await;
    };
    Ok(io::stdout().write_all(printed.as_bytes())?)
}

async fn start(arguments: Arguments) -> Result<()> {
    let port = arguments.port();
    let listener = match TcpListener::bind(here(port)).await {
        Ok(listener) => listener,
        Err(error) => {
            let error = about_port(error.into(), port);
            // A stack that runs already has the commands' payments.
            return match commands_of_running(&arguments).await {
                Ok(true) => Ok(()),
                Ok(false) | Err(_) => Err(error),
            };
        }
    };
    let url = format!("http://{}", listener.local_addr()?);
    let (dynamodb, config, interposer) = match &arguments.endpoint_url {
        Some(url) if !arguments.yes && !on_this_machine(url) => bail!(
            "the DynamoDB on {url} is not on this machine, and the demo keys are public: anyone \
             could cancel there; add --yes to put them there anyway"
        ),
        Some(url) => (url.clone(), config_elsewhere(url).await, None),
        None => {
            let port = arguments.dynamodb_port();
            let (address, interposer) = Interposer::start(here(port), arguments.data.as_deref())
                .await
                .map_err(|error| about_port(error, port))?;
            let url = format!("http://{address}");
            let config = embedded::config(&url);
            (url, config, Some(interposer))
        }
    };

    let endpoints: Arc<[_]> = endpoints(&config)?.into();
    let tables = Tables::new(&config);
    prepare(&tables, &endpoints)
        .await
        .with_context(|| format!("cannot use the DynamoDB on {dynamodb}"))?;
    if settings().map_err(Error::msg)?.service.issued_keys_only {
        let explanation = format!(
            "ISSUED_KEYS_ONLY is on, so the demo keys are refused, as is every key that was not \
             issued; unset it, or issue one: cargo run -p admin -- credentials issue \
             --endpoint-url {dynamodb} --provider hyperswitch --merchant m_demo"
        );
        if arguments.demo {
            bail!(explanation);
        }
        terminal::warning(&explanation);
    }
    let window = Window {
        dynamodb: dynamodb.clone(),
        tables: tables.clone(),
        endpoints: endpoints.clone(),
        interposer: interposer.clone(),
        record: Arc::new(Record::new()),
        lines: !arguments.demo,
    };
    let server = axum::serve(listener, window::router(window)).into_future();

    if arguments.demo {
        let afresh = arguments.start_afresh();
        let demo = Demo {
            url: &url,
            dynamodb: &dynamodb,
            tables: &tables,
            endpoints: &endpoints,
            interposer,
            afresh: &afresh,
        };
        return tokio::select! {
            done = demo.run() => done,
            ended = server => ended.context("the server ended"),
        };
    }
    if arguments.commands {
        commands(&url, &tables, &endpoints).await?;
    }
    let kept = match (&arguments.data, &arguments.endpoint_url) {
        (Some(folder), _) => format!("kept in {}", folder.display()),
        (None, Some(_)) => "which keeps what it has".to_owned(),
        (None, None) => "in memory (--data DIR keeps it)".to_owned(),
    };
    terminal::banner(&url, &dynamodb, &kept, &example(&url, &tables, &endpoints).await?)?;
    server.await.context("the server ended")
}

/// The tables with the demo data in them.
async fn prepare(tables: &Tables, endpoints: &[Endpoint]) -> Result<()> {
    let items = endpoints.iter().map(|endpoint| &endpoint.demo);
    let items = items.map(|demo| demo.credentials.len() + demo.payments.len());
    let progress = terminal::loading(items.sum());
    tables.create().await?;
    tables.fill(endpoints, &progress).await?;
    if !tables.returns_refused_items(endpoints).await? {
        terminal::warning(
            "this DynamoDB does not return the item of a failed condition \
             (ReturnValuesOnConditionCheckFailure), so every refusal will be \"not found\"; \
             use a newer one (DynamoDB Local 2.0 or later)",
        );
    }
    Ok(())
}

/// One command of the first provider, on one line.
async fn example(url: &str, tables: &Tables, endpoints: &[Endpoint]) -> Result<String> {
    let endpoint = endpoints.first().context("no provider")?;
    let next = tables.next_cancelable(endpoint).await?.map(|(id, _)| id);
    let id = next.or_else(|| endpoint.demo_ids().next()).unwrap_or_default();
    let cancel = &endpoint.demo.cancel;
    Ok(cancel.command(Form::OneLine, &endpoint.url(url, &id), &id))
}

/// A command for each provider.
async fn commands(url: &str, tables: &Tables, endpoints: &[Endpoint]) -> Result<()> {
    for endpoint in endpoints {
        let canceled = endpoint.statuses.canceled;
        let (id, what) = match tables.next_cancelable(endpoint).await? {
            Some((id, status)) => (id, format!("{status} -> {canceled}")),
            None => (
                endpoint.demo_ids().next().unwrap_or_default(),
                "all its demo payments are canceled already".to_owned(),
            ),
        };
        let url = endpoint.url(url, &id);
        let command = endpoint.demo.cancel.command(Form::Lines, &url, &id);
        terminal::command(endpoint.name, &what, &command)?;
    }
    Ok(())
}

/// The commands of a running stack, if they were requested and one is running.
async fn commands_of_running(arguments: &Arguments) -> Result<bool> {
    if arguments.commands {
        let (_, config) = arguments.running().await;
        let endpoints = endpoints(&config)?;
        let url = format!("http://{}", here(arguments.port()));
        commands(&url, &Tables::new(&config), &endpoints).await?;
    }
    Ok(arguments.commands)
}
