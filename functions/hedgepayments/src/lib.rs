#![doc = include_str!("../README.md")]

use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::{
    auth::{Credential, Merchant},
    cancel::{CancelCommand, CancelError, FaultKind, Fingerprint, Outcome},
    clock::whole_seconds,
    payment,
    provider::{Body, Provider, Reply, Statuses},
    request::Request,
};

/// HedgePayments, *Cancel Payment*.
#[derive(Debug)]
pub struct HedgePayments;

impl Provider for HedgePayments {
    const NAME: &'static str = "hedgepayments";
    const ROUTE: &'static str = "/v1/payments/{id}/cancel";
    const STATUSES: Statuses = Statuses {
        cancelable: &["pending", "initiated"],
        canceled: "canceled",
    };
    const BODY: Body = Body::Json;

    fn identify<'r>(request: &'r Request<'_>) -> Result<Credential<'r>, CancelError> {
        let authorization = request
            .headers
            .credential("Authorization")?
            .ok_or(CancelError::Unauthenticated)?;
        match authorization.split_once(' ') {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => {
                Ok(Credential::secret(key.trim_start()))
            }
            _ => Err(CancelError::Unauthenticated),
        }
    }

    fn read(request: &Request<'_>, _: &Merchant) -> Result<CancelCommand, CancelError> {
        let reason = match request.body {
            [] => None,
            _ => request.json()?.string("reason")?,
        };
        Ok(CancelCommand {
            payment_id: request.payment_id.clone(),
            idempotency_key: None,
            fingerprint: Fingerprint::of(&[reason.as_deref().map(str::as_bytes)]),
            reason,
        })
    }

    fn write(outcome: &Outcome, _: &Request<'_>, _: Option<&Merchant>) -> Reply {
        match outcome {
            Ok(canceled) => Reply::json(200, &Payment::from(&canceled.payment)),
            Err(CancelError::Malformed(fault)) => match (fault.kind, fault.types) {
                (FaultKind::Type, Some((provided, expected))) => error(
                    422,
                    "invalid_reason",
                    "reason must be a string or null",
                    Some(
                        json!({ "field": fault.field, "provided": provided, "expected": expected }),
                    ),
                ),
                (FaultKind::Json, _) => {
                    let message =
                        format!("request body is not a valid JSON object: {}", fault.message);
                    error(fault.status(), "invalid_request", &message, None)
                }
                _ => error(fault.status(), "invalid_request", &fault.message, None),
            },
            Err(CancelError::Unauthenticated | CancelError::Forbidden) => {
                error(401, "unauthorized", "Invalid or missing API key", None)
            }
            Err(CancelError::NotFound) => error(
                404,
                "not_found",
                "Payment not found with the given ID",
                None,
            ),
            Err(CancelError::NotCancelable(payment)) => {
                let payment::Payment { id, status, .. } = payment.as_ref();
                let fact = if Self::STATUSES.only_manually(payment) {
                    "can only be canceled manually"
                } else {
                    "cannot be canceled"
                };
                let message = format!("Payment {id} {fact}. Current status: {status}.");
                let details = json!({
                    "payment_id": id,
                    "current_status": status,
                    "cancelable_statuses": Self::STATUSES.cancelable,
                });
                error(412, "payment_not_cancelable", &message, Some(details))
            }
            Err(CancelError::KeyReused) => error(
                409,
                "idempotency_conflict",
                "Idempotency-Key was already used to cancel this payment with another body",
                None,
            ),
            Err(CancelError::Undecided) => error(
                503,
                "service_unavailable",
                "The payment may or may not have been canceled. It is safe to repeat the same request",
                None,
            ),
            Err(CancelError::Internal) => {
                error(500, "internal_error", "Something went wrong", None)
            }
        }
    }
}

/// The payment object of the specification's example, in its order.
#[derive(Serialize)]
struct Payment<'a> {
    id: &'a str,
    object: &'static str,
    amount: i64,
    currency: &'a str,
    status: &'a str,
    payment_method: Option<&'a Value>,
    customer_email: Option<&'a Value>,
    cancellation_reason: Option<&'a str>,
    canceled_at: Option<String>,
    created_at: String,
    updated_at: Option<String>,
    #[serde(flatten)]
    further: Map<String, Value>,
}

impl<'a> From<&'a payment::Payment> for Payment<'a> {
    fn from(payment: &'a payment::Payment) -> Self {
        let seconds = |at: &String| whole_seconds(at).into_owned();
        let further = payment
            .details
            .iter()
            .filter(|(name, _)| !FIELDS.contains(&name.as_str()));
        Self {
            id: &payment.id,
            object: "payment",
            amount: payment.amount,
            currency: &payment.currency,
            status: &payment.status,
            payment_method: payment.details.get("payment_method"),
            customer_email: payment.details.get("customer_email"),
            cancellation_reason: payment.reason(),
            canceled_at: payment.canceled_at.as_ref().map(seconds),
            created_at: seconds(&payment.created_at),
            updated_at: payment.updated_at.as_ref().map(seconds),
            further: further
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        }
    }
}

/// The specification's fields: what `details` holds under these names does not appear a second time.
const FIELDS: [&str; 11] = [
    "id",
    "object",
    "amount",
    "currency",
    "status",
    "payment_method",
    "customer_email",
    "cancellation_reason",
    "canceled_at",
    "created_at",
    "updated_at",
];

fn error(status: u16, code: &str, message: &str, details: Option<Value>) -> Reply {
    let mut error = json!({ "code": code, "message": message });
    if let (Some(details), Some(error)) = (details, error.as_object_mut()) {
        error.insert("details".to_owned(), details);
    }
    Reply::json(status, &json!({ "error": error }))
}
