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
) -> Result<String, AuthError> {
    let store = MemoryStore::default();
    if let Some(record) = record {
        store.put_credential("p#id", record);
    }
    let authenticator = Authenticator::new(Duration::from_secs(60), false);
    authenticator
        .authenticate(&store, "p", &credential, NOW, &BUDGET)
        .await
        .map(|merchant| merchant.id)
}

/// RFC 4231, test case 2, as `{timestamp}.{body}` would be cut.
fn signed(tag: &str) -> Credential<'static> {
    let tag = hex::decode(tag).expect("hexadecimal").try_into().expect("32 bytes");
    Credential::signature("id", [b"what do ya", b" want for ", b"nothing?"], tag)
}
const JEFE: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";

#[tokio::test]
async fn a_pair_needs_its_own_secret() {
    assert_eq!(try_with(Some(record()), Credential::pair("id", "token")).await, Ok("m".into()));
    for (known, secret) in [(true, "Token"), (true, ""), (false, "token")] {
        let known = known.then(record);
        assert_eq!(
            try_with(known, Credential::pair("id", secret)).await,
            Err(AuthError::Unauthenticated)
        );
    }
    let without = CredentialRecord { secret_sha256: None, ..record() };
    assert_eq!(
        try_with(Some(without), Credential::pair("id", "")).await,
        Err(AuthError::Unauthenticated)
    );
}

#[tokio::test]
async fn a_signature_is_the_published_one() {
    let jefe = || CredentialRecord { signing_secret: Some("Jefe".into()), ..record() };
    assert_eq!(try_with(Some(jefe()), signed(JEFE)).await, Ok("m".into()));
    let flipped = JEFE.replacen('5', "4", 1);
    assert_eq!(try_with(Some(jefe()), signed(&flipped)).await, Err(AuthError::Unauthenticated));
    assert_eq!(try_with(None, signed(JEFE)).await, Err(AuthError::Unauthenticated));
}

#[tokio::test]
async fn an_absent_signing_secret_is_neither_empty_nor_the_dummy() {
    for key in ["", DUMMY_SECRET] {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any key");
        mac.update(b"what do ya want for nothing?");
        let tag = hex::encode(mac.finalize().into_bytes());
        for absent in [None, Some(String::new())] {
            let record = CredentialRecord { signing_secret: absent, ..record() };
            assert_eq!(try_with(Some(record), signed(&tag)).await, Err(AuthError::Unauthenticated));
        }
    }
}

#[tokio::test]
async fn an_expired_credential_is_unknown_and_an_inactive_one_forbidden() {
    let with = |active, end: Option<i64>| CredentialRecord {
        active,
        expires_at: end.map(after),
        ..record()
    };
    assert_eq!(try_with(Some(with(true, Some(1))), Credential::public("id")).await, Ok("m".into()));
    assert_eq!(
        try_with(Some(with(true, Some(0))), Credential::public("id")).await,
        Err(AuthError::Unauthenticated)
    );
    assert_eq!(
        try_with(Some(with(false, None)), Credential::public("id")).await,
        Err(AuthError::Forbidden)
    );
    assert_eq!(
        try_with(Some(with(false, Some(0))), Credential::public("id")).await,
        Err(AuthError::Unauthenticated)
    );
    // Only a caller who has proved the credential learns that it is disabled.
    assert_eq!(
        try_with(Some(with(false, None)), Credential::pair("id", "guess")).await,
        Err(AuthError::Unauthenticated)
    );
}

#[tokio::test]
async fn a_key_id_that_cannot_exist_is_refused_without_a_lookup() {
    let store = MemoryStore::default();
    let authenticator = Authenticator::new(Duration::from_secs(60), false);
    for id in ["", "é", "a b", &"k".repeat(256), &"0f".repeat(32)] {
        let refused =
            authenticator.authenticate(&store, "p", &Credential::public(id), NOW, &BUDGET).await;
        assert_eq!(refused, Err(AuthError::Unauthenticated));
    }
    assert_eq!(store.credential_reads(), 0);
}

#[tokio::test]
async fn a_found_credential_is_cached_for_longer_than_a_missing_one() {
    let store = MemoryStore::default();
    let authenticator = Authenticator::new(Duration::from_secs(60), false);
    let credential = Credential::public("id");
    let at =
        |seconds| authenticator.authenticate(&store, "p", &credential, after(seconds), &BUDGET);

    assert_eq!(at(0).await, Err(AuthError::Unauthenticated));
    store.put_credential("p#id", record());
    assert_eq!(at(4).await, Err(AuthError::Unauthenticated));
    assert!(at(5).await.is_ok());
    assert_eq!(store.credential_reads(), 2);

    store.put_credential("p#id", CredentialRecord { active: false, ..record() });
    assert!(at(64).await.is_ok());
    assert_eq!(at(65).await, Err(AuthError::Forbidden));
    assert_eq!(store.credential_reads(), 3);
}

