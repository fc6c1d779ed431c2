use std::sync::LazyLock;

use hmac::{Hmac, KeyInit, Mac};
use tokio::time::Instant;

use super::{
    cache::CacheEntry,
    credential::{DUMMY_SECRET, sha256},
    *,
};
use crate::{
    key::{self, KeyKind},
    limits::MAX_CACHED_CREDENTIALS,
    store::memory::MemoryStore,
};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

static BUDGET: LazyLock<Budget> = LazyLock::new(|| Budget::until(Instant::now()));

fn after(seconds: f64) -> Timestamp {
    NOW + Duration::from_secs_f64(seconds)
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

fn inactive() -> CredentialRecord {
    CredentialRecord { active: false, ..record() }
}

fn signing_with(signing_secret: Option<&str>) -> CredentialRecord {
    CredentialRecord { signing_secret: signing_secret.map(str::to_owned), ..record() }
}

fn expiring(seconds: f64) -> CredentialRecord {
    CredentialRecord { expires_at: Some(after(seconds)), ..record() }
}

/// The credentials table, and an authenticator before it.
struct Desk {
    store: MemoryStore,
    authenticator: Authenticator,
}

impl Desk {
    fn new() -> Self {
        Self::with(60, false)
    }

    fn with(ttl: u64, issued_only: bool) -> Self {
        let authenticator = Authenticator::new(Duration::from_secs(ttl), issued_only);
        Self { store: MemoryStore::default(), authenticator }
    }

    fn put(&self, record: Option<CredentialRecord>) {
        match record {
            Some(record) => self.store.put_credential("p#id", record),
            None => self.store.delete_credential("p#id"),
        }
    }

    /// That many seconds after [`NOW`].
    async fn at(&self, seconds: f64, credential: Credential<'_>) -> Result<Merchant, AuthError> {
        let now = after(seconds);
        self.authenticator.authenticate(&self.store, "p", &credential, now, &BUDGET).await
    }

    async fn public(&self, seconds: f64, id: &str) -> Result<Merchant, AuthError> {
        self.at(seconds, Credential::public(id)).await
    }

    async fn secret(&self, seconds: f64, secret: &str) -> Result<Merchant, AuthError> {
        self.at(seconds, Credential::pair("id", secret)).await
    }

    fn reads(&self) -> usize {
        self.store.credential_reads()
    }
}

/// What the credential is worth where the table holds this record.
async fn verdict(record: Option<CredentialRecord>, credential: Credential<'_>) -> Verdict {
    let desk = Desk::new();
    desk.put(record);
    desk.at(0.0, credential).await.map(|merchant| assert_eq!(merchant.id, "m"))
}

type Verdict = Result<(), AuthError>;

const REFUSED: Verdict = Err(AuthError::Unauthenticated);

/// RFC 4231, test case 2, as `{timestamp}.{body}` would be cut.
fn signed(tag: &str) -> Credential<'static> {
    let tag = hex::decode(tag).expect("hexadecimal").try_into().expect("32 bytes");
    Credential::signature("id", [b"what do ya", b" want for ", b"nothing?"], tag)
}
const JEFE: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";

#[tokio::test]
async fn a_pair_needs_its_own_secret() {
    assert_eq!(verdict(Some(record()), Credential::pair("id", "token")).await, Ok(()));
    for (known, secret) in [(true, "Token"), (true, ""), (false, "token")] {
        let known = known.then(record);
        assert_eq!(verdict(known, Credential::pair("id", secret)).await, REFUSED);
    }
    // A stored digest that is absent, or of another length, matches nothing.
    for stored in [None, Some(""), Some(DUMMY_SECRET), Some("00"), Some(&*"0".repeat(65))] {
        for secret in ["", "token", stored.unwrap_or_default()] {
            let secret_sha256 = stored.map(str::to_owned);
            let record = CredentialRecord { secret_sha256, ..record() };
            assert_eq!(verdict(Some(record), Credential::pair("id", secret)).await, REFUSED);
        }
    }
}

#[tokio::test]
async fn a_signature_is_the_published_one() {
    let jefe = || Some(signing_with(Some("Jefe")));
    assert_eq!(verdict(jefe(), signed(JEFE)).await, Ok(()));
    assert_eq!(verdict(jefe(), signed(&JEFE.replacen('5', "4", 1))).await, REFUSED);
    assert_eq!(verdict(None, signed(JEFE)).await, REFUSED);
}

#[tokio::test]
async fn an_absent_signing_secret_is_neither_empty_nor_the_dummy() {
    for key in ["", DUMMY_SECRET] {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any key");
        mac.update(b"what do ya want for nothing?");
        let tag = hex::encode(mac.finalize().into_bytes());
        for absent in [None, Some("")] {
            assert_eq!(verdict(Some(signing_with(absent)), signed(&tag)).await, REFUSED);
        }
    }
}

