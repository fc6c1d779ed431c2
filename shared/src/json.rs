//! JSON: request bodies, read strictly and never quoted, and stored values, written exactly.
//!
//! `serde_json` alone accepts a field given twice and puts the offending value into its messages.
//! Here a field given twice is a fault, because two readers of the same bytes could disagree about
//! it. Messages name kinds and positions only, because a body may carry secrets.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    fmt,
};

use serde::{
    Serialize, Serializer,
    de::{DeserializeSeed, Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::error::{Fault, FaultKind};

/// The body as text, without a byte order mark.
///
/// A surrogate without its other half, which JavaScript strings may contain, becomes U+FFFD: it has
/// no form in UTF-8, and free text must not stop a cancel.
///
/// # Errors
/// [`FaultKind::Json`] with the position of the first byte that is not UTF-8.
pub fn text(body: &[u8]) -> Result<Cow<'_, str>, Fault> {
    let text = std::str::from_utf8(body).map_err(|fault| {
        let position = position(body.get(..fault.valid_up_to()).unwrap_or(body));
        Fault::new(FaultKind::Json, format!("invalid UTF-8 at {position}"))
    })?;
    Ok(without_lone_surrogates(text.strip_prefix('\u{feff}').unwrap_or(text)))
}

fn without_lone_surrogates(text: &str) -> Cow<'_, str> {
    /// The code unit of the escape `\uXXXX` at the start of `text`.
    fn unit(text: &str) -> Option<u16> {
        u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
    }
    if !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let mut rest = text;
    let mut clean = String::with_capacity(text.len());
    while let Some((plain, escape)) = rest.find('\\').map(|at| rest.split_at(at)) {
        let (length, kept) = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => (12, true),
            (Some(0xd800..0xe000), _) => (6, false),
            (Some(_), _) => (6, true),
            (None, _) => (2, true),
        };
        let (escape, after) = escape.split_at_checked(length).unwrap_or((escape, ""));
        clean.push_str(plain);
        clean.push_str(if kept { escape } else { "\\ufffd" });
        rest = after;
    }
    clean.push_str(rest);
    Cow::Owned(clean)
}

/// A JSON object whose text has been checked as a whole: well-formed, at most
/// [`MAX_JSON_DEPTH`](crate::limits::MAX_JSON_DEPTH) levels deep, no field twice at any level.
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
    pub fn parse(root: &'a str) -> Result<Self, Fault> {
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
            Err(_) => Err(Fault { kind: FaultKind::Json, ..wrong_type(root, "", text, "object") }),
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

    /// The JSON type of the field's value (`string`, `number`, `boolean`, `null`, `array`,
    /// `object`), or `None` if it is absent.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<&'static str> {
        self.field(name).map(|value| kind(value.get()))
    }

    /// Each field's name and the length of its value in characters: of a string's text, else of the
    /// value's JSON.
    pub fn sizes(&self) -> impl Iterator<Item = (&str, usize)> {
        self.fields.iter().map(|(name, value)| {
            let text = serde_json::from_str::<String>(value.get());
            let length =
                text.map_or_else(|_| value.get().chars().count(), |text| text.chars().count());
            (name.as_str(), length)
        })
    }

    /// A fault of the value of `name`, which has the type `provided` instead of one of `expected`.
    #[must_use]
    pub fn wrong_type(&self, name: &str, expected: &'static str) -> Fault {
        match self.field(name) {
            Some(value) => self.not_a(name, value, expected),
            None => wrong_type(self.root, &format!("{}{name}", self.path), self.root, expected),
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
        wrong_type(self.root, &format!("{}{name}", self.path), value.get(), expected)
    }

    fn present(&self, name: &str) -> Option<&'a RawValue> {
        self.field(name).filter(|value| kind(value.get()) != "null")
    }

    fn field(&self, name: &str) -> Option<&'a RawValue> {
        self.fields.iter().find(|(given, _)| given == name).map(|(_, value)| *value)
    }
}

fn wrong_type(root: &str, path: &str, value: &str, expected: &'static str) -> Fault {
    // `value` is a slice of `root`: the distance between their starts is its place in the body.
    let offset = (value.as_ptr() as usize).saturating_sub(root.as_ptr() as usize);
    let position = position(root.as_bytes().get(..offset).unwrap_or_default());
    let provided = kind(value);
    let subject = if path.is_empty() { String::new() } else { format!("{path}: ") };
    let article = if expected.starts_with(['a', 'o']) { "an" } else { "a" };
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
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
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

/// A stored value, written as JSON exactly: numbers keep all their digits, which JSON readers'
/// binary floating point does not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Json {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as its decimal digits.
    Number(String),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object. Its members have a fixed order, so that a replay has the same bytes.
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::List(_) | Self::Object(_) => None,
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Number(digits) => match serde_json::from_str::<&RawValue>(digits) {
                Ok(number) => number.serialize(serializer),
                Err(_) => serializer.serialize_str(digits),
            },
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(list) => serializer.collect_seq(list),
            Self::Object(members) => serializer.collect_map(members),
        }
    }
}

/// A documented object, and after its fields whatever else is stored under other names.
#[derive(Debug)]
pub struct WithDetails<'a> {
    /// The documented fields, in their order.
    pub fields: Vec<(&'a str, Json)>,
    /// The stored members. Those named in `fields` or `hidden` are left out.
    pub details: &'a BTreeMap<String, Json>,
    /// Stored members that are not shown.
    pub hidden: &'a [&'a str],
}

