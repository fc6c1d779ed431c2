//! Where the tables are, and the identity that reads and writes them.

use std::{collections::BTreeMap, env, time::Duration};

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use aws_config::{Region, SdkConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::{
    Client,
    config::{Credentials, http::HttpResponse},
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::put_item::PutItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use clap::{Args, builder::NonEmptyStringValueParser};
use hyper::Uri;
use shared::store::dynamodb::{behavior_version, http_client};

use crate::{output::waiting, payments::item::Item};

/// Where the tables are.
#[derive(Args)]
pub(crate) struct Place {
    /// A deployed stack, whose outputs name the tables and the API
    #[arg(long, global = true, value_name = "NAME")]
    stack: Option<String>,

    /// The payments table [default: the stack's, else $PAYMENTS_TABLE, else payments]
    #[arg(long, global = true, value_name = "TABLE")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    payments_table: Option<String>,

    /// The credentials table [default: the stack's, else $CREDENTIALS_TABLE, else credentials]
    #[arg(long, global = true, value_name = "TABLE")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    credentials_table: Option<String>,

    /// The AWS Region [default: from the environment or the profile]
    #[arg(long, global = true)]
    region: Option<String>,

    /// A profile of ~/.aws/config: keys, a role, a process, or a sign-in (SSO)
    #[arg(long, global = true)]
    profile: Option<String>,

    /// Another endpoint than AWS, such as http://127.0.0.1:8000; on this machine it needs no
    /// AWS credentials
    #[arg(long, global = true, value_name = "URL")]
    endpoint_url: Option<String>,
}

/// The tables, and the clients of all other AWS services.
pub(crate) struct Account {
    /// For the clients of the other services.
    pub(crate) config: SdkConfig,
    pub(crate) dynamodb: Client,
    pub(crate) payments: String,
    pub(crate) credentials: String,
    pub(crate) stack: Option<Stack>,
}

impl Account {
    /// The item under a key, as it is now.
    pub(crate) async fn get(&self, table: &str, pk: &str) -> Result<Option<Item>> {
        let get = self.dynamodb.get_item().consistent_read(true);
        let found = get.table_name(table).key("pk", key(pk)).send().await;
        let found = found.map_err(|failure| {
            explain(&failure, "dynamodb:GetItem", &format!("the table {table}"))
        })?;
        Ok(found.item)
    }

    /// Stores an item, over whatever was there.
    pub(crate) async fn put(&self, table: &str, item: Item) -> Result<()> {
        let put = self.dynamodb.put_item().table_name(table);
        put.set_item(Some(item)).send().await.map_err(|failure| {
            explain(&failure, "dynamodb:PutItem", &format!("the table {table}"))
        })?;
        Ok(())
    }

    /// Removes the item under a key, if there is one.
    pub(crate) async fn delete(&self, table: &str, pk: &str) -> Result<()> {
        let delete = self.dynamodb.delete_item().table_name(table);
        delete.key("pk", key(pk)).send().await.map_err(|failure| {
            explain(&failure, "dynamodb:DeleteItem", &format!("the table {table}"))
        })?;
        Ok(())
    }
}

fn key(pk: &str) -> AttributeValue {
    AttributeValue::S(pk.to_owned())
}

/// A deployed stack.
pub(crate) struct Stack {
    pub(crate) name: String,
    outputs: BTreeMap<String, String>,
}

impl Stack {
    /// The output of that name.
    pub(crate) fn output(&self, name: &str) -> Option<&str> {
        self.outputs.get(name).map(String::as_str)
    }

    async fn describe(config: &SdkConfig, name: &str) -> Result<Self> {
        let _waiting = waiting(format!("reading the stack {name}"));
        let found = aws_sdk_cloudformation::Client::new(config)
            .describe_stacks()
            .stack_name(name)
            .send()
            .await
            .map_err(|failure| {
                // CloudFormation has no error code for a missing stack.
                let missing =
                    failure.message().is_some_and(|message| message.contains("does not exist"));
                if missing {
                    anyhow!(
                        "there is no stack {name} in this account and Region; check --stack and \
                         --region"
                    )
                } else {
                    explain(&failure, "cloudformation:DescribeStacks", &format!("the stack {name}"))
                }
            })?;
        let stack = found.stacks.unwrap_or_default().into_iter().next();
        let stack = stack.with_context(|| format!("CloudFormation returned no stack {name}"))?;
        let outputs = stack.outputs.unwrap_or_default().into_iter();
        Ok(Self {
            name: name.to_owned(),
            outputs: outputs
                .filter_map(|output| output.output_key.zip(output.output_value))
                .collect(),
        })
    }
}

impl Place {
    /// Region and keys as the AWS tools find them: variables, profiles, roles.
    pub(crate) async fn account(&self) -> Result<Account> {
        let config = self.config().await?;
        let stack = match &self.stack {
            Some(name) => Some(Stack::describe(&config, name).await?),
            None => None,
        };
        let table = |flag: &Option<String>, output, variable, default: &str| -> Result<String> {
            if let Some(name) = flag {
                return Ok(name.clone());
            }
            if let Some(stack) = &stack {
                let name = stack.output(output).map(str::to_owned);
                return name.with_context(|| {
                    format!(
                        "the stack {} has no output {output}; name the table with a flag",
                        stack.name
                    )
                });
            }
            match env::var(variable) {
                Ok(name) if name.is_empty() => {
                    bail!("{variable} is empty; unset it or name a table")
                }
                Ok(name) => Ok(name),
                Err(_) => Ok(default.to_owned()),
            }
        };
        Ok(Account {
            dynamodb: Client::new(&config),
            payments: table(
                &self.payments_table,
                "PaymentsTableName",
                "PAYMENTS_TABLE",
                "payments",
            )?,
            credentials: table(
                &self.credentials_table,
                "CredentialsTableName",
                "CREDENTIALS_TABLE",
                "credentials",
            )?,
            stack,
            config,
        })
    }

    /// An operator's network may be a slow one, so the timeouts are longer than the functions'.
    async fn config(&self) -> Result<SdkConfig> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_secs(10))
            .operation_attempt_timeout(Duration::from_secs(10))
            .operation_timeout(Duration::from_secs(30))
            .build();
        let mut loader = aws_config::defaults(behavior_version())
            .http_client(http_client())
            .timeout_config(timeouts);
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let mut emulator = false;
        if let Some(url) = &self.endpoint_url {
            loader = loader.endpoint_url(url);
            // An emulator takes any Region and key, so none need be set for one.
            emulator = is_this_machine(url);
            let given = |name: &str| env::var_os(name).is_some();
            if emulator
                && self.profile.is_none()
                && !given("AWS_PROFILE")
                && !given("AWS_ACCESS_KEY_ID")
            {
                let dummy = Credentials::new("local", "local", None, None, "dummy");
                loader = loader.credentials_provider(dummy);
            }
        }
        let waiting = waiting("AWS credentials and Region".to_owned());
        let config = loader.load().await;
        drop(waiting);
        if config.region().is_some() {
            return Ok(config);
        }
        ensure!(emulator, "no AWS Region is set; name it with --region, or in AWS_REGION");
        let any = Region::from_static("us-east-1");
        Ok(config.into_builder().region(any).build())
    }
}

