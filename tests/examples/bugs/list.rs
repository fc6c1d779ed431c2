//! The seeded bugs. Each changes one place of the code; the place must be there exactly once.

use super::Bug;

const fn bug(
    name: &'static str,
    file: &'static str,
    right: &'static str,
    wrong: &'static str,
) -> Bug {
    Bug {
        name,
        file,
        right,
        wrong,
    }
}

pub(crate) const BUGS: &[Bug] = &[
    bug(
        "the status is not part of the condition",
        "shared/src/store/dynamodb.rs",
        r##""#status IN ({cancelable}) \"##,
        r##""(attribute_exists(pk) OR #status IN ({cancelable})) \"##,
    ),
    bug(
        "a payment reserved for a person is canceled",
        "shared/src/store/dynamodb.rs",
        "AND (attribute_not_exists(manual_cancellation) OR manual_cancellation = :false)",
        "AND (attribute_exists(pk) OR manual_cancellation = :false)",
    ),
    bug(
        "an item without an amount is canceled",
        "shared/src/store/dynamodb.rs",
        "AND attribute_type(amount, :N) AND",
        "AND (attribute_exists(pk) OR attribute_type(amount, :N)) AND",
    ),
    bug(
        "an item with broken details is canceled",
        "shared/src/store/dynamodb.rs",
        "AND (attribute_not_exists(details) OR attribute_type(details, :M))",
        "AND (attribute_exists(pk) OR attribute_type(details, :M))",
    ),
    bug(
        "the old item is not asked for",
        "shared/src/store/dynamodb.rs",
        "            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);",
        "            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::None);",
    ),
    bug(
        "the answer is written from the item before the cancel",
        "shared/src/store/dynamodb.rs",
        ".return_values(ReturnValue::AllNew)",
        ".return_values(ReturnValue::AllOld)",
    ),
    bug(
        "updated_at is left as it was",
        "shared/src/store/dynamodb.rs",
        "canceled_at = :at, updated_at = :at, cancellation",
        "canceled_at = :at, cancellation",
    ),
    bug(
        "a refused condition is read as a missing payment",
        "shared/src/store/dynamodb.rs",
        "(false, refused.item.clone())",
        "{ let _ = refused; (false, None) }",
    ),
    bug(
        "a time-out is answered as not found",
        "shared/src/store/dynamodb.rs",
        "_ => return Err(store_error(&failure, &self.payments)),",
        "_ => (false, None),",
    ),
    bug(
        "a time-out is answered as a fault that decides",
        "shared/src/store/dynamodb.rs",
        r##"the network between"
        );
        StoreError::Undecided"##,
        r##"the network between"
        );
        StoreError::Internal"##,
    ),
    bug(
        "a missing table is answered as undecided",
        "shared/src/store/dynamodb.rs",
        "        StoreError::Internal\n    } else {",
        "        StoreError::Undecided\n    } else {",
    ),
    bug(
        "an attempt is never repeated",
        "shared/src/store/dynamodb.rs",
        "const ATTEMPTS: u32 = 3;",
        "const ATTEMPTS: u32 = 1;",
    ),
    bug(
        "a silent attempt is waited for without end",
        "shared/src/store/dynamodb.rs",
        "const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);",
        "const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);",
    ),
    bug(
        "the retry budget has no end",
        "shared/src/store/dynamodb.rs",
        "const RETRY_BUDGET: usize = 100;",
        "const RETRY_BUDGET: usize = 1_000_000;",
    ),
    bug(
        "an attempt starts that cannot finish",
        "shared/src/store/dynamodb.rs",
        "if Instant::now() + SHORTEST_ATTEMPT > self.until {",
        "if self.0 < Instant::now() {",
    ),
    bug(
        "a merchant id may reach into another's keys",
        "shared/src/store/dynamodb.rs",
        "if merchant_id.contains('#') {",
        "if merchant_id.is_empty() {",
    ),
    bug(
        "a cancellation's reason is not stored",
        "shared/src/store/dynamodb.rs",
        "if let Some(reason) = reason {",
        "if let Some(reason) = reason.as_ref().filter(|_| false) {",
    ),
    bug(
        "the token on the payment is ignored",
        "shared/src/cancel.rs",
        ".filter(|made| made.token == wanted.cancellation.token)",
        ".filter(|_| false)",
    ),
    bug(
        "every token is taken for ours",
        "shared/src/cancel.rs",
        ".filter(|made| made.token == wanted.cancellation.token)",
        ".filter(|_| true)",
    ),
    bug(
        "the fingerprint is ignored",
        "shared/src/cancel.rs",
        "if made.fingerprint != wanted.cancellation.fingerprint {",
        "if made.fingerprint.is_empty() {",
    ),
    bug(
        "a payment that has moved on is replayed",
        "shared/src/cancel.rs",
        "if payment.status == wanted.statuses.canceled\n        && let",
        "if !payment.status.is_empty()\n        && let",
    ),
    bug(
        "our own lost answer is called a replay",
        "shared/src/cancel.rs",
        "let replayed = made.id != wanted.cancellation.id;",
        "let replayed = !made.id.is_empty();",
    ),
    bug(
        "a replay is not called one",
        "shared/src/cancel.rs",
        "let replayed = made.id != wanted.cancellation.id;",
        "let replayed = made.id.is_empty();",
    ),
    bug(
        "a replay is answered with a new timestamp",
        "shared/src/cancel.rs",
        "let replayed = made.id != wanted.cancellation.id;",
        "let replayed = made.id != wanted.cancellation.id;\n        let payment = Payment { canceled_at: Some(milliseconds(Timestamp::now())), updated_at: Some(milliseconds(Timestamp::now())), ..payment.clone() };",
    ),
    bug(
        "the client's idempotency key is not the token",
        "shared/src/cancel.rs",
        "token: idempotency_key.map_or_else(|| request_id.to_owned(), |key| key.0),",
        "token: idempotency_key.map_or_else(|| request_id.to_owned(), |_| request_id.to_owned()),",
    ),
    bug(
        "all cancels have one token",
        "shared/src/cancel.rs",
        "token: idempotency_key.map_or_else(|| request_id.to_owned(), |key| key.0),",
        "token: idempotency_key.map_or_else(|| request_id[..0].to_owned(), |key| key.0),",
    ),
    bug(
        "undecided is answered as internal",
        "shared/src/cancel.rs",
        "Ok(Verdict::Refused(found)) => refused(found, &transition),\n        Err(StoreError::Undecided) => Err(CancelError::Undecided),",
        "Ok(Verdict::Refused(found)) => refused(found, &transition),\n        Err(StoreError::Undecided) => Err(CancelError::Internal),",
    ),
    bug(
        "undecided is answered as not found",
        "shared/src/cancel.rs",
        "Ok(Verdict::Refused(found)) => refused(found, &transition),\n        Err(StoreError::Undecided) => Err(CancelError::Undecided),",
        "Ok(Verdict::Refused(found)) => refused(found, &transition),\n        Err(StoreError::Undecided) => Err(CancelError::NotFound),",
    ),
    bug(
        "a missing payment is answered as undecided",
        "shared/src/cancel.rs",
        "return Err(CancelError::NotFound);",
        "return Err(CancelError::Undecided);",
    ),
    bug(
        "the parts of a fingerprint run together",
        "shared/src/cancel.rs",
        "digest.update((bytes.len() as u64).to_be_bytes());",
        "",
    ),
    bug(
        "an idempotency key may have a space",
        "shared/src/cancel.rs",
        "byte.is_ascii_graphic()",
        "byte.is_ascii()",
    ),
    bug(
        "an expired credential is good",
        "shared/src/auth.rs",
        "record.expires_at.is_none_or(|end| now < end)",
        "record.expires_at.is_none_or(|_| true)",
    ),
    bug(
        "a credential that is switched off is good",
        "shared/src/auth.rs",
        "Some(CredentialRecord { active: false, .. }) => Err(CancelError::Forbidden),",
        "Some(CredentialRecord { active: false, .. }) if false => Err(CancelError::Forbidden),",
    ),
    bug(
        "any secret fits a public id",
        "shared/src/auth.rs",
        ".ct_eq(stored.unwrap_or(NOTHING).as_bytes());",
        ".ct_eq(stored.map_or(NOTHING, |_| &presented).as_bytes());",
    ),
    bug(
        "any signature fits",
        "shared/src/auth.rs",
        "let right = mac.finalize().into_bytes().ct_eq(tag);",
        "let right = mac.finalize().into_bytes().ct_eq(tag) | subtle::Choice::from(1);",
    ),
    bug(
        "an empty signing secret is one",
        "shared/src/auth.rs",
        ".filter(|secret| !secret.is_empty());",
        ".filter(|secret| secret.len() < 1000);",
    ),
    bug(
        "a digest may be presented as a public id",
        "shared/src/auth.rs",
        "&& digest == matches!(self.proof, Proof::Digest)",
        "&& (digest || true)",
    ),
    bug(
        "a found credential is remembered for ever",
        "shared/src/auth.rs",
        ".filter(|(_, since)| is_within(ttl, *since, now))",
        ".filter(|(_, since)| is_within(ttl, *since, now) || true)",
    ),
    bug(
        "a missing credential is remembered as long as a found one",
        "shared/src/auth.rs",
        ".get(&pk, self.ttl.min(REFUSED_FOR), now)",
        ".get(&pk, self.ttl.max(REFUSED_FOR), now)",
    ),
    bug(
        "no credential is remembered",
        "shared/src/auth.rs",
        "Some(record) => self.found.put(pk, record, self.ttl, now),",
        "Some(_) => {}",
    ),
    bug(
        "a refusal is remembered as long as a found credential",
        "shared/src/auth.rs",
        "if judged.is_ok() || is_within(REFUSED_FOR, since, now) {",
        "if judged.is_ok() || is_within(self.ttl, since, now) {",
    ),
    bug(
        "a deleted credential is remembered",
        "shared/src/auth.rs",
        "self.found.remove(&pk);",
        "",
    ),
    bug(
        "a key with a wrong checksum is looked up",
        "shared/src/auth.rs",
        "Form::Broken => false,",
        "Form::Broken => true,",
    ),
    bug(
        "foreign keys are looked up where only ours count",
        "shared/src/auth.rs",
        "Form::Foreign => !issued_only,",
        "Form::Foreign => !issued_only || true,",
    ),
    bug(
        "of an id and a secret only the id's form counts",
        "shared/src/auth.rs",
        "key::form(id, Kind::Id).min(key::form(secret, Kind::Secret))",
        "key::form(id, Kind::Id)",
    ),
    bug(
        "a public id may be presented as a secret",
        "shared/src/key.rs",
        "        && text.starts_with(kind.prefix())\n",
        "",
    ),
    bug(
        "a signature serves two payments",
        "shared/src/store/dynamodb.rs",
        "attribute_not_exists(pk) OR payment_id = :payment",
        "attribute_not_exists(pk) OR attribute_exists(payment_id)",
    ),
    bug(
        "a signature serves one request only",
        "shared/src/store/dynamodb.rs",
        "attribute_not_exists(pk) OR payment_id = :payment",
        "attribute_not_exists(pk)",
    ),
    bug(
        "merchants with one secret use up each other's signatures",
        "shared/src/cancel.rs",
        "merchant.id(),\n                signature.digest()",
        "&merchant.id()[..1],\n                signature.digest()",
    ),
    bug(
        "the signature itself is stored",
        "shared/src/auth.rs",
        "hex::encode(Sha256::digest(self.0))",
        "hex::encode(self.0)",
    ),
    bug(
        "a used signature is forgotten within its window",
        "shared/src/cancel.rs",
        "Duration::from_secs(24 * 60 * 60)",
        "Duration::from_secs(60)",
    ),
    bug(
        "the guard is on though nobody asked for it",
        "shared/src/service.rs",
        ".filter(|_| self.signature_single_use)",
        ".filter(|_| self.signature_single_use || true)",
    ),
    bug(
        "a lost claim is answered as internal",
        "shared/src/cancel.rs",
        "Ok(false) => Err(CancelError::Unauthenticated),\n        Err(StoreError::Undecided) => Err(CancelError::Undecided),",
        "Ok(false) => Err(CancelError::Unauthenticated),\n        Err(StoreError::Undecided) => Err(CancelError::Internal),",
    ),
    bug(
        "the Lambda deadline is ignored",
        "shared/src/service.rs",
        "left.saturating_sub(MARGIN).min(LONGEST)",
        "left.max(LONGEST)",
    ),
    bug(
        "the answer leaves with the deadline",
        "shared/src/service.rs",
        "const MARGIN: Duration = Duration::from_millis(200);",
        "const MARGIN: Duration = Duration::ZERO;",
    ),
    bug(
        "a deadline in 1970 is taken at its word",
        "shared/src/service.rs",
        "Some(deadline) if deadline > now => {",
        "Some(deadline) if deadline > Timestamp::MIN => {",
    ),
    bug(
        "a body of any size is read",
        "shared/src/service.rs",
        "if incoming.body.len() > MAX_BODY {",
        "if incoming.body.len() > usize::MAX - 1 {",
    ),
    bug(
        "a panic in a provider goes through",
        "shared/src/service.rs",
        "catch_unwind(AssertUnwindSafe(function)).map_err(",
        "Ok(function()).map_err(|()| Box::new(()) as Box<dyn std::any::Any>).map_err(",
    ),
    bug(
        "undecided is said without Retry-After",
        "shared/src/service.rs",
        r##"Err(CancelError::Undecided) => header("retry-after", "1"),"##,
        r##"Err(CancelError::Undecided) => header("x-retry-after", "1"),"##,
    ),
    bug(
        "a replay is not said to be one",
        "shared/src/service.rs",
        r##"header("idempotent-replayed", "true")"##,
        r##"header("x-idempotent-replayed", "true")"##,
    ),
    bug(
        "silence is answered as internal",
        "shared/src/service.rs",
        r##"error!("no answer from the store before the deadline");
            Err(CancelError::Undecided)"##,
        r##"error!("no answer from the store before the deadline");
            Err(CancelError::Internal)"##,
    ),
    bug(
        "a panic in the store is answered as internal",
        "shared/src/service.rs",
        r##"error!("panicked while the store was asked");
            Err(CancelError::Undecided)"##,
        r##"error!("panicked while the store was asked");
            Err(CancelError::Internal)"##,
    ),
    bug(
        "the credential is looked up before the body is checked",
        "shared/src/service.rs",
        "if !request.body.is_empty() {\n            match P::BODY",
        "if request.body.is_empty() {\n            match P::BODY",
    ),
    bug(
        "of two header lines the first wins",
        "shared/src/headers.rs",
        "if values.all(|other| other == first) {",
        "if values.all(|other| other == first) || true {",
    ),
    bug(
        "a field may be given twice",
        "shared/src/body.rs",
        "if !names.insert(name) {",
        "if !names.insert(name) && false {",
    ),
    bug(
        "the payment's key leaves the merchant out",
        "shared/src/payment.rs",
        r##"let pk = format!("{provider}#{}#{payment_id}", merchant.id());"##,
        r##"let pk = format!("{provider}#{}#{payment_id}", &merchant.id()[..1]);"##,
    ),
    bug(
        "a signature is good for ever",
        "functions/one2pays/src/lib.rs",
        "<= WINDOW.unsigned_abs()",
        "<= u64::MAX - WINDOW.unsigned_abs()",
    ),
    bug(
        "the body is not signed",
        "functions/one2pays/src/lib.rs",
        r##"[timestamp.as_bytes(), b".", request.body]"##,
        r##"[timestamp.as_bytes(), b".", b""]"##,
    ),
    bug(
        "another payment's body is taken for this one's",
        "functions/vtex/src/lib.rs",
        "if payment_id != request.payment_id {",
        "if payment_id.is_empty() {",
    ),
    bug(
        "an older version than the pinned one is spoken",
        "functions/walletconnect/src/lib.rs",
        "if wanted < pinned(merchant) {",
        "if wanted > pinned(merchant) + 9 {",
    ),
    bug(
        "the client secret is echoed",
        "functions/hyperswitch/src/payment.rs",
        r##"            "client_secret" => Value::Null,
"##,
        "",
    ),
    bug(
        "a stranger's payment id is logged",
        "shared/src/service.rs",
        ".map(|merchant| (request.payment_id.as_str(), merchant.id())),",
        ".map(|merchant| (request.payment_id.as_str(), merchant.id()))\n                .or(Some((&request.payment_id, \"\"))),",
    ),
    bug(
        "the key is logged as the request's id",
        "shared/src/service.rs",
        "request_id = self.incoming.request_id,",
        "request_id = self.incoming.headers.single(\"api-key\").ok().flatten(),",
    ),
    bug(
        "a line end in a log field is a line end in the log",
        "shared/src/telemetry.rs",
        "writeln!(writer, \"{}\", String::from_utf8_lossy(&line))",
        "writeln!(writer, \"{}\", String::from_utf8_lossy(&line).replace(\"\\\\n\", \"\\n\"))",
    ),
];
