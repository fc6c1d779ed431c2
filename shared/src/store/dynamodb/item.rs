//! Items as the data model has them.
//!
//! NULL counts as absent. What a response only shows is taken as it is stored.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    auth::CredentialRecord,
    cancel::{PaymentKey, Transition},
    json::Json,
    payment::{Cancellation, Payment},
};

pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

/// The attribute `cancellation`, of a payment whose last one, if any, was `last`.
pub(super) fn cancellation_value(
    cancellation: &Cancellation,
    last: Option<&AttributeValue>,
) -> AttributeValue {
    let Cancellation { id, token, fingerprint, reason } = cancellation;
    let mut map = HashMap::from([
        ("id".to_owned(), text(id)),
        ("token".to_owned(), text(token)),
        ("fingerprint".to_owned(), text(fingerprint)),
    ]);
    if let Some(reason) = reason {
        map.insert("reason".to_owned(), text(reason));
    }
    if let Some(Ok(last)) = last.map(AttributeValue::as_m) {
        let mut all = earlier(last).to_vec();
        let mut last = last.clone();
        last.retain(|name, _| ["id", "token", "fingerprint"].contains(&name.as_str()));
        all.push(AttributeValue::M(last));
        map.insert(EARLIER.to_owned(), AttributeValue::L(all));
    }
    AttributeValue::M(map)
}

const EARLIER: &str = "earlier";

/// The cancellations before the one that `map` is.
fn earlier(map: &Item) -> &[AttributeValue] {
    map.get(EARLIER).and_then(|list| list.as_l().ok()).map_or(&[], Vec::as_slice)
}

/// The cancellation that is on a payment which has been re-opened since, unless it or an earlier
/// one was made with the token of `transition`.
pub(super) fn undone(item: &Item, transition: &Transition) -> Option<AttributeValue> {
    let last = item.get("cancellation")?;
    let map = last.as_m().ok()?;
    let open = transition.statuses.is_cancelable(&required(item, "status").ok()?)
        && flag(item, MANUAL) != Ok(Some(true));
    let ours = text(&transition.cancellation.token);
    let earlier = earlier(map).iter().filter_map(|made| made.as_m().ok()?.get("token"));
    let used = earlier.chain(map.get("token")).any(|token| *token == ours);
    (open && map.contains_key("token") && !used).then(|| last.clone())
}

/// The payment of `item`. `None` without a status, the one attribute that decides.
pub(super) fn payment(item: &Item, key: &PaymentKey) -> Option<Payment> {
    // What another service stored in another form is not our record.
    let last = item.get("cancellation").and_then(|made| made.as_m().ok());
    Some(Payment {
        id: key.payment_id().to_owned(),
        merchant_id: key.merchant_id().to_owned(),
        status: required(item, "status").ok()?,
        amount: shown(item, "amount"),
        currency: shown(item, "currency"),
        created_at: shown(item, "created_at"),
        updated_at: shown(item, "updated_at"),
        canceled_at: shown(item, "canceled_at"),
        manual_cancellation: flag(item, MANUAL) == Ok(Some(true)),
        details: item.get("details").map_or_else(BTreeMap::new, members),
        cancellation: last.and_then(cancellation),
        earlier_cancellations: last
            .map_or(&[][..], earlier)
            .iter()
            .filter_map(|made| cancellation(made.as_m().ok()?))
            .collect(),
    })
}

const MANUAL: &str = "manual_cancellation";

/// Whether `item` reserves the payment for a person or not, in a form that is neither.
pub(super) fn has_unusable_flag(item: &Item) -> bool {
    flag(item, MANUAL).is_err()
}

fn cancellation(map: &Item) -> Option<Cancellation> {
    let text = |name| required(map, name).ok();
    Some(Cancellation {
        id: text("id")?,
        token: text("token")?,
        fingerprint: text("fingerprint")?,
        reason: text("reason"),
    })
}

