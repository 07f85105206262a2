use std::fmt::Write as _;

use super::Code;

/// One mistake in a manifest.
///
/// A mistake in the body of an API request has no place in a text: its line and column are 0.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// The stable code.
    pub code: Code,
    /// The field, `spec.ports[0].hostPort`.
    pub path: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Characters to underline, at least 1.
    pub length: u32,
    /// The text of the line, its beginning only if the line is very long.
    pub source_line: String,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Diagnostic {
    /// Renders it as a compiler does: reason, place, the line with a caret, and what to do.
    pub fn render(&self, file: &str) -> String {
        self.render_with("error", file, &[])
    }

    /// Renders it with the word that it begins with, and with further places in files.
    pub(crate) fn render_with(&self, word: &str, file: &str, more: &[(&str, Self)]) -> String {
        let mut out = format!("{word}[{}]: {}\n", self.code, self.reason);
        self.show_place("-->", file, &mut out);
        for (file, place) in more {
            place.show_place(":::", file, &mut out);
        }
        if let Some(help) = &self.help {
            let _ = writeln!(out, " help: {help}");
        }
        out
    }

    /// Says where it stands: `web.toml:9:12`.
    pub fn place(&self, file: &str) -> String {
        match (self.line, &*self.path) {
            (0, "") => format!("{file}: the manifest"),
            (0, path) => format!("{file}: {path}"),
            (line, _) => format!("{file}:{line}:{}", self.column),
        }
    }

    fn show_place(&self, arrow: &str, file: &str, out: &mut String) {
        let _ = writeln!(out, "  {arrow} {}", self.place(file));
        if self.line == 0 {
            return;
        }
        let number = self.line.to_string();
        let _ = writeln!(out, "{}", format!(" {number} | {}", self.source_line).trim_end());
        if let Some(caret) = self.caret() {
            let _ = writeln!(out, " {:width$} | {caret}", "", width = number.len());
        }
    }

    /// Returns the line of carets, or nothing if the place lies beyond what is shown of the line.
    fn caret(&self) -> Option<String> {
        let shown = u32::try_from(self.source_line.chars().count()).ok()?;
        let before = self.column.checked_sub(1).filter(|before| *before <= shown)?;
        let length = self.length.min(shown - before).max(1);
        Some(" ".repeat(before as usize) + &"^".repeat(length as usize))
    }
}
