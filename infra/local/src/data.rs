//! The demo data, and the tables it lies in.

use std::{collections::HashMap, env, time::Duration};

use anyhow::{Context, Result, bail};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    client::Waiters,
    error::ProvideErrorMetadata,
    types::{AttributeValue, KeysAndAttributes},
};
use serde::Deserialize;
use serde_json::Value;

use crate::{example::Cancel, serve::Endpoint, ui};

/// Whose the demo payments are.
const MERCHANT: &str = "m_demo";

/// How long a new table may take until it can be used; an embedded one is there at once.
const TABLE_IN: Duration = Duration::from_secs(60);

/// The most items that DynamoDB reads in one `BatchGetItem`.
const MOST_AT_ONCE: usize = 100;

/// A provider's file in `demo/`: how to cancel, as whom, and what. The items are plain JSON; a string is `S`, a number `N`, a boolean `BOOL`, an
/// array `L`, an object `M`, null `NULL`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Demo {
    /// A cancel as the provider wants it.
    pub(crate) cancel: Cancel,
    credentials: Vec<Value>,
    /// The first ones that can be canceled are the first ones to be shown.
    payments: Vec<Value>,
}

/// A demo payment as its table holds it.
pub(crate) struct Payment {
    /// The provider's id of it.
    pub(crate) id: String,
    /// The provider's own word.
    pub(crate) status: String,
}

/// Both tables, under the names that the functions use.
#[derive(Clone)]
pub(crate) struct Tables {
    client: Client,
    payments: String,
    credentials: String,
}

impl Tables {
    /// The tables that `PAYMENTS_TABLE` and `CREDENTIALS_TABLE` name, by default `payments` and `credentials`.
    pub(crate) fn new(config: &SdkConfig) -> Self {
        let table =
            |variable, default: &str| env::var(variable).unwrap_or_else(|_| default.to_owned());
        Self {
            client: Client::new(config),
            payments: table("PAYMENTS_TABLE", "payments"),
            credentials: table("CREDENTIALS_TABLE", "credentials"),
        }
    }

    /// Creates the tables and puts the demo items into them. What is there already stays as it is: a payment that was canceled yesterday is
    /// canceled.
    pub(crate) async fn fill(&self, endpoints: &[Endpoint]) -> Result<()> {
        let demos = || endpoints.iter().map(|endpoint| &endpoint.demo);
        let items = demos().map(|demo| demo.credentials.len() + demo.payments.len());
        let bar = ui::loading(items.sum());
        let names = [self.payments.as_str(), self.credentials.as_str()];
        embedded::create_tables(&self.client, names).await?;
        for name in names {
            self.client
                .wait_until_table_exists()
                .table_name(name)
                .wait(TABLE_IN)
                .await
                .with_context(|| format!("the table {name} cannot be used"))?;
        }
        bar.set_message("demo data");
        for demo in demos() {
            for item in &demo.credentials {
                self.put_if_absent(&self.credentials, item).await?;
                bar.inc(1);
            }
            for item in &demo.payments {
                self.put_if_absent(&self.payments, item).await?;
                bar.inc(1);
            }
        }
        Ok(())
    }

    async fn put_if_absent(&self, table: &str, item: &Value) -> Result<()> {
        let AttributeValue::M(item) = embedded::from_json(item) else {
            bail!("a demo item must be a JSON object");
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
            Err(failure) if failure.code() != Some("ConditionalCheckFailedException") => {
                Err(failure).with_context(|| format!("cannot write to the table {table}"))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The first of the provider's demo payments that can still be canceled.
    pub(crate) async fn next_cancelable(&self, endpoint: &Endpoint) -> Result<Option<Payment>> {
        for id in endpoint.demo_ids() {
            let item = self.payment(endpoint, &id).await?;
            if endpoint.cancelable(&item) {
                let status = text(&item, "status").to_owned();
                return Ok(Some(Payment { id, status }));
            }
        }
        Ok(None)
    }

    /// The payment's status right now; empty where it has none.
    pub(crate) async fn status(&self, endpoint: &Endpoint, id: &str) -> Result<String> {
        let item = self.payment(endpoint, id).await?;
        Ok(text(&item, "status").to_owned())
    }

    /// Every demo payment that is there, by its partition key.
    pub(crate) async fn payments(&self, endpoints: &[Endpoint]) -> Result<HashMap<String, Value>> {
        let mut keys: Vec<_> = endpoints
            .iter()
            .flat_map(|endpoint| endpoint.demo_ids().map(|id| endpoint.pk(&id)))
            .map(|pk| HashMap::from([("pk".to_owned(), AttributeValue::S(pk))]))
            .collect();
        let mut found = HashMap::new();
        // What one answer has no room for is asked for again.
        while !keys.is_empty() {
            let rest = keys.split_off(keys.len().min(MOST_AT_ONCE));
            let asked = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .consistent_read(true)
                .build()?;
            let output = self
                .client
                .batch_get_item()
                .request_items(&self.payments, asked)
                .send()
                .await
                .with_context(|| format!("cannot read the table {}", self.payments))?;
            for (_, items) in output.responses.into_iter().flatten() {
                let items = items
                    .into_iter()
                    .map(|item| embedded::to_json(&AttributeValue::M(item)));
                found.extend(items.map(|item| (text(&item, "pk").to_owned(), item)));
            }
            let left = output.unprocessed_keys.into_iter().flatten();
            keys = left.flat_map(|(_, asked)| asked.keys).chain(rest).collect();
        }
        Ok(found)
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

    async fn payment(&self, endpoint: &Endpoint, id: &str) -> Result<Value> {
        let pk = endpoint.pk(id);
        let output = self
            .client
            .get_item()
            .table_name(&self.payments)
            .key("pk", AttributeValue::S(pk))
            .consistent_read(true)
            .send()
            .await
            .with_context(|| format!("cannot read the table {}", self.payments))?;
        let item = output.item.unwrap_or_default();
        Ok(embedded::to_json(&AttributeValue::M(item)))
    }
}

impl Endpoint {
    /// The ids of the demo payments, in their file's order.
    pub(crate) fn demo_ids(&self) -> impl Iterator<Item = String> {
        let prefix = self.prefix();
        self.demo
            .payments
            .iter()
            .filter_map(move |item| Some(text(item, "pk").strip_prefix(&prefix)?.to_owned()))
    }

    /// The partition key of a demo payment.
    pub(crate) fn pk(&self, id: &str) -> String {
        format!("{}{id}", self.prefix())
    }

    /// Whether a cancel of this item would succeed now.
    pub(crate) fn cancelable(&self, item: &Value) -> bool {
        let manual = item.get("manual_cancellation") == Some(&Value::Bool(true));
        self.statuses.cancelable.contains(&text(item, "status")) && !manual
    }

    /// What the demo payments' partition keys begin with.
    fn prefix(&self) -> String {
        format!("{}#{MERCHANT}#", self.name)
    }
}

fn text<'a>(item: &'a Value, name: &str) -> &'a str {
    item.get(name).and_then(Value::as_str).unwrap_or_default()
}
