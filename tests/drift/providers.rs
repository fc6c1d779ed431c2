//! Each provider has all its parts, and no part lacks a provider. A provider is a folder in
//! `functions`; nothing here names one.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::pages::files;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn nothing_of_a_provider_is_missing_and_nothing_belongs_to_none() {
    let drift = Drift::of(&root());
    println!(
        "{} providers, {} golden cases, {} rows of errors, {} requests in literal events",
        drift.providers, drift.cases, drift.rows, drift.requests
    );
    assert_eq!(drift.complaints, Vec::<String>::new());
    assert!(drift.providers >= 5 && drift.cases >= 800 && drift.rows >= 50 && drift.requests >= 20);
}

/// What a sixth provider touches outside its folders in `functions` and `events`.
const LISTS: [&str; 9] = [
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "infra/openapi.yaml",
    "infra/providers/Cargo.toml",
    "infra/providers/src/lib.rs",
    "infra/template.yaml",
    "tests/bench/instructions.json",
    "tests/fuzz/src/provider.rs",
];

/// Examples and results, which are complete without a sixth provider.
const EXAMPLES: [&str; 11] = [
    "functions/README.md",
    "infra/admin/tests/admin/payments.rs",
    "infra/local/README.md",
    "infra/local/tests/stack.rs",
    "tests/README.md",
    "tests/bench/arms.json",
    "tests/bench/results.md",
    "tests/bench/results.svg",
    "tests/bugs/list.rs",
    "tests/deploy/emulator.py",
    "tests/window/window.test.mjs",
];

#[test]
fn no_other_file_lists_all_providers() {
    let names = folders(&root().join("functions"));
    let files = files(&["*"]);
    let lists_all = |text: &String| {
        let text = text.to_lowercase();
        names.iter().all(|name| text.contains(name))
    };
    let found: BTreeSet<_> = (files.iter())
        .filter_map(|(file, text)| lists_all(text).then_some(file.as_str()))
        .collect();
    let lists = BTreeSet::from(LISTS);
    assert_eq!(&lists - &found, BTreeSet::new(), "a provider is missing");
    assert_eq!(&(&found - &lists) - &BTreeSet::from(EXAMPLES), BTreeSet::new());
}

#[test]
fn a_panic_in_a_release_unwinds() {
    // `cargo lambda` sets "abort" if the manifest sets nothing. A panic would then end the process,
    // and the caller would get no response.
    let manifest = manifest(&root());
    let panic = &manifest["profile"]["release"]["panic"];
    assert_eq!(panic.as_str(), Some("unwind"));
}

#[test]
fn missing_and_left_over_parts_are_reported() {
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("drift");
    let _ = fs::remove_dir_all(&copy);
    for part in ["Cargo.toml", "README.md", "events", "functions", "infra/template.yaml"] {
        copy_all(&root().join(part), &copy.join(part));
    }
    assert_eq!(Drift::of(&copy).complaints, Vec::<String>::new());

    let names = folders(&copy.join("functions"));
    let [one, two, three, four, five, ..] = names.as_slice() else {
        panic!("{names:?}");
    };
    let edit = |file: &str, change: &dyn Fn(&str) -> String| {
        let path = copy.join(file);
        let text = fs::read_to_string(&path).unwrap();
        let changed = change(&text);
        assert_ne!(text, changed, "{file}");
        fs::write(path, changed).unwrap();
    };
    let without = |file: &str, what: &str| {
        edit(file, &|text| {
            let lines = text.lines().filter(|line| !line.contains(what));
            lines.map(|line| format!("{line}\n")).collect()
        });
    };
    fs::remove_file(copy.join(format!("functions/{one}/README.md"))).unwrap();
    without("infra/template.yaml", &format!("{two}: {{Path"));
    without("Cargo.toml", &format!("= \"{two}\""));
    without("README.md", &format!("functions/{two}/README.md"));
    fs::remove_file(copy.join(format!("functions/{two}/demo.json"))).unwrap();
    let row = "\n\n| when | status | code | message |\n|---|---|---|---|\n\
        | never | 418 | `teapot` | short and stout |\n";
    edit(&format!("functions/{three}/README.md"), &|text| {
        text.replacen("\n| when ", "\n| when, once ", 1)
            .replacen("## Errors", &format!("## Errors{row}"), 1)
            .replacen("## Responses", &format!("## Responses{row}"), 1)
    });
    edit(&format!("functions/{four}/src/lib.rs"), &|text| {
        text.replacen("const NAME: &'static str = \"", "const NAME: &'static str = \"x", 1)
    });
    let event = copy.join("events").join(five).join("refuses_a_unicorn.json");
    fs::write(event, "{}").unwrap();
    fs::create_dir_all(copy.join("events/unknown")).unwrap();

    let complaints = Drift::of(&copy).complaints;
    for expected in [
        format!("functions/{one}/README.md: missing"),
        format!("infra/template.yaml: no route of {two}"),
        format!("Cargo.toml: the watch router has no route of {two}"),
        format!("README.md: no row of {two}"),
        format!("functions/{two}/demo.json: missing"),
        format!("functions/{three}/README.md: no golden case has 418 teapot \"short and stout\""),
        format!("functions/{four}/src/lib.rs: NAME is not {four}"),
        format!("events/{five}: refuses_a_unicorn.json belongs to no case"),
        "events/unknown: belongs to no provider".to_owned(),
    ] {
        assert!(complaints.contains(&expected), "not reported: {expected}\n{complaints:#?}");
    }
}

