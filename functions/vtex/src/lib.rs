#![doc = include_str!("../README.md")]

use http::Response;
use serde::Serialize;
use shared::{
    auth::{Credential, Merchant},
    cancel::{CancelCommand, CancelError, KeyReuse},
    error::{Fault, FaultKind},
    headers::HeaderMapExt,
    idempotency::{Fingerprint, IdempotencyKey},
    payment::Payment,
    provider::{self, Body, Exchange, Provider, Statuses},
    request::Request,
};

/// VTEX Payment Provider Protocol, *Cancel Payment*.
#[derive(Debug)]
pub struct Vtex;

impl Provider for Vtex {
    const NAME: &'static str = "vtex";
    const ROUTE: &'static str = "/payments/{paymentId}/cancellations";
    const STATUSES: Statuses =
        Statuses { cancelable: &["undefined", "approved"], canceled: "cancelled" };
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
        body.check("sandboxMode", "string, boolean or null")?;
        if payment_id != request.payment_id {
            let message = "paymentId is not the one in the path";
            return Err(Fault::new(FaultKind::Value, message).into());
        }
        let key = IdempotencyKey::parse(&request_id).ok_or_else(|| {
            let message = format!("requestId {}", IdempotencyKey::RULE);
            Fault::new(FaultKind::Value, message)
        })?;
        let fingerprint = Fingerprint::of(&[authorization_id.as_deref().map(str::as_bytes)]);
        Ok(CancelCommand { idempotency_key: Some(key), ..CancelCommand::new(fingerprint) })
    }

    fn write(exchange: &Exchange<'_, '_>) -> Response<String> {
        match exchange.outcome {
            Ok(canceled) => success(exchange.request, &canceled.payment),
            // The wish is fulfilled, by whomever. VTEX counts a null id as a failure, which ends in
            // manual work.
            Err(CancelError::NotCancelable(payment)) if payment.status == STATUSES.canceled => {
                success(exchange.request, payment)
            }
            // A requestId always gets the same response, even after others change the payment.
            Err(CancelError::KeyReused(KeyReuse::Reopened(payment))) => {
                success(exchange.request, payment)
            }
            Err(refused) => error(exchange.request, refused),
        }
    }
}

const STATUSES: Statuses = Vtex::STATUSES;

/// A credential header under its old or its new name.
fn either<'r>(
    request: &'r Request<'_>,
    old: &'static str,
    new: &'static str,
) -> Result<&'r str, CancelError> {
    let headers = request.headers;
    match (headers.credential(old)?, headers.credential(new)?) {
        (Some(old_value), Some(new_value)) if old_value != new_value => {
            let message = format!("headers {old} and {new} have different values");
            Err(Fault::new(FaultKind::Header, message).field(old).into())
        }
        (Some(value), _) | (None, Some(value)) => Ok(value),
        (None, None) => Err(CancelError::Unauthenticated),
    }
}

/// With the id of the cancellation. A payment that was cancelled elsewhere has none: it gets one
/// that is always the same.
fn success(request: &Request<'_>, payment: &Payment) -> Response<String> {
    let elsewhere = || {
        let parts = [&payment.merchant_id, &payment.id].map(|part| Some(part.as_bytes()));
        Fingerprint::of(&parts).as_str().chars().take(32).collect()
    };
    let content = Content::of(request);
    let own = content.request_id.as_deref().and_then(|token| payment.cancellation_with(token));
    let made = own.or(payment.cancellation.as_ref());
    let id = made.map_or_else(elsewhere, |made| made.id.clone());
    provider::json(200, &Content { cancellation_id: Some(id), ..content })
}

fn error(request: &Request<'_>, refused: &CancelError) -> Response<String> {
    let (status, code, message) = match refused {
        CancelError::Malformed(fault) => {
            let subject = if fault.kind == FaultKind::Json {
                "request body is not a valid JSON object: "
            } else {
                ""
            };
            (fault.status(), "invalid-request", format!("{subject}{fault}"))
        }
        CancelError::NoSuchEndpoint => (404, "no-such-endpoint", "No such endpoint".into()),
        CancelError::Unauthenticated | CancelError::Forbidden => {
            let message = "Invalid or missing X-VTEX-API-AppKey or X-VTEX-API-AppToken".into();
            (401, "unauthorized", message)
        }
        CancelError::NotFound => (200, "payment-not-found", "Payment not found".into()),
        CancelError::NotCancelable(payment) if STATUSES.only_manually(payment) => {
            (200, "cancel-manually", "Cancellation should be done manually".into())
        }
        CancelError::NotCancelable(payment) => {
            let status = &payment.status;
            let message = format!("Payment cannot be cancelled because its status is {status}");
            (200, "cancel-failed", message)
        }
        CancelError::KeyReused(_) => {
            let message =
                "requestId was already used to cancel this payment with another authorizationId";
            (200, "request-id-reused", message.into())
        }
        CancelError::Unavailable => {
            let message = "The payment was not cancelled. Retry the request".into();
            (500, "cancel-unavailable", message)
        }
        CancelError::Undecided { .. } => {
            let message = "The payment may or may not have been cancelled. \
                           Retry with the same requestId to get the outcome";
            (500, "cancel-undecided", message.into())
        }
        CancelError::Internal => (500, "internal-error", "Something went wrong".into()),
    };
    let body = Content { message: Some(message), code: Some(code), ..Content::of(request) };
    provider::json(status, &body)
}

/// The one shape of every response. Either the id, or the code and the message are null.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Content<'a> {
    payment_id: &'a str,
    message: Option<String>,
    code: Option<&'a str>,
    cancellation_id: Option<String>,
    request_id: Option<String>,
}

impl<'a> Content<'a> {
    fn of(request: &'a Request<'_>) -> Self {
        let body = request.json().ok();
        Self {
            payment_id: request.payment_id,
            message: None,
            code: None,
            cancellation_id: None,
            request_id: body.and_then(|body| body.string("requestId").ok().flatten()),
        }
    }
}
