use std::fmt;

/// A line and a column, counted from 1; 0 for the file as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// Something in a compose file that can't be understood. It tells no value of an environment, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub help: String,
}

impl Mistake {
    /// Returns a mistake.
    pub(super) fn new(place: Place, reason: impl fmt::Display, help: impl fmt::Display) -> Self {
        Self { place, reason: reason.to_string(), help: help.to_string() }
    }

    /// Says it as a compiler would.
    pub fn render(&self, file: &str) -> String {
        let Self { place: Place { line, column }, reason, help } = self;
        let at = if *line == 0 { String::new() } else { format!(":{line}:{column}") };
        format!("error: {reason}\n  --> {file}{at}\n help: {help}\n")
    }
}
