//! Random requests for what is not the caller's, each in two worlds that differ only in that.
//!
//! In one world, the tables are full of other merchants' and other providers' payments and
//! credentials under the requested ids; in the other, they are missing. The caller must see no
//! difference: same responses, byte for byte, and same requests to the store. Nothing may be
//! canceled in either.

use std::{collections::BTreeSet, env, time::Duration};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use serde_json::{Value, json};
use shared::{clock::Timestamp, payment::Payment, provider::Provider};

use crate::{
    golden::{Call, Case, providers},
    memory::{Recorder, credential, payment, request, respond, service},
    progress::progress,
    stage::{Stage, WARM, canceling, shortest},
};

/// The default of `ISOLATION_ATTEMPTS`.
const ATTEMPTS: usize = 1_000;

const MERCHANTS: [&str; 6] = ["m_1", "m_2", "m_11", "M_1", "m_1 ", "m_demo"];
/// Tries `ISOLATION_ATTEMPTS` attempts, from a seed that is printed where one succeeds.
pub(super) async fn isolation<P: Provider>(cases: &[Case]) -> Result<()> {
    let number = env::var("ISOLATION_ATTEMPTS").ok().map(|text| text.parse()).transpose()?;
    let number = number.unwrap_or(ATTEMPTS);
    let seed = env::var("ISOLATION_SEED").ok().map(|text| text.parse()).transpose()?;
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let case = shortest(cases)?;
    let (mut kinds, providers) = (BTreeSet::new(), providers()?);
    let bar = progress(P::NAME, number as u64, ATTEMPTS as u64);
    for n in 0..number {
        bar.inc(1);
        let attempt = seed.wrapping_add(n as u64);
        let kind =
            one::<P>(case, &providers, Rng::with_seed(attempt)).await.with_context(|| {
                format!(
                    "attempt {attempt}: play it with ISOLATION_ATTEMPTS=1 ISOLATION_SEED={attempt}"
                )
            })?;
        kinds.insert(kind);
    }
    ensure!(number < 100 || kinds.len() == 3, "only {kinds:?} were tried");
    Ok(())
}

/// What an attempt is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Another merchant's payment of this provider, with a credential that is right.
    AnotherMerchants,
    /// A payment of another provider, of the same merchant, with a credential that is right.
    AnotherProviders,
    /// Any payment, with a credential that is right with another provider.
    MisplacedCredential,
}

async fn one<P: Provider>(case: &Case, providers: &[String], mut random: Rng) -> Result<Kind> {
    let kind = match random.u8(..3) {
        0 => Kind::AnotherMerchants,
        1 => Kind::AnotherProviders,
        _ => Kind::MisplacedCredential,
    };
    let me = MERCHANTS[random.usize(..MERCHANTS.len())];
    let own = case.given.payments.first().context("a case has a payment")?;
    let known = own["pk"].as_str().and_then(|pk| pk.splitn(3, '#').nth(2));
    let known = known.context("a payment has an id")?;
    let id = payment_id(known, &mut random);

    // What is not mine.
    let mut isolation: Vec<(String, Payment)> = Vec::new();
    let mut put = |pk: String| -> Result<()> {
        isolation.push((pk, payment(own)?));
        Ok(())
    };
    for provider in providers {
        for merchant in MERCHANTS {
            let others = match kind {
                Kind::AnotherMerchants => provider == P::NAME && merchant != me,
                Kind::AnotherProviders => provider != P::NAME && merchant == me,
                Kind::MisplacedCredential => true,
            };
            if others {
                put(format!("{provider}#{merchant}#{id}"))?;
                put(format!("{provider}#{merchant}#{known}"))?;
            }
        }
    }
    let right = case.given.credentials.first().context("a case has a credential")?;
    let key_id = right["pk"].as_str().and_then(|pk| pk.split_once('#'));
    let (_, key_id) = key_id.context("a credential has a key id")?;
    let mut record = credential(right)?;
    me.clone_into(&mut record.merchant_id);

    let event = addressed(case, known, &id)?;
    let now = Timestamp::now();
    let mut seen = Vec::new();
    for full in [true, false] {
        let tables = Recorder::default();
        if kind == Kind::MisplacedCredential {
            for provider in providers.iter().filter(|provider| full && *provider != P::NAME) {
                tables.put_credential(&format!("{provider}#{key_id}"), record.clone());
            }
        } else {
            tables.put_credential(&format!("{}#{key_id}", P::NAME), record.clone());
        }
        for (pk, payment) in isolation.iter().filter(|_| full) {
            tables.put(pk, payment.clone());
        }
        let service = service::<P>(&tables, Duration::from_secs(60), now);
        let response = respond(&service, request(&event)).await;
        let response = (response.status(), response.headers().clone(), response.into_body());
        for (pk, payment) in isolation.iter().filter(|_| full) {
            ensure!(
                tables.payment(pk).as_ref() == Some(payment),
                "{pk} was changed: {kind:?}, {me}, {id:?}"
            );
        }
        seen.push((response, tables.take()));
    }
    let (there, missing) = (&seen[0], &seen[1]);
    ensure!(
        there == missing,
        "{kind:?}, {me} asking for {id:?}: {there:?}\nwhere nothing is, {missing:?}"
    );
    // A path that names no payment, or that climbs, is refused without a store request, here and
    // elsewhere.
    ensure!(!there.1.is_empty() || id.contains('/'), "the store got no request: {:?}", there.0);
    Ok(kind)
}

