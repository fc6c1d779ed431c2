//! An item of the payments table: its JSON form, what a cancel would do with it, and where it
//! breaks the data model.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Number, Value, json};
use shared::provider::Attribute;

use providers::Provider;

/// An item, in full.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// DynamoDB takes items of up to 400 KB. A cancel adds its reason, which is the caller's, and some
/// marks.
const LARGE: usize = 380 * 1024;

/// A stored value as plain JSON. Sets become arrays, bytes base64.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the SDK's enum has a private variant for what it does not know"
)]
pub(crate) fn to_json(value: &AttributeValue) -> Value {
    let number = |text: &String| {
        let number = text.parse::<Number>().ok();
        // What JSON readers would round is kept as text.
        let exact = number.filter(|number| number.to_string() == *text);
        exact.map_or_else(|| json!(text), Value::Number)
    };
    let bytes = |blob: &aws_sdk_dynamodb::primitives::Blob| json!(STANDARD.encode(blob.as_ref()));
    match value {
        AttributeValue::S(text) => json!(text),
        AttributeValue::N(text) => number(text),
        AttributeValue::Bool(flag) => json!(flag),
        AttributeValue::L(list) => list.iter().map(to_json).collect(),
        AttributeValue::M(map) => object(map),
        AttributeValue::Ss(texts) => json!(texts),
        AttributeValue::Ns(numbers) => numbers.iter().map(number).collect(),
        AttributeValue::B(blob) => bytes(blob),
        AttributeValue::Bs(blobs) => blobs.iter().map(bytes).collect(),
        _ => Value::Null,
    }
}

/// The same of a whole item, sorted.
pub(crate) fn object(item: &Item) -> Value {
    let members = item.iter();
    let members = members.map(|(name, value)| (name.clone(), to_json(value)));
    Value::Object(members.collect::<BTreeMap<_, _>>().into_iter().collect())
}

/// Plain JSON as a stored value: a string becomes `S`, a number `N`, a boolean `BOOL`, an array
/// `L`, an object `M`, null `NULL`.
pub(crate) fn from_json(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(flag) => AttributeValue::Bool(*flag),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Array(list) => AttributeValue::L(list.iter().map(from_json).collect()),
        Value::Object(members) => AttributeValue::M(item(members)),
    }
}

/// A JSON object as an item.
pub(crate) fn item(members: &Map<String, Value>) -> Item {
    let members = members.iter();
    members.map(|(name, value)| (name.clone(), from_json(value))).collect()
}

/// A value without what its name calls a secret: an operator's screen is no place for a client
/// secret.
pub(crate) fn without_secrets(value: Value) -> Value {
    match value {
        Value::Array(list) => list.into_iter().map(without_secrets).collect(),
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| {
                let secret = name.to_lowercase().contains("secret") && !value.is_null();
                let value = if secret { json!("<not shown>") } else { without_secrets(value) };
                (name, value)
            });
            Value::Object(members.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// What a cancel with a new key would do now.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(crate) struct Forecast {
    /// As the function's log names it.
    pub(crate) outcome: &'static str,
    pub(crate) why: String,
}

impl Forecast {
    /// What would become of the item.
    pub(crate) fn of(provider: &Provider, item: &Item) -> Self {
        let statuses = &provider.statuses;
        let cancelable = statuses.cancelable.join(", ");
        let refused = |why: String| Self { outcome: "not_cancelable", why };
        let Some(Ok(status)) = item.get("status").map(AttributeValue::as_s) else {
            return Self { outcome: "internal", why: "status is not a string".to_owned() };
        };
        if status == statuses.canceled {
            return refused(match when(item) {
                Some(at) => format!("it was canceled at {at}"),
                None => "it is already canceled".to_owned(),
            });
        }
        if !statuses.cancelable.contains(&status.as_str()) {
            return refused(format!("its status is {status}; cancelable are {cancelable}"));
        }
        let internal = |why: String| Self { outcome: "internal", why };
        match present(item, "manual_cancellation").map(AttributeValue::as_bool) {
            None | Some(Ok(false)) => {}
            Some(Ok(true)) => {
                return refused("manual_cancellation: only a person may cancel it".to_owned());
            }
            Some(Err(_)) => return internal("manual_cancellation is not a boolean".to_owned()),
        }
        if let Some(attribute) = missing(provider, item) {
            return internal(format!(
                "{attribute} is missing or of another type, so no success could be written"
            ));
        }
        Self { outcome: "canceled", why: format!("its status is {status}, which is cancelable") }
    }
}

fn when(item: &Item) -> Option<&String> {
    item.get("canceled_at")?.as_s().ok()
}

/// An attribute. NULL is absent: many mappers store it so.
fn present<'i>(item: &'i Item, name: &str) -> Option<&'i AttributeValue> {
    item.get(name).filter(|value| !value.is_null())
}

