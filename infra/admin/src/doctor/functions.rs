//! The deployed functions: which there are.

use super::Findings;
use crate::aws::{Account, Stack};
use providers::{PROVIDERS, Provider};

/// The functions of the stack: of which provider, and their names.
pub(super) async fn of(
    account: &Account,
    stack: &Stack,
    findings: &mut Findings,
) -> Vec<(&'static Provider, String)> {
    let subject = format!("stack {}", stack.name);
    let cloudformation = aws_sdk_cloudformation::Client::new(&account.config);
    let listed = cloudformation.list_stack_resources().stack_name(&stack.name);
    let listed = listed.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
    let Some(resources) = findings.looked(&subject, "cloudformation:ListStackResources", listed)
    else {
        return Vec::new();
    };
    let names: Vec<_> = resources
        .into_iter()
        .filter(|resource| resource.resource_type.as_deref() == Some("AWS::Lambda::Function"))
        .filter_map(|resource| resource.physical_resource_id)
        .collect();
    let mut found = Vec::new();
    for provider in &PROVIDERS {
        // A stack may serve some of the providers.
        let suffix = format!("-{}", provider.name);
        if let Some(name) = names.iter().find(|name| name.ends_with(&suffix)) {
            findings.ok(&subject, format!("has the function {name}"));
            found.push((provider, name.clone()));
        }
    }
    if found.is_empty() {
        findings.fault(
            &subject,
            "has no function of any provider",
            "check --stack, or deploy the functions",
        );
    }
    found
}
