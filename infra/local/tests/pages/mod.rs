//! The commands of the pages, run as a reader would.
//!
//! A fenced `sh` block is a command. If a `json` or `text` block follows, it is the response's body
//! or the output; a number in the text between the two is the status, 200 by default. Times and
//! cancellation ids are compared by their form. A second word after `sh` names what else runs the
//! command: see [`elsewhere`].

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use golden::Json;
use shared::clock::Timestamp;

use crate::process::{Stack, bash, demo};

const HOST: &str = "http://127.0.0.1:9000";

/// A fenced block: the text before it, its language, the word after that, and its own text.
struct Block<'p> {
    before: &'p str,
    language: &'p str,
    runner: &'p str,
    text: &'p str,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    // Between fences there is prose and code by turns; the first part is prose.
    let parts: Vec<_> = page.split("```").collect();
    let pairs = parts.chunks_exact(2).map(|pair| {
        let [before, block] = pair else {
            unreachable!("two parts");
        };
        let (info, text) = block.split_once('\n').expect("a line after the fence");
        let (language, runner) = info.split_once(' ').unwrap_or((info, ""));
        Block { before, language, runner, text }
    });
    pairs.collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).expect(file)
}

/// The pages whose commands are run: by name, with their text.
fn pages() -> Vec<(String, String)> {
    let listed = Command::new("git")
        .args(["ls-files", "*.md", "infra/*.md", "functions/*.md"])
        .current_dir(root())
        .output()
        .unwrap();
    let names = String::from_utf8(listed.stdout).unwrap();
    let kept = |name: &&str| !name.starts_with("tests/") && !name.starts_with("events/");
    let pages = names.lines().filter(kept);
    pages.map(|name| (name.to_owned(), read(name))).collect()
}

/// Checks that what runs a command outside of this test does so.
fn elsewhere(page: &str, block: &Block<'_>) {
    let (runner, text) = (block.runner, block.text);
    match runner {
        // It needs an AWS account. `tests/deploy` runs on an emulator what one can run.
        "account" => assert!(
            text.contains("aws ")
                || text.contains("sam ")
                || text.contains("cdk ")
                || text.contains("--stack")
                || text.contains("smoke.py"),
            "{page}: needs no account:\n{text}"
        ),
        "cargo-lambda" => {
            let test = read("tests/window/cargo-lambda.test.mjs");
            assert!(test.contains(page) && test.contains("```sh cargo-lambda"));
        }
        "ci" => {
            let ci = read(".ci/run").replace(" --locked", "");
            for line in text.lines() {
                assert!(ci.contains(line), "{page}: .ci/run lacks {line}");
            }
        }
        _ => panic!("{page}: {runner} runs no commands"),
    }
}

/// The status in the text between a command and its response.
fn status(text: &str) -> &str {
    let mut numbers = text.split(|character: char| !character.is_ascii_digit());
    numbers.find(|number| number.len() == 3).unwrap_or("200")
}

/// Whether `actual` is what the page shows: its members in their order, and null for those that are
/// not shown.
fn same(shown: &Json, actual: &Json) -> bool {
    match (shown, actual) {
        (Json::Object(shown), Json::Object(actual)) => {
            let mut rest = shown.iter().peekable();
            let all = actual.iter().all(|(name, value)| {
                let next = rest.next_if(|(next, _)| next == name);
                same(next.map_or(&Json::Null, |(_, shown)| shown), value)
            });
            all && rest.next().is_none()
        }
        (Json::String(shown), Json::String(actual)) => {
            let time = |text: &str| text.parse::<Timestamp>().is_ok();
            let id =
                |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let alike = shown.len() == actual.len()
                && (time(shown) && time(actual) || id(shown) && id(actual));
            shown == actual || alike
        }
        (shown, actual) => shown == actual,
    }
}

/// The tools that the examples are written for.
fn demand(command: &str) {
    for tool in ["curl", "openssl", "node"] {
        let used = command.split_whitespace().any(|word| word == tool);
        let there = || Command::new(tool).arg("--version").output().is_ok();
        assert!(!used || there(), "a page's example needs {tool}: install it");
    }
}

