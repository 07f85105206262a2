//! Keeps what stands in the file of a Secret, and logins in addresses, out of what is said about them.
//!
//! A mistake in such a file may be a value in plain text. Diagnostics reach status, journal and terminals; the line that
//! they show is cut where its value begins. A login in an address is made unreadable wherever it stands.

use super::{diagnostic::Diagnostic, text::Text};

/// What stands in place of a value.
const HIDDEN: &str = "…";
/// Keys whose values say nothing.
const HARMLESS: &[&str] = &["apiVersion", "kind", "metadata", "metadata.name", "name"];

/// Returns true if a text, even one that can't be read, seems to declare a Secret.
pub(super) fn declares_a_secret(text: &Text<'_>) -> bool {
    let kind = |line: &&str| line.split_once('=').is_some_and(|(key, _)| bare(key) == "kind");
    text.whole().lines().filter(kind).any(|line| line.to_ascii_lowercase().contains("secret"))
}

/// Cuts the values out of the lines that are shown.
pub(super) fn values(diagnostics: &mut [Diagnostic], text: &Text<'_>) {
    let lines: Vec<&str> = text.whole().lines().collect();
    for it in diagnostics.iter_mut().filter(|it| it.line > 0) {
        let line = lines.get(it.line as usize - 1).copied().unwrap_or_default();
        if let Some(shown) = without_value(line) {
            it.source_line = shown;
        }
    }
}

/// Makes logins in addresses unreadable, in what is shown and in what is said.
pub(super) fn logins(diagnostics: &mut [Diagnostic]) {
    for it in diagnostics {
        it.source_line = without_logins(&it.source_line);
        it.reason = without_logins(&it.reason);
    }
}

/// Returns a text with a `*` for each character between `://` and the last `@` before the path, so that all else stays
/// where it is.
fn without_logins(text: &str) -> String {
    let mut parts = text.split("://");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c == '/' || c == '"' || c == '\'' || c == '`' || c.is_whitespace());
        let host = part[..end.unwrap_or(part.len())].rfind('@').unwrap_or_default();
        out.push_str("://");
        out.extend(part[..host].chars().map(|_| '*'));
        out.push_str(&part[host..]);
    }
    out
}

/// Returns a line without its value, none if it may be shown as it is.
fn without_value(line: &str) -> Option<String> {
    let plain = line.trim();
    let is_header = plain.starts_with('[') && plain.ends_with(']') && !plain.contains(['"', '\'', ',']);
    match line.split_once('=') {
        _ if plain.is_empty() || is_header => None,
        Some((key, _)) if HARMLESS.contains(&bare(key)) => None,
        Some((key, _)) if is_key(bare(key)) => Some(format!("{key}= {HIDDEN}")),
        _ => Some(HIDDEN.to_owned()),
    }
}

fn bare(key: &str) -> &str {
    key.trim().trim_matches(['"', '\''])
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() < 128 && key.chars().all(|c| c.is_ascii_alphanumeric() || "._-\"'".contains(c))
}
