#![doc = include_str!("../README.md")]

mod payment;

use http::Response;
use serde::Serialize;
use shared::{
    auth::{Credential, Merchant},
    cancel::{CancelCommand, CancelError},
    clock::Timestamp,
    error::{Fault, FaultKind},
    headers::HeaderMapExt,
    idempotency::Fingerprint,
    payment::Payment,
    provider::{self, Attribute, Body, Exchange, Provider, Statuses},
    request::Request,
};
use uuid::Uuid;

/// One2Pays, *Cancel Payment*.
#[derive(Debug)]
pub struct One2Pays;

/// How far a request's timestamp may be from our clock, in milliseconds.
const WINDOW: u64 = 300_000;

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
    const REQUIRED: &'static [Attribute] = &[Attribute::Amount, Attribute::Currency];

    fn identify<'r>(request: &'r Request<'_>) -> Result<Credential<'r>, CancelError> {
        let header = |name| {
            let value = request.headers.credential(name)?;
            value.ok_or(CancelError::Unauthenticated)
        };
        let key = header("X-API-Key")?;
        let timestamp = header("X-Timestamp")?;
        let tag = tag(header("X-Signature")?).ok_or(CancelError::Unauthenticated)?;
        if !is_current(timestamp, request.received_at) {
            return Err(CancelError::Unauthenticated);
        }
        let signed = [timestamp.as_bytes(), b".", request.body];
        Ok(Credential::signature(key, signed, tag))
    }

    fn read(request: &Request<'_>, _: &Merchant) -> Result<CancelCommand, CancelError> {
        let payment_id = uuid(request.payment_id).ok_or_else(|| {
            Fault::new(FaultKind::Value, "payment_id must be a UUID").field("payment_id")
        })?;
        Ok(CancelCommand {
            payment_id: Some(payment_id),
            ..CancelCommand::new(Fingerprint::of(&[Some(request.body)]))
        })
    }

    fn write(exchange: &Exchange<'_, '_>) -> Response<String> {
        match exchange.outcome {
            Ok(canceled) => provider::json(200, &payment::success(&canceled.payment)),
            Err(refused) => error(exchange.request, refused),
        }
    }
}

/// Whether `timestamp`, Unix milliseconds, is within the [`WINDOW`] around `now`.
fn is_current(timestamp: &str, now: Timestamp) -> bool {
    let digits_only = timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let sent = timestamp.parse::<i64>().ok().filter(|_| digits_only);
    sent.is_some_and(|sent| now.as_millisecond().abs_diff(sent) <= WINDOW)
}

/// The 32 bytes of `sha256=<hex>`, in either case.
fn tag(signature: &str) -> Option<[u8; 32]> {
    hex::decode(signature.strip_prefix("sha256=")?).ok()?.try_into().ok()
}

/// A UUID in its hyphenated form, in the lower case that keys have.
fn uuid(text: &str) -> Option<String> {
    let uuid =
        Uuid::try_parse(text).ok().filter(|_| text.len() == uuid::fmt::Hyphenated::LENGTH)?;
    Some(uuid.hyphenated().to_string())
}

fn not_cancelable(payment: &Payment) -> String {
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

fn error(request: &Request<'_>, refused: &CancelError) -> Response<String> {
    let (status, code, message, field) = match refused {
        CancelError::Malformed(fault) => {
            let field = fault.field.as_deref();
            (fault.status(), "VALIDATION_ERROR", fault.to_string(), field)
        }
        CancelError::NoSuchEndpoint => (404, "RESOURCE_NOT_FOUND", "No such endpoint".into(), None),
        CancelError::Unauthenticated => {
            let message = "Invalid signature or expired timestamp".into();
            (401, "INVALID_CREDENTIALS", message, None)
        }
        CancelError::Forbidden => (403, "FORBIDDEN", "Integration is not active".into(), None),
        CancelError::NotFound => (404, "RESOURCE_NOT_FOUND", "Payment not found".into(), None),
        CancelError::NotCancelable(payment) => {
            (400, "VALIDATION_ERROR", not_cancelable(payment), None)
        }
        CancelError::KeyReused(reuse) => (409, "IDEMPOTENCY_CONFLICT", reuse.to_string(), None),
        CancelError::Unavailable => {
            let message = "The payment was not canceled. Retry the request".into();
            (503, "SERVICE_UNAVAILABLE", message, None)
        }
        CancelError::Undecided { .. } => {
            let retry = match request.idempotency_key() {
                Ok(Some(_)) => "Retry with the same Idempotency-Key to get the outcome",
                Ok(None) | Err(_) => "Retry the identical request to get the outcome",
            };
            let message = format!("The payment may or may not have been canceled. {retry}");
            (503, "SERVICE_UNAVAILABLE", message, None)
        }
        CancelError::Internal => (500, "INTERNAL_ERROR", "Something went wrong".into(), None),
    };
    let envelope = Envelope {
        success: false,
        error: Error { code, message, metadata: field.map(|field| Metadata { field }) },
    };
    provider::json(status, &envelope)
}

#[derive(Serialize)]
struct Envelope<'a> {
    success: bool,
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    field: &'a str,
}
