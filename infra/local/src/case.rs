//! For `cargo lambda`: the functions' environment, and the items that a case of `events/` is given.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::ProvideCredentials;
use serde::Deserialize;
use serde_json::Value;

use crate::data::Tables;

/// The variables with which a function finds the tables, a line each: for `cargo lambda watch --env-file`.
pub(crate) async fn environment(dynamodb: &str, config: &SdkConfig) -> Result<String> {
    let tables = Tables::new(config);
    let region = config
        .region()
        .map_or("us-east-1", |region| region.as_ref());
    let mut lines = vec![
        format!("AWS_ENDPOINT_URL_DYNAMODB={dynamodb}"),
        format!("AWS_REGION={region}"),
        format!("PAYMENTS_TABLE={}", tables.payments),
        format!("CREDENTIALS_TABLE={}", tables.credentials),
    ];
    // Only those that are none: a real key stays where it is.
    if let Some(provider) = config.credentials_provider() {
        let credentials = provider.provide_credentials().await?;
        if credentials.access_key_id() == "local" {
            lines.push("AWS_ACCESS_KEY_ID=local".to_owned());
            lines.push("AWS_SECRET_ACCESS_KEY=local".to_owned());
        }
    }
    Ok(lines.join("\n") + "\n")
}

/// What was there before a case.
#[derive(Deserialize)]
struct Case {
    #[serde(default)]
    given: Given,
    #[serde(default)]
    sign: Option<Value>,
}

#[derive(Default, Deserialize)]
struct Given {
    #[serde(default)]
    credentials: Vec<Value>,
    #[serde(default)]
    payments: Vec<Value>,
}

/// Puts the case's given items into the tables, over whatever was there, and says how to invoke it.
pub(crate) async fn put(tables: &Tables, path: &Path) -> Result<()> {
    let folder = if path.is_dir() {
        path.to_owned()
    } else {
        path.parent().map(PathBuf::from).unwrap_or_default()
    };
    let file = folder.join("case.json");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let case: Case = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
    ensure!(
        case.sign.is_none(),
        "{} is signed anew by the tests; its event's signature is out of date",
        folder.display()
    );
    for item in &case.given.credentials {
        embedded::put(&tables.client, &tables.credentials, item).await?;
    }
    for item in &case.given.payments {
        embedded::put(&tables.client, &tables.payments, item).await?;
    }
    Ok(())
}
