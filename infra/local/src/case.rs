//! For `cargo lambda`: the functions' environment, and the items that a case of `events/` is given.

use std::{ffi::OsStr, path::Path};

use anyhow::{Result, ensure};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::ProvideCredentials;

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

/// A golden case that has a complete event: `events/<provider>/<case>.json`.
pub(crate) struct Case(golden::Case);

impl Case {
    /// The case of that event.
    pub(crate) fn read(event: &Path) -> Result<Self> {
        let (provider, name) = (event.parent().and_then(Path::file_name), event.file_stem());
        let text = |name: Option<&OsStr>| name.unwrap_or_default().to_string_lossy().into_owned();
        let case = golden::case(&text(provider), &text(name))?;
        ensure!(
            case.sign.is_none(),
            "the signature in {} is out of date: it is good for five minutes; the tests renew it",
            event.display()
        );
        Ok(Self(case))
    }

    /// Puts its given items into the tables, over whatever was there.
    pub(crate) async fn put(&self, tables: &Tables) -> Result<()> {
        for item in &self.0.given.credentials {
            embedded::put(&tables.client, &tables.credentials, item).await?;
        }
        for item in &self.0.given.payments {
            embedded::put(&tables.client, &tables.payments, item).await?;
        }
        Ok(())
    }
}

/// The command that invokes the case of that event.
pub(crate) fn invocation(event: &Path) -> String {
    let provider = event.parent().and_then(Path::file_name);
    let provider = provider.unwrap_or_default().to_string_lossy();
    format!("cargo lambda invoke {provider} --data-file {}\n", event.display())
}
