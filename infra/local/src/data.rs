//! The tables, and the demo data in them.

use std::{collections::HashMap, env, time::Duration};

use anyhow::{Context, Result, bail};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    client::Waiters,
    error::{ProvideErrorMetadata, SdkError},
    operation::update_item::UpdateItemError,
    types::{AttributeValue, KeysAndAttributes, ReturnValuesOnConditionCheckFailure},
};
use indicatif::ProgressBar;
use serde_json::Value;
use shared::clock::{Timestamp, milliseconds};

use crate::endpoint::{Endpoint, text};

/// How long a new table may take until it can be used; an embedded one is there at once.
const TABLE_READY_IN: Duration = Duration::from_secs(60);

/// The most items that DynamoDB reads in one `BatchGetItem`.
const MOST_IN_A_BATCH: usize = 100;

/// Both tables, under the names that the functions use.
#[derive(Clone)]
pub(crate) struct Tables {
    /// The client of DynamoDB.
    pub(crate) client: Client,
    /// `PAYMENTS_TABLE`.
    pub(crate) payments: String,
    /// `CREDENTIALS_TABLE`.
    pub(crate) credentials: String,
}

impl Tables {
    /// The tables that `PAYMENTS_TABLE` and `CREDENTIALS_TABLE` name, by default `payments` and
    /// `credentials`.
    pub(crate) fn new(config: &SdkConfig) -> Self {
        let table =
            |variable, default: &str| env::var(variable).unwrap_or_else(|_| default.to_owned());
        Self {
            client: Client::new(config),
            payments: table("PAYMENTS_TABLE", "payments"),
            credentials: table("CREDENTIALS_TABLE", "credentials"),
        }
    }

    /// Creates the tables where they are missing, and waits until they can be used.
    pub(crate) async fn create(&self) -> Result<()> {
        let names = [self.payments.as_str(), self.credentials.as_str()];
        embedded::create_tables(&self.client, names).await?;
        for name in names {
            self.client
                .wait_until_table_exists()
                .table_name(name)
                .wait(TABLE_READY_IN)
                .await
                .with_context(|| format!("the table {name} cannot be used"))?;
        }
        Ok(())
    }

    /// Puts the demo items into the tables. What is there already stays as it is: a payment that
    /// was canceled yesterday is canceled.
    pub(crate) async fn fill(&self, endpoints: &[Endpoint], progress: &ProgressBar) -> Result<()> {
        progress.set_message("demo data");
        for demo in endpoints.iter().map(|endpoint| &endpoint.demo) {
            for item in &demo.credentials {
                self.put_if_absent(&self.credentials, item).await?;
                progress.inc(1);
            }
            for item in &demo.payments {
                self.put_if_absent(&self.payments, item).await?;
                progress.inc(1);
            }
        }
        Ok(())
    }

