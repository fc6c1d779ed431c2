//! The tables in DynamoDB. The only folder that knows the AWS SDK.
//!
//! A cancel is one `UpdateItem` with a condition, and one write unit (for items up to 1 KB), whatever its outcome: on success
//! the new item comes back, on a failed condition the old one does, so nothing is ever read a second time.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        get_item::{GetItemError, GetItemInput},
        update_item::{UpdateItemError, UpdateItemInput, builders::UpdateItemInputBuilder},
    },
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use aws_types::SdkConfig;
use serde_json::{Map, Number, Value};
use tokio::time::Instant;
use tracing::{debug, error, warn};

use self::client::{Client, once, within};
pub use self::client::{environment, http_client, limits};
use super::{Credentials, Payments, Signatures, StoreError, Verdict};
use crate::{
    auth::CredentialRecord,
    cancel::{Claim, Transition},
    payment::{Cancellation, Payment, PaymentKey},
};

mod client;

type Item = HashMap<String, AttributeValue>;

/// Both tables.
#[derive(Debug, Clone)]
pub struct DynamoDb {
    client: Client,
    payments: String,
    credentials: String,
}

impl DynamoDb {
    /// The tables that `PAYMENTS_TABLE` and `CREDENTIALS_TABLE` name, by default `payments` and `credentials`.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        let table = |variable, default: &str| {
            std::env::var(variable).unwrap_or_else(|_| default.to_owned())
        };
        Self {
            client: Client::new(config),
            payments: table("PAYMENTS_TABLE", "payments"),
            credentials: table("CREDENTIALS_TABLE", "credentials"),
        }
    }

    /// Resolves the name, connects, shakes hands and signs once, so that the first request finds it done: one look at the key `{provider}#` of the
    /// credentials, which the role may read and under which nothing is. A single attempt, so it takes a second at most; whatever comes of it
    /// is harmless, and takes nothing from the retry budget.
    pub async fn prime(&self, provider: &str) {
        let look = GetItemInput::builder()
            .table_name(&self.credentials)
            .key("pk", text(&format!("{provider}#")));
        match self.client.get_item(look, once()).await {
            Ok(_) => debug!("connected to DynamoDB"),
            Err(failure) => warn!(
                table = %self.credentials,
                kind = kind(&failure),
                code = failure.code().unwrap_or_default(),
                "no connection to DynamoDB before the first request, which will try again"
            ),
        }
    }

    /// The one write, and the condition it is made under.
    fn update(&self, wanted: &Transition) -> UpdateItemInputBuilder {
        let words = wanted.statuses.cancelable;
        let names = (0..words.len()).map(|n| format!(":from{n}"));
        let names = names.collect::<Vec<_>>();
        let cancelable = names.join(", ");
        let fixed = [
            (":canceled", text(wanted.statuses.canceled)),
            (":at", text(&wanted.at)),
            (":cancellation", cancellation_value(&wanted.cancellation)),
            (":false", AttributeValue::Bool(false)),
            (":N", text("N")),
            (":S", text("S")),
            (":M", text("M")),
        ];
        let mut values = HashMap::with_capacity(fixed.len() + words.len());
        values.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
        values.extend(names.into_iter().zip(words.iter().map(|word| text(word))));
        UpdateItemInput::builder()
            .table_name(&self.payments)
            .key("pk", text(wanted.key.pk()))
            .update_expression(
                "SET #status = :canceled, canceled_at = :at, updated_at = :at, cancellation = :cancellation",
            )
            // The last two lines refuse an item that no answer could be written from before it is changed, not after.
            .condition_expression(format!(
                "#status IN ({cancelable}) \
                 AND (attribute_not_exists(manual_cancellation) OR manual_cancellation = :false) \
                 AND attribute_type(amount, :N) AND attribute_type(currency, :S) AND attribute_type(created_at, :S) \
                 AND (attribute_not_exists(details) OR attribute_type(details, :M))"
            ))
            .expression_attribute_names("#status", "status")
            .set_expression_attribute_values(Some(values))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }
}

