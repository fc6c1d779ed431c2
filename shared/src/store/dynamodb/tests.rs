use std::time::Duration;

use aws_sdk_dynamodb::{
    config::{Credentials as Keys, Region, SharedCredentialsProvider},
    error::ErrorMetadata,
};
use aws_smithy_http_client::test_util::{ReplayEvent, StaticReplayClient};
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::{
    auth::{Authenticator, Credential},
    cancel::PaymentKey,
    clock::Timestamp,
    payment::{Cancellation, Payment, Statuses},
    store::memory::MemoryStore,
};

const STATUSES: Statuses = Statuses { cancelable: &["open", "held"], canceled: "canceled" };

async fn transition() -> Transition {
    let store = MemoryStore::default();
    let record =
        CredentialRecord { merchant_id: "m".into(), active: true, ..CredentialRecord::default() };
    store.put_credential("p#id", record);
    let merchant = Authenticator::new(Duration::ZERO, false)
        .authenticate(&store, "p", &Credential::public("id"), Timestamp::MIN, &budget())
        .await
        .unwrap();
    Transition {
        key: PaymentKey::new("p", &merchant, "1".into()),
        statuses: STATUSES,
        required: &[Attribute::Amount, Attribute::Currency],
        at: "2024-01-01T00:00:00.000Z".into(),
        cancellation: Cancellation {
            id: "c".into(),
            token: "t".into(),
            fingerprint: "f".into(),
            reason: Some("because".into()),
        },
    }
}

fn budget() -> Budget {
    Budget::until(Instant::now() + Duration::from_millis(4500))
}

/// DynamoDB's error of that name.
fn error(status: u16, code: &str, message: &str) -> (u16, Value) {
    let name = format!("com.amazonaws.dynamodb.v20120810#{code}");
    (status, json!({ "__type": name, "message": message }))
}

fn lost() -> (u16, Value) {
    error(500, "InternalServerError", "")
}

fn written() -> (u16, Value) {
    let cancellation = json!({"M": {"id": {"S": "c"}, "token": {"S": "t"},
        "fingerprint": {"S": "f"}, "reason": {"S": "because"}}});
    let item = json!({"status": {"S": "canceled"}, "cancellation": cancellation});
    (200, json!({ "Attributes": item }))
}

fn condition_failed(item: Value) -> (u16, Value) {
    let (status, mut body) = error(400, "ConditionalCheckFailedException", "");
    body["Item"] = item;
    (status, body)
}

/// A store whose calls get these responses in order.
fn store(responses: Vec<(u16, Value)>) -> (DynamoDb, StaticReplayClient) {
    store_at(None, responses)
}