    async fn put_if_absent(&self, table: &str, item: &Value) -> Result<bool> {
        let AttributeValue::M(item) = embedded::from_json(item) else {
            bail!("an item must be a JSON object");
        };
        let put = self
            .client
            .put_item()
            .table_name(table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await;
        match put {
            Ok(_) => Ok(true),
            Err(failure) if failure.code() == Some("ConditionalCheckFailedException") => Ok(false),
            Err(failure) => {
                Err(failure).with_context(|| format!("cannot write to the table {table}"))
            }
        }
    }

    /// Whether the store returns the item of a failed condition. Without it, every refused cancel
    /// would get "not found". Checked with an update that changes nothing.
    pub(crate) async fn returns_refused_items(&self, endpoints: &[Endpoint]) -> Result<bool> {
        let Some(pk) = endpoints.iter().find_map(first_demo_pk) else {
            return Ok(true);
        };
        let updated = self
            .client
            .update_item()
            .table_name(&self.payments)
            .key("pk", AttributeValue::S(pk))
            .update_expression("SET #status = #status")
            .condition_expression("attribute_not_exists(pk)")
            .expression_attribute_names("#status", "status")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match updated.map_err(SdkError::into_service_error) {
            Err(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                Ok(refused.item.is_some())
            }
            Ok(_) => bail!("the condition of an update was ignored"),
            Err(failure) => {
                Err(failure).with_context(|| format!("cannot update the table {}", self.payments))
            }
        }
    }

    /// The first of the provider's demo payments that can still be canceled, and its status.
    pub(crate) async fn next_cancelable(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Option<(String, String)>> {
        for id in endpoint.demo_ids() {
            let item = self.payment(endpoint, &id).await?;
            if endpoint.cancelable(&item) {
                return Ok(Some((id, text(&item, "status").to_owned())));
            }
        }
        Ok(None)
    }

    /// The payment as it is now; null where it is not there.
    pub(crate) async fn payment(&self, endpoint: &Endpoint, id: &str) -> Result<Value> {
        let output = self
            .client
            .get_item()
            .table_name(&self.payments)
            .key("pk", AttributeValue::S(endpoint.pk(id)))
            .consistent_read(true)
            .send()
            .await
            .with_context(|| format!("cannot read the table {}", self.payments))?;
        let item = output.item.map(AttributeValue::M);
        Ok(item.map_or(Value::Null, |item| embedded::to_json(&item)))
    }

    /// Every payment of the table, by its partition key.
    pub(crate) async fn all_payments(&self) -> Result<HashMap<String, Value>> {
        let items = embedded::scan(&self.client, &self.payments).await?;
        Ok(by_key(items).collect())
    }

    /// The demo payments that are there, by their partition key.
    pub(crate) async fn demo_payments(
        &self,
        endpoints: &[Endpoint],
    ) -> Result<HashMap<String, Value>> {
        let mut keys: Vec<_> = endpoints
            .iter()
            .flat_map(|endpoint| endpoint.demo_ids().map(|id| endpoint.pk(&id)))
            .map(|pk| HashMap::from([("pk".to_owned(), AttributeValue::S(pk))]))
            .collect();
        let mut found = HashMap::new();
        // What one response has no room for is requested again.
        while !keys.is_empty() {
            let rest = keys.split_off(keys.len().min(MOST_IN_A_BATCH));
            let batch =
                KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build()?;
            let output = self
                .client
                .batch_get_item()
                .request_items(&self.payments, batch)
                .send()
                .await
                .with_context(|| format!("cannot read the table {}", self.payments))?;
            for (_, items) in output.responses.into_iter().flatten() {
                let items = items.into_iter().map(AttributeValue::M);
                found.extend(by_key(items.map(|item| embedded::to_json(&item))));
            }
            let left = output.unprocessed_keys.into_iter().flatten();
            keys = left.flat_map(|(_, batch)| batch.keys).chain(rest).collect();
        }
        Ok(found)
    }

    /// Adds a payment: one of the provider's demo payments, with another id, status and amount.
    /// False where there is one with that id.
    pub(crate) async fn add(&self, endpoint: &Endpoint, payment: &NewPayment) -> Result<bool> {
        let mut item = endpoint.demo.payments.first().cloned().unwrap_or_default();
        let now = milliseconds(Timestamp::now());
        if let Some(item) = item.as_object_mut() {
            item.retain(|name, _| name != "canceled_at" && name != "cancellation");
            item.insert("pk".to_owned(), endpoint.pk(&payment.id).into());
            item.insert("status".to_owned(), payment.status.as_str().into());
            item.insert("created_at".to_owned(), now.as_str().into());
            item.insert("updated_at".to_owned(), now.as_str().into());
            if let Some(amount) = payment.amount {
                item.insert("amount".to_owned(), amount.into());
            }
            if let Some(currency) = &payment.currency {
                item.insert("currency".to_owned(), currency.as_str().into());
            }
        }
        self.put_if_absent(&self.payments, &item).await
    }

    /// Moves a payment's status as every other writer must, a capture for one: only where it is
    /// still the one that was seen. False where it is not.
    pub(crate) async fn move_status(
        &self,
        endpoint: &Endpoint,
        id: &str,
        from: &str,
        to: &str,
    ) -> Result<bool> {
        let moved = self
            .client
            .update_item()
            .table_name(&self.payments)
            .key("pk", AttributeValue::S(endpoint.pk(id)))
            .update_expression("SET #status = :to, updated_at = :now")
            .condition_expression("#status = :from")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":from", AttributeValue::S(from.to_owned()))
            .expression_attribute_values(":to", AttributeValue::S(to.to_owned()))
            .expression_attribute_values(":now", AttributeValue::S(milliseconds(Timestamp::now())))
            .send()
            .await;
        match moved {
            Ok(_) => Ok(true),
            Err(failure) if failure.code() == Some("ConditionalCheckFailedException") => Ok(false),
            Err(failure) => {
                Err(failure).with_context(|| format!("cannot update the table {}", self.payments))
            }
        }
    }

    /// Puts every demo payment as its file has it, over whatever has become of it.
    pub(crate) async fn reset(&self, endpoints: &[Endpoint]) -> Result<()> {
        for demo in endpoints.iter().map(|endpoint| &endpoint.demo) {
            for item in &demo.payments {
                embedded::put(&self.client, &self.payments, item).await?;
            }
        }
        Ok(())
    }
}

/// A payment to add.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPayment {
    /// The provider's id of it.
    pub(crate) id: String,
    /// The provider's own status.
    pub(crate) status: String,
    /// In minor units; the demo payment's where it is not given.
    pub(crate) amount: Option<i64>,
    /// The demo payment's where it is not given.
    pub(crate) currency: Option<String>,
}

fn first_demo_pk(endpoint: &Endpoint) -> Option<String> {
    endpoint.demo_ids().next().map(|id| endpoint.pk(&id))
}

fn by_key(items: impl IntoIterator<Item = Value>) -> impl Iterator<Item = (String, Value)> {
    items.into_iter().map(|item| (text(&item, "pk").to_owned(), item))
}
