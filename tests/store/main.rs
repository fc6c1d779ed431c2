//! The store's contract, on both stores: DynamoDB's engine behind the real SDK, and memory.
//!
//! The SDK speaks over connections in memory, on the paused clock. [`network`] has the real ones.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

mod network;
mod outage;

use std::time::Duration;

use futures_util::future::join_all;
use harness::{faults::FaultProxy, merchant::merchant, tables::Tables};
use serde_json::{Value, json};
use shared::{
    auth::{CredentialRecord, Credentials, Merchant},
    budget::Budget,
    cancel::{
        Cancel, CancelError, KeyReuse, Outcome, PaymentKey, Payments, SignatureUse, Signatures,
        Transition, TransitionResult, cancel,
    },
    clock::Timestamp,
    error::StoreError,
    idempotency::{Fingerprint, IdempotencyKey, Token},
    payment::{Attribute, Cancellation, Payment, Statuses},
    store::{
        dynamodb::{self, DynamoDb},
        memory::MemoryStore,
    },
};
use tokio::{task::yield_now, time::Instant};

const STATUSES: Statuses =
    Statuses { cancelable: &["authorized", "pending"], canceled: "canceled" };
const REQUIRED: &[Attribute] = &[Attribute::Amount, Attribute::Currency];
const PK: &str = "p#m#pay";

/// A store with one merchant, `m`.
enum Store {
    DynamoDb(DynamoDb, Tables),
    Memory(MemoryStore),
}

impl Payments for Store {
    async fn transition(
        &self,
        transition: &Transition,
        budget: &Budget,
    ) -> Result<TransitionResult, StoreError> {
        match self {
            Self::DynamoDb(store, _) => store.transition(transition, budget).await,
            Self::Memory(store) => store.transition(transition, budget).await,
        }
    }
}

impl Signatures for Store {
    async fn claim(&self, signature: &SignatureUse, budget: &Budget) -> Result<bool, StoreError> {
        match self {
            Self::DynamoDb(store, _) => store.claim(signature, budget).await,
            Self::Memory(store) => store.claim(signature, budget).await,
        }
    }
}

impl Credentials for Store {
    async fn find(
        &self,
        pk: &str,
        budget: &Budget,
    ) -> Result<Option<CredentialRecord>, StoreError> {
        match self {
            Self::DynamoDb(store, _) => store.find(pk, budget).await,
            Self::Memory(store) => store.find(pk, budget).await,
        }
    }
}

impl Store {
    fn dynamodb() -> Self {
        let tables = Tables::new().unwrap();
        let proxy = FaultProxy::in_memory(&tables);
        Self::DynamoDb(dynamodb(&proxy), tables)
    }

    fn both() -> [Self; 2] {
        [Self::dynamodb(), Self::Memory(MemoryStore::default())]
    }

    /// Puts the payment `pay` of the merchant `m` there.
    fn put(&self, status: &str, manual: bool) {
        match self {
            Self::Memory(store) => store.put_payment(PK, payment(status, manual)),
            Self::DynamoDb(_, tables) => {
                let mut item = item(status);
                if manual {
                    item["manual_cancellation"] = json!(true);
                }
                tables.put("payments", &item).unwrap();
            }
        }
    }

    /// Its status now.
    fn status(&self) -> Option<String> {
        match self {
            Self::Memory(store) => store.payment(PK).map(|payment| payment.status),
            Self::DynamoDb(_, tables) => {
                let item = tables.get("payments", PK).unwrap();
                item.map(|item| item["status"].as_str().unwrap().to_owned())
            }
        }
    }

    /// Another service captures the payment, if it still may.
    async fn capture(&self) -> bool {
        match self {
            Self::Memory(store) => {
                let capture = Statuses { cancelable: &["authorized"], canceled: "succeeded" };
                let transition =
                    Transition { statuses: capture, ..transition(&merchant("p"), "capture") };
                let made = store.transition(&transition, &soon()).await.unwrap();
                matches!(made, TransitionResult::Transitioned(_))
            }
            Self::DynamoDb(_, tables) => {
                let moved = tables.move_on(PK, "authorized", "succeeded");
                moved.unwrap().is_ok()
            }
        }
    }

    async fn cancel(&self, key: Option<&str>, reason: &str) -> Outcome {
        cancel(self, request(key, reason), &soon()).await
    }
}

fn dynamodb(proxy: &FaultProxy) -> DynamoDb {
    DynamoDb::new(&proxy.config(), dynamodb::Tables::default())
}

