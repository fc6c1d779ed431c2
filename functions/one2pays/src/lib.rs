#![doc = include_str!("../README.md")]

mod payment;

use serde_json::{Value, json};
use shared::{
    auth::{Credential, Merchant},
    cancel::{CancelCommand, CancelError, Fault, FaultKind, Fingerprint, Outcome},
    clock::Timestamp,
    payment::Payment,
    provider::{Body, Provider, Reply, Statuses},
    request::Request,
};
use uuid::Uuid;

/// One2Pays, *Cancel Payment*.
#[derive(Debug)]
pub struct One2Pays;

/// How far a request's timestamp may lie from our clock, in milliseconds.
const WINDOW: i64 = 300_000;

impl Provider for One2Pays {
    const NAME: &'static str = "one2pays";
    const ROUTE: &'static str = "/api/v1/payments/{payment_id}/cancel";
    const STATUSES: Statuses = Statuses {
        cancelable: &[
            "processing",
            "requires_payment_method",
            "requires_confirmation",
            "requires_action",
            "requires_capture",
        ],
        canceled: "canceled",
    };
    const BODY: Body = Body::Bytes;

    fn identify<'r>(request: &'r Request<'_>) -> Result<Credential<'r>, CancelError> {
        let header = |name| {
            request
                .headers
                .credential(name)?
                .ok_or(CancelError::Unauthenticated)
        };
        let (key, timestamp, signature) = (
            header("X-API-Key")?,
            header("X-Timestamp")?,
            header("X-Signature")?,
        );
        if !is_current(timestamp, request.received_at) {
            return Err(CancelError::Unauthenticated);
        }
        let tag = tag(signature).ok_or(CancelError::Unauthenticated)?;
        Ok(Credential::signature(
            key,
            [timestamp.as_bytes(), b".", request.body],
            tag,
        ))
    }

    fn read(request: &Request<'_>, _: &Merchant) -> Result<CancelCommand, CancelError> {
        let payment_id = uuid(&request.payment_id).ok_or_else(|| {
            Fault::new(FaultKind::Value, "payment_id must be a UUID").field("payment_id")
        })?;
        Ok(CancelCommand {
            payment_id,
            idempotency_key: None,
            reason: None,
            fingerprint: Fingerprint::of(&[Some(request.body)]),
        })
    }

    fn write(outcome: &Outcome, _: &Request<'_>, _: Option<&Merchant>) -> Reply {
        match outcome {
            Ok(canceled) => Reply::json(200, &payment::success(&canceled.payment)),
            Err(CancelError::Malformed(fault)) => {
                let metadata = fault.field.as_ref().map(|field| json!({ "field": field }));
                error(fault.status(), "VALIDATION_ERROR", &fault.message, metadata)
            }
            Err(CancelError::Unauthenticated) => error(
                401,
                "INVALID_CREDENTIALS",
                "Invalid signature or expired timestamp",
                None,
            ),
            Err(CancelError::Forbidden) => {
                error(403, "FORBIDDEN", "Integration is not active", None)
            }
            Err(CancelError::NotFound) => {
                error(404, "RESOURCE_NOT_FOUND", "Payment not found", None)
            }
            Err(CancelError::NotCancelable(payment)) => {
                error(400, "VALIDATION_ERROR", &refusal(payment), None)
            }
            Err(CancelError::KeyReused) => error(
                409,
                "IDEMPOTENCY_CONFLICT",
                "Idempotency-Key was already used to cancel this payment with another body",
                None,
            ),
            Err(CancelError::Undecided) => error(
                503,
                "SERVICE_UNAVAILABLE",
                "The payment may or may not have been canceled. It is safe to repeat the same request",
                None,
            ),
            Err(CancelError::Internal) => {
                error(500, "INTERNAL_ERROR", "Something went wrong", None)
            }
        }
    }
}

/// Whether `timestamp`, Unix milliseconds, lies within the [`WINDOW`] around `now`.
fn is_current(timestamp: &str, now: Timestamp) -> bool {
    let digits_only = timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let sent = timestamp.parse::<i64>().ok().filter(|_| digits_only);
    sent.is_some_and(|sent| now.as_millisecond().abs_diff(sent) <= WINDOW.unsigned_abs())
}

/// The 32 bytes of `sha256=<hex>`, the digits in either case.
fn tag(signature: &str) -> Option<[u8; 32]> {
    hex::decode(signature.strip_prefix("sha256=")?)
        .ok()?
        .try_into()
        .ok()
}

/// A UUID in its hyphenated form, in the lower case that keys have.
fn uuid(text: &str) -> Option<String> {
    let uuid = Uuid::try_parse(text)
        .ok()
        .filter(|_| text.len() == uuid::fmt::Hyphenated::LENGTH)?;
    Some(uuid.hyphenated().to_string())
}

fn refusal(payment: &Payment) -> String {
    let why = match payment.status.as_str() {
        "succeeded" => "it has already been completed",
        "canceled" => "it has already been canceled",
        "expired" => "it has expired",
        "payment_failed" => "it has already failed",
        _ if One2Pays::STATUSES.only_manually(payment) => {
            return "Payment can only be cancelled manually".to_owned();
        }
        status => return format!("Payment cannot be cancelled because its status is {status}"),
    };
    format!("Payment cannot be cancelled because {why}")
}

fn error(status: u16, code: &str, message: &str, metadata: Option<Value>) -> Reply {
    let mut error = json!({ "code": code, "message": message });
    if let (Some(metadata), Some(error)) = (metadata, error.as_object_mut()) {
        error.insert("metadata".to_owned(), metadata);
    }
    Reply::json(status, &json!({ "success": false, "error": error }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_five_minutes_on_both_sides() {
        let now = Timestamp::from_millisecond(1_704_067_200_000).unwrap();
        for (timestamp, current) in [
            ("1704067200000", true),
            ("1704066900000", true),
            ("1704066899999", false),
            ("1704067500000", true),
            ("1704067500001", false),
            ("1704067200", false),
            ("+1704067200000", false),
            ("1704067200000.0", false),
            ("", false),
            ("99999999999999999999", false),
        ] {
            assert_eq!(is_current(timestamp, now), current, "{timestamp}");
        }
    }

    #[test]
    fn a_signature_is_sha256_and_64_hexadecimal_digits() {
        let digits = "0f".repeat(32);
        assert_eq!(tag(&format!("sha256={digits}")), Some([0x0f; 32]));
        assert_eq!(
            tag(&format!("sha256={}", digits.to_uppercase())),
            Some([0x0f; 32])
        );
        for bad in [
            digits.clone(),
            format!("SHA256={digits}"),
            format!("sha256={digits}00"),
            "sha256=".into(),
            format!("sha256=zz{}", &digits[2..]),
        ] {
            assert_eq!(tag(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_payment_id_is_a_hyphenated_uuid() {
        let id = "550e8400-e29b-41d4-a716-446655440000";
        assert_eq!(uuid(id).as_deref(), Some(id));
        assert_eq!(uuid(&id.to_uppercase()).as_deref(), Some(id));
        for bad in [
            "550e8400e29b41d4a716446655440000",
            "{550e8400-e29b-41d4-a716-446655440000}",
            "urn:uuid:550e8400-e29b-41d4-a716-446655440000",
            "pay_1",
            "",
        ] {
            assert_eq!(uuid(bad), None, "{bad}");
        }
    }
}
