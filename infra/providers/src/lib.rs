//! The list of the providers, with what tools and tests must know of each, as data.
//!
//! A sixth provider is one more entry in [`PROVIDERS`] and one more line in [`visit`].

use anyhow::{Context, Result, bail, ensure};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use shared::{
    auth::Credential,
    limits::MAX_PAYMENT_ID,
    provider::{self, Attribute, Provider as _, Statuses},
};
use uuid::Uuid;

pub use hedgepayments::HedgePayments;
pub use hyperswitch::Hyperswitch;
pub use one2pays::One2Pays;
pub use vtex::Vtex;
pub use walletconnect::WalletConnect;

/// One payment API.
#[derive(Debug)]
pub struct Provider {
    /// The first part of every key.
    pub name: &'static str,
    /// Its path, with one parameter.
    pub route: &'static str,
    /// The statuses that a cancel moves a payment from and to.
    pub statuses: Statuses,
    /// The other statuses of its payments.
    pub other_statuses: &'static [&'static str],
    /// The ways to present a credential, the usual one first.
    pub schemes: &'static [Scheme],
    /// The API versions an account can be pinned to.
    pub versions: &'static [&'static str],
    /// What a success response cannot do without.
    pub required: &'static [Attribute],
    /// The form of its payment ids.
    pub id: Id,
    /// The body of a cancel, with `{payment_id}` and `{key}`; `None` where there is none.
    pub body: Option<&'static str>,
    /// Where a successful response shows that the payment is canceled, and as what; `None` for any
    /// value but null.
    pub success: (&'static str, Option<&'static str>),
    /// The response to a cancel of a canceled payment under another key.
    pub again: Again,
    /// The response to a wrong credential.
    pub unauthenticated: Refusal,
    /// The response where the payment is missing.
    pub not_found: Refusal,
    /// The demo data of the one-machine stack, in JSON: a cancel, credentials and payments.
    pub demo: &'static str,
}

/// The form of a payment id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Id {
    /// Any text that fits a path.
    Text,
    /// 1 to 64 letters, digits, `_` and `-`.
    Word,
    /// A hyphenated UUID, stored in lower case.
    Uuid,
}

/// A refusal: HTTP status, and a code at that JSON pointer of the body.
#[derive(Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The JSON pointer.
    pub at: &'static str,
    /// What is there.
    pub code: &'static str,
}

const fn refusal(status: u16, at: &'static str, code: &'static str) -> Refusal {
    Refusal { status, at, code }
}

/// What a cancel of a canceled payment gets.
#[derive(Debug)]
pub enum Again {
    /// This refusal.
    Refused(Refusal),
    /// 200, and at this JSON pointer what the first response had there.
    Same(&'static str),
}

/// One way to present a credential.
#[derive(Debug)]
pub struct Scheme {
    /// A provider may have several.
    pub name: &'static str,
    /// What is public of it, what is secret, and what of that is stored.
    pub kind: Kind,
    /// The header lines that a client sends, with `{id}`, `{secret}`, `{client}`, `{timestamp}` and
    /// `{signature}` in their places.
    pub headers: &'static [&'static str],
}

/// The four kinds of credential that [`Credential`] knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A secret alone. Its digest is the item's key.
    Secret,
    /// A public id, and a secret of which the digest is stored.
    Pair,
    /// A public id, and a secret that requests are signed with: it has to be stored itself.
    Signature,
    /// A public id alone.
    Public,
}

