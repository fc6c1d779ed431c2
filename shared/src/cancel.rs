//! The one job: move a payment to its canceled word, if it may be, and say truly what came of it.

use std::{borrow::Cow, time::Duration};

use sha2::{Digest, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    auth::{Merchant, Signature},
    clock::{Timestamp, milliseconds},
    payment::{Cancellation, Payment, PaymentKey},
    provider::Statuses,
    store::{Payments, Signatures, StoreError, Verdict},
};

/// What a provider understood of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelCommand {
    /// The payment, in the form its key has.
    pub payment_id: String,
    /// The key that names this request where the body carries it (VTEX's `requestId`). It wins over the `Idempotency-Key` header.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The caller's reason.
    pub reason: Option<String>,
    /// Of all that makes two requests the same.
    pub fingerprint: Fingerprint,
}

/// A client's name for one request: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The rule, as it is told to callers.
    pub const RULE: &str = "must be 1 to 255 visible ASCII characters";

    /// Takes `text` as a key, or nothing where it breaks the rule.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let well_formed =
            (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        well_formed.then(|| Self(text.to_owned()))
    }
}

/// What makes two requests the same: SHA-256, in hexadecimal, over their parts. An absent part counts as the byte 0, a present one as the byte 1,
/// its length in eight bytes, big-endian, and its bytes; so no two lists of parts run together.
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
}

/// Every outcome of a cancel. Providers match it in full, so a forgotten case does not compile.
pub type Outcome = Result<Canceled, CancelError>;

/// The payment is canceled, by this request.
#[derive(Debug, Clone, PartialEq)]
pub struct Canceled {
    /// As it is now.
    pub payment: Payment,
    /// An earlier request with the same key did it; this one found it done.
    pub replayed: bool,
}

/// Why a payment was not canceled, or not known to be.
#[derive(Debug, Clone, PartialEq)]
pub enum CancelError {
    /// The request is not one. Nothing was done.
    Malformed(Fault),
    /// No credential, or none that is known and right. Nothing was done.
    Unauthenticated,
    /// The credential is right, but switched off. Nothing was done.
    Forbidden,
    /// The merchant has no such payment.
    NotFound,
    /// The payment as it is: its status is not a cancelable one, or only a person may cancel it.
    NotCancelable(Box<Payment>),
    /// The idempotency key already canceled this payment for a request with another fingerprint.
    KeyReused,
    /// No definite answer came from the store: the payment may or may not be canceled, and the same request is safe to repeat.
    Undecided,
    /// A fault on our side, told in the log. Claims nothing about the payment.
    Internal,
}

impl CancelError {
    /// The outcome in one word, for logs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::NotCancelable(_) => "not_cancelable",
            Self::KeyReused => "key_reused",
            Self::Undecided => "undecided",
            Self::Internal => "internal",
        }
    }
}

impl From<Fault> for CancelError {
    fn from(fault: Fault) -> Self {
        Self::Malformed(fault)
    }
}

/// What is wrong with a request. Texts name kinds, rules and places, never a value: a request may carry secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which sort of fault.
    pub kind: FaultKind,
    /// For the caller.
    pub message: String,
    /// The header or body field at fault, in its documented spelling.
    pub field: Option<Cow<'static, str>>,
    /// For [`FaultKind::Type`]: the kind of value provided, and the one expected.
    pub types: Option<(&'static str, &'static str)>,
    /// The provider's own code, where it has one for this fault.
    pub code: Option<&'static str>,
}

/// The sorts of [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The Lambda event is not one an HTTP front end makes.
    Event,
    /// Another method than `POST`.
    Method,
    /// The body is larger than [`MAX_BODY`](crate::request::MAX_BODY).
    TooLarge,
    /// A header's value or number.
    Header,
    /// The body's content type.
    ContentType,
    /// The body's JSON.
    Json,
    /// A body field's type, or its absence.
    Type,
    /// A body field's value.
    Value,
}

impl Fault {
    /// A fault that `message` describes.
    #[must_use]
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            field: None,
            types: None,
            code: None,
        }
    }

    /// The same fault, of this header or body field.
    #[must_use]
    pub fn field(self, field: impl Into<Cow<'static, str>>) -> Self {
        Self {
            field: Some(field.into()),
            ..self
        }
    }

    /// The same fault, a value of the kind `provided` where `expected` is asked for.
    #[must_use]
    pub fn types(self, provided: &'static str, expected: &'static str) -> Self {
        Self {
            types: Some((provided, expected)),
            ..self
        }
    }

    /// The same fault, under the provider's own code.
    #[must_use]
    pub fn code(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    /// The HTTP status such a fault has wherever a provider does not say otherwise.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.kind {
            FaultKind::TooLarge => 413,
            FaultKind::Method => 405,
            FaultKind::Event
            | FaultKind::Header
            | FaultKind::ContentType
            | FaultKind::Json
            | FaultKind::Type
            | FaultKind::Value => 400,
        }
    }
}

/// The transition that a store makes atomically, or not at all.
#[derive(Debug, Clone)]
pub struct Transition {
    /// Which payment.
    pub key: PaymentKey,
    /// From which words, to which word.
    pub statuses: Statuses,
    /// When: `canceled_at` and `updated_at`.
    pub at: String,
    /// What the payment will remember of it.
    pub cancellation: Cancellation,
    /// After this nobody waits for the store's answer any more.
    pub until: Instant,
}

