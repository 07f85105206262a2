use std::sync::LazyLock;

use regex_lite::Regex;
use serde_json::{Map, Value};

use crate::{Kind, json};

/// What a value may look like, compiled from the JSON Schema that editors read.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) is: Is,
    /// The first sentence of the description.
    pub(super) about: String,
}

/// The type of a value, with what narrows it.
#[derive(Debug)]
pub(super) enum Is {
    Text(Text),
    Number { whole: bool, min: f64, max: f64 },
    Bool,
    List { of: Box<Shape>, min: usize },
    Table(Table),
    Map(Box<Shape>),
    Anything,
}

/// A text.
#[derive(Debug, Default)]
pub(super) struct Text {
    pub(super) words: Vec<String>,
    pub(super) pattern: Option<Regex>,
    pub(super) address: bool,
    pub(super) example: Option<String>,
    /// What to say to a text that does not match the pattern.
    pub(super) hint: Option<String>,
    pub(super) max: usize,
}

/// A table with known keys.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) keys: Vec<(String, Shape)>,
    pub(super) required: Vec<String>,
}

impl Shape {
    /// Returns the shape of a whole manifest.
    pub(super) fn of(kind: Kind) -> &'static Self {
        static CONTAINER: LazyLock<Shape> = LazyLock::new(|| Shape::compile(&json::schema(Kind::Container)));
        static NETWORK: LazyLock<Shape> = LazyLock::new(|| Shape::compile(&json::schema(Kind::Network)));
        static VOLUME: LazyLock<Shape> = LazyLock::new(|| Shape::compile(&json::schema(Kind::Volume)));
        static SECRET: LazyLock<Shape> = LazyLock::new(|| Shape::compile(&json::schema(Kind::Secret)));
        static CONFIG_SOURCE: LazyLock<Shape> = LazyLock::new(|| Shape::compile(&json::schema(Kind::ConfigSource)));
        static IMAGE: LazyLock<Shape> = LazyLock::new(|| Shape::compile(&json::schema(Kind::Image)));
        static LINK: LazyLock<Shape> = LazyLock::new(|| Shape::compile(&json::schema(Kind::Link)));
        static HOST: LazyLock<Shape> = LazyLock::new(|| Shape::compile(&json::schema(Kind::Host)));
        static FIREWALL: LazyLock<Shape> = LazyLock::new(|| Shape::compile(&json::schema(Kind::Firewall)));
        static DISK: LazyLock<Shape> = LazyLock::new(|| Shape::compile(&json::schema(Kind::Disk)));
        static INSTALL: LazyLock<Shape> = LazyLock::new(|| Shape::compile(&json::schema(Kind::Install)));
        match kind {
            Kind::Container => &CONTAINER,
            Kind::Network => &NETWORK,
            Kind::Volume => &VOLUME,
            Kind::Secret => &SECRET,
            Kind::Image => &IMAGE,
            Kind::ConfigSource => &CONFIG_SOURCE,
            Kind::Link => &LINK,
            Kind::Host => &HOST,
            Kind::Firewall => &FIREWALL,
            Kind::Disk => &DISK,
            Kind::Install => &INSTALL,
        }
    }

    fn compile(root: &Value) -> Self {
        Self::from(root, root)
    }

    fn from(schema: &Value, root: &Value) -> Self {
        let target = resolve(schema, root);
        let about = [schema, target].iter().find_map(|it| it["description"].as_str()).unwrap_or_default();
        Self { is: Is::from(target, root), about: first_sentence(about) }
    }
}

impl Is {
    fn from(schema: &Value, root: &Value) -> Self {
        match schema["type"].as_str() {
            Some("string") => Self::Text(Text::from(schema)),
            Some(number @ ("integer" | "number")) => Self::Number {
                whole: number == "integer",
                min: schema["minimum"].as_f64().unwrap_or(f64::MIN),
                max: schema["maximum"].as_f64().unwrap_or(f64::MAX),
            },
            Some("boolean") => Self::Bool,
            Some("array") => {
                Self::List { of: Box::new(Shape::from(&schema["items"], root)), min: length(schema, "minItems", 0) }
            }
            Some("object") => match (schema["properties"].as_object(), &schema["additionalProperties"]) {
                (_, values @ Value::Object(_)) => Self::Map(Box::new(Shape::from(values, root))),
                (keys, _) => Self::Table(Table::from(keys, schema, root)),
            },
            _ => Self::Anything,
        }
    }

    /// Returns the type with its article, as people say it.
    pub(super) const fn noun(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Number { whole: true, .. } => "an integer",
            Self::Number { .. } => "a number",
            Self::Bool => "`true` or `false`",
            Self::List { .. } => "a list",
            Self::Table(_) | Self::Map(_) => "a table",
            Self::Anything => "anything",
        }
    }
}

impl Text {
    fn from(schema: &Value) -> Self {
        let words = schema["enum"].as_array().into_iter().flatten();
        Self {
            words: words.filter_map(Value::as_str).map(str::to_owned).collect(),
            pattern: schema["pattern"].as_str().and_then(|it| Regex::new(it).ok()),
            address: schema["format"] == "ip",
            example: schema["examples"][0].as_str().map(str::to_owned),
            hint: schema["patternErrorMessage"].as_str().map(str::to_owned),
            max: length(schema, "maxLength", usize::MAX),
        }
    }
}

impl Table {
    fn from(keys: Option<&Map<String, Value>>, schema: &Value, root: &Value) -> Self {
        let required = schema["required"].as_array().into_iter().flatten();
        let keys = keys.into_iter().flatten();
        Self {
            keys: keys.map(|(key, schema)| (key.clone(), Shape::from(schema, root))).collect(),
            required: required.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }

    /// Returns the shape of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Shape> {
        self.keys.iter().find(|(known, _)| known == key).map(|(_, shape)| shape)
    }
}

/// Follows `$ref`, alone or in an `allOf` of one.
fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let inner = schema["allOf"].get(0).unwrap_or(schema);
    let pointer = inner["$ref"].as_str().and_then(|it| it.strip_prefix('#'));
    pointer.and_then(|it| root.pointer(it)).unwrap_or(inner)
}

fn length(schema: &Value, key: &str, otherwise: usize) -> usize {
    schema[key].as_u64().and_then(|it| usize::try_from(it).ok()).unwrap_or(otherwise)
}

fn first_sentence(text: &str) -> String {
    let text = text.replace('\n', " ");
    let end = text.find(". ").unwrap_or(text.len());
    text[..end].trim_end_matches('.').to_owned()
}
