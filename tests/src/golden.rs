//! Golden cases: `events/<provider>/<case>/`, in the form that `events/README.md` describes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_dynamodb::Client;
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};
use sha2::Sha256;

use crate::transport::Answer;

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// The folder's name.
    pub name: String,
    /// The Lambda event.
    pub event: Value,
    /// What was there before.
    pub given: Given,
    /// What must come of it.
    pub then: Then,
    /// The event's own text, where a value would lose some of it.
    text: Option<String>,
    sign: Option<Sign>,
}

/// One request as each front end delivers it, and its one answer: `tests/front_ends/<provider>/<request>.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Delivered {
    source: String,
    given: Given,
    sign: Option<Sign>,
    events: BTreeMap<String, Box<RawValue>>,
    then: Then,
}

/// `case.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    source: String,
    given: Given,
    sign: Option<Sign>,
    then: Then,
}

/// The items of both tables, and the state of the store.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Given {
    /// Items of the credentials table.
    pub credentials: Vec<Value>,
    /// Items of the payments table.
    pub payments: Vec<Value>,
    /// `unreachable`, or nothing.
    pub store: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sign {
    secret: String,
    #[serde(default)]
    age_ms: i64,
    #[serde(default)]
    uppercase: bool,
    #[serde(default)]
    omit: Vec<String>,
    #[serde(default)]
    replace: BTreeMap<String, String>,
}

impl Sign {
    /// The headers that sign `body` at the moment `now`.
    fn headers(&self, now: Timestamp, body: &[u8]) -> BTreeMap<String, String> {
        let timestamp = (now.as_millisecond() - self.age_ms).to_string();
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).expect("a key of any length");
        mac.update(timestamp.as_bytes());
        mac.update(b".");
        mac.update(body);
        let digits = hex::encode(mac.finalize().into_bytes());
        let digits = if self.uppercase {
            digits.to_uppercase()
        } else {
            digits
        };
        let mut headers = BTreeMap::from([
            ("x-timestamp".to_owned(), timestamp),
            ("x-signature".to_owned(), format!("sha256={digits}")),
        ]);
        headers.retain(|name, _| !self.omit.contains(name));
        headers.extend(self.replace.clone());
        headers
    }
}

/// The expectation.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Then {
    /// HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: BTreeMap<String, String>,
    /// The whole body.
    pub body: Value,
    /// The items that changed, in full.
    #[serde(default)]
    pub payments: Vec<Value>,
    /// How many `UpdateItem` requests were made.
    pub writes: usize,
}

/// Every provider's name, which is that of its folder in `functions`, in order.
///
/// # Errors
/// Where the folders cannot be listed.
pub fn providers() -> Result<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions");
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

impl Given {
    /// Puts the items into their tables, over whatever was there.
    ///
    /// # Errors
    /// Where DynamoDB refuses or does not answer.
    pub async fn put(&self, tables: &Client) -> Result<()> {
        for item in &self.credentials {
            embedded::put(tables, "credentials", item).await?;
        }
        for item in &self.payments {
            embedded::put(tables, "payments", item).await?;
        }
        Ok(())
    }
}

/// A provider's cases, in the order of their names.
///
/// # Errors
/// Where a folder is not a case, or the provider has none.
pub fn cases(provider: &str) -> Result<Vec<Case>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../events")
        .join(provider);
    let entries =
        fs::read_dir(&folder).with_context(|| format!("no cases in {}", folder.display()))?;
    let mut folders = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<PathBuf>>>()?;
    folders.sort();
    ensure!(!folders.is_empty(), "no cases in {}", folder.display());
    folders.iter().map(|folder| Case::load(folder)).collect()
}

/// The provider's case of that name.
///
/// # Errors
/// Where there is none, or as [`cases`].
pub fn case(provider: &str, name: &str) -> Result<Case> {
    let mut cases = cases(provider)?.into_iter();
    cases
        .find(|case| case.name == name)
        .with_context(|| format!("no case {name} of {provider}"))
}