/// Runs a command against the stack, and compares its outcome with the shown one.
fn run(page: &str, stack: &Stack, home: &str, block: &Block<'_>, outcome: Option<&Block<'_>>) {
    let command = block.text.trim();
    if let Some(arguments) = command.strip_prefix("cargo run -p local") {
        match arguments {
            // The stack is running: it was started like this, on free ports.
            "" => {}
            " -- --demo" => {
                let output = demo(&[], &[]);
                assert_eq!(output.code, Some(0), "{output:?}");
                // Which one is first in a race is chance, and so is whether either ever is.
                let shown = outcome.expect("the demo's output").text.lines();
                for line in shown.filter(|line| !line.contains(" first, ")) {
                    assert!(output.stdout.contains(line), "{page}: {line}");
                }
            }
            other => panic!("{page}: no test starts the stack with{other}"),
        }
        return;
    }
    demand(command);
    assert!(command.contains(HOST), "{page}: no runner for:\n{command}");
    let command = command.replace(HOST, &stack.url);
    let output = bash(&command, &[("CURL_HOME", home)]);
    let outcome = outcome.expect(&command);
    match outcome.language {
        "text" => assert_eq!(output, outcome.text, "{command}"),
        "json" => {
            let (body, code) = output.trim_end().rsplit_once('\n').expect(&output);
            assert_eq!(code, status(outcome.before), "{command}: {body}");
            let shown = serde_json::from_str(outcome.text).expect(outcome.text);
            let actual = serde_json::from_str(body).expect(body);
            assert!(same(&shown, &actual), "{command}\n  shown  {shown}\n  actual {actual}");
        }
        other => panic!("{command}: {other} is no outcome"),
    }
}

#[test]
fn every_command_of_the_pages_runs() {
    // curl prints the status as well, without a change to the pasted command.
    let home = super::folder("curl");
    fs::create_dir_all(&home).unwrap();
    let options = "silent\nwrite-out = \"\\n%{http_code}\"\n";
    fs::write(home.join(".curlrc"), options).unwrap();
    let home = home.to_str().unwrap();
    let mut ran = 0;
    for (page, text) in pages() {
        if page == "infra/RUNBOOK.md" {
            // Each of its commands runs on an emulator's stack.
            assert!(read("tests/deploy/watch.py").contains(&page));
            continue;
        }
        let blocks = blocks(&text);
        let commands = blocks.iter().filter(|block| block.language == "sh");
        let (here, others) = commands.partition::<Vec<_>, _>(|block| block.runner.is_empty());
        others.iter().for_each(|block| elsewhere(&page, block));
        if here.is_empty() {
            continue;
        }
        // A reader may have pasted the stack's own commands before.
        let stack = Stack::start(&["--commands"]);
        if page.starts_with("functions/") {
            for (_, command) in &stack.commands {
                assert!(bash(command, &[]).ends_with("200\n"), "{command}");
            }
        }
        for (at, block) in blocks.iter().enumerate() {
            if block.language == "sh" && block.runner.is_empty() {
                run(&page, &stack, home, block, blocks.get(at + 1));
                ran += 1;
            }
        }
    }
    println!("{ran} commands");
}

#[test]
fn a_shown_response_is_compared_in_full() {
    let shown = r#"{"id":"1","at":"2026-11-21T10:32:00Z","list":[1]}"#;
    let shown = serde_json::from_str(shown).unwrap();
    let same_as = |text: &str| same(&shown, &serde_json::from_str(text).unwrap());
    assert!(same_as(r#"{"id":"1","at":"2024-01-01T00:00:00Z","list":[1],"more":null}"#));
    for other in [
        r#"{"id":"2","at":"2024-01-01T00:00:00Z","list":[1]}"#,
        r#"{"id":"1","at":"2024-01-01T00:00:00.000Z","list":[1]}"#,
        r#"{"id":"1","at":"2024-01-01T00:00:00Z","list":[]}"#,
        r#"{"id":"1","at":"2024-01-01T00:00:00Z","list":[1],"more":1}"#,
        r#"{"at":"2024-01-01T00:00:00Z","list":[1]}"#,
        r#"{"at":"2024-01-01T00:00:00Z","id":"1","list":[1]}"#,
    ] {
        assert!(!same_as(other), "{other}");
    }
}
