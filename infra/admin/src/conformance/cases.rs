//! The golden cases, as `events/README.md` describes them: a request, what is stored before, and what must come back.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

/// What no path can hold as it is. The cases' paths are encoded otherwise.
const RESERVED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'\\')
    .add(b'^')
    .add(b'|')
    .add(b'[')
    .add(b']');

/// One case.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) name: String,
    /// The request as its client sends it; `None` where the event is not an HTTP request.
    pub(super) request: Option<Request>,
    pub(super) given: Given,
    pub(super) sign: Option<Sign>,
    pub(super) then: Then,
}

/// A request as its client sends it.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    /// Percent-encoded.
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

/// The items of both tables, as plain JSON, and the state of the store.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct Given {
    pub(super) credentials: Vec<Value>,
    pub(super) payments: Vec<Value>,
    pub(super) store: Option<String>,
}

/// How the request is signed just before it is sent.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Sign {
    pub(super) secret: String,
    #[serde(default)]
    pub(super) age_ms: i64,
    #[serde(default)]
    pub(super) uppercase: bool,
    #[serde(default)]
    pub(super) omit: Vec<String>,
    #[serde(default)]
    pub(super) replace: BTreeMap<String, String>,
}

/// The expectation. Strings hold placeholders such as `{request_id}`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Then {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Value,
    /// The items that changed, in full.
    #[serde(default)]
    pub(super) payments: Vec<Value>,
}

/// A provider's cases, by name.
pub(super) fn read(events: &Path, provider: &str) -> Result<Vec<Case>> {
    let folder = events.join(provider);
    let listed = fs::read_dir(&folder).with_context(|| {
        format!(
            "cannot list {}; name the folder of the golden cases with --events",
            folder.display()
        )
    })?;
    let mut folders = Vec::new();
    for entry in listed {
        let path = entry?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    let cases = folders.iter().map(|folder| case(folder));
    let cases = cases.collect::<Result<Vec<_>>>()?;
    ensure!(!cases.is_empty(), "{} has no cases", folder.display());
    Ok(cases)
}

#[derive(Deserialize)]
struct Written {
    given: Given,
    sign: Option<Sign>,
    then: Then,
}

/// The part of a Lambda event that a client sends.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    raw_path: String,
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<String>,
    is_base64_encoded: bool,
    request_context: Context_,
}

#[derive(Deserialize)]
struct Context_ {
    http: Method,
}

#[derive(Deserialize)]
struct Method {
    method: String,
}

fn case(folder: &Path) -> Result<Case> {
    let read = |name: &str| {
        let file: PathBuf = folder.join(name);
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    let at = || folder.display().to_string();
    let written: Written = serde_json::from_str(&read("case.json")?).with_context(at)?;
    let event = serde_json::from_str::<Event>(&read("event.json")?).ok();
    Ok(Case {
        name: folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        request: event.and_then(request),
        given: written.given,
        sign: written.sign,
        then: written.then,
    })
}

/// The request that API Gateway made the event of, without the headers that it or an HTTP client adds.
fn request(event: Event) -> Option<Request> {
    let body = event.body.unwrap_or_default();
    let body = if event.is_base64_encoded {
        STANDARD.decode(body).ok()?
    } else {
        body.into_bytes()
    };
    let added = |name: &str| {
        name == "host"
            || name == "content-length"
            || name == "x-amzn-trace-id"
            || name.starts_with("x-forwarded-")
    };
    let headers = event.headers.into_iter();
    Some(Request {
        method: event.request_context.http.method,
        path: utf8_percent_encode(&event.raw_path, RESERVED).to_string(),
        headers: headers.filter(|(name, _)| !added(name)).collect(),
        body,
    })
}
