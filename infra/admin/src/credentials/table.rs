//! The credentials table, as an operator may use it. What is secret in it is written, and never
//! read.

use anyhow::{Context, Error, Result, anyhow, bail};
use aws_sdk_dynamodb::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    types::{AttributeValue, Put, ReturnValue, TransactWriteItem, Update},
};
use indicatif::ProgressBar;
use jiff::Timestamp;
use providers::{Provider, is_digest};
use serde::Serialize;
use shared::{
    clock::milliseconds,
    key::{self, KeyFormat, KeyKind},
};

use crate::{
    aws::{Account, explain, put_new},
    output::waiting,
    payments::item::Item,
};

/// All that is read of an item.
const READ: &str = "pk, merchant_id, active, expires_at, created_at, api_version";

/// As many digits of a digest as are shown and accepted.
const SHOWN: usize = 12;

/// The table, and what error messages need.
pub(crate) struct Table {
    client: Client,
    name: String,
}

/// A credential without its secret.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entry {
    /// Whose key it is the first part of.
    pub(crate) provider: String,
    /// The scheme's name, where the provider is a known one.
    pub(crate) scheme: Option<&'static str>,
    /// The public id, or the first digits of the secret's digest.
    pub(crate) key: String,
    /// Whose it is.
    pub(crate) merchant_id: String,
    /// `active`, `expired` or `revoked`; `invalid` where its end is not a time.
    pub(crate) state: &'static str,
    /// RFC 3339.
    pub(crate) expires_at: Option<String>,
    /// RFC 3339; not there where another tool has made it.
    pub(crate) created_at: Option<String>,
    /// The API version that the account is pinned to.
    pub(crate) api_version: Option<String>,
    #[serde(skip)]
    pub(crate) pk: String,
}

impl Entry {
    /// The entry that `item` is.
    pub(crate) fn new(item: &Item, now: Timestamp) -> Self {
        let text = |name: &str| Some(item.get(name)?.as_s().ok()?.clone());
        let pk = text("pk").unwrap_or_default();
        let (provider, key_id) = pk.split_once('#').unwrap_or(("", &pk));
        let expires_at = text("expires_at");
        let ends = expires_at.as_deref().map(str::parse::<Timestamp>);
        let active = item.get("active").and_then(|flag| flag.as_bool().ok()) == Some(&true);
        Self {
            provider: provider.to_owned(),
            scheme: providers::find(provider)
                .and_then(|provider| provider.scheme_of_key(key_id))
                .map(|scheme| scheme.name),
            key: shown(key_id).to_owned(),
            merchant_id: text("merchant_id").unwrap_or_default(),
            state: match ends {
                _ if !active => "revoked",
                Some(Ok(end)) if end <= now => "expired",
                Some(Err(_)) => "invalid",
                Some(Ok(_)) | None => "active",
            },
            expires_at,
            created_at: text("created_at"),
            api_version: text("api_version"),
            pk,
        }
    }
}

/// A key id as it may be seen: of a digest only the beginning.
fn shown(key_id: &str) -> &str {
    match key_id.get(..SHOWN) {
        Some(beginning) if is_digest(key_id) => beginning,
        Some(_) | None => key_id,
    }
}

pub(crate) fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

impl Table {
    pub(crate) fn of(account: &Account) -> Self {
        Self { client: account.dynamodb.clone(), name: account.credentials.clone() }
    }

    /// What is waited for, on a terminal; it goes away with what is returned.
    fn waiting(&self, what: &str) -> ProgressBar {
        waiting(format!("{what} the table {}", self.name))
    }

    /// Stores a new credential, over no other.
    pub(crate) async fn put(&self, item: &Item) -> Result<()> {
        match put_new(&self.client, &self.name, item).await? {
            None => Ok(()),
            Some(_) => Err(self.taken()),
        }
    }

    fn taken(&self) -> Error {
        anyhow!(
            "this credential is already in the table {} and was not changed; `list` shows whose it \
             is, `rotate` gives it a successor",
            self.name
        )
    }

