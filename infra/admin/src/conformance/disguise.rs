//! A case with its own merchant and key ids.
//!
//! The cases use the demo's merchants and keys, which are public, and many share ids with other
//! items behind them. Played unchanged, they would open a deployed table to anyone, collide with
//! each other, and meet cached credentials. So each case gets unguessable merchant and key ids with
//! the lengths and alphabets of its own.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use golden::{Case, Json};
use serde_json::Value;
use sha2::{Digest, Sha256};

use providers::is_digest;

/// The texts and their replacements.
#[derive(Debug, Default)]
pub(super) struct Disguise {
    merchants: BTreeMap<String, String>,
    /// Texts in header values: public ids and secrets.
    keys: BTreeMap<String, String>,
    /// Key ids of the credentials table.
    key_ids: BTreeMap<String, String>,
}

impl Disguise {
    /// The names for this case.
    pub(super) fn of(case: &Case) -> Result<Self> {
        let mut disguise = Self::default();
        let headers = case.request.headers.values();
        let presented: Vec<&str> = headers.flat_map(|value| words(value)).collect();
        for item in &case.given.credentials {
            disguise.merchant(text(item, "merchant_id"))?;
            let (_, id) = text(item, "pk").split_once('#').unwrap_or_default();
            if is_digest(id) {
                let secret = presented.iter().find(|word| hex::encode(Sha256::digest(word)) == id);
                // A secret that is not presented stays unchanged.
                let secret = secret.map(|secret| (*secret).to_owned());
                match secret {
                    Some(secret) => {
                        let other = another(&secret)?;
                        let digest = hex::encode(Sha256::digest(&other));
                        disguise.key_ids.insert(id.to_owned(), digest);
                        disguise.keys.insert(secret, other);
                    }
                    None => {
                        let other = hex::encode(random::<32>()?);
                        disguise.key_ids.insert(id.to_owned(), other.clone());
                        // Some present the digest itself.
                        disguise.keys.insert(id.to_owned(), other);
                    }
                }
            } else {
                let other = another(id)?;
                disguise.key_ids.insert(id.to_owned(), other.clone());
                disguise.keys.insert(id.to_owned(), other);
            }
        }
        for item in case.given.payments.iter().chain(&case.then.payments) {
            let merchant = text(item, "pk").split('#').nth(1).unwrap_or_default();
            disguise.merchant(merchant)?;
        }
        Ok(disguise)
    }

    fn merchant(&mut self, id: &str) -> Result<()> {
        if !id.is_empty() && !self.merchants.contains_key(id) {
            // A merchant id that breaks the rules still does so.
            let other = format!("{id}_{}", hex::encode(random::<16>()?));
            self.merchants.insert(id.to_owned(), other);
        }
        Ok(())
    }

    /// The case with these names.
    pub(super) fn applied(&self, case: &Case) -> Case {
        let mut case = case.clone();
        for value in case.request.headers.values_mut() {
            *value = self.header(value);
        }
        for value in case.sign.iter_mut().flat_map(|sign| sign.replace.values_mut()) {
            *value = self.header(value);
        }
        let given = case.given.credentials.iter_mut().chain(&mut case.given.payments);
        for item in given.chain(&mut case.then.payments) {
            self.item(item);
        }
        self.body(&mut case.then.body);
        case
    }

    fn header(&self, value: &str) -> String {
        // Longest first: a key may begin with another.
        let mut keys: Vec<_> = self.keys.iter().collect();
        keys.sort_by_key(|(key, _)| std::cmp::Reverse(key.len()));
        let mut out = String::new();
        let mut rest = value;
        for word in words_in_order(value) {
            let Some((before, after)) = rest.split_once(word) else {
                continue;
            };
            out.push_str(before);
            let other = keys.iter().find(|(key, _)| *key == word);
            out.push_str(other.map_or(word, |(_, other)| other));
            rest = after;
        }
        out + rest
    }

    fn item(&self, item: &mut Value) {
        if let Some(Value::String(pk)) = item.get_mut("pk") {
            let mut parts: Vec<_> = pk.splitn(3, '#').map(str::to_owned).collect();
            let is_payment = parts.len() == 3;
            if let Some(second) = parts.get_mut(1) {
                let others = if is_payment { &self.merchants } else { &self.key_ids };
                if let Some(other) = others.get(second) {
                    second.clone_from(other);
                }
            }
            *pk = parts.join("#");
        }
        if let Some(Value::String(merchant)) = item.get_mut("merchant_id")
            && let Some(other) = self.merchants.get(merchant)
        {
            merchant.clone_from(other);
        }
    }

    fn body(&self, body: &mut Json) {
        match body {
            Json::String(text) => {
                if let Some(other) = self.merchants.get(text) {
                    text.clone_from(other);
                }
            }
            Json::Array(list) => list.iter_mut().for_each(|value| self.body(value)),
            Json::Object(members) => members.iter_mut().for_each(|(_, it)| self.body(it)),
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }
}

/// Everything in a header value that may be a key: all of it, and the parts between commas and
/// blanks.
fn words(value: &str) -> impl Iterator<Item = &str> {
    words_in_order(value).chain([value.trim()])
}

fn words_in_order(value: &str) -> impl Iterator<Item = &str> {
    value.split([',', ' ', '\t']).filter(|word| !word.is_empty())
}

/// Another text of the same length, if it is long enough to be unguessable that way.
fn another(text: &str) -> Result<String> {
    let random = hex::encode(random::<16>()?);
    let room = text.len().checked_sub(random.len());
    let beginning = room.and_then(|room| text.get(..room)).filter(|beginning| beginning.len() > 8);
    Ok(format!("{}{random}", beginning.unwrap_or(text)))
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the system's random generator fails")?;
    Ok(bytes)
}

fn text<'i>(item: &'i Value, name: &str) -> &'i str {
    item.get(name).and_then(Value::as_str).unwrap_or_default()
}
