//! The demo: for each provider one cancel over HTTP, what it did to the item, and what a second try gets.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use axum::body::Body;
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

use crate::{data::Tables, example::Again, serve::Endpoint, ui};

/// A service answers within 4.5 seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of one provider's payment.
pub(crate) struct Story {
    /// The provider.
    pub(crate) provider: &'static str,
    /// The payment's id.
    pub(crate) payment: String,
    /// Its status in DynamoDB before the first try.
    pub(crate) before: String,
    /// And after it.
    pub(crate) after: String,
    /// The first answer's HTTP status.
    pub(crate) http: u16,
    /// The second answer, in a few words.
    pub(crate) again: String,
    /// What should have been, where something else was.
    pub(crate) wrong: Option<String>,
}

/// Tells the story of every provider. `afresh` says how to get cancelable payments again.
///
/// # Errors
/// Where something was not as it should be.
pub(crate) async fn run(
    url: &str,
    tables: &Tables,
    endpoints: &[Endpoint],
    afresh: &str,
) -> Result<()> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut stories = Vec::new();
    let mut used_up = Vec::new();
    for endpoint in endpoints {
        match tell(&client, url, tables, endpoint).await {
            Ok(Some(story)) => stories.push(story),
            Ok(None) => used_up.push(endpoint.name),
            Err(error) => return Err(error.context(format!("cannot try {}", endpoint.name))),
        }
    }
    ui::stories(&stories)?;
    if !used_up.is_empty() {
        let names = used_up.join(", ");
        bail!("all demo payments of {names} are canceled already; to start afresh, {afresh}");
    }
    let wrong = stories.iter().filter(|story| story.wrong.is_some()).count();
    ensure!(wrong == 0, "{wrong} of {} went wrong", stories.len());
    Ok(())
}

async fn tell(
    client: &Client<HttpConnector, Body>,
    url: &str,
    tables: &Tables,
    endpoint: &Endpoint,
) -> Result<Option<Story>> {
    let Some(payment) = tables.next_cancelable(endpoint).await? else {
        return Ok(None);
    };
    let example = &endpoint.demo.cancel;
    let url = endpoint.url(url, &payment.id);
    let (http, first) = send(client, example.request(&url, &payment.id)?).await?;
    let after = tables.status(endpoint, &payment.id).await?;
    let (http_again, second) = send(client, example.request(&url, &payment.id)?).await?;

    let (again, wanted) = match &example.again {
        Again::Refused { status, code } => (
            format!("{http_again} {}", error_code(&second)),
            format!("{status} {code}"),
        ),
        Again::Same(member) => {
            let value = first.get(member).filter(|value| !value.is_null());
            let same = value.is_some() && value == second.get(member);
            let word = if same { "same" } else { "another" };
            (
                format!("{http_again} {word} {member}"),
                format!("200 same {member}"),
            )
        }
    };
    let wrong = wrong(http, &after, endpoint.statuses.canceled, &again, &wanted);
    Ok(Some(Story {
        provider: endpoint.name,
        payment: payment.id,
        before: payment.status,
        after,
        http,
        again,
        wrong,
    }))
}

/// What should have been, of what counts first, where something else was.
fn wrong(http: u16, after: &str, canceled: &str, again: &str, wanted: &str) -> Option<String> {
    if http != 200 {
        Some("200".to_owned())
    } else if after != canceled {
        Some(format!("status {canceled}"))
    } else {
        (again != wanted).then(|| wanted.to_owned())
    }
}

async fn send(
    client: &Client<HttpConnector, Body>,
    request: axum::http::Request<Body>,
) -> Result<(u16, Value)> {
    let exchange = async {
        let response = client.request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok::<_, anyhow::Error>((status, serde_json::from_slice(&body)?))
    };
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .context("no answer")?
}

/// The `code` of an error envelope, flat or nested.
fn error_code(body: &Value) -> &str {
    let code = body.pointer("/error/code").or_else(|| body.get("code"));
    code.and_then(Value::as_str).unwrap_or("without a code")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_a_status_or_a_second_answer_can_be_wrong() {
        let tried = |http, after, again| wrong(http, after, "canceled", again, "400 no");
        assert_eq!(tried(200, "canceled", "400 no"), None);
        assert_eq!(tried(500, "canceled", "400 no"), Some("200".into()));
        assert_eq!(tried(200, "open", "400 no"), Some("status canceled".into()));
        assert_eq!(tried(200, "canceled", "200 "), Some("400 no".into()));
    }
}
