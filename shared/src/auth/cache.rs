//! Found and missing credentials, cached in one map and looked up in one way, so that the time a
//! lookup takes does not reveal which one it found.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::credential::{CredentialRecord, DUMMY_SECRET};
use crate::{
    clock::Timestamp,
    limits::{MAX_CACHED_CREDENTIALS, NEGATIVE_TTL},
};

#[derive(Debug)]
pub(super) struct CredentialCache {
    ttl: Duration,
    /// Takes the place of a missing record, so that a missing key is verified by the same work as
    /// any. It has always been expired.
    missing: Arc<CredentialRecord>,
    entries: Mutex<HashMap<String, CacheEntry>>,
}

#[derive(Debug, Clone)]
pub(super) struct CacheEntry {
    pub(super) record: Arc<CredentialRecord>,
    /// Until then it may refuse a caller. Accepting one, it is valid for longer.
    pub(super) refuses_until: Timestamp,
    expires_at: Timestamp,
}

impl CredentialCache {
    pub(super) fn new(ttl: Duration) -> Self {
        let missing = CredentialRecord {
            secret_sha256: Some(DUMMY_SECRET.to_owned()),
            signing_secret: Some(DUMMY_SECRET.to_owned()),
            expires_at: Some(Timestamp::MIN),
            ..CredentialRecord::default()
        };
        Self { ttl, missing: Arc::new(missing), entries: Mutex::default() }
    }

    pub(super) fn entries(&self) -> MutexGuard<'_, HashMap<String, CacheEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, pk: &str, now: Timestamp) -> Option<CacheEntry> {
        let entries = self.entries();
        let entry = entries.get(pk).filter(|entry| now < entry.expires_at);
        entry.cloned()
    }

    /// Found and missing credentials never evict each other. Expired entries go first.
    pub(super) fn put(&self, pk: String, record: Option<CredentialRecord>, now: Timestamp) {
        if self.ttl.is_zero() {
            return;
        }
        let after = |ttl| now.checked_add(ttl).unwrap_or(Timestamp::MAX);
        let entry = CacheEntry {
            record: record.map_or_else(|| Arc::clone(&self.missing), Arc::new),
            refuses_until: after(self.ttl.min(NEGATIVE_TTL)),
            expires_at: after(self.ttl),
        };
        let missing = |entry: &CacheEntry| Arc::ptr_eq(&entry.record, &self.missing);
        let alike = |other: &CacheEntry| missing(other) == missing(&entry);
        let mut entries = self.entries();
        let full = |entries: &HashMap<String, CacheEntry>| {
            entries.values().filter(|other| alike(other)).count() >= MAX_CACHED_CREDENTIALS
        };
        if !entries.contains_key(&pk) && full(&entries) {
            entries.retain(|_, entry| now < entry.expires_at);
            if full(&entries)
                && let Some(any) = entries.iter().find(|(_, other)| alike(other))
            {
                let any = any.0.clone();
                entries.remove(&any);
            }
        }
        entries.insert(pk, entry);
    }
}