impl Payments for DynamoDb {
    async fn transition(&self, wanted: &Transition) -> Result<Verdict, StoreError> {
        let asked = self
            .client
            .update_item(self.update(wanted), within(wanted.until));
        let (made, item) = match asked.await {
            Ok(output) => (true, output.attributes),
            Err(failure) => match failure.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    (false, refused.item.clone())
                }
                _ => return Err(store_error(&failure, &self.payments)),
            },
        };
        let payment = item.map(|item| payment(&item, &wanted.key)).transpose().map_err(|attribute| {
            error!(table = %self.payments, pk = wanted.key.pk(), attribute, canceled = made, "payment item breaks the data model");
            StoreError::Internal
        })?;
        match (made, payment) {
            (true, Some(payment)) => Ok(Verdict::Made(payment)),
            (false, payment) => Ok(Verdict::Refused(payment)),
            (true, None) => {
                error!(table = %self.payments, "DynamoDB made the update but returned no item");
                Err(StoreError::Undecided)
            }
        }
    }
}

impl Credentials for DynamoDb {
    async fn find(&self, pk: &str, until: Instant) -> Result<Option<CredentialRecord>, StoreError> {
        let request = GetItemInput::builder()
            .table_name(&self.credentials)
            .key("pk", text(pk))
            // So that a revoked one is not read as it was, nor one just issued as missing.
            .consistent_read(true);
        let asked = self.client.get_item(request, within(until));
        let output = asked
            .await
            .map_err(|failure| store_error(&failure, &self.credentials))?;
        output.item.map(|item| credential(&item)).transpose().map_err(|attribute| {
            // The key id may be the digest of a secret: not even that is logged.
            error!(table = %self.credentials, attribute, "credential item breaks the data model");
            StoreError::Internal
        })
    }
}

impl Signatures for DynamoDb {
    /// One write unit, beside that of the payment. DynamoDB deletes the item some time after `signature_expires_at`, which no payment has.
    async fn claim(&self, wanted: &Claim) -> Result<bool, StoreError> {
        let request = UpdateItemInput::builder()
            .table_name(&self.payments)
            .key("pk", text(&wanted.pk))
            .update_expression("SET payment_id = :payment, signature_expires_at = :end")
            .condition_expression("attribute_not_exists(pk) OR payment_id = :payment")
            .expression_attribute_values(":payment", text(&wanted.payment_id))
            .expression_attribute_values(":end", AttributeValue::N(wanted.expires_at.to_string()));
        let asked = self.client.update_item(request, within(wanted.until));
        match asked.await {
            Ok(_) => Ok(true),
            Err(failure) => match failure.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(store_error(&failure, &self.payments)),
            },
        }
    }
}

/// Errors that end an attempt for good, after which nothing can have been written: what to check is logged. Everything else, a time-out, a
/// broken connection, a 5xx, throttling to the last attempt, leaves it open.
trait Definite {
    fn is_definite(&self) -> bool;
}

impl Definite for UpdateItemError {
    fn is_definite(&self) -> bool {
        self.is_resource_not_found_exception() || is_client_fault(self.code())
    }
}

impl Definite for GetItemError {
    fn is_definite(&self) -> bool {
        self.is_resource_not_found_exception() || is_client_fault(self.code())
    }
}

fn is_client_fault(code: Option<&str>) -> bool {
    matches!(
        code,
        Some(
            "AccessDeniedException"
                | "ValidationException"
                | "UnrecognizedClientException"
                | "IncompleteSignatureException"
                | "InvalidSignatureException"
                | "MissingAuthenticationTokenException"
                | "ExpiredTokenException"
        )
    )
}

fn store_error<E>(failure: &SdkError<E>, table: &str) -> StoreError
where
    E: Definite + ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = failure.code().unwrap_or_default();
    let kind = kind(failure);
    if matches!(failure, SdkError::ConstructionFailure(_))
        || failure
            .as_service_error()
            .is_some_and(Definite::is_definite)
    {
        error!(
            table,
            kind,
            code,
            "DynamoDB did not take the request: check the table's name, the region and the function's permissions"
        );
        StoreError::Internal
    } else {
        error!(
            table,
            kind,
            code,
            "DynamoDB gave no definite answer: if that lasts, check the region, the endpoint and the network between"
        );
        StoreError::Undecided
    }
}

fn kind<E>(failure: &SdkError<E>) -> &'static str {
    match failure {
        SdkError::ConstructionFailure(_) => "request could not be built",
        SdkError::TimeoutError(_) => "no answer in time",
        SdkError::DispatchFailure(_) => "connection failed",
        SdkError::ResponseError(_) => "answer cut short or unreadable",
        SdkError::ServiceError(_) | _ => "refused",
    }
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn cancellation_value(cancellation: &Cancellation) -> AttributeValue {
    let Cancellation {
        id,
        token,
        fingerprint,
        reason,
    } = cancellation;
    let mut map = HashMap::from([
        ("id".to_owned(), text(id)),
        ("token".to_owned(), text(token)),
        ("fingerprint".to_owned(), text(fingerprint)),
    ]);
    if let Some(reason) = reason {
        map.insert("reason".to_owned(), text(reason));
    }
    AttributeValue::M(map)
}

