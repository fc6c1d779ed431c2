//! For `cargo lambda`: the functions' environment, and the items that a case of `events/` is given.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::ProvideCredentials;
use serde::Deserialize;
use serde_json::Value;

use crate::data::Tables;

/// The variables with which a function finds the tables, a line each: for
/// `cargo lambda watch --env-file`.
pub(crate) async fn environment(dynamodb: &str, config: &SdkConfig) -> Result<String> {
    let tables = Tables::new(config);
    let region = config.region().map_or("us-east-1", AsRef::as_ref);
    let mut lines = vec![
        format!("AWS_ENDPOINT_URL_DYNAMODB={dynamodb}"),
        format!("AWS_REGION={region}"),
        format!("PAYMENTS_TABLE={}", tables.payments),
        format!("CREDENTIALS_TABLE={}", tables.credentials),
    ];
    // Only an emulator's: a real key stays where it is.
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
pub(crate) struct Case {
    given: Given,
    /// Signed anew by the tests, before each call.
    sign: Option<Value>,
}

#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    credentials: Vec<Value>,
    #[serde(default)]
    payments: Vec<Value>,
}

impl Case {
    /// The case in that folder.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let file = folder.join("case.json");
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let case: Self = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        ensure!(
            case.sign.is_none(),
            "the signature in {} is out of date: it is good for five minutes; the tests renew it",
            folder.display()
        );
        Ok(case)
    }

    /// Puts its given items into the tables, over whatever was there.
    pub(crate) async fn put(&self, tables: &Tables) -> Result<()> {
        for item in &self.given.credentials {
            embedded::put(&tables.client, &tables.credentials, item).await?;
        }
        for item in &self.given.payments {
            embedded::put(&tables.client, &tables.payments, item).await?;
        }
        Ok(())
    }
}

/// The command that invokes the case in that folder.
pub(crate) fn invocation(folder: &Path) -> String {
    let provider = folder.parent().and_then(Path::file_name);
    let provider = provider.unwrap_or_default().to_string_lossy();
    let event = folder.join("event.json");
    format!(
        "cargo lambda invoke {provider} --data-file {}\n",
        event.display()
    )
}
