use std::{borrow::Cow, ops::Range};

use serde_json::Value as Json;
use toml::de::{DeTable, DeValue};

use super::path::Segment;

/// A value and where it stands, the same for TOML texts and JSON bodies.
#[derive(Debug)]
pub(super) struct Node<'a> {
    /// Where it stands; empty for JSON.
    pub(super) span: Range<usize>,
    pub(super) value: Value<'a>,
}

/// A value of any type.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Text(Cow<'a, str>),
    Integer(i128),
    Float(f64),
    Bool(bool),
    Date,
    List(Vec<Node<'a>>),
    Table(Vec<Entry<'a>>),
}

/// A key with its value.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) key_span: Range<usize>,
    pub(super) node: Node<'a>,
}

impl<'a> Node<'a> {
    /// Takes over a TOML table. The nesting of the table is known to be bounded.
    pub(super) fn from_toml(table: DeTable<'a>, span: Range<usize>) -> Self {
        let entries = table.into_iter().map(|(key, value)| {
            let key_span = key.span();
            let span = value.span();
            Entry { key: key.into_inner(), key_span, node: Self::from_toml_value(value.into_inner(), span) }
        });
        Self { span, value: Value::Table(entries.collect()) }
    }

    fn from_toml_value(value: DeValue<'a>, span: Range<usize>) -> Self {
        let value = match value {
            DeValue::Table(table) => return Self::from_toml(table, span),
            DeValue::String(text) => Value::Text(text),
            DeValue::Integer(it) => Value::Integer(i128::from_str_radix(it.as_str(), it.radix()).unwrap_or(i128::MAX)),
            DeValue::Float(it) => Value::Float(it.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(it) => Value::Bool(it),
            DeValue::Datetime(_) => Value::Date,
            DeValue::Array(list) => Value::List(
                list.into_iter()
                    .map(|item| {
                        let span = item.span();
                        Self::from_toml_value(item.into_inner(), span)
                    })
                    .collect(),
            ),
        };
        Self { span, value }
    }

    /// Borrows a JSON value. A `null` in a table means that the key is left out.
    pub(super) fn from_json(json: &'a Json) -> Self {
        let value = match json {
            Json::Null => Value::Table(Vec::new()),
            Json::Bool(it) => Value::Bool(*it),
            Json::String(it) => Value::Text(Cow::Borrowed(it)),
            Json::Number(it) => match (it.as_i64(), it.as_u64()) {
                (Some(it), _) => Value::Integer(it.into()),
                (None, Some(it)) => Value::Integer(it.into()),
                _ => Value::Float(it.as_f64().unwrap_or(f64::NAN)),
            },
            Json::Array(list) => Value::List(list.iter().map(Self::from_json).collect()),
            Json::Object(map) => {
                let given = map.iter().filter(|(_, value)| !value.is_null());
                let entries = given.map(|(key, value)| Entry {
                    key: Cow::Borrowed(key.as_str()),
                    key_span: 0..0,
                    node: Self::from_json(value),
                });
                Value::Table(entries.collect())
            }
        };
        Self { span: 0..0, value }
    }

    /// Returns the entry of a key.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry<'a>> {
        match &self.value {
            Value::Table(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// Returns the value of a key.
    pub(super) fn entry_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.value {
            Value::Table(entries) => entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node),
            _ => None,
        }
    }

    /// Takes a key away.
    pub(super) fn remove(&mut self, key: &str) {
        if let Value::Table(entries) = &mut self.value {
            entries.retain(|entry| entry.key != key);
        }
    }

    /// Returns the text of a key.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match &self.entry(key)?.node.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the span of what stands at this path, or of what lies nearest to it on the way.
    pub(super) fn span_at(&self, path: &[Segment], on_key: bool) -> Range<usize> {
        let Some((first, rest)) = path.split_first() else { return self.span.clone() };
        match (first, &self.value) {
            (Segment::Key(key), Value::Table(_)) => self.entry(key).map_or_else(
                || self.span.clone(),
                |entry| {
                    if on_key && rest.is_empty() { entry.key_span.clone() } else { entry.node.span_at(rest, on_key) }
                },
            ),
            (Segment::Index(index), Value::List(list)) => {
                list.get(*index).map_or_else(|| self.span.clone(), |node| node.span_at(rest, on_key))
            }
            _ => self.span.clone(),
        }
    }
}

impl Value<'_> {
    /// Returns the type with its article, as people say it.
    pub(super) const fn noun(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number with a point",
            Self::Bool(_) => "a truth value",
            Self::Date => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}
