//! Reads what firmware writes: numbers with the lowest byte first, and texts of two bytes a letter.

/// The most letters of a text that are looked at: a kernel's longest command line, and what GRUB writes before it.
const LONGEST: usize = 2048 + 32;

/// What is left to read.
#[derive(Clone, Copy)]
pub(super) struct Little<'a>(pub(super) &'a [u8]);

impl<'a> Little<'a> {
    pub(super) fn number<const N: usize>(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(number.iter().rev().fold(0, |all, byte| (all << 8) | u64::from(*byte)))
    }

    pub(super) fn bytes(&mut self, many: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(many).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }
}

/// Reads a text of two bytes a letter up to its end or a zero; what is no letter is left out.
pub(super) fn wide(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let units = units.take_while(|unit| *unit != 0).take(LONGEST);
    plain(char::decode_utf16(units).filter_map(Result::ok))
}

/// Reads a text of one byte a letter up to its end or a zero; what is no letter is left out.
pub(super) fn narrow(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()).min(LONGEST);
    plain(String::from_utf8_lossy(&bytes[..end]).chars())
}

/// Reads a text that may be written in either way.
pub(super) fn text(bytes: &[u8]) -> String {
    let is_wide = bytes.len() >= 2 && bytes[0] != 0 && bytes[1] == 0;
    if is_wide { wide(bytes) } else { narrow(bytes) }
}

/// Whoever writes a log need not mean well: nothing of it moves a cursor.
fn plain(letters: impl Iterator<Item = char>) -> String {
    letters.filter(|letter| !letter.is_control()).take(LONGEST).collect()
}