impl Serialize for WithDetails<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let named = |name: &str| self.fields.iter().any(|(field, _)| *field == name);
        let others = self
            .details
            .iter()
            .map(|(name, value)| (name.as_str(), value))
            .filter(|(name, _)| !named(name) && !self.hidden.contains(name));
        let fields = self.fields.iter().map(|(name, value)| (*name, value));
        serializer.collect_map(fields.chain(others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(body: &str) -> String {
        Object::parse(body).expect_err("a fault").message
    }

    #[test]
    fn syntax_faults_name_the_fault_and_its_position() {
        assert_eq!(fault(""), "EOF while parsing a value at line 1 column 0");
        assert_eq!(fault("{"), "EOF while parsing an object at line 1 column 1");
        assert_eq!(fault("{} x"), "trailing characters at line 1 column 4");
        assert_eq!(fault("[]"), "invalid type: array, expected an object at line 1 column 1");
        assert_eq!(fault(" \n 7"), "invalid type: number, expected an object at line 2 column 2");
    }

    #[test]
    fn a_field_given_twice_is_refused_at_any_level() {
        assert_eq!(fault(r#"{"a":1,"a":2}"#), "duplicate field at line 1 column 10");
        assert_eq!(fault(r#"{"a":[{"b":1,"b":1}]}"#), "duplicate field at line 1 column 16");
        assert_eq!(fault(r#"{"a":1,"\u0061":2}"#), "duplicate field at line 1 column 15");
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |levels| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(Object::parse(&deep(100)).is_ok());
        assert!(fault(&deep(100_000)).starts_with("recursion limit exceeded"));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_with_their_place() {
        let fault = text(b"{\"a\":\n\"\xff\"}").expect_err("a fault");
        assert_eq!(fault.message, "invalid UTF-8 at line 2 column 2");
    }

    #[test]
    fn fields_are_typed_and_null_is_absent() {
        let body = Object::parse(r#"{"s":"x","n":null,"b":true,"o":{"s":1}}"#).expect("an object");
        assert_eq!(body.string("s"), Ok(Some("x".into())));
        assert_eq!(body.string("n"), Ok(None));
        assert_eq!(body.string("absent"), Ok(None));
        assert_eq!(body.boolean("b"), Ok(Some(true)));
        assert_eq!(body.kind("o"), Some("object"));
    }

    #[test]
    fn a_wrong_type_names_the_field_the_kinds_and_the_place_but_not_the_value() {
        let body = Object::parse("{\"o\": {\"s\":\n  12345}, \"b\": \"true\"}").expect("an object");
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
    fn a_byte_order_mark_is_no_part_of_the_text() {
        assert_eq!(text(b"\xef\xbb\xbf{}").as_deref(), Ok("{}"));
    }

    #[test]
    fn a_surrogate_without_its_half_is_replaced_and_nothing_else() {
        for (sent, read) in [
            (r#"{"s":"\ud83d"}"#, "\u{fffd}"),
            (r#"{"s":"\ude00 x"}"#, "\u{fffd} x"),
            (r#"{"s":"\ud83d\ud83d\ude00"}"#, "\u{fffd}😀"),
            (r#"{"s":"\uD83D\uDE00\u00e9"}"#, "😀é"),
            (r#"{"s":"\\ud83d"}"#, r"\ud83d"),
            (r#"{"s":"\n\ud83dé"}"#, "\n\u{fffd}é"),
        ] {
            let text = text(sent.as_bytes()).expect("text");
            let body = Object::parse(&text).expect("an object");
            assert_eq!(body.string("s"), Ok(Some(read.into())), "{sent}");
        }
        for broken in [r#"{"s":"\ud8"#, r#"{"s":"\u"#, r#"{"s":"\"#, r#"{"s":"\uzzzz"}"#] {
            let text = text(broken.as_bytes()).expect("text");
            assert_eq!(text, broken);
            assert!(Object::parse(&text).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_stored_number_keeps_all_its_digits() {
        for digits in ["74512345678901234567890", "4307.23", "0.18981702153870114", "-1E-130"] {
            let written = serde_json::to_string(&Json::Number(digits.into()));
            assert_eq!(written.as_deref().ok(), Some(digits));
        }
    }

    #[test]
    fn details_follow_the_fields_without_duplicates() {
        let details = [("b", "2"), ("a", "1"), ("id", "x"), ("secret", "y")]
            .map(|(name, value)| (name.to_owned(), Json::from(value)));
        let object = WithDetails {
            fields: vec![("id", "p".into()), ("none", Json::Null)],
            details: &details.into(),
            hidden: &["secret"],
        };
        assert_eq!(
            serde_json::to_string(&object).ok().as_deref(),
            Some(r#"{"id":"p","none":null,"a":"1","b":"2"}"#)
        );
    }

    #[test]
    fn sizes_count_characters() {
        let body = Object::parse(r#"{"ключ":"ééé","n":[1, 2]}"#).expect("an object");
        assert_eq!(body.sizes().collect::<Vec<_>>(), [("ключ", 3), ("n", 6)]);
    }

    proptest::proptest! {
        /// Whatever the bytes are, reading them neither panics nor quotes them.
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        ) {
            let _ = text(&bytes).map(|text| Object::parse(&text).map(drop));
        }
    }
}
