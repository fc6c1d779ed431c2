//! One request to one provider: path, headers and body from the input, and a payment in any state.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use shared::{
    clock::Timestamp,
    error::StoreError,
    json::Json,
    payment::{Cancellation, Payment},
    request::PathParameters,
    route,
};

use crate::{
    canary::Canary,
    is_number, log,
    provider::{Contract, Presented, With, pick},
    send,
    store::{Store, Tables},
};

/// What libFuzzer's bytes are read as: a line for each fact, header lines, an empty line, the body.
/// A line that is missing is empty, so every input is a request.
#[derive(Debug, Default)]
pub struct Attempt<'a> {
    /// Bytes that choose: see [`Attempt::choice`].
    choices: &'a [u8],
    method: &'a str,
    /// Empty for a UUID; `=id` for a path parameter, a path with a slash unchanged, else the id's
    /// segment.
    path: &'a str,
    status: &'a str,
    amount: &'a str,
    currency: &'a str,
    created_at: &'a str,
    canceled_at: &'a str,
    details: &'a [u8],
    headers: Vec<(&'a str, &'a str)>,
    body: &'a [u8],
}

/// The places of the choices. A byte that is missing is a zero, and so is the character `0`.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum Choice {
    Provider,
    Credential,
    Broken,
    Declared,
    Time,
    Stored,
    Cancelable,
    Manual,
    Own,
    Reason,
    Plant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Credential {
    Right,
    Inactive,
    Expired,
    Unknown,
    /// Of the right credential, one header with something else in it.
    Broken(u8),
    None,
}

impl<'a> Attempt<'a> {
    /// Reads an input.
    #[must_use]
    pub fn read(mut input: &'a [u8]) -> Self {
        let mut line = || {
            let end = input.iter().position(|byte| *byte == b'\n');
            let (line, rest) = input.split_at(end.unwrap_or(input.len()));
            input = rest.get(1..).unwrap_or_default();
            line
        };
        let text = |line: &'a [u8]| std::str::from_utf8(line).unwrap_or_default();
        let mut attempt = Self {
            choices: line(),
            method: text(line()),
            path: text(line()),
            status: text(line()),
            amount: text(line()),
            currency: text(line()),
            created_at: text(line()),
            canceled_at: text(line()),
            details: line(),
            ..Self::default()
        };
        while let Some((name, value)) = text(line()).split_once(": ") {
            attempt.headers.push((name, value));
        }
        attempt.body = input;
        attempt
    }

    fn choice(&self, which: Choice) -> u8 {
        let byte = self.choices.get(which as usize).copied();
        byte.unwrap_or(b'0').wrapping_sub(b'0')
    }

    fn credential(&self) -> Credential {
        match self.choice(Choice::Credential) % 6 {
            0 => Credential::Right,
            1 => Credential::Inactive,
            2 => Credential::Expired,
            3 => Credential::Unknown,
            4 => Credential::Broken(self.choice(Choice::Broken)),
            _ => Credential::None,
        }
    }
}

impl With for &Attempt<'_> {
    fn with<P: Contract>(self) {
        response::<P>(self);
    }
}

const UUID: &str = "550e8400-e29b-41d4-a716-446655440000";

/// Sends the input's request to the input's provider, and checks the response.
///
/// # Panics
/// If something does not hold.
pub fn run(input: &[u8]) {
    let attempt = Attempt::read(input);
    log::keep();
    pick(attempt.choice(Choice::Provider), &attempt);
}

fn response<P: Contract>(attempt: &Attempt<'_>) {
    let credential = attempt.credential();
    let canary = Canary::fresh();
    let body = body(attempt, &canary);
    let now = 1_700_000_000_000 + i64::from(attempt.choice(Choice::Time));
    let Presented { key_id, mut record, headers: presented, strict } =
        P::credential(&canary, now, &body);
    match credential {
        Credential::Inactive => record.active = false,
        Credential::Expired => record.expires_at = Timestamp::from_millisecond(now).ok(),
        Credential::Right | Credential::Unknown | Credential::Broken(_) | Credential::None => {}
    }
    let key_id = match credential {
        Credential::Unknown => "another".to_owned(),
        Credential::Right
        | Credential::Inactive
        | Credential::Expired
        | Credential::Broken(_)
        | Credential::None => key_id,
    };
    let (payment, own) = stored::<P>(attempt, &canary);
    let store = Store::new(Tables {
        credential: (Some(format!("{}#{key_id}", P::NAME)), record),
        payment,
        own,
        transitions: 0,
    });
    let request = request::<P>(attempt, &presented, strict, body);
    let now = Timestamp::from_millisecond(now).expect("a time");
    let canceled = send::<P>(request, store.clone(), now, &canary);
    let tables = store.tables();
    let word = match &tables.payment {
        Ok(Some(payment)) => payment.status.as_str(),
        Ok(None) | Err(_) => "",
    };
    let is_canceled = word == P::STATUSES.canceled || P::SAME_FOR_EVER && tables.own.is_some();
    assert!(
        !canceled || is_canceled && tables.transitions == 1,
        "reported canceled, but it is {word:?}"
    );
    if credential != Credential::Right {
        assert_eq!(tables.transitions, 0, "{credential:?} reached the payment");
    }
    assert!(tables.transitions <= 1, "{} transitions", tables.transitions);
}

/// The body, with a canary planted in it if it is an object: in a field that no provider stores,
/// logs or shows.
fn body(attempt: &Attempt<'_>, canary: &Canary) -> Vec<u8> {
    let text = attempt.body.trim_ascii_end();
    match text.strip_suffix(b"}") {
        Some(open) if attempt.choice(Choice::Plant) % 2 == 1 => {
            let comma = if open.trim_ascii() == b"{" { "" } else { "," };
            let planted = json!({
                "creds_identifier": canary.secret,
                "encoded_data": { "connector_account_details": { "api_key": canary.secret } },
            });
            let end = format!("{comma}\"merchant_connector_details\":{planted}}}");
            [open, end.as_bytes()].concat()
        }
        _ => attempt.body.to_vec(),
    }
}

