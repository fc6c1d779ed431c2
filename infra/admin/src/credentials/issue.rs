//! `admin credentials issue`

use std::io::{self, IsTerminal, Read, Write};

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use shared::{
    clock::milliseconds,
    key::{self, KeyKind},
};

use super::{
    End, Table, merchant_id,
    table::{Entry, text},
};
use crate::{
    output::{Output, shown},
    payments::item::Item,
};
use providers::{Kind, Provider, Scheme};

/// The most bytes of a merchant's own secret.
const MAX_SECRET: usize = 4096;

#[derive(Args)]
pub(crate) struct Issue {
    /// The payment provider
    #[arg(long, value_parser = crate::provider())]
    provider: &'static Provider,
    /// The merchant that will use it
    #[arg(long, value_parser = merchant_id)]
    merchant: String,
    /// Which of the provider's ways to present it; api-key or app-id of walletconnect
    #[arg(long)]
    scheme: Option<String>,
    /// The API version the account is pinned to, where the provider has versions
    #[arg(long)]
    api_version: Option<String>,
    /// A public id that the merchant already has, instead of a new one
    #[arg(long)]
    id: Option<String>,
    /// Read a secret that the merchant already has from standard input, instead of making one
    #[arg(long)]
    secret_stdin: bool,
    #[command(flatten)]
    end: End,
}

impl Issue {
    pub(super) async fn run(self, table: &Table, output: Output, now: Timestamp) -> Result<()> {
        let scheme = self.provider.scheme(self.scheme.as_deref())?;
        ensure!(
            scheme.kind.has_secret() || !self.secret_stdin,
            "{} {} has no secret, so --secret-stdin is nothing for it",
            self.provider.name,
            scheme.name
        );
        let secret = self.secret_stdin.then(secret_from_stdin).transpose()?;
        let issued = Issued::new(
            Order {
                provider: self.provider,
                scheme,
                merchant_id: &self.merchant,
                api_version: self.api_version.as_deref(),
                ends: self.end.moment(now)?,
                id: self.id,
                secret,
            },
            now,
        )?;
        table.put(&issued.item).await?;
        output.print(&issued, || issued.lines())
    }
}

/// The first line of standard input.
fn secret_from_stdin() -> Result<String> {
    let mut text = String::new();
    if io::stdin().is_terminal() {
        let _ = writeln!(io::stderr(), "the secret, then Enter and Ctrl-D:");
    }
    // One line of the longest secret, its end, and one byte more, which shows that there is too
    // much.
    let most = MAX_SECRET as u64 + 3;
    io::stdin().take(most).read_to_string(&mut text).context("standard input is not text")?;
    let secret = text.trim_end_matches(['\r', '\n']);
    ensure!(
        secret.len() <= MAX_SECRET && text.len() as u64 != most,
        "the secret on standard input is longer than {MAX_SECRET} bytes; nothing was stored"
    );
    ensure!(
        !secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic()),
        "the secret on standard input must be visible ASCII characters, on one line"
    );
    Ok(secret.to_owned())
}

/// What a new credential shall be.
pub(crate) struct Order<'a> {
    pub(crate) provider: &'static Provider,
    pub(crate) scheme: &'static Scheme,
    pub(crate) merchant_id: &'a str,
    pub(crate) api_version: Option<&'a str>,
    pub(crate) ends: Option<Timestamp>,
    /// The merchant's own.
    pub(crate) id: Option<String>,
    /// The merchant's own.
    pub(crate) secret: Option<String>,
}

/// A new credential, as it is shown this once.
#[derive(Serialize)]
pub(crate) struct Issued {
    #[serde(flatten)]
    pub(crate) entry: Entry,
    pub(crate) id: Option<String>,
    /// The one that was made. A secret that was given is never shown.
    pub(crate) secret: Option<String>,
    /// The header lines that a client sends.
    headers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) replaces: Option<Entry>,
    #[serde(skip)]
    pub(crate) item: Item,
}