/// A signature's wish to serve one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Where the signature is remembered: `{provider}.signature#{merchant_id}#{digest}`, beside the payments. No provider's name has a dot, so
    /// no payment's key is such a one, whatever a payment id looks like.
    pub pk: String,
    /// The payment, in the form its key has.
    pub payment_id: String,
    /// When it may be forgotten, in seconds since 1970.
    pub expires_at: i64,
    /// After this nobody waits for the store's answer any more.
    pub until: Instant,
}

/// How long a used signature is remembered at the least: far longer than any provider's window.
const SIGNATURE_REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

impl Claim {
    /// That `merchant`'s `signature` serves `payment_id` and no other.
    #[must_use]
    pub fn new(
        provider: &str,
        merchant: &Merchant,
        signature: &Signature,
        payment_id: &str,
        now: Timestamp,
        until: Instant,
    ) -> Self {
        Self {
            pk: format!(
                "{provider}.signature#{}#{}",
                merchant.id(),
                signature.digest()
            ),
            payment_id: payment_id.to_owned(),
            expires_at: now
                .as_second()
                .saturating_add_unsigned(SIGNATURE_REMEMBERED.as_secs()),
            until,
        }
    }
}

/// Claims a signature for a payment, before the payment is touched: a protocol that signs neither path nor method lets whoever has seen one
/// request send it to another payment.
///
/// # Errors
/// [`CancelError::Unauthenticated`] where it serves another payment already, [`CancelError::Undecided`] or [`CancelError::Internal`] where the
/// store did not say.
pub async fn claim(store: &impl Signatures, claim: &Claim) -> Result<(), CancelError> {
    match store.claim(claim).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(CancelError::Unauthenticated),
        Err(StoreError::Undecided) => Err(CancelError::Undecided),
        Err(StoreError::Internal) => Err(CancelError::Internal),
    }
}

/// One cancel, all that it needs.
#[derive(Debug)]
pub struct Cancel<'a> {
    /// Whose payment.
    pub merchant: &'a Merchant,
    /// The provider's name, the first part of the payment's key.
    pub provider: &'a str,
    /// The provider's words.
    pub statuses: Statuses,
    /// What is asked for.
    pub command: CancelCommand,
    /// The token where the client sent no key.
    pub request_id: &'a str,
    /// Our clock.
    pub now: Timestamp,
    /// When the answer must be there.
    pub until: Instant,
}

/// Cancels: one conditional write, whose condition is the status check.
///
/// A write whose answer was lost is repeated by the SDK, and the repetition then meets a payment that is already canceled; the token on it tells our own
/// cancel from another's, so that a lost reply never turns into a conflict that did not happen.
///
/// # Errors
/// Every [`CancelError`] but those of reading the request.
pub async fn cancel(store: &impl Payments, asked: Cancel<'_>) -> Outcome {
    let Cancel {
        merchant,
        provider,
        statuses,
        command,
        request_id,
        now,
        until,
    } = asked;
    let CancelCommand {
        payment_id,
        idempotency_key,
        reason,
        fingerprint,
    } = command;
    let transition = Transition {
        key: PaymentKey::new(provider, merchant, payment_id),
        statuses,
        at: milliseconds(now),
        cancellation: Cancellation {
            id: Uuid::new_v4().simple().to_string(),
            token: idempotency_key.map_or_else(|| request_id.to_owned(), |key| key.0),
            fingerprint: fingerprint.0,
            reason,
        },
        until,
    };
    match store.transition(&transition).await {
        Ok(Verdict::Made(payment)) => Ok(Canceled {
            payment,
            replayed: false,
        }),
        Ok(Verdict::Refused(found)) => refused(found, &transition),
        Err(StoreError::Undecided) => Err(CancelError::Undecided),
        Err(StoreError::Internal) => Err(CancelError::Internal),
    }
}

/// What a refused condition means, from the payment as it was at that moment.
fn refused(found: Option<Payment>, wanted: &Transition) -> Outcome {
    let Some(payment) = found else {
        return Err(CancelError::NotFound);
    };
    if payment.status == wanted.statuses.canceled
        && let Some(made) = payment
            .cancellation
            .as_ref()
            .filter(|made| made.token == wanted.cancellation.token)
    {
        if made.fingerprint != wanted.cancellation.fingerprint {
            return Err(CancelError::KeyReused);
        }
        // With the id of this very attempt it is our own write, whose answer was lost on the way.
        let replayed = made.id != wanted.cancellation.id;
        return Ok(Canceled { payment, replayed });
    }
    Err(CancelError::NotCancelable(Box::new(payment)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_is_1_to_255_visible_ascii_characters() {
        for good in ["k", "!~", &"k".repeat(255)] {
            assert!(IdempotencyKey::parse(good).is_some(), "{good}");
        }
        for bad in ["", "a b", "a\tb", "é", "\u{7f}", &"k".repeat(256)] {
            assert!(IdempotencyKey::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn fingerprints_tell_absent_empty_and_shifted_parts_apart() {
        let all = [
            Fingerprint::of(&[None]),
            Fingerprint::of(&[Some(b"")]),
            Fingerprint::of(&[Some(b"a"), Some(b"")]),
            Fingerprint::of(&[Some(b""), Some(b"a")]),
            Fingerprint::of(&[Some(b"a"), None]),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|other| other != one), "{one:?}");
        }
        // printf '\x00' | sha256sum
        assert_eq!(
            all[0].0,
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
    }
}
