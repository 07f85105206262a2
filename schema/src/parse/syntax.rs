use std::ops::Range;

use toml::de::Error;

use super::{Code, finding::Finding, path::Path, text::Text};

/// Puts the mistakes against TOML itself among the others.
///
/// What stands before the first of them was read as it was meant; of what follows nothing can be said, nor of keys that
/// seem to be missing.
pub(super) fn merge(findings: &mut Vec<Finding>, errors: &[Error], text: &Text<'_>) {
    let mut errors: Vec<(Range<usize>, &str)> =
        errors.iter().map(|error| (error.span().unwrap_or(0..0), error.message())).collect();
    errors.sort_by_key(|(span, _)| span.start);
    errors.dedup_by_key(|(span, _)| text.line_of(span.start));
    let first = errors.first().map_or(0, |(span, _)| text.line_of(span.start));
    findings.retain(|it| it.code != Code::MissingKey && text.line_of(it.span.start) < first);
    findings.extend(errors.into_iter().map(|(span, message)| finding(span, message, text)));
}

fn finding(span: Range<usize>, message: &str, text: &Text<'_>) -> Finding {
    let word = text.slice(&span).trim();
    let (code, reason, help) = if message.starts_with("duplicate key") {
        let help = match word {
            "apiVersion" | "kind" | "metadata" | "spec" => "one manifest a file: move the second one into its own file",
            _ => "keep one of the two",
        };
        (Code::Duplicate, format!("`{word}` stands here for the second time"), Some(help))
    } else if message.starts_with("cannot recurse further") {
        (Code::TooDeep, "the text is nested too deep".to_owned(), Some("a manifest needs no more than five levels"))
    } else {
        (Code::Syntax, format!("not TOML: {message}"), help(message))
    };
    Finding { code, path: Path::default(), span, reason, help: help.map(str::to_owned) }
}

fn help(message: &str) -> Option<&'static str> {
    HELP.iter().find(|(part, _)| message.contains(part)).map(|(_, help)| *help)
}

const HELP: &[(&str, &str)] = &[
    ("string values must be quoted", "put the text in quotes"),
    ("escape", "write `\\\\` for a backslash, or use single quotes"),
    ("invalid basic string", "close the quote on the same line"),
    ("invalid literal string", "close the quote on the same line"),
    ("unclosed table", "close the bracket"),
    ("unclosed array", "close the bracket"),
    ("unclosed inline table", "close the brace"),
    ("key with no value", "write `key = value`"),
    ("missing value", "write a value after `=`"),
];