/// All of them.
pub static PROVIDERS: [Provider; 5] = [
    Provider {
        name: Hyperswitch::NAME,
        route: Hyperswitch::ROUTE,
        statuses: Hyperswitch::STATUSES,
        required: Hyperswitch::REQUIRED,
        demo: include_str!("../../../functions/hyperswitch/demo.json"),
        other_statuses: &[
            "succeeded",
            "failed",
            "cancelled_post_capture",
            "processing",
            "requires_merchant_action",
            "partially_captured",
            "partially_captured_and_capturable",
            "partially_authorized_and_requires_capture",
            "conflicted",
            "expired",
        ],
        schemes: &[Scheme { name: "api-key", kind: Kind::Secret, headers: &["api-key: {secret}"] }],
        versions: &[],
        id: Id::Word,
        body: Some("{}"),
        success: ("/status", Some("cancelled")),
        again: Again::Refused(refusal(400, "/error/code", "IR_16")),
        unauthenticated: refusal(401, "/error/code", "IR_01"),
        not_found: refusal(404, "/error/code", "HE_02"),
    },
    Provider {
        name: HedgePayments::NAME,
        route: HedgePayments::ROUTE,
        statuses: HedgePayments::STATUSES,
        required: HedgePayments::REQUIRED,
        demo: include_str!("../../../functions/hedgepayments/demo.json"),
        other_statuses: &["processing", "succeeded", "failed"],
        schemes: &[Scheme {
            name: "bearer",
            kind: Kind::Secret,
            headers: &["Authorization: Bearer {secret}"],
        }],
        versions: &[],
        id: Id::Text,
        body: Some("{}"),
        success: ("/status", Some("canceled")),
        again: Again::Refused(refusal(412, "/error/code", "payment_not_cancelable")),
        unauthenticated: refusal(401, "/error/code", "unauthorized"),
        not_found: refusal(404, "/error/code", "not_found"),
    },
    Provider {
        name: Vtex::NAME,
        route: Vtex::ROUTE,
        statuses: Vtex::STATUSES,
        required: Vtex::REQUIRED,
        demo: include_str!("../../../functions/vtex/demo.json"),
        other_statuses: &["denied", "settled", "refunded"],
        schemes: &[Scheme {
            name: "app-key",
            kind: Kind::Pair,
            headers: &["X-VTEX-API-AppKey: {id}", "X-VTEX-API-AppToken: {secret}"],
        }],
        versions: &[],
        id: Id::Text,
        body: Some(r#"{"paymentId":"{payment_id}","requestId":"{key}"}"#),
        success: ("/cancellationId", None),
        again: Again::Same("/cancellationId"),
        unauthenticated: refusal(401, "/code", "unauthorized"),
        // The protocol responds to every fact about a payment with 200.
        not_found: refusal(200, "/code", "payment-not-found"),
    },
    Provider {
        name: WalletConnect::NAME,
        route: WalletConnect::ROUTE,
        statuses: WalletConnect::STATUSES,
        required: WalletConnect::REQUIRED,
        demo: include_str!("../../../functions/walletconnect/demo.json"),
        other_statuses: &["processing", "succeeded", "failed", "expired"],
        schemes: &[
            Scheme { name: "api-key", kind: Kind::Secret, headers: &["Api-Key: {secret}"] },
            Scheme {
                name: "app-id",
                kind: Kind::Public,
                headers: &["App-Id: {id}", "Client-Id: {client}"],
            },
        ],
        versions: &["2026-02-18", "2026-02-19.preview"],
        id: Id::Text,
        body: None,
        success: ("/status", Some("cancelled")),
        again: Again::Refused(refusal(400, "/code", "invalid_state")),
        unauthenticated: refusal(401, "/code", "invalid_api_key"),
        not_found: refusal(404, "/code", "payment_not_found"),
    },
    Provider {
        name: One2Pays::NAME,
        route: One2Pays::ROUTE,
        statuses: One2Pays::STATUSES,
        required: One2Pays::REQUIRED,
        demo: include_str!("../../../functions/one2pays/demo.json"),
        other_statuses: &["succeeded", "expired", "payment_failed"],
        schemes: &[Scheme {
            name: "hmac",
            kind: Kind::Signature,
            headers: &[
                "X-API-Key: {id}",
                "X-Timestamp: {timestamp}",
                "X-Signature: sha256={signature}",
            ],
        }],
        versions: &[],
        id: Id::Uuid,
        body: None,
        success: ("/data/status", Some("canceled")),
        again: Again::Refused(refusal(400, "/error/code", "VALIDATION_ERROR")),
        unauthenticated: refusal(401, "/error/code", "INVALID_CREDENTIALS"),
        not_found: refusal(404, "/error/code", "RESOURCE_NOT_FOUND"),
    },
];

/// What is done with each provider's type.
pub trait Visitor {
    /// Does it with `P`.
    ///
    /// # Errors
    /// What went wrong.
    fn visit<P: provider::Provider>(&mut self) -> Result<()>;
}

/// Does something with each provider's type, up to the first error.
///
/// # Errors
/// That of the visitor.
pub fn visit(visitor: &mut impl Visitor) -> Result<()> {
    visitor.visit::<Hyperswitch>()?;
    visitor.visit::<HedgePayments>()?;
    visitor.visit::<Vtex>()?;
    visitor.visit::<WalletConnect>()?;
    visitor.visit::<One2Pays>()
}

/// The entry of a provider's type.
///
/// # Errors
/// Where it has none.
pub fn of<P: provider::Provider>() -> Result<&'static Provider> {
    find(P::NAME).with_context(|| format!("infra/providers has no entry of {}", P::NAME))
}

/// Their names.
pub fn names() -> Vec<&'static str> {
    PROVIDERS.iter().map(|provider| provider.name).collect()
}

/// The provider of that name.
pub fn find(name: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|provider| provider.name == name)
}

