//! The payment object of Hyperswitch's answers.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use shared::payment::Payment;

/// A canceled payment: [`KEYS`] in the real system's order, null where there is nothing to say, then what else its creator stored.
pub(crate) struct Object<'a> {
    pub(crate) payment: &'a Payment,
    /// The caller's `all_keys_required`.
    pub(crate) all_keys: bool,
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let listed = KEYS.iter().map(|key| (*key, self.value(key)));
        let further = self
            .payment
            .details
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone()));
        serializer.collect_map(listed.chain(further.filter(|(key, _)| !KEYS.contains(key))))
    }
}

impl Object<'_> {
    fn value(&self, key: &str) -> Value {
        let payment = self.payment;
        let stored = payment.details.get(key).filter(|value| !value.is_null());
        match key {
            "payment_id" => json!(payment.id),
            "merchant_id" => json!(payment.merchant_id),
            "status" => json!(payment.status),
            "amount" => json!(payment.amount),
            "net_amount" => stored.map_or_else(|| json!(payment.amount), Value::clone),
            "amount_capturable" => json!(0),
            "attempt_count" => stored.map_or_else(|| json!(1), Value::clone),
            "currency" => json!(payment.currency),
            "created" => json!(payment.created_at),
            "updated" => json!(payment.updated_at),
            "cancellation_reason" => json!(payment.reason()),
            "client_secret" => Value::Null,
            "whole_connector_response" if !self.all_keys => Value::Null,
            _ => stored.cloned().unwrap_or_default(),
        }
    }
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
