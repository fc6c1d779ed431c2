//! The meaning of the provider's responses, learned on a working network in every state that a
//! history can reach.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use shared::provider::{Provider, Statuses};

use super::{
    super::{Cancellation, Id, Item, Operation, Token},
    World, pk,
    requests::payment_id,
};
use crate::{
    spy::{OUTCOME, Spy},
    transport::{ProviderResponse, Transport},
};

/// All responses.
#[derive(Debug, Default)]
pub(super) struct Dictionary(Vec<Entry>);

#[derive(Debug, PartialEq)]
struct Entry {
    /// Which of the two requests was made.
    request: usize,
    outcome: String,
    bytes: Bytes,
    /// The payment that it shows.
    item: Option<Item>,
}

/// What a client sees, but for what differs from one payment and one token to the next.
#[derive(Debug, PartialEq)]
struct Bytes {
    status: u16,
    replayed: bool,
    body: String,
}

impl Bytes {
    fn of(
        response: &ProviderResponse,
        payment_id: &str,
        token: Option<&str>,
        item: Option<&Value>,
    ) -> Self {
        let mut body = response.body.replace(payment_id, "{payment_id}");
        let mut hide = |text: Option<&str>, name: &str| {
            if let Some(text) = text {
                body = body.replace(text, name);
            }
        };
        let text = |pointer| item.and_then(|item| item.pointer(pointer)?.as_str());
        let at = text("/canceled_at");
        let seconds = at.and_then(|at| Some(format!("{}Z", at.split_once('.')?.0)));
        hide(token, "{token}");
        hide(text("/cancellation/id"), "{cancellation_id}");
        hide(at, "{canceled_at}");
        hide(seconds.as_deref(), "{canceled_at_seconds}");
        Self {
            status: response.status,
            replayed: response.headers.contains_key("idempotent-replayed"),
            body,
        }
    }
}

impl Dictionary {
    /// Asks in every state.
    pub(super) async fn learn<P: Provider>(
        world: &World<P>,
        service: &Transport<Spy<P>>,
    ) -> Result<Self> {
        let mut learned = Self::default();
        for (number, first) in (900_000..).zip(states::<P>()) {
            for request in [0, 1] {
                let payment = world.put(number, first)?;
                let payment_id = payment_id(&payment)?;
                let event = world.requests.event(request, payment_id, Some("key-1"))?;
                let response = service.invoke("request", &event).await?;
                let outcome = response.headers.get(OUTCOME).context("no outcome")?.clone();
                let after = world.tables.get("payments", pk(&payment)?)?;
                let canceled_now =
                    after.as_ref().is_some_and(|item| item["status"] == P::STATUSES.canceled);
                let item = first.map(|item| {
                    if canceled_now && item.status != P::STATUSES.canceled {
                        canceled::<P>(Token::Key(1), request)
                    } else {
                        item
                    }
                });
                let bytes = Bytes::of(&response, payment_id, Some("key-1"), after.as_ref());
                let new = Entry { request, outcome, bytes, item };
                learned.add(P::STATUSES, new)?;
            }
        }
        Ok(learned)
    }

    /// Payments in two statuses must not have the same response. The cancelable statuses are the
    /// exception: their responses do not show the status.
    fn add(&mut self, statuses: Statuses, new: Entry) -> Result<()> {
        let status = |entry: &Entry| {
            let status = entry.item.map(|item| item.status);
            status.filter(|word| !statuses.cancelable.contains(word))
        };
        let alike = |old: &&Entry| {
            (old.request, &old.outcome, &old.bytes) == (new.request, &new.outcome, &new.bytes)
        };
        for old in self.0.iter().filter(alike) {
            // A response that refuses another request's key shows no status.
            ensure!(
                status(old) == status(&new) || new.outcome == "key_reused",
                "two payments have the same response: {old:?} and {new:?}"
            );
        }
        self.0.push(new);
        Ok(())
    }

    /// The payments that a response may show; empty for an unknown response.
    pub(super) fn read(
        &self,
        request: usize,
        outcome: &str,
        response: &ProviderResponse,
        payment_id: &str,
        token: Option<&str>,
        item: Option<&Value>,
    ) -> Vec<Option<Item>> {
        let bytes = Bytes::of(response, payment_id, token, item);
        let fits = |entry: &&Entry| {
            entry.request == request && entry.outcome == outcome && entry.bytes == bytes
        };
        self.0.iter().filter(fits).map(|entry| entry.item).collect()
    }
}

/// A payment that was canceled under `token`.
fn canceled<P: Provider>(token: Token, fingerprint: usize) -> Item {
    Item {
        status: P::STATUSES.canceled,
        manual: false,
        cancellation: Some(Cancellation { id: Id::Other, token, fingerprint }),
    }
}

fn states<P: Provider>() -> Vec<Option<Item>> {
    let item = |status, manual| Item { status, manual, cancellation: None };
    let open = P::STATUSES.cancelable.iter().flat_map(|word| [item(word, false), item(word, true)]);
    let moved = [Operation::Capture, Operation::Fail, Operation::Expire]
        .into_iter()
        .filter_map(|operation| operation.words(&P::STATUSES));
    let moved = moved.flat_map(|(_, word)| [item(word, false), item(word, true)]);
    let canceled = [(1, 0), (1, 1), (2, 0), (2, 1)]
        .map(|(key, request)| canceled::<P>(Token::Key(key), request));
    let reopened = canceled.map(|item| Item { status: P::STATUSES.cancelable[0], ..item });
    let some = open.chain(moved).chain(canceled).chain(reopened).map(Some);
    some.chain([None]).collect()
}