/// Every way to be refused, and the table's contents then.
fn refusals() -> [(&'static str, Option<CredentialRecord>, bool); 4] {
    let inactive = CredentialRecord { active: false, ..record() };
    let expired = CredentialRecord { expires_at: Some(NOW), ..record() };
    [
        ("unknown", None, true),
        ("wrong", Some(record()), false),
        ("inactive", Some(inactive), true),
        ("expired", Some(expired), true),
    ]
}

#[tokio::test]
async fn all_refusals_cost_the_same_lookups_at_any_time() {
    for (why, record, right) in refusals() {
        let store = MemoryStore::default();
        let authenticator = Authenticator::new(Duration::from_secs(60), false);
        if let Some(record) = record {
            store.put_credential("p#id", record);
        }
        let mut reads = Vec::new();
        for seconds in [0, 1, 4, 5, 9, 10, 59, 60, 61, 70] {
            let credential = Credential::pair("id", if right { "token" } else { "guess" });
            let refused =
                authenticator.authenticate(&store, "p", &credential, after(seconds), &BUDGET);
            assert!(refused.await.is_err(), "{why} at {seconds}");
            reads.push(store.credential_reads());
        }
        assert_eq!(reads, [1, 1, 1, 2, 2, 3, 4, 4, 4, 5], "{why}");
    }
}

#[tokio::test]
async fn a_refused_key_that_becomes_valid_is_accepted_within_5_seconds() {
    for (why, refused, _) in refusals().into_iter().filter(|(.., right)| *right) {
        let store = MemoryStore::default();
        let authenticator = Authenticator::new(Duration::from_secs(60), false);
        let credential = Credential::pair("id", "token");
        let at =
            |seconds| authenticator.authenticate(&store, "p", &credential, after(seconds), &BUDGET);
        if let Some(refused) = refused {
            store.put_credential("p#id", refused);
        }
        assert!(at(0).await.is_err(), "{why}");
        store.put_credential("p#id", record());
        assert!(at(5).await.is_ok(), "{why}");
    }
}

#[tokio::test]
async fn a_revoked_key_works_for_the_ttl_and_no_longer() {
    for ttl in [0, 1, 5, 60, 3600] {
        for deleted in [false, true] {
            let store = MemoryStore::default();
            let authenticator = Authenticator::new(Duration::from_secs(ttl), false);
            let credential = Credential::pair("id", "token");
            let ttl = i64::try_from(ttl).unwrap();
            let at = |milliseconds| {
                let now = Timestamp::from_millisecond(milliseconds).unwrap();
                authenticator.authenticate(&store, "p", &credential, now, &BUDGET)
            };
            store.put_credential("p#id", record());
            assert!(at(0).await.is_ok());
            let revoked = CredentialRecord { active: false, ..record() };
            let expected = if deleted {
                store.delete_credential("p#id");
                AuthError::Unauthenticated
            } else {
                store.put_credential("p#id", revoked);
                AuthError::Forbidden
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
async fn a_cached_key_expires_on_time() {
    let store = MemoryStore::default();
    let authenticator = Authenticator::new(Duration::from_secs(60), false);
    let credential = Credential::pair("id", "token");
    let at =
        |seconds| authenticator.authenticate(&store, "p", &credential, after(seconds), &BUDGET);
    let ends = CredentialRecord { expires_at: Some(after(30)), ..record() };
    store.put_credential("p#id", ends);
    assert!(at(0).await.is_ok());
    assert!(at(29).await.is_ok());
    assert_eq!(store.credential_reads(), 1);
    assert_eq!(at(30).await, Err(AuthError::Unauthenticated));
}

#[tokio::test]
async fn a_wrong_guess_finds_a_revocation_and_locks_no_one_out() {
    let store = MemoryStore::default();
    let authenticator = Authenticator::new(Duration::from_secs(60), false);
    let present = |secret, seconds| {
        let (authenticator, store) = (&authenticator, &store);
        async move {
            let credential = Credential::pair("id", secret);
            authenticator.authenticate(store, "p", &credential, after(seconds), &BUDGET).await
        }
    };
    store.put_credential("p#id", record());
    assert!(present("token", 0).await.is_ok());
    assert!(present("guess", 10).await.is_err());
    assert!(present("token", 10).await.is_ok());
    store.delete_credential("p#id");
    assert!(present("guess", 20).await.is_err());
    assert_eq!(present("token", 20).await, Err(AuthError::Unauthenticated));
}

#[tokio::test]
async fn broken_keys_and_with_issued_only_custom_ones_cost_no_lookup() {
    let secret = key::issue(KeyKind::Secret, [1; 32]);
    let id = key::issue(KeyKind::Id, [2; 32]);
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
    let keys = || {
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
        let authenticator = Authenticator::new(Duration::from_secs(60), issued_only);
        let refused = authenticator.authenticate(&store, "p", &credential, NOW, &BUDGET);
        assert_eq!(refused.await, Err(AuthError::Unauthenticated));
        store.credential_reads()
    }
    for issued_only in [false, true] {
        for credential in broken() {
            assert_eq!(reads(credential, issued_only).await, 0);
        }
        for credential in keys() {
            assert_eq!(reads(credential, issued_only).await, usize::from(!issued_only));
        }
        for credential in issued() {
            assert_eq!(reads(credential, issued_only).await, 1);
        }
    }
}

#[tokio::test]
async fn a_stored_digest_of_another_length_matches_no_secret() {
    for stored in ["", DUMMY_SECRET, "00", &"0".repeat(65)] {
        let record = CredentialRecord { secret_sha256: Some(stored.into()), ..record() };
        for secret in ["", "token", stored] {
            assert_eq!(
                try_with(Some(record.clone()), Credential::pair("id", secret)).await,
                Err(AuthError::Unauthenticated)
            );
        }
    }
}

#[tokio::test]
async fn a_merchant_keeps_its_signature_and_debug_hides_it() {
    let store = MemoryStore::default();
    let jefe = CredentialRecord { signing_secret: Some("Jefe".into()), ..record() };
    store.put_credential("p#id", jefe);
    let authenticator = Authenticator::new(Duration::from_secs(60), false);
    let credential = signed(JEFE);
    let merchant =
        authenticator.authenticate(&store, "p", &credential, NOW, &BUDGET).await.unwrap();
    let digest = merchant.signature().unwrap().digest();
    // printf %s 5bdc…3843 | xxd -r -p | sha256sum
    assert_eq!(digest, "86ea816be859ea16764f6371c1b0e0b5577efb5e6e72b20ed5f683c503f8e80f");
    let shown = format!("{merchant:?}");
    assert!(!shown.contains(JEFE) && !shown.contains("91, 220"), "{shown}");

    let pair = Credential::pair("id", "token");
    let merchant = authenticator.authenticate(&store, "p", &pair, NOW, &BUDGET);
    assert_eq!(merchant.await.unwrap().signature(), None);
}

#[tokio::test]
async fn unknown_keys_evict_no_known_one() {
    let store = MemoryStore::default();
    let authenticator = Authenticator::new(Duration::from_secs(60), false);
    let present = |id: String| {
        let (authenticator, store) = (&authenticator, &store);
        async move {
            let credential = Credential::public(&id);
            authenticator.authenticate(store, "p", &credential, NOW, &BUDGET).await
        }
    };
    store.put_credential("p#id", record());
    assert!(present("id".into()).await.is_ok());
    for n in 0..MAX_CACHED_CREDENTIALS * 2 {
        assert!(present(format!("no{n}")).await.is_err());
    }
    let reads = store.credential_reads();
    assert!(present("id".into()).await.is_ok());
    assert_eq!(store.credential_reads(), reads);
}

#[tokio::test]
async fn the_cache_is_bounded() {
    let store = MemoryStore::default();
    let authenticator = Authenticator::new(Duration::from_secs(60), false);
    for i in 0..MAX_CACHED_CREDENTIALS * 2 {
        let id = format!("id{i}");
        store.put_credential(&format!("p#{id}"), record());
        assert!(
            authenticator
                .authenticate(&store, "p", &Credential::public(&id), NOW, &BUDGET)
                .await
                .is_ok()
        );
        let _ = authenticator
            .authenticate(&store, "p", &Credential::public(&format!("no{i}")), NOW, &BUDGET)
            .await;
    }
    let entries = authenticator.cache.entries();
    assert_eq!(entries.len(), 2 * MAX_CACHED_CREDENTIALS);
    let missing = |entry: &&CacheEntry| entry.record.merchant_id.is_empty();
    assert_eq!(entries.values().filter(missing).count(), MAX_CACHED_CREDENTIALS);
}

#[tokio::test]
async fn a_full_cache_evicts_expired_entries_before_live_ones() {
    let store = MemoryStore::default();
    let authenticator = Authenticator::new(Duration::from_secs(60), false);
    let present = async |id: &str, seconds| {
        store.put_credential(&format!("p#{id}"), record());
        let credential = Credential::public(id);
        let found = authenticator.authenticate(&store, "p", &credential, after(seconds), &BUDGET);
        assert!(found.await.is_ok(), "{id}");
    };
    present("live", 50).await;
    for i in 1..MAX_CACHED_CREDENTIALS {
        present(&format!("old{i}"), 0).await;
    }
    let reads = store.credential_reads();
    present("new", 60).await;
    present("live", 60).await;
    assert_eq!(store.credential_reads(), reads + 1);
    assert_eq!(authenticator.cache.entries().len(), 2);
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
