//! The forms in which data is printed.

use clap::ValueEnum;
use serde_json::Value;

use super::{failure::Failure, screen::Screen};
use crate::clock;

/// A form of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table for people.
    #[default]
    Table,
    /// A table with every column.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// One `kind/name` a line.
    Name,
}

/// Prints a document as JSON, YAML or names; returns false if a table is asked for.
pub(super) fn document(screen: &Screen, format: Format, value: &Value) -> Result<bool, Failure> {
    match format {
        Format::Table | Format::Wide => return Ok(false),
        Format::Json => screen.line(format!("{value:#}"))?,
        Format::Yaml => screen.data(yaml(value)?.as_bytes())?,
        Format::Name => names(screen, value)?,
    }
    Ok(true)
}

/// Writes a value as YAML.
pub(super) fn yaml(value: &Value) -> Result<String, Failure> {
    serde_saphyr::to_string(value).map_err(|error| Failure::Usage(format!("this can't be said in YAML: {error}")))
}

/// Returns how long ago that was, `3m`; the text itself if it is no time.
pub(super) fn age(time: &str) -> String {
    time.parse().map_or_else(|_| time.to_owned(), clock::age)
}

fn names(screen: &Screen, value: &Value) -> Result<(), Failure> {
    if let Some(items) = value["items"].as_array() {
        return items.iter().try_for_each(|item| names(screen, item));
    }
    let name = value["metadata"]["name"].as_str().or_else(|| value["name"].as_str());
    match (value["kind"].as_str(), name) {
        (Some(kind), Some(name)) => screen.line(format!("{}/{name}", kind.to_lowercase())),
        _ => Err(Failure::Usage("this has no name; ask for -o json".to_owned())),
    }
}
