//! The table: every arm, interleaved, before the same Runtime API and its own DynamoDB over TLS.
//! `tests/bench/run` builds the arms and calls this.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's output")]

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::{Parser, builder::RangedU64ValueParser};
use futures_util::future::try_join_all;
use harness::{
    golden::{Case, case},
    measure::{Ground, Quota, Spread, machine, resident_kilobytes},
    progress::{ProgressBar, progress},
};
use serde::Deserialize;

/// What an arm is compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Ours,
    Hello,
    Http,
    Floor,
    Lean,
    Defaults,
    Node,
    Python,
}

/// An entry of `arms.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arm {
    /// As the table has it.
    name: String,
    role: Role,
    /// What to start, from the root of the repository.
    command: Vec<String>,
    /// The provider of the case, and the case.
    provider: String,
    case: String,
    /// Whether valgrind can count it: no interpreter.
    native: bool,
    /// Whether it calls DynamoDB at all.
    store: bool,
    /// The manifest and the package whose crates are counted.
    package: Option<(String, String)>,
}

#[derive(Default)]
struct Figures {
    start_instructions: Option<u64>,
    request_instructions: Option<u64>,
    start: Vec<f64>,
    start_unprimed: Vec<f64>,
    first: Vec<f64>,
    warm: Vec<f64>,
    first_quota: Vec<f64>,
    first_quota_unprimed: Vec<f64>,
    warm_quota: Vec<f64>,
    system_calls: Option<u64>,
    allocations: Option<u64>,
    memory: Vec<u64>,
    bytes: Option<u64>,
    zip: Option<u64>,
    crates: Option<usize>,
}

type Numbers = RangedU64ValueParser<usize>;

/// Measures every arm, interleaved, and writes the table and the chart.
#[derive(Parser)]
struct Options {
    /// How often each arm is started.
    #[arg(long, default_value_t = 20, value_parser = Numbers::new().range(1..))]
    rounds: usize,
    /// How many requests each arm gets, for what is in memory then.
    #[arg(long, default_value_t = 100_000, value_parser = Numbers::new().range(2..))]
    soak: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let machine = machine();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    env::set_current_dir(&root)?;
    let arms: Vec<Arm> = serde_json::from_str(&fs::read_to_string("tests/bench/arms.json")?)?;
    let quota = Quota::new().ok();
    if quota.is_none() {
        eprintln!("the cpu cgroup cannot be written to: no figures under the quota");
    }

    let mut stands = Vec::new();
    for arm in arms {
        stands.push(Stand::set(arm, &root).await?);
    }
    let bar = progress("rounds", (options.rounds * stands.len()) as u64, 0);
    for _ in 0..options.rounds {
        for stand in &mut stands {
            bar.set_message(stand.arm.name.clone());
            stand.round(quota.as_ref()).await?;
            bar.inc(1);
        }
    }
    let bar = progress("counting", stands.len() as u64, 0);
    for stand in &mut stands {
        bar.set_message(stand.arm.name.clone());
        stand.count().await?;
        stand.weigh(&root)?;
        bar.inc(1);
    }
    // The requests take the longest; what is there already should not be lost with them.
    write(&stands, &options, &machine)?;
    // All at once: what is in memory does not depend on how long it takes.
    let bar = progress("requests", (options.soak * stands.len()) as u64, 0);
    let memory = stands.iter().map(|stand| stand.soak(options.soak, &bar));
    let memory = try_join_all(memory).await?;
    for (stand, memory) in stands.iter_mut().zip(memory) {
        stand.figures.memory = memory;
    }
    print!("{}", write(&stands, &options, &machine)?);
    Ok(())
}

/// Writes the table, which it gives back, and the chart.
fn write(stands: &[Stand], options: &Options, machine: &str) -> Result<String> {
    let table = table(stands, options, machine) + &bars(stands);
    fs::write("tests/bench/results.md", &table)?;
    fs::write("tests/bench/results.svg", chart(stands))?;
    Ok(table)
}

