//! Proof that the tests can fail: seeded bugs, applied one at a time in a copy of the tree. Some
//! test must catch each.
//! //!
//! `cargo run -p harness --example bugs` tries all of them and prints the table; `-- --sample 6`
//! tries six, evenly spread, and `-- --only log` those with this in their name. The copy is in
//! `target/bugs`; the tree itself is never touched. The run fails if a bug is not caught, or no
//! longer applies.
#![expect(clippy::print_stdout, reason = "it prints a table")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::mpsc,
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
}

/// No test takes that long; one that does hangs, which is a way to be caught.
const TIMEOUT: Duration = Duration::from_secs(180);

fn main() -> Result<ExitCode> {
    let arguments = env::args().skip(1).collect::<Vec<_>>();
    let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    let all = list::BUGS;
    let (number, only) = match arguments.as_slice() {
        [] => (all.len(), ""),
        ["--sample", number] => (number.parse::<usize>()?.clamp(1, all.len()), ""),
        ["--only", text] => (all.len(), *text),
        _ => bail!("usage: bugs [--sample NUMBER | --only TEXT]"),
    };
    let tree = copy_of_the_tree()?;
    // All of them, whatever the sample: code that moves away from under a bug is noticed at once.
    for bug in all {
        seed(&tree, bug)?;
    }
    let tried: Vec<_> = (all.iter().enumerate())
        .filter(|(n, bug)| n * number % all.len() < number && bug.name.contains(only))
        .collect();
    let bar = progress("bugs", tried.len() as u64, 0);
    bar.set_message("all tests, without any bug");
    if let Some(failed) = caught(&tree, None)? {
        bail!("a test fails without any bug: {failed}");
    }

    let mut missed = 0;
    bar.reset();
    bar.suspend(|| println!("| | bug | file | caught by |\n|--:|---|---|---|"));
    for (n, bug) in &tried {
        bar.set_message(bug.name);
        let caught = with_bug(&tree, bug)?;
        missed += usize::from(caught.is_none());
        bar.inc(1);
        bar.suspend(|| {
            println!(
                "| {} | {} | `{}` | {} |",
                n + 1,
                bug.name,
                bug.file,
                caught.as_deref().unwrap_or("**nothing**")
            );
        });
    }
    drop(bar);
    println!("\n{} bugs tried, {missed} not caught", tried.len());
    Ok(if missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Copies every file that git tracks or would track. Unchanged files keep their times, so that
/// little is rebuilt.
fn copy_of_the_tree() -> Result<PathBuf> {
    let tree = root().join("target/bugs");
    let listed = Command::new("git")
        .args(["ls-files", "-co", "--exclude-standard"])
        .current_dir(root())
        .output()?;
    ensure!(listed.status.success(), "git cannot list the tree's files");
    for name in String::from_utf8(listed.stdout)?.lines() {
        let (from, to) = (root().join(name), tree.join(name));
        let Ok(content) = fs::read(&from) else {
            continue; // Deleted, and not committed yet.
        };
        if fs::read(&to).is_ok_and(|there| there == content) {
            continue;
        }
        fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
        fs::write(&to, content)?;
    }
    Ok(tree)
}

/// The bug's file without it and with it.
fn seed(tree: &Path, bug: &Bug) -> Result<(String, String)> {
    let right =
        fs::read_to_string(tree.join(bug.file)).with_context(|| format!("no file {}", bug.file))?;
    ensure!(
        right.matches(bug.right).count() == 1,
        "{}: the place is not there once: {:?}",
        bug.name,
        bug.right
    );
    let wrong = right.replacen(bug.right, bug.wrong, 1);
    Ok((right, wrong))
}

/// Which test catches the bug, if one does. The file is as it was afterwards.
fn with_bug(tree: &Path, bug: &Bug) -> Result<Option<String>> {
    let file = tree.join(bug.file);
    let (right, wrong) = seed(tree, bug)?;
    fs::write(&file, wrong)?;
    // The package of functions/<package>/… and infra/<package>/….
    let caught = caught(tree, bug.file.split('/').nth(1));
    fs::write(&file, right)?;
    caught.with_context(|| bug.name.to_owned())
}

/// Builds the tests and runs them, the quickest first, until one fails, and returns its name.
/// `package` is tried first.
fn caught(tree: &Path, package: Option<&str>) -> Result<Option<String>> {
    // Unit tests, the store's contract and the environment first, then the tests that build
    // binaries.
    let stages: [&[&str]; 3] = [
        &["--lib"],
        &["--test", "store", "--test", "environment"],
        &["--bins", "--test", "contract", "--test", "admin"],
    ];
    for stage in stages {
        let mut tests = build(tree, stage)?;
        tests.sort_by_key(|test| Some(test.package.as_str()) != package);
        for test in &tests {
            if let Some(failed) = run(test)? {
                return Ok(Some(format!("`{}`: {failed}", test.package)));
            }
        }
    }
    Ok(None)
}

/// A built test.
struct Test {
    package: String,
    executable: PathBuf,
}

fn build(tree: &Path, which: &[&str]) -> Result<Vec<Test>> {
    let built = Command::new(env!("CARGO"))
        .args([
            "test",
            "--workspace",
            "--quiet",
            "--no-run",
            "--message-format=json",
        ])
        .args(which)
        .env("CARGO_TARGET_DIR", root().join("target"))
        .current_dir(tree)
        .stderr(Stdio::null())
        .output()?;
    ensure!(
        built.status.success(),
        "it does not compile, so it is no bug to test with"
    );
    let mut tests = Vec::new();
    for line in String::from_utf8(built.stdout)?.lines() {
        let message: Value = serde_json::from_str(line)?;
        let text = |path: &str| {
            message
                .pointer(path)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        if message.pointer("/profile/test") == Some(&Value::Bool(true))
            && let (Some(executable), Some(manifest)) =
                (text("/executable"), text("/manifest_path"))
        {
            let folder = Path::new(&manifest).parent().and_then(Path::file_name);
            let package = folder.unwrap_or_default().to_string_lossy().into_owned();
            tests.push(Test {
                package,
                executable: executable.into(),
            });
        }
    }
    Ok(tests)
}

/// The first failing test of an executable, if one fails.
fn run(test: &Test) -> Result<Option<String>> {
    let mut process = Command::new(&test.executable)
        .current_dir(root().join("target/bugs/tests"))
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut output = process.stdout.take().context("the test has no output")?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = std::io::Read::read_to_end(&mut output, &mut text);
        let _ = sender.send(String::from_utf8_lossy(&text).into_owned());
    });
    let Ok(text) = receiver.recv_timeout(TIMEOUT) else {
        process.kill()?;
        process.wait()?;
        return Ok(Some("it hangs".to_owned()));
    };
    if process.wait()?.success() {
        return Ok(None);
    }
    let failed = text
        .lines()
        .find(|line| line.starts_with("test ") && line.trim_end().ends_with("FAILED"));
    let name = failed.and_then(|line| line.split_whitespace().nth(1));
    Ok(Some(name.unwrap_or("it ends abnormally").to_owned()))
}
