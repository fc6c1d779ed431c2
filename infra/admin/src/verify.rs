//! `admin verify`: checks a deployed stack from outside.
//!
//! For each provider, a canary merchant gets a payment and a credential that expires by itself. All
//! of it is removed at the end, also after a failure or Ctrl-C.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use http_body_util::Full;
use hyper::{Request, body::Bytes, http::uri::PathAndQuery};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use providers::{Again, Kind, Provider, Refusal, Scheme};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use shared::{
    key::{self, KeyKind},
    route,
};
use uuid::Uuid;

use crate::{
    Verdict,
    aws::Account,
    credentials::{
        issue::{Issued, Order},
        table::Table as Credentials,
    },
    http::{Endpoints, Http, Response},
    output::{Output, columns, progress, shown},
    payments::{Table as Payments, item, put},
};

/// Long enough for a verification; after it a forgotten credential is worth nothing.
const CREDENTIAL_LASTS: Duration = Duration::from_secs(15 * 60);

#[derive(Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    endpoints: Endpoints,
    /// How many replays the warm latency is measured with
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    samples: u32,
}

/// The result for one provider.
#[derive(Serialize)]
struct Report {
    provider: &'static str,
    url: String,
    passed: bool,
    checks: Vec<Check>,
    /// The first request: with its connection and, where no environment was warm, a cold start.
    first_ms: f64,
    warm: Option<Warm>,
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    /// What is wrong; nothing where nothing is.
    faults: Vec<String>,
}

#[derive(Serialize)]
struct Warm {
    samples: usize,
    median_ms: f64,
    max_ms: f64,
}

impl Verify {
    pub(crate) async fn run(self, account: &Account, output: Output) -> Result<Verdict> {
        let chosen = self.endpoints.chosen(account)?;
        let mut reports = Vec::new();
        let bar = progress(chosen.len() as u64, "providers".to_owned());
        for (provider, url) in chosen {
            bar.set_message(provider.name);
            let mut canary = Canary::new(provider, url)?;
            let checked = tokio::select! {
                checked = canary.check(account, self.samples) => checked,
                _ = tokio::signal::ctrl_c() => {
                    Err(anyhow::anyhow!("interrupted; its items are removed"))
                }
            };
            let removed = canary.remove(account).await;
            let report = checked.with_context(|| format!("cannot verify {}", provider.name));
            removed?;
            reports.push(report?);
            bar.inc(1);
        }
        drop(bar);
        output.print(&reports, || lines(&reports))?;
        Ok(Verdict::from(reports.iter().all(|report| report.passed)))
    }
}

/// A merchant of one provider, for one verification.
struct Canary {
    provider: &'static Provider,
    scheme: &'static Scheme,
    url: String,
    http: Http,
    merchant: String,
    payment: String,
    id: String,
    secret: String,
    credential: Issued,
    checks: Vec<Check>,
    /// The keys of everything that was made in the payments table.
    made: Vec<String>,
}

impl Canary {
    fn new(provider: &'static Provider, url: String) -> Result<Self> {
        let merchant = format!("canary_{}", Uuid::new_v4().simple());
        let now = Timestamp::now();
        let scheme = provider.scheme(None)?;
        let order = Order {
            provider,
            scheme,
            merchant_id: &merchant,
            api_version: None,
            ends: Some(now.checked_add(CREDENTIAL_LASTS)?),
            id: None,
            secret: None,
        };
        let credential = Issued::new(order, now)?;
        Ok(Self {
            provider,
            scheme,
            url,
            http: Http::new()?,
            payment: provider.new_payment_id(),
            id: credential.id.clone().unwrap_or_default(),
            secret: credential.secret.clone().unwrap_or_default(),
            credential,
            merchant,
            checks: Vec::new(),
            made: Vec::new(),
        })
    }

    fn pk(&self) -> String {
        self.provider.pk(&self.merchant, &self.payment)
    }

