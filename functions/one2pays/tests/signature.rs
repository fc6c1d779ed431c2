//! The signature to the millisecond and to the bit, on a fixed clock.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use harness::{
    golden::case,
    memory::{Recorder, respond, service},
};
use hmac::{Hmac, KeyInit, Mac};
use one2pays::One2Pays;
use serde_json::{Value, json};
use sha2::Sha256;
use shared::{clock::Timestamp, service::CancelService};

const ID: &str = "550e8400-e29b-41d4-a716-446655440000";
/// 2024-01-01T00:00:00Z.
const NOW: i64 = 1_704_067_200_000;
const BODY: &[u8] = br#"{"reason":"requested_by_customer"}"#;

/// The service over the tables of a golden case, with a payment that can be canceled.
struct Endpoint(CancelService<One2Pays, Recorder>);

impl Endpoint {
    fn new() -> Self {
        let given = case("one2pays", "cancels_processing").unwrap().given;
        let store = Recorder::with(&given.credentials, &given.payments).unwrap();
        let now = Timestamp::from_millisecond(NOW).unwrap();
        Self(service(&store, Duration::from_secs(60), now))
    }

    async fn send(&mut self, timestamp: &str, signature: &str, body: &[u8]) -> (u16, Value) {
        let request = http::Request::post(format!("/api/v1/payments/{ID}/cancel"))
            .header("X-API-Key", "pk_test_demo")
            .header("X-Timestamp", timestamp)
            .header("X-Signature", signature)
            .body(body.to_vec().into());
        let response = respond(&self.0, request.unwrap()).await;
        let body = serde_json::from_str(response.body()).unwrap();
        (response.status().as_u16(), body)
    }

    async fn cancels(&mut self, timestamp: &str, signature: &str, body: &[u8]) {
        let (status, response) = self.send(timestamp, signature, body).await;
        assert_eq!(status, 200, "{timestamp} {signature}: {response}");
        assert_eq!(response["data"]["status"], "canceled");
    }

    async fn refuses(&mut self, timestamp: &str, signature: &str, body: &[u8]) {
        let message = "Invalid signature or expired timestamp";
        let error = json!({"code": "INVALID_CREDENTIALS", "message": message});
        let refused = json!({"success": false, "error": error});
        let response = self.send(timestamp, signature, body).await;
        assert_eq!(response, (401, refused), "{timestamp} {signature}");
    }
}

/// HMAC-SHA256 of `{timestamp}.{body}`, as the specification's snippet makes it.
fn tag(timestamp: &str, body: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"sk_test_demo").unwrap();
    mac.update(&[timestamp.as_bytes(), b".", body].concat());
    mac.finalize().into_bytes().into()
}

fn header(tag: &[u8]) -> String {
    format!("sha256={}", hex::encode(tag))
}

#[tokio::test]
async fn the_window_ends_300_seconds_before_and_after_to_the_millisecond() {
    for age in [-300_000, -299_999, -1, 0, 1, 299_999, 300_000] {
        let timestamp = (NOW - age).to_string();
        let signature = header(&tag(&timestamp, b""));
        Endpoint::new().cancels(&timestamp, &signature, b"").await;
    }
    let mut endpoint = Endpoint::new();
    for age in [-86_400_000, -300_001, 300_001, 86_400_000, NOW] {
        let timestamp = (NOW - age).to_string();
        let signature = header(&tag(&timestamp, b""));
        endpoint.refuses(&timestamp, &signature, b"").await;
    }
    // None of them has moved the payment.
    endpoint.cancels(&NOW.to_string(), &header(&tag(&NOW.to_string(), b"")), b"").await;
}

#[tokio::test]
async fn one_flipped_bit_anywhere_in_the_signature_is_another_signature() {
    let timestamp = NOW.to_string();
    for body in [b"".as_slice(), BODY] {
        let right = tag(&timestamp, body);
        let mut endpoint = Endpoint::new();
        for bit in 0..256 {
            let mut wrong = right;
            wrong[bit / 8] ^= 1 << (bit % 8);
            endpoint.refuses(&timestamp, &header(&wrong), body).await;
        }
        // None of them has moved the payment.
        endpoint.cancels(&timestamp, &header(&right), body).await;
    }
}

#[tokio::test]
async fn one_flipped_bit_anywhere_in_the_signed_body_is_another_body() {
    let timestamp = NOW.to_string();
    let signature = header(&tag(&timestamp, BODY));
    let mut endpoint = Endpoint::new();
    for bit in 0..BODY.len() * 8 {
        let mut body = BODY.to_vec();
        body[bit / 8] ^= 1 << (bit % 8);
        endpoint.refuses(&timestamp, &signature, &body).await;
    }
    endpoint.cancels(&timestamp, &signature, BODY).await;
}

#[tokio::test]
async fn another_timestamp_within_the_window_is_another_message() {
    let timestamp = NOW.to_string();
    let signature = header(&tag(&timestamp, BODY));
    let mut endpoint = Endpoint::new();
    for shift in [-300_000, -1, 1, 300_000] {
        let other = (NOW + shift).to_string();
        endpoint.refuses(&other, &signature, BODY).await;
    }
    // The same moment in other digits is another message too.
    endpoint.refuses(&format!("0{timestamp}"), &signature, BODY).await;
}
