//! `admin doctor`: checks everything that the functions depend on. It only reads.

#[cfg(feature = "account")]
mod account;
mod functions;
mod tables;

use anyhow::{Result, ensure};
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use clap::Args;
use serde::Serialize;

use crate::{
    Verdict,
    aws::{Account, explain},
    output::{Output, shown, waiting},
};

/// What takes the place of the feature `account`.
#[cfg(not(feature = "account"))]
mod account {
    use aws_sdk_dynamodb::types::TableDescription;

    use super::{Account, Findings, Level};
    use providers::Provider;

    pub(super) async fn look(
        _: &Account,
        _: [Option<TableDescription>; 2],
        _: &[(&Provider, String)],
        findings: &mut Findings,
    ) {
        findings.add(
            Level::Unknown,
            "account",
            "not looked at: KMS keys, and the functions' settings, rights and throttles; add them \
             with cargo run -p admin --features account -- doctor",
            None,
        );
    }
}

#[derive(Args)]
pub(crate) struct Doctor {}

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// As it must be.
    Ok,
    /// It works, but not as it should.
    Warning,
    /// Cancels fail or are not safe.
    Fault,
    /// It could not be looked at.
    Unknown,
}

/// One finding about one subject.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Finding {
    level: Level,
    /// The subject.
    subject: String,
    finding: String,
    /// What to do, where there is something.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// What was found so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, subject: &str, finding: impl Into<String>) {
        self.add(Level::Ok, subject, finding, None);
    }

    fn warning(&mut self, subject: &str, finding: impl Into<String>, remedy: impl Into<String>) {
        self.add(Level::Warning, subject, finding, Some(remedy.into()));
    }

    fn fault(&mut self, subject: &str, finding: impl Into<String>, remedy: impl Into<String>) {
        self.add(Level::Fault, subject, finding, Some(remedy.into()));
    }

    fn add(
        &mut self,
        level: Level,
        subject: &str,
        finding: impl Into<String>,
        remedy: Option<String>,
    ) {
        self.0.push(Finding {
            level,
            subject: subject.to_owned(),
            finding: finding.into(),
            remedy,
        });
    }

    /// What a call found, or a finding that it could not be made.
    fn looked<T, E>(
        &mut self,
        subject: &str,
        action: &str,
        result: std::result::Result<T, SdkError<E, HttpResponse>>,
    ) -> Option<T>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match result {
            Ok(found) => Some(found),
            Err(failure) => {
                let why = explain(&failure, action, subject);
                self.add(Level::Unknown, subject, format!("not looked at: {why:#}"), None);
                None
            }
        }
    }
}

impl Doctor {
    pub(crate) async fn run(self, account: &Account, output: Output) -> Result<Verdict> {
        ensure!(
            account.payments != account.credentials,
            "both tables are {}; they must be two",
            account.payments
        );
        let mut findings = Findings::default();
        let waiting = waiting("tables and keys".to_owned());
        let payments = tables::payments(account, &mut findings).await;
        let credentials = tables::credentials(account, &mut findings).await;
        let functions = match &account.stack {
            Some(stack) => {
                waiting.set_message(format!("functions of the stack {}", stack.name));
                functions::of(account, stack, &mut findings).await
            }
            None => {
                findings.add(
                    Level::Unknown,
                    "functions",
                    "not looked at: without --stack it is not known which they are",
                    None,
                );
                Vec::new()
            }
        };
        account::look(account, [payments, credentials], &functions, &mut findings).await;
        drop(waiting);
        let findings = findings.0;
        output.print(&findings, || lines(&findings))?;
        let fault = findings.iter().any(|finding| finding.level == Level::Fault);
        Ok(Verdict::from(!fault))
    }
}

fn lines(findings: &[Finding]) -> String {
    let mut lines = String::new();
    for finding in findings {
        let word = match finding.level {
            Level::Ok => "ok     ",
            Level::Warning => "warning",
            Level::Fault => "FAULT  ",
            Level::Unknown => "unknown",
        };
        let text = shown(&finding.finding);
        lines += &format!("{word}  {}: {text}\n", shown(&finding.subject));
        if let Some(remedy) = &finding.remedy {
            lines += &format!("         {}\n", shown(remedy));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    lines
        + &format!(
            "{} ok, {} warnings, {} faults, {} unknown\n",
            count(Level::Ok),
            count(Level::Warning),
            count(Level::Fault),
            count(Level::Unknown)
        )
}
