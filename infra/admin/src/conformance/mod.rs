//! `admin conformance`: the golden cases against any endpoint that keeps its items in tables of the
//! documented form.

mod compare;
mod disguise;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use futures_util::{StreamExt, stream};
use golden::Case;
use http_body_util::Full;
use hyper::{Request, body::Bytes, header::HeaderValue};
use jiff::Timestamp;
use providers::{Kind, Provider};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    Verdict,
    aws::Account,
    http::{Endpoints, Http, Response},
    output::{Output, progress, shown},
    payments::item::{item as stored, object},
};
use compare::{Difference, Facts, differences};
use disguise::Disguise;

/// API Gateway takes no more header bytes than this.
const MAX_HEADERS: usize = 10_240;

#[derive(Args)]
pub(crate) struct Conformance {
    #[command(flatten)]
    endpoints: Endpoints,
    /// The folder of the golden cases
    #[arg(long, value_name = "DIR", default_value = default_events())]
    events: PathBuf,
    /// Only cases whose name contains this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// How many cases are played at once
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    at_once: u8,
}

/// `events` here, or where the tool was built.
fn default_events() -> &'static str {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events");
    if Path::new("events").is_dir() { "events" } else { built }
}

/// The result of one case.
#[derive(Serialize)]
struct Played {
    provider: &'static str,
    case: String,
    #[serde(flatten)]
    result: Outcome,
}

#[derive(Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
enum Outcome {
    Passed,
    Failed { differences: Vec<Difference> },
    Skipped { reason: &'static str },
}

impl Conformance {
    pub(crate) async fn run(self, account: &Account, output: Output) -> Result<Verdict> {
        let http = Http::new()?;
        let mut chosen = Vec::new();
        for (provider, url) in self.endpoints.chosen(account)? {
            let folder = self.events.join(provider.name);
            let cases = golden::cases_in(&folder).with_context(|| {
                format!(
                    "cannot read the golden cases in {}; name their folder with --events",
                    folder.display()
                )
            })?;
            for case in cases {
                let selected = self.only.as_ref().is_none_or(|only| case.name.contains(only));
                if selected {
                    chosen.push((provider, url.clone(), case));
                }
            }
        }
        ensure!(!chosen.is_empty(), "no case has such a name; check --only");
        let bar = progress(chosen.len() as u64, "cases".to_owned());
        let total = chosen.len();
        // After Ctrl-C the cases that are being played finish, and so remove what they made.
        let played = stream::iter(chosen)
            .take_until(tokio::signal::ctrl_c())
            .map(|(provider, url, case)| {
                let (http, bar) = (&http, &bar);
                async move {
                    let result = play(account, http, provider, &url, &case).await;
                    bar.inc(1);
                    let result =
                        result.with_context(|| format!("{} {}", provider.name, case.name))?;
                    Ok(Played { provider: provider.name, case: case.name, result })
                }
            })
            .buffered(self.at_once.into());
        let played: Vec<Result<Played>> = played.collect().await;
        drop(bar);
        let played = played.into_iter().collect::<Result<Vec<_>>>()?;
        ensure!(
            played.len() == total,
            "interrupted after {} of {total} cases; what they stored is removed",
            played.len()
        );
        output.print(&played, || lines(&played))?;
        let failed = played.iter().any(|played| matches!(played.result, Outcome::Failed { .. }));
        Ok(Verdict::from(!failed))
    }
}

/// Why a case does not apply to an endpoint on the internet, if so.
fn unplayable(provider: &Provider, case: &Case) -> Option<&'static str> {
    let request = &case.request;
    if case.given.store.is_some() {
        return Some("it needs a fault of the store");
    }
    if request.method != "POST" || !is_on_route(provider.route, &request.path) {
        return Some("the API responds to it, not the function");
    }
    let lines = request.headers.iter();
    let bytes: usize = lines.map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_HEADERS || request.headers.len() > 90 {
        return Some("the API refuses so many headers");
    }
    let values = request.headers.values();
    if values.map(|value| HeaderValue::from_bytes(value.as_bytes())).any(|value| value.is_err()) {
        return Some("HTTP has no such header");
    }
    if has_derived_id(case) {
        return Some("its response has an id made of the merchant's, which is another here");
    }
    None
}

/// Whether the body has a cancellation id that is neither stored before nor made by this cancel.
fn has_derived_id(case: &Case) -> bool {
    let id = case.then.body.value();
    let id = id.get("cancellationId").and_then(Value::as_str);
    let is_stored = |id: &str| {
        let mut items = case.given.payments.iter();
        items.any(|item| item.pointer("/cancellation/id").and_then(Value::as_str) == Some(id))
    };
    id.is_some_and(|id| id != "{cancellation_id}" && !is_stored(id))
}