/// A provider's requests in `tests/front_ends`, by name: each request's cases are one event for each front end, under the front end's name.
///
/// # Errors
/// Where a file is not of that form, or the provider has none.
pub fn delivered(provider: &str) -> Result<BTreeMap<String, Vec<Case>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("front_ends")
        .join(provider);
    let entries =
        fs::read_dir(&folder).with_context(|| format!("no requests in {}", folder.display()))?;
    let requests = entries.map(|entry| {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(&path)?;
        let Delivered {
            source,
            given,
            sign,
            events,
            then,
        } = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        ensure!(!source.trim().is_empty(), "{name}: no source");
        let cases = events.into_iter().map(|(front_end, event)| {
            Ok(Case {
                name: front_end,
                event: serde_json::from_str(event.get())?,
                given: given.clone(),
                then: then.clone(),
                text: Some(event.get().to_owned()),
                sign: sign.clone(),
            })
        });
        Ok((name.into_owned(), cases.collect::<Result<_>>()?))
    });
    requests.collect()
}

impl Case {
    fn load(folder: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let File {
            source,
            given,
            sign,
            then,
        } = serde_json::from_str(&read("case.json")?)
            .with_context(|| format!("{name}/case.json"))?;
        ensure!(
            !source.trim().is_empty(),
            "{name}: an expectation needs a source"
        );
        let event = serde_json::from_str(&read("event.json")?)
            .with_context(|| format!("{name}/event.json"))?;
        Ok(Self {
            name,
            event,
            given,
            then,
            text: None,
            sign,
        })
    }

    /// Whether it cancels a payment, and is the first to.
    #[must_use]
    pub fn cancels(&self) -> bool {
        !self.then.payments.is_empty()
    }

    /// The event as it is sent: with a signature made this moment where the case asks for one.
    #[must_use]
    pub fn event(&self) -> String {
        self.event_at(Timestamp::now())
    }

    /// The event as it is sent at the moment `now`.
    #[must_use]
    pub fn event_at(&self, now: Timestamp) -> String {
        let Some(sign) = &self.sign else {
            return self.text.clone().unwrap_or_else(|| self.event.to_string());
        };
        let mut event = self.event.clone();
        let body = event["body"].as_str().unwrap_or_default();
        let body = if event["isBase64Encoded"] == true {
            STANDARD.decode(body).expect("base64, as the event says")
        } else {
            body.as_bytes().to_vec()
        };
        for (member, list) in [("headers", false), ("multiValueHeaders", true)] {
            let Some(headers) = event.get_mut(member).and_then(Value::as_object_mut) else {
                continue;
            };
            headers.retain(|name, _| !sign.omit.contains(name));
            for (name, value) in sign.headers(now, &body) {
                let spelled = headers
                    .keys()
                    .find(|given| given.eq_ignore_ascii_case(&name));
                let name = spelled.cloned().unwrap_or(name);
                headers.insert(name, if list { json!([value]) } else { json!(value) });
            }
        }
        event.to_string()
    }

    /// Compares the answer and the table afterwards with what the case says.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&self, call: &Call, answer: &Answer, table: &[Value]) -> Result<()> {
        let table = by_key(table)?;
        let known = self.placeholders(call, &table)?;

        self.check_answer(&known, answer)?;