/// One way to break the data model.
#[derive(Debug, Serialize, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The key is not `{provider}#{merchant_id}#{payment_id}`, or names no possible payment.
    Key,
    /// `status` is not a string.
    Status,
    /// `manual_cancellation` is not a boolean.
    ManualCancellation,
    /// A cancelable payment that lacks what the success response needs.
    Incomplete,
    /// `status` is not one of the provider's statuses.
    UnknownStatus,
    /// `amount` is not an integer.
    Amount,
    /// `currency` is not three letters.
    Currency,
    /// A time is not RFC 3339 in UTC with milliseconds.
    Time,
    /// `details` is not a map.
    Details,
    /// `cancellation` is not what a cancel writes.
    Cancellation,
    /// Near the 400 KB that DynamoDB takes.
    Large,
}

impl Kind {
    /// Whether a cancel is hindered. The others are notes.
    pub(crate) fn is_fault(self) -> bool {
        self <= Self::Incomplete
    }

    /// What it means for a cancel.
    pub(crate) fn effect(self) -> &'static str {
        match self {
            Self::Key => {
                "no cancel finds it: its key must be {provider}#{merchant_id}#{payment_id}"
            }
            Self::Status => "a cancel fails: status must be a string",
            Self::ManualCancellation => "a cancel fails: manual_cancellation must be a boolean",
            Self::Incomplete => {
                "a cancel fails: its success needs amount (a number) and currency (a string)"
            }
            Self::UnknownStatus => "it cannot be canceled: status is not one of the provider's",
            Self::Amount => "shown as stored: amount must be an integer of minor units",
            Self::Currency => "shown as stored: currency must be an ISO 4217 code",
            Self::Time => "shown as stored: times are 2024-01-01T00:00:00.000Z",
            Self::Details => "not shown: details must be a map",
            Self::Cancellation => {
                "not ours: cancellation must be a map with id, token and fingerprint"
            }
            Self::Large => "a long reason may not fit: an item has at most 400 KB",
        }
    }
}

/// Where the item breaks the data model.
pub(crate) fn faults(item: &Item) -> Vec<Kind> {
    let mut faults = Vec::new();
    let mut is = |kind, broken: bool| {
        if broken {
            faults.push(kind);
        }
    };
    let pk = item.get("pk").and_then(|pk| pk.as_s().ok());
    let provider = pk.and_then(|pk| provider_of(pk));
    is(Kind::Key, provider.is_none());
    let status = present(item, "status").and_then(|status| status.as_s().ok());
    is(Kind::Status, status.is_none());
    let manual = present(item, "manual_cancellation");
    is(Kind::ManualCancellation, manual.is_some_and(|flag| !flag.is_bool()));
    if let (Some(provider), Some(status)) = (provider, status) {
        let known = provider.words().any(|word| word == status);
        is(Kind::UnknownStatus, !known);
        let cancelable = provider.statuses.cancelable.contains(&status.as_str());
        is(Kind::Incomplete, cancelable && missing(provider, item).is_some());
    }
    let integer = |text: &String| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
    };
    let amount = item.get("amount").and_then(|amount| amount.as_n().ok());
    is(Kind::Amount, !amount.is_some_and(integer));
    let currency = item.get("currency").and_then(|currency| currency.as_s().ok());
    let letters =
        |text: &String| text.len() == 3 && text.bytes().all(|it| it.is_ascii_alphabetic());
    is(Kind::Currency, !currency.is_some_and(letters));
    let time = |name| match present(item, name) {
        None => name != "created_at",
        Some(value) => value.as_s().is_ok_and(|text| is_time(text)),
    };
    let times = ["created_at", "updated_at", "canceled_at"];
    is(Kind::Time, !times.into_iter().all(time));
    let details = present(item, "details");
    is(Kind::Details, details.is_some_and(|details| !details.is_m()));
    let cancellation = present(item, "cancellation");
    is(Kind::Cancellation, cancellation.is_some_and(|it| !is_cancellation(it)));
    is(Kind::Large, size(item) > LARGE);
    faults
}

/// Whose payment a key names, if it can name one.
fn provider_of(pk: &str) -> Option<&'static Provider> {
    let mut parts = pk.splitn(3, '#');
    let provider = providers::find(parts.next()?)?;
    let merchant = parts.next().filter(|merchant| !merchant.is_empty());
    merchant?;
    let id = parts.next()?;
    let usual = provider.payment_id(id).ok()?;
    (usual == id).then_some(provider)
}

