//! A provider over tables in memory that record their requests, for tests with a million requests
//! or with none.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Response;
use serde::Deserialize;
use serde_json::Value;
use shared::{
    auth::{CredentialRecord, Credentials},
    budget::Budget,
    cancel::{Payments, SignatureUse, Signatures, Transition, TransitionResult},
    clock::Timestamp,
    error::StoreError,
    json::Json,
    lambda::read,
    payment::{Cancellation, Payment},
    provider::Provider,
    request::Invocation,
    service::{CancelService, Settings},
    store::memory::MemoryStore,
};
use tower_service::Service;

use crate::clock::Still;

/// One request to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreRequest {
    /// A lookup of the credential under this key.
    Credential(String),
    /// A transition of the payment under this key.
    Transition(String),
    /// A claim of the signature under this key.
    Claim(String),
}

/// Both tables, and the requests that they got.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    memory: MemoryStore,
    requests: Mutex<Vec<StoreRequest>>,
}

impl Recorder {
    /// Tables with these items, in the plain JSON of the golden cases.
    ///
    /// # Errors
    /// If an item is not of the data model.
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

    /// The requests since the last call of this.
    #[must_use]
    pub fn take(&self) -> Vec<StoreRequest> {
        let mut requests = self.0.requests.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *requests)
    }

    fn record(&self, request: StoreRequest) {
        let mut requests = self.0.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push(request);
    }
}

impl Payments for Recorder {
    async fn transition(
        &self,
        transition: &Transition,
        budget: &Budget,
    ) -> Result<TransitionResult, StoreError> {
        self.record(StoreRequest::Transition(transition.key.pk().to_owned()));
        self.0.memory.transition(transition, budget).await
    }
}

impl Signatures for Recorder {
    async fn claim(&self, signature: &SignatureUse, budget: &Budget) -> Result<bool, StoreError> {
        self.record(StoreRequest::Claim(signature.pk.clone()));
        self.0.memory.claim(signature, budget).await
    }
}

impl Credentials for Recorder {
    async fn find(
        &self,
        pk: &str,
        budget: &Budget,
    ) -> Result<Option<CredentialRecord>, StoreError> {
        self.record(StoreRequest::Credential(pk.to_owned()));
        self.0.memory.find(pk, budget).await
    }
}

/// The provider `P` over `tables` at a fixed time, with credentials cached for `ttl`.
#[must_use]
pub fn service<P: Provider>(
    tables: &Recorder,
    ttl: Duration,
    now: Timestamp,
) -> CancelService<P, Recorder> {
    CancelService::with_clock(tables.clone(), &caching(ttl), Still(now))
}

/// The default settings, but for how long a credential is cached.
#[must_use]
pub fn caching(credential_ttl: Duration) -> Settings {
    Settings { credential_ttl, ..Settings::default() }
}

/// The request that a Lambda event carries.
#[must_use]
pub fn request(event: &str) -> http::Request<Bytes> {
    let (mut request, _) = read(event);
    request.extensions_mut().insert(Invocation {
        request_id: "0d2f7a0e-0000-4000-8000-000000000001".to_owned(),
        trace_id: None,
        deadline: None,
    });
    request
}

/// The response to it.
pub async fn respond<P, S>(
    service: &CancelService<P, S>,
    request: http::Request<Bytes>,
) -> Response<String>
where
    P: Provider,
    S: shared::service::Store,
{
    let Ok(response) = service.clone().call(request).await;
    response
}

fn pk(item: &Value) -> Result<&str> {
    item["pk"].as_str().context("an item has no pk")
}

/// The credential that an item is.
///
/// # Errors
/// If it is not of the data model.
pub fn credential(item: &Value) -> Result<CredentialRecord> {
    let item = CredentialItem::deserialize(item)?;
    ensure!(!item.merchant_id.contains('#'), "a merchant's id has the separator of keys");
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
/// If it is not of the data model.
pub fn payment(item: &Value) -> Result<Payment> {
    let mut parts = pk(item)?.splitn(3, '#').skip(1).map(str::to_owned);
    let shown = |name: &str| json(&item[name]);
    let decides = Decides::deserialize(item)?;
    let details = item["details"].as_object().into_iter().flatten();
    let earlier = item["cancellation"]["earlier"].as_array().into_iter();
    Ok(Payment {
        merchant_id: parts.next().context("whose payment?")?,
        id: parts.next().context("which payment?")?,
        status: decides.status,
        amount: shown("amount"),
        currency: shown("currency"),
        created_at: shown("created_at"),
        updated_at: shown("updated_at"),
        canceled_at: shown("canceled_at"),
        manual_cancellation: decides.manual_cancellation.unwrap_or_default(),
        details: details
            .map(|(name, value)| (name.clone(), json(value)))
            .collect::<BTreeMap<_, _>>(),
        cancellation: cancellation(&item["cancellation"]),
        earlier_cancellations: earlier.flatten().filter_map(cancellation).collect(),
    })
}

fn cancellation(value: &Value) -> Option<Cancellation> {
    let made = CancellationItem::deserialize(value).ok()?;
    Some(Cancellation {
        id: made.id,
        token: made.token,
        fingerprint: made.fingerprint,
        reason: made.reason,
    })
}

fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Number(number) => Json::Number(number.to_string()),
        Value::String(text) => Json::Text(text.clone()),
        Value::Array(list) => Json::List(list.iter().map(json).collect()),
        Value::Object(members) => {
            let members = members.iter();
            Json::Object(members.map(|(name, value)| (name.clone(), json(value))).collect())
        }
    }
}

/// The attributes that decide something.
#[derive(Deserialize)]
struct Decides {
    status: String,
    manual_cancellation: Option<bool>,
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
