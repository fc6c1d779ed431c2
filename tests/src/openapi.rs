//! OpenAPI documents, as far as tests need them: our own `infra/openapi.yaml`, and those in the
//! providers' specifications.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};
use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};
use shared::provider::Provider;

/// A document. Its operations say by their one tag which provider they are.
#[derive(Debug)]
pub struct Document {
    root: Value,
    /// One for each schema, which takes longer to read than any value.
    validators: Mutex<HashMap<String, Validator>>,
}

/// One method of one path.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    /// With its parameter in braces: `/payments/{payment_id}/cancel`.
    pub path: &'a str,
    /// In lower case.
    pub method: &'a str,
    /// The operation object.
    pub object: &'a Value,
}

impl Document {
    /// Our own.
    ///
    /// # Errors
    /// Where it is not there, or not YAML.
    pub fn ours() -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/openapi.yaml");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// Reads YAML. OpenAPI 3.0's `nullable`, which JSON Schema lacks, becomes its equivalent.
    ///
    /// # Errors
    /// Where it is not YAML.
    pub fn parse(yaml: &str) -> Result<Self> {
        Ok(Self { root: nullable(serde_saphyr::from_str(yaml)?), validators: Mutex::default() })
    }

    /// The whole of it.
    #[must_use]
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// Every operation.
    pub fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        const METHODS: [&str; 8] =
            ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
        let paths = self.root["paths"].as_object().into_iter().flatten();
        paths.flat_map(|(path, item)| {
            METHODS.into_iter().filter_map(move |method| {
                let object = item.get(method)?;
                Some(Operation { path, method, object })
            })
        })
    }

    /// The operation that is tagged with this provider's name.
    ///
    /// # Errors
    /// Where there is none, or more than one.
    pub fn operation(&self, provider: &str) -> Result<Operation<'_>> {
        let mut tagged =
            self.operations().filter(|operation| operation.object["tags"] == json!([provider]));
        let operation = tagged
            .next()
            .with_context(|| format!("infra/openapi.yaml has no operation tagged {provider}"))?;
        ensure!(
            tagged.next().is_none(),
            "infra/openapi.yaml has more than one operation tagged {provider}"
        );
        Ok(operation)
    }

    /// A node with its `$ref` followed, if it has one, and its place as a JSON pointer.
    ///
    /// # Errors
    /// Where a reference leads nowhere.
    pub fn resolve<'a>(&'a self, node: &'a Value, pointer: &str) -> Result<(&'a Value, String)> {
        let Some(reference) = node.get("$ref").and_then(Value::as_str) else {
            return Ok((node, pointer.to_owned()));
        };
        let target = reference.strip_prefix('#').and_then(|to| self.root.pointer(to));
        let target = target.with_context(|| format!("{reference} leads nowhere"))?;
        self.resolve(target, reference.trim_start_matches('#'))
    }

    /// Validates a value against a schema of this document.
    ///
    /// # Errors
    /// What is wrong with the value, or with the schema.
    pub fn validate(&self, schema: &Value, value: &Value) -> Result<()> {
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let validator = match validators.entry(schema.to_string()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let whole = json!({ "allOf": [schema], "components": self.root["components"] });
                let validator = jsonschema::options()
                    .with_draft(Draft::Draft202012)
                    .should_validate_formats(true)
                    .build(&whole)
                    .map_err(|error| anyhow::anyhow!("no schema: {error}"))?;
                new.insert(validator)
            }
        };
        let faults = validator
            .iter_errors(value)
            .map(|error| format!("{error} at {:?}", error.instance_path().to_string()))
            .collect::<Vec<_>>();
        ensure!(faults.is_empty(), "{}", faults.join("; "));
        Ok(())
    }

    /// The places of a schema that `value` shows: its fields, and the chosen branch of each choice.
    /// Without a value, all of them.
    ///
    /// # Errors
    /// Where a reference leads nowhere.
    pub fn shown(
        &self,
        schema: &Value,
        pointer: &str,
        value: Option<&Value>,
    ) -> Result<BTreeSet<String>> {
        let mut places = BTreeSet::new();
        if schema.get("$ref").is_some() {
            let (target, place) = self.resolve(schema, pointer)?;
            places.extend(self.shown(target, &place, value)?);
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let place = format!("{pointer}/properties/{name}");
            let Some(value) = value else {
                places.extend(self.shown(field, &place, None)?);
                places.insert(place);
                continue;
            };
            if let Some(value) = value.get(name) {
                places.extend(self.shown(field, &place, Some(value))?);
                places.insert(place);
            }
        }
        for keyword in ["enum", "type", "oneOf"] {
            for (n, choice) in schema[keyword].as_array().into_iter().flatten().enumerate() {
                let place = format!("{pointer}/{keyword}/{n}");
                let alone = match keyword {
                    "enum" => json!({ "const": choice }),
                    "type" => json!({ "type": choice }),
                    _ => choice.clone(),
                };
                if value.is_none_or(|value| self.validate(&alone, value).is_ok()) {
                    if keyword == "oneOf" {
                        places.extend(self.shown(choice, &place, value)?);
                    }
                    places.insert(place);
                }
            }
        }
        Ok(places)
    }
}

/// Whether our document describes the provider `P` as its code does: the path, the method and the
/// statuses.
///
/// # Errors
/// The first difference.
pub(crate) fn describes<P: Provider>() -> Result<()> {
    let document = Document::ours()?;
    let operation = document.operation(P::NAME)?;
    ensure!(operation.path == P::ROUTE, "its path is {}", operation.path);
    ensure!(operation.method == "post", "its method is not POST");
    let text = operation.object["description"].as_str().unwrap_or_default();
    let words = text.split('`').skip(1).step_by(2).collect::<Vec<_>>();
    for word in P::STATUSES.cancelable.iter().chain([&P::STATUSES.canceled]) {
        ensure!(words.contains(word), "its description does not say `{word}`");
    }
    Ok(())
}

/// `{…, nullable: true}` as `anyOf` the rest and null.
fn nullable(node: Value) -> Value {
    match node {
        Value::Object(map) => {
            let mut map =
                map.into_iter().map(|(name, value)| (name, nullable(value))).collect::<Map<_, _>>();
            if map.remove("nullable") == Some(Value::Bool(true)) {
                json!({ "anyOf": [map, { "type": "null" }] })
            } else {
                Value::Object(map)
            }
        }
        Value::Array(list) => list.into_iter().map(nullable).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => node,
    }
}