#[tokio::test]
async fn an_expired_credential_is_unknown_and_an_inactive_one_forbidden() {
    let id = || Credential::public("id");
    assert_eq!(verdict(Some(expiring(1.0)), id()).await, Ok(()));
    assert_eq!(verdict(Some(expiring(0.0)), id()).await, REFUSED);
    assert_eq!(verdict(Some(inactive()), id()).await, Err(AuthError::Forbidden));
    let both = CredentialRecord { active: false, ..expiring(0.0) };
    assert_eq!(verdict(Some(both), id()).await, REFUSED);
    // Only a caller who has proved the credential learns that it is disabled.
    assert_eq!(verdict(Some(inactive()), Credential::pair("id", "guess")).await, REFUSED);
}

#[tokio::test]
async fn a_key_id_that_cannot_exist_is_refused_without_a_lookup() {
    let desk = Desk::new();
    for id in ["", "é", "a b", &"k".repeat(256), &"0f".repeat(32)] {
        assert_eq!(desk.public(0.0, id).await, Err(AuthError::Unauthenticated));
    }
    assert_eq!(desk.reads(), 0);
}

/// Every way to be refused: what the table holds then, and what is presented.
fn refusals() -> [(&'static str, Option<CredentialRecord>, &'static str); 4] {
    [
        ("unknown", None, "token"),
        ("wrong", Some(record()), "guess"),
        ("inactive", Some(inactive()), "token"),
        ("expired", Some(expiring(0.0)), "token"),
    ]
}

#[tokio::test]
async fn all_refusals_cost_the_same_lookups_at_any_time() {
    for (why, record, secret) in refusals() {
        let desk = Desk::new();
        desk.put(record);
        let mut reads = Vec::new();
        for seconds in [0.0, 1.0, 4.0, 5.0, 9.0, 10.0, 59.0, 60.0, 61.0, 70.0] {
            assert!(desk.secret(seconds, secret).await.is_err(), "{why} at {seconds}");
            reads.push(desk.reads());
        }
        assert_eq!(reads, [1, 1, 1, 2, 2, 3, 4, 4, 4, 5], "{why}");
    }
}

#[tokio::test]
async fn a_revoked_key_works_for_the_ttl_and_no_longer() {
    for ttl in [0, 1, 5, 60, 3600] {
        for (revoked, expected) in
            [(None, AuthError::Unauthenticated), (Some(inactive()), AuthError::Forbidden)]
        {
            let desk = Desk::with(ttl, false);
            desk.put(Some(record()));
            assert!(desk.secret(0.0, "token").await.is_ok());
            desk.put(revoked);
            // However often it is used meanwhile.
            for halves in 0..ttl as u32 * 2 {
                let used = desk.secret(f64::from(halves) / 2.0, "token").await;
                assert!(used.is_ok(), "after {halves} half seconds of {ttl} s");
            }
            assert_eq!(desk.secret(ttl as f64, "token").await, Err(expected), "after {ttl} s");
        }
    }
}

#[tokio::test]
async fn a_cached_key_expires_on_time() {
    let desk = Desk::new();
    desk.put(Some(expiring(30.0)));
    assert!(desk.secret(0.0, "token").await.is_ok());
    assert!(desk.secret(29.0, "token").await.is_ok());
    assert_eq!(desk.reads(), 1);
    assert_eq!(desk.secret(30.0, "token").await, Err(AuthError::Unauthenticated));
}

#[tokio::test]
async fn a_wrong_guess_finds_a_revocation_and_locks_no_one_out() {
    let desk = Desk::new();
    desk.put(Some(record()));
    assert!(desk.secret(0.0, "token").await.is_ok());
    assert!(desk.secret(10.0, "guess").await.is_err());
    assert!(desk.secret(10.0, "token").await.is_ok());
    desk.put(None);
    assert!(desk.secret(20.0, "guess").await.is_err());
    assert_eq!(desk.secret(20.0, "token").await, Err(AuthError::Unauthenticated));
}