    async fn check(&mut self, account: &Account, samples: u32) -> Result<Report> {
        let Provider { success, again, unauthenticated, not_found, statuses, .. } = self.provider;
        let pk = self.pk();
        Credentials::of(account).put(&self.credential.item).await?;
        self.made.push(pk.clone());
        let item = put::payment(self.provider, &self.merchant, &self.payment, Timestamp::now());
        ensure!(Payments::of(account).put(&item).await?.is_none(), "{pk} exists already");

        let key = Uuid::new_v4().simple().to_string();
        let secret = self.secret.clone();
        let payment = self.payment.clone();
        let canceled = self.send(&payment, &key, &secret).await?;
        let (at, expected) = *success;
        let mut faults = response_faults(&canceled, 200);
        match (canceled.json().pointer(at), expected) {
            (Some(Value::String(found)), Some(word)) if found == word => {}
            (Some(found), None) if !found.is_null() => {}
            (found, _) => faults.push(format!(
                "{at} of the body is {}, expected {}",
                found.unwrap_or(&Value::Null),
                expected.unwrap_or("a value")
            )),
        }
        self.note("cancel", faults);

        let after = account.get(&account.payments, &pk).await?.unwrap_or_default();
        let mut faults = Vec::new();
        if after.get("status") != Some(&crate::payments::text(statuses.canceled)) {
            faults.push(format!("status is not {}", statuses.canceled));
        }
        for attribute in ["canceled_at", "updated_at"] {
            let time = after.get(attribute).and_then(|time| time.as_s().ok());
            if !time.is_some_and(|time| item::is_time(time)) {
                faults.push(format!("{attribute} is not a time"));
            }
        }
        let broken = item::faults(&after).into_iter();
        faults.extend(broken.map(|kind| kind.effect().to_owned()));
        self.note("item", faults);

        let replayed = self.send(&payment, &key, &secret).await?;
        let mut faults = response_faults(&replayed, 200);
        if replayed.body != canceled.body {
            faults.push("the body differs from the first response's".to_owned());
        }
        if replayed.header("idempotent-replayed") != "true" {
            faults.push("the header Idempotent-Replayed is not true".to_owned());
        }
        self.note("replay", faults);

        let other = Uuid::new_v4().simple().to_string();
        let second = self.send(&payment, &other, &secret).await?;
        self.note(
            "second cancel",
            match again {
                Again::Refused(refusal) => refusal_faults(refusal, &second),
                Again::Same(at) => {
                    let mut faults = response_faults(&second, 200);
                    if second.json().pointer(at) != canceled.json().pointer(at) {
                        faults.push(format!("{at} of the body is not the first response's"));
                    }
                    faults
                }
            },
        );

        let mut random = [0; 32];
        getrandom::fill(&mut random).context("the system's random generator fails")?;
        let wrong = key::issue(KeyKind::Secret, random);
        let refused = self.send(&payment, &other, &wrong).await?;
        self.note("wrong key", refusal_faults(unauthenticated, &refused));

        let unknown = self.provider.new_payment_id();
        let missing = self.send(&unknown, &other, &secret).await?;
        self.note("unknown payment", refusal_faults(not_found, &missing));

        let mut times = Vec::new();
        for _ in 0..samples {
            let replay = self.send(&payment, &key, &secret).await?;
            if replay.status == 200 {
                times.push(replay.took);
            }
        }
        times.sort();
        let at = |place: usize| times.get(place).copied().map(milliseconds).unwrap_or_default();
        let checks = std::mem::take(&mut self.checks);
        Ok(Report {
            provider: self.provider.name,
            url: self.url.clone(),
            passed: checks.iter().all(|check| check.faults.is_empty()),
            checks,
            first_ms: milliseconds(canceled.took),
            warm: (!times.is_empty()).then(|| Warm {
                samples: times.len(),
                median_ms: at(times.len() / 2),
                max_ms: at(times.len() - 1),
            }),
        })
    }

    fn note(&mut self, name: &'static str, faults: Vec<String>) {
        self.checks.push(Check { name, faults });
    }

