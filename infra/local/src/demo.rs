//! The demo: each provider's cancel over HTTP, retried under the same key and tried under another;
//! then what the service is for, a lost response and a race.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_dynamodb::{
    Client as DynamoDb,
    config::{BehaviorVersion, Credentials, Region},
    error::SdkError,
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use axum::{
    body::Body,
    http::{HeaderMap, Method, Request},
};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

use crate::{
    data::{NewPayment, Tables},
    endpoint::{Endpoint, text},
    example::{Again, Draft, new_key},
    interposer::{Interposer, Lose},
    terminal,
};

/// A service responds within 4.5 seconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often a capture races a cancel.
const RACES: u64 = 10;

/// What the demo plays on.
pub(crate) struct Demo<'a> {
    /// The endpoints' URL.
    pub(crate) url: &'a str,
    /// The DynamoDB's.
    pub(crate) dynamodb: &'a str,
    /// The tables.
    pub(crate) tables: &'a Tables,
    /// The endpoints.
    pub(crate) endpoints: &'a [Endpoint],
    /// In front of a store of the stack's own.
    pub(crate) interposer: Option<Arc<Interposer>>,
    /// How to get cancelable payments again.
    pub(crate) afresh: &'a str,
}

/// A response.
struct Received {
    status: u16,
    replayed: bool,
    body: Value,
}

impl Received {
    /// The `code` of an error envelope, flat or nested.
    fn code(&self) -> &str {
        let code = self.body.pointer("/error/code");
        let code = code.or_else(|| self.body.get("code"));
        code.and_then(Value::as_str).unwrap_or("without a code")
    }
}

