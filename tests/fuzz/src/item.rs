//! A DynamoDB item as it comes over the wire, through the real SDK, to a response.

use std::sync::{Arc, LazyLock, Mutex};

use aws_config::{Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_http_client::test_util::infallible_client_fn;
use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Map, Value, json};
use shared::{
    clock::Timestamp,
    provider::Attribute,
    route,
    store::dynamodb::{DynamoDb, Tables, behavior_version},
};

use crate::{
    MERCHANT,
    canary::Canary,
    is_number, log,
    provider::{Contract, PROVIDERS, Presented, With, pick},
    send,
};

/// What the tables say next, in DynamoDB's own JSON. The update's response has a status, too.
#[derive(Debug, Clone, Default)]
struct Said {
    credential: String,
    payment: (u16, String),
}

/// The tables, and where to put what they say next.
fn tables() -> (DynamoDb, Arc<Mutex<Said>>) {
    let said = Arc::new(Mutex::new(Said::default()));
    let next = Arc::clone(&said);
    let client = infallible_client_fn(move |request| {
        let Said { credential, payment: (status, body) } =
            next.lock().expect("no test has panicked").clone();
        let operation = request.headers().get("x-amz-target");
        let operation = operation.and_then(|name| name.to_str().ok());
        let (status, body) = if operation.is_some_and(|name| name.ends_with("GetItem")) {
            (200, credential)
        } else if status == 200 {
            (200, updated(body, request.body().bytes()))
        } else {
            (status, body)
        };
        let response =
            Response::builder().status(status).header("content-type", "application/x-amz-json-1.0");
        response.body(body).expect("a response")
    });
    let key = Credentials::new("AKIDEXAMPLE", "secret", None, None, "fuzz");
    let config = SdkConfig::builder()
        .behavior_version(behavior_version())
        .http_client(client)
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(key))
        .build();
    (DynamoDb::new(&config, Tables::default()), said)
}

/// `response` with what the update sets, whatever was there before.
fn updated(response: String, update: Option<&[u8]>) -> String {
    let Ok(mut parsed) = serde_json::from_str::<Value>(&response) else {
        return response;
    };
    let update = serde_json::from_slice::<Value>(update.unwrap_or_default()).expect("an update");
    for (attribute, value) in [
        ("status", ":canceled"),
        ("canceled_at", ":at"),
        ("updated_at", ":at"),
        ("cancellation", ":cancellation"),
    ] {
        parsed["Attributes"][attribute] = update["ExpressionAttributeValues"][value].clone();
    }
    parsed.to_string()
}

/// Reads `input` as a provider, the table's response, and the item's attributes as DynamoDB writes
/// them.
///
/// # Panics
/// If something does not hold.
pub fn run(input: &[u8]) {
    let [choice, item @ ..] = input else { return };
    let Ok(item) = std::str::from_utf8(item) else {
        return; // The SDK refuses it before anything of ours sees it.
    };
    log::keep();
    pick(*choice, Item(choice / PROVIDERS, item));
}

struct Item<'a>(u8, &'a str);

impl With for Item<'_> {
    fn with<P: Contract>(self) {
        response::<P>(self.0, self.1);
    }
}

fn response<P: Contract>(choice: u8, item: &str) {
    static TABLES: LazyLock<(DynamoDb, Arc<Mutex<Said>>)> = LazyLock::new(tables);
    let (store, said) = &*TABLES;

    let canary = Canary::fresh();
    let payment_id = "550e8400-e29b-41d4-a716-446655440000";
    let body = json!({ "paymentId": payment_id, "requestId": "1", "all_keys_required": true });
    let body = body.to_string().into_bytes();
    let now = 1_700_000_000_000;
    let Presented { record, headers, .. } = P::credential(&canary, now, &body);
    let which = choice % 4;
    let attributes = serde_json::from_str::<Map<String, Value>>(item).map(|mut attributes| {
        // One that the data model does not know.
        attributes.insert("card_number".to_owned(), json!({ "S": canary.secret }));
        if which == 0 {
            // What the update's condition demands is there.
            for attribute in P::REQUIRED {
                require(&mut attributes, *attribute);
            }
        }
        Value::Object(attributes)
    });
    if attributes.as_ref().is_ok_and(|item| !has_only_numbers(item)) {
        return; // DynamoDB stores no such number.
    }
    let whole = attributes.is_ok();
    let item = attributes.map_or_else(|_| item.to_owned(), |item| item.to_string());
    let mut credential = json!({
        "merchant_id": { "S": MERCHANT },
        "active": { "BOOL": true },
        "card_number": { "S": canary.secret },
    });
    for (name, secret) in
        [("secret_sha256", record.secret_sha256), ("signing_secret", record.signing_secret)]
    {
        if let Some(secret) = secret {
            credential[name] = json!({ "S": secret });
        }
    }
    let refused = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
    let updated = format!("{{\"Attributes\":{item}}}");
    if !whole && serde_json::from_str::<Value>(&updated).is_ok() {
        return; // An input that closes the item by itself: nothing that DynamoDB says.
    }
    let next = match which {
        0 => {
            Said { credential: json!({ "Item": credential }).to_string(), payment: (200, updated) }
        }
        1 | 2 => Said {
            credential: json!({ "Item": credential }).to_string(),
            payment: (400, format!("{{\"__type\":\"{refused}\",\"Item\":{item}}}")),
        },
        _ => Said {
            credential: format!("{{\"Item\":{item}}}"),
            payment: (400, format!("{{\"__type\":\"{refused}\"}}")),
        },
    };
    *said.lock().expect("no test has panicked") = next;

    let parameter = format!("{{{}}}", route::parameter(P::ROUTE));
    let mut request = Request::post(P::ROUTE.replace(&parameter, payment_id))
        .header("content-type", "application/json");
    for (name, line) in headers {
        request = request.header(name, line);
    }
    let request = request.body(Bytes::from(body)).expect("a request");
    let now = Timestamp::from_millisecond(now).expect("a time");
    send::<P>(request, store.clone(), now, &canary);
}

/// Puts the attribute into the item if it does not have the type that responses need.
fn require(attributes: &mut Map<String, Value>, attribute: Attribute) {
    let (kind, value) = match attribute {
        Attribute::Amount => ("N", "100"),
        Attribute::Currency => ("S", "USD"),
    };
    let there = attributes.get(attribute.name());
    if !there.is_some_and(|there| there[kind].is_string()) {
        attributes.insert(attribute.name().to_owned(), json!({ kind: value }));
    }
}

/// Whether all that is marked as a number is one.
fn has_only_numbers(value: &Value) -> bool {
    let is = |value: &Value| value.as_str().is_none_or(is_number);
    match value {
        Value::Object(members) => members.iter().all(|(name, value)| {
            has_only_numbers(value)
                && match name.as_str() {
                    "N" => is(value),
                    "NS" => value.as_array().into_iter().flatten().all(is),
                    _ => true,
                }
        }),
        Value::Array(list) => list.iter().all(has_only_numbers),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}
