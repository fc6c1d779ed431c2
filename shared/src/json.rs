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
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
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
    fields: BTreeMap<String, &'a RawValue>,
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
        match serde_json::from_str(text) {
            Ok(fields) => Ok(Self { root, path, fields }),
            Err(_) => Err(Fault { kind: FaultKind::Json, ..wrong_type(root, "", text, "object") }),
        }
    }

    /// The string of that name; `None` where it is absent or null.
    ///
    /// # Errors
    /// [`FaultKind::Type`] where it is something else.
    pub fn string(&self, name: &str) -> Result<Option<String>, Fault> {
        self.typed(name, "string or null")
    }

    /// The boolean of that name; `None` where it is absent or null.
    ///
    /// # Errors
    /// [`FaultKind::Type`] where it is something else.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, Fault> {
        self.typed(name, "boolean or null")
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

    /// Checks the JSON type of that value, if it is there. `expected` names the possible ones:
    /// `string, boolean or null`.
    ///
    /// # Errors
    /// [`FaultKind::Type`] where it is something else.
    pub fn check(&self, name: &str, expected: &'static str) -> Result<(), Fault> {
        match self.field(name) {
            Some(value) if !expected.contains(kind(value.get())) => {
                Err(self.not_a(name, value, expected))
            }
            Some(_) | None => Ok(()),
        }
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

    fn typed<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
        expected: &'static str,
    ) -> Result<Option<T>, Fault> {
        self.present(name)
            .map(|value| {
                serde_json::from_str(value.get()).map_err(|_| self.not_a(name, value, expected))
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
        self.fields.get(name).copied()
    }
}

fn wrong_type(root: &str, path: &str, value: &str, expected: &'static str) -> Fault {
    // `value` is a slice of `root`: the distance between their starts is its place in the body.
    let offset = (value.as_ptr() as usize).saturating_sub(root.as_ptr() as usize);
    let position = position(root.as_bytes().get(..offset).unwrap_or_default());
    let provided = kind(value);
    let subject = if path.is_empty() { String::new() } else { format!("{path}: ") };
    let article = if expected.starts_with(['a', 'o']) { "an" } else { "a" };
    let message =
        format!("{subject}invalid type: {provided}, expected {article} {expected} at {position}");
    let fault = Fault::new(FaultKind::Type, message).field(path.to_owned());
    Fault { types: Some((provided, expected)), ..fault }
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
        if let Self::Text(text) = self { Some(text) } else { None }
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
    fn sizes_count_characters() {
        let body = Object::parse(r#"{"ключ":"ééé","n":[1, 2]}"#).expect("an object");
        assert_eq!(body.sizes().collect::<Vec<_>>(), [("n", 6), ("ключ", 3)]);
    }
}
