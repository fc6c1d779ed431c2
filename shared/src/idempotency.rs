//! What makes two requests the same.

use sha2::{Digest, Sha256};

use crate::limits::MAX_IDEMPOTENCY_KEY;

/// A client's name for one request: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The rule, as error messages state it.
    pub const RULE: &str = "must be 1 to 255 visible ASCII characters";

    /// `text` as a key, or `None` if it breaks the [rule](Self::RULE).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let well_formed = (1..=MAX_IDEMPOTENCY_KEY).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        well_formed.then(|| Self(text.to_owned()))
    }
}

/// The name that a payment stores for its cancel: an [`IdempotencyKey`] as the client sent it, or a
/// name that no client can send, because it contains a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token of a request with a key.
    #[must_use]
    pub fn of_key(key: IdempotencyKey) -> Self {
        Self(key.0)
    }

    /// The token of a signed request without a key. A byte-identical request has the same one.
    #[must_use]
    pub fn of_signature(digest: &str) -> Self {
        Self(format!("signature {digest}"))
    }

    /// The token of any other request: this invocation's id.
    #[must_use]
    pub fn of_invocation(request_id: &str) -> Self {
        Self(format!("request {request_id}"))
    }

    /// As it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A digest of everything that makes two requests the same: SHA-256 in hexadecimal.
///
/// An absent part is hashed as the byte 0. A present part is hashed as the byte 1, its length in
/// eight bytes, big-endian, and its bytes. No two lists of parts have the same input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of these parts, in this order.
    #[must_use]
    pub fn of(parts: &[Option<&[u8]>]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            match part {
                None => digest.update([0]),
                Some(bytes) => {
                    digest.update([1]);
                    digest.update((bytes.len() as u64).to_be_bytes());
                    digest.update(bytes);
                }
            }
        }
        Self(hex::encode(digest.finalize()))
    }

    /// 64 hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_key_equals_another_kind_of_token() {
        let id = "8f14e45f";
        for token in [Token::of_invocation(id), Token::of_signature(id)] {
            assert_eq!(IdempotencyKey::parse(token.as_str()), None, "{token:?}");
        }
        assert_ne!(Token::of_invocation(id), Token::of_signature(id));
        let key = IdempotencyKey::parse(id).expect("a key");
        assert_eq!(Token::of_key(key).as_str(), id);
    }

    #[test]
    fn fingerprints_tell_absent_empty_and_shifted_parts_apart() {
        let all = [
            Fingerprint::of(&[None]),
            Fingerprint::of(&[Some(b"")]),
            Fingerprint::of(&[Some(b"a"), Some(b"")]),
            Fingerprint::of(&[Some(b"a\x01")]),
            Fingerprint::of(&[Some(b""), Some(b"a")]),
            Fingerprint::of(&[Some(b"a"), None]),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|other| other != one), "{one:?}");
        }
        // printf '\x00' | sha256sum
        assert_eq!(
            all[0].as_str(),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
    }
}
