//! `infra/openapi.yaml` agrees with the functions: every golden response is documented, a golden
//! case shows everything documented, and every example is a golden case. Nothing here names a
//! provider; each folder in `functions` is one.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use harness::{
    golden::{Case, cases, providers},
    openapi::{Document, Operation},
};
use serde_json::{Value, json};
use shared::{request::PathParameters, route};

/// What clients and event sources send with every request, whatever the endpoint.
const CARRIED: &[&str] = &[
    "accept",
    "accept-encoding",
    "content-length",
    "content-type",
    "host",
    "sdk-platform", // Sent by Hyperswitch's mobile clients, and read by no endpoint.
    "user-agent",
    "x-amzn-trace-id",
    "x-forwarded-for",
    "x-forwarded-port",
    "x-forwarded-proto",
];

/// Values for the placeholders of golden cases.
const PLACEHOLDERS: &[(&str, &str)] = &[
    ("{request_id}", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
    ("{canceled_at}", "2024-06-15T10:32:00.000Z"),
    ("{canceled_at_seconds}", "2024-06-15T10:32:00Z"),
    ("{cancellation_id}", "36153ed9f4fb4f109be67cd05ee54373"),
];

#[test]
fn every_golden_response_is_documented_and_every_documented_one_shown() {
    let document = Document::ours().unwrap();
    let (mut responses, mut requests) = (0, 0);
    for provider in providers().unwrap() {
        let operation = document.operation(&provider).unwrap();
        let mut shown = BTreeSet::new();
        for case in cases(&provider).unwrap() {
            let seen = response(&document, operation, &case)
                .with_context(|| format!("{provider}/{}: the response", case.name))
                .unwrap();
            shown.extend(seen);
            responses += 1;
            if case.then.status == 200 {
                let seen = request(&document, operation, &case)
                    .with_context(|| format!("{provider}/{}: the request", case.name))
                    .unwrap();
                shown.extend(seen);
                requests += 1;
            }
        }
        let documented = everything(&document, operation).unwrap();
        let never = documented.difference(&shown).collect::<Vec<_>>();
        assert!(never.is_empty(), "{provider}: no golden case shows {never:#?}");
        println!("{provider}: {} documented facts, all shown", documented.len());
    }
    println!("{responses} responses and {requests} accepted requests, all as documented");
}

#[test]
fn every_example_is_a_golden_case() {
    let document = Document::ours().unwrap();
    let mut examples = 0;
    for provider in providers().unwrap() {
        let operation = document.operation(&provider).unwrap();
        let cases = cases(&provider).unwrap();
        let cases: BTreeMap<_, _> = cases.iter().map(|case| (&*case.name, case)).collect();
        let mut same = |place: &str, holder: &Value, of: &dyn Fn(&Case) -> Value| {
            let named = holder["examples"].as_object().unwrap_or_else(|| {
                panic!("{provider}, {place}: it has no examples");
            });
            for (name, example) in named {
                let at = format!("{provider}, {place}, {name}");
                let case = cases.get(&**name);
                let case = case.unwrap_or_else(|| panic!("{at}: there is no such golden case"));
                let actual = like(&of(case), &example["value"]);
                assert_eq!(actual, example["value"], "{at}: the golden case differs");
                examples += 1;
            }
        };
        for parameter in parameters(&document, operation).unwrap() {
            if parameter.get("examples").is_some() {
                let name = text(parameter, "name").to_owned();
                same(&name, parameter, &|case| json!(given(&incoming(case), operation, parameter)));
            }
        }
        for (kind, content) in object(&operation.object["requestBody"]["content"]) {
            same(kind, content, &|case| serde_json::from_slice(incoming(case).body()).unwrap());
        }
        for (status, response) in object(&operation.object["responses"]) {
            for content in object(&response["content"]).values() {
                same(status, content, &|case| {
                    assert_eq!(&case.then.status.to_string(), status, "{}", case.name);
                    case.then.body.value()
                });
            }
        }
    }
    println!("{examples} examples, all golden cases");
}

#[test]
fn the_document_has_a_path_for_each_provider_and_nothing_that_is_not_used() {
    let document = Document::ours().unwrap();
    let functions = BTreeSet::from_iter(providers().unwrap());
    let tagged = document
        .operations()
        .map(|operation| operation.object["tags"][0].as_str().unwrap().to_owned());
    assert_eq!(tagged.collect::<BTreeSet<_>>(), functions);
    let tags = document.root()["tags"].as_array().unwrap();
    let tags = tags.iter().map(|tag| text(tag, "name").to_owned());
    assert_eq!(tags.collect::<BTreeSet<_>>(), functions);

    let all = document.root().to_string();
    for (kind, components) in object(&document.root()["components"]) {
        for name in object(components).keys() {
            let used = if kind == "securitySchemes" {
                format!("\"{name}\":[]")
            } else {
                format!("\"#/components/{kind}/{name}\"")
            };
            assert!(all.contains(&used), "nothing refers to {kind}/{name}");
        }
    }
}

/// Checks a golden response against the document: what it shows of it.
fn response(
    document: &Document,
    operation: Operation<'_>,
    case: &Case,
) -> Result<BTreeSet<String>> {
    let then = &case.then;
    let of_the_method = incoming(case).method().as_str().eq_ignore_ascii_case(operation.method);
    ensure!(of_the_method == (then.status != 405), "405 is for other methods");
    let place = format!("responses/{}", then.status);
    let response = &operation.object["responses"][then.status.to_string()];
    ensure!(response.is_object(), "status {} is not documented", then.status);
    let mut shown = BTreeSet::from([place.clone()]);

    let documented = object(&response["headers"])
        .iter()
        .map(|(name, header)| (name.to_lowercase(), header))
        .collect::<BTreeMap<_, _>>();
    for (name, value) in &then.headers {
        if name == "content-type" {
            continue; // Documented as the content's key.
        }
        let header = documented.get(name);
        let header = header.with_context(|| format!("header {name} is not documented"))?;
        let (header, _) = document.resolve(header, "")?;
        document
            .validate(&header["schema"], &filled(&json!(value)))
            .with_context(|| format!("header {name}"))?;
        shown.insert(format!("{place}/headers/{name}"));
    }
    for (name, header) in documented {
        let required = document.resolve(header, "")?.0["required"] == json!(true);
        ensure!(!required || then.headers.contains_key(&name), "header {name} is missing");
    }

    let kind = then.headers.get("content-type").context("no content type")?;
    let schema = &response["content"][kind]["schema"];
    ensure!(schema.is_object(), "content type {kind} is not documented");
    let body = filled(&then.body.value());
    document.validate(schema, &body)?;
    shown.extend(document.shown(schema, &place, Some(&body))?);

    // An object that is open is so for what the payment's creator stored.
    let known = fields(document, schema)?;
    for name in object(&body).keys().filter(|name| !known.contains(*name)) {
        let mut payments = case.given.payments.iter();
        ensure!(
            payments.any(|payment| payment["details"].get(name).is_some()),
            "field {name} is neither documented nor a detail of the payment"
        );
    }
    Ok(shown)
}

/// Checks a request that was accepted against the document: what it shows of it.
fn request(document: &Document, operation: Operation<'_>, case: &Case) -> Result<BTreeSet<String>> {
    let incoming = incoming(case);
    let mut shown = BTreeSet::new();
    let mut known = BTreeSet::new();
    for parameter in parameters(document, operation)? {
        let name = text(parameter, "name");
        known.insert(name.to_lowercase());
        if let Some(value) = given(&incoming, operation, parameter) {
            // VTEX responds to an id that no payment can have as to a missing payment, with 200.
            if case.cancels() {
                document
                    .validate(&parameter["schema"], &json!(value))
                    .with_context(|| name.to_owned())?;
            }
            shown.insert(format!("parameters/{name}"));
        } else {
            // And so is a path that names no payment.
            let excused = parameter["in"] == json!("path") && !case.cancels();
            let required = parameter["required"] == json!(true);
            ensure!(!required || excused, "{name} is missing");
        }
    }

    let mut credentials = BTreeSet::new();
    for (n, all) in list(&operation.object["security"]).enumerate() {
        let names = object(all).keys().map(|scheme| header(document, scheme));
        let names = names.collect::<BTreeSet<_>>();
        if names.iter().all(|name| incoming.headers().contains_key(name)) {
            shown.insert(format!("security/{n}"));
        }
        credentials.extend(names);
    }
    ensure!(
        shown.iter().any(|place| place.starts_with("security/")),
        "no documented credential is there"
    );
    known.extend(credentials);
    known.extend(CARRIED.iter().map(|&name| name.to_owned()));
    for name in object(&case.event["headers"]).keys() {
        ensure!(known.contains(&name.to_lowercase()), "header {name} is not documented");
    }

    let body = &operation.object["requestBody"];
    let schema = &body["content"]["application/json"]["schema"];
    if schema.is_object() {
        let sent = shared::json::text(incoming.body())?;
        if matches!(sent.trim(), "" | "null") {
            ensure!(body["required"] == json!(false), "the body is missing");
        } else {
            let value = serde_json::from_str(&sent)?;
            document.validate(schema, &value)?;
            shown.extend(document.shown(schema, "requestBody", Some(&value))?);
        }
    }
    Ok(shown)
}

/// Everything that the document declares of an operation, named as [`response`] and [`request`]
/// name it.
fn everything(document: &Document, operation: Operation<'_>) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for parameter in parameters(document, operation)? {
        all.insert(format!("parameters/{}", text(parameter, "name")));
    }
    for (n, _) in list(&operation.object["security"]).enumerate() {
        all.insert(format!("security/{n}"));
    }
    for content in object(&operation.object["requestBody"]["content"]).values() {
        all.extend(document.shown(&content["schema"], "requestBody", None)?);
    }
    for (status, response) in object(&operation.object["responses"]) {
        let place = format!("responses/{status}");
        all.insert(place.clone());
        for name in object(&response["headers"]).keys() {
            all.insert(format!("{place}/headers/{}", name.to_lowercase()));
        }
        for content in object(&response["content"]).values() {
            all.extend(document.shown(&content["schema"], &place, None)?);
        }
    }
    Ok(all)
}