/// An id to request: the known one, or one that imitates another key.
fn payment_id(known: &str, random: &mut Rng) -> String {
    let other = MERCHANTS[random.usize(..MERCHANTS.len())];
    match random.u8(..12) {
        0 => known.to_owned(),
        1 => known.to_uppercase(),
        2 => format!("{other}#{known}"),
        3 => format!("#{other}#{known}"),
        4 => format!("{known}#"),
        5 => format!("../{other}/{known}"),
        6 => format!("%23{known}"),
        7 => format!("{known}%00"),
        8 => format!(" {known}"),
        9 => format!("{known}\u{301}"),
        10 => (0..random.usize(1..40)).map(|_| random.alphanumeric()).collect(),
        _ => {
            let digits = random.u128(..);
            uuid::Uuid::from_u128(digits).hyphenated().to_string()
        }
    }
}

/// The case's event with `id` wherever it had `known`.
fn addressed(case: &Case, known: &str, id: &str) -> Result<String> {
    let mut case = case.clone();
    case.event["rawPath"] = json!(replaced(&case.event["rawPath"], known, id)?);
    for value in case.event["pathParameters"].as_object_mut().into_iter().flatten() {
        *value.1 = json!(replaced(value.1, known, id)?);
    }
    if let Some(body) = case.event["body"].as_str() {
        let quoted = |id: &str| json!(id).to_string();
        case.event["body"] = json!(body.replace(&quoted(known), &quoted(id)));
    }
    Ok(case.event())
}

fn replaced(value: &Value, known: &str, id: &str) -> Result<String> {
    Ok(value.as_str().context("a text")?.replace(known, id))
}

/// Another merchant's payment: same status, headers, bytes and store requests as a missing one.
pub(super) async fn another_merchants<P: Provider>(cases: &[Case]) -> Result<()> {
    let case = canceling(cases)?;
    let stage = Stage::<P>::set(None, WARM).await?;
    for credential in &case.given.credentials {
        stage.tables.put("credentials", credential)?;
    }
    let call = Call::begin();
    let event = case.event();
    stage.provider.invoke(&call.request_id, &event).await?;
    let _ = stage.proxy.take();

    let missing = stage.provider.invoke(&call.request_id, &event).await?;
    let asked_for_missing = stage.proxy.take();
    let mut theirs = case.given.payments.clone();
    for item in &mut theirs {
        let pk = item["pk"].as_str().context("an item has no pk")?;
        let mut parts = pk.splitn(3, '#');
        let (provider, payment) =
            (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
        item["pk"] = json!(format!("{provider}#m_somebody_else#{payment}"));
        stage.tables.put("payments", item)?;
    }
    let another = stage.provider.invoke(&call.request_id, &event).await?;
    ensure!(another == missing, "{another:?}\ninstead of\n{missing:?}");
    ensure!(stage.proxy.take() == asked_for_missing, "the store got other requests");
    Ok(())
}
