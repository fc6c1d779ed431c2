//! From a presented credential to a merchant.
//!
//! A [`Merchant`] can only be made here, so a cancel without authentication cannot be written down. Unknown, wrong, inactive and
//! expired credentials cost the same look-ups and the same comparisons. All but the inactive get the same answer, and that one only who has proved
//! the credential.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::{
    cancel::CancelError,
    clock::Timestamp,
    key::{self, Form, Kind},
    store::{Credentials, StoreError},
};

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

    /// The signature that proved it, where one did.
    #[must_use]
    pub fn signature(&self) -> Option<&Signature> {
        self.signature.as_ref()
    }
}

/// A signature that was right.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature([u8; 32]);

impl Signature {
    /// Its SHA-256 in hexadecimal: names the signature to those who have it, and does not give it to those who have not.
    #[must_use]
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(self.0))
    }
}

impl std::fmt::Debug for Signature {
    /// Without its bytes: while its window is open, who has them is the merchant.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signature(…)")
    }
}

/// What a request presents: a key id to look up, and the proof that it is the caller's.
#[derive(Debug)]
pub struct Credential<'r> {
    key_id: Cow<'r, str>,
    proof: Proof<'r>,
    /// The worst of what is presented.
    form: Form,
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
            form: key::form(id, Kind::Id),
        }
    }

    /// A secret that is also the name of the account: looked up by its SHA-256.
    #[must_use]
    pub fn secret(secret: &str) -> Self {
        Self {
            key_id: Cow::Owned(hex::encode(sha256(secret))),
            proof: Proof::Digest,
            form: key::form(secret, Kind::Secret),
        }
    }

    /// A public id and a secret that goes with it.
    #[must_use]
    pub fn pair(id: &'r str, secret: &'r str) -> Self {
        Self {
            key_id: Cow::Borrowed(id),
            proof: Proof::Secret(secret),
            form: key::form(id, Kind::Id).min(key::form(secret, Kind::Secret)),
        }
    }

    /// A public id and an HMAC-SHA256 `tag` over `parts`, one after another, under the id's signing secret.
    #[must_use]
    pub fn signature(id: &'r str, parts: [&'r [u8]; 3], tag: [u8; 32]) -> Self {
        Self {
            key_id: Cow::Borrowed(id),
            proof: Proof::Signature { parts, tag },
            form: key::form(id, Kind::Id),
        }
    }
}

impl Credential<'_> {
    /// Where the credentials table has it: `{provider}#{key id}`.
    #[must_use]
    pub fn pk(&self, provider: &str) -> String {
        format!("{provider}#{}", self.key_id)
    }

    /// Whether the table can hold such a key id at all. A public id in the form of a digest is nobody's: it would name the
    /// account of another caller's secret without the secret. Neither is a key that claims to be one of ours and is none.
    #[must_use]
    pub fn may_exist(&self, issued_only: bool) -> bool {
        let id = self.key_id.as_bytes();
        let digest = id.len() == 64 && id.iter().all(u8::is_ascii_hexdigit);
        (1..=LONGEST_KEY_ID).contains(&id.len())
            && id.iter().all(u8::is_ascii_graphic)
            && digest == matches!(self.proof, Proof::Digest)
            && match self.form {
                Form::Broken => false,
                Form::Foreign => !issued_only,
                Form::Issued => true,
            }
    }

    /// What the caller is, by this record.
    fn judge(
        &self,
        record: Option<&CredentialRecord>,
        now: Timestamp,
    ) -> Result<Merchant, CancelError> {
        let fits = self.proof.fits(record);
        // No short cut past the time, which would tell a wrong credential from an expired one.
        let current = |end: Option<Timestamp>| now < end.unwrap_or(Timestamp::MAX);
        match record.filter(|record| fits & current(record.expires_at)) {
            Some(CredentialRecord { active: false, .. }) => Err(CancelError::Forbidden),
            Some(record) => Ok(Merchant {
                id: record.merchant_id.clone(),
                api_version: record.api_version.clone(),
                signature: match self.proof {
                    Proof::Signature { tag, .. } => Some(Signature(tag)),
                    Proof::Public | Proof::Digest | Proof::Secret(_) => None,
                },
            }),
            None => Err(CancelError::Unauthenticated),
        }
    }
}