fn is_on_route(route: &str, path: &str) -> bool {
    let (route, path): (Vec<_>, Vec<_>) = (route.split('/').collect(), path.split('/').collect());
    route.len() == path.len()
        && route.iter().zip(&path).all(|(part, given)| {
            if part.starts_with('{') {
                // HTTP clients and APIs resolve dot segments themselves.
                !given.is_empty() && !matches!(*given, "." | "..")
            } else {
                part == given
            }
        })
}

async fn play(
    account: &Account,
    http: &Http,
    provider: &'static Provider,
    url: &str,
    case: &Case,
) -> Result<Outcome> {
    if let Some(reason) = unplayable(provider, case) {
        return Ok(Outcome::Skipped { reason });
    }
    let case = Disguise::of(case)?.applied(case);
    let mut made = Made::default();
    let differences = made.exchange(account, http, provider, url, &case).await;
    let removed = made.remove(account).await;
    let differences = differences?;
    removed.context("what the case stored is not removed; delete it by hand")?;
    Ok(if differences.is_empty() { Outcome::Passed } else { Outcome::Failed { differences } })
}

/// The keys of everything that a case made.
#[derive(Default)]
struct Made {
    payments: Vec<String>,
    credentials: Vec<String>,
}

impl Made {
    async fn exchange(
        &mut self,
        account: &Account,
        http: &Http,
        provider: &Provider,
        url: &str,
        case: &Case,
    ) -> Result<Vec<Difference>> {
        for item in &case.given.credentials {
            self.credentials.push(pk(item)?.to_owned());
            put(account, &account.credentials, item).await?;
        }
        for item in &case.given.payments {
            self.payments.push(pk(item)?.to_owned());
            put(account, &account.payments, item).await?;
        }
        let response = self.send(http, provider, url, case).await?;
        let mut after = Vec::new();
        for item in &case.given.payments {
            let found = account.get(&account.payments, pk(item)?).await?;
            after.push(found.map_or(Value::Null, |item| object(&item)));
        }
        Ok(differences(case, &Facts { response, after }))
    }

    async fn send(
        &mut self,
        http: &Http,
        provider: &Provider,
        url: &str,
        case: &Case,
    ) -> Result<Response> {
        let request = case.request_at(Timestamp::now().as_millisecond());
        let mut built = Request::builder().method("POST").uri(format!("{url}{}", request.path));
        for (name, value) in &request.headers {
            built = built.header(name, HeaderValue::from_bytes(value.as_bytes())?);
        }
        self.signature(provider, case, request.headers.get("x-signature"));
        let body = Full::new(Bytes::from(request.body.unwrap_or_default()));
        let built = built.body(body).map_err(|error| anyhow!("no such request: {error}"))?;
        http.send(built).await
    }

    /// The key of the used signature, if the functions store one.
    fn signature(&mut self, provider: &Provider, case: &Case, header: Option<&String>) {
        let signs = provider.schemes.iter().any(|scheme| scheme.kind == Kind::Signature);
        let tag = header.and_then(|header| hex::decode(header.strip_prefix("sha256=")?).ok());
        let Some(tag) = tag.filter(|_| signs) else {
            return;
        };
        let digest = hex::encode(Sha256::digest(tag));
        for item in &case.given.credentials {
            let merchant = item.get("merchant_id").and_then(Value::as_str).unwrap_or_default();
            self.payments.push(format!("{}.signature#{merchant}#{digest}", provider.name));
        }
    }

    async fn remove(&self, account: &Account) -> Result<()> {
        let mut removed = Ok(());
        for pk in &self.payments {
            removed = removed.and(account.delete(&account.payments, pk).await);
        }
        for pk in &self.credentials {
            removed = removed.and(account.delete(&account.credentials, pk).await);
        }
        removed
    }
}

async fn put(account: &Account, table: &str, item: &Value) -> Result<()> {
    let members = item.as_object().context("an item must be a JSON object")?;
    account.put(table, stored(members)).await
}

fn pk(item: &Value) -> Result<&str> {
    item.get("pk").and_then(Value::as_str).context("an item without pk")
}

fn lines(played: &[Played]) -> String {
    let mut lines = String::new();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for Played { provider, case, result } in played {
        let (word, more) = match result {
            Outcome::Passed => {
                passed += 1;
                ("ok    ", String::new())
            }
            Outcome::Failed { .. } => {
                failed += 1;
                ("FAILED", String::new())
            }
            Outcome::Skipped { reason } => {
                skipped += 1;
                ("skip  ", format!(": {reason}"))
            }
        };
        lines += &format!("{word}  {provider} {}{more}\n", shown(case));
        if let Outcome::Failed { differences } = result {
            for difference in differences {
                lines += &difference.lines();
            }
        }
    }
    lines + &format!("{passed} passed, {failed} failed, {skipped} skipped\n")
}
