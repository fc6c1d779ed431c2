//! A DynamoDB in this process, with both tables as `infra` defines them, for the one-machine stack
//! and the tests.
//!
//! The engine is dynoxide, DynamoDB's API on SQLite. The real AWS SDK calls it over HTTP.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    client::Waiters,
    config::{Credentials, Region, SharedCredentialsProvider, timeout::TimeoutConfig},
    error::ProvideErrorMetadata,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
        ScalarAttributeType, TimeToLiveSpecification,
    },
};
use serde_json::Value;
use shared::store::dynamodb::{behavior_version, http_client};
use tokio::net::TcpListener;

/// An item of a table, as DynamoDB has it.
pub type Item = HashMap<String, AttributeValue>;

/// How long a test waits for its own calls to the tables, and for a new table.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Starts DynamoDB on `address` (port 0 for any free one), on this runtime, until the process ends.
/// With `data` the tables are kept in that folder, otherwise in memory.
///
/// # Errors
/// If the address is taken or the folder cannot be used; the message names it.
pub async fn start(address: SocketAddr, data: Option<&Path>) -> Result<SocketAddr> {
    let database = match data {
        None => dynoxide::Database::memory().context("the embedded DynamoDB did not start")?,
        Some(folder) => {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot create the data folder {}", folder.display()))?;
            let file = folder.join("dynamodb.sqlite");
            dynoxide::Database::new(&file.to_string_lossy()).with_context(|| {
                format!("cannot open {}; is another process using it?", file.display())
            })?
        }
    };
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; choose another port"))?;
    let address = listener.local_addr()?;
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    Ok(address)
}

/// A DynamoDB on any free port, in memory, with both tables under their default names, and a client
/// of it.
///
/// # Errors
/// If no port is free.
pub async fn with_tables() -> Result<(SocketAddr, Client)> {
    let address = start(SocketAddr::from(([127, 0, 0, 1], 0)), None).await?;
    // The functions' timeouts are short, and a machine that runs many tests at once may stall for
    // longer.
    let patient = TimeoutConfig::builder()
        .connect_timeout(TIMEOUT)
        .read_timeout(TIMEOUT)
        .operation_attempt_timeout(TIMEOUT)
        .operation_timeout(TIMEOUT)
        .build();
    let config = config(&format!("http://{address}"));
    let config = aws_sdk_dynamodb::config::Builder::from(&config).timeout_config(patient);
    let client = Client::from_conf(config.build());
    create_tables(&client, ["payments", "credentials"]).await?;
    Ok((address, client))
}

/// The functions' own SDK configuration, pointed at `endpoint_url`, with credentials and a Region
/// that an emulator takes.
pub fn config(endpoint_url: &str) -> SdkConfig {
    let credentials = Credentials::new("local", "local", None, None, "embedded");
    SdkConfig::builder()
        .behavior_version(behavior_version())
        .http_client(http_client())
        .endpoint_url(endpoint_url)
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

/// Creates both tables, payments and credentials, if they are missing: on demand, partition key
/// `pk`, no sort key. DynamoDB deletes expired used signatures.
///
/// # Errors
/// If DynamoDB refuses or does not respond.
pub async fn create_tables(client: &Client, names: [&str; 2]) -> Result<()> {
    let [payments, _] = names;
    for name in names {
        let key =
            KeySchemaElement::builder().attribute_name("pk").key_type(KeyType::Hash).build()?;
        let attribute = AttributeDefinition::builder()
            .attribute_name("pk")
            .attribute_type(ScalarAttributeType::S)
            .build()?;
        let created = client
            .create_table()
            .table_name(name)
            .key_schema(key)
            .attribute_definitions(attribute)
            .billing_mode(BillingMode::PayPerRequest)
            .send()
            .await;
        match created {
            Err(failure) if failure.code() != Some("ResourceInUseException") => {
                return Err(failure).with_context(|| format!("cannot create the table {name}"));
            }
            Ok(_) if name == payments => forget_signatures(client, payments).await?,
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// Has the new payments table delete what has a time in `signature_expires_at`, some time after it.
async fn forget_signatures(client: &Client, payments: &str) -> Result<()> {
    let wait = client.wait_until_table_exists().table_name(payments);
    wait.wait(TIMEOUT).await.with_context(|| format!("the table {payments} cannot be used"))?;
    let ends = TimeToLiveSpecification::builder()
        .attribute_name("signature_expires_at")
        .enabled(true)
        .build()?;
    client
        .update_time_to_live()
        .table_name(payments)
        .time_to_live_specification(ends)
        .send()
        .await
        .with_context(|| format!("cannot let signatures end in the table {payments}"))?;
    Ok(())
}

/// Puts a plain JSON object into a table, and replaces an existing item.
///
/// # Errors
/// If `item` is not an object, or DynamoDB refuses or does not respond.
pub async fn put(client: &Client, table: &str, item: &Value) -> Result<()> {
    let AttributeValue::M(item) = from_json(item) else {
        bail!("an item must be a JSON object");
    };
    client
        .put_item()
        .table_name(table)
        .set_item(Some(item))
        .send()
        .await
        .with_context(|| format!("cannot write to the table {table}"))?;
    Ok(())
}

/// Removes the item under that partition key, if there is one.
///
/// # Errors
/// If DynamoDB refuses or does not respond.
pub async fn delete(client: &Client, table: &str, pk: &str) -> Result<()> {
    let pk = AttributeValue::S(pk.to_owned());
    let deleted = client.delete_item().table_name(table).key("pk", pk).send().await;
    deleted.with_context(|| format!("cannot write to the table {table}"))?;
    Ok(())
}

/// Every item of a table, as plain JSON, in no order.
///
/// # Errors
/// If DynamoDB refuses or does not respond.
pub async fn scan(client: &Client, table: &str) -> Result<Vec<Value>> {
    let items = client
        .scan()
        .table_name(table)
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<_>, _>>()
        .await;
    let items = items.with_context(|| format!("cannot read the table {table}"))?;
    Ok(items.into_iter().map(|item| to_json(&AttributeValue::M(item))).collect())
}

/// A stored value as plain JSON: the way back of [`put`].
#[must_use]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the SDK's enum has a private variant for what it does not know"
)]
pub fn to_json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => Value::String(text.clone()),
        AttributeValue::N(number) => number.parse().map_or(Value::Null, Value::Number),
        AttributeValue::Bool(flag) => Value::Bool(*flag),
        AttributeValue::L(list) => list.iter().map(to_json).collect(),
        // Sorted, because serde_json keeps the order of insertion where any package of a build asks
        // for that, and the SDK's has none.
        AttributeValue::M(map) => Value::Object(
            map.iter()
                .map(|(name, value)| (name.clone(), to_json(value)))
                .collect::<BTreeMap<_, _>>()
                .into_iter()
                .collect(),
        ),
        _ => Value::Null,
    }
}

/// Plain JSON as a stored value: a string becomes `S`, a number `N`, a boolean `BOOL`, an array
/// `L`, an object `M`, null `NULL`.
#[must_use]
pub fn from_json(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(flag) => AttributeValue::Bool(*flag),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Array(list) => AttributeValue::L(list.iter().map(from_json).collect()),
        Value::Object(map) => AttributeValue::M(
            map.iter().map(|(name, value)| (name.clone(), from_json(value))).collect(),
        ),
    }
}
