//! The payment object of One2Pays' responses.

use iso_currency::Currency;
use serde::Serialize;
use shared::{json::Json, payment::Payment};

/// `{"success":true,"data":{…}}`.
pub(crate) fn success(payment: &Payment) -> impl Serialize {
    Success {
        success: true,
        data: Data {
            id: &payment.id,
            amount: decimal(&payment.amount, &payment.currency),
            currency: &payment.currency,
            status: &payment.status,
            payment_method: payment.detail("paymentMethod"),
            reference_id: payment.detail("referenceId"),
            description: payment.detail("description"),
            metadata: payment.detail("metadata"),
            client_secret: None,
            next_action: None,
            confirmed_at: payment.detail("confirmedAt"),
            captured_at: payment.detail("capturedAt"),
            canceled_at: &payment.canceled_at,
            expires_at: payment.detail("expiresAt"),
            created_at: &payment.created_at,
            updated_at: &payment.updated_at,
        },
    }
}

#[derive(Serialize)]
struct Success<'a> {
    success: bool,
    data: Data<'a>,
}

/// The payment object of the specification's example, in its order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    id: &'a str,
    amount: Json,
    currency: &'a Json,
    status: &'a str,
    payment_method: Json,
    reference_id: Json,
    description: Json,
    metadata: Json,
    /// Null once canceled, whatever is stored: the payment can no longer be paid.
    client_secret: Option<()>,
    /// Null once canceled, too.
    next_action: Option<()>,
    confirmed_at: Json,
    captured_at: Json,
    canceled_at: &'a Json,
    expires_at: Json,
    created_at: &'a Json,
    updated_at: &'a Json,
}

/// Minor units as a decimal string: THB 100000 is `1000.00`, JPY 1000 is `1000`, KWD 1000000 is
/// `1000.000`. The decimal point is moved in the digits, so none is lost. Anything but a plain
/// number is shown as it is stored.
fn decimal(amount: &Json, currency: &Json) -> Json {
    let (Json::Number(digits), Some(currency)) = (amount, currency.as_str()) else {
        return amount.clone();
    };
    let listed = Currency::from_code(&currency.to_uppercase());
    let places = listed.map_or(Some(2), |listed| listed.exponent());
    let places = usize::from(places.unwrap_or(0));
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits.as_str()),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return amount.clone(); // With an exponent, which DynamoDB does not return.
    }
    let whole = format!("{whole:0>width$}", width = places + 1);
    let (major, minor) = whole.split_at(whole.len() - places);
    let point = if places + fraction.len() > 0 { "." } else { "" };
    Json::Text(format!("{sign}{major}{point}{minor}{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_with_an_exponent_is_shown_as_it_is_stored() {
        let odd = Json::Number("1E+38".into());
        assert_eq!(decimal(&odd, &"USD".into()), odd);
    }
}