/// An arm with its own DynamoDB, which gives its responses again once it has given each.
struct Stand {
    arm: Arm,
    case: Case,
    ground: Ground,
    figures: Figures,
}

impl Stand {
    async fn set(arm: Arm, root: &Path) -> Result<Self> {
        let case = case(&arm.provider, &arm.case)?;
        let folder = root.join("target/measure").join(arm.name.replace([' ', ','], "-"));
        let ground = Ground::set(folder).await?;
        let stand = Self { arm, case, ground, figures: Figures::default() };
        // The real store first, so that its responses can be replayed later, and a wrong arm is
        // found at once.
        let function = stand.ground.start(stand.command(), true).await?;
        stand.ground.give(&stand.case).await?;
        stand
            .ground
            .cancel(&function, &stand.case)
            .await
            .with_context(|| stand.arm.name.clone())?;
        let written = stand.ground.echo.take();
        let canceled =
            written.iter().any(|(operation, status)| operation == "UpdateItem" && *status == 200);
        ensure!(canceled == stand.arm.store, "{}: {written:?}", stand.arm.name);
        stand.ground.echo.again(true);
        Ok(stand)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.arm.command.first().map_or("", String::as_str));
        command.args(self.arm.command.iter().skip(1));
        command
    }

    async fn round(&mut self, quota: Option<&Quota>) -> Result<()> {
        let (ground, case) = (&self.ground, &self.case);
        // Another arm ran before: one uncounted start brings the binary back into the caches.
        ground.start(self.command(), false).await?.polled().await?;
        let function = ground.start(self.command(), true).await?;
        let start = function.polled().await?;
        let first = ground.cancel(&function, case).await?;
        let mut warm = Vec::new();
        for _ in 0..20 {
            warm.push(milliseconds(ground.cancel(&function, case).await?));
        }
        drop(function);
        self.figures.start.push(milliseconds(start));
        self.figures.first.push(milliseconds(first));
        self.figures.warm.extend(warm);

        let Some(quota) = quota else { return Ok(()) };
        for primed in [true, false] {
            let function = self.ground.start(self.command(), primed).await?;
            let start = function.polled().await?;
            // Lambda gives a whole processor until the first poll.
            quota.confine(function.id())?;
            tokio::time::sleep(Duration::from_millis(50)).await;
            let first = milliseconds(self.ground.cancel(&function, &self.case).await?);
            if !primed {
                self.figures.first_quota_unprimed.push(first);
                self.figures.start_unprimed.push(milliseconds(start));
                continue;
            }
            self.figures.first_quota.push(first);
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(40)).await;
                let warm = self.ground.cancel(&function, &self.case).await?;
                self.figures.warm_quota.push(milliseconds(warm));
            }
        }
        Ok(())
    }

    async fn count(&mut self) -> Result<()> {
        let Self { ground, case, arm, figures } = self;
        let command = arm.command.iter().map(String::as_str).collect::<Vec<_>>();
        figures.system_calls = ground.system_calls(&command, case).await.ok();
        if arm.native {
            ground.echo.again(false);
            figures.start_instructions = Some(ground.start_instructions(&command).await?);
            figures.request_instructions =
                Some(ground.request_instructions(&command, case, 20).await?);
            ground.echo.again(true);
            figures.allocations = ground.allocations(&command, case).await.ok();
        }
        Ok(())
    }

    /// Kilobytes at the first poll, after one request, half of them and all.
    async fn soak(&self, requests: usize, bar: &ProgressBar) -> Result<Vec<u64>> {
        let function = self.ground.start(self.command(), true).await?;
        function.polled().await?;
        let mut memory = vec![resident_kilobytes(function.id())?];
        let mut missed = 0;
        for done in 1..=requests {
            missed += usize::from(self.ground.cancel(&function, &self.case).await.is_err());
            bar.inc(1);
            if [1, requests / 2, requests].contains(&done) {
                memory.push(resident_kilobytes(function.id())?);
            }
        }
        // With all arms at once one may have to wait for longer than it waits for its store.
        ensure!(
            missed * 1000 <= requests,
            "{}: {missed} of {requests} requests went wrong",
            self.arm.name
        );
        Ok(memory)
    }

    /// What is on the disk, and how many crates are in it.
    fn weigh(&mut self, root: &Path) -> Result<()> {
        let files: Vec<PathBuf> = self.arm.command.iter().map(PathBuf::from).collect();
        if let Some(file) = files.last().filter(|file| file.starts_with("target")) {
            self.figures.bytes = Some(fs::metadata(file)?.len());
            let zip = root.join("target/measure/function.zip");
            let _ = fs::remove_file(&zip);
            let zipped = Command::new("zip").args(["-q9j"]).arg(&zip).arg(file).status();
            if zipped.is_ok_and(|status| status.success()) {
                self.figures.zip = Some(fs::metadata(&zip)?.len());
            }
        }
        if let Some((manifest, package)) = &self.arm.package {
            let tree = Command::new(env!("CARGO"))
                .args([
                    "tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}",
                ])
                .args(["--manifest-path", manifest, "-p", package])
                .output()?;
            let lines = String::from_utf8_lossy(&tree.stdout).into_owned();
            let names: std::collections::BTreeSet<_> = lines
                .lines()
                .filter(|line| !line.contains("(proc-macro)"))
                .map(|line| line.trim_end_matches(" (*)"))
                .collect();
            self.figures.crates = Some(names.len());
        }
        Ok(())
    }
}