/// Whether a URL's host is this machine by name.
pub(crate) fn is_this_machine(url: &str) -> bool {
    let uri = url.parse::<Uri>();
    let host = uri.as_ref().ok().and_then(Uri::host);
    matches!(host, Some("127.0.0.1" | "localhost" | "[::1]"))
}

/// Stores an item under a new `pk`. Where another item has it, that one is returned.
pub(crate) async fn put_new(client: &Client, table: &str, item: &Item) -> Result<Option<Item>> {
    let _waiting = waiting(format!("writing to the table {table}"));
    let put = client
        .put_item()
        .table_name(table)
        .set_item(Some(item.clone()))
        .condition_expression("attribute_not_exists(pk)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .send()
        .await;
    let Err(failure) = put else { return Ok(None) };
    match failure.as_service_error() {
        // When a response is lost, the SDK retries the write, which then finds its own item.
        Some(PutItemError::ConditionalCheckFailedException(refused)) => {
            let found = refused.item.clone().unwrap_or_default();
            Ok((found != *item).then_some(found))
        }
        _ => Err(explain(&failure, "dynamodb:PutItem", &format!("the table {table}"))),
    }
}

/// What failed, and what to do next. `action` is the right that the call needs, such as
/// `dynamodb:GetItem`.
pub(crate) fn explain<E>(failure: &SdkError<E, HttpResponse>, action: &str, subject: &str) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let cause = DisplayErrorContext(failure).to_string();
    // The chain of causes ends in a dump of the whole response.
    let cause = cause.split(" (").next().unwrap_or_default();
    let operation = action.split(':').next_back().unwrap_or_default();
    let read_only = ["Describe", "Get", "List", "Scan", "Simulate"]
        .iter()
        .any(|verb| operation.starts_with(verb));
    match (failure, failure.code()) {
        (_, Some("ResourceNotFoundException")) => anyhow!(
            "{subject} does not exist in this account and Region; check --stack, the table flags \
             and --region"
        ),
        (_, Some("AccessDeniedException" | "AccessDenied")) => anyhow!(
            "not allowed: {action} on {subject} is required, and the use of its KMS key, if it has \
             one: {cause}"
        ),
        (_, Some(code)) if failure.as_service_error().is_some() => {
            anyhow!("{action} was refused: {code}: {}", failure.message().unwrap_or_default())
        }
        (SdkError::DispatchFailure(dispatch), _)
            if dispatch.is_other() && cause.contains("credential") =>
        {
            anyhow!(
                "no AWS credentials were found, or they cannot be used: {cause}\n\
                 Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a --profile. \
                 A profile that signs in (SSO) needs a session: aws sso login --profile NAME"
            )
        }
        (SdkError::ServiceError(_) | SdkError::ResponseError(_), None) if read_only => {
            anyhow!("the response to {action} cannot be read; is it AWS that responds? {cause}")
        }
        _ if read_only => anyhow!(
            "no response to {action}; check --endpoint-url, --region and the network: {cause}"
        ),
        _ => anyhow!(
            "no definite response to {action}, so it may or may not have been done. Check \
             --endpoint-url, --region and the network, then {subject}. A secret that was not shown \
             is lost: {cause}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_loopback_host_is_this_machine() {
        for url in ["http://127.0.0.1:8000", "http://localhost", "http://[::1]:8000/x"] {
            assert!(is_this_machine(url), "{url}");
        }
        for url in [
            "http://127.0.0.1.example.com",
            "http://localhost:1@example.com",
            "https://example.com/localhost",
            "nothing",
        ] {
            assert!(!is_this_machine(url), "{url}");
        }
    }
}
