//! Checks with KMS, Lambda, IAM and CloudWatch: keys, and the functions' settings, rights and
//! throttles.

use std::{collections::HashMap, time::SystemTime};

use aws_sdk_cloudwatch::types::{Dimension, Statistic};
use aws_sdk_dynamodb::types::TableDescription;
use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, PolicyEvaluationDecisionType};
use aws_sdk_kms::types::{KeyManagerType, KeyState};
use aws_sdk_lambda::types::{LastUpdateStatus, State};

use super::{Findings, Level, tables::key_of};
use crate::aws::Account;
use providers::{PROVIDERS, Provider};

/// A day.
const SECONDS: u64 = 24 * 60 * 60;

/// What rights are about.
#[derive(Default)]
struct Described {
    arn: Option<String>,
    /// The customer-managed key that encrypts it.
    key_arn: Option<String>,
}

pub(super) async fn look(
    account: &Account,
    [payments, credentials]: [Option<TableDescription>; 2],
    functions: &[(&Provider, String)],
    findings: &mut Findings,
) {
    let tables = [
        described(account, payments, findings).await,
        described(account, credentials, findings).await,
    ];
    if functions.is_empty() {
        return;
    }
    for (provider, name) in functions {
        function(account, provider, name, &tables, findings).await;
    }
    for (table, metric) in
        [(&account.payments, "WriteThrottleEvents"), (&account.credentials, "ReadThrottleEvents")]
    {
        let subject = format!("table {table}");
        let dimension = ("TableName", table.as_str());
        let sum = sum(account, "AWS/DynamoDB", metric, dimension, &subject, findings).await;
        match sum {
            Some(0.0) => findings.ok(&subject, "was not throttled in the last 24 hours"),
            Some(count) => findings.warning(
                &subject,
                format!("was throttled {count} times in the last 24 hours"),
                "look for a hot key or a limit of the table",
            ),
            None => {}
        }
    }
}

async fn described(
    account: &Account,
    table: Option<TableDescription>,
    findings: &mut Findings,
) -> Described {
    let Some(table) = table else {
        return Described::default();
    };
    let key_arn = match key_of(&table) {
        Some(arn) => key(account, &arn, findings).await.then_some(arn),
        None => None,
    };
    Described { arn: table.table_arn, key_arn }
}

async fn function(
    account: &Account,
    provider: &Provider,
    name: &str,
    tables: &[Described; 2],
    findings: &mut Findings,
) {
    let subject = format!("function {name}");
    let lambda = aws_sdk_lambda::Client::new(&account.config);
    let found = lambda.get_function_configuration().function_name(name).send().await;
    let Some(function) = findings.looked(&subject, "lambda:GetFunctionConfiguration", found) else {
        return;
    };
    let ready = matches!(function.state, Some(State::Active | State::Inactive) | None)
        && function.last_update_status != Some(LastUpdateStatus::Failed);
    if ready {
        findings.ok(&subject, "is ready");
    } else {
        findings.fault(
            &subject,
            format!(
                "cannot run: {}",
                function
                    .state_reason()
                    .or(function.last_update_status_reason())
                    .unwrap_or("no reason given")
            ),
            "deploy it again",
        );
    }
    let variables = function.environment.and_then(|environment| environment.variables);
    let variables = variables.unwrap_or_default();
    settings(account, &variables, &subject, findings);
    if let Some(role) = &function.role {
        rights(account, provider, role, tables, &subject, findings).await;
    }
    for (metric, what, remedy) in [
        ("Throttles", "refused to run", "raise the concurrency of the function or the account"),
        ("Errors", "failed", "look at its log"),
    ] {
        let sum =
            sum(account, "AWS/Lambda", metric, ("FunctionName", name), &subject, findings).await;
        match sum {
            Some(0.0) => findings.ok(&subject, format!("never {what} in the last 24 hours")),
            Some(count) => findings.warning(
                &subject,
                format!("{what} {count} times in the last 24 hours"),
                remedy,
            ),
            None => {}
        }
    }
}

/// The variables that name the tables.
fn settings(
    account: &Account,
    variables: &HashMap<String, String>,
    subject: &str,
    findings: &mut Findings,
) {
    for (variable, table) in
        [("PAYMENTS_TABLE", &account.payments), ("CREDENTIALS_TABLE", &account.credentials)]
    {
        let default = variable.trim_end_matches("_TABLE").to_lowercase();
        let used = variables.get(variable).unwrap_or(&default);
        if used != table {
            findings.fault(
                subject,
                format!("uses the table {used} where {table} is expected ({variable})"),
                "deploy it with the right table, or name that table to this tool",
            );
        }
    }
}