/// Stands in for the digest or the signing secret that is not there: as long as a real one, and right for nobody.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl Proof<'_> {
    /// Whether the proof fits `record`. Where there is no record, or it lacks what must match, the work is done all the same against
    /// [`NOTHING`], and fails.
    fn fits(&self, record: Option<&CredentialRecord>) -> bool {
        match self {
            Self::Public | Self::Digest => record.is_some(),
            Self::Secret(secret) => {
                // Texts of different lengths would be told apart at once.
                let stored = record
                    .and_then(|record| record.secret_sha256.as_deref())
                    .filter(|digest| digest.len() == NOTHING.len());
                let presented = hex::encode(sha256(secret));
                let right = presented
                    .as_bytes()
                    .ct_eq(stored.unwrap_or(NOTHING).as_bytes());
                stored.is_some() & bool::from(right)
            }
            Self::Signature { parts, tag } => {
                let stored = record
                    .and_then(|record| record.signing_secret.as_deref())
                    .filter(|secret| !secret.is_empty());
                let Ok(mut mac) =
                    Hmac::<Sha256>::new_from_slice(stored.unwrap_or(NOTHING).as_bytes())
                else {
                    return false; // HMAC takes keys of any length.
                };
                for part in parts {
                    mac.update(part);
                }
                let right = mac.finalize().into_bytes().ct_eq(tag);
                stored.is_some() & bool::from(right)
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

/// How long a refusal stands without another look: long enough to take the weight off a client that keeps trying, short enough for a
/// key that has just been issued or switched on.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// A key id longer than this is nobody's: a table key has at most 2,048 bytes.
const LONGEST_KEY_ID: usize = 255;

/// Looks credentials up and remembers them for a while.
#[derive(Debug)]
pub struct Keyring {
    issued_only: bool,
    remembered: Remembered,
}

impl Keyring {
    /// A keyring that remembers a found credential for `ttl`: the time a revoked one may still work.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self {
            issued_only: false,
            remembered: Remembered::within(ttl),
        }
    }

    /// The same, and whether it refuses all keys that are not [in our form](key), without a look-up.
    #[must_use]
    pub fn issued_only(self, issued_only: bool) -> Self {
        Self {
            issued_only,
            ..self
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
        if !credential.may_exist(self.issued_only) {
            return credential.judge(None, now);
        }
        let pk = credential.pk(provider);
        if let Some(known) = self.remembered.get(&pk, now) {
            let judged = credential.judge(Some(&known.record), now);
            // As an unknown key is looked for again after that time, a refused one is.
            if judged.is_ok() || now < known.refused_until {
                return judged;
            }
        }
        let record = store.find(&pk, until).await.map_err(|error| match error {
            StoreError::Undecided => CancelError::Undecided,
            StoreError::Internal => CancelError::Internal,
        })?;
        let judged = credential.judge(record.as_ref(), now);
        self.remembered.put(pk, record, now);
        judged
    }
}

/// What the table said of each key, for a while, found or missing: in one place and looked up in one way, so that the time it takes does not tell which.
#[derive(Debug)]
struct Remembered {
    ttl: Duration,
    /// Stands for a record that is missing, so that such a key is judged by the same work as any. Whatever proves it, it ended before all time.
    nobody: Arc<CredentialRecord>,
    entries: Mutex<HashMap<String, Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    record: Arc<CredentialRecord>,
    refused_until: Timestamp,
    until: Timestamp,
}

impl Remembered {
    fn within(ttl: Duration) -> Self {
        let nobody = CredentialRecord {
            secret_sha256: Some(NOTHING.to_owned()),
            signing_secret: Some(NOTHING.to_owned()),
            expires_at: Some(Timestamp::MIN),
            ..CredentialRecord::default()
        };
        Self {
            ttl,
            nobody: Arc::new(nobody),
            entries: Mutex::default(),
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &str, now: Timestamp) -> Option<Known> {
        let entries = self.entries();
        entries.get(key).filter(|known| now < known.until).cloned()
    }

    /// Neither kind of entry pushes out one of the other.
    fn put(&self, key: String, record: Option<CredentialRecord>, now: Timestamp) {
        if self.ttl.is_zero() {
            return;
        }
        let after = |ttl| now.checked_add(ttl).unwrap_or(Timestamp::MAX);
        let known = Known {
            record: record.map_or_else(|| Arc::clone(&self.nobody), Arc::new),
            refused_until: after(self.ttl.min(REFUSED_FOR)),
            until: after(self.ttl),
        };
        let missing = |known: &Known| Arc::ptr_eq(&known.record, &self.nobody);
        let alike = |other: &Known| missing(other) == missing(&known);
        let mut entries = self.entries();
        let full = |entries: &HashMap<String, Known>| {
            entries.values().filter(|other| alike(other)).count() >= REMEMBERED
        };
        if !entries.contains_key(&key) && full(&entries) {
            entries.retain(|_, known| now < known.until);
            if full(&entries)
                && let Some(any) = entries.iter().find(|(_, other)| alike(other))
            {
                let any = any.0.clone();
                entries.remove(&any);
            }
        }
        entries.insert(key, known);
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
    async fn an_absent_signing_secret_is_neither_an_empty_one_nor_its_stand_in() {
        for key in ["", NOTHING] {
            let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any key");
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
        for id in ["", "é", "a b", &"k".repeat(256), &"0f".repeat(32)] {
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

    /// Every way to be refused, and what lies in the table then.
    fn refusals() -> [(&'static str, Option<CredentialRecord>, bool); 4] {
        let inactive = CredentialRecord {
            active: false,
            ..record()
        };
        let expired = CredentialRecord {
            expires_at: Some(NOW),
            ..record()
        };
        [
            ("unknown", None, true),
            ("wrong", Some(record()), false),
            ("inactive", Some(inactive), true),
            ("expired", Some(expired), true),
        ]
    }

    #[tokio::test]
    async fn unknown_wrong_inactive_and_expired_keys_cost_the_same_look_ups_at_any_time() {
        for (why, record, right) in refusals() {
            let store = MemoryStore::default();
            let keyring = Keyring::new(Duration::from_secs(60));
            if let Some(record) = record {
                store.put_credential("p#id", record);
            }
            let mut reads = Vec::new();
            for seconds in [0, 1, 4, 5, 9, 10, 59, 60, 61, 70] {
                let credential = Credential::pair("id", if right { "token" } else { "guess" });
                let refused =
                    keyring.authenticate(&store, "p", &credential, after(seconds), Instant::now());
                assert!(refused.await.is_err(), "{why} at {seconds}");
                reads.push(store.credential_reads());
            }
            assert_eq!(reads, [1, 1, 1, 2, 2, 3, 4, 4, 4, 5], "{why}");
        }
    }

    #[tokio::test]
    async fn a_refused_key_that_becomes_right_is_taken_within_five_seconds() {
        for (why, refused, _) in refusals().into_iter().filter(|(.., right)| *right) {
            let store = MemoryStore::default();
            let keyring = Keyring::new(Duration::from_secs(60));
            let credential = Credential::pair("id", "token");
            let at = |seconds| {
                keyring.authenticate(&store, "p", &credential, after(seconds), Instant::now())
            };
            if let Some(refused) = refused {
                store.put_credential("p#id", refused);
            }
            assert!(at(0).await.is_err(), "{why}");
            store.put_credential("p#id", record());
            assert!(at(5).await.is_ok(), "{why}");
        }
    }

    #[tokio::test]
    async fn a_revoked_key_works_for_the_time_it_is_remembered_and_no_longer() {
        for ttl in [0, 1, 5, 60, 3600] {
            for deleted in [false, true] {
                let store = MemoryStore::default();
                let keyring = Keyring::new(Duration::from_secs(ttl));
                let credential = Credential::pair("id", "token");
                let ttl = i64::try_from(ttl).unwrap();
                let at = |milliseconds| {
                    let now = Timestamp::from_millisecond(milliseconds).unwrap();
                    keyring.authenticate(&store, "p", &credential, now, Instant::now())
                };
                store.put_credential("p#id", record());
                assert!(at(0).await.is_ok());
                let revoked = CredentialRecord {
                    active: false,
                    ..record()
                };
                let expected = if deleted {
                    store.delete_credential("p#id");
                    CancelError::Unauthenticated
                } else {
                    store.put_credential("p#id", revoked);
                    CancelError::Forbidden
                };
                // However often it is used meanwhile.
                for milliseconds in (0..ttl * 1000).step_by(500) {
                    assert!(at(milliseconds).await.is_ok(), "{milliseconds} of {ttl} s");
                }
                assert_eq!(at(ttl * 1000).await, Err(expected), "after {ttl} s");
            }
        }
    }

    #[tokio::test]
    async fn the_end_of_a_key_is_seen_in_what_is_remembered_of_it() {
        let store = MemoryStore::default();
        let keyring = Keyring::new(Duration::from_secs(60));
        let credential = Credential::pair("id", "token");
        let at = |seconds| {
            keyring.authenticate(&store, "p", &credential, after(seconds), Instant::now())
        };
        let ends = CredentialRecord {
            expires_at: Some(after(30)),
            ..record()
        };
        store.put_credential("p#id", ends);
        assert!(at(0).await.is_ok());
        assert!(at(29).await.is_ok());
        assert_eq!(store.credential_reads(), 1);
        assert_eq!(at(30).await, Err(CancelError::Unauthenticated));
    }

    #[tokio::test]
    async fn a_wrong_guess_finds_the_revocation_and_locks_nobody_out() {
        let store = MemoryStore::default();
        let keyring = Keyring::new(Duration::from_secs(60));
        let ask = |secret, seconds| {
            let (keyring, store) = (&keyring, &store);
            async move {
                let credential = Credential::pair("id", secret);
                keyring
                    .authenticate(store, "p", &credential, after(seconds), Instant::now())
                    .await
            }
        };
        store.put_credential("p#id", record());
        assert!(ask("token", 0).await.is_ok());
        assert!(ask("guess", 10).await.is_err());
        assert!(ask("token", 10).await.is_ok());
        store.delete_credential("p#id");
        assert!(ask("guess", 20).await.is_err());
        assert_eq!(ask("token", 20).await, Err(CancelError::Unauthenticated));
    }

    #[tokio::test]
    async fn a_broken_key_is_refused_without_a_look_up_and_a_foreign_one_where_only_ours_count() {
        let secret = key::issue(Kind::Secret, [1; 32]);
        let id = key::issue(Kind::Id, [2; 32]);
        let typo = |key: &str| format!("{}{}", &key[..52], if key.ends_with('0') { 1 } else { 0 });
        let (wrong, wrong_id) = (typo(&secret), typo(&id));
        let signature = |id| Credential::signature(id, [b"", b"", b""], [0; 32]);
        let broken = || {
            [
                Credential::secret(&wrong),
                Credential::secret(&id),
                Credential::public(&wrong_id),
                Credential::public(&secret),
                Credential::pair(&wrong_id, &secret),
                Credential::pair(&id, &wrong),
                Credential::pair("own", &wrong),
                signature(&wrong_id),
            ]
        };
        let foreign = || {
            [
                Credential::secret("own"),
                Credential::public("own"),
                Credential::pair("own", "own"),
                Credential::pair(&id, "own"),
                Credential::pair("own", &secret),
                signature("own"),
            ]
        };
        let issued = || {
            [
                Credential::secret(&secret),
                Credential::public(&id),
                Credential::pair(&id, &secret),
                signature(&id),
            ]
        };
        async fn reads(credential: Credential<'_>, issued_only: bool) -> usize {
            let store = MemoryStore::default();
            let keyring = Keyring::new(Duration::from_secs(60)).issued_only(issued_only);
            let refused = keyring.authenticate(&store, "p", &credential, NOW, Instant::now());
            assert_eq!(refused.await, Err(CancelError::Unauthenticated));
            store.credential_reads()
        }
        for issued_only in [false, true] {
            for credential in broken() {
                assert_eq!(reads(credential, issued_only).await, 0);
            }
            for credential in foreign() {
                assert_eq!(
                    reads(credential, issued_only).await,
                    usize::from(!issued_only)
                );
            }
            for credential in issued() {
                assert_eq!(reads(credential, issued_only).await, 1);
            }
        }
    }

    #[tokio::test]
    async fn a_stored_digest_that_is_none_fits_no_secret() {
        for stored in ["", NOTHING, "00", &"0".repeat(65)] {
            let record = CredentialRecord {
                secret_sha256: Some(stored.into()),
                ..record()
            };
            for secret in ["", "token", stored] {
                assert_eq!(
                    try_with(Some(record.clone()), Credential::pair("id", secret)).await,
                    Err(CancelError::Unauthenticated)
                );
            }
        }
    }

    #[tokio::test]
    async fn only_a_signature_is_remembered_of_its_merchant_and_does_not_show_itself() {
        let store = MemoryStore::default();
        let jefe = CredentialRecord {
            signing_secret: Some("Jefe".into()),
            ..record()
        };
        store.put_credential("p#id", jefe);
        let keyring = Keyring::new(Duration::from_secs(60));
        let credential = signed(JEFE);
        let merchant = keyring
            .authenticate(&store, "p", &credential, NOW, Instant::now())
            .await
            .unwrap();
        let digest = merchant.signature().unwrap().digest();
        // printf %s 5bdc…3843 | xxd -r -p | sha256sum
        assert_eq!(
            digest,
            "86ea816be859ea16764f6371c1b0e0b5577efb5e6e72b20ed5f683c503f8e80f"
        );
        let shown = format!("{merchant:?}");
        assert!(
            !shown.contains(JEFE) && !shown.contains("91, 220"),
            "{shown}"
        );

        let pair = Credential::pair("id", "token");
        let merchant = keyring.authenticate(&store, "p", &pair, NOW, Instant::now());
        assert_eq!(merchant.await.unwrap().signature(), None);
    }

    #[tokio::test]
    async fn unknown_keys_push_out_no_known_one() {
        let store = MemoryStore::default();
        let keyring = Keyring::new(Duration::from_secs(60));
        let ask = |id: String| {
            let (keyring, store) = (&keyring, &store);
            async move {
                let credential = Credential::public(&id);
                keyring
                    .authenticate(store, "p", &credential, NOW, Instant::now())
                    .await
            }
        };
        store.put_credential("p#id", record());
        assert!(ask("id".into()).await.is_ok());
        for n in 0..REMEMBERED * 2 {
            assert!(ask(format!("no{n}")).await.is_err());
        }
        let reads = store.credential_reads();
        assert!(ask("id".into()).await.is_ok());
        assert_eq!(store.credential_reads(), reads);
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
        let entries = keyring.remembered.entries();
        assert_eq!(entries.len(), 2 * REMEMBERED);
        let missing = |known: &&Known| known.record.merchant_id.is_empty();
        assert_eq!(entries.values().filter(missing).count(), REMEMBERED);
    }
}
