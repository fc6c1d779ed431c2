//! From a presented credential to a merchant.
//!
//! A [`Merchant`] can only be made here, so a cancel without authentication cannot be written down.
//! Unknown, wrong, inactive and expired credentials cost the same lookups and the same comparisons.
//! All but the inactive get the same response, and that one only a caller who has proved the
//! credential.

mod cache;
mod credential;
#[cfg(test)]
mod tests;

use std::{future::Future, time::Duration};

use sha2::{Digest, Sha256};

use self::cache::CredentialCache;
pub use self::credential::{Credential, CredentialRecord};
use crate::{budget::Budget, clock::Timestamp, error::StoreError};

/// A merchant whose credential has been proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merchant {
    id: String,
    api_version: Option<String>,
    signature: Option<Signature>,
}

impl Merchant {
    /// The merchant's id. It never contains `#`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The API version the account is pinned to, for a provider that has versions.
    #[must_use]
    pub fn api_version(&self) -> Option<&str> {
        self.api_version.as_deref()
    }

    /// The signature that proved it, if one did.
    #[must_use]
    pub fn signature(&self) -> Option<&Signature> {
        self.signature.as_ref()
    }
}

/// A valid signature.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature([u8; 32]);

impl Signature {
    /// Its SHA-256 in hexadecimal: it identifies the signature and does not reveal it.
    #[must_use]
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(self.0))
    }
}

impl std::fmt::Debug for Signature {
    /// Without its bytes: within its time window they authenticate as the merchant.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signature(…)")
    }
}

/// Why a caller is not authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The credential is unknown, wrong or expired.
    #[error("the credential is unknown, wrong or expired")]
    Unauthenticated,
    /// The credential is right, but disabled.
    #[error("the credential is disabled")]
    Forbidden,
    /// The credential could not be looked up. A retry may succeed.
    #[error("the credential could not be looked up; a retry may succeed")]
    Unavailable,
    /// The credential could not be looked up. An operator has to check the store or the item.
    #[error("the credential could not be looked up; the store or the item needs an operator")]
    Internal,
}

impl From<StoreError> for AuthError {
    fn from(error: StoreError) -> Self {
        match error {
            // A lookup writes nothing.
            StoreError::Undecided | StoreError::Unavailable => Self::Unavailable,
            StoreError::Internal => Self::Internal,
        }
    }
}

/// The port to the credentials table.
pub trait Credentials: Send + Sync + 'static {
    /// The item under that key, `{provider}#{key id}`.
    ///
    /// # Errors
    /// [`StoreError`] if it could not be read.
    fn find(
        &self,
        pk: &str,
        budget: &Budget,
    ) -> impl Future<Output = Result<Option<CredentialRecord>, StoreError>> + Send;
}

/// Looks credentials up and caches them.
#[derive(Debug)]
pub struct Authenticator {
    issued_only: bool,
    cache: CredentialCache,
}

impl Authenticator {
    /// An authenticator that caches a found credential for `ttl`: the time a revoked one may still
    /// work. With `issued_only` it refuses keys that are not in [our format](crate::key) without a
    /// lookup.
    #[must_use]
    pub fn new(ttl: Duration, issued_only: bool) -> Self {
        Self { issued_only, cache: CredentialCache::new(ttl) }
    }

    /// The merchant of this credential.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn authenticate(
        &self,
        store: &impl Credentials,
        provider: &str,
        credential: &Credential<'_>,
        now: Timestamp,
        budget: &Budget,
    ) -> Result<Merchant, AuthError> {
        if !credential.may_exist(self.issued_only) {
            return credential.verify(None, now);
        }
        let pk = credential.pk(provider);
        if let Some(cached) = self.cache.get(&pk, now) {
            let verified = credential.verify(Some(&cached.record), now);
            // A cached credential that is refused is looked up again as soon as a missing one.
            if verified.is_ok() || now < cached.refuses_until {
                return verified;
            }
        }
        let record = store.find(&pk, budget).await?;
        let verified = credential.verify(record.as_ref(), now);
        self.cache.put(pk, record, now);
        verified
    }
}
