//! A program that a person runs in a container, and what goes to it and comes from it.

use bytes::Bytes;

/// What is to be run. Its words may hold secrets, so it can't be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Program {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Whether anything is typed.
    pub input: bool,
    /// Whether it has a terminal.
    pub terminal: bool,
}

/// What goes to a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// What is typed.
    Bytes(Bytes),
    /// The end of all that is typed.
    End,
    /// The terminal has another size.
    Size {
        /// Its columns.
        columns: u16,
        /// Its rows.
        rows: u16,
    },
}

/// What comes from a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// What it prints; on a terminal all that it prints.
    Out(Bytes),
    /// What it prints of errors.
    Err(Bytes),
    /// Its exit code: it ended.
    Ended(i64),
}
