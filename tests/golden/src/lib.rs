//! The golden cases of `events`: what a client sends, what was stored before, and what must come
//! back.
//!
//! `events/README.md` describes the files. This crate only reads them and renders a case's request
//! as a Lambda event; its callers compare.

mod json;
mod sign;
pub mod source;
mod written;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use crate::written::Provider;
pub use crate::{json::Json, sign::Sign};

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its sentence, which is its name.
    pub name: String,
    /// Where the expectation comes from.
    pub source: String,
    /// The request.
    pub request: Request,
    /// The complete Lambda event that carries the request, where the case has one.
    pub event: Option<String>,
    /// What was stored before.
    pub given: Given,
    /// How the request is signed just before the call.
    pub sign: Option<Sign>,
    /// What must come back.
    pub then: Then,
}

/// A request as its client sends it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path, percent-encoded.
    pub path: String,
    /// The headers that the client chooses, names in lower case; HTTP clients add `host` and
    /// `content-length`.
    pub headers: BTreeMap<String, String>,
    /// The body's bytes.
    pub body: Option<Vec<u8>>,
}

/// The items of both tables, as plain JSON, and the state of the store.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Given {
    /// Items of the credentials table.
    pub credentials: Vec<Value>,
    /// Items of the payments table.
    pub payments: Vec<Value>,
    /// `unreachable`, `lossy`, or nothing.
    pub store: Option<String>,
}

/// The expectation. Strings hold placeholders such as `{request_id}`.
#[derive(Debug, Clone, Serialize)]
pub struct Then {
    /// HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: BTreeMap<String, String>,
    /// The whole body, its members in their order.
    #[serde(serialize_with = "compact")]
    pub body: Json,
    /// The items that changed, in full.
    pub payments: Vec<Value>,
    /// How many `UpdateItem` requests were made.
    pub writes: usize,
}

/// A body in a dump of a case is its text.
fn compact<S: serde::Serializer>(body: &Json, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(body)
}

impl Case {
    /// Whether it cancels a payment, and is the first to.
    #[must_use]
    pub fn cancels(&self) -> bool {
        !self.then.payments.is_empty()
    }

    /// The request as it is sent at `now_ms`, in Unix milliseconds: signed, where the case is.
    #[must_use]
    pub fn request_at(&self, now_ms: i64) -> Request {
        let mut request = self.request.clone();
        if let Some(sign) = &self.sign {
            let body = request.body.as_deref().unwrap_or_default();
            let signed = sign.headers(now_ms, body);
            request.headers.retain(|name, _| !sign.omit.contains(name));
            request.headers.extend(signed);
        }
        request
    }
}

/// The folder `events` of this workspace.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events")
}

/// The providers: each has a folder in `events`.
///
/// # Errors
/// The folder cannot be listed.
pub fn providers() -> Result<Vec<String>> {
    let names = entries(&folder())?.into_iter();
    Ok(names.filter(|(_, path)| path.is_dir()).map(|(name, _)| name).collect())
}

/// A provider's cases, by name.
///
/// # Errors
/// As [`cases_in`].
pub fn cases(provider: &str) -> Result<Vec<Case>> {
    cases_in(&folder().join(provider))
}

/// The cases in a provider's folder, by name.
///
/// # Errors
/// A file is not of the form in `events/README.md`, or belongs to no case; two cases have one name,
/// or there are none.
pub fn cases_in(folder: &Path) -> Result<Vec<Case>> {
    let written = Provider::read(folder)?;
    let mut cases = BTreeMap::new();
    for (_, file) in entries(&folder.join("cases"))? {
        for case in written.cases(&file, Some(folder))? {
            if let Some(twice) = cases.insert(case.name.clone(), case) {
                bail!("two cases have the name {}", twice.name);
            }
        }
    }
    ensure!(!cases.is_empty(), "no cases");
    no_stray_events(folder, |name| cases.contains_key(name))?;
    Ok(cases.into_values().collect())
}

/// Every JSON file in `folder` has the name of a case.
fn no_stray_events(folder: &Path, is_case: impl Fn(&str) -> bool) -> Result<()> {
    for (name, _) in entries(folder)? {
        if let Some(case) = name.strip_suffix(".json") {
            ensure!(is_case(case), "{name} belongs to no case");
        }
    }
    Ok(())
}

/// The provider's case of that name.
///
/// # Errors
/// There is none, or as [`cases_in`].
pub fn case(provider: &str, name: &str) -> Result<Case> {
    let mut cases = cases(provider)?.into_iter();
    cases.find(|case| case.name == name).with_context(|| format!("{provider} has no case {name}"))
}

/// The response to an event that is not an HTTP request.
///
/// # Errors
/// As [`cases_in`].
pub fn malformed_event(provider: &str) -> Result<Then> {
    Provider::read(&folder().join(provider))?.malformed_event()
}

/// The provider's route, such as `/payments/{payment_id}/cancel`.
///
/// # Errors
/// As [`cases_in`].
pub fn route(provider: &str) -> Result<String> {
    Ok(Provider::read(&folder().join(provider))?.route().to_owned())
}

/// The request that a provider's cases differ from.
///
/// # Errors
/// As [`cases_in`].
pub fn default_request(provider: &str) -> Result<Request> {
    Provider::read(&folder().join(provider))?.default_request()
}

/// The provider's own statuses: `cancelable`, `canceled` and `final`.
///
/// # Errors
/// As [`cases_in`].
pub fn statuses(provider: &str) -> Result<BTreeMap<String, Vec<String>>> {
    Ok(Provider::read(&folder().join(provider))?.statuses())
}

/// Requests as each event source delivers them, in literal events by the source's name, with one
/// expectation: `events/<provider>/sources`. One provider has them; they verify [`source`].
///
/// # Errors
/// As [`cases_in`].
pub fn delivered(provider: &str) -> Result<Vec<(Case, BTreeMap<String, String>)>> {
    delivered_in(&folder().join(provider))
}

/// The same of a provider's folder.
///
/// # Errors
/// As [`cases_in`].
pub fn delivered_in(folder: &Path) -> Result<Vec<(Case, BTreeMap<String, String>)>> {
    let sources = folder.join("sources");
    if !sources.is_dir() {
        return Ok(Vec::new());
    }
    let cases = Provider::read(folder)?.cases(&sources.join("cases.yaml"), None)?;
    no_stray_events(&sources, |name| cases.iter().any(|case| case.name == name))?;
    let delivered = cases.into_iter().map(|case| {
        let file = sources.join(format!("{}.json", case.name));
        let events = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let events: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&events)?;
        let events = events.into_iter().map(|(source, event)| (source, event.get().to_owned()));
        Ok((case, events.collect()))
    });
    delivered.collect()
}

/// The names in a folder, in order.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let list = fs::read_dir(folder).with_context(|| format!("no folder {}", folder.display()))?;
    let mut entries = Vec::new();
    for entry in list {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        entries.push((name.into_owned(), path));
    }
    entries.sort();
    Ok(entries)
}
