//! A provider on this machine: its route, its statuses, its demo data.

use anyhow::{Context, Result};
use axum::routing::MethodRouter;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;
use shared::{
    provider::{Provider, Statuses},
    service::Settings,
    store::dynamodb::DynamoDb,
};

use crate::{example::Cancel, serve};

/// Whose the demo payments are.
const MERCHANT: &str = "m_demo";

/// A provider's `demo.json`: how to cancel, as whom, and what. The items are plain JSON; a
/// string is `S`, a number `N`, a boolean `BOOL`, an array `L`, an object `M`, null `NULL`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Demo {
    /// A cancel as the provider expects it.
    pub(crate) cancel: Cancel,
    /// Items of the credentials table.
    pub(crate) credentials: Vec<Value>,
    /// Items of the payments table. The first ones that can be canceled are the first ones to be
    /// shown.
    pub(crate) payments: Vec<Value>,
}

/// A provider on this machine.
pub(crate) struct Endpoint {
    /// [`Provider::NAME`].
    pub(crate) name: &'static str,
    /// [`Provider::ROUTE`].
    pub(crate) route: &'static str,
    /// [`Provider::STATUSES`].
    pub(crate) statuses: Statuses,
    /// Its `demo.json`.
    pub(crate) demo: Demo,
    /// The service.
    pub(crate) handler: MethodRouter,
}

impl Endpoint {
    /// The provider `P` over the tables, with its demo data.
    pub(crate) fn new<P: Provider>(store: &DynamoDb, settings: &Settings) -> Result<Self> {
        let demo = providers::of::<P>()?.demo;
        Ok(Self {
            name: P::NAME,
            route: P::ROUTE,
            statuses: P::STATUSES,
            demo: serde_json::from_str(demo)
                .with_context(|| format!("functions/{}/demo.json", P::NAME))?,
            handler: serve::handler::<P>(store, settings),
        })
    }

    /// Where the payment is canceled.
    pub(crate) fn url(&self, base: &str, payment_id: &str) -> String {
        let segments = self.route.split('/').map(|segment| match parameter(segment) {
            true => payment_id,
            false => segment,
        });
        format!("{base}{}", segments.collect::<Vec<_>>().join("/"))
    }

    /// The payment that a path names, where the path is this provider's.
    pub(crate) fn payment_in(&self, path: &str) -> Option<String> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let (route, path) = (self.route.split('/'), path.split('/'));
        if route.clone().count() != path.clone().count() {
            return None;
        }
        let mut id = None;
        for (expected, actual) in route.zip(path) {
            if parameter(expected) {
                id = Some(percent_decode_str(actual).decode_utf8_lossy().into_owned());
            } else if expected != actual {
                return None;
            }
        }
        id
    }

    /// The ids of the demo payments, in their file's order.
    pub(crate) fn demo_ids(&self) -> impl Iterator<Item = String> {
        let items = self.demo.payments.iter();
        items.filter_map(|item| Some(self.id_in(text(item, "pk"))?.to_owned()))
    }

    /// The payment id in a partition key of the demo merchant.
    pub(crate) fn id_in<'a>(&self, pk: &'a str) -> Option<&'a str> {
        let rest = pk.strip_prefix(self.name)?.strip_prefix('#')?;
        rest.strip_prefix(MERCHANT)?.strip_prefix('#')
    }

    /// The partition key of a payment of the demo merchant.
    pub(crate) fn pk(&self, id: &str) -> String {
        format!("{}#{MERCHANT}#{id}", self.name)
    }

    /// Whether a cancel of this item would succeed now.
    pub(crate) fn cancelable(&self, item: &Value) -> bool {
        let manual = item.get("manual_cancellation") == Some(&Value::Bool(true));
        self.statuses.cancelable.contains(&text(item, "status")) && !manual
    }

    /// The provider's statuses: the cancelable ones, the canceled one, and those of its demo
    /// payments.
    pub(crate) fn all_statuses(&self) -> Vec<&str> {
        let mut all = self.statuses.cancelable.to_vec();
        all.push(self.statuses.canceled);
        for item in &self.demo.payments {
            let status = text(item, "status");
            if !all.contains(&status) {
                all.push(status);
            }
        }
        all
    }
}

/// Whether a segment of a route is the payment id's placeholder.
fn parameter(segment: &str) -> bool {
    segment.starts_with('{')
}

/// A text attribute of an item; empty where it has none.
pub(crate) fn text<'a>(item: &'a Value, name: &str) -> &'a str {
    item.get(name).and_then(Value::as_str).unwrap_or_default()
}
