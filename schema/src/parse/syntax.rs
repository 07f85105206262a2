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
    } else if word.is_empty() && message.starts_with("string values must be quoted") {
        (Code::Syntax, "the value is missing".to_owned(), Some("write a value after `=`"))
    } else {
        match TAUGHT.iter().find(|(part, ..)| message.contains(part)) {
            Some((_, reason, help)) => (Code::Syntax, (*reason).to_owned(), Some(*help)),
            None => (Code::Syntax, format!("not TOML: {message}"), None),
        }
    };
    Finding { code, path: Path::default(), span, reason, help: help.map(str::to_owned) }
}

/// What the TOML parser says, what is said instead, and what to do.
const TAUGHT: &[(&str, &str, &str)] = &[
    ("string values must be quoted", "a text stands in quotes", "put it in quotes"),
    ("escape", "a backslash in double quotes begins an escape", "write `\\\\` for a backslash, or use single quotes"),
    ("invalid basic string", "the text is not closed", "close the quote on the same line"),
    ("invalid literal string", "the text is not closed", "close the quote on the same line"),
    ("unclosed table", "the header is not closed", "close it with `]`"),
    ("unclosed array of tables", "the header is not closed", "close it with `]]`"),
    ("unclosed array", "the list is not closed", "close it with `]`"),
    (
        "missing comma between array elements",
        "the list is not closed, or a comma is missing",
        "close it with `]`, or write a comma between two entries",
    ),
    ("unclosed inline table", "the table is not closed", "close it with `}`"),
    ("key with no value", "the key has no value", "write `key = value`"),
    (
        "invalid unquoted key",
        "a key can't hold this character",
        "write `key = value`; a key of other than letters, digits, `-` and `_` stands in quotes",
    ),
    ("invalid key-value pair", "this is no line of TOML", "write `key = value`"),
    (
        "unexpected leading zero",
        "a number begins with a zero",
        "leave the zero out, or write `0o10` for an octal number",
    ),
];
