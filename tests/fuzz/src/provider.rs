//! The parts of the contracts that concern the shape of responses and authentication, from the
//! READMEs in `functions`. The one place here that lists the providers.

use hmac::{Hmac, KeyInit, Mac};
use providers::{HedgePayments, Hyperswitch, One2Pays, Vtex, WalletConnect};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use shared::{auth::CredentialRecord, provider::Provider};

use crate::{MERCHANT, canary::Canary};

/// A provider and its contract.
pub trait Contract: Provider {
    /// The documented statuses.
    const STATUS: &'static [u16];
    /// Names in `details` that no response shows.
    const HIDDEN: &'static [&'static str];
    /// Whether a retry with the same key always gets the success, even if another service has
    /// re-opened the payment since.
    const SAME_FOR_EVER: bool = false;

    /// A credential that is right: its key id, its item, and the headers that present it with this
    /// body at this time.
    fn credential(canary: &Canary, now: i64, body: &[u8]) -> Presented;

    /// Whether a response has the documented shape.
    fn well_formed(status: u16, body: &Value) -> bool;

    /// Whether it reports the payment canceled.
    fn says_canceled(status: u16, _: &Value) -> bool {
        status == 200
    }
}

/// What is done with one provider.
pub trait With {
    /// Does it with the provider `P`.
    fn with<P: Contract>(self);
}

/// How many providers there are.
pub const PROVIDERS: u8 = 5;

/// Does it with one of the providers, which are in the order of their names.
pub fn pick(which: u8, what: impl With) {
    match which % PROVIDERS {
        0 => what.with::<HedgePayments>(),
        1 => what.with::<Hyperswitch>(),
        2 => what.with::<One2Pays>(),
        3 => what.with::<Vtex>(),
        _ => what.with::<WalletConnect>(),
    }
}

/// A credential and how it is presented.
#[derive(Debug)]
pub struct Presented {
    /// The second part of its partition key.
    pub key_id: String,
    /// Its item.
    pub record: CredentialRecord,
    /// The header lines.
    pub headers: Vec<(&'static str, String)>,
    /// How many of them, from the first, must be just so.
    pub strict: usize,
}

impl Presented {
    fn digest(secret: &str, headers: Vec<(&'static str, String)>) -> Self {
        Self {
            key_id: hex::encode(Sha256::digest(secret.as_bytes())),
            record: record(),
            strict: headers.len(),
            headers,
        }
    }
}

fn record() -> CredentialRecord {
    CredentialRecord {
        merchant_id: MERCHANT.to_owned(),
        active: true,
        ..CredentialRecord::default()
    }
}

fn text(value: &Value, names: &[&str]) -> bool {
    names.iter().all(|name| value[name].as_str().is_some_and(|text| !text.is_empty()))
}

fn only(value: &Value, names: &[&str]) -> bool {
    let known = |map: &Map<String, Value>| {
        map.len() == names.len() && names.iter().all(|name| map.contains_key(*name))
    };
    value.as_object().is_some_and(known)
}

impl Contract for Hyperswitch {
    const STATUS: &'static [u16] = &[200, 400, 401, 404, 405, 413, 500];
    const HIDDEN: &'static [&'static str] = &["next_action", "payment_link"];

    fn credential(canary: &Canary, _: i64, _: &[u8]) -> Presented {
        Presented::digest(&canary.secret, vec![("api-key", canary.secret.clone())])
    }

    fn well_formed(status: u16, body: &Value) -> bool {
        if status == 200 {
            let never_null = [
                "payment_id",
                "merchant_id",
                "status",
                "amount",
                "net_amount",
                "currency",
                "attempt_count",
            ];
            return never_null.iter().all(|name| !body[name].is_null())
                && body["amount_capturable"] == 0
                && body["next_action"].is_null()
                && body["payment_link"].is_null();
        }
        let nested = &body["error"];
        only(body, &["error", "error_type", "message", "code"])
            && only(nested, &["type", "message", "code"])
            && text(nested, &["type", "message", "code"])
            && body["error_type"] == nested["type"]
            && body["message"] == nested["message"]
            && body["code"] == nested["code"]
            && (nested["type"] == "api") == (status == 500)
    }
}

impl Contract for HedgePayments {
    const STATUS: &'static [u16] = &[200, 400, 401, 404, 405, 409, 412, 413, 422, 500, 503];
    const HIDDEN: &'static [&'static str] =
        &["client_secret", "next_action", "checkout_url", "payment_url"];

