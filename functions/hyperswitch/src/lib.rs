#![doc = include_str!("../README.md")]

mod connector;
mod payment;

use http::Response;
use serde::Serialize;
use shared::{
    auth::{Credential, Merchant},
    cancel::{CancelCommand, CancelError},
    error::FaultKind,
    headers::HeaderMapExt,
    idempotency::Fingerprint,
    provider::{self, Attribute, Body, Exchange, Provider, Statuses},
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
    const REQUIRED: &'static [Attribute] = &[Attribute::Amount, Attribute::Currency];

    fn identify<'r>(request: &'r Request<'_>) -> Result<Credential<'r>, CancelError> {
        let key = request.headers.credential("api-key")?;
        key.map(Credential::secret).ok_or(CancelError::Unauthenticated)
    }

    fn read(request: &Request<'_>, _: &Merchant) -> Result<CancelCommand, CancelError> {
        let body = request.declared_json()?;
        let reason = body.string("cancellation_reason")?;
        let all_keys = body.boolean("all_keys_required")?;
        let connector = connector::creds_identifier(body)?;
        if !is_payment_id(request.payment_id) {
            return Err(CancelError::NotFound);
        }
        let fingerprint = Fingerprint::of(&[
            reason.as_deref().map(str::as_bytes),
            all_keys.map(|flag| if flag { b"true".as_slice() } else { b"false" }),
            connector.as_deref().map(str::as_bytes),
        ]);
        Ok(CancelCommand { reason, ..CancelCommand::new(fingerprint) })
    }

    fn write(exchange: &Exchange<'_, '_>) -> Response<String> {
        match exchange.outcome {
            Ok(canceled) => {
                let body = exchange.request.json();
                let all_keys =
                    body.is_ok_and(|body| body.boolean("all_keys_required") == Ok(Some(true)));
                provider::json(200, &payment::object(&canceled.payment, all_keys))
            }
            Err(refused) => error(refused),
        }
    }
}

fn is_payment_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn error(refused: &CancelError) -> Response<String> {
    let (status, code, message) = match refused {
        CancelError::Malformed(fault) => {
            let (code, message) = match fault.kind {
                FaultKind::Json | FaultKind::Type => {
                    ("IR_06", format!("Json deserialize error: {fault}"))
                }
                FaultKind::Header | FaultKind::Value => {
                    ("IR_07", format!("Invalid value provided: {fault}"))
                }
                FaultKind::Event
                | FaultKind::Method
                | FaultKind::TooLarge
                | FaultKind::ContentType => ("IR_06", fault.to_string()),
            };
            (fault.status(), code, message)
        }
        CancelError::NoSuchEndpoint => (404, "IR_02", "Unrecognized request URL".into()),
        CancelError::Unauthenticated | CancelError::Forbidden => {
            let message = "API key not provided or invalid API key used".into();
            (401, "IR_01", message)
        }
        CancelError::NotFound => (404, "HE_02", "Payment does not exist in our records".into()),
        CancelError::NotCancelable(payment) => {
            let why = if Hyperswitch::STATUSES.only_manually(payment) {
                "it can only be cancelled manually".to_owned()
            } else {
                format!("it has status {}", payment.status)
            };
            (400, "IR_16", format!("You cannot cancel this payment because {why}"))
        }
        CancelError::KeyReused(reuse) => (400, "IR_07", format!("Invalid value provided: {reuse}")),
        CancelError::Unavailable => {
            (500, "HE_00", "The payment was not cancelled. Retry the request".into())
        }
        CancelError::Undecided { keyed } => {
            let retry = if *keyed {
                "Retry with the same Idempotency-Key to get the outcome"
            } else {
                "If it was, a retry will say that it has status cancelled"
            };
            let message = format!("The payment may or may not have been cancelled. {retry}");
            (500, "HE_00", message)
        }
        CancelError::Internal => (500, "HE_00", "Something went wrong".into()),
    };
    let kind = if status >= 500 { "api" } else { "invalid_request" };
    provider::json(
        status,
        &Envelope {
            error: Error { kind, message: &message, code },
            error_type: kind,
            message: &message,
            code,
        },
    )
}

/// One object for two kinds of reader: the flat members are the specification's, the nested ones
/// are what real clients read.
#[derive(Serialize)]
struct Envelope<'a> {
    error: Error<'a>,
    error_type: &'a str,
    message: &'a str,
    code: &'a str,
}

#[derive(Serialize)]
struct Error<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    message: &'a str,
    code: &'a str,
}
