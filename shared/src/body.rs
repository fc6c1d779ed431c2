//! A JSON request body: read strictly, refused precisely, and never quoted.
//!
//! `serde_json` alone accepts a field given twice and puts the offending value into its messages. Here a field given twice
//! is a fault, because two readers of the same bytes could disagree about it, and messages name kinds and positions only, because a
//! body may carry secrets.

use std::{collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::cancel::{Fault, FaultKind};

/// How deep objects and arrays may lie in one another, the outermost counted: `serde_json`'s own limit.
pub const MAX_DEPTH: usize = 127;

/// A JSON object whose text has been checked as a whole: well-formed, at most [`MAX_DEPTH`] levels deep, no field given twice at
/// any level.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    root: &'a str,
    path: String,
    fields: Vec<(String, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Reads a whole body.
    ///
    /// # Errors
    /// A [`Fault`] that names what is wrong and where; never the value.
    pub fn parse(body: &'a [u8]) -> Result<Self, Fault> {
        let root = std::str::from_utf8(body).map_err(|fault| {
            let position = position(body.get(..fault.valid_up_to()).unwrap_or(body));
            Fault::new(FaultKind::Json, format!("invalid UTF-8 at {position}"))
        })?;
        let mut reader = serde_json::Deserializer::from_str(root);
        Distinct
            .deserialize(&mut reader)
            .and_then(|()| reader.end())
            .map_err(|fault| Fault::new(FaultKind::Json, fault.to_string()))?;
        Self::of(root, String::new(), root.trim_start())
    }

    /// The object that `text`, a part of `root`, is.
    fn of(root: &'a str, path: String, text: &'a str) -> Result<Self, Fault> {
        let mut reader = serde_json::Deserializer::from_str(text);
        match reader.deserialize_map(Fields) {
            Ok(fields) => Ok(Self { root, path, fields }),
            Err(_) => Err(Fault {
                kind: FaultKind::Json,
                ..wrong_type(root, "", text, "object")
            }),
        }
    }

    /// The string of that name; `None` where it is absent or null.
    ///
    /// # Errors
    /// [`FaultKind::Type`] where it is something else.
    pub fn string(&self, name: &str) -> Result<Option<String>, Fault> {
        self.typed(name, "string")
    }

    /// The boolean of that name; `None` where it is absent or null.
    ///
    /// # Errors
    /// [`FaultKind::Type`] where it is something else.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, Fault> {
        self.typed(name, "boolean")
    }

    /// The object of that name; `None` where it is absent or null.
    ///
    /// # Errors
    /// [`FaultKind::Type`] where it is something else.
    pub fn object(&self, name: &str) -> Result<Option<Object<'a>>, Fault> {
        match self.present(name) {
            None => Ok(None),
            Some(value) if kind(value.get()) == "object" => {
                Self::of(self.root, format!("{}{name}.", self.path), value.get()).map(Some)
            }
            Some(value) => Err(self.not_a(name, value, "object or null")),
        }
    }

    /// The string of that name, which must be there.
    ///
    /// # Errors
    /// [`FaultKind::Type`] where it is absent, null or something else.
    pub fn required_string(&self, name: &str) -> Result<String, Fault> {
        match self.field(name) {
            None => {
                let name = format!("{}{name}", self.path);
                Err(Fault::new(FaultKind::Type, format!("missing field `{name}`")).field(name))
            }
            Some(value) => {
                serde_json::from_str(value.get()).map_err(|_| self.not_a(name, value, "string"))
            }
        }
    }

    /// The kind of the field's value (`string`, `number`, `boolean`, `null`, `array`, `object`), or `None` where it is absent.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<&'static str> {
        self.field(name).map(|value| kind(value.get()))
    }

    /// Each field's name and the length of its value in characters: of the text itself for a string, else of its JSON.
    pub fn sizes(&self) -> impl Iterator<Item = (&str, usize)> {
        self.fields.iter().map(|(name, value)| {
            let text = serde_json::from_str::<String>(value.get());
            let length =
                text.map_or_else(|_| value.get().chars().count(), |text| text.chars().count());
            (name.as_str(), length)
        })
    }

    /// A fault of the value of `name`, which is of the kind `provided` where one of `expected` is asked for.
    #[must_use]
    pub fn wrong_type(&self, name: &str, expected: &'static str) -> Fault {
        match self.field(name) {
            Some(value) => self.not_a(name, value, expected),
            None => wrong_type(
                self.root,
                &format!("{}{name}", self.path),
                self.root,
                expected,
            ),
        }
    }

    fn typed<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
        expected: &'static str,
    ) -> Result<Option<T>, Fault> {
        let or_null = match expected {
            "boolean" => "boolean or null",
            _ => "string or null",
        };
        self.present(name)
            .map(|value| {
                serde_json::from_str(value.get()).map_err(|_| self.not_a(name, value, or_null))
            })
            .transpose()
    }

    fn not_a(&self, name: &str, value: &'a RawValue, expected: &'static str) -> Fault {
        wrong_type(
            self.root,
            &format!("{}{name}", self.path),
            value.get(),
            expected,
        )
    }

    fn present(&self, name: &str) -> Option<&'a RawValue> {
        self.field(name).filter(|value| kind(value.get()) != "null")
    }

    fn field(&self, name: &str) -> Option<&'a RawValue> {
        self.fields
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| *value)
    }
}

