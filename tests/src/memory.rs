//! A provider over tables in memory, which write down what they are asked: for tests that need a million requests, or none at all.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value};
use shared::{
    auth::CredentialRecord,
    cancel::{Claim, Transition},
    clock::Timestamp,
    lambda::read,
    payment::{Cancellation, Payment},
    provider::{Provider, Reply},
    request::Incoming,
    service::CancelService,
    store::{Credentials, Payments, Signatures, StoreError, Verdict, memory::MemoryStore},
};
use tokio::time::Instant;
use tower_service::Service;

use crate::clock::Still;

/// One request to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A look at the credential of this key.
    Credential(String),
    /// A transition of the payment of this key.
    Transition(String),
    /// A claim of the signature of this key.
    Claim(String),
}

/// Both tables, and what they have been asked.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    memory: MemoryStore,
    asked: Mutex<Vec<Asked>>,
}

impl Recorder {
    /// Tables with these items, in the plain JSON of the golden cases.
    ///
    /// # Errors
    /// Where an item is not of the data model.
    pub fn with(credentials: &[Value], payments: &[Value]) -> Result<Self> {
        let tables = Self::default();
        for item in credentials {
            tables.0.memory.put_credential(pk(item)?, credential(item)?);
        }
        for item in payments {
            tables.put(pk(item)?, payment(item)?);
        }
        Ok(tables)
    }

    /// Puts a payment under this key.
    pub fn put(&self, pk: &str, payment: Payment) {
        self.0.memory.put_payment(pk, payment);
    }

    /// Puts a credential under this key.
    pub fn put_credential(&self, pk: &str, record: CredentialRecord) {
        self.0.memory.put_credential(pk, record);
    }

    /// The payment under this key.
    #[must_use]
    pub fn payment(&self, pk: &str) -> Option<Payment> {
        self.0.memory.payment(pk)
    }

    /// What they were asked since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.0.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, asked: Asked) {
        let mut all = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(asked);
    }
}

impl Payments for Recorder {
    async fn transition(&self, wanted: &Transition) -> Result<Verdict, StoreError> {
        self.note(Asked::Transition(wanted.key.pk().to_owned()));
        self.0.memory.transition(wanted).await
    }
}

impl Signatures for Recorder {
    async fn claim(&self, wanted: &Claim) -> Result<bool, StoreError> {
        self.note(Asked::Claim(wanted.pk.clone()));
        self.0.memory.claim(wanted).await
    }
}

impl Credentials for Recorder {
    async fn find(&self, pk: &str, until: Instant) -> Result<Option<CredentialRecord>, StoreError> {
        self.note(Asked::Credential(pk.to_owned()));
        self.0.memory.find(pk, until).await
    }
}

/// The provider `P` over `tables`, at a time that stands still, with credentials remembered for `ttl`.
#[must_use]
pub fn service<P: Provider>(
    tables: &Recorder,
    ttl: Duration,
    now: Timestamp,
) -> CancelService<P, Recorder> {
    CancelService::with_clock(tables.clone(), ttl, Still(now))
}

/// The request that a Lambda event is.
#[must_use]
pub fn request(event: &str) -> Incoming {
    let (mut incoming, _) = read(event);
    "0d2f7a0e-0000-4000-8000-000000000001".clone_into(&mut incoming.request_id);
    incoming
}

/// The answer to it.
pub async fn ask<P: Provider>(
    service: &mut CancelService<P, Recorder>,
    incoming: Incoming,
) -> Reply {
    let Ok(reply) = service.call(incoming).await;
    reply
}

fn pk(item: &Value) -> Result<&str> {
    item["pk"].as_str().context("an item has no pk")
}

/// The credential that an item is.
///
/// # Errors
/// Where it is not of the data model.
pub fn credential(item: &Value) -> Result<CredentialRecord> {
    let item = CredentialItem::deserialize(item)?;
    Ok(CredentialRecord {
        merchant_id: item.merchant_id,
        secret_sha256: item.secret_sha256,
        signing_secret: item.signing_secret,
        active: item.active,
        expires_at: item.expires_at.map(|end| end.parse()).transpose()?,
        api_version: item.api_version,
    })
}

/// The payment that an item is.
///
/// # Errors
/// Where it is not of the data model.
pub fn payment(item: &Value) -> Result<Payment> {
    let mut parts = pk(item)?.splitn(3, '#').skip(1).map(str::to_owned);
    let item = PaymentItem::deserialize(item)?;
    Ok(Payment {
        merchant_id: parts.next().context("whose payment?")?,
        id: parts.next().context("which payment?")?,
        status: item.status,
        amount: item.amount,
        currency: item.currency,
        created_at: item.created_at,
        updated_at: item.updated_at,
        canceled_at: item.canceled_at,
        manual_cancellation: item.manual_cancellation,
        details: item.details,
        cancellation: item.cancellation.map(|made| Cancellation {
            id: made.id,
            token: made.token,
            fingerprint: made.fingerprint,
            reason: made.reason,
        }),
    })
}

#[derive(Deserialize)]
struct PaymentItem {
    status: String,
    amount: i64,
    currency: String,
    created_at: String,
    updated_at: Option<String>,
    canceled_at: Option<String>,
    #[serde(default)]
    manual_cancellation: bool,
    #[serde(default)]
    details: Map<String, Value>,
    cancellation: Option<CancellationItem>,
}

#[derive(Deserialize)]
struct CancellationItem {
    id: String,
    token: String,
    fingerprint: String,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct CredentialItem {
    merchant_id: String,
    secret_sha256: Option<String>,
    signing_secret: Option<String>,
    active: bool,
    expires_at: Option<String>,
    api_version: Option<String>,
}
