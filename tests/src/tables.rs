//! Both tables in DynamoDB's engine, without a server: a test reads and writes them without a
//! request.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use dynoxide::{AttributeValue, Database, DynoxideError};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::golden::Given;

/// Both tables, in memory.
#[derive(Clone)]
pub struct Tables(Database);

impl Tables {
    /// Two empty tables, `payments` and `credentials`.
    ///
    /// # Errors
    /// If the engine does not start.
    pub fn new() -> Result<Self> {
        let tables = Self(Database::memory()?);
        for name in ["payments", "credentials"] {
            tables.0.create_table(read(json!({
                "TableName": name,
                "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
                "BillingMode": "PAY_PER_REQUEST",
            }))?)?;
        }
        Ok(tables)
    }

    /// Puts a plain JSON object into a table, over whatever was there.
    ///
    /// # Errors
    /// If it is not an item.
    pub fn put(&self, table: &str, item: &Value) -> Result<()> {
        let AttributeValue::M(item) = stored(item) else {
            bail!("an item must be a JSON object: {item}");
        };
        let request = json!({"TableName": table, "Item": item});
        self.0.put_item(read(request)?)?;
        Ok(())
    }

    /// Puts these items into their tables.
    ///
    /// # Errors
    /// If one is not an item.
    pub fn give(&self, given: &Given) -> Result<()> {
        for item in &given.credentials {
            self.put("credentials", item)?;
        }
        for item in &given.payments {
            self.put("payments", item)?;
        }
        Ok(())
    }

    /// Removes the item under that partition key, if there is one.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn delete(&self, table: &str, pk: &str) -> Result<()> {
        let request = json!({"TableName": table, "Key": {"pk": {"S": pk}}});
        self.0.delete_item(read(request)?)?;
        Ok(())
    }

    /// The item under that partition key, as plain JSON.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn get(&self, table: &str, pk: &str) -> Result<Option<Value>> {
        let request = json!({"TableName": table, "Key": {"pk": {"S": pk}}});
        let found = self.0.get_item(read(request)?)?.item;
        Ok(found.map(|item| plain(&AttributeValue::M(item))))
    }

    /// Every item of a table, as plain JSON, in no order.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn scan(&self, table: &str) -> Result<Vec<Value>> {
        let found = self.0.scan(read(json!({"TableName": table}))?)?.items;
        let items = found.unwrap_or_default().into_iter();
        Ok(items.map(|item| plain(&AttributeValue::M(item))).collect())
    }

    /// Empties both.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn empty(&self) -> Result<()> {
        for table in ["payments", "credentials"] {
            for item in self.scan(table)? {
                let pk = item["pk"].as_str().context("an item has no pk")?;
                self.delete(table, pk)?;
            }
        }
        Ok(())
    }

    /// Drops a table.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn drop_table(&self, table: &str) -> Result<()> {
        self.0.delete_table(read(json!({"TableName": table}))?)?;
        Ok(())
    }

    /// Moves a payment to `status` as another service must: on condition that it is still in the
    /// status `seen`. `Err` has the payment as it was.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn move_on(&self, pk: &str, seen: &str, status: &str) -> Result<Result<(), Option<Value>>> {
        let request = json!({
            "TableName": "payments",
            "Key": {"pk": {"S": pk}},
            "UpdateExpression": "SET #s = :to",
            "ConditionExpression": "#s = :seen",
            "ExpressionAttributeNames": {"#s": "status"},
            "ExpressionAttributeValues": {":seen": {"S": seen}, ":to": {"S": status}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        });
        match self.0.update_item(read(request)?) {
            Ok(_) => Ok(Ok(())),
            Err(DynoxideError::ConditionalCheckFailedException(_, item)) => {
                Ok(Err(item.map(|item| plain(&AttributeValue::M(item)))))
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// DynamoDB's response to a request over HTTP: status and body. A function needs these two
    /// operations, and has no right to others.
    ///
    /// # Errors
    /// If the request is neither.
    pub fn respond(&self, operation: &str, body: &str) -> Result<(u16, String)> {
        let responded = match operation {
            "GetItem" => response(self.0.get_item(serde_json::from_str(body)?)),
            "UpdateItem" => response(self.0.update_item(serde_json::from_str(body)?)),
            other => bail!("{other} is not an operation that a function has a right to"),
        };
        Ok(responded)
    }
}

fn read<T: DeserializeOwned>(request: Value) -> Result<T> {
    Ok(serde_json::from_value(request)?)
}

fn response(made: Result<impl Serialize, DynoxideError>) -> (u16, String) {
    match made {
        Ok(output) => (200, json!(output).to_string()),
        Err(failure) => (failure.status_code(), failure.to_json()),
    }
}

/// Plain JSON as it is stored.
fn stored(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::NULL(true),
        Value::Bool(flag) => AttributeValue::BOOL(*flag),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Array(list) => AttributeValue::L(list.iter().map(stored).collect()),
        Value::Object(map) => {
            let members = map.iter().map(|(name, value)| (name.clone(), stored(value)));
            AttributeValue::M(members.collect::<HashMap<_, _>>())
        }
    }
}

/// The inverse. Sets and binaries, which plain JSON lacks, stay as DynamoDB writes them.
fn plain(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!(text),
        AttributeValue::N(number) => number.parse().map_or(Value::Null, Value::Number),
        AttributeValue::BOOL(flag) => json!(flag),
        AttributeValue::NULL(_) => Value::Null,
        AttributeValue::L(list) => list.iter().map(plain).collect(),
        AttributeValue::M(map) => {
            let members = map.iter().map(|(name, value)| (name.clone(), plain(value)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        AttributeValue::B(_)
        | AttributeValue::SS(_)
        | AttributeValue::NS(_)
        | AttributeValue::BS(_) => json!(value),
    }
}