fn wrong_type(root: &str, path: &str, value: &str, expected: &'static str) -> Fault {
    // `value` is a slice of `root`: the distance between their starts is its place in the body.
    let offset = (value.as_ptr() as usize).saturating_sub(root.as_ptr() as usize);
    let position = position(root.as_bytes().get(..offset).unwrap_or_default());
    let provided = kind(value);
    let subject = if path.is_empty() {
        String::new()
    } else {
        format!("{path}: ")
    };
    let article = if expected.starts_with(['a', 'o']) {
        "an"
    } else {
        "a"
    };
    Fault::new(
        FaultKind::Type,
        format!("{subject}invalid type: {provided}, expected {article} {expected} at {position}"),
    )
    .field(path.to_owned())
    .types(provided, expected)
}

fn kind(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

/// The line and column, both from 1, of what follows `before`.
fn position(before: &[u8]) -> String {
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before
        .iter()
        .rev()
        .take_while(|byte| **byte != b'\n')
        .count()
        + 1;
    format!("line {line} column {column}")
}

/// Any JSON value in which no object names a field twice.
struct Distinct;

impl<'de> DeserializeSeed<'de> for Distinct {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Distinct {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("duplicate field"));
            }
            map.next_value_seed(Distinct)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Distinct)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// The fields of one object, their values left as text.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(body: &str) -> String {
        Object::parse(body.as_bytes()).expect_err("a fault").message
    }

    #[test]
    fn syntax_faults_name_the_fault_and_its_position() {
        assert_eq!(fault(""), "EOF while parsing a value at line 1 column 0");
        assert_eq!(fault("{"), "EOF while parsing an object at line 1 column 1");
        assert_eq!(fault("{} x"), "trailing characters at line 1 column 4");
        assert_eq!(
            fault("[]"),
            "invalid type: array, expected an object at line 1 column 1"
        );
        assert_eq!(
            fault(" \n 7"),
            "invalid type: number, expected an object at line 2 column 2"
        );
    }

    #[test]
    fn a_field_given_twice_is_refused_at_any_level() {
        assert_eq!(
            fault(r#"{"a":1,"a":2}"#),
            "duplicate field at line 1 column 10"
        );
        assert_eq!(
            fault(r#"{"a":[{"b":1,"b":1}]}"#),
            "duplicate field at line 1 column 16"
        );
        assert_eq!(
            fault(r#"{"a":1,"\u0061":2}"#),
            "duplicate field at line 1 column 15"
        );
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |levels| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(Object::parse(deep(100).as_bytes()).is_ok());
        assert!(fault(&deep(100_000)).starts_with("recursion limit exceeded"));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_with_their_place() {
        let fault = Object::parse(b"{\"a\":\n\"\xff\"}").expect_err("a fault");
        assert_eq!(fault.message, "invalid UTF-8 at line 2 column 2");
    }

    #[test]
    fn fields_are_typed_and_null_is_absent() {
        let body = Object::parse(br#"{"s":"x","n":null,"b":true,"o":{"s":1}}"#).expect("an object");
        assert_eq!(body.string("s"), Ok(Some("x".into())));
        assert_eq!(body.string("n"), Ok(None));
        assert_eq!(body.string("absent"), Ok(None));
        assert_eq!(body.boolean("b"), Ok(Some(true)));
        assert_eq!(body.kind("o"), Some("object"));
    }

    #[test]
    fn a_wrong_type_names_the_field_the_kinds_and_the_place_but_not_the_value() {
        let body =
            Object::parse(b"{\"o\": {\"s\":\n  12345}, \"b\": \"true\"}").expect("an object");
        let nested = body.object("o").expect("an object").expect("present");
        let fault = nested.string("s").expect_err("a fault");
        assert_eq!(
            fault.message,
            "o.s: invalid type: number, expected a string or null at line 2 column 3"
        );
        assert_eq!(fault.types, Some(("number", "string or null")));
        let fault = body.boolean("b").expect_err("a fault");
        assert_eq!(
            fault.message,
            "b: invalid type: string, expected a boolean or null at line 2 column 16"
        );
        assert_eq!(
            nested.required_string("id").expect_err("a fault").message,
            "missing field `o.id`"
        );
    }

    #[test]
    fn sizes_count_characters() {
        let body = Object::parse(r#"{"ключ":"ééé","n":[1, 2]}"#.as_bytes()).expect("an object");
        assert_eq!(body.sizes().collect::<Vec<_>>(), [("ключ", 3), ("n", 6)]);
    }

    proptest::proptest! {
        /// Whatever the bytes are, reading them neither panics nor quotes them.
        #[test]
        fn any_bytes_get_an_answer(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = Object::parse(&bytes);
        }
    }
}
