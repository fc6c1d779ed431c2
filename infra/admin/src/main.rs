//! The operator's tool: credentials, payments, and whether a deployed stack works.

mod aws;
mod conformance;
mod credentials;
mod doctor;
mod http;
mod output;
mod payments;
mod verify;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Result;
use clap::{
    Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use providers::Provider;

use aws::Place;
use output::{Output, shown_lines};

/// The operator's tool: credentials, payments, and whether a deployed stack works
#[derive(Parser)]
#[command(name = "admin", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    place: Place,

    /// Print JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

/// Reads a provider's name on the command line.
fn provider() -> impl TypedValueParser<Value = &'static Provider> {
    PossibleValuesParser::new(providers::names())
        .try_map(|name| providers::find(&name).ok_or_else(|| format!("unknown provider {name}")))
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done; every check passed
  1  failed; standard error has the reason and the next step
  2  the command line is wrong
  3  done, but a check found a fault, or a payment had another status";

#[derive(Subcommand)]
enum Command {
    /// Issues, lists, rotates, revokes and expires the credentials that merchants cancel with
    #[command(subcommand)]
    Credentials(credentials::Command),
    /// Stores, shows, lists, moves and checks payments
    #[command(subcommand)]
    Payments(payments::Command),
    /// Cancels canary payments through a deployed stack's public URLs, and removes them
    Verify(verify::Verify),
    /// Checks tables and functions; with the feature account, also keys, rights and throttles;
    /// changes nothing
    Doctor(doctor::Doctor),
    /// Plays the golden cases against any endpoint, each with its own payments and keys
    Conformance(conformance::Conformance),
}

/// The result of a command that checks something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
}

impl From<bool> for Verdict {
    fn from(passed: bool) -> Self {
        if passed { Self::Passed } else { Self::Failed }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(Verdict::Passed) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::from(3),
        Err(error) => {
            // If this cannot be written either, the exit code still reports it.
            let _ = writeln!(io::stderr(), "error: {}", shown_lines(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<Verdict> {
    let Arguments { place, json, command } = arguments;
    let account = place.account().await?;
    let output = Output { json };
    match command {
        Command::Credentials(command) => {
            command.run(&account, output).await?;
            Ok(Verdict::Passed)
        }
        Command::Payments(command) => command.run(&account, output).await,
        Command::Verify(command) => command.run(&account, output).await,
        Command::Doctor(command) => command.run(&account, output).await,
        Command::Conformance(command) => command.run(&account, output).await,
    }
}