/// The fields that an object's schema names.
fn fields(document: &Document, schema: &Value) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for part in std::iter::once(schema).chain(list(&schema["oneOf"])) {
        let (target, _) = document.resolve(part, "")?;
        names.extend(object(&target["properties"]).keys().cloned());
        names.extend(list(&target["required"]).filter_map(Value::as_str).map(str::to_owned));
    }
    Ok(names)
}

fn parameters<'a>(document: &'a Document, operation: Operation<'a>) -> Result<Vec<&'a Value>> {
    list(&operation.object["parameters"])
        .map(|parameter| Ok(document.resolve(parameter, "")?.0))
        .collect()
}

/// The header that a security scheme is about.
fn header(document: &Document, scheme: &str) -> String {
    let scheme = &document.root()["components"]["securitySchemes"][scheme];
    match text(scheme, "type") {
        "http" => "authorization".to_owned(),
        "apiKey" => text(scheme, "name").to_lowercase(),
        other => panic!("no header is known for a security scheme of type {other}"),
    }
}

/// What a request gives for a parameter.
fn given(
    incoming: &http::Request<Bytes>,
    operation: Operation<'_>,
    parameter: &Value,
) -> Option<String> {
    let name = text(parameter, "name");
    match text(parameter, "in") {
        "header" => {
            let lines = incoming.headers().get_all(name).iter();
            let mut lines = lines.filter_map(|line| line.to_str().ok());
            // A comma in an ignored header separates nothing.
            if parameter["description"] == json!("Accepted, and ignored.") {
                return lines.next().map(str::to_owned);
            }
            let mut values = lines.flat_map(|line| line.split(',').map(str::trim));
            let first = values.next()?;
            assert!(values.all(|other| other == first), "{name} has two values");
            Some(first.to_owned())
        }
        "path" => {
            let parameters = incoming.extensions().get::<PathParameters>();
            let id = parameters.and_then(|all| all.0.get(route::parameter(operation.path)));
            route::payment_id(operation.path, incoming.uri().path(), id.map(String::as_str))
        }
        other => panic!("no parameter is known in {other}"),
    }
}