    /// Stores `new`, and lets `old` end at `end`: both or neither.
    pub(crate) async fn replace(&self, old: &Entry, end: Timestamp, new: &Item) -> Result<()> {
        let _waiting = self.waiting("writing to");
        let put = Put::builder()
            .table_name(&self.name)
            .set_item(Some(new.clone()))
            .condition_expression("attribute_not_exists(pk)")
            .build()?;
        let unchanged = match &old.expires_at {
            Some(_) => "expires_at = :seen",
            None => "(attribute_not_exists(expires_at) OR attribute_type(expires_at, :null))",
        };
        let mut update = Update::builder()
            .table_name(&self.name)
            .key("pk", text(&old.pk))
            .update_expression("SET expires_at = :end")
            .condition_expression(format!("active = :true AND {unchanged}"))
            .expression_attribute_values(":end", text(milliseconds(end)))
            .expression_attribute_values(":true", AttributeValue::Bool(true));
        update = match &old.expires_at {
            Some(seen) => update.expression_attribute_values(":seen", text(seen)),
            None => update.expression_attribute_values(":null", text("NULL")),
        };
        // The SDK gives it a token, so that a retry after a lost response is not a second write.
        let written = self
            .client
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().put(put).build())
            .transact_items(TransactWriteItem::builder().update(update.build()?).build())
            .send()
            .await;
        match written {
            Ok(_) => Ok(()),
            Err(failure) if failure.code() == Some("TransactionCanceledException") => bail!(
                "{} changed just now, and nothing was done; look at it with `list`, then try again",
                old.key
            ),
            Err(failure) => Err(self.explain(&failure, "dynamodb:PutItem and UpdateItem")),
        }
    }

    /// Sets one attribute of a credential that is there.
    pub(crate) async fn set(
        &self,
        entry: &Entry,
        attribute: &str,
        value: AttributeValue,
        now: Timestamp,
    ) -> Result<Entry> {
        let _waiting = self.waiting("writing to");
        let updated = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("pk", text(&entry.pk))
            .update_expression("SET #attribute = :value")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_names("#attribute", attribute)
            .expression_attribute_values(":value", value.clone())
            .return_values(ReturnValue::None)
            .send()
            .await;
        match updated {
            Ok(_) => {}
            Err(failure) if failure.code() == Some("ConditionalCheckFailedException") => {
                bail!("{} was deleted just now", entry.key)
            }
            Err(failure) => return Err(self.explain(&failure, "dynamodb:UpdateItem")),
        }
        self.get(&entry.pk, now)
            .await?
            .with_context(|| format!("{} was deleted just now", entry.key))
    }

    async fn get(&self, pk: &str, now: Timestamp) -> Result<Option<Entry>> {
        let _waiting = self.waiting("reading");
        let found = self
            .client
            .get_item()
            .table_name(&self.name)
            .key("pk", text(pk))
            .projection_expression(READ)
            .consistent_read(true)
            .send()
            .await
            .map_err(|failure| self.explain(&failure, "dynamodb:GetItem"))?;
        Ok(found.item.map(|item| Entry::new(&item, now)))
    }

    /// Every credential with this key prefix, sorted by provider, merchant and age.
    pub(crate) async fn list(
        &self,
        prefix: &str,
        merchant: Option<&str>,
        now: Timestamp,
    ) -> Result<Vec<Entry>> {
        let mut scan = self
            .client
            .scan()
            .table_name(&self.name)
            .projection_expression(READ)
            .consistent_read(true);
        let mut filters = Vec::new();
        if !prefix.is_empty() {
            filters.push("begins_with(pk, :prefix)");
            scan = scan.expression_attribute_values(":prefix", text(prefix));
        }
        if let Some(merchant) = merchant {
            filters.push("merchant_id = :merchant");
            scan = scan.expression_attribute_values(":merchant", text(merchant));
        }
        if !filters.is_empty() {
            scan = scan.filter_expression(filters.join(" AND "));
        }
        let mut pages = scan.into_paginator().send();
        let waiting = self.waiting("reading");
        let (mut items, mut looked_at) = (Vec::new(), 0);
        while let Some(page) = pages.next().await {
            let page = page.map_err(|failure| self.explain(&failure, "dynamodb:Scan"))?;
            looked_at += page.scanned_count;
            waiting.set_message(format!("{looked_at} items of the table {}", self.name));
            items.extend(page.items.unwrap_or_default());
        }
        let mut entries: Vec<_> = items.iter().map(|item| Entry::new(item, now)).collect();
        entries.sort_by(|one, other| {
            let place = |entry: &Entry| {
                (
                    entry.provider.clone(),
                    entry.merchant_id.clone(),
                    entry.created_at.clone(),
                    entry.pk.clone(),
                )
            };
            place(one).cmp(&place(other))
        });
        Ok(entries)
    }

    /// The one credential of that provider that an operator calls `key`: its public id, the first
    /// digits of its digest as `list` shows them, or a secret of our own form that has been found
    /// somewhere.
    pub(crate) async fn find(
        &self,
        provider: &'static Provider,
        key: &str,
        now: Timestamp,
    ) -> Result<Entry> {
        let provider = provider.name;
        if key::format(key, KeyKind::Secret) == KeyFormat::Issued {
            let pk = providers::Kind::Secret.presented("", key).pk(provider);
            let found = self.get(&pk, now).await?;
            return found.with_context(|| {
                format!(
                    "{provider} has no credential whose key is that secret; if it has a public id, \
                     give the id"
                )
            });
        }
        let digits = key.bytes().all(|byte| byte.is_ascii_hexdigit());
        // The whole digest of a secret is never shown, so there is no reason to type one.
        if !key.is_empty()
            && key.len() < 64
            && let Some(found) = self.get(&format!("{provider}#{key}"), now).await?
        {
            return Ok(found);
        }
        if digits && (8..64).contains(&key.len()) {
            let prefix = format!("{provider}#{}", key.to_lowercase());
            let mut found = self.list(&prefix, None, now).await?;
            found.retain(|entry| entry.pk.len() == provider.len() + 1 + 64);
            match (found.pop(), found.is_empty()) {
                (Some(entry), true) => return Ok(entry),
                (Some(_), false) => {
                    bail!("several keys of {provider} begin with {key}; give more digits")
                }
                (None, _) => {}
            }
        }
        bail!(
            "{provider} has no credential {key} in the table {}; `list --provider {provider}` \
             shows them",
            self.name
        )
    }

    fn explain<E>(&self, failure: &SdkError<E, HttpResponse>, action: &str) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        explain(failure, action, &format!("the table {}", self.name))
    }
}
