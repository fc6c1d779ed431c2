//! What a function's process costs in instructions, counted by valgrind's callgrind.
//!
//! The process runs as it is shipped, behind the Runtime API, and speaks TLS with an embedded
//! DynamoDB.

use std::{
    fmt, fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::Client;
use serde_json::Value;

use crate::{
    echo::Echo,
    golden::{Call, Case, put},
    runtime::Function,
};

/// Nothing takes longer under valgrind.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often a run is tried that a busy machine spoils.
const TRIES: usize = 5;
/// What a figure may grow by, in percent.
const TOLERANCE: u64 = 5;

/// The tables, DynamoDB behind TLS, and a folder for what the tools write.
pub struct Ground {
    tables: Client,
    /// Between the process and DynamoDB.
    pub echo: Echo,
    folder: PathBuf,
    certificates: String,
}

impl Ground {
    /// Sets it up, with the tools' files in `folder`.
    ///
    /// # Errors
    /// Where no port is free, or the folder cannot be written.
    pub async fn set(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let (store, tables) = embedded::with_tables().await?;
        let echo = Echo::start(store).await?;
        let bundle = folder.join("certificates.pem");
        fs::write(&bundle, echo.certificate())?;
        Ok(Self { tables, echo, certificates: bundle.to_string_lossy().into_owned(), folder })
    }

    /// What a process needs to know of it. Each SDK has its own name for the certificates to trust.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let certificates = &self.certificates;
        vec![
            ("AWS_ENDPOINT_URL_DYNAMODB", self.echo.url()),
            ("CREDENTIAL_TTL_SECONDS", "86400".to_owned()),
            ("SSL_CERT_FILE", certificates.clone()),
            ("NODE_EXTRA_CA_CERTS", certificates.clone()),
            ("AWS_CA_BUNDLE", certificates.clone()),
            // strace searches for an interpreter itself.
            ("PATH", std::env::var("PATH").unwrap_or_default()),
        ]
    }

    /// Starts a command as Lambda would, primed or not.
    ///
    /// # Errors
    /// Where the process does not start.
    pub async fn start(&self, command: Command, primed: bool) -> Result<Function> {
        let environment = self.environment();
        let mut environment =
            environment.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>();
        if !primed {
            environment.push(("PRIME_CONNECTION", "false"));
        }
        Function::spawn(command, &environment).await
    }

    /// Puts the items of `case` as they were before it.
    ///
    /// # Errors
    /// If DynamoDB refuses or does not respond.
    pub async fn give(&self, case: &Case) -> Result<()> {
        put(&case.given, &self.tables).await
    }

    /// Sends the case once, and accepts only a cancel as the response. The time is the Runtime
    /// API's.
    ///
    /// # Errors
    /// If there is no response, or another one.
    pub async fn cancel(&self, function: &Function, case: &Case) -> Result<Duration> {
        let event = case.event();
        let call = Call::begin();
        let began = Instant::now();
        let response = function.invoke(&call.request_id, &event, TIMEOUT).await?;
        let took = began.elapsed();
        let response: Value =
            serde_json::from_str(&response).with_context(|| format!("no response: {response}"))?;
        ensure!(response["statusCode"] == case.then.status, "not {}: {response}", case.then.status);
        Ok(took)
    }

    /// How many instructions a process takes from exec to its first poll, without the connection to
    /// DynamoDB.
    ///
    /// # Errors
    /// Where valgrind is missing, or the process does not poll.
    pub async fn start_instructions(&self, command: &[&str]) -> Result<u64> {
        let function = self.start(self.callgrind(command), false).await?;
        function.polled().await?;
        // The poll has arrived, but the process may not yet be asleep.
        tokio::time::sleep(Duration::from_millis(300)).await;
        function.end()?;
        self.counted()
    }

    /// How many instructions a warm process takes for a request, everything included: the mean of
    /// `requests`, each with a new payment to cancel.
    ///
    /// # Errors
    /// Where valgrind is missing, or the machine is so busy that the store seems slow.
    pub async fn request_instructions(
        &self,
        command: &[&str],
        case: &Case,
        requests: u64,
    ) -> Result<u64> {
        let mut last = None;
        for _ in 0..TRIES {
            let function = self.start(self.callgrind(command), false).await?;
            function.polled().await?;
            // Valgrind makes the first ones so slow that the process may give up on the store.
            for _ in 0..requests {
                self.give(case).await?;
                last = self.cancel(&function, case).await.err();
            }
            let id = format!("--pid={}", function.id());
            let zeroed = Command::new("vgdb").args([&id, "zero"]).output();
            ensure!(
                zeroed.is_ok_and(|done| done.status.success()),
                "vgdb, which comes with valgrind, does not reach the process"
            );
            let _ = self.echo.take();
            for _ in 0..requests {
                self.give(case).await?;
                if let Err(error) = self.cancel(&function, case).await {
                    last = Some(error);
                }
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            function.end()?;
            // A second call to the store, or a timed-out one, would be in the count. Some programs
            // have no store.
            let calls = self.echo.take().len() as u64;
            if last.is_none() && (calls == requests || calls == 0) {
                return Ok(self.counted()? / requests);
            }
        }
        let last =
            last.unwrap_or_else(|| anyhow::anyhow!("the store got more than one call per request"));
        Err(last.context(format!(
            "in {TRIES} tries no run was without a timeout; is the machine busy?"
        )))
    }

    /// How many system calls a warm request takes: the difference between two runs under strace,
    /// one with twice as many requests.
    ///
    /// # Errors
    /// If strace is missing, or a response is not the expected one.
    pub async fn system_calls(&self, command: &[&str], case: &Case) -> Result<u64> {
        let out = self.folder.join("strace.out");
        let file = out.display().to_string();
        let tool = ["strace", "-f", "-c", "-o", &file];
        self.difference(&tool, command, case, || {
            let text = fs::read_to_string(&out)?;
            let total = text.lines().find(|line| line.ends_with("total"));
            let calls = total.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
            calls.context("strace counted nothing")
        })
        .await
    }

    /// How many heap allocations a warm request makes, measured in the same way under valgrind.
    ///
    /// # Errors
    /// If valgrind is missing, or a response is not the expected one.
    pub async fn allocations(&self, command: &[&str], case: &Case) -> Result<u64> {
        let out = self.folder.join("memcheck.out");
        let log = format!("--log-file={}", out.display());
        let tool = ["valgrind", "--tool=memcheck", "--undef-value-errors=no", &log];
        self.difference(&tool, command, case, || {
            let text = fs::read_to_string(&out)?;
            let usage = text.split("total heap usage: ").nth(1);
            let allocations = usage.and_then(|usage| usage.split(" allocs").next());
            let allocations = allocations.map(|number| number.replace(',', ""));
            let allocations = allocations.and_then(|number| number.parse().ok());
            allocations.context("valgrind counted nothing")
        })
        .await
    }

    async fn difference(
        &self,
        tool: &[&str],
        command: &[&str],
        case: &Case,
        count: impl Fn() -> Result<u64>,
    ) -> Result<u64> {
        const REQUESTS: u64 = 50;
        let mut counts = [0; 2];
        for (times, counted) in counts.iter_mut().enumerate() {
            let (program, arguments) = tool.split_first().context("no tool")?;
            let mut under = Command::new(program);
            under.args(arguments).args(command);
            let function = self.start(under, true).await?;
            function.polled().await?;
            for _ in 0..REQUESTS * (times as u64 + 1) {
                self.cancel(&function, case).await?;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            function.end()?;
            *counted = count()?;
        }
        Ok(counts[1].saturating_sub(counts[0]) / REQUESTS)
    }

    fn callgrind(&self, command: &[&str]) -> Command {
        let mut valgrind = Command::new("valgrind");
        let file = |name| self.folder.join(name).display().to_string();
        valgrind
            .args(["--quiet", "--tool=callgrind"])
            .arg(format!("--log-file={}", file("valgrind.log")))
            .arg(format!("--callgrind-out-file={}", file("callgrind.out")))
            .args(command);
        valgrind
    }

    fn counted(&self) -> Result<u64> {
        let text = fs::read_to_string(self.folder.join("callgrind.out"))
            .context("callgrind wrote nothing")?;
        text.lines()
            .rev()
            .find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok())
            .context("callgrind wrote no total")
    }
}

/// What the process `id` has in memory, in KB.
///
/// # Errors
/// Where the process is gone.
pub fn resident_kilobytes(id: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    size.context("the process has no memory")
}

/// The part of a processor that Lambda gives a function of 128 MB: 128/1769 of one, in slices of 20
/// ms.
pub struct Quota {
    folder: PathBuf,
}

impl Quota {
    /// Makes it, in a control group of its own.
    ///
    /// # Errors
    /// Where control groups cannot be written to.
    pub fn new() -> Result<Self> {
        let name = format!("bench-{}", std::process::id());
        let first = PathBuf::from("/sys/fs/cgroup/cpu").join(&name);
        let second = PathBuf::from("/sys/fs/cgroup").join(&name);
        if first.parent().is_some_and(std::path::Path::exists) {
            fs::create_dir(&first)?;
            fs::write(first.join("cpu.cfs_period_us"), "20000")?;
            fs::write(first.join("cpu.cfs_quota_us"), "1447")?;
            return Ok(Self { folder: first });
        }
        fs::create_dir(&second)?;
        fs::write(second.join("cpu.max"), "1447 20000")?;
        Ok(Self { folder: second })
    }

    /// Puts the process `id` under it.
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn confine(&self, id: u32) -> Result<()> {
        fs::write(self.folder.join("cgroup.procs"), id.to_string())
            .with_context(|| format!("cannot confine process {id}"))
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}

/// A duration in milliseconds, measured many times: shown as the median and, in brackets, the first
/// and third quartile.
#[derive(Debug, Clone)]
pub struct Spread(Vec<f64>);

impl Spread {
    /// Of these times.
    #[must_use]
    pub fn of(times: &[f64]) -> Self {
        let mut sorted = times.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self(sorted)
    }

    /// The time below which this part of them is; NaN if there are none.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a list in memory"
    )]
    pub fn at(&self, part: f64) -> f64 {
        let at = (part * self.0.len().saturating_sub(1) as f64).round() as usize;
        self.0.get(at).copied().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [middle, low, high] = [0.5, 0.25, 0.75].map(|part| self.at(part));
        write!(f, "{middle:.2} ({low:.2}–{high:.2})")
    }
}

