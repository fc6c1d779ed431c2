//! The tables in DynamoDB. The only folder that knows the AWS SDK.
//!
//! A cancel is one `UpdateItem` with a condition, and one write unit (for items up to 1 KB),
//! whatever its outcome: on success the new item comes back, on a failed condition the old one
//! does, so nothing is ever read a second time. Only a payment that was re-opened after a cancel
//! takes two.

mod attempts;
mod config;
mod item;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, future::Future, pin::Pin};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client, Config,
    config::retry::RetryConfig,
    error::{ProvideErrorMetadata, SdkError},
    operation::update_item::{
        UpdateItemError, UpdateItemOutput, builders::UpdateItemFluentBuilder,
    },
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use tokio::time::timeout_at;
use tracing::{Instrument, debug, debug_span, error, warn};

pub use self::config::{behavior_version, from_environment, http_client};
use self::{attempts::Attempts, item::text};
use crate::{
    auth::{CredentialRecord, Credentials},
    budget::Budget,
    cancel::{Payments, SignatureUse, Signatures, Transition, TransitionResult},
    error::StoreError,
    payment::Attribute,
};

/// The names of both tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    /// `PAYMENTS_TABLE`.
    pub payments: String,
    /// `CREDENTIALS_TABLE`.
    pub credentials: String,
}

impl Default for Tables {
    fn default() -> Self {
        Self { payments: "payments".to_owned(), credentials: "credentials".to_owned() }
    }
}

/// Both tables.
#[derive(Debug, Clone)]
pub struct DynamoDb {
    client: Client,
    tables: Tables,
}

impl DynamoDb {
    /// The tables at the endpoint of `config`, under our timeouts and retries.
    #[must_use]
    pub fn new(config: &SdkConfig, tables: Tables) -> Self {
        Self { client: Client::from_conf(config::with_limits(config)), tables }
    }

    /// Resolves the name, connects, negotiates TLS and signs once, so that the first request finds
    /// it done: one read of the key `{provider}#` in the credentials table, which the role allows
    /// and where no item is.
    ///
    /// It makes a single attempt, so it takes a second at most. A failure is logged and harmless,
    /// and takes nothing from the retry budget.
    pub async fn prime(&self, provider: &str) {
        let once = Config::builder().retry_config(RetryConfig::disabled());
        let read = self
            .client
            .get_item()
            .table_name(&self.tables.credentials)
            .key("pk", text(&format!("{provider}#")))
            .customize()
            .config_override(once)
            .send();
        match Box::pin(read).await {
            Ok(_) => debug!("connected to DynamoDB"),
            Err(failure) => warn!(
                table = %self.tables.credentials,
                kind = kind(&failure),
                code = failure.code().unwrap_or_default(),
                "cannot connect to DynamoDB before the first request, which will try again"
            ),
        }
    }