/// The same store, whose clock says this.
fn store_at(date: Option<&str>, responses: Vec<(u16, Value)>) -> (DynamoDb, StaticReplayClient) {
    let events = responses.into_iter().map(|(status, body)| {
        let mut response = http::Response::builder().status(status);
        if let Some(date) = date {
            response = response.header("date", date);
        }
        let response = response.body(SdkBody::from(body.to_string())).unwrap();
        ReplayEvent::new(http::Request::new(SdkBody::empty()), response)
    });
    let client = StaticReplayClient::new(events.collect());
    let keys = Keys::new("id", "secret", None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(behavior_version())
        .http_client(client.clone())
        .region(Region::from_static("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .build();
    (DynamoDb::new(&config, Tables::default()), client)
}

/// The outcome of these responses, and the number of attempts.
async fn outcome(responses: Vec<(u16, Value)>) -> (Result<TransitionResult, StoreError>, u64) {
    let (store, _) = store(responses);
    let budget = budget();
    let result = store.transition(&transition().await, &budget).await;
    (result, budget.attempts())
}

fn made(result: &Result<TransitionResult, StoreError>) -> bool {
    matches!(result, Ok(TransitionResult::Transitioned(_)))
}

#[tokio::test]
async fn the_write_is_one_update_with_its_whole_condition() {
    let (store, client) = store(vec![written()]);
    assert!(made(&store.transition(&transition().await, &budget()).await));
    let sent = client.actual_requests().next().unwrap();
    let body: Value = serde_json::from_slice(sent.body().bytes().unwrap()).unwrap();
    assert_eq!(
        body,
        json!({
            "TableName": "payments",
            "Key": {"pk": {"S": "p#m#1"}},
            "UpdateExpression": "SET #status = :canceled, canceled_at = :at, updated_at = :at, \
                cancellation = :cancellation",
            "ConditionExpression": "#status IN (:from0, :from1) \
                AND (attribute_not_exists(manual_cancellation) OR manual_cancellation = :false \
                OR attribute_type(manual_cancellation, :NULL)) \
                AND (attribute_not_exists(cancellation.#token)) \
                AND attribute_type(amount, :N) AND attribute_type(currency, :S)",
            "ExpressionAttributeNames": {"#status": "status", "#token": "token"},
            "ExpressionAttributeValues": {
                ":from0": {"S": "open"}, ":from1": {"S": "held"}, ":canceled": {"S": "canceled"},
                ":at": {"S": "2024-01-01T00:00:00.000Z"},
                ":false": {"BOOL": false}, ":NULL": {"S": "NULL"}, ":N": {"S": "N"},
                ":S": {"S": "S"},
                ":cancellation": {"M": {"id": {"S": "c"}, "token": {"S": "t"},
                    "fingerprint": {"S": "f"}, "reason": {"S": "because"}}},
            },
            "ReturnValues": "ALL_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        })
    );
}

#[tokio::test]
async fn a_cancel_after_a_reopening_keeps_every_earlier_cancellation() {
    let made = |name| {
        let text = json!({ "S": name });
        json!({"M": {"id": text, "token": text, "fingerprint": text}})
    };
    let mut last = made("second");
    last["M"]["reason"] = json!({"S": "because"});
    last["M"]["earlier"] = json!({"L": [made("first")]});
    let item = json!({"status": {"S": "open"}, "cancellation": last});
    let (store, client) = store(vec![condition_failed(item), written()]);
    assert!(self::made(&store.transition(&transition().await, &budget()).await));
    let sent = client.actual_requests().nth(1).unwrap();
    let body: Value = serde_json::from_slice(sent.body().bytes().unwrap()).unwrap();
    let condition = body["ConditionExpression"].as_str().unwrap();
    assert!(
        condition.contains("(attribute_not_exists(cancellation.#token) OR cancellation = :last)")
    );
    let values = &body["ExpressionAttributeValues"];
    assert_eq!(values[":last"], last);
    let earlier = &values[":cancellation"]["M"]["earlier"];
    assert_eq!(*earlier, json!({"L": [made("first"), made("second")]}));
}

#[tokio::test]
async fn a_credential_is_read_consistently() {
    let (store, client) = store(vec![(200, json!({}))]);
    assert_eq!(store.find("p#id", &budget()).await, Ok(None));
    let sent = client.actual_requests().next().unwrap();
    let body: Value = serde_json::from_slice(sent.body().bytes().unwrap()).unwrap();
    assert_eq!(body["ConsistentRead"], true);
    assert_eq!(body["Key"], json!({"pk": {"S": "p#id"}}));
}

#[test]
fn an_item_that_would_exceed_400_kb_is_named() {
    let message = "Item size to update has exceeded the maximum allowed size";
    for (message, named) in [(message, true), ("The table does not have…", false)] {
        let words = what_to_check(StoreError::Internal, Some(message));
        assert_eq!(words.contains("would exceed 400 KB"), named, "{words}");
    }
}

#[test]
fn refusals_are_exactly_these() {
    let refusal = |code: &str, message: &str| {
        refusal(&ErrorMetadata::builder().code(code).message(message).build())
    };
    for (code, expected) in [
        ("ConditionalCheckFailedException", Some(Refusal::Condition)),
        ("KMSDisabledException", Some(Refusal::Unavailable)),
        ("ProvisionedThroughputExceededException", Some(Refusal::Unavailable)),
        ("ReplicatedWriteConflictException", Some(Refusal::Unavailable)),
        ("RequestLimitExceeded", Some(Refusal::Unavailable)),
        ("ThrottlingException", Some(Refusal::Unavailable)),
        ("TransactionConflictException", Some(Refusal::Unavailable)),
        ("AccessDeniedException", Some(Refusal::Rejected)),
        ("ExpiredTokenException", Some(Refusal::Rejected)),
        ("IncompleteSignatureException", Some(Refusal::Rejected)),
        ("InvalidSignatureException", Some(Refusal::Rejected)),
        ("MissingAuthenticationTokenException", Some(Refusal::Rejected)),
        ("ResourceNotFoundException", Some(Refusal::Rejected)),
        ("UnrecognizedClientException", Some(Refusal::Rejected)),
        ("ValidationException", Some(Refusal::Rejected)),
        ("InternalServerError", None),
        ("InternalFailure", None),
        ("ServiceUnavailable", None),
        ("ItemCollectionSizeLimitExceededException", None),
        ("RequestTimeout", None),
        ("UnknownError", None),
        ("", None),
    ] {
        assert_eq!(refusal(code, "…"), expected, "{code}");
    }
    let denied = "not authorized to perform: kms:Decrypt on the resource";
    assert_eq!(refusal("AccessDeniedException", denied), Some(Refusal::Unavailable));
    assert_eq!(super::refusal(&ErrorMetadata::builder().build()), None);
}

#[tokio::test(start_paused = true)]
async fn conflicts_and_throttling_are_retried() {
    for code in [
        "TransactionConflictException",
        "ReplicatedWriteConflictException",
        "ThrottlingException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
    ] {
        let refused = || error(400, code, "");
        let mut responses = vec![refused(); 5];
        responses.push(written());
        let (result, attempts) = outcome(responses).await;
        assert!(made(&result), "{code}: {result:?}");
        assert_eq!(attempts, 6, "{code}");
        let (result, attempts) = outcome(vec![refused(); 6]).await;
        assert_eq!(result, Err(StoreError::Unavailable), "{code}");
        assert_eq!(attempts, 6, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_certainly_not_written_is_not_undecided() {
    for (refused, expected) in [
        (error(400, "AccessDeniedException", "…"), StoreError::Internal),
        (error(400, "ValidationException", "Item size to update has…"), StoreError::Internal),
        (error(400, "ResourceNotFoundException", "…"), StoreError::Internal),
        (error(400, "KMSDisabledException", "…"), StoreError::Unavailable),
        (error(400, "AccessDeniedException", "… kms:Decrypt …"), StoreError::Unavailable),
    ] {
        let shown = refused.1.to_string();
        assert_eq!(outcome(vec![refused]).await, (Err(expected), 1), "{shown}");
    }
}

/// Lambda's clock may drift, and DynamoDB refuses a signature of another time.
#[tokio::test(start_paused = true)]
async fn a_signature_of_the_wrong_time_is_made_again_at_dynamodbs() {
    let refused = error(400, "InvalidSignatureException", "Signature expired: …");
    let date = Some("Sat, 01 Jan 2050 12:00:00 GMT");
    let (store, client) = store_at(date, vec![refused, written()]);
    assert!(made(&store.transition(&transition().await, &budget()).await));
    let dates = client.actual_requests();
    let dates = dates.map(|sent| sent.headers().get("x-amz-date").unwrap());
    let in_2050: Vec<_> = dates.map(|date| date.starts_with("20500101T")).collect();
    assert_eq!(in_2050, [false, true]);
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_response_no_error_decides() {
    for refused in [
        error(400, "AccessDeniedException", "…"),
        error(400, "ExpiredTokenException", "…"),
        error(400, "ValidationException", "…"),
        error(400, "KMSDisabledException", "…"),
    ] {
        let shown = refused.1.to_string();
        let (result, attempts) = outcome(vec![lost(), refused]).await;
        assert_eq!(result, Err(StoreError::Undecided), "{shown}");
        assert_eq!(attempts, 2, "{shown}");
    }
    let mut throttled = vec![lost()];
    throttled.extend(vec![error(400, "ThrottlingException", ""); 5]);
    assert_eq!(outcome(throttled).await, (Err(StoreError::Undecided), 6));
    assert_eq!(outcome(vec![lost(); 6]).await, (Err(StoreError::Undecided), 6));
    assert!(made(&outcome(vec![lost(), written()]).await.0));
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_no_proof_is_undecided() {
    let other = json!({"Attributes": {"status": {"S": "canceled"}}});
    for body in [json!({}), json!({"Attributes": {}}), other] {
        let (result, _) = outcome(vec![(200, body.clone())]).await;
        assert_eq!(result, Err(StoreError::Undecided), "{body}");
    }
}

/// The payment that a failed condition returned with this item, or the error.
async fn found(item: Value) -> Result<Option<Payment>, StoreError> {
    match outcome(vec![condition_failed(item)]).await.0? {
        TransitionResult::ConditionFailed(found) => Ok(found),
        TransitionResult::Transitioned(_) => panic!("not refused"),
    }
}

#[tokio::test]
async fn null_and_unexpected_shapes_count_as_absent() {
    let absent = json!({"NULL": true});
    let payment = found(json!({
        "status": {"S": "settled"}, "manual_cancellation": absent, "details": absent,
        "cancellation": absent, "canceled_at": absent, "updated_at": absent, "amount": absent,
    }));
    let payment = payment.await.unwrap().unwrap();
    let expected = Payment {
        id: "1".into(),
        merchant_id: "m".into(),
        status: "settled".into(),
        ..Payment::default()
    };
    assert_eq!(payment, expected);
    for cancellation in [json!({"S": "by hand"}), json!({"M": {"id": {"N": "1"}}})] {
        let item = json!({"status": {"S": "settled"}, "cancellation": cancellation,
            "details": {"L": []}});
        assert_eq!(found(item).await, Ok(Some(expected.clone())));
    }
}

#[tokio::test]
async fn only_what_decides_makes_an_item_unusable() {
    let odd = json!({"N": "1"});
    for (item, usable) in [
        (json!({"status": {"N": "1"}}), false),
        (json!({"amount": odd}), false),
        (json!({"status": {"S": "open"}, "manual_cancellation": odd}), false),
        (json!({"status": {"S": "settled"}, "manual_cancellation": odd}), true),
        (json!({"status": {"S": "open"}, "currency": odd, "created_at": odd}), true),
    ] {
        let shown = item.to_string();
        assert_eq!(found(item).await.is_ok(), usable, "{shown}");
    }
}
