//! Proof that the tests can fail: seeded bugs, applied one at a time in a copy of the tree. The
//! test that a bug names must catch it.
//!
//! `cargo run -p harness --example bugs` tries all of them and prints the table; `-- --sample 6`
//! tries six, evenly spread, and `-- --only log panic` those with either in their name. First only
//! the named test runs. If it passes, all others run, which shows whether the name is wrong or a
//! test is missing. One bug per core is tried at a time, each in its own copy in `target/bugs`; the
//! tree itself is never touched. The run fails if a bug is not caught, does not compile, or no
//! longer applies.
#![expect(clippy::print_stdout, reason = "it prints a table")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, available_parallelism},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use harness::progress::progress;
use serde_json::Value;

mod list;

/// One seeded bug.
struct Bug {
    /// What it does.
    name: &'static str,
    /// The file, from the tree's root.
    file: &'static str,
    /// The text without the bug. It occurs once.
    right: &'static str,
    /// The text with the bug.
    wrong: &'static str,
    /// What `cargo test` builds for the test that catches it: `-p shared --lib`.
    target: &'static str,
    /// The name of that test, or a part of it.
    test: &'static str,
}

/// No test takes that long; one that does hangs, which is a way to be caught.
const TIMEOUT: Duration = Duration::from_secs(300);

fn main() -> Result<ExitCode> {
    let arguments = env::args().skip(1).collect::<Vec<_>>();
    let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    let all = list::BUGS;
    let (number, only): (_, &[_]) = match arguments.as_slice() {
        [] => (all.len(), &[""]),
        ["--sample", number] => (number.parse::<usize>()?.clamp(1, all.len()), &[""]),
        ["--only", texts @ ..] => (all.len(), texts),
        _ => bail!("usage: bugs [--sample NUMBER | --only TEXT…]"),
    };
    let root = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))?;
    let tried: Vec<_> = (all.iter().enumerate())
        .filter(|(n, bug)| {
            n * number % all.len() < number && only.iter().any(|text| bug.name.contains(text))
        })
        .collect();
    let trees = (1..=available_parallelism()?.get().min(tried.len()))
        .map(|number| Tree::copy(&root, number))
        .collect::<Result<Vec<_>>>()?;
    let first = trees.first().context("no bug has this in its name")?;
    // All of them, whatever the sample: code that moves away from under a bug is noticed at once.
    for bug in all {
        first.seed(bug)?;
    }
    let bar = progress("bugs", tried.len() as u64, 0);
    bar.set_message("their tests, without any bug");
    first.pass(tried.iter().map(|(_, bug)| *bug))?;

    bar.reset();
    bar.suspend(|| println!("| | bug | file | caught by |\n|--:|---|---|---|"));
    let (queue, missed) = (Mutex::new(tried.iter()), AtomicUsize::new(0));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for tree in &trees {
            scope.spawn(|| {
                while let Some((n, bug)) = next() {
                    bar.set_message(bug.name);
                    let caught = tree.caught(bug).unwrap_or_else(|why| {
                        missed.fetch_add(1, Ordering::Relaxed);
                        format!("**{why:#}**")
                    });
                    bar.inc(1);
                    let (number, name, file) = (n + 1, bug.name, bug.file);
                    bar.suspend(|| println!("| {number} | {name} | `{file}` | {caught} |"));
                }
            });
        }
    });
    bar.finish_and_clear();
    let missed = missed.into_inner();
    println!("\n{} bugs tried, {missed} not caught", tried.len());
    Ok(ExitCode::from(u8::from(missed > 0)))
}

/// A copy of the tree.
struct Tree {
    /// Its folder.
    at: PathBuf,
    /// Where cargo builds, which has the dependencies already.
    build: PathBuf,
}

impl Tree {
    /// Copies every file that git tracks or would track, in place of an earlier copy.
    fn copy(root: &Path, number: usize) -> Result<Self> {
        let at = root.join(format!("target/bugs/{number}"));
        if at.exists() {
            fs::remove_dir_all(&at)?;
        }
        let listed = Command::new("git")
            .args(["ls-files", "-co", "--exclude-standard"])
            .current_dir(root)
            .output()?;
        ensure!(listed.status.success(), "git cannot list the tree's files");
        for name in String::from_utf8(listed.stdout)?.lines() {
            let to = at.join(name);
            let Ok(mut content) = fs::read(root.join(name)) else {
                continue; // Deleted, and not committed yet.
            };
            if name == "Cargo.toml" {
                // Cargo distinguishes the builds of the copies by their version.
                let (ours, version) = (String::from_utf8(content)?, env!("CARGO_PKG_VERSION"));
                content = ours
                    .replace(
                        &format!("\nversion = \"{version}\""),
                        &format!("\nversion = \"{version}-bugs.{number}\""),
                    )
                    .into_bytes();
            }
            fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
            fs::write(&to, content)?;
        }
        let build = root.join("target");
        Ok(Self { at, build })
    }

