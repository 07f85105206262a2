use std::ops::Range;

/// The longest part of a line that is shown.
const SHOWN: usize = 240;

/// A text that knows where its lines begin.
pub(super) struct Text<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

/// A place in a text as people count: from 1, in characters.
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) length: u32,
    pub(super) source_line: String,
}

impl<'a> Text<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let after_newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after_newlines).collect() }
    }

    /// Returns the text of a span.
    pub(super) fn slice(&self, span: &Range<usize>) -> &'a str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// Returns the whole text.
    pub(super) const fn whole(&self) -> &'a str {
        self.text
    }

    /// Returns the number of the line that holds a byte, from 0.
    pub(super) fn line_of(&self, byte: usize) -> usize {
        self.starts.partition_point(|start| *start <= byte).saturating_sub(1)
    }

    /// Returns the place of a span. Bytes inside a character or beyond the end are moved to where a character begins.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let start = self.floor(span.start);
        let index = self.line_of(start);
        let line_start = self.starts[index];
        let line_end = self.starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        let line = self.text[line_start..line_end].trim_end_matches('\r');
        let from = (start - line_start).min(line.len());
        let to = self.floor(span.end).clamp(line_start + from, line_start + line.len()) - line_start;
        Place {
            line: count(index + 1),
            column: count(line[..from].chars().count() + 1),
            length: count(line[from..to].chars().count().max(1)),
            source_line: line.chars().take(SHOWN).map(visible).collect(),
        }
    }

    fn floor(&self, byte: usize) -> usize {
        let mut at = byte.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

/// Keeps a line one line and one column a character on every terminal.
fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
