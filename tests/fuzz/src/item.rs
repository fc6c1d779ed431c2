//! A DynamoDB item as it comes over the wire, through the real SDK, to an answer.

use std::{
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use aws_sdk_dynamodb::config::{Credentials, Region, SharedCredentialsProvider};
use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
            SharedHttpConnector,
        },
        orchestrator::HttpRequest,
        runtime_components::RuntimeComponents,
    },
    http::{Response, StatusCode},
};
use serde_json::{Map, Value, json};
use shared::{
    clock::Timestamp,
    headers::Headers,
    request::Incoming,
    service::CancelService,
    store::dynamodb::{DynamoDb, limits},
};
use tower_service::Service;

use crate::{
    MERCHANT, Still,
    canary::Canary,
    check, finish, log,
    provider::{Contract, PROVIDERS, Presented, With, pick},
};

/// What the table says next, in DynamoDB's own JSON.
#[derive(Debug, Clone, Default)]
struct Wire(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    credential: String,
    payment: (u16, String),
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let said = self.0.lock().expect("nobody has panicked");
        let (status, body) = match request.headers().get("x-amz-target") {
            Some(operation) if operation.ends_with("GetItem") => (200, said.credential.clone()),
            _ => said.payment.clone(),
        };
        let status = StatusCode::try_from(status).expect("a status");
        let mut response = Response::new(status, body.into());
        response
            .headers_mut()
            .insert("content-type", "application/x-amz-json-1.0");
        HttpConnectorFuture::ready(Ok(response))
    }
}

impl HttpClient for Wire {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// Reads `input` as a provider, what the table says, and the item's attributes as DynamoDB writes them.
///
/// # Panics
/// Where something does not hold.
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
        answer::<P>(self.0, self.1);
    }
}

fn answer<P: Contract>(choice: u8, item: &str) {
    static STORE: LazyLock<(DynamoDb, Wire)> = LazyLock::new(|| {
        let wire = Wire::default();
        let key = Credentials::new("AKIDEXAMPLE", "secret", None, None, "fuzz");
        let config = limits()
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(key))
            .endpoint_url("http://127.0.0.1:9")
            .http_client(wire.clone());
        (DynamoDb::new(&config.build()), wire)
    });
    let (store, wire) = &*STORE;

    let canary = Canary::fresh();
    let payment_id = "550e8400-e29b-41d4-a716-446655440000";
    let body = json!({ "paymentId": payment_id, "requestId": "1", "all_keys_required": true });
    let body = body.to_string().into_bytes();
    let now = 1_700_000_000_000;
    let Presented {
        record, headers, ..
    } = P::credential(&canary, now, &body);
    let made = choice % 4 == 0;
    let attributes = serde_json::from_str::<Map<String, Value>>(item).map(|mut attributes| {
        // One that the data model does not know.
        attributes.insert("card_number".to_owned(), json!({ "S": canary.secret }));
        if made {
            // What the update sets is there after it, whatever was before.
            let at = json!({ "S": "2024-01-01T00:00:00.000Z" });
            attributes.insert("status".to_owned(), json!({ "S": P::STATUSES.canceled }));
            attributes.insert("canceled_at".to_owned(), at.clone());
            attributes.insert("updated_at".to_owned(), at);
        }
        Value::Object(attributes).to_string()
    });
    let whole = attributes.is_ok();
    let item = attributes.unwrap_or_else(|_| item.to_owned());
    let mut credential = json!({
        "merchant_id": { "S": MERCHANT },
        "active": { "BOOL": true },
        "card_number": { "S": canary.secret },
    });
    for (name, secret) in [
        ("secret_sha256", record.secret_sha256),
        ("signing_secret", record.signing_secret),
    ] {
        if let Some(secret) = secret {
            credential[name] = json!({ "S": secret });
        }
    }
    let refused = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
    let updated = format!("{{\"Attributes\":{item}}}");
    if !whole && serde_json::from_str::<Value>(&updated).is_ok() {
        return; // An input that closes the item by itself: nothing that DynamoDB says.
    }
    let said = match choice % 4 {
        0 => Said {
            credential: json!({ "Item": credential }).to_string(),
            payment: (200, updated),
        },
        1 | 2 => Said {
            credential: json!({ "Item": credential }).to_string(),
            payment: (400, format!("{{\"__type\":\"{refused}\",\"Item\":{item}}}")),
        },
        _ => Said {
            credential: format!("{{\"Item\":{item}}}"),
            payment: (400, format!("{{\"__type\":\"{refused}\"}}")),
        },
    };
    *wire.0.lock().expect("nobody has panicked") = said;

    let mut lines = Headers::default();
    lines.append("content-type", "application/json");
    headers
        .iter()
        .for_each(|(name, line)| lines.append(name, line));
    let incoming = Incoming {
        request_id: "9c1b6a52-0000-4000-8000-00000000000d".to_owned(),
        method: "POST".to_owned(),
        path: P::ROUTE.to_owned(),
        path_parameters: vec![(P::PARAMETER.to_owned(), payment_id.to_owned())],
        headers: lines,
        body,
        ..Incoming::default()
    };
    let request_id = incoming.request_id.clone();
    let now = Timestamp::from_millisecond(now).expect("a time");
    let mut service = CancelService::<P, _>::with_clock(store.clone(), Duration::ZERO, Still(now));
    let Ok(reply) = finish(service.call(incoming));
    check::<P>(&reply, &request_id, &canary);
}
