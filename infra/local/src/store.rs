//! Which DynamoDB, and what to say where it cannot be used.

use std::{
    env, io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Error, Result, anyhow};
use aws_config::{Region, SdkConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::config::Credentials;
use axum::http::Uri;
use shared::store::dynamodb::{behavior_version, http_client};

use crate::guard::loopback;

/// How long another DynamoDB may take for one call. The SDK alone would wait without end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Nothing here is for other machines.
pub(crate) fn here(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// An `http` or `https` URL.
pub(crate) fn http_url(text: &str) -> Result<String, &'static str> {
    match text.parse::<Uri>() {
        Ok(url) if matches!(url.scheme_str(), Some("http" | "https")) => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err("must be http://host:port, or https"),
    }
}

/// Whether the URL is on this machine.
pub(crate) fn on_this_machine(url: &str) -> bool {
    let url = url.parse::<Uri>();
    url.is_ok_and(|url| url.authority().is_some_and(loopback))
}

/// The functions' own SDK configuration, pointed at another DynamoDB. An emulator takes any region
/// and key, so none need be set for one.
pub(crate) async fn config_elsewhere(endpoint_url: &str) -> SdkConfig {
    let named = |names: &[&str]| names.iter().any(|name| env::var_os(name).is_some());
    let mut loader = aws_config::defaults(behavior_version())
        .http_client(http_client())
        .timeout_config(TimeoutConfig::builder().operation_timeout(PATIENCE).build())
        .endpoint_url(endpoint_url);
    if !named(&["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"]) {
        loader = loader.region(Region::from_static("us-east-1"));
    }
    if !named(&["AWS_ACCESS_KEY_ID", "AWS_PROFILE"]) {
        loader =
            loader.credentials_provider(Credentials::new("local", "local", None, None, "dummy"));
    }
    loader.load().await
}

/// Explains what to do if a port is taken; returns every other error unchanged.
pub(crate) fn about_port(error: Error, port: u16) -> Error {
    if io_kind(&error) == Some(io::ErrorKind::AddrInUse) {
        anyhow!(
            "port {port} is taken; is the stack already running? \
             Choose others with --port and --dynamodb-port, 0 for any free one"
        )
    } else {
        error
    }
}

/// The error for people: the cause of a failed connection; of any other error, everything known.
pub(crate) fn explained(error: &Error) -> String {
    let causes = error.chain().map(|cause| cause.to_string().to_lowercase());
    let causes = causes.collect::<Vec<_>>().join(": ");
    let mentions = |words: &[&str]| words.iter().any(|word| causes.contains(word));
    let reason = match io_kind(error) {
        Some(io::ErrorKind::ConnectionRefused) => {
            "nothing is listening there; start it, or correct the address"
        }
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) => {
            "it ended the connection; is it a DynamoDB, and is https or http right?"
        }
        _ if mentions(&["dns error", "failed to lookup"]) => {
            "its name cannot be resolved; correct --endpoint-url, or check the network"
        }
        _ if mentions(&["timeout", "timed out"]) => {
            "it does not respond; is the address right, and can it be reached from here?"
        }
        _ if mentions(&["certificate", "tls", "corrupt message"]) => {
            "no TLS connection with it; is https right, and its certificate valid?"
        }
        // DynamoDB always names its errors.
        _ if mentions(&["unhandled error: error"]) => {
            "it does not respond as a DynamoDB does; is it another server?"
        }
        // The variable of that name is no matter of credentials.
        _ if mentions(&["credentials"]) && !mentions(&["credentials_table"]) => {
            "no AWS credentials; set AWS_PROFILE or AWS_ACCESS_KEY_ID, or sign in (aws sso login)"
        }
        _ => return format!("{error:#}"),
    };
    format!("{error}: {reason}")
}

fn io_kind(error: &Error) -> Option<io::ErrorKind> {
    let mut causes = error.chain().rev();
    causes.find_map(|cause| Some(cause.downcast_ref::<io::Error>()?.kind()))
}