/// One right to check with IAM.
struct Right {
    action: &'static str,
    resource: Option<String>,
    context: Option<(&'static str, String)>,
    needed: bool,
    what: &'static str,
}

async fn rights(
    account: &Account,
    provider: &Provider,
    role: &str,
    [payments, credentials]: &[Described; 2],
    subject: &str,
    findings: &mut Findings,
) {
    let leading = |provider: &str| Some(("dynamodb:LeadingKeys", format!("{provider}#key")));
    let other = PROVIDERS.iter().find(|other| other.name != provider.name);
    let other = other.map_or("", |other| other.name);
    let region = account.config.region().map(ToString::to_string).unwrap_or_default();
    let mut rights = vec![
        Right {
            action: "dynamodb:UpdateItem",
            resource: payments.arn.clone(),
            context: leading(provider.name),
            needed: true,
            what: "cancel its payments",
        },
        Right {
            action: "dynamodb:UpdateItem",
            resource: payments.arn.clone(),
            context: leading(other),
            needed: false,
            what: "change another provider's payments",
        },
        Right {
            action: "dynamodb:GetItem",
            resource: credentials.arn.clone(),
            context: leading(provider.name),
            needed: true,
            what: "look up its credentials",
        },
        Right {
            action: "dynamodb:GetItem",
            resource: credentials.arn.clone(),
            context: leading(other),
            needed: false,
            what: "read another provider's credentials",
        },
        Right {
            action: "dynamodb:DeleteItem",
            resource: payments.arn.clone(),
            context: leading(provider.name),
            needed: false,
            what: "delete payments",
        },
    ];
    for (key_arn, what) in
        [(&payments.key_arn, "decrypt payments"), (&credentials.key_arn, "decrypt credentials")]
    {
        if key_arn.is_some() {
            rights.push(Right {
                action: "kms:Decrypt",
                resource: key_arn.clone(),
                context: Some(("kms:ViaService", format!("dynamodb.{region}.amazonaws.com"))),
                needed: true,
                what,
            });
        }
    }
    let iam = aws_sdk_iam::Client::new(&account.config);
    for right in rights {
        let mut simulate = iam
            .simulate_principal_policy()
            .policy_source_arn(role)
            .action_names(right.action)
            .set_resource_arns(right.resource.map(|arn| vec![arn]));
        if let Some((key, value)) = right.context {
            let many = key == "dynamodb:LeadingKeys";
            let kind =
                if many { ContextKeyTypeEnum::StringList } else { ContextKeyTypeEnum::String };
            let entry = ContextEntry::builder()
                .context_key_name(key)
                .context_key_values(value)
                .context_key_type(kind);
            simulate = simulate.context_entries(entry.build());
        }
        let simulated = simulate.send().await;
        let Some(found) = findings.looked(subject, "iam:SimulatePrincipalPolicy", simulated) else {
            // What is refused once is refused each time.
            return;
        };
        let results = found.evaluation_results.unwrap_or_default();
        let allowed = results
            .iter()
            .all(|result| *result.eval_decision() == PolicyEvaluationDecisionType::Allowed);
        let Right { action, what, needed, .. } = right;
        match (needed, allowed && !results.is_empty()) {
            (true, true) => findings.ok(subject, format!("may {what}")),
            (false, false) => findings.ok(subject, format!("may not {what}")),
            (true, false) => findings.fault(
                subject,
                format!("may not {what}"),
                format!("allow {action} in its role {role}"),
            ),
            (false, true) => findings.warning(
                subject,
                format!("may {what}, which it does not need"),
                format!("take {action} out of its role {role}"),
            ),
        }
    }
}

/// A metric's sum over the last day; without values, 0.
async fn sum(
    account: &Account,
    namespace: &str,
    metric: &str,
    (dimension, value): (&str, &str),
    subject: &str,
    findings: &mut Findings,
) -> Option<f64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let at = |seconds: u64| aws_sdk_cloudwatch::primitives::DateTime::from_secs(seconds as i64);
    let cloudwatch = aws_sdk_cloudwatch::Client::new(&account.config);
    let request = cloudwatch
        .get_metric_statistics()
        .namespace(namespace)
        .metric_name(metric)
        .dimensions(Dimension::builder().name(dimension).value(value).build())
        .start_time(at(now.saturating_sub(SECONDS)))
        .end_time(at(now))
        .period(3600)
        .statistics(Statistic::Sum);
    let found = findings.looked(subject, "cloudwatch:GetMetricStatistics", request.send().await)?;
    let points = found.datapoints.unwrap_or_default();
    Some(points.iter().filter_map(|point| point.sum).sum())
}

/// Whether it is a customer-managed key, with what there is to say of it.
async fn key(account: &Account, arn: &str, findings: &mut Findings) -> bool {
    let subject = format!("key {arn}");
    let kms = aws_sdk_kms::Client::new(&account.config);
    let found = kms.describe_key().key_id(arn).send().await;
    let Some(found) = findings.looked(&subject, "kms:DescribeKey", found) else {
        return true;
    };
    let Some(key) = found.key_metadata else {
        return true;
    };
    match &key.key_state {
        Some(KeyState::Enabled) => findings.ok(&subject, "is enabled"),
        Some(KeyState::PendingDeletion) => findings.fault(
            &subject,
            "is about to be deleted, and every credential with it",
            "cancel the deletion now: aws kms cancel-key-deletion",
        ),
        state => findings.fault(
            &subject,
            format!(
                "is {}",
                state.as_ref().map_or("unknown", |state| state.as_str()).to_lowercase()
            ),
            "enable it; until then no credential can be read",
        ),
    }
    let own = key.key_manager == Some(KeyManagerType::Customer);
    if !own {
        findings.warning(
            &subject,
            "is managed by AWS, so its policy cannot be limited to the functions",
            "encrypt the table with a customer-managed key",
        );
        return false;
    }
    let rotation = kms.get_key_rotation_status().key_id(arn).send().await;
    if let Some(rotation) = findings.looked(&subject, "kms:GetKeyRotationStatus", rotation) {
        let level = if rotation.key_rotation_enabled {
            (Level::Ok, "is rotated every year", None)
        } else {
            (Level::Warning, "is not rotated", Some("enable its rotation".to_owned()))
        };
        findings.add(level.0, &subject, level.1, level.2);
    }
    true
}
