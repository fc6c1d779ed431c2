#![doc = include_str!("../README.md")]

mod connector;
mod payment;

use serde_json::json;
use shared::{
    auth::{Credential, Merchant},
    cancel::{CancelCommand, CancelError, FaultKind, Fingerprint, Outcome},
    provider::{Body, Provider, Reply, Statuses},
    request::Request,
};

/// Hyperswitch, *Payments - Cancel*.
#[derive(Debug)]
pub struct Hyperswitch;

impl Provider for Hyperswitch {
    const NAME: &'static str = "hyperswitch";
    const ROUTE: &'static str = "/payments/{payment_id}/cancel";
    const STATUSES: Statuses = Statuses {
        cancelable: &[
            "requires_payment_method",
            "requires_capture",
            "requires_confirmation",
            "requires_customer_action",
        ],
        canceled: "cancelled",
    };
    const BODY: Body = Body::DeclaredJson;

    fn identify<'r>(request: &'r Request<'_>) -> Result<Credential<'r>, CancelError> {
        let key = request
            .headers
            .credential("api-key")?
            .ok_or(CancelError::Unauthenticated)?;
        Ok(Credential::secret(key))
    }

    fn read(request: &Request<'_>, _: &Merchant) -> Result<CancelCommand, CancelError> {
        let body = request.declared_json()?;
        let reason = body.string("cancellation_reason")?;
        let all_keys = body.boolean("all_keys_required")?;
        let connector = connector::creds_identifier(body)?;
        if !is_payment_id(&request.payment_id) {
            return Err(CancelError::NotFound);
        }
        Ok(CancelCommand {
            payment_id: request.payment_id.clone(),
            idempotency_key: None,
            fingerprint: Fingerprint::of(&[
                reason.as_deref().map(str::as_bytes),
                all_keys.map(|flag| if flag { b"true".as_slice() } else { b"false" }),
                connector.as_deref().map(str::as_bytes),
            ]),
            reason,
        })
    }

    fn write(outcome: &Outcome, request: &Request<'_>, _: Option<&Merchant>) -> Reply {
        match outcome {
            Ok(canceled) => {
                let all_keys = request
                    .json()
                    .is_ok_and(|body| body.boolean("all_keys_required") == Ok(Some(true)));
                Reply::json(
                    200,
                    &payment::Object {
                        payment: &canceled.payment,
                        all_keys,
                    },
                )
            }
            Err(CancelError::Malformed(fault)) => match fault.kind {
                FaultKind::Json | FaultKind::Type => refusal(
                    fault.status(),
                    "IR_06",
                    format!("Json deserialize error: {}", fault.message),
                ),
                FaultKind::Header | FaultKind::Value => refusal(
                    fault.status(),
                    "IR_07",
                    format!("Invalid value provided: {}", fault.message),
                ),
                FaultKind::Event
                | FaultKind::Method
                | FaultKind::TooLarge
                | FaultKind::ContentType => refusal(fault.status(), "IR_06", fault.message.clone()),
            },
            Err(CancelError::Unauthenticated | CancelError::Forbidden) => {
                refusal(401, "IR_01", "API key not provided or invalid API key used")
            }
            Err(CancelError::NotFound) => {
                refusal(404, "HE_02", "Payment does not exist in our records")
            }
            Err(CancelError::NotCancelable(payment)) => {
                let why = if Self::STATUSES.only_manually(payment) {
                    "it can only be cancelled manually".to_owned()
                } else {
                    format!("it has status {}", payment.status)
                };
                refusal(
                    400,
                    "IR_16",
                    format!("You cannot cancel this payment because {why}"),
                )
            }
            Err(CancelError::KeyReused) => refusal(
                400,
                "IR_07",
                "Invalid value provided: Idempotency-Key was already used to cancel this payment with another body",
            ),
            Err(CancelError::Undecided) => error(
                500,
                "api",
                "HE_00",
                "The payment may or may not have been cancelled. It is safe to repeat the same request",
            ),
            Err(CancelError::Internal) => error(500, "api", "HE_00", "Something went wrong"),
        }
    }
}

fn is_payment_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn refusal(status: u16, code: &str, message: impl Into<String>) -> Reply {
    error(status, "invalid_request", code, message)
}

/// One object for both readers: the flat members are the specification's, the nested ones are what real clients read.
fn error(status: u16, kind: &str, code: &str, message: impl Into<String>) -> Reply {
    let message = message.into();
    Reply::json(
        status,
        &json!({
            "error": { "type": kind, "message": message, "code": code },
            "error_type": kind,
            "message": message,
            "code": code,
        }),
    )
}
