//! One request to one provider: path, headers and body as the input says, over a payment in any state.

use std::time::Duration;

use arbitrary::Arbitrary;
use serde_json::{Map, Value, json};
use shared::{
    clock::Timestamp,
    headers::Headers,
    payment::{Cancellation, Payment},
    request::Incoming,
    service::CancelService,
    store::StoreError,
};
use tower_service::Service;

use crate::{
    MERCHANT, Still,
    canary::Canary,
    check, finish, log,
    provider::{Contract, Presented},
    store::{Store, Tables},
};

/// What libFuzzer's bytes are read as.
#[derive(Debug, Arbitrary)]
pub struct Asked<'a> {
    credential: Credential,
    post: Option<&'a str>,
    path: Path<'a>,
    headers: Vec<(Name<'a>, &'a str)>,
    declared: bool,
    time: u8,
    stored: Stored<'a>,
    plant: bool,
    body: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
enum Credential {
    Right,
    Inactive,
    Expired,
    Unknown,
    /// Of the right credential, one header with something else in it.
    Broken(u8),
    None,
}

#[derive(Debug, Arbitrary)]
enum Path<'a> {
    Uuid,
    Parameter(&'a str),
    Segment(&'a str),
    Whole(&'a str),
}

#[derive(Debug, Arbitrary)]
enum Name<'a> {
    IdempotencyKey,
    ContentType,
    /// Of those that present the credential.
    Credential(u8),
    Version,
    Any(&'a str),
}

#[derive(Debug, Arbitrary)]
enum Stored<'a> {
    Missing,
    Undecided,
    Internal,
    Payment {
        status: Status<'a>,
        amount: i64,
        currency: &'a str,
        created_at: &'a str,
        manual: bool,
        details: &'a [u8],
        canceled: Option<(Option<bool>, bool, &'a str)>,
    },
}

#[derive(Debug, Arbitrary)]
enum Status<'a> {
    Cancelable(u8),
    Canceled,
    Other(&'a str),
}

const UUID: &str = "550e8400-e29b-41d4-a716-446655440000";

/// Asks, and checks what comes of it.
///
/// # Panics
/// Where something does not hold.
pub fn run<P: Contract>(asked: &Asked<'_>) {
    log::keep();
    let canary = Canary::fresh();
    let body = body(asked, &canary);
    let now = 1_700_000_000_000 + i64::from(asked.time);
    let Presented {
        key_id,
        mut record,
        headers: presented,
        strict,
    } = P::credential(&canary, now, &body);
    match asked.credential {
        Credential::Inactive => record.active = false,
        Credential::Expired => record.expires_at = Timestamp::from_millisecond(now).ok(),
        Credential::Right | Credential::Unknown | Credential::Broken(_) | Credential::None => {}
    }
    let key_id = match asked.credential {
        Credential::Unknown => "another".to_owned(),
        _ => key_id,
    };
    let (payment, own) = stored::<P>(&asked.stored, &canary);
    let store = Store::new(Tables {
        credential: (Some(format!("{}#{key_id}", P::NAME)), record),
        payment,
        own,
        asked: 0,
    });
    let incoming = incoming::<P>(asked, &presented, strict, body);
    let request_id = incoming.request_id.clone();
    let now = Timestamp::from_millisecond(now).expect("a time");
    let mut service =
        CancelService::<P, _>::with_clock(store.clone(), Duration::from_secs(60), Still(now));
    let Ok(reply) = finish(service.call(incoming));

    let canceled = check::<P>(&reply, &request_id, &canary);
    let tables = store.tables();
    let word = match &tables.payment {
        Ok(Some(payment)) => payment.status.as_str(),
        Ok(None) | Err(_) => "",
    };
    assert!(
        !canceled || word == P::STATUSES.canceled && tables.asked == 1,
        "told to be canceled, but it is {word:?}"
    );
    if asked.credential != Credential::Right {
        assert_eq!(
            tables.asked, 0,
            "{:?} reached the payment",
            asked.credential
        );
    }
    assert!(tables.asked <= 1, "asked {} times", tables.asked);
}

/// The body, with a canary planted in it where it is an object: in a field that no provider stores, logs or answers.
fn body(asked: &Asked<'_>, canary: &Canary) -> Vec<u8> {
    let text = asked.body.trim_ascii_end();
    match text.strip_suffix(b"}") {
        Some(open) if asked.plant => {
            let comma = if open.trim_ascii() == b"{" { "" } else { "," };
            let planted = json!({
                "creds_identifier": canary.secret,
                "encoded_data": { "connector_account_details": { "api_key": canary.secret } },
            });
            let end = format!("{comma}\"merchant_connector_details\":{planted}}}");
            [open, end.as_bytes()].concat()
        }
        _ => asked.body.to_vec(),
    }
}

fn incoming<P: Contract>(
    asked: &Asked<'_>,
    presented: &[(&'static str, String)],
    strict: usize,
    body: Vec<u8>,
) -> Incoming {
    let mut headers = Headers::default();
    for (place, (name, value)) in presented.iter().enumerate() {
        match asked.credential {
            Credential::None => {}
            Credential::Broken(which) if usize::from(which) % strict == place => {
                // One character less, which no scheme takes for the same.
                headers.append(name, value.get(..value.len() - 1).unwrap_or_default());
            }
            _ => headers.append(name, value),
        }
    }
    if asked.declared {
        headers.append("content-type", "application/json");
    }
    for (name, value) in &asked.headers {
        let name = match name {
            Name::IdempotencyKey => "idempotency-key",
            Name::ContentType => "content-type",
            Name::Credential(which) => presented[usize::from(*which) % presented.len()].0,
            Name::Version => "wcp-version",
            Name::Any(name) => name,
        };
        headers.append(name, value);
    }
    let (before, after) = P::ROUTE.split_once('{').expect("a route has a parameter");
    let after = after.split_once('}').expect("a route has a parameter").1;
    let (path, path_parameters) = match asked.path {
        Path::Uuid => (format!("{before}{UUID}{after}"), Vec::new()),
        Path::Parameter(id) => (
            P::ROUTE.to_owned(),
            vec![(P::PARAMETER.to_owned(), id.to_owned())],
        ),
        Path::Segment(id) => (format!("{before}{id}{after}"), Vec::new()),
        Path::Whole(path) => (path.to_owned(), Vec::new()),
    };
    Incoming {
        request_id: "9c1b6a52-0000-4000-8000-00000000000f".to_owned(),
        method: asked.post.unwrap_or("POST").to_owned(),
        path,
        path_parameters,
        headers,
        body,
        ..Incoming::default()
    }
}

type Found = (Result<Option<Payment>, StoreError>, Option<bool>);

fn stored<P: Contract>(stored: &Stored<'_>, canary: &Canary) -> Found {
    let (status, amount, currency, created_at, manual, details, canceled) = match stored {
        Stored::Missing => return (Ok(None), None),
        Stored::Undecided => return (Err(StoreError::Undecided), None),
        Stored::Internal => return (Err(StoreError::Internal), None),
        Stored::Payment {
            status,
            amount,
            currency,
            created_at,
            manual,
            details,
            canceled,
        } => (
            status,
            *amount,
            *currency,
            *created_at,
            *manual,
            *details,
            canceled,
        ),
    };
    let status = match status {
        Status::Cancelable(which) => {
            let words = P::STATUSES.cancelable;
            words[usize::from(*which) % words.len()]
        }
        Status::Canceled => P::STATUSES.canceled,
        Status::Other(word) => word,
    };
    let mut details = serde_json::from_slice::<Map<String, Value>>(details)
        .ok()
        .filter(|details| details.values().all(|value| depth(value) < 32))
        .unwrap_or_default();
    for name in P::HIDDEN {
        details.insert((*name).to_owned(), canary.secret.clone().into());
    }
    details.insert("customer_email".to_owned(), canary.private.clone().into());
    let made = canceled.as_ref().map(|(_, reason, at)| Cancellation {
        id: "0f".repeat(16),
        token: canary.secret.clone(),
        fingerprint: canary.secret.clone(),
        reason: reason.then(|| format!("{}{at}", canary.private)),
    });
    let payment = Payment {
        id: String::new(),
        merchant_id: MERCHANT.to_owned(),
        status: status.to_owned(),
        amount,
        currency: currency.to_owned(),
        created_at: created_at.to_owned(),
        updated_at: canceled.as_ref().map(|(_, _, at)| (*at).to_owned()),
        // The write that moves the status sets the time as well.
        canceled_at: made.as_ref().map(|_| "2024-01-01T00:00:00.000Z".to_owned()),
        manual_cancellation: manual,
        details,
        cancellation: made,
    };
    (
        Ok(Some(payment)),
        canceled.as_ref().and_then(|(own, _, _)| *own),
    )
}

/// DynamoDB nests 32 levels.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