fn incoming(case: &Case) -> http::Request<Bytes> {
    shared::lambda::read(&case.event()).0
}

/// The golden case's `value`, its placeholders filled from the example where possible.
fn like(value: &Value, example: &Value) -> Value {
    match (value, example) {
        (Value::String(text), Value::String(example)) => {
            let kind = |text: &str| text.replace(|c: char| c.is_ascii_hexdigit(), "0");
            let stands = PLACEHOLDERS
                .iter()
                .any(|(placeholder, sample)| text == placeholder && kind(sample) == kind(example));
            json!(if stands { example } else { text })
        }
        (Value::Object(map), Value::Object(examples)) => map
            .iter()
            .map(|(name, value)| {
                let value =
                    examples.get(name).map_or(value.clone(), |example| like(value, example));
                (name.clone(), value)
            })
            .collect(),
        _ => value.clone(),
    }
}

/// The golden case's `value`, its placeholders filled.
fn filled(value: &Value) -> Value {
    let text = PLACEHOLDERS
        .iter()
        .fold(value.to_string(), |text, (placeholder, sample)| text.replace(placeholder, sample));
    serde_json::from_str(&text).unwrap()
}

fn object(value: &Value) -> &serde_json::Map<String, Value> {
    static NONE: std::sync::LazyLock<serde_json::Map<String, Value>> =
        std::sync::LazyLock::new(serde_json::Map::new);
    value.as_object().unwrap_or(&NONE)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value}"))
}
