//! Signatures made at the moment of the call: one in a file would be out of its window.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// How a case's request is signed: `X-Timestamp`, and `X-Signature` over the timestamp and the
/// body.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sign {
    /// The secret that signs.
    pub secret: String,
    /// How old the timestamp is, in milliseconds.
    #[serde(default)]
    pub age_ms: i64,
    /// Whether the signature's digits are in upper case.
    #[serde(default)]
    pub uppercase: bool,
    /// Headers to take away after signing.
    #[serde(default)]
    pub omit: Vec<String>,
    /// Headers to replace after signing.
    #[serde(default)]
    pub replace: BTreeMap<String, String>,
}

impl Sign {
    /// The headers that sign `body` at the moment `now_ms`, in Unix milliseconds.
    #[must_use]
    #[expect(clippy::expect_used, reason = "an HMAC takes a key of any length")]
    pub fn headers(&self, now_ms: i64, body: &[u8]) -> BTreeMap<String, String> {
        let timestamp = (now_ms - self.age_ms).to_string();
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).expect("a key of any length");
        mac.update(timestamp.as_bytes());
        mac.update(b".");
        mac.update(body);
        let mut digits = hex::encode(mac.finalize().into_bytes());
        if self.uppercase {
            digits.make_ascii_uppercase();
        }
        let mut headers = BTreeMap::from([
            ("x-timestamp".to_owned(), timestamp),
            ("x-signature".to_owned(), format!("sha256={digits}")),
        ]);
        headers.retain(|name, _| !self.omit.contains(name));
        headers.extend(self.replace.clone());
        headers
    }
}