/// A request with this key, or with its own Lambda request id.
fn request(key: Option<&str>, reason: &str) -> Cancel {
    Cancel {
        key: PaymentKey::new("p", &merchant("p"), "pay".into()),
        statuses: STATUSES,
        required: REQUIRED,
        token: match key {
            Some(key) => Token::of_key(IdempotencyKey::parse(key).unwrap()),
            None => Token::of_invocation(&uuid::Uuid::new_v4().to_string()),
        },
        fingerprint: Fingerprint::of(&[Some(reason.as_bytes())]),
        reason: Some(reason.into()),
        keyed: key.is_some(),
        now: Timestamp::now(),
    }
}

fn payment(status: &str, manual: bool) -> Payment {
    let mut item = item(status);
    item["manual_cancellation"] = json!(manual);
    harness::memory::payment(&item).unwrap()
}

fn item(status: &str) -> Value {
    json!({
        "pk": PK, "status": status, "amount": 6540, "currency": "USD",
        "created_at": "2024-01-01T00:00:00.000Z",
        "details": {"method": {"card": ["visa", 1, true, null]}},
    })
}

fn transition(merchant: &Merchant, token: &str) -> Transition {
    Transition {
        key: PaymentKey::new("p", merchant, "pay".into()),
        statuses: STATUSES,
        required: REQUIRED,
        at: "2024-01-01T00:10:00.000Z".into(),
        cancellation: Cancellation {
            id: format!("id of {token}"),
            token: token.into(),
            fingerprint: "fingerprint".into(),
            reason: None,
        },
    }
}

/// More time than anything here takes on the paused clock.
fn soon() -> Budget {
    Budget::until(Instant::now() + Duration::from_secs(60))
}

