//! The instruction gate: counts the shipped binaries' instructions and compares them with the
//! committed figures of `instructions.json`.
//!
//! `cargo run -p harness --example instructions`, with cargo-lambda in the `PATH`; `--accept`
//! writes the figures instead, and providers' names select some of them.
#![expect(clippy::print_stdout, reason = "a command's output")]

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use harness::{
    golden::{case, providers},
    measure::{Change, Ground},
};
use serde::{Deserialize, Serialize};

/// The number of counted requests. As many run before them uncounted.
const REQUESTS: u64 = 20;

/// What is committed of one provider.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Figures {
    /// The golden case that is played.
    case: String,
    /// From exec to the first poll, without the connection to DynamoDB.
    start: u64,
    /// A warm request, everything included.
    request: u64,
}

/// Counts the instructions of the shipped binaries and compares them with the committed figures.
#[derive(Parser)]
struct Options {
    /// Write the figures down instead.
    #[arg(long)]
    accept: bool,
    /// Providers, if not all.
    names: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Options { accept, names } = Options::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let file = root.join("tests/bench/instructions.json");
    let mut committed: BTreeMap<String, Figures> =
        serde_json::from_str(&fs::read_to_string(&file)?)
            .with_context(|| file.display().to_string())?;
    if let Some(missing) = providers()?.into_iter().find(|name| !committed.contains_key(name)) {
        bail!(
            "no figures of {missing}: put its name into {}, with the golden case to play and 0 for \
             both, and run this with --accept {missing}",
            file.display()
        );
    }
    if let Some(unknown) = names.iter().find(|name| !committed.contains_key(*name)) {
        bail!("no figures of {unknown} in {}", file.display());
    }
    let selected = |name: &String| names.is_empty() || names.contains(name);
    let built = build(&root, committed.keys().filter(|name| selected(name)))?;
    let ground = Ground::set(root.join("target/measure")).await?;

    let mut grown = Vec::new();
    for (name, figures) in committed.iter_mut().filter(|(name, _)| selected(name)) {
        let case = case(name, &figures.case)?;
        let binary = built.join(name).join("bootstrap");
        let binary = binary.to_string_lossy();
        let start = ground.start_instructions(&[&binary]).await?;
        let request = ground.request_instructions(&[&binary], &case, REQUESTS).await?;
        let measured =
            [("start", start, &mut figures.start), ("warm request", request, &mut figures.request)];
        for (what, now, before) in measured {
            let change = Change::of(*before, now);
            println!("{name:14} {what:14} {before:>9} → {now:>9}  {change}");
            if change.is_growth() {
                grown.push(format!("{name}, {what}"));
            }
            *before = now;
        }
    }
    if accept {
        fs::write(&file, serde_json::to_string_pretty(&committed)? + "\n")?;
        return Ok(());
    }
    ensure!(
        grown.is_empty(),
        "more instructions than committed: {}. Find out why; if the change is worth it, commit the \
         new figures with\n  \
         cargo run -p harness --example instructions -- --accept",
        grown.join("; ")
    );
    Ok(())
}

/// Builds the functions as SAM does, and returns the folder of their folders. All at once, because
/// linking one takes a minute of one processor.
fn build<'n>(root: &Path, names: impl Iterator<Item = &'n String>) -> Result<PathBuf> {
    let packages = names.flat_map(|name| ["-p", name]);
    let status = Command::new(env!("CARGO"))
        .args(["lambda", "build", "--locked", "--release", "--quiet"])
        // With `-p`, so that what the tests need of the same crates is not in them.
        .args(packages)
        .current_dir(root)
        .status()?;
    ensure!(
        status.success(),
        "the functions do not build. If there is no cargo-lambda, run \
         tests/deploy/environment aws, and put target/tools/aws/bin first in PATH"
    );
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    Ok(target.join("lambda"))
}
