#![doc = include_str!("../README.md")]

use http::Response;
use serde::Serialize;
use shared::{
    auth::{Credential, Merchant},
    cancel::{CancelCommand, CancelError},
    clock::whole_seconds,
    error::FaultKind,
    headers::HeaderMapExt,
    idempotency::Fingerprint,
    json::{Json, WithDetails},
    payment::Payment,
    provider::{self, Attribute, Body, Exchange, Provider, Statuses},
    request::Request,
};

/// HedgePayments, *Cancel Payment*.
#[derive(Debug)]
pub struct HedgePayments;

impl Provider for HedgePayments {
    const NAME: &'static str = "hedgepayments";
    const ROUTE: &'static str = "/v1/payments/{id}/cancel";
    const STATUSES: Statuses =
        Statuses { cancelable: &["pending", "initiated"], canceled: "canceled" };
    const BODY: Body = Body::OptionalJson;
    const REQUIRED: &'static [Attribute] = &[Attribute::Amount, Attribute::Currency];

    fn identify<'r>(request: &'r Request<'_>) -> Result<Credential<'r>, CancelError> {
        let authorization = request.headers.credential("Authorization")?;
        match authorization.and_then(|value| value.split_once(' ')) {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => {
                Ok(Credential::secret(key.trim_start()))
            }
            Some(_) | None => Err(CancelError::Unauthenticated),
        }
    }

    fn read(request: &Request<'_>, _: &Merchant) -> Result<CancelCommand, CancelError> {
        let body = request.optional_json()?;
        let reason = body.map(|body| body.string("reason")).transpose()?.flatten();
        let fingerprint = Fingerprint::of(&[reason.as_deref().map(str::as_bytes)]);
        Ok(CancelCommand { reason, ..CancelCommand::new(fingerprint) })
    }

    fn write(exchange: &Exchange<'_, '_>) -> Response<String> {
        match exchange.outcome {
            Ok(canceled) => provider::json(200, &payment(&canceled.payment)),
            Err(refused) => error(refused),
        }
    }
}

/// The payment object of the specification's example, in its order, then the other `details`.
fn payment(payment: &Payment) -> WithDetails<'_> {
    let seconds =
        |at: &Json| at.as_str().map_or(at.clone(), |at| whole_seconds(at).as_ref().into());
    WithDetails {
        fields: vec![
            ("id", payment.id.as_str().into()),
            ("object", "payment".into()),
            ("amount", payment.amount.clone()),
            ("currency", payment.currency.clone()),
            ("status", payment.status.as_str().into()),
            ("payment_method", payment.detail("payment_method")),
            ("customer_email", payment.detail("customer_email")),
            ("cancellation_reason", payment.reason().map(Json::from).unwrap_or_default()),
            ("canceled_at", seconds(&payment.canceled_at)),
            ("created_at", seconds(&payment.created_at)),
            ("updated_at", seconds(&payment.updated_at)),
        ],
        details: &payment.details,
        // They invite to go on paying.
        hidden: &["client_secret", "next_action", "checkout_url", "payment_url"],
    }
}

fn error(refused: &CancelError) -> Response<String> {
    let (status, code, message, details) = match refused {
        CancelError::Malformed(fault) => match (fault.kind, fault.types) {
            (FaultKind::Type, Some((provided, expected))) => (
                422,
                "invalid_reason",
                "reason must be a string or null".to_owned(),
                Some(Details::Type { field: fault.field.as_deref(), provided, expected }),
            ),
            (FaultKind::Json, _) => {
                let message = format!("request body is not a valid JSON object: {fault}");
                (fault.status(), "invalid_request", message, None)
            }
            _ => (fault.status(), "invalid_request", fault.to_string(), None),
        },
        CancelError::NoSuchEndpoint => (404, "not_found", "No such endpoint".into(), None),
        CancelError::Unauthenticated | CancelError::Forbidden => {
            (401, "unauthorized", "Invalid or missing API key".into(), None)
        }
        CancelError::NotFound => {
            (404, "not_found", "Payment not found with the given ID".into(), None)
        }
        CancelError::NotCancelable(payment) => {
            let Payment { id, status, .. } = payment.as_ref();
            let fact = if HedgePayments::STATUSES.only_manually(payment) {
                "can only be canceled manually"
            } else {
                "cannot be canceled"
            };
            let details = Details::Status {
                payment_id: id,
                current_status: status,
                cancelable_statuses: HedgePayments::STATUSES.cancelable,
            };
            let message = format!("Payment {id} {fact}. Current status: {status}.");
            (412, "payment_not_cancelable", message, Some(details))
        }
        CancelError::KeyReused(reuse) => (409, "idempotency_conflict", reuse.to_string(), None),
        CancelError::Unavailable => (
            503,
            "service_unavailable",
            "The payment was not canceled. Retry the request".into(),
            None,
        ),
        CancelError::Undecided { keyed } => {
            let retry = if *keyed {
                "Retry with the same Idempotency-Key to get the outcome"
            } else {
                "If it was, a retry will say that it cannot be canceled because it is canceled"
            };
            let message = format!("The payment may or may not have been canceled. {retry}");
            (503, "service_unavailable", message, None)
        }
        CancelError::Internal => (500, "internal_error", "Something went wrong".into(), None),
    };
    provider::json(status, &Envelope { error: Error { code, message, details } })
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Details<'a> {
    Type {
        field: Option<&'a str>,
        provided: &'static str,
        expected: &'static str,
    },
    Status {
        payment_id: &'a str,
        current_status: &'a str,
        cancelable_statuses: &'static [&'static str],
    },
}
