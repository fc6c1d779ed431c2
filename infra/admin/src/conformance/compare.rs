//! Compares an endpoint's response with a case.

use std::collections::BTreeMap;

use golden::Case;
use serde::Serialize;
use serde_json::Value;

use crate::{http::Response, output::shown, payments::item::is_time};

/// The response, and the given payments after it; null where one is gone.
pub(super) struct Facts {
    pub(super) response: Response,
    pub(super) after: Vec<Value>,
}

/// One place where the two differ.
#[derive(Debug, Serialize, PartialEq)]
pub(super) struct Difference {
    /// `status`, a header, or a JSON pointer into the body or an item.
    at: String,
    /// `None` where nothing should be.
    expected: Option<Value>,
    /// `None` where nothing is.
    received: Option<Value>,
}

impl Difference {
    pub(super) fn lines(&self) -> String {
        let value = |value: &Option<Value>| {
            value.as_ref().map_or("nothing".to_owned(), |value| shown(&value.to_string()))
        };
        format!(
            "        {}\n          expected {}\n          received {}\n",
            shown(&self.at),
            value(&self.expected),
            value(&self.received)
        )
    }
}

/// Headers of an endpoint's own; whatever else is there comes from API Gateway or another server in
/// front.
const OWN_HEADERS: [&str; 7] = [
    "cache-control",
    "content-type",
    "idempotent-replayed",
    "retry-after",
    "wcp-version",
    "www-authenticate",
    "x-request-id",
];

pub(super) fn differences(case: &Case, facts: &Facts) -> Vec<Difference> {
    let mut found = Vec::new();
    let Facts { response, after } = facts;
    let known = placeholders(case, facts);
    compare("status", Some(&case.then.status.into()), Some(&response.status.into()), &mut found);
    for name in OWN_HEADERS {
        let expected = case.then.headers.get(name).map(|value| filled(value, &known));
        let received = response
            .headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        compare(
            &format!("header {name}"),
            expected.map(Value::from).as_ref(),
            received.map(Value::from).as_ref(),
            &mut found,
        );
    }
    let body = fill(&case.then.body.value(), &known);
    let received = serde_json::from_slice(&response.body)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&response.body)));
    compare("body", Some(&body), Some(&received), &mut found);
    for (given, after) in case.given.payments.iter().zip(after) {
        let changed = case.then.payments.iter().find(|item| item.get("pk") == given.get("pk"));
        let expected = changed.map_or_else(|| given.clone(), |item| fill(item, &known));
        let pk = given.get("pk").and_then(Value::as_str).unwrap_or_default();
        compare(&format!("item {pk}"), Some(&expected), Some(after), &mut found);
    }
    found
}

/// What only the exchange can say, where it is of the right form.
fn placeholders(case: &Case, facts: &Facts) -> BTreeMap<&'static str, String> {
    let mut known = BTreeMap::new();
    let request_id = facts.response.header("x-request-id");
    if !request_id.is_empty() {
        known.insert("{request_id}", request_id.to_owned());
    }
    let changed = case.then.payments.first().and_then(|item| item.get("pk"));
    let item = facts.after.iter().find(|item| changed.is_some() && item.get("pk") == changed);
    let Some(item) = item else {
        return known;
    };
    let text = |pointer| item.pointer(pointer).and_then(Value::as_str);
    if let Some(at) = text("/canceled_at").filter(|at| is_time(at)) {
        let seconds = at.split('.').next().unwrap_or_default();
        known.insert("{canceled_at_seconds}", format!("{seconds}Z"));
        known.insert("{canceled_at}", at.to_owned());
    }
    for (name, pointer, prefix, digits) in [
        ("{cancellation_id}", "/cancellation/id", "", 32),
        ("{fingerprint}", "/cancellation/fingerprint", "", 64),
        ("{token}", "/cancellation/token", "signature ", 64),
    ] {
        let fits = |text: &&str| {
            let rest = text.strip_prefix(prefix);
            rest.is_some_and(|it| it.len() == digits && it.bytes().all(|it| it.is_ascii_hexdigit()))
        };
        if let Some(found) = text(pointer).filter(fits) {
            known.insert(name, found.to_owned());
        }
    }
    known
}

fn filled(text: &str, known: &BTreeMap<&str, String>) -> String {
    let replaced = known.iter();
    replaced.fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

fn fill(value: &Value, known: &BTreeMap<&str, String>) -> Value {
    match value {
        Value::String(text) => filled(text, known).into(),
        Value::Array(list) => list.iter().map(|value| fill(value, known)).collect(),
        Value::Object(members) => {
            let members = members.iter();
            Value::Object(members.map(|(name, value)| (name.clone(), fill(value, known))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Every innermost place where they differ.
fn compare(
    at: &str,
    expected: Option<&Value>,
    received: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    match (expected, received) {
        (Some(Value::Object(expected)), Some(Value::Object(received))) => {
            let others = received.keys().filter(|name| !expected.contains_key(*name));
            for name in expected.keys().chain(others) {
                compare(&format!("{at}/{name}"), expected.get(name), received.get(name), found);
            }
        }
        (Some(Value::Array(expected)), Some(Value::Array(received))) => {
            for place in 0..expected.len().max(received.len()) {
                compare(&format!("{at}/{place}"), expected.get(place), received.get(place), found);
            }
        }
        (expected, received) if expected == received => {}
        (expected, received) => found.push(Difference {
            at: at.to_owned(),
            expected: expected.cloned(),
            received: received.cloned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_difference_names_its_place_and_both_values() {
        let mut found = Vec::new();
        let expected = json!({"a": {"b": 1}, "c": [1, 2], "d": null});
        let received = json!({"a": {"b": 2}, "c": [1], "e": null});
        compare("body", Some(&expected), Some(&received), &mut found);
        let at =
            |at: &str, expected, received| Difference { at: at.to_owned(), expected, received };
        assert_eq!(
            found,
            [
                at("body/a/b", Some(json!(1)), Some(json!(2))),
                at("body/c/1", Some(json!(2)), None),
                at("body/d", Some(json!(null)), None),
                at("body/e", None, Some(json!(null))),
            ]
        );
    }
}
