//! The five cancel endpoints on one machine: an embedded DynamoDB, demo payments in it, and the real URLs in front.
//!
//! Each URL is answered by the very [`CancelService`](shared::service::CancelService) that Lambda runs; nothing here knows how a
//! payment is canceled.

mod data;
mod demo;
mod example;
mod serve;
mod ui;
mod window;

use std::{
    env,
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex},
};

use anyhow::{Context, Error, Result, anyhow};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::Credentials;
use axum::http::Uri;
use clap::Parser;
use shared::{
    lambda::settings,
    store::dynamodb::{DynamoDb, http_client, limits},
    telemetry::{self, Targets},
};
use tokio::net::TcpListener;
use tracing::Level;

use data::Tables;
use serve::{Endpoint, mount};
use window::Window;

/// The providers of this machine. A sixth is one more line here, and its file in `demo/`.
fn endpoints(store: &DynamoDb) -> Result<Vec<Endpoint>> {
    let settings = settings().map_err(Error::msg)?;
    Ok(vec![
        mount::<hyperswitch::Hyperswitch>(
            store,
            settings,
            include_str!("../demo/hyperswitch.json"),
        )?,
        mount::<hedgepayments::HedgePayments>(
            store,
            settings,
            include_str!("../demo/hedgepayments.json"),
        )?,
        mount::<vtex::Vtex>(store, settings, include_str!("../demo/vtex.json"))?,
        mount::<walletconnect::WalletConnect>(
            store,
            settings,
            include_str!("../demo/walletconnect.json"),
        )?,
        mount::<one2pays::One2Pays>(store, settings, include_str!("../demo/one2pays.json"))?,
    ])
}

/// Serves the five cancel endpoints on this machine, over an embedded DynamoDB with demo payments.
#[derive(Parser)]
#[command(name = "local", version)]
struct Arguments {
    /// Serve the endpoints on this port of 127.0.0.1; 0 takes any free one.
    #[arg(long, default_value_t = 9000)]
    port: u16,

    /// Serve the embedded DynamoDB on this port of 127.0.0.1; 0 takes any free one.
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    dynamodb_port: u16,

    /// Keep the tables in this folder instead of in memory.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Use the DynamoDB at this URL instead of the embedded one.
    ///
    /// Creates both tables there, unless they exist, and adds the demo items that are missing. Region and credentials come from the environment,
    /// as the AWS SDK reads them; where it names none, us-east-1 and a dummy key.
    #[arg(long, value_name = "URL", value_parser = http_url, conflicts_with_all = ["data", "dynamodb_port"])]
    endpoint_url: Option<String>,

    /// Cancel one payment of each provider over HTTP, show what happened, and end.
    ///
    /// Exits with 0 only if each cancel, and the second try after it, went as it should.
    #[arg(long)]
    demo: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Only the service's faults, unless `RUST_LOG` asks for more.
    let faults = Targets::new().with_target("shared", Level::ERROR);
    telemetry::init(io::stderr, faults);
    // Polled first, so that from here on Ctrl-C ends the process quietly. A demo that it cut short has shown nothing.
    let interrupted = ExitCode::from(u8::from(arguments.demo));
    tokio::select! {
        biased;
        Ok(()) = tokio::signal::ctrl_c() => interrupted,
        done = run(arguments) => match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                ui::error(&error);
                ExitCode::FAILURE
            }
        },
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let listener = TcpListener::bind(here(arguments.port))
        .await
        .map_err(|error| about_port(error.into(), arguments.port))?;
    let url = format!("http://{}", listener.local_addr()?);
    let (dynamodb, config) = match &arguments.endpoint_url {
        Some(url) => (url.clone(), config_elsewhere(url).await),
        None => {
            let port = arguments.dynamodb_port;
            let address = embedded::start(here(port), arguments.data.as_deref())
                .await
                .map_err(|error| about_port(error, port))?;
            let url = format!("http://{address}");
            let config = embedded::config(&url);
            (url, config)
        }
    };

    let endpoints: Arc<[_]> = endpoints(&DynamoDb::new(&config))?.into();
    let tables = Tables::new(&config);
    tables
        .fill(&endpoints)
        .await
        .with_context(|| format!("cannot use the DynamoDB on {dynamodb}"))?;
    let window = Window {
        url: url.clone(),
        dynamodb: dynamodb.clone(),
        embedded: arguments.endpoint_url.is_none(),
        tables: tables.clone(),
        endpoints: endpoints.clone(),
        sent: Mutex::default(),
    };
    let server = axum::serve(listener, window::router(window));

    if arguments.demo {
        let afresh = start_afresh(&arguments);
        return tokio::select! {
            done = demo::run(&url, &tables, &endpoints, &afresh) => done,
            ended = server.into_future() => ended.context("the server ended"),
        };
    }
    for endpoint in endpoints.iter() {
        ui::command(endpoint, &url, tables.next_cancelable(endpoint).await?)?;
    }
    ui::ready(&url, &dynamodb)?;
    server.await.context("the server ended")
}

fn http_url(text: &str) -> Result<String, &'static str> {
    match text.parse::<Uri>() {
        Ok(url) if matches!(url.scheme_str(), Some("http" | "https")) => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err("must be http://host:port, or https"),
    }
}

/// Nothing here is for other machines.
fn here(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Says what to do where a port is taken; leaves every other error as it is.
fn about_port(error: Error, port: u16) -> Error {
    let taken = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == ErrorKind::AddrInUse);
    if taken {
        anyhow!(
            "port {port} is taken; is the stack already running? \
             Choose others with --port and --dynamodb-port, 0 for any free one"
        )
    } else {
        error
    }
}

/// The functions' own SDK configuration, pointed at another DynamoDB. An emulator takes any region and key, so none need be set for one.
async fn config_elsewhere(endpoint_url: &str) -> SdkConfig {
    let named = |names: &[&str]| names.iter().any(|name| env::var_os(name).is_some());
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client());
    if !named(&["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"]) {
        loader = loader.region(Region::from_static("us-east-1"));
    }
    if !named(&["AWS_ACCESS_KEY_ID", "AWS_PROFILE"]) {
        loader =
            loader.credentials_provider(Credentials::new("local", "local", None, None, "dummy"));
    }
    let found = loader.load().await;
    let mut config = limits().endpoint_url(endpoint_url);
    config.set_region(found.region().cloned());
    config.set_credentials_provider(found.credentials_provider());
    config.build()
}

/// What to do once every demo payment is canceled. Only kept tables come to that.
fn start_afresh(arguments: &Arguments) -> String {
    match &arguments.data {
        Some(folder) => format!("delete {}, or name another folder", folder.display()),
        None => "delete both tables, or use another DynamoDB".to_owned(),
    }
}
