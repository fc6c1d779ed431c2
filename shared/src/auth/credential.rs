//! What a request presents, what the table holds, and whether they match.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{AuthError, Merchant, Signature};
use crate::{
    clock::Timestamp,
    key::{self, KeyFormat, KeyKind},
    limits::MAX_KEY_ID,
};

/// A presented credential: a key id to look up, and the proof of possession.
pub struct Credential<'r> {
    key_id: Cow<'r, str>,
    proof: Proof<'r>,
    /// The worst of all that is presented.
    format: KeyFormat,
}

enum Proof<'r> {
    /// The key id is all there is, and public.
    Public,
    /// The key id is the digest of the presented secret.
    Digest,
    /// A secret beside a public id.
    Secret(&'r str),
    /// An HMAC-SHA256 over the parts, one after another.
    Signature { parts: [&'r [u8]; 3], tag: [u8; 32] },
}

impl std::fmt::Debug for Credential<'_> {
    /// Without the secret and the tag.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl<'r> Credential<'r> {
    /// A public id that needs no secret.
    #[must_use]
    pub fn public(id: &'r str) -> Self {
        Self {
            key_id: Cow::Borrowed(id),
            proof: Proof::Public,
            format: key::format(id, KeyKind::Id),
        }
    }

    /// A secret that also identifies the account: looked up by its SHA-256.
    #[must_use]
    pub fn secret(secret: &str) -> Self {
        Self {
            key_id: Cow::Owned(hex::encode(sha256(secret))),
            proof: Proof::Digest,
            format: key::format(secret, KeyKind::Secret),
        }
    }

    /// A public id and its secret.
    #[must_use]
    pub fn pair(id: &'r str, secret: &'r str) -> Self {
        Self {
            key_id: Cow::Borrowed(id),
            proof: Proof::Secret(secret),
            format: key::format(id, KeyKind::Id).min(key::format(secret, KeyKind::Secret)),
        }
    }

    /// A public id and an HMAC-SHA256 `tag` over `parts`, one after another, under the id's signing
    /// secret.
    #[must_use]
    pub fn signature(id: &'r str, parts: [&'r [u8]; 3], tag: [u8; 32]) -> Self {
        Self {
            key_id: Cow::Borrowed(id),
            proof: Proof::Signature { parts, tag },
            format: key::format(id, KeyKind::Id),
        }
    }

    /// Its partition key in the credentials table: `{provider}#{key id}`.
    #[must_use]
    pub fn pk(&self, provider: &str) -> String {
        format!("{provider}#{}", self.key_id)
    }

    /// Whether the table can hold such a key id at all.
    ///
    /// A public id in the form of a digest cannot exist: it would name the account of another
    /// caller's secret without the secret. A key that claims our format and breaks it cannot
    /// either.
    #[must_use]
    pub fn may_exist(&self, issued_only: bool) -> bool {
        let id = self.key_id.as_bytes();
        let digest = id.len() == 64 && id.iter().all(u8::is_ascii_hexdigit);
        (1..=MAX_KEY_ID).contains(&id.len())
            && id.iter().all(u8::is_ascii_graphic)
            && digest == matches!(self.proof, Proof::Digest)
            && match self.format {
                KeyFormat::Broken => false,
                KeyFormat::Custom => !issued_only,
                KeyFormat::Issued => true,
            }
    }

    /// Who the caller is, according to this record.
    pub(super) fn verify(
        &self,
        record: Option<&CredentialRecord>,
        now: Timestamp,
    ) -> Result<Merchant, AuthError> {
        let proved = self.proof.matches(record);
        // Without a short circuit, which would make a wrong and an expired credential differ in
        // time.
        let current = |end: Option<Timestamp>| now < end.unwrap_or(Timestamp::MAX);
        match record.filter(|record| proved & current(record.expires_at)) {
            Some(CredentialRecord { active: false, .. }) => Err(AuthError::Forbidden),
            Some(record) => Ok(Merchant {
                id: record.merchant_id.clone(),
                api_version: record.api_version.clone(),
                signature: match self.proof {
                    Proof::Signature { tag, .. } => Some(Signature(tag)),
                    Proof::Public | Proof::Digest | Proof::Secret(_) => None,
                },
            }),
            None => Err(AuthError::Unauthenticated),
        }
    }
}

/// Takes the place of a missing digest or signing secret: as long as a real one, and matched by
/// nothing.
pub(super) const DUMMY_SECRET: &str =
    "0000000000000000000000000000000000000000000000000000000000000000";

impl Proof<'_> {
    /// Whether the proof matches `record`.
    ///
    /// Without a record, or without what must match in it, the same work is done on
    /// [`DUMMY_SECRET`], and fails.
    fn matches(&self, record: Option<&CredentialRecord>) -> bool {
        match self {
            Self::Public | Self::Digest => record.is_some(),
            Self::Secret(secret) => {
                // A comparison of different lengths would return at once.
                let stored = record
                    .and_then(|record| record.secret_sha256.as_deref())
                    .filter(|digest| digest.len() == DUMMY_SECRET.len());
                let presented = hex::encode(sha256(secret));
                let equal = presented.as_bytes().ct_eq(stored.unwrap_or(DUMMY_SECRET).as_bytes());
                stored.is_some() & bool::from(equal)
            }
            Self::Signature { parts, tag } => {
                let stored = record
                    .and_then(|record| record.signing_secret.as_deref())
                    .filter(|secret| !secret.is_empty());
                let key = stored.unwrap_or(DUMMY_SECRET).as_bytes();
                let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
                    return false; // HMAC takes keys of any length.
                };
                for part in parts {
                    mac.update(part);
                }
                let equal = mac.finalize().into_bytes().ct_eq(tag);
                stored.is_some() & bool::from(equal)
            }
        }
    }
}

pub(super) fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// An item of the credentials table.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct CredentialRecord {
    /// The merchant's id. It never contains `#`.
    pub merchant_id: String,
    /// The SHA-256 of the secret beside a public id, in lower-case hexadecimal.
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
