//! The payment object of One2Pays' answers.

use iso_currency::Currency;
use serde::Serialize;
use serde_json::Value;
use shared::payment::Payment;

/// `{"success":true,"data":{…}}`.
pub(crate) fn success(payment: &Payment) -> impl Serialize {
    Success {
        success: true,
        data: Data::from(payment),
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
    amount: String,
    currency: &'a str,
    status: &'a str,
    payment_method: Option<&'a Value>,
    reference_id: Option<&'a Value>,
    description: Option<&'a Value>,
    metadata: Option<&'a Value>,
    /// Null once canceled, whatever is stored: nobody is to pay any more.
    client_secret: Option<()>,
    /// Null once canceled, likewise.
    next_action: Option<()>,
    confirmed_at: Option<&'a Value>,
    captured_at: Option<&'a Value>,
    canceled_at: Option<&'a str>,
    expires_at: Option<&'a Value>,
    created_at: &'a str,
    updated_at: Option<&'a str>,
}

impl<'a> From<&'a Payment> for Data<'a> {
    fn from(payment: &'a Payment) -> Self {
        let stored = |name: &str| payment.details.get(name);
        Self {
            id: &payment.id,
            amount: decimal(payment.amount, &payment.currency),
            currency: &payment.currency,
            status: &payment.status,
            payment_method: stored("paymentMethod"),
            reference_id: stored("referenceId"),
            description: stored("description"),
            metadata: stored("metadata"),
            client_secret: None,
            next_action: None,
            confirmed_at: stored("confirmedAt"),
            captured_at: stored("capturedAt"),
            canceled_at: payment.canceled_at.as_deref(),
            expires_at: stored("expiresAt"),
            created_at: &payment.created_at,
            updated_at: payment.updated_at.as_deref(),
        }
    }
}

/// Minor units as a decimal string: THB 100000 is `1000.00`, JPY 1000 is `1000`, KWD 1000000 is `1000.000`.
fn decimal(minor: i64, currency: &str) -> String {
    let exponent = Currency::from_code(currency).map_or(Some(2), |listed| listed.exponent());
    let Some(exponent @ 1..) = exponent else {
        return minor.to_string();
    };
    let unit = 10_u64.pow(u32::from(exponent));
    let sign = if minor < 0 { "-" } else { "" };
    let minor = minor.unsigned_abs();
    format!(
        "{sign}{}.{:0width$}",
        minor / unit,
        minor % unit,
        width = usize::from(exponent)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_follow_the_currencys_exponent() {
        for (minor, currency, text) in [
            (100_000, "THB", "1000.00"),
            (1000, "JPY", "1000"),
            (1_000_000, "KWD", "1000.000"),
            (10_000_000, "CLF", "1000.0000"),
            (5, "USD", "0.05"),
            (0, "THB", "0.00"),
            (-5, "THB", "-0.05"),
            (i64::MIN, "JPY", "-9223372036854775808"),
            (150, "ZZZ", "1.50"),
            (7, "XAU", "7"),
        ] {
            assert_eq!(decimal(minor, currency), text, "{minor} {currency}");
        }
    }
}
