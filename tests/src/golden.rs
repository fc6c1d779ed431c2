//! A [golden case](::golden) for the tests: its event, and the comparison of the outcome.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_dynamodb::Client;
use base64::{Engine, engine::general_purpose::STANDARD};
pub use golden::{Given, Then, malformed_event, providers};
use golden::{Sign, source};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::transport::ProviderResponse;

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its sentence.
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

/// Puts the items into their tables, and replaces existing ones.
///
/// # Errors
/// If DynamoDB refuses or does not respond.
pub async fn put(given: &Given, tables: &Client) -> Result<()> {
    for item in &given.credentials {
        embedded::put(tables, "credentials", item).await?;
    }
    for item in &given.payments {
        embedded::put(tables, "payments", item).await?;
    }
    Ok(())
}

/// A provider's cases, by name.
///
/// # Errors
/// As [`golden::cases`].
pub fn cases(provider: &str) -> Result<Vec<Case>> {
    let route = golden::route(provider)?;
    let cases = golden::cases(provider)?.into_iter();
    cases.map(|case| Case::of(case, &route)).collect()
}

/// The provider's case of that name.
///
/// # Errors
/// As [`golden::case`].
pub fn case(provider: &str, name: &str) -> Result<Case> {
    Case::of(golden::case(provider, name)?, &golden::route(provider)?)
}

/// A provider's requests in literal events, if it has any: by the request's name, one case for each
/// event source, under the source's name.
///
/// # Errors
/// As [`golden::delivered`].
pub fn delivered(provider: &str) -> Result<BTreeMap<String, Vec<Case>>> {
    let requests = golden::delivered(provider)?.into_iter();
    let requests = requests.map(|(case, events)| {
        let cases = events.into_iter().map(|(source, event)| {
            Ok(Case {
                name: source,
                event: serde_json::from_str(&event)?,
                given: case.given.clone(),
                then: case.then.clone(),
                text: Some(event),
                sign: case.sign.clone(),
            })
        });
        Ok((case.name.clone(), cases.collect::<Result<_>>()?))
    });
    requests.collect()
}

impl Case {
    fn of(case: golden::Case, route: &str) -> Result<Self> {
        let event = match &case.event {
            Some(event) => serde_json::from_str(event)?,
            None => source::http_api(&case.request, route),
        };
        Ok(Self {
            name: case.name,
            event,
            given: case.given,
            then: case.then,
            text: None,
            sign: case.sign,
        })
    }

    /// Whether it cancels a payment, and is the first to.
    #[must_use]
    pub fn cancels(&self) -> bool {
        !self.then.payments.is_empty()
    }

    /// Whether its request is signed, and so is its own key.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.sign.is_some()
    }

    /// The event as it is sent: signed now, if the case is signed.
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
            for (name, value) in sign.headers(now.as_millisecond(), &body) {
                let spelled = headers.keys().find(|given| given.eq_ignore_ascii_case(&name));
                let name = spelled.cloned().unwrap_or(name);
                headers.insert(name, if list { json!([value]) } else { json!(value) });
            }
        }
        event.to_string()
    }

    /// Compares the response and the table afterwards with the case.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&self, call: &Call, response: &ProviderResponse, table: &[Value]) -> Result<()> {
        let table = by_key(table)?;
        let known = self.placeholders(call, &table)?;

        self.check_response(&known, response)?;

        let mut expected = by_key(&self.given.payments)?;
        expected.extend(by_key(
            &self.then.payments.iter().map(|item| fill(item, &known)).collect::<Vec<_>>(),
        )?);
        same("payments", &serde_json::to_value(table)?, &serde_json::to_value(expected)?)
    }

    /// Compares the response alone, with the placeholders' values in `known`.
    ///
    /// # Errors
    /// The first difference.
    pub fn check_response(
        &self,
        known: &BTreeMap<&'static str, String>,
        response: &ProviderResponse,
    ) -> Result<()> {
        ensure!(
            response.status == self.then.status,
            "status {} instead of {}: {}",
            response.status,
            self.then.status,
            response.body
        );
        shared::json::Object::parse(&response.body).map_err(|fault| {
            anyhow::anyhow!("the body is not a clean JSON object: {}", fault.message)
        })?;
        // Byte for byte: members in another order are another body.
        let body = filled(&self.then.body.to_string(), known);
        ensure!(response.body == body, "body\n  is        {}\n  should be {body}", response.body);
        let headers = serde_json::to_value(&response.headers)?;
        same("headers", &headers, &fill(&serde_json::to_value(&self.then.headers)?, known))
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
        let text = |path: &str| item.pointer(path).and_then(Value::as_str).map(str::to_owned);
        if let Some(at) = text("/canceled_at") {
            let moment: Timestamp = at.parse().context("canceled_at is no time")?;
            ensure!(at == format!("{moment:.3}"), "canceled_at is not in milliseconds: {at}");
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
            ensure!(hexadecimal(&id, 32), "cancellation id {id} is not 32 hexadecimal digits");
            known.insert("{cancellation_id}", id);
        }
        if let Some(fingerprint) = text("/cancellation/fingerprint") {
            ensure!(
                hexadecimal(&fingerprint, 64),
                "fingerprint {fingerprint} is not 64 hexadecimal digits"
            );
            known.insert("{fingerprint}", fingerprint);
        }
        if let Some(token) = text("/cancellation/token")
            && let Some(digest) = token.strip_prefix("signature ")
        {
            ensure!(
                hexadecimal(&digest.to_owned(), 64),
                "the digest in the token {token} is not 64 hexadecimal digits"
            );
            known.insert("{token}", token);
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
        Self { request_id: uuid::Uuid::new_v4().to_string(), began: Timestamp::now() }
    }
}

fn by_key(items: &[Value]) -> Result<BTreeMap<String, Value>> {
    let keyed = items.iter().map(|item| {
        let pk = item.get("pk").and_then(Value::as_str).context("an item has no pk")?;
        Ok((pk.to_owned(), item.clone()))
    });
    keyed.collect()
}

/// `value` with every placeholder in its strings filled.
fn fill(value: &Value, known: &BTreeMap<&'static str, String>) -> Value {
    match value {
        Value::String(text) => Value::String(filled(text, known)),
        Value::Array(list) => list.iter().map(|value| fill(value, known)).collect(),
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(name, value)| (name.clone(), fill(value, known)))
                .collect::<Map<_, _>>(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn filled(text: &str, known: &BTreeMap<&'static str, String>) -> String {
    let known = known.iter();
    known.fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

fn same(what: &str, actual: &Value, expected: &Value) -> Result<()> {
    if actual == expected {
        return Ok(());
    }
    bail!("{what}\n  is        {actual}\n  should be {expected}")
}