impl Demo<'_> {
    /// Plays it.
    ///
    /// # Errors
    /// Where something was not as it should be.
    pub(crate) async fn run(&self) -> Result<()> {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let mut wrong = Vec::new();
        let mut used_up = Vec::new();
        for endpoint in self.endpoints {
            let right = self
                .provider(&client, endpoint)
                .await
                .with_context(|| format!("cannot try {}", endpoint.name))?;
            match right {
                Some(true) => {}
                Some(false) => wrong.push(endpoint.name),
                None => used_up.push(endpoint.name),
            }
        }
        let first = self.endpoints.first().context("no provider")?;
        match &self.interposer {
            Some(interposer) => {
                if !self.lost_responses(&client, first, interposer).await? {
                    wrong.push("lost responses");
                }
                if !self.race(&client, first).await? {
                    wrong.push("race");
                }
            }
            None => terminal::heading(
                "A lost response and a race are shown with the embedded DynamoDB only",
            )?,
        }
        if !used_up.is_empty() {
            let names = used_up.join(", ");
            let afresh = self.afresh;
            bail!("all demo payments of {names} are canceled already; to start afresh, {afresh}");
        }
        ensure!(wrong.is_empty(), "went wrong: {}", wrong.join(", "));
        Ok(())
    }

    /// One provider's payment: canceled, retried under the same key, and tried under another.
    async fn provider(&self, client: &Http, endpoint: &Endpoint) -> Result<Option<bool>> {
        let Some((id, before)) = self.tables.next_cancelable(endpoint).await? else {
            return Ok(None);
        };
        terminal::heading(&format!("{}  {id}", endpoint.name))?;
        let canceled = endpoint.statuses.canceled;
        let key = new_key();
        let first = self.send(client, endpoint, &id, &key).await?;
        let item = self.tables.payment(endpoint, &id).await?;
        let after = text(&item, "status");
        let meaning = format!("{before} -> {after}");
        let wrong = (first.status != 200 || after != canceled).then(|| format!("200 {canceled}"));
        terminal::tried("cancel", &first.status.to_string(), &meaning, wrong.as_deref())?;

        let same = self.send(client, endpoint, &id, &key).await?;
        let replayed = same.status == 200 && same.replayed && same.body == first.body;
        let meaning = if same.replayed { "replayed" } else { same.code() };
        let unlike = (!replayed).then_some("200 replayed");
        terminal::tried("retry, same key", &same.status.to_string(), meaning, unlike)?;

        let other = self.send(client, endpoint, &id, &new_key()).await?;
        let (status, meaning, expected) = match &endpoint.demo.cancel.again {
            Again::Refused { status, code } => (*status, other.code().to_owned(), code.clone()),
            Again::Same(member) => {
                let value = first.body.get(member).filter(|value| !value.is_null());
                let same = value.is_some() && value == other.body.get(member);
                let word = if same { "same" } else { "another" };
                (200, format!("{word} {member}"), format!("same {member}"))
            }
        };
        let unlike =
            (other.status != status || meaning != expected).then(|| format!("{status} {expected}"));
        let right = wrong.is_none() && replayed && unlike.is_none();
        let status = other.status.to_string();
        terminal::tried("second try, new key", &status, &meaning, unlike.as_deref())?;
        Ok(Some(right))
    }

    /// The store makes the update, and its response is lost.
    async fn lost_responses(
        &self,
        client: &Http,
        endpoint: &Endpoint,
        interposer: &Interposer,
    ) -> Result<bool> {
        let canceled = endpoint.statuses.canceled;
        terminal::heading("DynamoDB writes the cancel, and its response is lost")?;
        let id = self.new_payment(endpoint).await?;
        interposer.arm(endpoint.pk(&id), Lose::First);
        let ours = self.send(client, endpoint, &id, &new_key()).await?;
        let wrong = (ours.status != 200).then_some("200");
        let status = ours.status.to_string();
        let meaning =
            if wrong.is_none() { "canceled: attempt 2 found its own cancel" } else { ours.code() };
        terminal::tried("this service", &status, meaning, wrong)?;

        let id = self.new_payment(endpoint).await?;
        interposer.arm(endpoint.pk(&id), Lose::First);
        let watched = interposer.watch(&endpoint.pk(&id));
        let refused = ordinary(self.dynamodb, &self.tables.payments, endpoint, &id).await?;
        interposer.watched(watched);
        // Without a token, a failed condition means nothing else.
        let (status, meaning) = match refused {
            Some(status) => ("409", format!("\"payment is {status}\": untrue, it canceled it")),
            None => ("200", "canceled".to_owned()),
        };
        terminal::tried("an ordinary handler", status, &meaning, None)?;

        let id = self.new_payment(endpoint).await?;
        let key = new_key();
        interposer.arm(endpoint.pk(&id), Lose::Every);
        let undecided = self.send(client, endpoint, &id, &key).await?;
        let unlike = (undecided.status < 500).then_some("5xx");
        let status = undecided.status.to_string();
        let meaning = "may or may not be canceled: retry with the key";
        terminal::tried("every response lost", &status, meaning, unlike)?;
        let retried = self.send(client, endpoint, &id, &key).await?;
        let item = self.tables.payment(endpoint, &id).await?;
        let right = retried.status == 200 && retried.replayed && text(&item, "status") == canceled;
        let meaning = if retried.replayed { "replayed: it was canceled" } else { retried.code() };
        let status = retried.status.to_string();
        terminal::tried("retry, same key", &status, meaning, (!right).then_some("200"))?;
        Ok(wrong.is_none() && unlike.is_none() && right)
    }

    /// A capture, which moves the status as every other writer must, and a cancel at the same time.
    async fn race(&self, client: &Http, endpoint: &Endpoint) -> Result<bool> {
        terminal::heading(&format!("A cancel races a capture, {RACES} times"))?;
        let statuses = endpoint.statuses;
        let captured = endpoint
            .all_statuses()
            .into_iter()
            .find(|word| !statuses.cancelable.contains(word) && *word != statuses.canceled);
        let captured = captured.context("no status for a captured payment")?;
        let (mut cancels, mut captures, mut untrue) = (0, 0, 0);
        let mut refused = 0;
        for round in 0..RACES {
            let id = self.new_payment(endpoint).await?;
            let item = self.tables.payment(endpoint, &id).await?;
            let capture = async {
                // So that not always the same one is first.
                tokio::time::sleep(Duration::from_millis(round)).await;
                let from = text(&item, "status");
                self.tables.move_status(endpoint, &id, from, captured).await
            };
            let key = new_key();
            let (cancel, capture) = tokio::join!(self.send(client, endpoint, &id, &key), capture);
            let (cancel, capture) = (cancel?, capture?);
            let after = self.tables.payment(endpoint, &id).await?;
            match (cancel.status, capture, text(&after, "status")) {
                (200, false, status) if status == statuses.canceled => cancels += 1,
                (status, true, after) if status != 200 && after == captured => {
                    captures += 1;
                    refused = status;
                }
                _ => untrue += 1,
            }
        }
        if cancels > 0 {
            terminal::tried(
                &format!("cancel first, {cancels}"),
                "200",
                "the capture is refused",
                None,
            )?;
        }
        if captures > 0 {
            let meaning = format!("the cancel is refused: {captured}");
            terminal::tried(
                &format!("capture first, {captures}"),
                &refused.to_string(),
                &meaning,
                None,
            )?;
        }
        let wrong = (untrue > 0).then_some("0");
        terminal::tried("both, or neither", "", &untrue.to_string(), wrong)?;
        Ok(untrue == 0)
    }

    async fn new_payment(&self, endpoint: &Endpoint) -> Result<String> {
        let item = endpoint.demo.payments.first();
        let payment = NewPayment {
            id: format!("pay_demo_{}", new_key()),
            status: item.map(|item| text(item, "status")).unwrap_or_default().to_owned(),
            amount: None,
            currency: None,
        };
        ensure!(self.tables.add(endpoint, &payment).await?, "the id is taken");
        Ok(payment.id)
    }

    async fn send(
        &self,
        client: &Http,
        endpoint: &Endpoint,
        id: &str,
        key: &str,
    ) -> Result<Received> {
        let (headers, body) = endpoint.demo.cancel.prepare(id, &Draft::keyed(key))?;
        let mut request = Request::builder().method(Method::POST).uri(endpoint.url(self.url, id));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(body))?;
        let exchange = async {
            let response = client.request(request).await?;
            let status = response.status().as_u16();
            let replayed = is_replay(response.headers());
            let body = response.into_body().collect().await?.to_bytes();
            let body = serde_json::from_slice(&body)?;
            Ok::<_, anyhow::Error>(Received { status, replayed, body })
        };
        tokio::time::timeout(TIMEOUT, exchange).await.context("no response")?
    }
}