fn copy_all(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy_all(&from.join(&name), &to.join(&name));
        }
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        // No JSON is changed in the copy, and there is much of it.
        let linked =
            from.extension().is_some_and(|kind| kind == "json") && fs::hard_link(from, to).is_ok();
        if !linked {
            fs::copy(from, to).unwrap();
        }
    }
}

fn manifest(root: &Path) -> toml::Table {
    let text = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    text.parse().unwrap()
}

/// What is in a folder, by name; nothing where there is none.
fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The folders in a folder, by name.
fn folders(folder: &Path) -> Vec<String> {
    let mut names = entries(folder);
    names.retain(|name| folder.join(name).is_dir());
    names
}

/// A row of a README's table of responses.
struct Row {
    status: u64,
    /// `None` for null.
    code: Option<String>,
    message: Message,
}

/// The message in a row.
enum Message {
    Null,
    /// The fixed parts. Between them, where the README has `…` or *italics*, any text fits.
    Text(Vec<String>),
}

impl Row {
    /// The rows of every table with the columns status, code and message.
    fn all(readme: &str) -> Vec<Self> {
        let mut rows = Vec::new();
        let mut columns: Option<[usize; 3]> = None;
        for line in readme.lines() {
            let Some(inner) = line.strip_prefix('|') else {
                columns = None;
                continue;
            };
            let cells: Vec<_> = inner.split('|').map(str::trim).collect();
            let column = |name: &str| cells.iter().position(|cell| *cell == name);
            match columns {
                None => {
                    let found = ["status", "code", "message"].map(column);
                    // A table of something else stays one to its end.
                    columns = Some(found.map(|place| place.unwrap_or(usize::MAX)));
                }
                Some(places) => {
                    let [Some(status), Some(code), Some(message)] =
                        places.map(|place| cells.get(place))
                    else {
                        continue;
                    };
                    if let Ok(status) = status.parse() {
                        let code = code.trim_matches('`');
                        rows.push(Self {
                            status,
                            code: (code != "null").then(|| code.to_owned()),
                            message: Message::read(message),
                        });
                    }
                }
            }
        }
        rows
    }

    /// Whether the response is one of this row.
    fn fits(&self, status: u64, body: &Value) -> bool {
        let code = self.code.as_deref().map_or(Value::Null, Value::from);
        let here = body.get("code") == Some(&code)
            && body.get("message").is_some_and(|message| self.message.fits(message));
        let within = || body.get("error").is_some_and(|error| self.fits(status, error));
        status == self.status && (here || within())
    }
}

impl Message {
    fn read(cell: &str) -> Self {
        // A note on other members follows a semicolon.
        let cell = cell.split("; ").next().unwrap_or(cell);
        if cell == "null" {
            return Self::Null;
        }
        // Every second part between asterisks is in italics.
        let parts = cell.split('*').enumerate();
        let marked: String = parts.map(|(at, part)| if at % 2 == 0 { part } else { "…" }).collect();
        Self::Text(marked.split('…').map(str::to_owned).collect())
    }

    fn fits(&self, message: &Value) -> bool {
        let (parts, message) = match (self, message.as_str()) {
            (Self::Null, _) => return message.is_null(),
            (Self::Text(parts), Some(message)) => (parts, message),
            (Self::Text(_), None) => return false,
        };
        let [first, between @ .., last] = parts.as_slice() else {
            return parts.iter().any(|whole| whole == message);
        };
        let inner =
            message.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()));
        let found = inner.and_then(|inner| {
            between
                .iter()
                .try_fold(inner, |rest, part| rest.split_once(part.as_str()).map(|(_, rest)| rest))
        });
        found.is_some()
    }

    fn shown(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Text(parts) => format!("{:?}", parts.join("…")),
        }
    }
}

/// What there is, and what is wrong with it.
#[derive(Default)]
struct Drift {
    complaints: Vec<String>,
    providers: usize,
    cases: usize,
    rows: usize,
    requests: usize,
}