    /// The one write, and its condition. It replaces no cancellation but `last`, which it keeps
    /// among the earlier ones.
    fn update(
        &self,
        transition: &Transition,
        last: Option<&AttributeValue>,
    ) -> UpdateItemFluentBuilder {
        let statuses = transition.statuses.cancelable;
        let names = (0..statuses.len()).map(|n| format!(":from{n}"));
        let names = names.collect::<Vec<_>>();
        let mut condition = format!(
            "#status IN ({}) \
             AND (attribute_not_exists(manual_cancellation) OR manual_cancellation = :false \
             OR attribute_type(manual_cancellation, :NULL)) \
             AND (attribute_not_exists(cancellation.#token){})",
            names.join(", "),
            if last.is_some() { " OR cancellation = :last" } else { "" },
        );
        let mut values = HashMap::from(
            [
                (":canceled", text(transition.statuses.canceled)),
                (":at", text(&transition.at)),
                (":cancellation", item::cancellation_value(&transition.cancellation, last)),
                (":false", AttributeValue::Bool(false)),
                (":NULL", text("NULL")),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        values.extend(last.map(|last| (":last".to_owned(), last.clone())));
        values.extend(names.into_iter().zip(statuses.iter().map(|word| text(word))));
        // Refuses an item that the response could not be written from before it is changed.
        for attribute in transition.required {
            let (name, kind) = (attribute.name(), attribute_type(*attribute));
            condition.push_str(&format!(" AND attribute_type({name}, :{kind})"));
            values.insert(format!(":{kind}"), text(kind));
        }
        self.client
            .update_item()
            .table_name(&self.tables.payments)
            .key("pk", text(transition.key.pk()))
            .update_expression(
                "SET #status = :canceled, canceled_at = :at, updated_at = :at, \
                 cancellation = :cancellation",
            )
            .condition_expression(condition)
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#token", "token")
            .set_expression_attribute_values(Some(values))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    /// Sends a write within the budget. [`StoreError::Undecided`] if any attempt may have been made
    /// without a response that confirms it.
    async fn write(
        &self,
        update: UpdateItemFluentBuilder,
        budget: &Budget,
    ) -> Result<UpdateItemOutput, WriteError> {
        let attempts = Attempts::within(budget);
        let call = update.customize().interceptor(attempts.clone()).send();
        let failure = match timeout_at(budget.deadline(), traced("UpdateItem", call)).await {
            Ok(Ok(output)) => return Ok(output),
            Ok(Err(failure)) => Some(failure),
            Err(_) => None,
        };
        let refused = failure.as_ref().and_then(SdkError::as_service_error);
        if let Some(UpdateItemError::ConditionalCheckFailedException(failed)) = refused {
            return Err(WriteError::ConditionFailed(failed.item.clone()));
        }
        let error = if attempts.may_have_written() {
            StoreError::Undecided
        } else {
            failure.as_ref().map_or(StoreError::Unavailable, nothing_written)
        };
        log_failure(failure.as_ref(), error, &self.tables.payments);
        Err(WriteError::Store(error))
    }
}

/// Why a write was not made, or not known to be.
enum WriteError {
    /// The condition was false. The item at that moment.
    ConditionFailed(Option<item::Item>),
    Store(StoreError),
}

impl Payments for DynamoDb {
    /// One write. It is followed by a second one if another service re-opened the payment after a
    /// cancel with another token: no expression appends the cancellation that it replaces to a list
    /// that may be absent.
    async fn transition(
        &self,
        transition: &Transition,
        budget: &Budget,
    ) -> Result<TransitionResult, StoreError> {
        let mut last = None;
        loop {
            let item = match self.write(self.update(transition, last.as_ref()), budget).await {
                Ok(output) => return self.transitioned(&output, transition),
                Err(WriteError::ConditionFailed(Some(item))) => item,
                Err(WriteError::ConditionFailed(None)) => {
                    return Ok(TransitionResult::ConditionFailed(None));
                }
                Err(WriteError::Store(error)) => return Err(error),
            };
            let undone = item::undone(&item, transition);
            if undone.is_none() || undone == last {
                return self.condition_failed(&item, transition);
            }
            last = undone;
        }
    }
}

impl DynamoDb {
    fn transitioned(
        &self,
        output: &UpdateItemOutput,
        transition: &Transition,
    ) -> Result<TransitionResult, StoreError> {
        let payment = output.attributes().and_then(|item| item::payment(item, &transition.key));
        // Anything but the item as just written is no proof that it was.
        let made = payment.filter(|payment| {
            payment.status == transition.statuses.canceled
                && payment.cancellation.as_ref() == Some(&transition.cancellation)
        });
        made.map(TransitionResult::Transitioned).ok_or_else(|| {
            error!(table = %self.tables.payments, "DynamoDB returned another item than it wrote");
            StoreError::Undecided
        })
    }

    fn condition_failed(
        &self,
        item: &item::Item,
        transition: &Transition,
    ) -> Result<TransitionResult, StoreError> {
        let unusable = |attribute| {
            let pk = transition.key.pk();
            let table = &self.tables.payments;
            error!(%table, pk, attribute, "the payment item breaks the data model");
            StoreError::Internal
        };
        let payment = item::payment(item, &transition.key).ok_or_else(|| unusable("status"))?;
        if item::has_unusable_flag(item)
            && transition.statuses.is_cancelable(&payment.status)
            && !transition.is_token_of(&payment)
        {
            return Err(unusable("manual_cancellation"));
        }
        Ok(TransitionResult::ConditionFailed(Some(payment)))
    }
}

impl Credentials for DynamoDb {
    async fn find(
        &self,
        pk: &str,
        budget: &Budget,
    ) -> Result<Option<CredentialRecord>, StoreError> {
        let table = &self.tables.credentials;
        let read = self
            .client
            .get_item()
            .table_name(table)
            .key("pk", text(pk))
            // An eventually consistent read could return a revoked credential as it was before.
            .consistent_read(true)
            .customize()
            .interceptor(Attempts::within(budget))
            .send();
        let failure = match timeout_at(budget.deadline(), traced("GetItem", read)).await {
            Ok(Ok(output)) => {
                let record = output.item.map(|item| item::credential(&item));
                return record.transpose().map_err(|attribute| {
                    // The key id may be the digest of a secret: not even that is logged.
                    error!(%table, attribute, "the credential item breaks the data model");
                    StoreError::Internal
                });
            }
            Ok(Err(failure)) => Some(failure),
            Err(_) => None,
        };
        let error = failure.as_ref().map_or(StoreError::Unavailable, nothing_written);
        log_failure(failure.as_ref(), error, table);
        Err(error)
    }
}

impl Signatures for DynamoDb {
    /// One more write unit than the payment's own. DynamoDB deletes the item some time after
    /// `signature_expires_at`, an attribute that no payment has.
    async fn claim(&self, signature: &SignatureUse, budget: &Budget) -> Result<bool, StoreError> {
        let expires_at = AttributeValue::N(signature.expires_at.to_string());
        let update = self
            .client
            .update_item()
            .table_name(&self.tables.payments)
            .key("pk", text(&signature.pk))
            .update_expression("SET payment_id = :payment, signature_expires_at = :end")
            .condition_expression("attribute_not_exists(pk) OR payment_id = :payment")
            .expression_attribute_values(":payment", text(&signature.payment_id))
            .expression_attribute_values(":end", expires_at);
        match self.write(update, budget).await {
            Ok(_) => Ok(true),
            Err(WriteError::ConditionFailed(_)) => Ok(false),
            Err(WriteError::Store(error)) => Err(error),
        }
    }
}

/// The SDK call in a span. Boxed, because its state takes kilobytes that every future around it
/// would hold and move.
fn traced<T>(
    operation: &'static str,
    call: impl Future<Output = T> + Send + 'static,
) -> Pin<Box<dyn Future<Output = T> + Send>>
where
    T: Send,
{
    let span = debug_span!(
        "DynamoDB",
        "otel.name" = format_args!("DynamoDB.{operation}"),
        "rpc.system" = "aws-api",
        "rpc.service" = "DynamoDB",
        "rpc.method" = operation,
    );
    Box::pin(call.instrument(span))
}

/// DynamoDB's name of the type that responses need.
fn attribute_type(attribute: Attribute) -> &'static str {
    match attribute {
        Attribute::Amount => "N",
        Attribute::Currency => "S",
    }
}

/// An error with which DynamoDB states that it wrote nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// The condition was false.
    Condition,
    /// It was busy with other requests, or could not use the table's KMS key. A retry may succeed.
    Unavailable,
    /// The request, its signature, the role or the table is wrong.
    Rejected,
}

/// The refusal of that error. Every other error, such as a 5xx, leaves it open whether something
/// was written.
fn refusal(error: &impl ProvideErrorMetadata) -> Option<Refusal> {
    match error.code()? {
        "ConditionalCheckFailedException" => Some(Refusal::Condition),
        "ProvisionedThroughputExceededException"
        | "ReplicatedWriteConflictException"
        | "RequestLimitExceeded"
        | "ThrottlingException"
        | "TransactionConflictException" => Some(Refusal::Unavailable),
        code if code.starts_with("KMS") => Some(Refusal::Unavailable),
        // A table whose key is disabled, or not permitted, is refused like this.
        "AccessDeniedException" if error.message().is_some_and(|text| text.contains("kms:")) => {
            Some(Refusal::Unavailable)
        }
        "AccessDeniedException"
        | "ExpiredTokenException"
        | "IncompleteSignatureException"
        | "InvalidSignatureException"
        | "MissingAuthenticationTokenException"
        | "ResourceNotFoundException"
        | "UnrecognizedClientException"
        | "ValidationException" => Some(Refusal::Rejected),
        _ => None,
    }
}

/// What a failure means when nothing was written.
fn nothing_written<E: ProvideErrorMetadata>(failure: &SdkError<E>) -> StoreError {
    let rejected = failure.as_service_error().and_then(refusal) == Some(Refusal::Rejected);
    if rejected || matches!(failure, SdkError::ConstructionFailure(_)) {
        StoreError::Internal
    } else {
        StoreError::Unavailable
    }
}

fn log_failure<E: ProvideErrorMetadata>(
    failure: Option<&SdkError<E>>,
    error: StoreError,
    table: &str,
) {
    let code = failure.and_then(ProvideErrorMetadata::code).unwrap_or_default();
    let kind = failure.map_or("no response before the deadline", kind);
    let message = failure.and_then(ProvideErrorMetadata::message);
    error!(table, kind, code, "{}", what_to_check(error, message));
}

/// What an operator should know, and check. `message` is DynamoDB's.
fn what_to_check(error: StoreError, message: Option<&str>) -> &'static str {
    let too_large = message.is_some_and(|text| text.contains("Item size"));
    match error {
        StoreError::Undecided => {
            "DynamoDB gave no definite response: if that lasts, check the Region, the endpoint and \
             the network between"
        }
        StoreError::Unavailable => {
            "DynamoDB wrote nothing: if that lasts, check throttling, conflicting transactions, \
             the table's KMS key, the endpoint and the network between"
        }
        StoreError::Internal if too_large => {
            "DynamoDB wrote nothing: with the cancellation the item would exceed 400 KB"
        }
        StoreError::Internal => {
            "DynamoDB wrote nothing: check the table's name, the Region and the role's permissions"
        }
    }
}

fn kind<E>(failure: &SdkError<E>) -> &'static str {
    match failure {
        SdkError::ConstructionFailure(_) => "the request could not be built",
        SdkError::TimeoutError(_) => "timeout",
        SdkError::DispatchFailure(_) => "connection failed",
        SdkError::ResponseError(_) => "the response was cut short or unreadable",
        SdkError::ServiceError(_) | _ => "refused",
    }
}