#[tokio::test]
async fn broken_keys_and_with_issued_only_custom_ones_cost_no_lookup() {
    let secret = key::issue(KeyKind::Secret, [1; 32]);
    let id = key::issue(KeyKind::Id, [2; 32]);
    let typo = |key: &str| format!("{}{}", &key[..52], if key.ends_with('0') { 1 } else { 0 });
    let (wrong, wrong_id) = (typo(&secret), typo(&id));
    let signature = |id| Credential::signature(id, [b"", b"", b""], [0; 32]);
    const BROKEN: [usize; 2] = [0, 0];
    const CUSTOM: [usize; 2] = [1, 0];
    const ISSUED: [usize; 2] = [1, 1];
    let presented = || {
        [
            (Credential::secret(&wrong), BROKEN),
            (Credential::secret(&id), BROKEN),
            (Credential::public(&wrong_id), BROKEN),
            (Credential::public(&secret), BROKEN),
            (Credential::pair(&wrong_id, &secret), BROKEN),
            (Credential::pair(&id, &wrong), BROKEN),
            (Credential::pair("own", &wrong), BROKEN),
            (signature(&wrong_id), BROKEN),
            (Credential::secret("own"), CUSTOM),
            (Credential::public("own"), CUSTOM),
            (Credential::pair("own", "own"), CUSTOM),
            (Credential::pair(&id, "own"), CUSTOM),
            (Credential::pair("own", &secret), CUSTOM),
            (signature("own"), CUSTOM),
            (Credential::secret(&secret), ISSUED),
            (Credential::public(&id), ISSUED),
            (Credential::pair(&id, &secret), ISSUED),
            (signature(&id), ISSUED),
        ]
    };
    for issued_only in [false, true] {
        for (credential, reads) in presented() {
            let desk = Desk::with(60, issued_only);
            assert_eq!(desk.at(0.0, credential).await, Err(AuthError::Unauthenticated));
            assert_eq!(desk.reads(), reads[usize::from(issued_only)]);
        }
    }
}

#[tokio::test]
async fn a_merchant_keeps_its_signature_and_debug_hides_it() {
    let desk = Desk::new();
    desk.put(Some(signing_with(Some("Jefe"))));
    let merchant = desk.at(0.0, signed(JEFE)).await.unwrap();
    let digest = merchant.signature().unwrap().digest();
    // printf %s 5bdc…3843 | xxd -r -p | sha256sum
    assert_eq!(digest, "86ea816be859ea16764f6371c1b0e0b5577efb5e6e72b20ed5f683c503f8e80f");
    let shown = format!("{merchant:?}");
    assert!(!shown.contains(JEFE) && !shown.contains("91, 220"), "{shown}");
    assert_eq!(desk.secret(0.0, "token").await.unwrap().signature(), None);
}

#[tokio::test]
async fn unknown_keys_evict_no_known_one() {
    let desk = Desk::new();
    desk.put(Some(record()));
    assert!(desk.public(0.0, "id").await.is_ok());
    for n in 0..MAX_CACHED_CREDENTIALS * 2 {
        assert!(desk.public(0.0, &format!("no{n}")).await.is_err());
    }
    let reads = desk.reads();
    assert!(desk.public(0.0, "id").await.is_ok());
    assert_eq!(desk.reads(), reads);
}

#[tokio::test]
async fn the_cache_is_bounded() {
    let desk = Desk::new();
    for n in 0..MAX_CACHED_CREDENTIALS * 2 {
        desk.store.put_credential(&format!("p#id{n}"), record());
        assert!(desk.public(0.0, &format!("id{n}")).await.is_ok());
        assert!(desk.public(0.0, &format!("no{n}")).await.is_err());
    }
    let entries = desk.authenticator.cache.entries();
    assert_eq!(entries.len(), 2 * MAX_CACHED_CREDENTIALS);
    let missing = |entry: &&CacheEntry| entry.record.merchant_id.is_empty();
    assert_eq!(entries.values().filter(missing).count(), MAX_CACHED_CREDENTIALS);
}

#[tokio::test]
async fn a_full_cache_evicts_expired_entries_before_live_ones() {
    let desk = Desk::new();
    let present = async |id: &str, seconds| {
        desk.store.put_credential(&format!("p#{id}"), record());
        assert!(desk.public(seconds, id).await.is_ok(), "{id}");
    };
    present("live", 50.0).await;
    for n in 1..MAX_CACHED_CREDENTIALS {
        present(&format!("old{n}"), 0.0).await;
    }
    let reads = desk.reads();
    present("new", 60.0).await;
    present("live", 60.0).await;
    assert_eq!(desk.reads(), reads + 1);
    assert_eq!(desk.authenticator.cache.entries().len(), 2);
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!(
        "{:?} {:?} {:?}",
        record(),
        Credential::pair("id", "hunter2"),
        Credential::signature("id", [b"body", b"", b""], [0x5b; 32]),
    );
    for secret in ["hunter2", "key\"", "98, 111", "91, 91", &hex::encode(sha256("token"))] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn secrets_are_compared_in_constant_time() {
    // `==` has the same result, so no test of results can distinguish them.
    let code = include_str!("credential.rs");
    assert_eq!(code.matches(".ct_eq(").count(), 2);
}
