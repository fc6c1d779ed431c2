//! A merchant for tests that start below the service. Only authentication can make one, in tests
//! too.

use std::time::Duration;

use futures_util::FutureExt;
use shared::{
    auth::{Authenticator, Credential, CredentialRecord, Merchant},
    budget::Budget,
    clock::Timestamp,
    store::memory::MemoryStore,
};
use tokio::time::Instant;

/// The merchant `m` of this provider.
#[must_use]
pub fn merchant(provider: &str) -> Merchant {
    let store = MemoryStore::default();
    let record = CredentialRecord {
        merchant_id: "m".to_owned(),
        active: true,
        ..CredentialRecord::default()
    };
    store.put_credential(&format!("{provider}#id"), record);
    let authenticator = Authenticator::new(Duration::ZERO, false);
    let (credential, budget) = (Credential::public("id"), Budget::until(Instant::now()));
    authenticator
        .authenticate(&store, provider, &credential, Timestamp::now(), &budget)
        .now_or_never()
        .expect("memory does not wait")
        .expect("the credential is there")
}