#[tokio::test(start_paused = true)]
async fn a_cancelable_payment_moves_and_comes_back_as_it_is_now() {
    let merchant = merchant("p");
    for store in Store::both() {
        for status in STATUSES.cancelable {
            store.put(status, false);
            let transition = transition(&merchant, "token");
            let expected = Payment {
                status: "canceled".into(),
                updated_at: transition.at.as_str().into(),
                canceled_at: transition.at.as_str().into(),
                cancellation: Some(transition.cancellation.clone()),
                ..payment(status, false)
            };
            assert_eq!(
                store.transition(&transition, &soon()).await,
                Ok(TransitionResult::Transitioned(expected))
            );
            assert_eq!(store.status().as_deref(), Some("canceled"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn non_cancelable_manual_and_missing_payments_are_refused_unchanged() {
    let merchant = merchant("p");
    for store in Store::both() {
        let transition = transition(&merchant, "token");
        assert_eq!(
            store.transition(&transition, &soon()).await,
            Ok(TransitionResult::ConditionFailed(None))
        );
        for (status, manual) in
            [("succeeded", false), ("canceled", false), ("Pending", false), ("pending", true)]
        {
            store.put(status, manual);
            assert_eq!(
                store.transition(&transition, &soon()).await,
                Ok(TransitionResult::ConditionFailed(Some(payment(status, manual))))
            );
            assert_eq!(store.status().as_deref(), Some(status));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_64_concurrent_cancels_exactly_one_wins() {
    for store in Store::both() {
        store.put("authorized", false);
        let outcomes = join_all((0..64).map(|_| store.cancel(None, "same"))).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        for refused in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            let CancelError::NotCancelable(payment) = refused else {
                panic!("{refused:?}");
            };
            assert_eq!(payment.status, "canceled");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_64_concurrent_cancels_with_one_key_one_wins_and_the_rest_replay_it() {
    for store in Store::both() {
        store.put("authorized", false);
        let outcomes = join_all((0..64).map(|_| store.cancel(Some("key"), "same"))).await;
        let canceled = outcomes.iter().map(|outcome| outcome.as_ref().unwrap()).collect::<Vec<_>>();
        assert_eq!(canceled.iter().filter(|canceled| !canceled.replayed).count(), 1);
        assert!(canceled.windows(2).all(|pair| pair[0].payment == pair[1].payment));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_racing_a_capture_has_one_winner_and_true_outcomes() {
    for store in Store::both() {
        let mut canceled = 0;
        for round in 0..200 {
            store.put("authorized", false);
            // Each side in turn has a head start, of more and more steps of the other.
            let head_start = async || {
                for _ in 0..round / 2 {
                    yield_now().await;
                }
            };
            let (outcome, captured) = if round % 2 == 0 {
                tokio::join!(store.cancel(None, "race"), async {
                    head_start().await;
                    store.capture().await
                })
            } else {
                let (captured, outcome) = tokio::join!(store.capture(), async {
                    head_start().await;
                    store.cancel(None, "race").await
                });
                (outcome, captured)
            };
            let status = store.status().unwrap();
            match outcome {
                Ok(made) => {
                    canceled += 1;
                    assert!(!captured && status == "canceled" && made.payment.status == "canceled");
                }
                Err(CancelError::NotCancelable(payment)) => {
                    assert!(captured && status == "succeeded" && payment.status == "succeeded")
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!((1..200).contains(&canceled), "only one side ever won: {canceled} of 200");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_replays_its_own_request_and_refuses_another() {
    for store in Store::both() {
        store.put("pending", false);
        let first = store.cancel(Some("key"), "reason").await.unwrap();
        assert!(!first.replayed);
        let again = store.cancel(Some("key"), "reason").await.unwrap();
        assert!(again.replayed && again.payment == first.payment);
        assert_eq!(
            store.cancel(Some("key"), "another").await,
            Err(CancelError::KeyReused(KeyReuse::OtherRequest))
        );
        assert_eq!(
            store.cancel(Some("other"), "reason").await,
            Err(CancelError::NotCancelable(Box::new(first.payment.clone())))
        );
        assert_eq!(
            store.cancel(None, "reason").await,
            Err(CancelError::NotCancelable(Box::new(first.payment)))
        );
    }
}

/// A store whose first response is lost, and which then gets the same request again, as from an
/// SDK's retry.
struct LosesTheFirstResponse(Store);

impl Payments for LosesTheFirstResponse {
    async fn transition(
        &self,
        transition: &Transition,
        budget: &Budget,
    ) -> Result<TransitionResult, StoreError> {
        self.0.transition(transition, budget).await?;
        self.0.transition(transition, budget).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_response_does_not_become_a_false_conflict() {
    for store in Store::both() {
        store.put("pending", false);
        let lossy = LosesTheFirstResponse(store);
        let outcome = cancel(&lossy, request(None, ""), &soon()).await.unwrap();
        assert_eq!(outcome.payment.status, "canceled");
        assert!(!outcome.replayed, "it is the first response that this caller gets");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_makes_one_transition_however_often_a_payment_is_reopened() {
    for store in Store::both() {
        store.put("pending", false);
        let mut ids = Vec::new();
        for key in ["first", "second", "third"] {
            let canceled = store.cancel(Some(key), "reason").await.unwrap();
            assert!(!canceled.replayed);
            ids.push(canceled.payment.cancellation.as_ref().unwrap().id.clone());
            let reopened = Payment { status: "pending".into(), ..canceled.payment };
            match &store {
                Store::Memory(memory) => memory.put_payment(PK, reopened.clone()),
                Store::DynamoDb(_, tables) => {
                    let moved = tables.move_on(PK, "canceled", "pending");
                    moved.unwrap().unwrap();
                }
            }
            for (used, id) in ["first", "second", "third"].iter().zip(&ids) {
                assert_eq!(&reopened.cancellation_with(used).unwrap().id, id);
                let reuse = KeyReuse::Reopened(Box::new(reopened.clone()));
                let refused = Err(CancelError::KeyReused(reuse));
                assert_eq!(store.cancel(Some(used), "reason").await, refused, "{used}");
                let other = Err(CancelError::KeyReused(KeyReuse::OtherRequest));
                assert_eq!(store.cancel(Some(used), "another reason").await, other, "{used}");
            }
            assert_eq!(store.status().as_deref(), Some("pending"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_lost_all_but_its_token_still_refuses_the_key() {
    let store = Store::dynamodb();
    let Store::DynamoDb(_, tables) = &store else {
        return;
    };
    let mut reopened = item("pending");
    reopened["cancellation"] = json!({ "token": "key" });
    tables.put("payments", &reopened).unwrap();
    let refused = store.cancel(Some("key"), "reason").await;
    let reopened = |reuse: &KeyReuse| matches!(reuse, KeyReuse::Reopened(_));
    assert!(
        matches!(&refused, Err(CancelError::KeyReused(reuse)) if reopened(reuse)),
        "{refused:?}"
    );
}

fn claim(digest: &str, payment_id: &str) -> SignatureUse {
    SignatureUse {
        pk: format!("p.signature#m#{digest}"),
        payment_id: payment_id.into(),
        expires_at: 1_704_067_200,
    }
}

#[tokio::test(start_paused = true)]
async fn a_signature_serves_the_payment_that_claims_it_first_and_no_other() {
    for store in Store::both() {
        for (digest, payment, served) in [
            ("a", "1", true),
            ("a", "1", true),
            ("a", "2", false),
            ("a", "", false),
            ("b", "2", true),
            ("a", "1", true),
        ] {
            let claimed = store.claim(&claim(digest, payment), &soon()).await;
            assert_eq!(claimed, Ok(served), "{digest} for {payment}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_64_concurrent_claims_for_two_payments_one_payments_are_granted() {
    for store in Store::both() {
        let mut first = 0;
        for round in 0..20 {
            let digest = round.to_string();
            let claims =
                (0..64).map(|n| {
                    let signature = claim(&digest, if (n + round) % 2 == 0 { "1" } else { "2" });
                    let store = &store;
                    async move {
                        (store.claim(&signature, &soon()).await.unwrap(), signature.payment_id)
                    }
                });
            let claims = join_all(claims).await;
            let granted: Vec<_> = claims.iter().filter(|(granted, _)| *granted).collect();
            assert_eq!(granted.len(), 32);
            assert!(granted.iter().all(|(_, payment)| *payment == granted[0].1));
            first += usize::from(granted[0].1 == "1");
        }
        assert!((1..20).contains(&first), "one payment always won: {first}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_no_payment_and_a_payment_is_no_claim() {
    // Whatever a payment is called: no provider's name has a dot.
    let store = Store::dynamodb();
    let Store::DynamoDb(_, tables) = &store else { unreachable!() };
    store.put("pending", false);
    assert_eq!(store.claim(&claim("a", "pay"), &soon()).await, Ok(true));
    let items = tables.scan("payments").unwrap();
    assert!(items.contains(&json!({
        "pk": "p.signature#m#a", "payment_id": "pay", "signature_expires_at": 1_704_067_200,
    })));
    assert!(items.contains(&item("pending")));
    assert_eq!(items.len(), 2);
}

#[tokio::test]
async fn a_signatures_claim_ends_by_itself() {
    let (_, tables) = embedded::with_tables().await.unwrap();
    let ends = tables.describe_time_to_live().table_name("payments").send();
    let ends = ends.await.unwrap().time_to_live_description.unwrap();
    assert_eq!(ends.attribute_name(), Some("signature_expires_at"));
}

#[tokio::test(start_paused = true)]
async fn an_item_that_lacks_what_the_response_needs_is_refused_unchanged() {
    let store = Store::dynamodb();
    let Store::DynamoDb(_, tables) = &store else { unreachable!() };
    let broken = [
        ("amount", None),
        ("amount", Some(json!("6540"))),
        ("currency", None),
        ("currency", Some(json!(840))),
        ("manual_cancellation", Some(json!("no"))),
        ("status", None),
        ("status", Some(json!(["pending"]))),
    ];
    for (attribute, value) in broken {
        let mut broken = item("pending");
        match value {
            Some(value) => broken[attribute] = value,
            None => drop(broken.as_object_mut().unwrap().remove(attribute)),
        }
        tables.put("payments", &broken).unwrap();
        assert_eq!(store.cancel(None, "reason").await, Err(CancelError::Internal), "{broken}");
        assert_eq!(tables.scan("payments").unwrap(), [broken]);
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_are_read_as_stored_and_refused_if_invalid() {
    let store = Store::dynamodb();
    let Store::DynamoDb(_, tables) = &store else { unreachable!() };
    let whole = json!({
        "pk": "p#key", "merchant_id": "m", "secret_sha256": "00ff", "signing_secret": "s",
        "active": true,
        "expires_at": "2030-01-01T00:00:00.000Z", "api_version": "2026-02-18",
    });
    tables.put("credentials", &whole).unwrap();
    let expected = CredentialRecord {
        merchant_id: "m".into(),
        secret_sha256: Some("00ff".into()),
        signing_secret: Some("s".into()),
        active: true,
        expires_at: Some("2030-01-01T00:00:00Z".parse().unwrap()),
        api_version: Some("2026-02-18".into()),
    };
    assert_eq!(store.find("p#key", &soon()).await, Ok(Some(expected)));
    assert_eq!(store.find("p#other", &soon()).await, Ok(None));

    let broken = [
        ("merchant_id", json!("a#b")),
        ("merchant_id", json!(1)),
        ("active", json!("yes")),
        ("expires_at", json!("soon")),
    ];
    for (attribute, value) in broken {
        let mut item = whole.clone();
        item[attribute] = value;
        tables.put("credentials", &item).unwrap();
        assert_eq!(store.find("p#key", &soon()).await, Err(StoreError::Internal), "{item}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_connections_and_a_missing_table_write_nothing() {
    let tables = Tables::new().unwrap();
    let proxy = FaultProxy::in_memory(&tables);
    proxy.refuse(usize::MAX);
    let unreachable = Store::DynamoDb(dynamodb(&proxy), tables.clone());
    let outcome = unreachable.cancel(None, "reason").await;
    assert_eq!(outcome, Err(CancelError::Unavailable));

    tables.drop_table("payments").unwrap();
    let store = Store::DynamoDb(dynamodb(&FaultProxy::in_memory(&tables)), tables);
    let outcome = store.cancel(None, "reason").await;
    assert_eq!(outcome, Err(CancelError::Internal));
}
