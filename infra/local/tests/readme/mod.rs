//! The examples of the providers' READMEs, pasted as a reader would.
//! //!
//! In the section *Try it*, a fenced `sh` block is a command. The next fenced block is its outcome:
//! `json` is the response's body, with its status in the text between the two blocks; `text` is the
//! output. Times and cancellation ids are compared by their form.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use shared::clock::Timestamp;

use crate::process::{Stack, bash};

/// A command, the text after it, and the next block: its language and its text.
struct Example {
    command: String,
    words: String,
    language: String,
    expected: String,
}

/// The examples of a README's section *Try it*.
fn examples(readme: &str) -> Vec<Example> {
    let (_, rest) = readme.split_once("## Try it\n").expect("a section Try it");
    let (section, _) = rest.split_once("\n## ").unwrap_or((rest, ""));
    // Between fences there is prose and code by turns; the first part is prose.
    let parts: Vec<_> = section.split("```").skip(1).collect();
    assert!(parts.len() % 4 == 0, "a command without its outcome");
    let block = |part: &str| {
        let (language, text) = part.split_once('\n').expect("a language");
        (language.to_owned(), text.to_owned())
    };
    let examples = parts.chunks_exact(4).map(|chunk| {
        let [command, words, expected, _] = chunk else {
            panic!("{chunk:?}");
        };
        let (shell, command) = block(command);
        assert_eq!(shell, "sh", "{command}");
        let (language, expected) = block(expected);
        Example {
            command,
            words: (*words).to_owned(),
            language,
            expected,
        }
    });
    examples.collect()
}

/// The status in the text `responds with 200:`.
fn status(words: &str) -> &str {
    words
        .split(|character: char| !character.is_ascii_digit())
        .find(|number| number.len() == 3)
        .expect(words)
}

/// Whether `actual` is what the README shows: every shown member, and null for those that are not
/// shown.
fn same(shown: &Value, actual: &Value) -> bool {
    match (shown, actual) {
        (Value::Object(shown), Value::Object(actual)) => {
            shown.keys().all(|name| actual.contains_key(name))
                && actual
                    .iter()
                    .all(|(name, value)| same(shown.get(name).unwrap_or(&Value::Null), value))
        }
        (Value::String(shown), Value::String(actual)) => {
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
        assert!(
            !used || there(),
            "a README's example needs {tool}: install it"
        );
    }
}

#[test]
fn every_example_in_the_providers_readmes_works() {
    // curl prints the status as well, without a change to the pasted command.
    let home = super::folder("curl");
    fs::create_dir_all(&home).unwrap();
    fs::write(
        home.join(".curlrc"),
        "silent\nwrite-out = \"\\n%{http_code}\"\n",
    )
    .unwrap();
    let functions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../functions");
    let mut counts = Vec::new();
    for folder in fs::read_dir(functions).unwrap() {
        let folder = folder.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        let stack = Stack::start(&[]);
        let examples = examples(&readme);
        assert!(examples.len() > 1, "{}", folder.display());
        for example in &examples {
            demand(&example.command);
            let host = "http://127.0.0.1:9000";
            assert!(example.command.contains(host), "{}", example.command);
            let command = example.command.replace(host, &stack.url);
            let output = bash(&command, &[("CURL_HOME", home.to_str().unwrap())]);
            match example.language.as_str() {
                "text" => assert_eq!(output, example.expected, "{command}"),
                "json" => {
                    let (body, code) = output.trim_end().rsplit_once('\n').expect(&output);
                    assert_eq!(code, status(&example.words), "{command}: {body}");
                    let shown = serde_json::from_str(&example.expected).expect(&example.expected);
                    let actual = serde_json::from_str(body).expect(body);
                    assert!(
                        same(&shown, &actual),
                        "{command}\n  shown  {shown}\n  actual {actual}"
                    );
                }
                other => panic!("{command}: {other} is no outcome"),
            }
        }
        counts.push((folder.file_name().unwrap().to_owned(), examples.len()));
    }
    counts.sort();
    println!("examples: {counts:?}");
}

#[test]
fn what_a_readme_shows_is_what_there_is() {
    let shown = serde_json::json!({"id": "1", "at": "2026-11-21T10:32:00Z", "list": [1]});
    let same_as = |text: &str| same(&shown, &serde_json::from_str(text).unwrap());
    assert!(same_as(
        r#"{"id":"1","at":"2024-01-01T00:00:00Z","list":[1],"more":null}"#
    ));
    for other in [
        r#"{"id":"2","at":"2024-01-01T00:00:00Z","list":[1]}"#,
        r#"{"id":"1","at":"2024-01-01T00:00:00.000Z","list":[1]}"#,
        r#"{"id":"1","at":"2024-01-01T00:00:00Z","list":[]}"#,
        r#"{"id":"1","at":"2024-01-01T00:00:00Z","list":[1],"more":1}"#,
        r#"{"at":"2024-01-01T00:00:00Z","list":[1]}"#,
    ] {
        assert!(!same_as(other), "{other}");
    }
}
