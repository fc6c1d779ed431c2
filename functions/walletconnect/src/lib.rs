#![doc = include_str!("../README.md")]

mod version;

use http::{HeaderValue, Response};
use serde::Serialize;
use shared::{
    auth::{Credential, Merchant},
    cancel::{CancelCommand, CancelError},
    clock::whole_seconds,
    error::{Fault, FaultKind},
    headers::HeaderMapExt,
    idempotency::Fingerprint,
    payment::Payment,
    provider::{self, Body, Exchange, Provider, Statuses},
    request::Request,
};

/// WalletConnect Pay, *gatewayCancelPayment*.
#[derive(Debug)]
pub struct WalletConnect;

impl Provider for WalletConnect {
    const NAME: &'static str = "walletconnect";
    const ROUTE: &'static str = "/v1/gateway/payment/{id}/cancel";
    const STATUSES: Statuses = Statuses { cancelable: &["requires_action"], canceled: "cancelled" };
    const BODY: Body = Body::Bytes;
    // An App-Id is public, so a browser may send it.
    const BROWSER_HEADERS: &'static [&'static str] = &[
        "app-id",
        "client-id",
        "content-type",
        "idempotency-key",
        "sdk-name",
        "sdk-platform",
        "sdk-version",
        "wcp-version",
    ];

    fn identify<'r>(request: &'r Request<'_>) -> Result<Credential<'r>, CancelError> {
        let header = |name| Ok::<_, Fault>(ascii(request, name)?.filter(|value| !value.is_empty()));
        match (header("Api-Key")?, header("App-Id")?, header("Client-Id")?) {
            (Some(key), None, None) => Ok(Credential::secret(key)),
            (None, Some(app), Some(_)) => Ok(Credential::public(app)),
            (None, None, None) => Err(CancelError::Unauthenticated),
            (None, Some(_), None) => Err(refusal("missing_client_id", "App-Id needs a Client-Id")),
            (None, None, Some(_)) => Err(refusal("missing_app_id", "Client-Id needs an App-Id")),
            (Some(_), _, _) => Err(refusal(
                "conflicting_auth_headers",
                "Api-Key cannot be sent together with App-Id or Client-Id",
            )),
        }
    }

    fn read(request: &Request<'_>, merchant: &Merchant) -> Result<CancelCommand, CancelError> {
        if let Some(requested) = ascii(request, "WCP-Version")? {
            version::check(requested, merchant)?;
        }
        Ok(CancelCommand::new(Fingerprint::of(&[Some(request.body)])))
    }

    fn write(exchange: &Exchange<'_, '_>) -> Response<String> {
        let mut response = match exchange.outcome {
            Ok(canceled) => success(&canceled.payment),
            Err(refused) => error(exchange.request, refused),
        };
        if let Some(version) = version::resolved(exchange.request, exchange.merchant) {
            let version = HeaderValue::from_static(version);
            response.headers_mut().insert("wcp-version", version);
        }
        response
    }
}

/// A header that may have one value, of ASCII characters.
fn ascii<'r>(request: &'r Request<'_>, name: &'static str) -> Result<Option<&'r str>, Fault> {
    let mut lines = request.headers.get_all(name).iter();
    if lines.any(|line| !line.as_bytes().is_ascii()) {
        let message = format!("header {name} has a character that is not ASCII");
        return Err(Fault::new(FaultKind::Header, message).code("header_not_ascii"));
    }
    request.headers.single(name)
}

fn refusal(code: &'static str, message: &str) -> CancelError {
    Fault::new(FaultKind::Header, message).code(code).into()
}

fn success(payment: &Payment) -> Response<String> {
    provider::json(
        200,
        &Canceled {
            payment_id: &payment.id,
            status: &payment.status,
            cancelled_reason: "cancelled_by_user",
            cancelled_at: &whole_seconds(payment.canceled_at.as_str().unwrap_or_default()),
        },
    )
}

fn error(request: &Request<'_>, refused: &CancelError) -> Response<String> {
    let (status, code, message) = match refused {
        CancelError::Malformed(fault) => {
            let code = fault.code.unwrap_or("invalid_params");
            (fault.status(), code, fault.to_string())
        }
        CancelError::NoSuchEndpoint => (404, "invalid_params", "No such endpoint".into()),
        CancelError::Unauthenticated => {
            let has = |name| matches!(request.headers.credential(name), Ok(Some(_)));
            if has("Api-Key") {
                (401, "invalid_api_key", "Invalid Api-Key".into())
            } else if has("App-Id") {
                (401, "invalid_app_id", "Invalid App-Id".into())
            } else {
                let message = "Api-Key, or App-Id with Client-Id, is required".into();
                (401, "missing_auth_headers", message)
            }
        }
        CancelError::Forbidden => {
            (403, "forbidden", "This credential may not cancel payments".into())
        }
        CancelError::NotFound => (404, "payment_not_found", "Payment not found".into()),
        CancelError::NotCancelable(payment) if payment.status == "expired" => {
            (400, "payment_expired", "Payment has expired".into())
        }
        CancelError::NotCancelable(payment) if WalletConnect::STATUSES.only_manually(payment) => {
            (400, "invalid_state", "Payment can only be cancelled manually".into())
        }
        CancelError::NotCancelable(payment) => {
            let status = &payment.status;
            let message = format!("Payment cannot be cancelled because its status is {status}");
            (400, "invalid_state", message)
        }
        CancelError::KeyReused(reuse) => (400, "idempotency_conflict", reuse.to_string()),
        CancelError::Unavailable => {
            let message = "The payment was not cancelled. Retry the request".into();
            (500, "internal_error", message)
        }
        CancelError::Undecided { keyed } => {
            let retry = if *keyed {
                "Retry with the same Idempotency-Key to get the outcome"
            } else {
                "If it was, a retry will say that its status is cancelled"
            };
            let message = format!("The payment may or may not have been cancelled. {retry}");
            (500, "internal_error", message)
        }
        CancelError::Internal => (500, "internal_error", "Something went wrong".into()),
    };
    provider::json(status, &Error { code, message })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Canceled<'a> {
    payment_id: &'a str,
    status: &'a str,
    cancelled_reason: &'static str,
    cancelled_at: &'a str,
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'a str,
    message: String,
}
