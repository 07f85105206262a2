//! Where words go: data to standard output, everything else to standard error.

use std::{
    error::Error,
    io::{self, IsTerminal, Write},
};

use super::{failure::Failure, terminal};

/// The terminal, or the pipes in its place.
pub(super) struct Screen {
    colour: bool,
    width: Option<usize>,
    rows: usize,
    /// The columns of the terminal that notes go to, if they go to one that can rewrite a line.
    drawing: Option<usize>,
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
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let plain = is_dumb || std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
        let size = terminal::size().filter(|_| terminal);
        let asked = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let columns = asked.or_else(|| size.map(|size| size.columns.into())).unwrap_or(80);
        let rows = size.map_or(24, |size| size.rows.into());
        let drawing = (io::stderr().is_terminal() && !is_dumb).then_some(columns);
        Self { colour: terminal && !plain, width: terminal.then_some(columns), rows, drawing }
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

    /// Writes what a program has to say beside its data, as it is.
    pub(super) fn complaint(&self, bytes: &[u8]) -> Result<(), Failure> {
        io::stderr().lock().write_all(bytes).map_err(Failure::Output)
    }

    /// Writes one line of data.
    pub(super) fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.data(format!("{}\n", text.as_ref()).as_bytes())
    }

    /// Shows lines in place of all that the terminal showed, as many as it has room for.
    pub(super) fn picture(&self, lines: &[String]) -> Result<(), Failure> {
        let shown: String =
            lines.iter().take(self.rows.saturating_sub(1)).map(|line| format!("{line}\x1b[K\n")).collect();
        // To the upper left corner, and at the end away with what is left below.
        self.data(format!("\x1b[H{shown}\x1b[J").as_bytes())
    }

    /// Writes a word to the person, not to the pipe.
    pub(super) fn note(&self, text: impl AsRef<str>) {
        // Nobody to talk to is fine.
        let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
    }

    /// Returns true if a line to the person can be rewritten.
    pub(super) const fn redraws(&self) -> bool {
        self.drawing.is_some()
    }

    /// Writes a line to the person in place of the one that was written so before, for a terminal only. It is cut where
    /// the terminal would break it; an empty one takes the line away.
    pub(super) fn redraw(&self, text: &str) {
        let Some(columns) = self.drawing else { return };
        let shown: String =
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(columns.saturating_sub(1)).collect();
        let mut err = io::stderr().lock();
        // Nobody to talk to is fine.
        let _ = write!(err, "\r{shown}\x1b[K").and_then(|()| err.flush());
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
