//! Requests to the endpoints, as a client on the internet sends them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{HeaderMap, Request, Uri, body::Bytes};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use providers::Provider;
use serde_json::Value;

use crate::aws::{Account, Stack};

/// API Gateway gives up after 30 seconds.
const TIMEOUT: Duration = Duration::from_secs(35);

/// Far more than any response of an endpoint.
const MAX_RESPONSE: usize = 1 << 20;

/// Which endpoints are called.
#[derive(Args)]
pub(crate) struct Endpoints {
    /// Where all endpoints are [default: the stack's outputs]
    #[arg(long, value_name = "URL", value_parser = base_url)]
    api_url: Option<String>,
    /// Where one provider's endpoint is, as vtex=https://…; may be repeated
    #[arg(long, value_name = "PROVIDER=URL", value_parser = named_url)]
    url: Vec<(&'static Provider, String)>,
    /// Only this provider; may be repeated [default: all that have a URL]
    #[arg(long, value_parser = crate::provider())]
    provider: Vec<&'static Provider>,
}

impl Endpoints {
    /// The chosen providers and the URL that each one's route is appended to.
    pub(crate) fn chosen(&self, account: &Account) -> Result<Vec<(&'static Provider, String)>> {
        let mut chosen = Vec::new();
        for provider in &providers::PROVIDERS {
            let named = self.provider.iter().any(|named| named.name == provider.name);
            match self.base(provider, account.stack.as_ref()) {
                Some(url) if named || self.provider.is_empty() => chosen.push((provider, url)),
                None if named => bail!(
                    "there is no URL of {0}; give --api-url, --url {0}=…, or --stack",
                    provider.name
                ),
                Some(_) | None => {}
            }
        }
        ensure!(
            !chosen.is_empty(),
            "where are the endpoints? give --api-url, --url PROVIDER=URL, or --stack"
        );
        Ok(chosen)
    }

    fn base(&self, provider: &Provider, stack: Option<&Stack>) -> Option<String> {
        let mut own = self.url.iter();
        if let Some((_, url)) = own.find(|(own, _)| own.name == provider.name) {
            return Some(url.clone());
        }
        if self.api_url.is_some() {
            return self.api_url.clone();
        }
        let stack = stack?;
        // `vtexUrl` ends with the route; `ApiUrl` is where all routes are.
        let url = match stack.output(&format!("{}Url", provider.name)) {
            Some(url) => url.strip_suffix(provider.route)?,
            None => stack.output("ApiUrl")?,
        };
        base_url(url).ok()
    }
}

/// `https://host/stage`, without a slash at its end.
fn base_url(text: &str) -> Result<String, String> {
    let uri = text.parse::<Uri>().ok();
    let fits = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none()
    });
    if !fits {
        return Err("must be a URL such as https://host/stage, without a query".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn named_url(text: &str) -> Result<(&'static Provider, String), String> {
    let (name, url) =
        text.split_once('=').ok_or("must be PROVIDER=URL, such as vtex=https://host")?;
    let provider = providers::find(name)
        .ok_or_else(|| format!("{name} must be one of {}", providers::names().join(", ")))?;
    Ok((provider, base_url(url)?))
}

/// A response, complete.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// From the first byte sent to the last one received; the first request of a client also
    /// connects.
    pub(crate) took: Duration,
}

impl Response {
    /// The body as JSON; null where it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The header's value; empty where it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// An HTTP client.
#[derive(Clone)]
pub(crate) struct Http(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Http {
    pub(crate) fn new() -> Result<Self> {
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .context("this machine has no certificates of authorities; install ca-certificates")?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    /// Sends a request once.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response> {
        let host = request.uri().authority().map(ToString::to_string);
        let host = host.unwrap_or_default();
        let began = Instant::now();
        let exchange = async {
            let response = self.0.request(request).await.map_err(|error| {
                let causes =
                    std::iter::successors(std::error::Error::source(&error), |it| it.source());
                let cause = causes.last().map_or_else(|| error.to_string(), ToString::to_string);
                if error.is_connect() {
                    anyhow!("cannot connect to {host}: {cause}")
                } else {
                    anyhow!("{host} broke the connection off: {cause}")
                }
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_RESPONSE).collect().await;
            let body =
                body.map_err(|error| anyhow!("the response of {host} is cut short: {error}"))?;
            Ok(Response {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.to_bytes(),
                took: began.elapsed(),
            })
        };
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(response) => response,
            Err(_) => bail!("no response from {host} within {} s", TIMEOUT.as_secs()),
        }
    }
}
