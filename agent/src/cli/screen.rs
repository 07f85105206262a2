//! Where words go: data to standard output, everything else to standard error.

use std::{
    error::Error,
    io::{self, IsTerminal, Write},
};

use super::failure::Failure;

/// The terminal, or the pipes in its place.
pub(super) struct Screen {
    colour: bool,
    width: Option<usize>,
}

/// How a word looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Takes something away.
    Danger,
    /// Needs a look.
    Warning,
    /// Is new, or well.
    Good,
    /// Stands above others.
    Title,
}

impl Screen {
    /// Returns the screen as it is: colours and a width only for a terminal.
    pub(super) fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(80);
        Self { colour: terminal && !plain, width: terminal.then_some(columns) }
    }

    /// Returns the columns that a line may take, none when nobody looks.
    pub(super) const fn width(&self) -> Option<usize> {
        self.width
    }

    /// Writes data as it is.
    pub(super) fn data(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(Failure::Output)
    }

    /// Writes one line of data.
    pub(super) fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.data(format!("{}\n", text.as_ref()).as_bytes())
    }

    /// Writes a word to the person, not to the pipe.
    pub(super) fn note(&self, text: impl AsRef<str>) {
        // Nobody to talk to is fine.
        let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
    }

    /// Says what the daemon warned of.
    pub(super) fn warn(&self, warnings: &[String]) {
        warnings.iter().for_each(|it| self.note(format!("warning: {it}")));
    }

    /// Says why a command failed, with every cause behind it and what to do.
    pub(super) fn fail(&self, failure: &Failure) {
        if failure.exit_code() == 0 {
            return;
        }
        let mut text = format!("error: {failure}");
        let mut cause = failure.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        if let Some(help) = failure.help() {
            text.push_str(&format!("\n help: {help}"));
        }
        self.note(text);
    }

    /// Colours a text, for a terminal only.
    pub(super) fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Danger => "31",
            Tone::Warning => "33",
            Tone::Good => "32",
            Tone::Title => "1",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
