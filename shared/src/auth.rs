//! From a presented credential to a merchant.
//!
//! A [`Merchant`] can only be made here, so a cancel without authentication cannot be written down. Unknown, wrong and
//! expired credentials cost the same work and get the same answer.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::{
    cancel::CancelError,
    clock::Timestamp,
    store::{Credentials, StoreError},
};

/// A merchant whose credential has been proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merchant {
    id: String,
    api_version: Option<String>,
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
}

/// What a request presents: a key id to look up, and the proof that it is the caller's.
#[derive(Debug)]
pub struct Credential<'r> {
    key_id: Cow<'r, str>,
    proof: Proof<'r>,
}

#[derive(Debug)]
enum Proof<'r> {
    /// The key id is all there is, and public.
    Public,
    /// The key id is the digest of the secret that was presented.
    Digest,
    /// A secret beside a public id.
    Secret(&'r str),
    /// An HMAC-SHA256 over the parts, one after another.
    Signature { parts: [&'r [u8]; 3], tag: [u8; 32] },
}

impl<'r> Credential<'r> {
    /// A public id that needs no secret.
    #[must_use]
    pub fn public(id: &'r str) -> Self {
        Self {
            key_id: Cow::Borrowed(id),
            proof: Proof::Public,
        }
    }

    /// A secret that is also the name of the account: looked up by its SHA-256.
    #[must_use]
    pub fn secret(secret: &str) -> Self {
        Self {
            key_id: Cow::Owned(hex::encode(sha256(secret))),
            proof: Proof::Digest,
        }
    }

    /// A public id and a secret that goes with it.
    #[must_use]
    pub fn pair(id: &'r str, secret: &'r str) -> Self {
        Self {
            key_id: Cow::Borrowed(id),
            proof: Proof::Secret(secret),
        }
    }

    /// A public id and an HMAC-SHA256 `tag` over `parts`, one after another, under the id's signing secret.
    #[must_use]
    pub fn signature(id: &'r str, parts: [&'r [u8]; 3], tag: [u8; 32]) -> Self {
        Self {
            key_id: Cow::Borrowed(id),
            proof: Proof::Signature { parts, tag },
        }
    }
}

impl Credential<'_> {
    /// Whether the table can hold such a key id at all. A public id in the form of a digest is nobody's: it would name the
    /// account of another caller's secret without the secret.
    fn may_exist(&self) -> bool {
        let id = self.key_id.as_bytes();
        let digest = id.len() == 64 && id.iter().all(u8::is_ascii_hexdigit);
        id.len() <= LONGEST_KEY_ID
            && id.iter().all(u8::is_ascii_graphic)
            && digest == matches!(self.proof, Proof::Digest)
    }
}

impl Proof<'_> {
    /// Whether the proof fits `record`. Where there is no record, or it lacks what must match, the work is done all the same against an empty
    /// stand-in, and fails.
    fn fits(&self, record: Option<&CredentialRecord>) -> bool {
        match self {
            Self::Public | Self::Digest => record.is_some(),
            Self::Secret(secret) => {
                let stored = record.and_then(|record| record.secret_sha256.as_deref());
                let presented = hex::encode(sha256(secret));
                bool::from(
                    presented
                        .as_bytes()
                        .ct_eq(stored.unwrap_or_default().as_bytes()),
                )
            }
            Self::Signature { parts, tag } => {
                let stored = record.and_then(|record| record.signing_secret.as_deref());
                let Ok(mut mac) =
                    Hmac::<Sha256>::new_from_slice(stored.unwrap_or_default().as_bytes())
                else {
                    return false; // HMAC takes keys of any length.
                };
                for part in parts {
                    mac.update(part);
                }
                let right = mac.finalize().into_bytes().ct_eq(tag);
                stored.is_some_and(|secret| !secret.is_empty()) & bool::from(right)
            }
        }
    }
}

fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// An item of the credentials table.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct CredentialRecord {
    /// Whose it is. Never contains `#`.
    pub merchant_id: String,
    /// What the presented secret's SHA-256 must be, in lower-case hexadecimal.
    pub secret_sha256: Option<String>,
    /// The HMAC key.
    pub signing_secret: Option<String>,
    /// Whether it may be used.
    pub active: bool,
    /// Until when it may be used.
    pub expires_at: Option<Timestamp>,
    /// The API version the account is pinned to.
    pub api_version: Option<String>,
}

impl std::fmt::Debug for CredentialRecord {
    /// Without the secrets, so that none reaches a log by accident.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialRecord")
            .field("merchant_id", &self.merchant_id)
            .finish_non_exhaustive()
    }
}

/// How many found, and how many missing credentials a process remembers.
const REMEMBERED: usize = 1024;

/// How long a missing credential is remembered: long enough to take the weight off a client that keeps trying, short
/// enough for a key that has just been issued.
const MISSING_FOR: Duration = Duration::from_secs(5);

