//! `admin payments put`

use std::{fs, io::Read};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value};
use shared::clock::milliseconds;

use super::{
    Table,
    item::{self, Item},
    show::Shown,
    text,
};
use crate::{Verdict, credentials::merchant_id, output::Output};
use providers::Provider;

#[derive(Args)]
pub(crate) struct Put {
    /// The payment provider
    #[arg(long, value_parser = crate::provider())]
    provider: &'static Provider,
    /// The payment's merchant
    #[arg(long, value_parser = merchant_id)]
    merchant: String,
    /// The payment's id [default: a new one]
    payment: Option<String>,
    /// The provider's own status [default: the first cancelable one]
    #[arg(long)]
    status: Option<String>,
    /// Integer minor units
    #[arg(long, default_value_t = 1000)]
    amount: i64,
    /// ISO 4217
    #[arg(long, default_value = "USD", value_parser = currency)]
    currency: String,
    /// The provider's other fields: a JSON object, @FILE, or - for standard input
    #[arg(long, value_name = "JSON")]
    details: Option<String>,
    /// Only a person may cancel it
    #[arg(long)]
    manual: bool,
}

impl Put {
    pub(super) async fn run(self, table: &Table, output: Output) -> Result<Verdict> {
        let provider = self.provider;
        let id = match &self.payment {
            Some(id) => provider.payment_id(id)?,
            None => provider.new_payment_id(),
        };
        let mut item = payment(provider, &self.merchant, &id, Timestamp::now());
        if let Some(status) = &self.status {
            item.insert("status".to_owned(), text(word(provider, "--status", status)?));
        }
        item.insert("amount".to_owned(), AttributeValue::N(self.amount.to_string()));
        item.insert("currency".to_owned(), text(&self.currency));
        if self.manual {
            item.insert("manual_cancellation".to_owned(), AttributeValue::Bool(true));
        }
        if let Some(details) = &self.details {
            let details = item::item(&details_from(details)?);
            item.insert("details".to_owned(), AttributeValue::M(details));
        }
        if let Some(found) = table.put(&item).await? {
            let status = found.get("status").and_then(|status| status.as_s().ok());
            bail!(
                "the payment {} already exists and was not changed: its status is {}; see it with \
                 `payments show`, and change its status with `payments move`",
                provider.pk(&self.merchant, &id),
                status.map_or("missing", String::as_str),
            );
        }
        Shown::new(provider, &item).print(output)?;
        Ok(Verdict::Passed)
    }
}

/// A new payment in the documented form, in the provider's first cancelable status.
pub(crate) fn payment(provider: &Provider, merchant: &str, id: &str, now: Timestamp) -> Item {
    let status = provider.statuses.cancelable.first().copied();
    Item::from([
        ("pk".to_owned(), text(provider.pk(merchant, id))),
        ("status".to_owned(), text(status.unwrap_or_default())),
        ("amount".to_owned(), AttributeValue::N("1000".to_owned())),
        ("currency".to_owned(), text("USD")),
        ("created_at".to_owned(), text(milliseconds(now))),
        ("updated_at".to_owned(), text(milliseconds(now))),
    ])
}

/// A status of the provider: a mistyped one would make a payment that nothing can move.
pub(super) fn word(provider: &Provider, flag: &str, text: &str) -> Result<&'static str> {
    let word = provider.words().find(|word| *word == text);
    word.with_context(|| {
        let words: Vec<_> = provider.words().collect();
        format!("{flag} {text} must be one of {}", words.join(", "))
    })
}

fn currency(text: &str) -> Result<String, String> {
    let fits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    fits.then(|| text.to_owned())
        .ok_or_else(|| "must be the three letters of ISO 4217, such as USD".to_owned())
}

fn details_from(argument: &str) -> Result<Map<String, Value>> {
    let json = match argument.strip_prefix('@') {
        Some(file) => fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?,
        None if argument == "-" => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.context("standard input is not text")?;
            text
        }
        None => argument.to_owned(),
    };
    let details = serde_json::from_str(&json).context("--details is not a JSON object")?;
    let size = json.len();
    ensure!(size < 380 * 1024, "--details has {size} bytes; an item has at most 400 KB");
    Ok(details)
}
