//! `piccolo explain`: the manual, field by field and mistake by mistake.

use piccolo_schema::{Kind, parse::Code};
use serde_json::Value;

use super::{failure::Failure, manual, page, screen::Screen, screen::Tone, subject};

/// Explains a field of a manifest, or the code of a mistake. Needs no daemon.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo explain container.spec.ports\n  piccolo explain PIC0003")]
pub(super) struct Args {
    /// A field, `container.spec.ports`, or a code, `PIC0003`.
    what: String,
    /// Prints the whole page of a kind, or of `mistakes`, as Markdown.
    #[arg(long)]
    page: bool,
}

pub(super) fn run(args: &Args, screen: &Screen) -> Result<(), Failure> {
    if args.page {
        let page = if args.what == "mistakes" { page::mistakes() } else { page::kind(subject::kind(&args.what)?) };
        return screen.data(page.as_bytes());
    }
    if let Ok(code) = args.what.parse::<Code>() {
        screen.line(screen.paint(Tone::Title, &code.to_string()))?;
        return wrap(code.explain(), 78).iter().try_for_each(|line| screen.line(line));
    }
    if args.what.to_uppercase().starts_with("PIC") && args.what.len() == 7 {
        return Err(Failure::NotFound(format!("there is no code `{}`; the first is PIC0001", args.what)));
    }
    let mut words = args.what.split('.');
    let kind = subject::kind(words.next().unwrap_or_default())?;
    let schema = manual::manual(kind);
    let field = find(&schema, kind, words)?;
    show(field, &args.what, screen)
}

fn find<'a>(schema: &'a Value, kind: Kind, words: impl Iterator<Item = &'a str>) -> Result<&'a Value, Failure> {
    let mut path = kind.singular().to_owned();
    let mut field = schema;
    for word in words {
        let fields = &inner(field)["properties"];
        field = fields.get(word).ok_or_else(|| {
            let known: Vec<_> = fields.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
            let near = known.iter().max_by(|a, b| strsim::jaro(word, a).total_cmp(&strsim::jaro(word, b)));
            let help = near.map_or_else(|| "; it has no fields".to_owned(), |near| format!("; did you mean `{near}`?"));
            Failure::NotFound(format!("`{path}` has no field `{word}`{help}"))
        })?;
        path = format!("{path}.{word}");
    }
    Ok(field)
}

/// Returns the element of a list, the thing itself otherwise.
fn inner(field: &Value) -> &Value {
    field.get("items").unwrap_or(field)
}

fn show(field: &Value, path: &str, screen: &Screen) -> Result<(), Failure> {
    screen.line(format!("{}  {}", screen.paint(Tone::Title, path), type_of(field)))?;
    paragraph(field, "", screen)?;
    for key in ["default", "pattern", "minimum", "maximum"] {
        if let Some(value) = field.get(key) {
            screen.line(format!("{key}: {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))?;
        }
    }
    let Some(fields) = inner(field)["properties"].as_object() else { return Ok(()) };
    let required = inner(field)["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (key, field) in fields {
        let must = if required.iter().any(|it| it == key) { ", required" } else { "" };
        screen.line("")?;
        screen.line(format!("  {}  {}{must}", screen.paint(Tone::Title, key), type_of(field)))?;
        paragraph(field, "    ", screen)?;
    }
    Ok(())
}

fn paragraph(field: &Value, indent: &str, screen: &Screen) -> Result<(), Failure> {
    let Some(text) = field["description"].as_str() else { return Ok(()) };
    wrap(text, 78 - indent.len()).iter().try_for_each(|line| screen.line(format!("{indent}{line}")))
}

/// Returns the type of a field in words.
pub(super) fn type_of(field: &Value) -> String {
    if let Some(words) = field["enum"].as_array() {
        let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
        return format!("one of {}", words.join(", "));
    }
    let name = match &field["type"] {
        Value::String(name) => name.as_str(),
        Value::Array(names) => {
            names.iter().find_map(|name| name.as_str().filter(|name| *name != "null")).unwrap_or("any")
        }
        _ => "any",
    };
    match name {
        "array" => format!("list of {}", type_of(&field["items"])),
        "object" if field.get("properties").is_none() => "table of text".to_owned(),
        "object" => "table".to_owned(),
        "string" => "text".to_owned(),
        other => other.to_owned(),
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let current = lines.last().map_or(0, |line| line.chars().count());
        if current > 0 && current + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