impl Drift {
    fn of(root: &Path) -> Self {
        let mut drift = Self::default();
        let providers = folders(&root.join("functions"));
        drift.providers = providers.len();
        for provider in &providers {
            drift.contract(root, provider);
            drift.places(root, provider);
        }
        let known: BTreeSet<_> = providers.iter().map(String::as_str).collect();
        for entry in entries(&root.join("events")) {
            if entry != "README.md" && !known.contains(entry.as_str()) {
                drift.tell(format!("events/{entry}: belongs to no provider"));
            }
        }
        drift
    }

    fn tell(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }

    /// The file's text; a complaint and nothing where it is missing.
    fn read(&mut self, root: &Path, file: &str) -> String {
        fs::read_to_string(root.join(file)).unwrap_or_else(|_| {
            self.tell(format!("{file}: missing"));
            String::new()
        })
    }

    /// README and golden cases: each row of errors has a case, each refusal a row.
    fn contract(&mut self, root: &Path, provider: &str) {
        let file = format!("functions/{provider}/README.md");
        let readme = self.read(root, &file);
        let rows = Row::all(&readme);
        self.rows += rows.len();
        let folder = format!("events/{provider}");
        let events = root.join(&folder);
        let cases = golden::cases_in(&events).unwrap_or_else(|fault| {
            self.tell(format!("{folder}: {fault:#}"));
            Vec::new()
        });
        match golden::delivered_in(&events) {
            Ok(requests) => self.requests += requests.len(),
            Err(fault) => self.tell(format!("{folder}/sources: {fault:#}")),
        }
        self.cases += cases.len();
        let mut responses = Vec::new();
        for case in &cases {
            let (status, body) = (u64::from(case.then.status), case.then.body.value());
            if !readme.is_empty()
                && status != 200
                && !rows.iter().any(|row| row.fits(status, &body))
            {
                let name = &case.name;
                self.tell(format!("{folder}: {name}: {file} has no row for {status} {body}"));
            }
            responses.push((status, body));
        }
        if cases.is_empty() {
            return;
        }
        for row in rows {
            if !responses.iter().any(|(status, body)| row.fits(*status, body)) {
                let code = row.code.as_deref().unwrap_or("null");
                let message = row.message.shown();
                self.tell(format!("{file}: no golden case has {} {code} {message}", row.status));
            }
        }
    }

    /// Every place that has to know the provider's name and route.
    fn places(&mut self, root: &Path, provider: &str) {
        let file = format!("functions/{provider}/src/lib.rs");
        let source = self.read(root, &file);
        let constant = |name: &str| {
            let start = format!("const {name}: &'static str = \"");
            let line = source.lines().find_map(|line| line.trim().strip_prefix(&start));
            line.and_then(|rest| rest.strip_suffix("\";")).map(str::to_owned)
        };
        if constant("NAME").as_deref() != Some(provider) {
            self.tell(format!("{file}: NAME is not {provider}"));
        }
        let Some(route) = constant("ROUTE") else {
            return self.tell(format!("{file}: no ROUTE"));
        };
        let readme = format!("functions/{provider}/README.md");
        let called = format!("\n`POST {route}`, ");
        if root.join(&readme).exists() && !self.read(root, &readme).contains(&called) {
            self.tell(format!("{readme}: does not begin with POST {route}"));
        }
        let text = self.read(root, "infra/template.yaml");
        let given = |line: &str| text.lines().any(|one| one.trim() == line);
        if !given(&format!("{provider}: {{Path: \"{route}\"}}")) {
            self.tell(format!("infra/template.yaml: no route of {provider}"));
        }
        // The list that is deployed by default, and the one that conditions are made for.
        for start in ["Default: ", "- ["] {
            let listed = |line: &str| {
                let list = line.trim().strip_prefix(start);
                list.is_some_and(|list| {
                    list.trim_end_matches(']').split(',').any(|name| name.trim() == provider)
                })
            };
            if !text.lines().any(listed) {
                self.tell(format!("infra/template.yaml: {provider} is not in the list {start:?}"));
            }
        }
        let manifest = manifest(root);
        let router = &manifest["workspace"]["metadata"]["lambda"]["watch"]["router"];
        if router.get(&route).and_then(toml::Value::as_str) != Some(provider) {
            self.tell(format!("Cargo.toml: the watch router has no route of {provider}"));
        }
        let link = format!("(functions/{provider}/README.md) | `POST {route}` |");
        if !self.read(root, "README.md").contains(&link) {
            self.tell(format!("README.md: no row of {provider}"));
        }
        self.read(root, &format!("functions/{provider}/demo.json"));
    }
}
