#![doc = include_str!("../README.md")]

use serde::Serialize;
use shared::{
    auth::{Credential, Merchant},
    cancel::{CancelCommand, CancelError, Fault, FaultKind, Fingerprint, IdempotencyKey, Outcome},
    provider::{Body, Provider, Reply, Statuses},
    request::Request,
};

/// VTEX Payment Provider Protocol, *Cancel Payment*.
#[derive(Debug)]
pub struct Vtex;

impl Provider for Vtex {
    const NAME: &'static str = "vtex";
    const ROUTE: &'static str = "/payments/{paymentId}/cancellations";
    const STATUSES: Statuses = Statuses {
        cancelable: &["undefined", "approved"],
        canceled: "cancelled",
    };
    const BODY: Body = Body::Json;

    fn identify<'r>(request: &'r Request<'_>) -> Result<Credential<'r>, CancelError> {
        let key = either(request, "X-VTEX-API-AppKey", "X-PROVIDER-API-AppKey")?;
        let token = either(request, "X-VTEX-API-AppToken", "X-PROVIDER-API-AppToken")?;
        Ok(Credential::pair(key, token))
    }

    fn read(request: &Request<'_>, _: &Merchant) -> Result<CancelCommand, CancelError> {
        let body = request.json()?;
        let payment_id = body.required_string("paymentId")?;
        let request_id = body.required_string("requestId")?;
        let authorization_id = body.string("authorizationId")?;
        if !matches!(
            body.kind("sandboxMode"),
            None | Some("string" | "boolean" | "null")
        ) {
            return Err(body
                .wrong_type("sandboxMode", "string, boolean or null")
                .into());
        }
        if payment_id != request.payment_id {
            return Err(
                Fault::new(FaultKind::Value, "paymentId is not the one in the path").into(),
            );
        }
        let Some(key) = IdempotencyKey::parse(&request_id) else {
            return Err(Fault::new(
                FaultKind::Value,
                format!("requestId {}", IdempotencyKey::RULE),
            )
            .into());
        };
        Ok(CancelCommand {
            payment_id,
            idempotency_key: Some(key),
            reason: None,
            fingerprint: Fingerprint::of(&[authorization_id.as_deref().map(str::as_bytes)]),
        })
    }

    fn write(outcome: &Outcome, request: &Request<'_>, _: Option<&Merchant>) -> Reply {
        let failed =
            |status, code: &str, message: &str| answer(request, status, Err((code, message)));
        match outcome {
            Ok(canceled) => match &canceled.payment.cancellation {
                Some(made) => answer(request, 200, Ok(&made.id)),
                None => failed(500, "internal-error", "Something went wrong"),
            },
            Err(CancelError::Malformed(fault)) => {
                let subject = if fault.kind == FaultKind::Json {
                    "request body is not a valid JSON object: "
                } else {
                    ""
                };
                failed(
                    fault.status(),
                    "invalid-request",
                    &format!("{subject}{}", fault.message),
                )
            }
            Err(CancelError::Unauthenticated | CancelError::Forbidden) => failed(
                401,
                "unauthorized",
                "Invalid or missing X-VTEX-API-AppKey or X-VTEX-API-AppToken",
            ),
            Err(CancelError::NotFound) => failed(200, "payment-not-found", "Payment not found"),
            Err(CancelError::NotCancelable(payment)) => match &payment.cancellation {
                // Already canceled, under another requestId: the protocol asks for the state, and this is it.
                Some(made) if payment.status == Self::STATUSES.canceled => {
                    answer(request, 200, Ok(&made.id))
                }
                _ if Self::STATUSES.only_manually(payment) => failed(
                    200,
                    "cancel-manually",
                    "Cancellation should be done manually",
                ),
                _ => {
                    let message = format!(
                        "Payment cannot be cancelled because its status is {}",
                        payment.status
                    );
                    failed(200, "cancel-failed", &message)
                }
            },
            Err(CancelError::KeyReused) => failed(
                200,
                "request-id-reused",
                "requestId was already used to cancel this payment with another authorizationId",
            ),
            Err(CancelError::Undecided) => failed(
                500,
                "cancel-undecided",
                "The payment may or may not have been cancelled. It is safe to repeat the same request",
            ),
            Err(CancelError::Internal) => failed(500, "internal-error", "Something went wrong"),
        }
    }
}

/// A credential header under its old or its new name.
fn either<'r>(
    request: &'r Request<'_>,
    old: &'static str,
    new: &'static str,
) -> Result<&'r str, CancelError> {
    match (
        request.headers.credential(old)?,
        request.headers.credential(new)?,
    ) {
        (Some(old_value), Some(new_value)) if old_value != new_value => Err(Fault::new(
            FaultKind::Header,
            format!("headers {old} and {new} have different values"),
        )
        .field(old)
        .into()),
        (Some(value), _) | (None, Some(value)) => Ok(value),
        (None, None) => Err(CancelError::Unauthenticated),
    }
}

/// The one shape of every answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    payment_id: &'a str,
    message: Option<&'a str>,
    code: Option<&'a str>,
    cancellation_id: Option<&'a str>,
    request_id: Option<String>,
}

/// With a cancellation id on success, with a code and a message otherwise: the protocol wants the id null then.
fn answer(request: &Request<'_>, status: u16, result: Result<&str, (&str, &str)>) -> Reply {
    let answer = Answer {
        payment_id: &request.payment_id,
        message: result.err().map(|(_, message)| message),
        code: result.err().map(|(code, _)| code),
        cancellation_id: result.ok(),
        request_id: request
            .json()
            .ok()
            .and_then(|body| body.string("requestId").ok().flatten()),
    };
    Reply::json(status, &answer)
}
