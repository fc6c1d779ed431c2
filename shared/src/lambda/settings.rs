//! The settings of a function, from its environment.

use std::{env, str::FromStr, time::Duration};

use crate::{service::Settings, store::dynamodb::Tables};

/// Everything that a function reads from its own variables. The SDK and the log read theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LambdaSettings {
    /// Of the service.
    pub service: Settings,
    /// `PAYMENTS_TABLE`, `CREDENTIALS_TABLE`.
    pub tables: Tables,
    /// `PRIME_CONNECTION`: whether to connect to DynamoDB before the first request.
    pub prime_connection: bool,
    /// `CORS_ORIGINS`, separated by commas: from which a browser may call a provider that allows
    /// browsers at all.
    pub cors_origins: Vec<String>,
}

/// The settings of this process's environment.
///
/// # Errors
/// The name of an invalid variable, its value and its rule. A typo must not leave a guard disabled.
pub fn settings() -> Result<LambdaSettings, String> {
    from(|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
}

pub(super) fn from(
    text: impl Fn(&'static str) -> Option<String>,
) -> Result<LambdaSettings, String> {
    fn parsed<T: FromStr>(
        name: &str,
        text: Option<String>,
        default: T,
        rule: &str,
    ) -> Result<T, String> {
        match text.filter(|text| !text.is_empty()) {
            None => Ok(default),
            Some(text) => {
                text.parse().map_err(|_| format!("{name} is {text:?} and must be {rule}"))
            }
        }
    }
    let (defaults, tables) = (Settings::default(), Tables::default());
    let flag = |name, default| parsed(name, text(name), default, "true or false");
    let table = |name, default| match text(name) {
        None => Ok(default),
        Some(table) if table.is_empty() => {
            Err(format!("{name} is empty and must be a table's name"))
        }
        Some(table) => Ok(table),
    };
    let ttl = parsed(
        "CREDENTIAL_TTL_SECONDS",
        text("CREDENTIAL_TTL_SECONDS"),
        defaults.credential_ttl.as_secs(),
        "a whole number of seconds",
    )?;
    let origins = text("CORS_ORIGINS").unwrap_or_default();
    let origins = origins.split(',').map(str::trim);
    Ok(LambdaSettings {
        service: Settings {
            credential_ttl: Duration::from_secs(ttl),
            issued_keys_only: flag("ISSUED_KEYS_ONLY", defaults.issued_keys_only)?,
            signature_single_use: flag("SIGNATURE_SINGLE_USE", defaults.signature_single_use)?,
        },
        tables: Tables {
            payments: table("PAYMENTS_TABLE", tables.payments)?,
            credentials: table("CREDENTIALS_TABLE", tables.credentials)?,
        },
        prime_connection: flag("PRIME_CONNECTION", true)?,
        cors_origins: origins.filter(|origin| !origin.is_empty()).map(str::to_owned).collect(),
    })
}