        let mut expected = by_key(&self.given.payments)?;
        expected.extend(by_key(
            &self
                .then
                .payments
                .iter()
                .map(|item| fill(item, &known))
                .collect::<Vec<_>>(),
        )?);
        same(
            "payments",
            &serde_json::to_value(table)?,
            &serde_json::to_value(expected)?,
        )
    }

    /// Compares the answer alone, where the placeholders stand for what is `known`.
    ///
    /// # Errors
    /// The first difference.
    pub fn check_answer(
        &self,
        known: &BTreeMap<&'static str, String>,
        answer: &Answer,
    ) -> Result<()> {
        ensure!(
            answer.status == self.then.status,
            "status {} instead of {}: {}",
            answer.status,
            self.then.status,
            answer.body
        );
        let body: Value = serde_json::from_str(&answer.body).context("the body is not JSON")?;
        shared::json::Object::parse(&answer.body).map_err(|fault| {
            anyhow::anyhow!("the body is not a clean JSON object: {}", fault.message)
        })?;
        same("body", &body, &fill(&self.then.body, known))?;
        let headers = serde_json::to_value(&answer.headers)?;
        same(
            "headers",
            &headers,
            &fill(&serde_json::to_value(&self.then.headers)?, known),
        )
    }

    /// The values of the placeholders: those of the item after the call, checked.
    fn placeholders(
        &self,
        call: &Call,
        table: &BTreeMap<String, Value>,
    ) -> Result<BTreeMap<&'static str, String>> {
        let mut known = BTreeMap::from([("{request_id}", call.request_id.clone())]);
        let Some(changed) = self.then.payments.first() else {
            return Ok(known);
        };
        let item = changed
            .get("pk")
            .and_then(Value::as_str)
            .and_then(|pk| table.get(pk))
            .context("the item is gone")?;
        let text = |path: &str| {
            item.pointer(path)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        if let Some(at) = text("/canceled_at") {
            let moment: Timestamp = at.parse().context("canceled_at is no time")?;
            ensure!(
                at == format!("{moment:.3}"),
                "canceled_at is not in milliseconds: {at}"
            );
            let within = call.began.as_millisecond()..=Timestamp::now().as_millisecond();
            ensure!(
                within.contains(&moment.as_millisecond()),
                "canceled_at {at} is not within the call"
            );
            known.insert(
                "{canceled_at_seconds}",
                format!("{}Z", at.split('.').next().unwrap_or_default()),
            );
            known.insert("{canceled_at}", at);
        }
        let hexadecimal = |text: &String, length| {
            text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        if let Some(id) = text("/cancellation/id") {
            ensure!(
                hexadecimal(&id, 32),
                "cancellation id {id} is not 32 hexadecimal digits"
            );
            known.insert("{cancellation_id}", id);
        }
        if let Some(fingerprint) = text("/cancellation/fingerprint") {
            ensure!(
                hexadecimal(&fingerprint, 64),
                "fingerprint {fingerprint} is not 64 hexadecimal digits"
            );
            known.insert("{fingerprint}", fingerprint);
        }
        Ok(known)
    }
}

/// One call of a case.
#[derive(Debug, Clone)]
pub struct Call {
    /// The invocation's Lambda request id.
    pub request_id: String,
    /// When it began.
    pub began: Timestamp,
}

impl Call {
    /// A call that begins now, under a new id.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            request_id: uuid::Uuid::new_v4().to_string(),
            began: Timestamp::now(),
        }
    }
}

fn by_key(items: &[Value]) -> Result<BTreeMap<String, Value>> {
    let keyed = items.iter().map(|item| {
        let pk = item
            .get("pk")
            .and_then(Value::as_str)
            .context("an item has no pk")?;
        Ok((pk.to_owned(), item.clone()))
    });
    keyed.collect()
}

/// `value` with every placeholder in its strings filled.
fn fill(value: &Value, known: &BTreeMap<&'static str, String>) -> Value {
    match value {
        Value::String(text) => {
            Value::String(known.iter().fold(text.clone(), |text, (name, value)| {
                text.replace(name, value)
            }))
        }
        Value::Array(list) => list.iter().map(|value| fill(value, known)).collect(),
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(name, value)| (name.clone(), fill(value, known)))
                .collect::<Map<_, _>>(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn same(what: &str, actual: &Value, expected: &Value) -> Result<()> {
    if actual == expected {
        return Ok(());
    }
    bail!("{what}\n  is        {actual}\n  should be {expected}")
}
