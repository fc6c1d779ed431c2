// One conditional UpdateItem without authentication, logs, timeouts or a second read: the least
// that moves the payment. Both arms on the SDK include it.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use lambda_runtime::{Error, LambdaEvent};
use serde_json::{Map, Value, json};

async fn cancel(client: &Client, event: LambdaEvent<Value>) -> Result<Value, Error> {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let id = event.payload["pathParameters"]["payment_id"].as_str().unwrap_or_default();
    let cancellation = HashMap::from([
        ("id".to_owned(), text("c_1")),
        ("token".to_owned(), text(&event.context.request_id)),
        ("fingerprint".to_owned(), text("0000000000000000")),
    ]);
    let output = client
        .update_item()
        .table_name("payments")
        .key("pk", text(&format!("hyperswitch#m_demo#{id}")))
        .update_expression(
            "SET #status = :canceled, canceled_at = :at, updated_at = :at, \
             cancellation = :cancellation",
        )
        .condition_expression(
            "#status IN (:from0, :from1, :from2, :from3) \
             AND (attribute_not_exists(manual_cancellation) OR manual_cancellation = :false) \
             AND attribute_type(amount, :N) AND attribute_type(currency, :S) \
             AND attribute_type(created_at, :S) \
             AND (attribute_not_exists(details) OR attribute_type(details, :M))",
        )
        .expression_attribute_names("#status", "status")
        .expression_attribute_values(":from0", text("requires_payment_method"))
        .expression_attribute_values(":from1", text("requires_capture"))
        .expression_attribute_values(":from2", text("requires_confirmation"))
        .expression_attribute_values(":from3", text("requires_customer_action"))
        .expression_attribute_values(":canceled", text("cancelled"))
        .expression_attribute_values(":at", text("2026-01-01T00:00:00.000Z"))
        .expression_attribute_values(":cancellation", AttributeValue::M(cancellation))
        .expression_attribute_values(":false", AttributeValue::Bool(false))
        .expression_attribute_values(":N", text("N"))
        .expression_attribute_values(":S", text("S"))
        .expression_attribute_values(":M", text("M"))
        .return_values(ReturnValue::AllNew)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .send()
        .await?;
    let item = output.attributes.unwrap_or_default();
    let body = Value::Object(object(&item));
    Ok(json!({
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": body.to_string(),
        "isBase64Encoded": false,
    }))
}

fn object(item: &HashMap<String, AttributeValue>) -> Map<String, Value> {
    item.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
}

fn plain(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => Value::String(text.clone()),
        AttributeValue::N(number) => number.parse().map_or(Value::Null, Value::Number),
        AttributeValue::Bool(flag) => Value::Bool(*flag),
        AttributeValue::L(list) => list.iter().map(plain).collect(),
        AttributeValue::M(map) => Value::Object(object(map)),
        _ => Value::Null,
    }
}