impl Provider {
    /// Every status of its payments, the cancelable ones first.
    pub fn words(&self) -> impl Iterator<Item = &'static str> {
        let cancelable = self.statuses.cancelable.iter().copied();
        let others = self.other_statuses.iter().copied();
        cancelable.chain([self.statuses.canceled]).chain(others)
    }

    /// The scheme of that name, or the usual one.
    pub fn scheme(&self, name: Option<&str>) -> Result<&'static Scheme> {
        let found = match name {
            None => self.schemes.first(),
            Some(name) => self.schemes.iter().find(|scheme| scheme.name == name),
        };
        let Some(found) = found else {
            let names: Vec<_> = self.schemes.iter().map(|scheme| scheme.name).collect();
            bail!("--scheme of {} must be {}", self.name, names.join(" or "));
        };
        Ok(found)
    }

    /// The scheme whose items have this form of key id.
    pub fn scheme_of_key(&self, key_id: &str) -> Option<&'static Scheme> {
        let mut schemes = self.schemes.iter();
        schemes.find(|scheme| is_digest(key_id) != scheme.kind.has_id())
    }

    /// The key of a payment.
    pub fn pk(&self, merchant_id: &str, payment_id: &str) -> String {
        format!("{}#{merchant_id}#{payment_id}", self.name)
    }

    /// The payment id in the form that keys have, or what is wrong with it.
    pub fn payment_id(&self, id: &str) -> Result<String> {
        ensure!(
            id.len() <= MAX_PAYMENT_ID && !id.chars().any(char::is_control),
            "a payment id has at most {MAX_PAYMENT_ID} bytes, and no control characters"
        );
        match self.id {
            Id::Word => ensure!(
                (1..=64).contains(&id.len())
                    && id.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'-')),
                "a payment id of {} has 1 to 64 letters, digits, _ and -",
                self.name
            ),
            Id::Text => ensure!(
                !id.is_empty() && !id.contains('/') && !matches!(id, "." | ".."),
                "a payment id is one path segment: not empty, without a slash, neither . nor .."
            ),
            Id::Uuid => {
                let uuid = Uuid::try_parse(id).ok();
                let hyphenated = uuid.filter(|_| id.len() == uuid::fmt::Hyphenated::LENGTH);
                let uuid = hyphenated.with_context(|| {
                    format!("a payment id of {} is a UUID with hyphens", self.name)
                })?;
                return Ok(uuid.hyphenated().to_string());
            }
        }
        Ok(id.to_owned())
    }

    /// A new payment id.
    pub fn new_payment_id(&self) -> String {
        let uuid = Uuid::new_v4();
        match self.id {
            Id::Uuid => uuid.hyphenated().to_string(),
            Id::Text | Id::Word => format!("pay_{}", uuid.simple()),
        }
    }
}

impl Scheme {
    /// The header lines as documentation shows them.
    pub fn shown_headers(&self, id: &str, secret: &str) -> Vec<String> {
        let filled = |line: &&str| {
            line.replace("{client}", "<the client's own>")
                .replace("{signature}", "<HMAC-SHA256 of {timestamp}.{body} under the secret>")
                .replace(": {timestamp}", ": <Unix milliseconds>")
                .replace("{id}", id)
                .replace("{secret}", secret)
        };
        self.headers.iter().map(filled).collect()
    }

    /// The headers of a request with that body at that time, signed where they sign.
    #[must_use]
    pub fn headers(
        &self,
        id: &str,
        secret: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Vec<(String, String)> {
        let timestamp = now.as_millisecond().to_string();
        let signature = hex::encode(sign(secret, &timestamp, body));
        let filled = |line: &&str| {
            let (name, value) = line.split_once(": ")?;
            let value = value
                .replace("{client}", "client")
                .replace("{timestamp}", &timestamp)
                .replace("{signature}", &signature)
                .replace("{id}", id)
                .replace("{secret}", secret);
            Some((name.to_owned(), value))
        };
        self.headers.iter().filter_map(filled).collect()
    }
}

/// HMAC-SHA256 of `{timestamp}.{body}`.
pub fn sign(secret: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return [0; 32];
    };
    for part in [timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

impl Kind {
    /// Whether a public id belongs to it.
    pub fn has_id(self) -> bool {
        self != Self::Secret
    }

    /// Whether a secret belongs to it.
    pub fn has_secret(self) -> bool {
        self != Self::Public
    }

    /// The credential as the functions see it presented.
    pub fn presented<'a>(self, id: &'a str, secret: &'a str) -> Credential<'a> {
        match self {
            Self::Secret => Credential::secret(secret),
            Self::Pair => Credential::pair(id, secret),
            Self::Signature => Credential::signature(id, [b"", b"", b""], [0; 32]),
            Self::Public => Credential::public(id),
        }
    }
}

/// Whether a key id is the digest of a secret rather than a public id.
pub fn is_digest(key_id: &str) -> bool {
    key_id.len() == 64 && key_id.bytes().all(|byte| byte.is_ascii_hexdigit())
}
