//! How a function's process begins, and how many requests it serves at once.

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::{
    faults::{Cut, Fault, FaultProxy},
    golden::{Call, Case},
    runtime::Function,
    stage::canceling,
    tables::Tables,
    transport::{ALLOWED, ProviderResponse},
};

/// Before the first poll, the process connects by reading one key of its provider, or does not if
/// that is disabled. A missing or silent store costs the start one attempt, is logged once, and
/// ends nothing.
pub(super) async fn primed(cases: &[Case], provider: &str, binary: &str) -> Result<()> {
    let proxy = FaultProxy::listening(&Tables::new()?).await?;
    let url = proxy.url();
    let function = Function::start(binary, &[("AWS_ENDPOINT_URL_DYNAMODB", &url)]).await?;
    function.polled().await?;
    let seen = proxy.take();
    let operations = seen.iter().map(|one| (one.operation.as_str(), one.status));
    ensure!(operations.eq([("GetItem", 200)]), "before the first poll: {seen:?}");
    let lookup = serde_json::from_str::<Value>(&proxy.last_request())?;
    ensure!(
        lookup["Key"] == json!({"pk": {"S": format!("{provider}#")}}),
        "not a key of the provider's own: {lookup}"
    );

    let environment = [("AWS_ENDPOINT_URL_DYNAMODB", url.as_str()), ("PRIME_CONNECTION", "false")];
    let unprimed = Function::start(binary, &environment).await?;
    unprimed.polled().await?;
    let seen = proxy.take();
    ensure!(seen.is_empty(), "before the first poll: {seen:?}");

    for how in [Cut::Reset, Cut::Hang] {
        proxy.always(Fault::Request { after: 0, how });
        let alone = Function::start(binary, &[("AWS_ENDPOINT_URL_DYNAMODB", &url)]).await?;
        alone.polled().await?;
        let attempts = proxy.attempts();
        ensure!(attempts == 1, "{attempts} attempts before the first poll");
        let event = canceling(cases)?.event();
        let id = Call::begin().request_id;
        let response = alone.invoke(&id, &event, ALLOWED).await?;
        let response: ProviderResponse = serde_json::from_str(&response)?;
        ensure!(response.status >= 500, "without a store: {response:?}");
        let log = alone.finish().await?;
        let said = log.matches("cannot connect to DynamoDB before the first request").count();
        ensure!(said == 1, "the log says {log}");
    }
    Ok(())
}

/// With `AWS_LAMBDA_MAX_CONCURRENCY`, as Lambda Managed Instances set it, this many polls are open
/// at once and no more requests are in flight. Each gets its own response, and of those that cancel
/// one payment, one wins.
pub(super) async fn at_once(cases: &[Case], binary: &str) -> Result<()> {
    let case = canceling(cases)?;
    for number in [4, 32] {
        let tables = Tables::new()?;
        tables.give(&case.given)?;
        let proxy = FaultProxy::listening(&tables).await?;
        let (url, limit) = (proxy.url(), number.to_string());
        let environment =
            [("AWS_ENDPOINT_URL_DYNAMODB", url.as_str()), ("AWS_LAMBDA_MAX_CONCURRENCY", &limit)];
        let function = Function::start(binary, &environment).await?;
        function.polling(number).await?;
        let event = case.event();
        let requests = (0..2 * number).map(|_| {
            let (function, event) = (&function, &event);
            async move {
                let call = Call::begin();
                let response = function.invoke(&call.request_id, event, ALLOWED).await?;
                anyhow::Ok((call.request_id, serde_json::from_str::<ProviderResponse>(&response)?))
            }
        });
        let responses = try_join_all(requests).await?;
        ensure!(
            function.most_at_once() == number,
            "{} of {number} were in flight at once",
            function.most_at_once()
        );
        for (request_id, response) in &responses {
            let named =
                response.headers.get("x-request-id").context("a response names no request")?;
            ensure!(named == request_id, "{request_id} got the response of {named}");
            ensure!(response.status < 500, "a server error: {response:?}");
        }
        let winners = responses.iter().filter(|(_, response)| {
            response.status == 200 && !response.headers.contains_key("idempotent-replayed")
        });
        let winners = winners.count();
        ensure!(winners == 1, "{winners} of {} cancelled it", responses.len());
        let transitions = proxy.transitions();
        ensure!(transitions == 1, "{transitions} transitions");
    }
    Ok(())
}
