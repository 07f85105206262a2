//! Text to manifest.

use std::fmt;

use crate::{Kind, Manifest};

/// A text that is no manifest.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// The kind, if it could be read.
    pub kind: Option<Kind>,
    /// The name, if it could be read.
    pub name: Option<String>,
    /// Every mistake, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// One mistake in a manifest.
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
    /// Characters to underline.
    pub length: u32,
    /// The text of the line.
    pub source_line: String,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub help: Option<String>,
}

/// The stable code of a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Code {
    /// Not TOML.
    Syntax,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PIC{:04}", *self as u16 + 1)
    }
}

impl Diagnostic {
    /// Renders it as a compiler does.
    pub fn render(&self, file: &str) -> String {
        format!("error[{}]: {}\n --> {file}:{}:{}\n", self.code, self.reason, self.line, self.column)
    }
}

/// Reads one manifest.
pub fn parse(_text: &str) -> Result<Manifest, Rejected> {
    Err(Rejected { kind: None, name: None, diagnostics: Vec::new() })
}

/// Reads one manifest from the body of an API request.
pub fn parse_value(_value: &serde_json::Value) -> Result<Manifest, Rejected> {
    Err(Rejected { kind: None, name: None, diagnostics: Vec::new() })
}
