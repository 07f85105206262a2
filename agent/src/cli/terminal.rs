//! The terminal itself: how large it is, and what it does with keys.

use std::io;

use rustix::termios::{self, OptionalActions, Termios};

/// The columns and rows of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: u16,
    pub(super) rows: u16,
}

/// Returns the size of the terminal that the output goes to; none if it is no terminal, or one that does not tell.
pub(super) fn size() -> Option<Size> {
    let size = termios::tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0)?;
    Some(Size { columns: size.ws_col, rows: size.ws_row })
}

/// A terminal that hands on every key as it is. Dropped, it is as it was.
pub(super) struct Raw(Termios);

/// Makes the terminal that is typed on hand on every key; none if there is no terminal.
pub(super) fn raw() -> Option<Raw> {
    let before = termios::tcgetattr(io::stdin()).ok()?;
    let mut raw = before.clone();
    raw.make_raw();
    termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw).ok()?;
    Some(Raw(before))
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