/// A key id longer than this is nobody's: a table key has at most 2,048 bytes.
const LONGEST_KEY_ID: usize = 255;

/// Looks credentials up and remembers them for a while.
#[derive(Debug)]
pub struct Keyring {
    found: Remembered<CredentialRecord>,
    missing: Remembered<()>,
}

impl Keyring {
    /// A keyring that remembers a found credential for `ttl`: the time a revoked one may still work.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self {
            found: Remembered::new(ttl),
            missing: Remembered::new(ttl.min(MISSING_FOR)),
        }
    }

    /// The merchant whose credential this is.
    ///
    /// # Errors
    /// [`CancelError::Unauthenticated`] where it is unknown, wrong or expired, [`CancelError::Forbidden`] where it is right but switched off,
    /// [`CancelError::Undecided`] or [`CancelError::Internal`] where it could not be looked up.
    pub async fn authenticate(
        &self,
        store: &impl Credentials,
        provider: &str,
        credential: &Credential<'_>,
        now: Timestamp,
        until: Instant,
    ) -> Result<Merchant, CancelError> {
        let record = self
            .look_up(store, provider, credential, now, until)
            .await
            .map_err(|error| match error {
                StoreError::Undecided => CancelError::Undecided,
                StoreError::Internal => CancelError::Internal,
            })?;
        let fits = credential.proof.fits(record.as_ref());
        match record.filter(|record| fits && record.expires_at.is_none_or(|end| now < end)) {
            Some(CredentialRecord { active: false, .. }) => Err(CancelError::Forbidden),
            Some(CredentialRecord {
                merchant_id,
                api_version,
                ..
            }) => Ok(Merchant {
                id: merchant_id,
                api_version,
            }),
            None => Err(CancelError::Unauthenticated),
        }
    }

    async fn look_up(
        &self,
        store: &impl Credentials,
        provider: &str,
        credential: &Credential<'_>,
        now: Timestamp,
        until: Instant,
    ) -> Result<Option<CredentialRecord>, StoreError> {
        let key_id = credential.key_id.as_ref();
        if !credential.may_exist() {
            return Ok(None);
        }
        let pk = format!("{provider}#{key_id}");
        if let Some(record) = self.found.get(&pk, now) {
            return Ok(Some(record));
        }
        if self.missing.get(&pk, now).is_some() {
            return Ok(None);
        }
        let record = store.find(&pk, until).await?;
        match &record {
            Some(record) => self.found.put(pk, record.clone(), now),
            None => self.missing.put(pk, (), now),
        }
        Ok(record)
    }
}

/// A bounded map whose entries end.
#[derive(Debug)]
struct Remembered<T> {
    ttl: Duration,
    entries: Mutex<HashMap<String, (Timestamp, T)>>,
}

