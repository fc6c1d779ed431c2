#![doc = include_str!("../README.md")]

use serde::Serialize;
use shared::{
    auth::{Credential, Merchant},
    cancel::{CancelCommand, CancelError, Fault, FaultKind, Fingerprint, Outcome},
    clock::whole_seconds,
    provider::{Body, Provider, Reply, Statuses},
    request::Request,
};

/// WalletConnect Pay, *gatewayCancelPayment*.
#[derive(Debug)]
pub struct WalletConnect;

impl Provider for WalletConnect {
    const NAME: &'static str = "walletconnect";
    const ROUTE: &'static str = "/v1/gateway/payment/{id}/cancel";
    const STATUSES: Statuses = Statuses {
        cancelable: &["requires_action"],
        canceled: "cancelled",
    };
    const BODY: Body = Body::Bytes;

    fn identify<'r>(request: &'r Request<'_>) -> Result<Credential<'r>, CancelError> {
        for name in [
            "Api-Key",
            "App-Id",
            "Client-Id",
            "Sdk-Name",
            "Sdk-Version",
            "Sdk-Platform",
        ] {
            ascii(request, name)?;
        }
        let header = |name| request.headers.credential(name);
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
        if let Some(wanted) = ascii(request, "WCP-Version")? {
            let Some(wanted) = version(wanted) else {
                return Err(if is_version(wanted) {
                    refusal("unknown_api_version", "WCP-Version is not a known version")
                } else {
                    refusal(
                        "invalid_api_version",
                        "WCP-Version must be YYYY-MM-DD or YYYY-MM-DD.preview",
                    )
                });
            };
            if wanted < pinned(merchant) {
                return Err(refusal(
                    "api_version_downgrade",
                    "WCP-Version is older than the version this account is pinned to",
                ));
            }
        }
        Ok(CancelCommand {
            payment_id: request.payment_id.clone(),
            idempotency_key: None,
            reason: None,
            fingerprint: Fingerprint::of(&[Some(request.body)]),
        })
    }

    fn write(outcome: &Outcome, request: &Request<'_>, merchant: Option<&Merchant>) -> Reply {
        let reply = match outcome {
            Ok(canceled) => {
                let at = canceled.payment.canceled_at.as_deref().unwrap_or_default();
                Reply::json(
                    200,
                    &Canceled {
                        payment_id: &canceled.payment.id,
                        status: &canceled.payment.status,
                        cancelled_reason: "cancelled_by_user",
                        cancelled_at: &whole_seconds(at),
                    },
                )
            }
            Err(CancelError::Malformed(fault)) => error(
                fault.status(),
                fault.code.unwrap_or("invalid_params"),
                &fault.message,
            ),
            Err(CancelError::Unauthenticated) => match presented(request) {
                Presented::ApiKey => error(401, "invalid_api_key", "Invalid Api-Key"),
                Presented::AppId => error(401, "invalid_app_id", "Invalid App-Id"),
                Presented::Nothing => error(
                    401,
                    "missing_auth_headers",
                    "Api-Key, or App-Id with Client-Id, is required",
                ),
            },
            Err(CancelError::Forbidden) => {
                error(403, "forbidden", "This credential may not cancel payments")
            }
            Err(CancelError::NotFound) => error(404, "payment_not_found", "Payment not found"),
            Err(CancelError::NotCancelable(payment)) => match payment.status.as_str() {
                "expired" => error(400, "payment_expired", "Payment has expired"),
                _ if Self::STATUSES.only_manually(payment) => error(
                    400,
                    "invalid_state",
                    "Payment can only be cancelled manually",
                ),
                status => {
                    let message =
                        format!("Payment cannot be cancelled because its status is {status}");
                    error(400, "invalid_state", &message)
                }
            },
            Err(CancelError::KeyReused) => error(
                400,
                "idempotency_conflict",
                "Idempotency-Key was already used to cancel this payment with another body",
            ),
            Err(CancelError::Undecided) => error(
                500,
                "internal_error",
                "The payment may or may not have been cancelled. It is safe to repeat the same request",
            ),
            Err(CancelError::Internal) => error(500, "internal_error", "Something went wrong"),
        };
        match resolved(request, merchant) {
            Some(version) => reply.header("wcp-version", version),
            None => reply,
        }
    }
}

/// The known versions, oldest first: being older is lying further to the front.
const VERSIONS: [&str; 2] = ["2026-02-18", "2026-02-19.preview"];

/// The place of a known version in [`VERSIONS`].
fn version(text: &str) -> Option<usize> {
    VERSIONS.iter().position(|known| *known == text)
}

fn is_version(text: &str) -> bool {
    let date = text.strip_suffix(".preview").unwrap_or(text);
    date.len() == 10
        && date.bytes().enumerate().all(|(at, byte)| {
            if at == 4 || at == 7 {
                byte == b'-'
            } else {
                byte.is_ascii_digit()
            }
        })
}

/// The version the account is pinned to; the oldest, where it is pinned to none that is known.
fn pinned(merchant: &Merchant) -> usize {
    merchant.api_version().and_then(version).unwrap_or(0)
}

/// The version this exchange speaks: a known one that was asked for, else the pinned one.
fn resolved(request: &Request<'_>, merchant: Option<&Merchant>) -> Option<&'static str> {
    let wanted = request
        .headers
        .single("WCP-Version")
        .ok()
        .flatten()
        .and_then(version);
    let place = wanted.or_else(|| merchant.map(pinned))?;
    VERSIONS.get(place).copied()
}

/// A header that may have one value, of ASCII characters.
fn ascii<'r>(request: &'r Request<'_>, name: &'static str) -> Result<Option<&'r str>, CancelError> {
    match request.headers.single(name)? {
        Some(value) if !value.is_ascii() => Err(refusal(
            "header_not_ascii",
            &format!("header {name} has a character that is not ASCII"),
        )),
        value => Ok(value),
    }
}

enum Presented {
    ApiKey,
    AppId,
    Nothing,
}

fn presented(request: &Request<'_>) -> Presented {
    let has = |name| matches!(request.headers.credential(name), Ok(Some(_)));
    match (has("Api-Key"), has("App-Id")) {
        (true, _) => Presented::ApiKey,
        (false, true) => Presented::AppId,
        (false, false) => Presented::Nothing,
    }
}

fn refusal(code: &'static str, message: &str) -> CancelError {
    Fault::new(FaultKind::Header, message).code(code).into()
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
struct Refused<'a> {
    code: &'a str,
    message: &'a str,
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    Reply::json(status, &Refused { code, message })
}