    /// One cancel, as a client sends it.
    async fn send(&mut self, payment: &str, key: &str, secret: &str) -> Result<Response> {
        let body = self.provider.body.unwrap_or_default();
        let body = body.replace("{payment_id}", payment).replace("{key}", key);
        let headers = self.scheme.headers(&self.id, secret, body.as_bytes(), Timestamp::now());
        let url = url(&self.url, self.provider, payment)?;
        let mut request = Request::post(url).header("idempotency-key", key);
        if self.provider.body.is_some() {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            if self.scheme.kind == Kind::Signature && name.eq_ignore_ascii_case("x-signature") {
                self.made.extend(used_signature(self.provider, &self.merchant, &value));
            }
            request = request.header(name, value);
        }
        self.http.send(request.body(Full::new(Bytes::from(body)))?).await
    }

    /// Removes everything it made.
    async fn remove(&self, account: &Account) -> Result<()> {
        let mut removed = Ok(());
        for pk in &self.made {
            removed = removed.and(account.delete(&account.payments, pk).await);
        }
        let credential = &self.credential.entry.pk;
        removed = removed.and(account.delete(&account.credentials, credential).await);
        removed.with_context(|| {
            format!(
                "the items of {} could not be removed; delete them by hand. The credential expires \
                 within 15 minutes",
                self.merchant
            )
        })
    }
}

/// The key of a used signature, if the functions store one.
fn used_signature(provider: &Provider, merchant: &str, header: &str) -> Option<String> {
    let tag = hex::decode(header.strip_prefix("sha256=")?).ok()?;
    let digest = hex::encode(Sha256::digest(tag));
    Some(format!("{}.signature#{merchant}#{digest}", provider.name))
}

/// A provider's URL for a payment.
pub(crate) fn url(base: &str, provider: &Provider, payment: &str) -> Result<String> {
    let parameter = format!("{{{}}}", route::parameter(provider.route));
    let id = utf8_percent_encode(payment, NON_ALPHANUMERIC).to_string();
    // Unreserved characters stay readable.
    let id = id.replace("%2D", "-").replace("%5F", "_").replace("%2E", ".").replace("%7E", "~");
    let path = provider.route.replace(&parameter, &id);
    path.parse::<PathAndQuery>().context("the payment id does not fit a path")?;
    Ok(format!("{base}{path}"))
}

/// What `response` has other than the refusal.
fn refusal_faults(refusal: &Refusal, response: &Response) -> Vec<String> {
    let mut faults = response_faults(response, refusal.status);
    let body = response.json();
    let found = body.pointer(refusal.at).and_then(Value::as_str);
    if found != Some(refusal.code) {
        faults.push(format!(
            "{} of the body is {}, expected {}",
            refusal.at,
            found.unwrap_or("missing"),
            refusal.code
        ));
    }
    faults
}

/// What every response must have.
fn response_faults(response: &Response, status: u16) -> Vec<String> {
    let mut faults = Vec::new();
    if response.status != status {
        let body = String::from_utf8_lossy(&response.body);
        let beginning: String = body.chars().take(200).collect();
        faults.push(format!("status {}, expected {status}: {beginning}", response.status));
    }
    for (name, expected) in [("content-type", "application/json"), ("cache-control", "no-store")] {
        let found = response.header(name);
        if found != expected {
            faults.push(format!("{name} is {found:?}, expected {expected}"));
        }
    }
    if response.header("x-request-id").is_empty() {
        faults.push("x-request-id is missing".to_owned());
    }
    faults
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

fn lines(reports: &[Report]) -> String {
    let titles = ["provider", "checks", "first ms", "warm ms", "warm max ms"];
    let rows: Vec<_> = reports
        .iter()
        .map(|report| {
            let good = report.checks.iter().filter(|check| check.faults.is_empty());
            let warm = |of: fn(&Warm) -> f64| {
                report.warm.as_ref().map_or("-".to_owned(), |warm| of(warm).to_string())
            };
            [
                report.provider.to_owned(),
                format!("{} of {}", good.count(), report.checks.len()),
                report.first_ms.to_string(),
                warm(|warm| warm.median_ms),
                warm(|warm| warm.max_ms),
            ]
        })
        .collect();
    let mut lines = columns(titles, &rows);
    for report in reports {
        for check in &report.checks {
            for fault in &check.faults {
                lines += &format!("{} {}: {}\n", report.provider, check.name, shown(fault));
            }
        }
    }
    lines += if reports.iter().all(|report| report.passed) { "passed\n" } else { "failed\n" };
    lines
}