impl Issued {
    pub(crate) fn new(order: Order<'_>, now: Timestamp) -> Result<Self> {
        let Order { provider: Provider { name, versions, .. }, scheme, .. } = order;
        let kind = scheme.kind;
        ensure!(
            kind.has_id() || order.id.is_none(),
            "{name} {} has no public id, so --id is nothing for it",
            scheme.name
        );
        if let Some(version) = order.api_version {
            ensure!(
                !versions.is_empty(),
                "{name} has no API versions, so --api-version is nothing for it"
            );
            ensure!(
                versions.contains(&version),
                "--api-version {version} of {name} must be one of {}",
                versions.join(", ")
            );
        }
        let given_secret = order.secret.is_some();
        let id = match order.id {
            None if kind.has_id() => Some(random(KeyKind::Id)?),
            given => given,
        };
        let secret = match order.secret {
            None if kind.has_secret() => Some(random(KeyKind::Secret)?),
            given => given,
        };
        let (id_text, secret_text) =
            (id.as_deref().unwrap_or_default(), secret.as_deref().unwrap_or_default());
        let presented = kind.presented(id_text, secret_text);
        // A signing secret is not sent. In a header that is sent, a comma separates values.
        let sent = [Some(id_text), (kind != Kind::Signature).then_some(secret_text)];
        ensure!(
            presented.may_exist(false) && !sent.iter().flatten().any(|text| text.contains(',')),
            "no function would accept it: an id has 1 to 255 visible ASCII characters and is not \
             64 hexadecimal digits; neither an id nor a secret has a comma; after pck_ or pci_, \
             the checksum must be right"
        );
        let mut item = Item::from([
            ("pk".to_owned(), text(presented.pk(name))),
            ("merchant_id".to_owned(), text(order.merchant_id)),
            ("active".to_owned(), AttributeValue::Bool(true)),
            ("created_at".to_owned(), text(milliseconds(now))),
        ]);
        let mut set = |name: &str, value: Option<String>| {
            item.extend(value.map(|value| (name.to_owned(), text(value))));
        };
        set("expires_at", order.ends.map(milliseconds));
        set("api_version", order.api_version.map(str::to_owned));
        match kind {
            Kind::Pair => set("secret_sha256", Some(hex::encode(Sha256::digest(secret_text)))),
            Kind::Signature => set("signing_secret", secret.clone()),
            Kind::Secret | Kind::Public => {}
        }
        let presented = if given_secret { "<the secret>" } else { secret_text };
        Ok(Self {
            entry: Entry::new(&item, now),
            headers: scheme.shown_headers(id_text, presented),
            id,
            secret: secret.filter(|_| !given_secret),
            replaces: None,
            item,
        })
    }

    pub(super) fn lines(&self) -> String {
        let Entry { provider, scheme, key, merchant_id, .. } = &self.entry;
        let scheme = scheme.unwrap_or_default();
        let mut lines = shown(&format!("{provider} {scheme} {key} of {merchant_id}")) + "\n";
        if let Some(id) = &self.id {
            lines += &format!("  id      {id}\n");
        }
        if let Some(secret) = &self.secret {
            lines += &format!("  secret  {secret}\n");
        }
        if let Some(end) = &self.entry.expires_at {
            lines += &format!("  until   {}\n", shown(end));
        }
        lines += &format!("A client sends\n  {}\n", self.headers.join("\n  "));
        if self.secret.is_some() {
            lines += "The secret is shown this once.\n";
        }
        if let Some(Entry { key, expires_at: Some(end), .. }) = &self.replaces {
            lines += &(shown(&format!("{key} works until {end}.")) + "\n");
        }
        lines
    }
}

/// 256 bits of the system's generator, in our form.
fn random(kind: KeyKind) -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system's random generator fails")?;
    Ok(key::issue(kind, bytes))
}