    fn credential(canary: &Canary, _: i64, _: &[u8]) -> Presented {
        let line = format!("Bearer {}", canary.secret);
        Presented::digest(&canary.secret, vec![("authorization", line)])
    }

    fn well_formed(status: u16, body: &Value) -> bool {
        if status == 200 {
            return text(body, &["id", "status"])
                && body["object"] == "payment"
                && body["amount"].is_number()
                && body.get("cancellation_reason").is_some();
        }
        let error = &body["error"];
        let details = match status {
            412 => {
                only(&error["details"], &["payment_id", "current_status", "cancelable_statuses"])
            }
            422 => only(&error["details"], &["field", "provided", "expected"]),
            _ => error.get("details").is_none(),
        };
        only(body, &["error"]) && text(error, &["code", "message"]) && details
    }
}

impl Contract for Vtex {
    const STATUS: &'static [u16] = &[200, 400, 401, 404, 405, 413, 500];
    const HIDDEN: &'static [&'static str] = &["client_secret", "tid"];
    const SAME_FOR_EVER: bool = true;

    fn credential(canary: &Canary, _: i64, _: &[u8]) -> Presented {
        let key_id = format!("key-{}", canary.private);
        let secret_sha256 = Some(hex::encode(Sha256::digest(canary.secret.as_bytes())));
        Presented {
            headers: vec![
                ("x-vtex-api-appkey", key_id.clone()),
                ("x-vtex-api-apptoken", canary.secret.clone()),
            ],
            strict: 2,
            key_id,
            record: CredentialRecord { secret_sha256, ..record() },
        }
    }

    fn well_formed(status: u16, body: &Value) -> bool {
        let names = ["paymentId", "message", "code", "cancellationId", "requestId"];
        let canceled = body["cancellationId"].is_string();
        only(body, &names)
            && body["paymentId"].is_string()
            && (canceled || body["cancellationId"].is_null() && text(body, &["message", "code"]))
            && (!canceled || status == 200 && body["message"].is_null() && body["code"].is_null())
            && (body["requestId"].is_string() || body["requestId"].is_null())
    }

    fn says_canceled(_: u16, body: &Value) -> bool {
        body["cancellationId"].is_string()
    }
}

impl Contract for WalletConnect {
    const STATUS: &'static [u16] = &[200, 400, 401, 403, 404, 405, 413, 500];
    const HIDDEN: &'static [&'static str] = &["client_secret", "tid"];

    fn credential(canary: &Canary, now: i64, _: &[u8]) -> Presented {
        if now % 2 == 0 {
            return Presented::digest(&canary.secret, vec![("api-key", canary.secret.clone())]);
        }
        Presented {
            strict: 1, // A Client-Id may be any.
            key_id: canary.secret.clone(),
            record: record(),
            headers: vec![("app-id", canary.secret.clone()), ("client-id", canary.private.clone())],
        }
    }

    fn well_formed(status: u16, body: &Value) -> bool {
        if status == 200 {
            let names = ["paymentId", "status", "cancelledReason", "cancelledAt"];
            return only(body, &names)
                && text(body, &names)
                && body["cancelledReason"] == "cancelled_by_user";
        }
        only(body, &["code", "message"]) && text(body, &["code", "message"])
    }
}

impl Contract for One2Pays {
    const STATUS: &'static [u16] = &[200, 400, 401, 403, 404, 405, 409, 413, 500, 503];
    const HIDDEN: &'static [&'static str] = &["clientSecret", "nextAction"];

    fn credential(canary: &Canary, now: i64, body: &[u8]) -> Presented {
        let key_id = format!("pk_{}", canary.private);
        let headers = vec![
            ("x-api-key", key_id.clone()),
            ("x-timestamp", now.to_string()),
            ("x-signature", signature(&canary.secret, now, body)),
        ];
        Presented {
            key_id,
            record: CredentialRecord { signing_secret: Some(canary.secret.clone()), ..record() },
            strict: headers.len(),
            headers,
        }
    }

    fn well_formed(status: u16, body: &Value) -> bool {
        if status == 200 {
            let data = &body["data"];
            return only(body, &["success", "data"])
                && body["success"] == true
                && text(data, &["id", "status", "amount"])
                && data["clientSecret"].is_null()
                && data["nextAction"].is_null();
        }
        only(body, &["success", "error"])
            && body["success"] == false
            && text(&body["error"], &["code", "message"])
    }
}

/// One2Pays' signature: `sha256=` and HMAC-SHA256 over `{timestamp}.{body}`.
#[must_use]
pub fn signature(secret: &str, timestamp: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}
