//! The payment object of Hyperswitch's responses.

use std::sync::LazyLock;

use shared::{
    json::{Json, WithDetails},
    payment::Payment,
};

/// A canceled payment: [`KEYS`] in the real system's order, null where nothing is stored, then what
/// else its creator stored. `all_keys` is the caller's `all_keys_required`.
pub(crate) fn object(payment: &Payment, all_keys: bool) -> WithDetails<'_> {
    WithDetails {
        fields: KEYS.iter().map(|key| (*key, value(payment, key, all_keys))).collect(),
        details: &payment.details,
        hidden: &[],
    }
}

fn value(payment: &Payment, key: &str, all_keys: bool) -> Json {
    let stored = payment.details.get(key).filter(|value| **value != Json::Null);
    let or = |default: Json| stored.cloned().unwrap_or(default);
    match key {
        "payment_id" => payment.id.as_str().into(),
        "merchant_id" => payment.merchant_id.as_str().into(),
        "status" => payment.status.as_str().into(),
        "amount" => payment.amount.clone(),
        "net_amount" => or(payment.amount.clone()),
        "amount_capturable" => Json::Number("0".to_owned()),
        "attempt_count" => or(Json::Number("1".to_owned())),
        "currency" => payment.currency.clone(),
        "created" => payment.created_at.clone(),
        "updated" => payment.updated_at.clone(),
        "cancellation_reason" => payment.reason().map(Json::from).unwrap_or_default(),
        // They invite to go on paying. The real system sends no next action of a cancelled payment,
        // and an ephemeral key only when the payment is created.
        "ephemeral_key" | "next_action" | "payment_link" => Json::Null,
        "whole_connector_response" if !all_keys => Json::Null,
        _ => or(Json::Null),
    }
}

/// Every key of the real payments object, in its order: the `PaymentsResponse` of Hyperswitch's API
/// models.
static KEYS: LazyLock<Vec<&str>> = LazyLock::new(|| NAMES.split_ascii_whitespace().collect());

const NAMES: &str = "
    payment_id merchant_id status amount net_amount shipping_cost amount_capturable amount_received
    connector client_secret created currency customer_id customer description refunds disputes
    mandate_id mandate_data setup_future_usage off_session capture_on capture_method payment_method
    payment_method_data payment_token shipping billing order_details email name phone return_url
    authentication_type statement_descriptor_name statement_descriptor_suffix next_action
    cancellation_reason error_code error_message unified_code unified_message payment_experience
    payment_method_type connector_label business_country business_label business_sub_label
    allowed_payment_method_types ephemeral_key manual_retry_allowed connector_transaction_id
    frm_message metadata connector_metadata feature_metadata reference_id payment_link profile_id
    surcharge_details attempt_count merchant_decision merchant_connector_id
    incremental_authorization_allowed authorization_count incremental_authorizations
    external_authentication_details external_3ds_authentication_attempted expires_on fingerprint
    browser_info payment_channel payment_method_id network_transaction_id payment_method_status
    updated split_payments frm_metadata extended_authorization_applied
    request_extended_authorization capture_before merchant_order_reference_id order_tax_amount
    connector_mandate_id card_discovery force_3ds_challenge force_3ds_challenge_trigger
    issuer_error_code issuer_error_message is_iframe_redirection_enabled whole_connector_response
    enable_partial_authorization enable_overcapture is_overcapture_enabled network_details
    is_stored_credential mit_category
";
