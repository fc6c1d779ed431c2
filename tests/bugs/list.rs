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

const AUTH: &str = "shared/src/auth/mod.rs";
const CACHE: &str = "shared/src/auth/cache.rs";
const CANCEL: &str = "shared/src/cancel.rs";
const CREDENTIAL: &str = "shared/src/auth/credential.rs";
const DYNAMODB: &str = "shared/src/store/dynamodb/mod.rs";
const EVENT: &str = "shared/src/lambda/event.rs";
const IDEMPOTENCY: &str = "shared/src/idempotency.rs";
const ITEM: &str = "shared/src/store/dynamodb/item.rs";
const LAMBDA: &str = "shared/src/lambda/mod.rs";
const LIMITS: &str = "shared/src/limits.rs";
const LOG: &str = "shared/src/service/log.rs";
const ROUTE: &str = "shared/src/route.rs";
const SDK: &str = "shared/src/store/dynamodb/config.rs";
const SERVICE: &str = "shared/src/service/mod.rs";
const TELEMETRY: &str = "shared/src/telemetry.rs";

pub(crate) const BUGS: &[Bug] = &[
    bug(
        "the status is not part of the condition",
        DYNAMODB,
        r##""#status IN ({}) \"##,
        r#""(attribute_exists(pk) OR #status IN ({})) \"#,
    ),
    bug(
        "a payment reserved for a person is canceled",
        DYNAMODB,
        "(attribute_not_exists(manual_cancellation) OR",
        "(attribute_exists(pk) OR",
    ),
    bug(
        "an item without what the response needs is canceled",
        DYNAMODB,
        "AND attribute_type({name}, :{kind})",
        "AND (attribute_exists(pk) OR attribute_type({name}, :{kind}))",
    ),
    bug(
        "a key cancels a payment that was re-opened after it",
        DYNAMODB,
        "(attribute_not_exists(cancellation.#token) OR",
        "(attribute_exists(pk) OR",
    ),
    bug(
        "the old item is not requested",
        DYNAMODB,
        "ReturnValuesOnConditionCheckFailure::AllOld",
        "ReturnValuesOnConditionCheckFailure::None",
    ),
    bug(
        "the response is written from the item before the cancel",
        DYNAMODB,
        ".return_values(ReturnValue::AllNew)",
        ".return_values(ReturnValue::AllOld)",
    ),
    bug(
        "updated_at is left as it was",
        DYNAMODB,
        r"canceled_at = :at, updated_at = :at, \",
        r"canceled_at = :at, \",
    ),
    bug(
        "a failed condition is read as a missing payment",
        DYNAMODB,
        "return Err(WriteError::ConditionFailed(failed.item.clone()));",
        "let _ = failed;\n            return Err(WriteError::ConditionFailed(None));",
    ),
    bug(
        "a timeout is answered as not found",
        DYNAMODB,
        "Err(WriteError::Store(error)) => return Err(error),",
        "Err(WriteError::Store(_)) => return Ok(TransitionResult::ConditionFailed(None)),",
    ),
    bug(
        "a timeout is answered as a failure that wrote nothing",
        DYNAMODB,
        "if attempts.may_have_written() {\n            StoreError::Undecided",
        "if attempts.may_have_written() {\n            StoreError::Internal",
    ),
    bug(
        "a missing table is answered as undecided",
        DYNAMODB,
        "SdkError::ConstructionFailure(_)) {\n        StoreError::Internal",
        "SdkError::ConstructionFailure(_)) {\n        StoreError::Undecided",
    ),
    bug(
        "an attempt is never retried",
        LIMITS,
        "MAX_ATTEMPTS: u32 = 6;",
        "MAX_ATTEMPTS: u32 = 1;",
    ),
    bug(
        "a silent attempt is waited for without end",
        LIMITS,
        "ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);",
        "ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);",
    ),
    bug(
        "the retry budget has no end",
        LIMITS,
        "RETRY_TOKENS: usize = 100;",
        "RETRY_TOKENS: usize = 1_000_000;",
    ),
    bug(
        "an attempt starts that cannot finish",
        "shared/src/store/dynamodb/attempts.rs",
        "if Instant::now() + MIN_ATTEMPT > self.budget.deadline() {",
        "if Instant::now() > self.budget.deadline() {",
    ),
    bug(
        "a write that conflicts with a transaction is not retried",
        SDK,
        "        .retry_classifier(Conflicts)\n",
        "",
    ),
    bug(
        "a merchant id may reach into another's keys",
        ITEM,
        "if merchant_id.contains('#') {",
        "if merchant_id.is_empty() {",
    ),
    bug(
        "a cancellation's reason is not stored",
        ITEM,
        "if let Some(reason) = reason {",
        "if let Some(reason) = reason.as_ref().filter(|_| false) {",
    ),
    bug(
        "binary values are read as null",
        ITEM,
        "        AttributeValue::B(bytes) => base64(bytes.as_ref()),\n",
        "",
    ),
    bug(
        "sets of numbers are read as null",
        ITEM,
        "AttributeValue::Ns(numbers) => Json::List(sorted(numbers).map(number).collect()),",
        "",
    ),
    bug(
        "a conflict of Regions is no definite response",
        DYNAMODB,
        r#"        | "ReplicatedWriteConflictException"
"#,
        "",
    ),
    bug(
        "an expired session is no definite response",
        DYNAMODB,
        r#"        | "ExpiredTokenException"
"#,
        "",
    ),
    bug(
        "a fault of the table's KMS key is no definite response",
        DYNAMODB,
        r#"        code if code.starts_with("KMS") => Some(Refusal::Unavailable),
"#,
        "",
    ),
    bug(
        "a fault of DynamoDB is taken for a definite response",
        DYNAMODB,
        r#"        | "ValidationException" => Some(Refusal::Rejected),"#,
        r#"        | "InternalServerError"
        | "ValidationException" => Some(Refusal::Rejected),"#,
    ),
    bug(
        "a credential is read as it was some time ago",
        DYNAMODB,
        ".consistent_read(true)",
        ".consistent_read(false)",
    ),
    bug(
        "the digest of a secret is logged",
        DYNAMODB,
        r#"error!(%table, attribute, "the credential"#,
        r#"error!(%table, pk, attribute, "the credential"#,
    ),
    bug(
        "the session token is dropped",
        SDK,
        ".credentials_provider(credentials)",
        r#".credentials_provider({
            use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
            let text = |name| std::env::var(name).ok();
            match (text("AWS_ACCESS_KEY_ID"), text("AWS_SECRET_ACCESS_KEY")) {
                (Some(id), Some(secret)) => SharedCredentialsProvider::new(Credentials::new(
                    id, secret, None, None, "environment",
                )),
                _ => SharedCredentialsProvider::new(credentials),
            }
        })"#,
    ),
    bug(
        "the endpoint of the service alone is ignored",
        SDK,
        "aws_sdk_dynamodb::config::Builder::from(config)\n",
        r"let mut builder = aws_sdk_dynamodb::config::Builder::from(config);
    builder.set_endpoint_url(config.endpoint_url().map(str::to_owned));
    builder
",
    ),
    bug(
        "the default Region precedes the Region",
        SDK,
        ".region(EnvironmentVariableRegionProvider::new())",
        r#".region(
            aws_config::meta::region::RegionProviderChain::first_try(
                std::env::var("AWS_DEFAULT_REGION")
                    .ok()
                    .map(aws_config::Region::new),
            )
            .or_else(EnvironmentVariableRegionProvider::new()),
        )"#,
    ),
    bug(
        "the token on the payment is ignored",
        CANCEL,
        "&& made.token == ours.token",
        "&& made.token.is_empty()",
    ),
    bug(
        "every token is taken for ours",
        CANCEL,
        "&& made.token == ours.token",
        "&& !made.token.is_empty()",
    ),
    bug(
        "the fingerprint is ignored",
        CANCEL,
        "if made.fingerprint != ours.fingerprint {",
        "if made.fingerprint.is_empty() {",
    ),
    bug(
        "a payment that has moved on is replayed",
        CANCEL,
        "if payment.status == transition.statuses.canceled {",
        "if !payment.status.is_empty() {",
    ),
    bug(
        "our own lost response is called a replay",
        CANCEL,
        "let replayed = made.id != ours.id;",
        "let replayed = !made.id.is_empty();",
    ),
    bug(
        "a replay is not called one",
        CANCEL,
        "let replayed = made.id != ours.id;",
        "let replayed = made.id.is_empty();",
    ),
    bug(
        "a replay has a new timestamp",
        CANCEL,
        "let replayed = made.id != ours.id;",
        r"let replayed = made.id != ours.id;
            let payment = Payment {
                canceled_at: milliseconds(Timestamp::now()).as_str().into(),
                updated_at: milliseconds(Timestamp::now()).as_str().into(),
                ..payment.clone()
            };",
    ),
    bug(
        "the client's idempotency key is not the token",
        SERVICE,
        "(Some(key), _) => Token::of_key(key),",
        "(Some(_), _) => Token::of_invocation(&self.invocation.request_id),",
    ),
    bug(
        "all cancels without a key have one token",
        SERVICE,
        "(None, None) => Token::of_invocation(&self.invocation.request_id),",
        r#"(None, None) => Token::of_invocation(""),"#,
    ),
    bug(
        "undecided is answered as internal",
        CANCEL,
        "Err(StoreError::Undecided) => Err(CancelError::Undecided { keyed }),",
        "Err(StoreError::Undecided) => Err(CancelError::Internal),",
    ),
    bug(
        "undecided is answered as not found",
        CANCEL,
        "Err(StoreError::Undecided) => Err(CancelError::Undecided { keyed }),",
        "Err(StoreError::Undecided) => Err(CancelError::NotFound),",
    ),
    bug(
        "a missing payment is answered as undecided",
        CANCEL,
        "return Err(CancelError::NotFound);",
        "return Err(CancelError::Undecided { keyed: false });",
    ),
    bug(
        "the parts of a fingerprint run together",
        IDEMPOTENCY,
        "digest.update((bytes.len() as u64).to_be_bytes());",
        "",
    ),
    bug(
        "an idempotency key may have a space",
        IDEMPOTENCY,
        "byte.is_ascii_graphic()",
        "byte.is_ascii()",
    ),
    bug(
        "an expired credential is valid",
        CREDENTIAL,
        "now < end.unwrap_or(Timestamp::MAX)",
        "true | (now < end.unwrap_or(Timestamp::MAX))",
    ),
    bug(
        "a disabled credential is valid",
        CREDENTIAL,
        "Some(CredentialRecord { active: false, .. }) =>",
        "Some(CredentialRecord { active: false, .. }) if false =>",
    ),
    bug(
        "a credential both disabled and expired is forbidden",
        CREDENTIAL,
        "proved & current(record.expires_at)",
        "proved & (current(record.expires_at) | (!record.active & !record.merchant_id.is_empty()))",
    ),
    bug(
        "any secret fits a public id",
        CREDENTIAL,
        "stored.unwrap_or(DUMMY_SECRET).as_bytes());",
        "stored.map_or(DUMMY_SECRET, |_| presented.as_str()).as_bytes());",
    ),
    bug(
        "any signature fits",
        CREDENTIAL,
        ".into_bytes().ct_eq(tag);",
        ".into_bytes().ct_eq(tag) | subtle::Choice::from(1);",
    ),
    bug(
        "signatures are compared in variable time",
        CREDENTIAL,
        ".into_bytes().ct_eq(tag);",
        ".into_bytes().as_slice() == tag.as_slice();",
    ),
    bug(
        "an empty signing secret is one",
        CREDENTIAL,
        ".filter(|secret| !secret.is_empty());",
        ".filter(|secret| secret.len() < 1000);",
    ),
    bug(
        "a digest may be presented as a public id",
        CREDENTIAL,
        "&& digest == matches!(self.proof, Proof::Digest)",
        "&& (digest || true)",
    ),
    bug(
        "the debug form of a credential shows its secret",
        CREDENTIAL,
        r#".field("merchant_id", &self.merchant_id)"#,
        r#".field("merchant_id", &self.merchant_id)
            .field("signing_secret", &self.signing_secret)"#,
    ),
    bug(
        "a found credential is cached for ever",
        CACHE,
        ".filter(|entry| now < entry.expires_at)",
        ".filter(|entry| now < entry.expires_at || true)",
    ),
    bug(
        "no credential is cached",
        AUTH,
        "self.cache.put(pk, record, now);",
        "let _ = (pk, record);",
    ),
    bug(
        "a negative result is cached as long as a found credential",
        CACHE,
        "self.ttl.min(NEGATIVE_TTL)",
        "self.ttl.max(NEGATIVE_TTL)",
    ),
    bug(
        "a deleted credential stays cached",
        CACHE,
        "entries.insert(pk, entry);",
        "entries.entry(pk).or_insert(entry);",
    ),
    bug(
        "a full cache evicts live entries and keeps expired ones",
        CACHE,
        "            entries.retain(|_, entry| now < entry.expires_at);\n",
        "",
    ),
    bug(
        "a key with a wrong checksum is looked up",
        CREDENTIAL,
        "KeyFormat::Broken => false,",
        "KeyFormat::Broken => true,",
    ),
    bug(
        "keys in another format are looked up where only ours count",
        CREDENTIAL,
        "KeyFormat::Custom => !issued_only,",
        "KeyFormat::Custom => !issued_only || true,",
    ),
    bug(
        "of an id and a secret only the id's format counts",
        CREDENTIAL,
        "key::format(id, KeyKind::Id).min(key::format(secret, KeyKind::Secret))",
        "key::format(id, KeyKind::Id)",
    ),
    bug(
        "a public id may be presented as a secret",
        "shared/src/key.rs",
        "        && text.starts_with(kind.prefix())\n",
        "",
    ),
    bug(
        "rotate gives a successor to whatever is there by then",
        "infra/admin/src/credentials/table.rs",
        "active = :true AND {unchanged}",
        "attribute_exists(pk) OR active = :true AND {unchanged}",
    ),
    bug(
        "a signature serves two payments",
        DYNAMODB,
        "attribute_not_exists(pk) OR payment_id = :payment",
        "attribute_not_exists(pk) OR attribute_exists(payment_id)",
    ),
    bug(
        "a signature serves one request only",
        DYNAMODB,
        "attribute_not_exists(pk) OR payment_id = :payment",
        "attribute_not_exists(pk)",
    ),
    bug(
        "merchants with one secret use up each other's signatures",
        CANCEL,
        "merchant.id(),\n                signature.digest()",
        "&merchant.id()[..1],\n                signature.digest()",
    ),
    bug(
        "the signature itself is stored",
        AUTH,
        "hex::encode(Sha256::digest(self.0))",
        "hex::encode(self.0)",
    ),
    bug(
        "a used signature is forgotten within its window",
        LIMITS,
        "Duration::from_secs(24 * 60 * 60)",
        "Duration::from_secs(60)",
    ),
    bug(
        "the guard is on by default",
        SERVICE,
        ".filter(|_| self.inner.signature_single_use)",
        ".filter(|_| self.inner.signature_single_use || true)",
    ),
    bug(
        "a lost claim is answered as internal",
        CANCEL,
        "Err(StoreError::Undecided | StoreError::Unavailable) => Err(CancelError::Unavailable),",
        "Err(StoreError::Undecided | StoreError::Unavailable) => Err(CancelError::Internal),",
    ),
    bug(
        "the Lambda deadline is ignored",
        SERVICE,
        "left.saturating_sub(DEADLINE_MARGIN).min(RESPONSE_TIMEOUT)",
        "left.max(RESPONSE_TIMEOUT)",
    ),
    bug(
        "the response leaves with the deadline",
        LIMITS,
        "DEADLINE_MARGIN: Duration = Duration::from_millis(200);",
        "DEADLINE_MARGIN: Duration = Duration::ZERO;",
    ),
    bug(
        "a caller waits for half a minute",
        LIMITS,
        "RESPONSE_TIMEOUT: Duration = Duration::from_millis(4500);",
        "RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);",
    ),
    bug(
        "a deadline in 1970 is taken at its word",
        SERVICE,
        "Some(deadline) if deadline > now => {",
        "Some(deadline) if deadline > Timestamp::MIN => {",
    ),
    bug(
        "a body of any size is read",
        SERVICE,
        "if request.body.len() > MAX_BODY {",
        "if request.body.len() > usize::MAX - 1 {",
    ),
    bug(
        "a panic in a provider goes through",
        SERVICE,
        "catch_unwind(AssertUnwindSafe(function)).map_err(",
        "Ok::<T, ()>(function()).map_err(",
    ),
    bug(
        "undecided is said without Retry-After",
        SERVICE,
        "headers.insert(header::RETRY_AFTER,",
        r#"headers.insert("x-retry-after","#,
    ),
    bug(
        "a replay is not said to be one",
        SERVICE,
        r#"headers.insert("idempotent-replayed","#,
        r#"headers.insert("x-idempotent-replayed","#,
    ),
    bug(
        "silence is answered as internal",
        SERVICE,
        r#"before the deadline");
            Err(unknown)"#,
        r#"before the deadline");
            Err(CancelError::Internal)"#,
    ),
    bug(
        "a panic in the store is answered as internal",
        SERVICE,
        r#"error!("the store panicked");
            Err(unknown)"#,
        r#"error!("the store panicked");
            Err(CancelError::Internal)"#,
    ),
    bug(
        "the credential is looked up before the body is checked",
        SERVICE,
        "check_body::<P>(request)?;",
        "if request.body.is_empty() {\n            check_body::<P>(request)?;\n        }",
    ),
    bug(
        "of two header lines the first wins",
        "shared/src/headers.rs",
        "if *single.get_or_insert(value) != value {",
        "if *single.get_or_insert(value) != value && false {",
    ),
    bug(
        "a field may be given twice",
        "shared/src/json.rs",
        "if !names.insert(name) {",
        "if !names.insert(name) && false {",
    ),
    bug(
        "the payment's key leaves the merchant out",
        CANCEL,
        r#"let pk = format!("{provider}#{}#{payment_id}", merchant.id());"#,
        r#"let pk = format!("{provider}#{}#{payment_id}", &merchant.id()[..1]);"#,
    ),
    bug(
        "a signature is valid for ever",
        "functions/one2pays/src/lib.rs",
        "abs_diff(sent) <= WINDOW",
        "abs_diff(sent) <= u64::MAX - WINDOW",
    ),
    bug(
        "the body is not signed",
        "functions/one2pays/src/lib.rs",
        r#"[timestamp.as_bytes(), b".", request.body]"#,
        r#"[timestamp.as_bytes(), b".", b""]"#,
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
        "if requested < pinned(merchant) =>",
        "if requested > pinned(merchant) + 9 =>",
    ),
    bug(
        "the client secret is echoed",
        "functions/hedgepayments/src/lib.rs",
        r#"            "client_secret",
"#,
        "",
    ),
    bug(
        "a payment link is echoed",
        "functions/hyperswitch/src/payment.rs",
        r#""next_action" | "payment_link" => Json::Null,"#,
        r#""next_action" => Json::Null,"#,
    ),
    bug(
        "members of a response change places",
        "functions/hedgepayments/src/lib.rs",
        r#"            ("id", payment.id.as_str().into()),
            ("object", "payment".into()),
"#,
        r#"            ("object", "payment".into()),
            ("id", payment.id.as_str().into()),
"#,
    ),
    bug(
        "an unauthenticated caller's payment id is logged",
        SERVICE,
        "payment: merchant.as_ref().map(|merchant| (id, merchant.id())),",
        r#"payment: Some((id, merchant.as_ref().map_or("", |merchant| merchant.id()))),"#,
    ),
    bug(
        "the key is logged as the request's id",
        SERVICE,
        "invocation: &invocation,\n            // Without",
        r#"invocation: &Invocation {
                request_id: format!("{:?}", parts.headers.get("api-key")),
                ..invocation.clone()
            },
            // Without"#,
    ),
    bug(
        "a duration is logged in microseconds",
        LOG,
        "f64::from(microseconds) / 1000.0,",
        "f64::from(microseconds),",
    ),
    bug(
        "retries are not counted",
        LOG,
        "store_retries = self.budget.retries(),",
        "store_retries = 0,",
    ),
    bug(
        "a panic's message is logged",
        TELEMETRY,
        r#"error!(place, "panicked");"#,
        r#"error!(place, "{panic}");"#,
    ),
    bug(
        "AWS_LAMBDA_LOG_LEVEL is ignored",
        TELEMETRY,
        r#"["RUST_LOG", "AWS_LAMBDA_LOG_LEVEL"]"#,
        r#"["RUST_LOG"]"#,
    ),
    bug(
        "a line end in a log field is a line end in the log",
        TELEMETRY,
        "&String::from_utf8_lossy(&line)",
        r#"&String::from_utf8_lossy(&line).replace("\\n", "\n")"#,
    ),
    bug(
        "a terminal's escape in one character is one in the log",
        TELEMETRY,
        r"'\u{7f}'..='\u{9f}' | '\u{2028}'",
        r"'\u{7f}' | '\u{2028}'",
    ),
    bug(
        "no connection is made before the first poll",
        LAMBDA,
        "if settings.prime_connection {",
        "if !settings.prime_connection {",
    ),
    bug(
        "priming reads a key that the role may not read",
        DYNAMODB,
        r#"text(&format!("{provider}#"))"#,
        r#"text(&format!("{provider}"))"#,
    ),
    bug(
        "a process serves one request at a time, whatever the setting",
        LAMBDA,
        "tokio::spawn(runtime.run_concurrent()).await?",
        "runtime.run().await",
    ),
    bug(
        "a REST API's path parameters are taken for decoded",
        EVENT,
        "|shape| shape.version.is_some());",
        "|shape| shape.version.is_some() || shape.http_method.is_some());",
    ),
    bug(
        "an encoded slash is part of the payment id",
        ROUTE,
        "let ambiguous = id.contains('/')\n        || is_dots(&id)",
        "let ambiguous = is_dots(&id)",
    ),
    bug(
        "a dot segment before the route is not looked at",
        ROUTE,
        "path.split('/').map(decode);",
        "path.split('/').take(0).map(decode);",
    ),
    bug(
        "the route is matched without regard to case",
        ROUTE,
        "} else if expected != segment {",
        "} else if !expected.eq_ignore_ascii_case(segment) {",
    ),
    bug(
        "an event of VPC Lattice without a method is a GET",
        EVENT,
        "event.method?,",
        "event.method.unwrap_or_default(),",
    ),
    bug(
        "an unreadable event gets a REST API's response, whatever its source",
        EVENT,
        "(None, EventSource::of_unreadable(event))",
        "(None, EventSource::RestApi)",
    ),
    bug(
        "of several lines of a header the last one wins",
        EVENT,
        r"if !lines.get_all(name).iter().any(|line| line == value) {
            lines.append(name, value.clone());
        }",
        "lines.insert(name, value.clone());",
    ),
];
