//! Links lead somewhere, lines, names and the README are short, and the runbook quotes the log.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
    process::Command,
};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

const COLUMNS: usize = 100;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The tree's files whose names fit, with their texts.
pub(crate) fn files(patterns: &[&str]) -> BTreeMap<String, String> {
    let listed = Command::new("git")
        .args(["ls-files", "-co", "--exclude-standard", "--"])
        .args(patterns)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(listed.status.success(), "git cannot list the tree's files");
    let names = String::from_utf8(listed.stdout).unwrap();
    let texts = names.lines().filter_map(|name| {
        let text = fs::read_to_string(root().join(name)).ok()?;
        Some((name.to_owned(), text))
    });
    texts.collect()
}

/// A page's links and the anchors that GitHub gives its headings.
fn read(page: &str) -> (Vec<String>, BTreeSet<String>) {
    let (mut links, mut anchors) = (Vec::new(), BTreeSet::new());
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(page, Options::ENABLE_TABLES) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is no link or heading")]
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                links.push(dest_url.to_string());
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let text = heading.take().unwrap_or_default().to_lowercase();
                let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
                let anchor: String = text.chars().filter(kept).collect();
                assert!(anchors.insert(anchor.replace(' ', "-")), "two headings are \"{text}\"");
            }
            _ => {}
        }
    }
    (links, anchors)
}

/// The path that `link` names from `page`, without `.` and `..`.
fn resolved(page: &str, link: &str) -> String {
    let folder = Path::new(page).parent().unwrap();
    let mut parts = Vec::new();
    for part in folder.join(link).components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(part) => parts.push(part.to_str().unwrap().to_owned()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    parts.join("/")
}

#[test]
fn every_link_and_anchor_of_the_pages_resolves() {
    let pages = files(&["*.md"]);
    let read: BTreeMap<_, _> = pages.iter().map(|(page, text)| (page, read(text))).collect();
    let mut wrong = Vec::new();
    for (page, (links, _)) in &read {
        // Of the crate's documentation, links without a slash or a dot are rustdoc's.
        let of_rustdoc =
            |link: &str| *page == "shared/README.md" && !link.contains('/') && !link.contains('.');
        for link in links {
            if link.contains("://") || of_rustdoc(link) {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => (*page).clone(),
                path => resolved(page, path),
            };
            let known = || read.get(&target).is_some_and(|(_, all)| all.contains(anchor));
            if !root().join(&target).exists() || !anchor.is_empty() && !known() {
                wrong.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_line_of_a_page_or_of_code_is_over_100_columns() {
    let mut wrong = Vec::new();
    let scripts = files(&["*.md", "*.rs", "*.py", ".ci/*", "infra/*", "tests/*"]);
    for (name, text) in scripts {
        let by_name = [".md", ".rs", ".py"].iter().any(|end| name.ends_with(end));
        if !by_name && !text.starts_with("#!") {
            continue;
        }
        for (number, line) in (1..).zip(text.lines()) {
            // A row of a table cannot be wrapped, nor can a word such as a URL.
            let row = name.ends_with(".md") && line.starts_with('|');
            let word = |word: &str| word.chars().count() > COLUMNS - 20;
            if line.chars().count() > COLUMNS && !row && !line.split(' ').any(word) {
                wrong.push(format!("{name}:{number}: {line}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_readme_has_at_most_120_lines_and_900_words() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let (lines, words) = (text.lines().count(), text.split_whitespace().count());
    assert!(lines <= 120 && words <= 900, "{lines} lines, {words} words");
}

#[test]
fn the_runbook_quotes_messages_that_the_functions_log() {
    let runbook = fs::read_to_string(root().join("infra/RUNBOOK.md")).unwrap();
    let code: String = files(&["shared/src/*.rs"]).into_values().collect();
    let code = code.replace("\\\n", "").split_whitespace().collect::<Vec<_>>().join(" ");
    // Two or more words, the first in lower case: no command, no setting.
    let is_message = |text: &str| {
        text.contains(' ')
            && text.starts_with(|c: char| c.is_lowercase())
            && text.chars().all(|c| c.is_alphabetic() || " ',".contains(c))
            && text != "replayed False"
    };
    let messages: Vec<_> = runbook.split('`').filter(|text| is_message(text)).collect();
    assert!(messages.len() > 2, "{messages:?}");
    for message in messages {
        assert!(code.contains(message), "no function logs \"{message}\"");
    }
}

#[test]
fn no_test_name_has_more_than_70_characters() {
    let code: String = files(&["*.rs"]).into_values().collect();
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let long: Vec<_> = code
        .split("fn ")
        .filter_map(|after| after.split(|c| !is_name(c)).next())
        .filter(|name| name.len() > 70)
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}
