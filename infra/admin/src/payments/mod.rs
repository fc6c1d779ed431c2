//! The payments table, as its creators and operators use it.

mod check;
pub(crate) mod item;
mod list;
mod r#move;
pub(crate) mod put;
mod show;

use std::collections::HashMap;

use anyhow::{Error, Result, anyhow};
use aws_sdk_dynamodb::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use clap::{Args, Subcommand};
use providers::Provider;

use crate::{
    Verdict,
    aws::{Account, explain, put_new},
    credentials::merchant_id,
    output::{Output, waiting},
};
use item::Item;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Stores a new payment; never replaces one
    Put(put::Put),
    /// Shows a payment, and what a cancel would do with it and why
    Show(show::Show),
    /// Lists payments; reads the table up to the limit
    List(list::List),
    /// Moves a payment's status on condition that it is still what you saw, as a capture must
    Move(r#move::Move),
    /// Compares every item with the data model; reads the whole table
    Check(check::Check),
}

impl Command {
    pub(crate) async fn run(self, account: &Account, output: Output) -> Result<Verdict> {
        let table = Table::of(account);
        match self {
            Self::Put(command) => command.run(&table, output).await,
            Self::Show(command) => command.run(account, output).await,
            Self::List(command) => command.run(&table, output).await,
            Self::Move(command) => command.run(&table, output).await,
            Self::Check(command) => command.run(&table, output).await,
        }
    }
}

/// A payment, by the parts of its key.
#[derive(Args)]
struct Named {
    /// The payment provider
    #[arg(long, value_parser = crate::provider())]
    provider: &'static Provider,
    /// The payment's merchant
    #[arg(long, value_parser = merchant_id)]
    merchant: String,
    /// The payment's id
    payment: String,
}

impl Named {
    fn pk(&self) -> Result<String> {
        let id = self.provider.payment_id(&self.payment)?;
        Ok(self.provider.pk(&self.merchant, &id))
    }
}

/// The table.
pub(crate) struct Table {
    client: Client,
    name: String,
}

impl Table {
    pub(crate) fn of(account: &Account) -> Self {
        Self { client: account.dynamodb.clone(), name: account.payments.clone() }
    }

    /// Stores a new item; the one that is there already comes back.
    pub(crate) async fn put(&self, item: &Item) -> Result<Option<Item>> {
        put_new(&self.client, &self.name, item).await
    }

    /// Makes `update` on condition; `Err` of the inner result has the item as it was, or none.
    async fn update(
        &self,
        pk: &str,
        update: &str,
        condition: &str,
        values: HashMap<String, AttributeValue>,
    ) -> Result<Result<Item, Option<Item>>> {
        let _waiting = waiting(format!("writing to the table {}", self.name));
        let updated = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("pk", text(pk))
            .update_expression(update)
            .condition_expression(condition)
            .expression_attribute_names("#status", "status")
            .set_expression_attribute_values(Some(values))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match updated {
            Ok(done) => Ok(Ok(done.attributes.unwrap_or_default())),
            Err(failure) => match failure.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(Err(refused.item.clone()))
                }
                _ => Err(self.explain(&failure, "dynamodb:UpdateItem")),
            },
        }
    }

    fn explain<E>(&self, failure: &SdkError<E, HttpResponse>, action: &str) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        explain(failure, action, &format!("the table {}", self.name))
    }

    fn missing(&self, pk: &str) -> Error {
        anyhow!("there is no payment {pk} in the table {}", self.name)
    }
}

pub(crate) fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}
