#![doc = include_str!("../README.md")]

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::{
    auth::{Credential, Merchant},
    body::Object,
    cancel::{CancelCommand, CancelError, Canceled, Fault, FaultKind, Fingerprint, Outcome},
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
        let connector = connector_details(body)?;
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
            Ok(canceled) => Reply::json(200, &payment(canceled, request)),
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
                let why = if payment.manual_cancellation
                    && Self::STATUSES.cancelable.contains(&payment.status.as_str())
                {
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

/// Checks `merchant_connector_details` against its limits and keeps nothing of it but `creds_identifier`, which the
/// specification says must not be sensitive.
fn connector_details(body: &Object<'_>) -> Result<Option<String>, Fault> {
    let Some(details) = body.object("merchant_connector_details")? else {
        return Ok(None);
    };
    let identifier = details.required_string("creds_identifier")?;
    if identifier == "null" {
        return Err(value(
            "merchant_connector_details.creds_identifier must not be the string \"null\"",
        ));
    }
    if let Some(encoded) = details.object("encoded_data")? {
        encoded.object("metadata")?;
        if let Some(account) = encoded.object("connector_account_details")? {
            let rule = if account.sizes().count() > 50 {
                "at most 50 keys"
            } else if account.sizes().any(|(name, _)| name.chars().count() > 40) {
                "names of at most 40 characters"
            } else if account.sizes().any(|(_, length)| length > 500) {
                "values of at most 500 characters"
            } else {
                return Ok(Some(identifier));
            };
            let name = "merchant_connector_details.encoded_data.connector_account_details";
            return Err(value(&format!("{name} must have {rule}")));
        }
    }
    Ok(Some(identifier))
}

fn value(message: &str) -> Fault {
    Fault::new(FaultKind::Value, message)
}

/// The payment object: [`KEYS`] in the real system's order, null where there is nothing to say, then what else the creator stored.
fn payment(canceled: &Canceled, request: &Request<'_>) -> impl Serialize {
    let payment = &canceled.payment;
    let asked_for_all = request
        .json()
        .ok()
        .and_then(|body| body.boolean("all_keys_required").ok().flatten());
    let reason = payment
        .cancellation
        .as_ref()
        .and_then(|cancellation| cancellation.reason.as_deref());
    let stored = |key: &str| {
        payment
            .details
            .get(key)
            .filter(|value| !value.is_null())
            .cloned()
    };
    let known = BTreeMap::from([
        ("payment_id", json!(payment.id)),
        ("merchant_id", json!(payment.merchant_id)),
        ("status", json!(payment.status)),
        ("amount", json!(payment.amount)),
        (
            "net_amount",
            stored("net_amount").unwrap_or_else(|| json!(payment.amount)),
        ),
        ("amount_capturable", json!(0)),
        ("client_secret", Value::Null),
        ("created", json!(payment.created_at)),
        ("currency", json!(payment.currency)),
        ("cancellation_reason", json!(reason)),
        (
            "attempt_count",
            stored("attempt_count").unwrap_or_else(|| json!(1)),
        ),
        ("updated", json!(payment.updated_at)),
        (
            "whole_connector_response",
            stored("whole_connector_response")
                .filter(|_| asked_for_all == Some(true))
                .unwrap_or_default(),
        ),
    ]);
    Ordered {
        known,
        details: payment.details.clone(),
    }
}

struct Ordered {
    known: BTreeMap<&'static str, Value>,
    details: Map<String, Value>,
}

impl Serialize for Ordered {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let listed = KEYS.iter().map(|key| {
            (
                *key,
                self.known
                    .get(key)
                    .or_else(|| self.details.get(*key))
                    .unwrap_or(&Value::Null),
            )
        });
        let further = self
            .details
            .iter()
            .map(|(key, value)| (key.as_str(), value))
            .filter(|(key, _)| !KEYS.contains(key));
        serializer.collect_map(listed.chain(further))
    }
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

/// Every key of the real payments object, in its order (the `PaymentsResponse` of Hyperswitch's API models).
const KEYS: &[&str] = &[
    "payment_id",
    "merchant_id",
    "status",
    "amount",
    "net_amount",
    "shipping_cost",
    "amount_capturable",
    "amount_received",
    "connector",
    "client_secret",
    "created",
    "currency",
    "customer_id",
    "customer",
    "description",
    "refunds",
    "disputes",
    "mandate_id",
    "mandate_data",
    "setup_future_usage",
    "off_session",
    "capture_on",
    "capture_method",
    "payment_method",
    "payment_method_data",
    "payment_token",
    "shipping",
    "billing",
    "order_details",
    "email",
    "name",
    "phone",
    "return_url",
    "authentication_type",
    "statement_descriptor_name",
    "statement_descriptor_suffix",
    "next_action",
    "cancellation_reason",
    "error_code",
    "error_message",
    "unified_code",
    "unified_message",
    "payment_experience",
    "payment_method_type",
    "connector_label",
    "business_country",
    "business_label",
    "business_sub_label",
    "allowed_payment_method_types",
    "ephemeral_key",
    "manual_retry_allowed",
    "connector_transaction_id",
    "frm_message",
    "metadata",
    "connector_metadata",
    "feature_metadata",
    "reference_id",
    "payment_link",
    "profile_id",
    "surcharge_details",
    "attempt_count",
    "merchant_decision",
    "merchant_connector_id",
    "incremental_authorization_allowed",
    "authorization_count",
    "incremental_authorizations",
    "external_authentication_details",
    "external_3ds_authentication_attempted",
    "expires_on",
    "fingerprint",
    "browser_info",
    "payment_channel",
    "payment_method_id",
    "network_transaction_id",
    "payment_method_status",
    "updated",
    "split_payments",
    "frm_metadata",
    "extended_authorization_applied",
    "request_extended_authorization",
    "capture_before",
    "merchant_order_reference_id",
    "order_tax_amount",
    "connector_mandate_id",
    "card_discovery",
    "force_3ds_challenge",
    "force_3ds_challenge_trigger",
    "issuer_error_code",
    "issuer_error_message",
    "is_iframe_redirection_enabled",
    "whole_connector_response",
    "enable_partial_authorization",
    "enable_overcapture",
    "is_overcapture_enabled",
    "network_details",
    "is_stored_credential",
    "mit_category",
];