impl<T: Clone> Remembered<T> {
    fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            entries: Mutex::default(),
        }
    }

    fn get(&self, key: &str, now: Timestamp) -> Option<T> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .get(key)
            .filter(|(until, _)| now < *until)
            .map(|(_, value)| value.clone())
    }

    fn put(&self, key: String, value: T, now: Timestamp) {
        if self.ttl.is_zero() {
            return;
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= REMEMBERED && !entries.contains_key(&key) {
            entries.retain(|_, (until, _)| now < *until);
            if entries.len() >= REMEMBERED
                && let Some(any) = entries.keys().next().cloned()
            {
                entries.remove(&any);
            }
        }
        if let Ok(until) = now.checked_add(self.ttl) {
            entries.insert(key, (until, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn after(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    fn record() -> CredentialRecord {
        CredentialRecord {
            merchant_id: "m".into(),
            secret_sha256: Some(hex::encode(sha256("token"))),
            signing_secret: Some("key".into()),
            active: true,
            ..CredentialRecord::default()
        }
    }

    async fn try_with(
        record: Option<CredentialRecord>,
        credential: Credential<'_>,
    ) -> Result<String, CancelError> {
        let store = MemoryStore::default();
        if let Some(record) = record {
            store.put_credential("p#id", record);
        }
        let keyring = Keyring::new(Duration::from_secs(60));
        keyring
            .authenticate(&store, "p", &credential, NOW, Instant::now())
            .await
            .map(|merchant| merchant.id)
    }

    /// RFC 4231, test case 2, as `{timestamp}.{body}` would be cut.
    fn signed(tag: &str) -> Credential<'static> {
        let tag = hex::decode(tag)
            .expect("hexadecimal")
            .try_into()
            .expect("32 bytes");
        Credential::signature("id", [b"what do ya", b" want for ", b"nothing?"], tag)
    }
    const JEFE: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";

    #[tokio::test]
    async fn a_pair_needs_its_own_secret() {
        assert_eq!(
            try_with(Some(record()), Credential::pair("id", "token")).await,
            Ok("m".into())
        );
        for (known, secret) in [(true, "Token"), (true, ""), (false, "token")] {
            let known = known.then(record);
            assert_eq!(
                try_with(known, Credential::pair("id", secret)).await,
                Err(CancelError::Unauthenticated)
            );
        }
        let without = CredentialRecord {
            secret_sha256: None,
            ..record()
        };
        assert_eq!(
            try_with(Some(without), Credential::pair("id", "")).await,
            Err(CancelError::Unauthenticated)
        );
    }

    #[tokio::test]
    async fn a_signature_is_the_published_one() {
        let jefe = || CredentialRecord {
            signing_secret: Some("Jefe".into()),
            ..record()
        };
        assert_eq!(try_with(Some(jefe()), signed(JEFE)).await, Ok("m".into()));
        let flipped = JEFE.replacen('5', "4", 1);
        assert_eq!(
            try_with(Some(jefe()), signed(&flipped)).await,
            Err(CancelError::Unauthenticated)
        );
        assert_eq!(
            try_with(None, signed(JEFE)).await,
            Err(CancelError::Unauthenticated)
        );
    }

    #[tokio::test]
    async fn an_absent_signing_secret_is_not_an_empty_one() {
        // HMAC-SHA256 of "what do ya want for nothing?" under the empty key.
        let mut mac = Hmac::<Sha256>::new_from_slice(b"").expect("any key");
        mac.update(b"what do ya want for nothing?");
        let tag = hex::encode(mac.finalize().into_bytes());
        for absent in [None, Some(String::new())] {
            let record = CredentialRecord {
                signing_secret: absent,
                ..record()
            };
            assert_eq!(
                try_with(Some(record), signed(&tag)).await,
                Err(CancelError::Unauthenticated)
            );
        }
    }

    #[tokio::test]
    async fn an_expired_credential_is_unknown_and_an_inactive_one_is_forbidden() {
        let with = |active, end: Option<i64>| CredentialRecord {
            active,
            expires_at: end.map(after),
            ..record()
        };
        assert_eq!(
            try_with(Some(with(true, Some(1))), Credential::public("id")).await,
            Ok("m".into())
        );
        assert_eq!(
            try_with(Some(with(true, Some(0))), Credential::public("id")).await,
            Err(CancelError::Unauthenticated)
        );
        assert_eq!(
            try_with(Some(with(false, None)), Credential::public("id")).await,
            Err(CancelError::Forbidden)
        );
        // Being switched off is told only to who has proved the credential.
        assert_eq!(
            try_with(Some(with(false, None)), Credential::pair("id", "guess")).await,
            Err(CancelError::Unauthenticated)
        );
    }

    #[tokio::test]
    async fn a_key_id_that_cannot_be_one_is_refused_without_a_look_up() {
        let store = MemoryStore::default();
        let keyring = Keyring::new(Duration::from_secs(60));
        for id in ["é", "a b", &"k".repeat(256), &"0f".repeat(32)] {
            let refused = keyring
                .authenticate(&store, "p", &Credential::public(id), NOW, Instant::now())
                .await;
            assert_eq!(refused, Err(CancelError::Unauthenticated));
        }
        assert_eq!(store.credential_reads(), 0);
    }

    #[tokio::test]
    async fn a_found_credential_is_remembered_for_its_time_and_a_missing_one_for_less() {
        let store = MemoryStore::default();
        let keyring = Keyring::new(Duration::from_secs(60));
        let credential = Credential::public("id");
        let at = |seconds| {
            keyring.authenticate(&store, "p", &credential, after(seconds), Instant::now())
        };

        assert_eq!(at(0).await, Err(CancelError::Unauthenticated));
        store.put_credential("p#id", record());
        assert_eq!(at(4).await, Err(CancelError::Unauthenticated));
        assert!(at(5).await.is_ok());
        assert_eq!(store.credential_reads(), 2);

        store.put_credential(
            "p#id",
            CredentialRecord {
                active: false,
                ..record()
            },
        );
        assert!(at(64).await.is_ok());
        assert_eq!(at(65).await, Err(CancelError::Forbidden));
        assert_eq!(store.credential_reads(), 3);
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded() {
        let store = MemoryStore::default();
        let keyring = Keyring::new(Duration::from_secs(60));
        for i in 0..REMEMBERED * 2 {
            let id = format!("id{i}");
            store.put_credential(&format!("p#{id}"), record());
            assert!(
                keyring
                    .authenticate(&store, "p", &Credential::public(&id), NOW, Instant::now())
                    .await
                    .is_ok()
            );
            let _ = keyring
                .authenticate(
                    &store,
                    "p",
                    &Credential::public(&format!("no{i}")),
                    NOW,
                    Instant::now(),
                )
                .await;
        }
        assert_eq!(
            keyring.found.entries.lock().expect("a lock").len(),
            REMEMBERED
        );
        assert_eq!(
            keyring.missing.entries.lock().expect("a lock").len(),
            REMEMBERED
        );
    }
}