/// The payment that `item` is, or the attribute that is missing or of another type than the data model says.
fn payment(item: &Item, key: &PaymentKey) -> Result<Payment, &'static str> {
    let amount = match item.get("amount") {
        Some(AttributeValue::N(number)) => number.parse().map_err(|_| "amount"),
        _ => Err("amount"),
    };
    let details = match item.get("details") {
        None => Ok(Map::new()),
        Some(AttributeValue::M(map)) => Ok(json_object(map)),
        Some(_) => Err("details"),
    };
    Ok(Payment {
        id: key.payment_id().to_owned(),
        merchant_id: key.merchant_id().to_owned(),
        status: required(item, "status")?,
        amount: amount?,
        currency: required(item, "currency")?,
        created_at: required(item, "created_at")?,
        updated_at: optional(item, "updated_at")?,
        canceled_at: optional(item, "canceled_at")?,
        manual_cancellation: flag(item, "manual_cancellation")?.unwrap_or(false),
        details: details?,
        cancellation: match item.get("cancellation") {
            None => None,
            Some(AttributeValue::M(map)) => Some(Cancellation {
                id: required(map, "id")?,
                token: required(map, "token")?,
                fingerprint: required(map, "fingerprint")?,
                reason: optional(map, "reason")?,
            }),
            Some(_) => return Err("cancellation"),
        },
    })
}

/// The credential that `item` is, or the attribute that breaks the data model.
fn credential(item: &Item) -> Result<CredentialRecord, &'static str> {
    let merchant_id = required(item, "merchant_id")?;
    if merchant_id.contains('#') {
        return Err("merchant_id"); // It would reach into another merchant's keys.
    }
    Ok(CredentialRecord {
        merchant_id,
        secret_sha256: optional(item, "secret_sha256")?,
        signing_secret: optional(item, "signing_secret")?,
        active: flag(item, "active")?.ok_or("active")?,
        expires_at: optional(item, "expires_at")?
            .map(|end| end.parse())
            .transpose()
            .map_err(|_| "expires_at")?,
        api_version: optional(item, "api_version")?,
    })
}

fn required(item: &Item, name: &'static str) -> Result<String, &'static str> {
    optional(item, name)?.ok_or(name)
}

fn optional(item: &Item, name: &'static str) -> Result<Option<String>, &'static str> {
    match item.get(name) {
        None => Ok(None),
        Some(AttributeValue::S(text)) => Ok(Some(text.clone())),
        Some(_) => Err(name),
    }
}

fn flag(item: &Item, name: &'static str) -> Result<Option<bool>, &'static str> {
    match item.get(name) {
        None => Ok(None),
        Some(AttributeValue::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(name),
    }
}

fn json_object(map: &Item) -> Map<String, Value> {
    map.iter()
        .map(|(name, value)| (name.clone(), json(value)))
        .collect()
}

/// A stored value as JSON. Sets become arrays. Binary values have no JSON form and become null.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the SDK's enum has a private variant for what it does not know"
)]
fn json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => Value::String(text.clone()),
        AttributeValue::N(number) => json_number(number),
        AttributeValue::Bool(flag) => Value::Bool(*flag),
        AttributeValue::L(list) => list.iter().map(json).collect(),
        AttributeValue::M(map) => Value::Object(json_object(map)),
        AttributeValue::Ss(texts) => texts
            .iter()
            .map(|text| Value::String(text.clone()))
            .collect(),
        AttributeValue::Ns(numbers) => numbers.iter().map(|number| json_number(number)).collect(),
        _ => Value::Null,
    }
}

fn json_number(number: &str) -> Value {
    number.parse::<Number>().map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DynamoDB keeps decimal digits, JSON readers get binary floating point: what one of these says must come out as it went in.
    #[test]
    fn a_stored_fraction_is_answered_with_the_digits_it_has() {
        for digits in [
            "0.1",
            "19.99",
            "0.18981702153870114",
            "0.9175699234495203",
            "0.44981397928666356",
        ] {
            assert_eq!(json_number(digits).to_string(), digits);
        }
    }
}