type Http = Client<HttpConnector, Body>;

fn is_replay(headers: &HeaderMap) -> bool {
    headers.contains_key("idempotent-replayed")
}

/// The same conditional write as an ordinary handler makes it: the SDK's client with its defaults,
/// and a condition that knows the status alone. The status that its refusal would name, where it is
/// refused.
async fn ordinary(
    dynamodb: &str,
    table: &str,
    endpoint: &Endpoint,
    id: &str,
) -> Result<Option<String>> {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(shared::store::dynamodb::http_client())
        .endpoint_url(dynamodb)
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "embedded"))
        .load()
        .await;
    let words = endpoint.statuses.cancelable;
    let names = (0..words.len()).map(|n| format!(":from{n}"));
    let names = names.collect::<Vec<_>>();
    let mut update = DynamoDb::new(&config)
        .update_item()
        .table_name(table)
        .key("pk", AttributeValue::S(endpoint.pk(id)))
        .update_expression("SET #status = :canceled")
        .condition_expression(format!("#status IN ({})", names.join(", ")))
        .expression_attribute_names("#status", "status")
        .expression_attribute_values(
            ":canceled",
            AttributeValue::S(endpoint.statuses.canceled.to_owned()),
        )
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    for (name, word) in names.iter().zip(words) {
        let word = AttributeValue::S((*word).to_owned());
        update = update.expression_attribute_values(name, word);
    }
    match update.send().await.map_err(SdkError::into_service_error) {
        Ok(_) => Ok(None),
        Err(UpdateItemError::ConditionalCheckFailedException(refused)) => {
            let item = refused.item.unwrap_or_default();
            let status = item.get("status").and_then(|status| status.as_s().ok());
            Ok(Some(status.cloned().unwrap_or_default()))
        }
        Err(error) => Err(error).context("the ordinary handler's write failed"),
    }
}
