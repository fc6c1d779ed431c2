//! Golden responses fit the schemas of the providers' own specifications, where these include an
//! OpenAPI document.
//!
//! Each status beyond a specification is marked `x-beyond-specification` in `infra/openapi.yaml`,
//! with the reason.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use harness::{
    golden::{cases, providers},
    openapi::Document,
};
use serde_json::Value;

#[test]
fn every_golden_response_fits_its_specification() {
    let Some(folder) = folder() else {
        println!("left out: {MISSING}");
        return;
    };
    let ours = Document::ours().unwrap();
    let mut with_schemas = 0;
    for provider in providers().unwrap() {
        let operation = ours.operation(&provider).unwrap();
        let responses = operation.object["responses"].as_object().unwrap();
        let goes_beyond = responses.values().any(|it| it.get(BEYOND).is_some());
        let Some(specification) = specification(&folder, &provider) else {
            assert!(!goes_beyond, "{provider}: beyond which specification? {MISSING}");
            println!("{provider}: its specification has no OpenAPI document");
            continue;
        };
        with_schemas += 1;
        let theirs = &specification.root()["paths"][operation.path][operation.method];
        assert!(theirs.is_object(), "{provider}: {} is not its path", operation.path);
        let schema = |response: &Value| response["content"]["application/json"]["schema"].clone();
        let specified = theirs["responses"].as_object().unwrap();

        // What it has, we document; where we go beyond it, we say so, and nowhere else.
        for status in specified.keys() {
            assert!(responses.contains_key(status), "{provider}: {status} is not documented");
        }
        for (status, response) in responses {
            let why = response.get(BEYOND).and_then(Value::as_str);
            assert_eq!(
                why.is_some_and(|why| !why.trim().is_empty()),
                !specified.contains_key(status),
                "{provider}, {status}: {BEYOND} marks a status that the specification lacks, \
                 with a reason"
            );
        }

        // An error beyond it has the shape of those within.
        let errors = specified.iter().filter(|(status, _)| *status >= &"400".to_owned());
        let mut errors = errors.map(|(_, response)| schema(response));
        let error = errors.next().unwrap();
        assert!(errors.all(|other| other == error), "{provider}: which schema do errors have?");

        let mut validated = BTreeMap::new();
        for case in cases(&provider).unwrap() {
            let at = format!("{provider}/{}", case.name);
            let status = case.then.status.to_string();
            let schema = specified.get(&status).map_or_else(|| error.clone(), schema);
            let name = schema["$ref"].as_str().and_then(|to| to.rsplit('/').next());
            if schema.is_object() {
                let fits = specification.validate(&schema, &case.then.body.value());
                fits.unwrap_or_else(|fault| panic!("{at}: the response: {fault:#}"));
            }
            *validated.entry(name.unwrap_or("no schema").to_owned()).or_insert(0) += 1;

            let body = shared::lambda::read(&case.event()).0.into_body();
            let schema = &theirs["requestBody"]["content"]["application/json"]["schema"];
            if status == "200" && schema.is_object() {
                let value = serde_json::from_str(&shared::json::text(&body).unwrap()).unwrap();
                let fits = specification.validate(schema, &value);
                fits.unwrap_or_else(|fault| panic!("{at}: the request: {fault:#}"));
                let name = schema["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
                *validated.entry(name.to_owned()).or_insert(0) += 1;
            }
        }
        println!("{provider}: {validated:?}");
    }
    assert!(with_schemas > 0, "no specification has an OpenAPI document");
}

const BEYOND: &str = "x-beyond-specification";

const MISSING: &str = "The specifications are not part of this repository: put each provider's \
    page, as Markdown with its OpenAPI document, into ../shared/seeds as <provider>.txt, or name \
    another folder in SPECIFICATIONS; see tests/README.md";

/// The specifications' folder. If `SPECIFICATIONS` names one, it must exist.
fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/seeds");
    let Some(named) = env::var_os("SPECIFICATIONS").map(PathBuf::from) else {
        return beside.is_dir().then_some(beside);
    };
    assert!(named.is_dir(), "there is no folder {}. {MISSING}", named.display());
    Some(named)
}

/// The OpenAPI document in the page of a provider's documentation, as a fenced block.
fn specification(folder: &Path, provider: &str) -> Option<Document> {
    let page = fs::read_to_string(folder.join(format!("{provider}.txt"))).ok()?;
    let block = page.split("\n````").find_map(|block| {
        let (language, yaml) = block.split_once('\n')?;
        (language.starts_with("yaml") && yaml.starts_with("openapi:")).then_some(yaml)
    })?;
    Some(Document::parse(block).unwrap())
}