/// The credential of `item`, or the attribute that cannot be used.
pub(super) fn credential(item: &Item) -> Result<CredentialRecord, &'static str> {
    let merchant_id = required(item, "merchant_id")?;
    if merchant_id.contains('#') {
        return Err("merchant_id"); // It would reach into another merchant's keys.
    }
    Ok(CredentialRecord {
        merchant_id,
        secret_sha256: optional(item, "secret_sha256")?,
        signing_secret: optional(item, "signing_secret")?,
        active: flag(item, "active")?.ok_or("active")?,
        expires_at: optional(item, "expires_at")?
            .map(|end| end.parse())
            .transpose()
            .map_err(|_| "expires_at")?,
        api_version: optional(item, "api_version")?,
    })
}

fn required(item: &Item, name: &'static str) -> Result<String, &'static str> {
    optional(item, name)?.ok_or(name)
}

fn optional(item: &Item, name: &'static str) -> Result<Option<String>, &'static str> {
    match item.get(name) {
        None | Some(AttributeValue::Null(_)) => Ok(None),
        Some(AttributeValue::S(text)) => Ok(Some(text.clone())),
        Some(_) => Err(name),
    }
}

fn flag(item: &Item, name: &'static str) -> Result<Option<bool>, &'static str> {
    match item.get(name) {
        None | Some(AttributeValue::Null(_)) => Ok(None),
        Some(AttributeValue::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(name),
    }
}

fn shown(item: &Item, name: &str) -> Json {
    item.get(name).map(json).unwrap_or_default()
}

fn members(value: &AttributeValue) -> BTreeMap<String, Json> {
    let map = value.as_m().into_iter().flatten();
    map.map(|(name, value)| (name.clone(), json(value))).collect()
}

/// A stored value as JSON. Sets become sorted arrays, and binary values base64 strings.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the SDK's enum has a private variant for what it does not know"
)]
fn json(value: &AttributeValue) -> Json {
    let base64 = |bytes: &[u8]| Json::Text(STANDARD.encode(bytes));
    let number = |digits: &String| Json::Number(digits.clone());
    match value {
        AttributeValue::S(text) => Json::Text(text.clone()),
        AttributeValue::N(digits) => number(digits),
        AttributeValue::Bool(flag) => Json::Bool(*flag),
        AttributeValue::L(list) => Json::List(list.iter().map(json).collect()),
        AttributeValue::M(_) => Json::Object(members(value)),
        AttributeValue::B(bytes) => base64(bytes.as_ref()),
        AttributeValue::Ss(texts) => {
            Json::List(sorted(texts).map(|text| text.as_str().into()).collect())
        }
        AttributeValue::Ns(numbers) => Json::List(sorted(numbers).map(number).collect()),
        AttributeValue::Bs(all) => {
            let mut all: Vec<&[u8]> = all.iter().map(AsRef::as_ref).collect();
            all.sort_unstable();
            Json::List(all.into_iter().map(base64).collect())
        }
        _ => Json::Null,
    }
}

/// DynamoDB returns sets in no particular order, and a replay must have the same bytes.
fn sorted(set: &[String]) -> impl Iterator<Item = &String> {
    let mut all: Vec<&String> = set.iter().collect();
    all.sort_unstable();
    all.into_iter()
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::primitives::Blob;

    use super::*;

    fn shown_as(value: AttributeValue) -> String {
        serde_json::to_string(&json(&value)).expect("JSON")
    }

    #[test]
    fn a_stored_number_is_shown_with_the_digits_it_has() {
        for digits in ["0.1", "4307.23", "74512345678901234567890", "0.18981702153870114"] {
            assert_eq!(shown_as(AttributeValue::N(digits.into())), digits);
        }
    }

    #[test]
    fn sets_are_sorted_arrays_and_binary_values_base64() {
        let texts = |all: &[&str]| all.iter().map(ToString::to_string).collect();
        let blob = |bytes: &[u8]| Blob::new(bytes);
        for (value, expected) in [
            (AttributeValue::Ss(texts(&["b", "a"])), r#"["a","b"]"#),
            (AttributeValue::Ns(texts(&["2.50", "10"])), "[10,2.50]"),
            (AttributeValue::B(blob(b"\xff\x00")), r#""/wA=""#),
            (AttributeValue::Bs(vec![blob(b"b"), blob(b"a")]), r#"["YQ==","Yg=="]"#),
            (AttributeValue::Null(true), "null"),
        ] {
            assert_eq!(shown_as(value), expected);
        }
    }
}