/// The targets, as ratios of this run; of the five functions, the worst.
fn bars(stands: &[Stand]) -> String {
    use Role::{Defaults, Floor, Lean, Node, Ours};
    let start = |f: &Figures| count(f.start_instructions);
    let request = |f: &Figures| count(f.request_instructions);
    let first = |f: &Figures| median(&f.first_quota);
    let memory = |f: &Figures| count(f.memory.last().copied());
    let grown = |f: &Figures| Some(memory(f)? - count(f.memory.get(2).copied())?);
    let of = |role, figure: &dyn Fn(&Figures) -> Option<f64>| {
        let arms = stands.iter().filter(|stand| stand.arm.role == role);
        arms.filter_map(|stand| figure(&stand.figures)).reduce(f64::max)
    };
    let ratio = |figure: &dyn Fn(&Figures) -> Option<f64>, ours, theirs| {
        Some(of(ours, figure)? / of(theirs, figure)?)
    };
    let most = [
        (
            "start, instructions, not primed: of a plain handler on the lean SDK",
            ratio(&start, Ours, Lean),
            1.0,
        ),
        ("first request at 128 MB: of the floor", ratio(&first, Ours, Floor), 4.0),
        (
            "warm request, instructions: of a plain handler on the lean SDK",
            ratio(&request, Ours, Lean),
            1.25,
        ),
        ("memory after all requests, MB", of(Ours, &memory).map(|kb| kb * 1024.0 / 1e6), 9.0),
        (
            "memory, what the second half of the requests added, MB",
            of(Ours, &grown).map(|kb| kb * 1024.0 / 1e6),
            0.1,
        ),
        ("binary, MB", of(Ours, &|f| count(f.bytes)).map(|bytes| bytes / 1e6), 6.5),
        ("zip, MB", of(Ours, &|f| count(f.zip)).map(|bytes| bytes / 1e6), 3.0),
    ];
    let least = [
        ("first request at 128 MB: SDK defaults take longer", ratio(&first, Defaults, Ours), 100.0),
        ("first request at 128 MB: Node takes longer", ratio(&first, Node, Ours), 100.0),
    ];
    let most = most.map(|(what, now, bar)| (what, now, "≤", bar, now.map(|now| now <= bar)));
    let least = least.map(|(what, now, bar)| (what, now, "≥", bar, now.map(|now| now >= bar)));
    let mut text = "\nOf our five the worst:\n\n| | now | bar | |\n|---|--:|--:|---|\n".to_owned();
    for (what, now, sign, bar, met) in most.into_iter().chain(least) {
        let now = now.map_or_else(|| "–".to_owned(), |now| format!("{now:.2}"));
        let met = match met {
            Some(true) => "met",
            Some(false) => "**not met**",
            None => "not measured",
        };
        text.push_str(&format!("| {what} | {now} | {sign} {bar} | {met} |\n"));
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn count(count: Option<u64>) -> Option<f64> {
    count.map(|count| count as f64)
}

fn median(times: &[f64]) -> Option<f64> {
    (!times.is_empty()).then(|| Spread::of(times).at(0.5))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn table(stands: &[Stand], options: &Options, machine: &str) -> String {
    let mut text = format!(
        "{};\n{} rounds, {} requests for the memory.\nTimes in milliseconds: median (first to \
         third quartile).\n\n\
         | arm | start: instructions, not primed | start: time | start, not primed | first \
         request | warm request | first, 128 MB | first, 128 MB, not primed | warm, 128 MB | \
         instructions / warm request | system calls | allocations | MB at first poll, after 1, \
         half, all | binary / zip MB | crates |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        machine.replace(", ", ",\n"),
        options.rounds,
        options.soak
    );
    for Stand { arm, figures, .. } in stands {
        let memory = figures.memory.iter().map(|kb| megabytes(*kb * 1024)).collect::<Vec<_>>();
        let cells = [
            thousands(figures.start_instructions),
            spread(&figures.start),
            spread(&figures.start_unprimed),
            spread(&figures.first),
            spread(&figures.warm),
            spread(&figures.first_quota),
            spread(&figures.first_quota_unprimed),
            spread(&figures.warm_quota),
            thousands(figures.request_instructions),
            or_dash(figures.system_calls),
            or_dash(figures.allocations),
            memory.join(", "),
            format!(
                "{} / {}",
                or_dash(figures.bytes.map(megabytes)),
                or_dash(figures.zip.map(megabytes))
            ),
            or_dash(figures.crates),
        ];
        text.push_str(&format!("| {} | {} |\n", arm.name, cells.join(" | ")));
    }
    text
}

fn or_dash(figure: Option<impl fmt::Display>) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| figure.to_string())
}

fn thousands(count: Option<u64>) -> String {
    or_dash(count.map(|count| format!("{} k", count / 1000)))
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{}", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

fn spread(times: &[f64]) -> String {
    if times.is_empty() {
        return "–".to_owned();
    }
    Spread::of(times).to_string()
}

/// First requests under the quota as bars on a logarithmic scale.
fn chart(stands: &[Stand]) -> String {
    let bars = stands
        .iter()
        .filter_map(|stand| {
            let times = &stand.figures.first_quota;
            (!times.is_empty()).then(|| (&stand.arm.name, Spread::of(times).at(0.5)))
        })
        .collect::<Vec<_>>();
    let height = 40 + 24 * bars.len();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"760\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"20\">First request at 128 MB, median, milliseconds, logarithmic</text>\n"
    );
    for (n, (name, time)) in bars.iter().enumerate() {
        let y = 34 + 24 * n;
        let width = ((time.max(0.1) * 10.0).log10() * 110.0).max(2.0);
        let ours = if name.starts_with("ours") { "#1b6e4b" } else { "#8a8f98" };
        svg.push_str(&format!(
            "<text x=\"8\" y=\"{}\">{name}</text><rect x=\"260\" y=\"{y}\" width=\"{width:.0}\" \
             height=\"18\" fill=\"{ours}\"/>\
             <text x=\"{:.0}\" y=\"{}\">{time:.2}</text>\n",
            y + 14,
            266.0 + width,
            y + 14
        ));
    }
    svg.push_str("</svg>\n");
    svg
}
