//! Writes the seeds of every target from the golden cases: `seeds FOLDER`, with one folder for each
//! target.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use golden::{Case, Request, source};
use serde_json::{Map, Value, json};

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).context("usage: seeds FOLDER")?);
    for target in ["event", "item", "request"] {
        fs::create_dir_all(folder.join(target))?;
    }
    let providers = golden::providers()?;
    let mut providers = providers.iter().enumerate();
    providers.try_for_each(|(which, provider)| write(which, provider, &folder))
}

/// The seeds of one provider, which the targets know as the one in that place.
fn write(which: usize, provider: &str, folder: &Path) -> Result<()> {
    let place = |target: &str, name: &str| folder.join(target).join(format!("{provider}.{name}"));
    let (route, statuses) = (golden::route(provider)?, golden::statuses(provider)?);
    let default = golden::default_request(provider)?;
    let count = golden::providers()?.len();
    let mut items = BTreeSet::new();
    for case in golden::cases(provider)? {
        let rendered = || source::http_api(&case.request, &route).to_string();
        let event = case.event.clone().unwrap_or_else(rendered);
        fs::write(place("event", &case.name), event)?;
        fs::write(place("request", &case.name), request(which, &statuses, &default, &case))?;
        let payment = case.given.payments.first().map(attributes);
        if let Some(item) = payment.filter(|item| items.insert(item.to_string())) {
            // As the table returns it after an update, and after a failed condition.
            for choice in [0, 1] {
                let mut seed = vec![u8::try_from(which + count * choice)?];
                seed.extend(item.to_string().into_bytes());
                fs::write(place("item", &format!("{}.{choice}", case.name)), seed)?;
            }
        }
    }
    for (case, events) in golden::delivered(provider)? {
        for (source, event) in events {
            fs::write(place("event", &format!("{}.{source}", case.name)), event)?;
        }
    }
    Ok(())
}

/// The case as the target `request` reads it: see `Attempt` in `src/request.rs`.
fn request(
    which: usize,
    statuses: &BTreeMap<String, Vec<String>>,
    default: &Request,
    case: &Case,
) -> Vec<u8> {
    let none = json!({});
    let payment = case.given.payments.first().unwrap_or(&none);
    let text = |name: &str| match &payment[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    };
    let status = text("status");
    let cancelable = statuses["cancelable"].iter().position(|word| *word == status);
    let stored = match cancelable {
        _ if case.given.payments.is_empty() => 3,
        Some(_) => 0,
        None if statuses["canceled"].contains(&status) => 1,
        None => 2,
    };
    let refused = matches!(case.then.status, 401 | 403);
    let choices = [
        which,
        if refused { 4 } else { 0 },
        0,
        usize::from(
            case.request.headers.get("content-type") == default.headers.get("content-type"),
        ),
        0,
        stored,
        cancelable.unwrap_or_default(),
        usize::from(payment["manual_cancellation"] == true),
        usize::from(case.then.status == 200),
    ];
    let choices: String = choices.iter().map(|choice| choice.to_string()).collect();
    let details = payment.get("details").unwrap_or(&none);
    let mut lines = vec![
        choices,
        case.request.method.clone(),
        case.request.path.clone(),
        status,
        text("amount"),
        text("currency"),
        text("created_at"),
        text("canceled_at"),
        details.to_string(),
    ];
    // What differs from the default: the target presents its own credential, and a body's type.
    let differ = |header: &(&String, &String)| default.headers.get(header.0) != Some(header.1);
    let headers = case.request.headers.iter().filter(differ);
    lines.extend(headers.map(|(name, value)| format!("{name}: {value}")));
    let mut seed = (lines.join("\n") + "\n\n").into_bytes();
    seed.extend(case.request.body.as_deref().unwrap_or_default());
    seed
}

/// The attributes of an item as DynamoDB writes them.
fn attributes(item: &Value) -> Value {
    let members = item.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.clone(), attribute(value))).collect::<Map<_, _>>().into()
}

fn attribute(value: &Value) -> Value {
    match value {
        Value::Null => json!({ "NULL": true }),
        Value::Bool(value) => json!({ "BOOL": value }),
        Value::Number(number) => json!({ "N": number.to_string() }),
        Value::String(text) => json!({ "S": text }),
        Value::Array(list) => json!({ "L": list.iter().map(attribute).collect::<Vec<_>>() }),
        Value::Object(_) => json!({ "M": attributes(value) }),
    }
}