/// What the process `id` has had of a processor so far.
///
/// # Errors
/// Where the process is gone.
pub fn processor_time(id: u32) -> Result<Duration> {
    /// Clock ticks a second in `/proc`, on every Linux.
    const TICKS: u64 = 100;
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name, in brackets, may have spaces.
    let after = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = after.split(' ').skip(11).take(2);
    let ticks = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>();
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

/// Date, processor, how busy it is, and versions, as the tools name themselves.
#[must_use]
pub fn machine() -> String {
    let said = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().ok();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.filter(|text| !text.is_empty()).unwrap_or_else(|| format!("no {program}"))
    };
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("an unnamed processor", |(_, name)| name.trim());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{}, {} cores of {model}, shared, with a load of {} before this, {}, node {}, {}, {}",
        said("date", "+%F"),
        std::thread::available_parallelism().map_or(1, usize::from),
        load.split(' ').next().unwrap_or("?"),
        said("rustc", "--version"),
        said("node", "--version"),
        said("python3", "--version"),
        said("valgrind", "--version"),
    )
}

/// The change of a figure.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    before: u64,
    now: u64,
}

impl Change {
    /// From `before` to `now`.
    #[must_use]
    pub fn of(before: u64, now: u64) -> Self {
        Self { before, now }
    }

    /// Whether it has grown by more than noise and a newer compiler explain.
    #[must_use]
    pub fn is_growth(self) -> bool {
        self.now * 100 > self.before * (100 + TOLERANCE)
    }

    fn is_gain(self) -> bool {
        self.now * 100 < self.before * (100 - TOLERANCE)
    }
}

impl fmt::Display for Change {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = (self.now as f64 / self.before as f64 - 1.0) * 100.0;
        write!(f, "{percent:+.1} %")?;
        if self.is_growth() {
            write!(f, ", more than {TOLERANCE} % too many")
        } else if self.is_gain() {
            f.write_str(", better: write it down with --accept")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_of_more_than_five_percent_is_refused_and_a_gain_is_named() {
        for (before, now, growth, said) in [
            (1000, 1000, false, "+0.0 %"),
            (1000, 1050, false, "+5.0 %"),
            (1000, 1051, true, "+5.1 %, more than 5 % too many"),
            (1000, 949, false, "-5.1 %, better: write it down with --accept"),
            (0, 1, true, "+inf %, more than 5 % too many"),
        ] {
            let change = Change::of(before, now);
            assert_eq!(change.is_growth(), growth, "{before} to {now}");
            assert_eq!(change.to_string(), said);
        }
    }
}