/// Whether it is a used signature, which is in the same table.
pub(crate) fn is_signature(item: &Item) -> bool {
    let pk = item.get("pk").and_then(|pk| pk.as_s().ok());
    let prefix = pk.and_then(|pk| pk.split('#').next());
    prefix
        .is_some_and(|prefix| prefix.strip_suffix(".signature").and_then(providers::find).is_some())
}

/// `2024-01-01T00:00:00.000Z`.
pub(crate) fn is_time(text: &str) -> bool {
    let usual = text.parse::<Timestamp>().map(|at| format!("{at:.3}"));
    usual.is_ok_and(|usual| usual == text)
}

fn is_cancellation(value: &AttributeValue) -> bool {
    value.as_m().is_ok_and(|map| {
        let text = |name| map.get(name).is_some_and(AttributeValue::is_s);
        ["id", "token", "fingerprint"].into_iter().all(text)
    })
}

/// Approximately the bytes that DynamoDB counts.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the SDK's enum has a private variant for what it does not know"
)]
fn size(item: &Item) -> usize {
    fn of(value: &AttributeValue) -> usize {
        match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(number) => number.len().div_ceil(2) + 1,
            AttributeValue::B(blob) => blob.as_ref().len(),
            AttributeValue::Ss(texts) | AttributeValue::Ns(texts) => {
                texts.iter().map(String::len).sum()
            }
            AttributeValue::Bs(blobs) => blobs.iter().map(|blob| blob.as_ref().len()).sum(),
            AttributeValue::L(list) => 3 + list.iter().map(|it| 1 + of(it)).sum::<usize>(),
            AttributeValue::M(map) => 3 + map.len() + size(map),
            _ => 1,
        }
    }
    item.iter().map(|(name, value)| name.len() + of(value)).sum()
}

/// What a success response cannot do without and the item lacks.
fn missing(provider: &Provider, item: &Item) -> Option<&'static str> {
    let lacks = |attribute: &&Attribute| {
        let value = item.get(attribute.name());
        !value.is_some_and(match attribute {
            Attribute::Amount => AttributeValue::is_n,
            Attribute::Currency => AttributeValue::is_s,
        })
    };
    provider.required.iter().find(lacks).map(|it| it.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: Value) -> Item {
        let mut all = json!({
            "pk": "vtex#m#PAY", "status": "approved", "amount": 4307, "currency": "brl",
            "created_at": "2024-01-01T00:00:00.000Z", "updated_at": null, "details": {"nsu": "1"},
        });
        for (name, value) in change.as_object().unwrap() {
            all[name] = value.clone();
        }
        item(all.as_object().unwrap())
    }

    #[test]
    fn every_kind_of_fault_is_found_and_nothing_else() {
        assert_eq!(faults(&with(json!({}))), []);
        for (change, kind) in [
            (json!({"pk": "stripe#m#PAY"}), Kind::Key),
            (json!({"pk": "vtex#PAY"}), Kind::Key),
            (json!({"pk": "vtex##PAY"}), Kind::Key),
            (json!({"status": "Approved"}), Kind::UnknownStatus),
            (json!({"status": 1}), Kind::Status),
            (json!({"manual_cancellation": "yes"}), Kind::ManualCancellation),
            (json!({"amount": 43.07}), Kind::Amount),
            (json!({"currency": "real"}), Kind::Currency),
            (json!({"created_at": "2024-01-01T00:00:00Z"}), Kind::Time),
            (json!({"updated_at": 1_704_067_200}), Kind::Time),
            (json!({"status": "denied", "details": "x"}), Kind::Details),
            (json!({"cancellation": {"id": "1"}}), Kind::Cancellation),
            (json!({"details": {"x": "x".repeat(LARGE)}}), Kind::Large),
        ] {
            assert_eq!(faults(&with(change.clone())), [kind], "{change}");
        }
        let uuid = "550E8400-E29B-41D4-A716-446655440000";
        let upper = json!({"pk": format!("one2pays#m#{uuid}"), "status": "processing"});
        assert_eq!(faults(&with(upper)), [Kind::Key]);
        let used = json!({"pk": "one2pays.signature#m#0f", "payment_id": "x"});
        assert!(is_signature(&item(used.as_object().unwrap())));
    }

    #[test]
    fn json_keeps_digits_and_hides_secrets() {
        let long = "74500000000000000000123";
        let item = Item::from([
            ("ref".to_owned(), AttributeValue::N(long.to_owned())),
            ("amount".to_owned(), AttributeValue::N("4307.23".to_owned())),
        ]);
        assert_eq!(object(&item), json!({"ref": long, "amount": 4307.23}));
        let hidden = without_secrets(json!({"details": [{"clientSecret": "x", "a": "b"}]}));
        assert_eq!(hidden, json!({"details": [{"clientSecret": "<not shown>", "a": "b"}]}));
    }
}
