//! How each provider's clients say who they are, as data. A sixth provider is one more row.

use anyhow::{Result, bail};
use shared::auth::Credential;

/// One way to present a credential to one provider.
#[derive(Debug)]
pub(crate) struct Scheme {
    /// The provider's name, the first part of the item's key.
    pub(crate) provider: &'static str,
    /// The scheme's own name: a provider may have several.
    pub(crate) name: &'static str,
    /// What is public of it, what is secret, and what of that is stored.
    pub(crate) kind: Kind,
    /// The header lines that a client sends, with `{id}` and `{secret}` in their places.
    pub(crate) headers: &'static [&'static str],
    /// Whether an account is pinned to an API version.
    pub(crate) versioned: bool,
}

/// The four sorts of credential that [`Credential`] knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A secret alone. Its digest is the item's key.
    Secret,
    /// A public id, and a secret of which the digest is stored.
    Pair,
    /// A public id, and a secret that requests are signed with: it has to be stored itself.
    Signature,
    /// A public id alone.
    Public,
}

/// All of them, each provider's usual one first.
pub(crate) const SCHEMES: &[Scheme] = &[
    Scheme {
        provider: "hyperswitch",
        name: "api-key",
        kind: Kind::Secret,
        headers: &["api-key: {secret}"],
        versioned: false,
    },
    Scheme {
        provider: "hedgepayments",
        name: "bearer",
        kind: Kind::Secret,
        headers: &["Authorization: Bearer {secret}"],
        versioned: false,
    },
    Scheme {
        provider: "vtex",
        name: "app-key",
        kind: Kind::Pair,
        headers: &["X-VTEX-API-AppKey: {id}", "X-VTEX-API-AppToken: {secret}"],
        versioned: false,
    },
    Scheme {
        provider: "walletconnect",
        name: "api-key",
        kind: Kind::Secret,
        headers: &["Api-Key: {secret}"],
        versioned: true,
    },
    Scheme {
        provider: "walletconnect",
        name: "app-id",
        kind: Kind::Public,
        headers: &["App-Id: {id}", "Client-Id: <the client's own>"],
        versioned: true,
    },
    Scheme {
        provider: "one2pays",
        name: "hmac",
        kind: Kind::Signature,
        headers: &[
            "X-API-Key: {id}",
            "X-Timestamp: <Unix milliseconds>",
            "X-Signature: sha256=<HMAC-SHA256 of {timestamp}.{body} under the secret>",
        ],
        versioned: false,
    },
];

impl Kind {
    /// Whether a public id belongs to it.
    pub(crate) fn has_id(self) -> bool {
        self != Self::Secret
    }

    /// Whether a secret belongs to it.
    pub(crate) fn has_secret(self) -> bool {
        self != Self::Public
    }

    /// The credential as the functions see it presented.
    pub(crate) fn presented<'a>(self, id: &'a str, secret: &'a str) -> Credential<'a> {
        match self {
            Self::Secret => Credential::secret(secret),
            Self::Pair => Credential::pair(id, secret),
            Self::Signature => Credential::signature(id, [b"", b"", b""], [0; 32]),
            Self::Public => Credential::public(id),
        }
    }
}

impl Scheme {
    /// The provider's scheme of that name, or its usual one.
    pub(crate) fn find(provider: &str, name: Option<&str>) -> Result<&'static Self> {
        let mut own = of(provider);
        let found = match name {
            None => own.next(),
            Some(name) => own.find(|scheme| scheme.name == name),
        };
        let Some(found) = found else {
            let names: Vec<_> = of(provider).map(|scheme| scheme.name).collect();
            bail!("--scheme of {provider} must be {}", names.join(" or "));
        };
        Ok(found)
    }

    /// The provider's scheme whose items have such a key id.
    pub(crate) fn of_key(provider: &str, key_id: &str) -> Option<&'static Self> {
        of(provider).find(|scheme| is_digest(key_id) != scheme.kind.has_id())
    }
}

fn of(provider: &str) -> impl Iterator<Item = &'static Scheme> {
    SCHEMES
        .iter()
        .filter(move |scheme| scheme.provider == provider)
}

/// Every provider once.
pub(crate) fn providers() -> Vec<&'static str> {
    let mut names: Vec<_> = SCHEMES.iter().map(|scheme| scheme.provider).collect();
    names.dedup();
    names
}

/// Whether a key id is the digest of a secret rather than a public id.
pub(crate) fn is_digest(key_id: &str) -> bool {
    key_id.len() == 64 && key_id.bytes().all(|byte| byte.is_ascii_hexdigit())
}