    /// The bug's file without it and with it.
    fn seed(&self, bug: &Bug) -> Result<(String, String)> {
        let right = fs::read_to_string(self.at.join(bug.file))
            .with_context(|| format!("no file {}", bug.file))?;
        ensure!(
            right.matches(bug.right).count() == 1,
            "{}: the place is not there once: {:?}",
            bug.name,
            bug.right
        );
        let wrong = right.replacen(bug.right, bug.wrong, 1);
        Ok((right, wrong))
    }

    /// An error if a test of these bugs is not there, or fails without any of them.
    fn pass<'a>(&self, bugs: impl Iterator<Item = &'a Bug>) -> Result<()> {
        let mut tests = BTreeMap::<_, BTreeSet<_>>::new();
        for bug in bugs {
            tests.entry(bug.target).or_default().insert(bug.test);
        }
        for (target, names) in tests {
            let built = self.build(target)?;
            for name in names {
                let failed = first_failure(&built, name)?;
                ensure!(failed.is_none(), "without any bug fails {failed:?}");
            }
        }
        Ok(())
    }

    /// Which test catches the bug. An error if it is not the one that the bug names.
    fn caught(&self, bug: &Bug) -> Result<String> {
        let file = self.at.join(bug.file);
        let (right, wrong) = self.seed(bug)?;
        fs::write(&file, wrong)?;
        let first = |target, name| first_failure(&self.build(target)?, name);
        let mut caught = first(bug.target, bug.test);
        // The quick ones before all.
        for target in ["-p shared --lib", "--workspace"] {
            if matches!(caught, Ok(None)) {
                caught = first(target, "");
            }
        }
        fs::write(&file, right)?;
        match caught? {
            Some(name) if name.contains(bug.test) => Ok(format!("`{name}`")),
            Some(other) => bail!("`{other}`, and not by `{}`", bug.test),
            None => bail!("nothing"),
        }
    }

    /// Builds the tests of these arguments of `cargo test`.
    fn build(&self, target: &str) -> Result<Vec<Test>> {
        let built = Command::new(env!("CARGO"))
            .args(["test", "--quiet", "--no-run", "--message-format=json"])
            .args(target.split_whitespace())
            // Nothing of these two is built for it, but with them the dependencies have the
            // features that the whole workspace gives them, with which they are already built.
            .args(["-p", "shared", "-p", "admin"])
            .env("CARGO_BUILD_BUILD_DIR", &self.build)
            .env("CARGO_TARGET_DIR", self.at.join("target"))
            .current_dir(&self.at)
            .stderr(Stdio::null())
            .output()?;
        ensure!(built.status.success(), "it does not compile");
        let mut tests = Vec::new();
        for line in String::from_utf8(built.stdout)?.lines() {
            let message: Value = serde_json::from_str(line)?;
            let path = |pointer| message.pointer(pointer).and_then(Value::as_str);
            if message.pointer("/profile/test") == Some(&Value::Bool(true))
                && let (Some(executable), Some(manifest)) =
                    (path("/executable"), path("/manifest_path"))
            {
                let folder = Path::new(manifest).parent();
                tests.push(Test {
                    folder: folder.context("a manifest lies in a folder")?.into(),
                    executable: executable.into(),
                });
            }
        }
        Ok(tests)
    }
}

/// A built test.
struct Test {
    folder: PathBuf,
    executable: PathBuf,
}

/// The first that fails of the tests which have this in their name, if one fails. An error if there
/// is no such test.
fn first_failure(built: &[Test], name: &str) -> Result<Option<String>> {
    let mut found = false;
    for test in built {
        let mut process = Command::new(&test.executable)
            .arg(name)
            .current_dir(&test.folder)
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut output = process.stdout.take().context("the test has no output")?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut text = Vec::new();
            let _ = output.read_to_end(&mut text);
            let _ = sender.send(String::from_utf8_lossy(&text).into_owned());
        });
        let Ok(text) = receiver.recv_timeout(TIMEOUT) else {
            process.kill()?;
            process.wait()?;
            return Ok(Some(format!("{name}, which hangs")));
        };
        let passed = process.wait()?.success();
        let tests = text.lines().filter(|line| line.starts_with("test "));
        found |= tests.clone().next().is_some();
        if !passed {
            let mut failed = tests.filter(|line| line.trim_end().ends_with("FAILED"));
            let first = failed.next().and_then(|line| line.split_whitespace().nth(1));
            let first =
                first.map_or_else(|| format!("{name}, which ends abnormally"), str::to_owned);
            return Ok(Some(first));
        }
    }
    ensure!(found, "no test has `{name}` in its name");
    Ok(None)
}