/// What a path may have as it is. The target `event` sends other paths.
const NOT_IN_PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'%').remove(b'-').remove(b'.').remove(b'/').remove(b'_').remove(b'~');

fn request<P: Contract>(
    attempt: &Attempt<'_>,
    presented: &[(&'static str, String)],
    strict: usize,
    body: Vec<u8>,
) -> Request<Bytes> {
    let mut request = Request::new(Bytes::from(body));
    let headers = request.headers_mut();
    for (place, (name, value)) in presented.iter().enumerate() {
        match attempt.credential() {
            Credential::None => {}
            Credential::Broken(which) if usize::from(which) % strict == place => {
                // One character less, which no scheme takes for the same.
                append(headers, name, value.get(..value.len() - 1).unwrap_or_default());
            }
            Credential::Right
            | Credential::Inactive
            | Credential::Expired
            | Credential::Unknown
            | Credential::Broken(_) => append(headers, name, value),
        }
    }
    if attempt.choice(Choice::Declared) % 2 == 1 {
        append(headers, "content-type", "application/json");
    }
    for (name, value) in &attempt.headers {
        // `*0` is the first header that presents the credential.
        let which = name.strip_prefix('*').and_then(|place| place.parse::<usize>().ok());
        let name = which.map_or(*name, |which| presented[which % presented.len()].0);
        append(headers, name, value);
    }
    let (before, after) = P::ROUTE.split_once('{').expect("a route has a parameter");
    let after = after.split_once('}').expect("a route has a parameter").1;
    let path = match (attempt.path, attempt.path.strip_prefix('=')) {
        ("", _) => format!("{before}{UUID}{after}"),
        (_, Some(id)) => {
            let parameter = (route::parameter(P::ROUTE).to_owned(), id.to_owned());
            request.extensions_mut().insert(PathParameters([parameter].into()));
            P::ROUTE.to_owned()
        }
        (whole, None) if whole.starts_with('/') => whole.to_owned(),
        (whole, None) if whole.contains('/') => format!("/{whole}"),
        (id, None) => format!("{before}{id}{after}"),
    };
    let path = utf8_percent_encode(&path, NOT_IN_PATH).to_string();
    *request.uri_mut() = path.parse().expect("an encoded path");
    *request.method_mut() = match Method::from_bytes(attempt.method.as_bytes()) {
        Ok(method) => method,
        Err(_) => Method::POST,
    };
    request
}

/// Appends the line, if a header can have such a name and value.
fn append(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) =
        (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
    {
        headers.append(name, value);
    }
}

type Found = (Result<Option<Payment>, StoreError>, Option<bool>);

fn stored<P: Contract>(attempt: &Attempt<'_>, canary: &Canary) -> Found {
    let status = match attempt.choice(Choice::Stored) % 7 {
        0 => {
            let words = P::STATUSES.cancelable;
            words[usize::from(attempt.choice(Choice::Cancelable)) % words.len()]
        }
        1 => P::STATUSES.canceled,
        2 => attempt.status,
        3 => return (Ok(None), None),
        4 => return (Err(StoreError::Undecided), None),
        5 => return (Err(StoreError::Unavailable), None),
        _ => return (Err(StoreError::Internal), None),
    };
    let details = serde_json::from_slice::<Map<String, Value>>(attempt.details)
        .ok()
        .filter(|details| details.values().all(|value| depth(value) < 32))
        .unwrap_or_default();
    let mut details = members(&details);
    for name in P::HIDDEN {
        details.insert((*name).to_owned(), canary.secret.as_str().into());
    }
    let email = canary.private.as_str().into();
    details.insert("customer_email".to_owned(), email);
    let canceled_at = Some(attempt.canceled_at).filter(|at| !at.is_empty());
    let has_reason = attempt.choice(Choice::Reason) % 2 == 1;
    let made = canceled_at.map(|at| Cancellation {
        id: "0f".repeat(16),
        token: canary.secret.clone(),
        fingerprint: canary.secret.clone(),
        reason: has_reason.then(|| format!("{}{at}", canary.private)),
    });
    let amount = Some(attempt.amount).filter(|amount| is_number(amount));
    let payment = Payment {
        status: status.to_owned(),
        amount: Json::Number(amount.unwrap_or("100").to_owned()),
        currency: attempt.currency.into(),
        created_at: attempt.created_at.into(),
        updated_at: canceled_at.map(Json::from).unwrap_or_default(),
        // The write that moves the status sets the time as well.
        canceled_at: match &made {
            Some(_) => "2024-01-01T00:00:00.000Z".into(),
            None => Json::Null,
        },
        manual_cancellation: attempt.choice(Choice::Manual) % 2 == 1,
        details,
        cancellation: made,
        ..Payment::default()
    };
    let own = match attempt.choice(Choice::Own) % 3 {
        0 => None,
        which => Some(which == 1),
    };
    (Ok(Some(payment)), canceled_at.and(own))
}

/// DynamoDB nests 32 levels.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn members(map: &Map<String, Value>) -> BTreeMap<String, Json> {
    let members = map.iter();
    members.map(|(name, value)| (name.clone(), stored_as(value))).collect()
}

fn stored_as(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Number(number) => Json::Number(number.to_string()),
        Value::String(text) => text.as_str().into(),
        Value::Array(list) => Json::List(list.iter().map(stored_as).collect()),
        Value::Object(map) => Json::Object(members(map)),
    }
}
