//! Changing a text in as few places as possible. Pure.
//!
//! Old and new manifest are compared in their canonical form; only where these differ the text is touched. What a person
//! wrote in another way (`90m` for `1h30m`, a default spelt out) therefore stays as it is.

use serde_json::{Map, Value as Json};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, TomlError, Value};

use super::endings;

/// Returns the text with everything changed that differs between `old` and `new`.
pub(super) fn merge(text: &str, old: &Json, new: &Json) -> Result<String, TomlError> {
    let mut document: DocumentMut = text.parse()?;
    if let (Json::Object(old), Json::Object(new)) = (old, new) {
        object(document.as_table_mut(), old, new, true);
    }
    Ok(endings::like(text, document.to_string()))
}

/// Returns a new text.
pub(super) fn render(manifest: &Json) -> String {
    let mut document = DocumentMut::new();
    if let Json::Object(manifest) = manifest {
        object(document.as_table_mut(), &Map::new(), manifest, true);
    }
    document.to_string()
}

/// `headers` tells whether tables in this one may have headers of their own.
fn object(table: &mut dyn TableLike, old: &Map<String, Json>, new: &Map<String, Json>, headers: bool) {
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        table.remove(key);
    }
    for (key, new) in new.iter().filter(|(key, new)| old.get(*key) != Some(new)) {
        match (table.get_mut(key), old.get(key)) {
            (Some(present), Some(old)) => item(present, old, new, headers),
            (Some(present), None) => *present = fresh(new, headers),
            (None, _) => {
                table.insert(key, fresh(new, headers));
            }
        }
    }
}

fn item(present: &mut Item, old: &Json, new: &Json, headers: bool) {
    match (&mut *present, old, new) {
        (Item::Table(table), Json::Object(old), Json::Object(new)) => {
            let headers = headers && !table.is_dotted();
            object(table, old, new, headers);
        }
        (Item::ArrayOfTables(tables), Json::Array(old), Json::Array(new)) if all_objects(new) => {
            array_of_tables(tables, old, new);
        }
        (Item::Value(present), _, _) => value(present, old, new),
        _ => *present = fresh(new, headers),
    }
}

fn value(present: &mut Value, old: &Json, new: &Json) {
    match (&mut *present, old, new) {
        (Value::InlineTable(table), Json::Object(old), Json::Object(new)) => object(table, old, new, false),
        (Value::Array(array), Json::Array(old), Json::Array(new)) if array.len() == old.len() => {
            inline_array(array, old, new);
        }
        _ => {
            let decor = present.decor().clone();
            *present = fresh_value(new);
            *present.decor_mut() = decor;
        }
    }
}

fn array_of_tables(tables: &mut ArrayOfTables, old: &[Json], new: &[Json]) {
    if tables.len() != old.len() {
        *tables = fresh_tables(new);
        return;
    }
    let span = Span::of(old, new);
    let mut kept: Vec<Table> = std::mem::take(tables).into_iter().collect();
    for (table, (old, new)) in kept[span.start..].iter_mut().zip(old[span.start..].iter().zip(&new[span.start..])) {
        if let (true, Json::Object(old), Json::Object(new)) = (span.is_even(), old, new) {
            object(table, old, new, true);
        }
    }
    if !span.is_even() {
        // A table keeps the place in the file that it had; new ones follow the one before.
        let fresh: Vec<Table> = fresh_tables(&new[span.start..span.new_end]).into_iter().collect();
        kept.splice(span.start..span.old_end, fresh);
        for table in &mut kept {
            table.set_position(None);
        }
    }
    *tables = kept.into_iter().collect();
}

fn inline_array(array: &mut Array, old: &[Json], new: &[Json]) {
    let span = Span::of(old, new);
    if span.is_even() {
        for (present, (old, new)) in array.iter_mut().zip(old.iter().zip(new)).filter(|(_, (old, new))| old != new) {
            value(present, old, new);
        }
        return;
    }
    for _ in span.start..span.old_end {
        array.remove(span.start);
    }
    for (at, new) in new.iter().enumerate().take(span.new_end).skip(span.start) {
        let mut new = fresh_value(new);
        *new.decor_mut() = neighbour(array, at);
        array.insert_formatted(at, new);
    }
    if let Some(first) = array.get_mut(0)
        && first.decor().prefix().and_then(|prefix| prefix.as_str()) == Some(" ")
    {
        first.decor_mut().set_prefix("");
    }
}

/// Returns the spacing of the element beside, so that a list with one element a line stays one.
fn neighbour(array: &Array, at: usize) -> toml_edit::Decor {
    let beside = at.checked_sub(1).or_else(|| (!array.is_empty()).then_some(0)).and_then(|at| array.get(at));
    let prefix = beside.and_then(|value| value.decor().prefix()).and_then(|prefix| prefix.as_str()).unwrap_or_default();
    let indent = prefix.rfind('\n').map(|newline| &prefix[newline..]);
    toml_edit::Decor::new(indent.unwrap_or(if at == 0 { "" } else { " " }), "")
}

/// The part of a list that is not the same before and after.
struct Span {
    start: usize,
    old_end: usize,
    new_end: usize,
}

impl Span {
    fn of(old: &[Json], new: &[Json]) -> Self {
        let start = old.iter().zip(new).take_while(|(old, new)| old == new).count();
        let ends = old[start..].iter().rev().zip(new[start..].iter().rev());
        let same = ends.take_while(|(old, new)| old == new).count();
        Self { start, old_end: old.len() - same, new_end: new.len() - same }
    }

    const fn is_even(&self) -> bool {
        self.old_end == self.new_end
    }
}

fn all_objects(list: &[Json]) -> bool {
    !list.is_empty() && list.iter().all(Json::is_object)
}

fn fresh(json: &Json, headers: bool) -> Item {
    match json {
        Json::Object(fields) if headers => {
            let mut table = Table::new();
            object(&mut table, &Map::new(), fields, true);
            Item::Table(table)
        }
        Json::Array(list) if headers && all_objects(list) => Item::ArrayOfTables(fresh_tables(list)),
        _ => Item::Value(fresh_value(json)),
    }
}

fn fresh_tables(list: &[Json]) -> ArrayOfTables {
    let tables = list.iter().filter_map(Json::as_object).map(|fields| {
        let mut table = Table::new();
        object(&mut table, &Map::new(), fields, true);
        table
    });
    tables.collect()
}

fn fresh_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(""),
        Json::Bool(it) => Value::from(*it),
        Json::Number(it) => it.as_i64().map_or_else(|| Value::from(it.as_f64().unwrap_or_default()), Value::from),
        Json::String(it) => Value::from(it),
        Json::Array(list) => Value::Array(list.iter().map(fresh_value).collect()),
        Json::Object(fields) => {
            let mut table = InlineTable::new();
            object(&mut table, &Map::new(), fields, false);
            Value::InlineTable(table)
        }
    }
}
