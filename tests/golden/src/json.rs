//! A JSON value whose members keep their order: a response is compared byte for byte.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context, Result};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        IntoDeserializer, MapAccess, SeqAccess, Visitor,
        value::{MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::{Number, Value};

/// A JSON value. Its [`Display`](fmt::Display) is the compact text.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Json {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object, its members in the order of the file.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The same value without the order.
    #[must_use]
    pub fn value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(number) => Value::Number(number.clone()),
            Self::String(text) => Value::String(text.clone()),
            Self::Array(list) => list.iter().map(Self::value).collect(),
            Self::Object(members) => {
                let members = members.iter();
                members.map(|(name, it)| (name.clone(), it.value())).collect()
            }
        }
    }

    /// The member of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else {
            return None;
        };
        members.iter().find(|(given, _)| given == name).map(|(_, value)| value)
    }

    /// The text of a string.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// Takes the member of that name out of an object.
    pub(crate) fn take(&mut self, name: &str) -> Option<Self> {
        let Self::Object(members) = self else {
            return None;
        };
        let at = members.iter().position(|(given, _)| given == name)?;
        Some(members.remove(at).1)
    }

    /// Lays `upper` over it: objects member by member, a new member last; anything else replaces
    /// what was there.
    pub(crate) fn overlay(&mut self, upper: Self) {
        match (self, upper) {
            (Self::Object(members), Self::Object(upper)) => {
                for (name, value) in upper {
                    match members.iter_mut().find(|(given, _)| *given == name) {
                        Some((_, lower)) => lower.overlay(value),
                        None => members.push((name, value)),
                    }
                }
            }
            (lower, upper) => *lower = upper,
        }
    }

    /// Lays `upper` over what is left of it `without` those members.
    pub(crate) fn lay(&mut self, upper: Self, without: &[String]) -> Result<()> {
        for name in without {
            self.take(name).with_context(|| format!("no {name} to leave out"))?;
        }
        self.overlay(upper);
        Ok(())
    }

    /// Replaces every string, names of members among them, by what `with` makes of it.
    pub(crate) fn map(&mut self, with: &impl Fn(&str) -> String) {
        match self {
            Self::String(text) => *text = with(text),
            Self::Array(list) => list.iter_mut().for_each(|value| value.map(with)),
            Self::Object(members) => {
                for (name, value) in members {
                    *name = with(name);
                    value.map(with);
                }
            }
            Self::Null | Self::Bool(_) | Self::Number(_) => {}
        }
    }

    /// Replaces names in braces by their values, and removes the members without one.
    pub(crate) fn fill(&mut self, values: &BTreeMap<String, Self>) {
        let Self::Object(members) = self else {
            return;
        };
        members.retain_mut(|(_, value)| {
            let text = value.text();
            let name = text.and_then(|text| text.strip_prefix('{')?.strip_suffix('}'));
            match name.map(|name| values.get(name).cloned()) {
                Some(Some(found)) => *value = found,
                Some(None) => return false,
                None => value.fill(values),
            }
            true
        });
    }

    /// It, as a `T`.
    pub(crate) fn read<T: for<'de> Deserialize<'de>>(self) -> Result<T> {
        T::deserialize(self).context("not of the form in events/README.md")
    }
}

impl fmt::Display for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        formatter.write_str(&text)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(list) => serializer.collect_seq(list),
            Self::Object(members) => {
                serializer.collect_map(members.iter().map(|(name, value)| (name, value)))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyJson)
    }
}

struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_none<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        Json::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a JSON number"))?;
        Ok(Json::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Json::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members: Vec<(String, Json)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, _>()? {
            if members.iter().any(|(given, _)| *given == name) {
                return Err(serde::de::Error::custom(format!("{name} is given twice")));
            }
            members.push((name, value));
        }
        Ok(Json::Object(members))
    }
}

impl IntoDeserializer<'_, serde_json::Error> for Json {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Json {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Number(number) => number.deserialize_any(visitor),
            Self::String(text) => visitor.visit_string(text),
            Self::Array(list) => visitor.visit_seq(SeqDeserializer::new(list.into_iter())),
            Self::Object(members) => visitor.visit_map(MapDeserializer::new(members.into_iter())),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self == Self::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
