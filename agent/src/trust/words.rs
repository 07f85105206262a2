//! Reads the words in which a TPM writes: numbers with the highest byte first, and parts with their length before them.

/// What is left to read.
pub(super) struct Words<'a>(pub(super) &'a [u8]);

impl<'a> Words<'a> {
    pub(super) fn number<const N: usize>(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(number.iter().fold(0, |all, byte| (all << 8) | u64::from(*byte)))
    }

    pub(super) fn bytes(&mut self, many: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(many)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Reads a part with its length before it.
    pub(super) fn part(&mut self) -> Option<&'a [u8]> {
        let length = self.number::<2>()?;
        self.bytes(usize::try_from(length).ok()?)
    }

    /// Returns true if this is the next number.
    pub(super) fn is<const N: usize>(&mut self, wanted: u64) -> Option<bool> {
        Some(self.number::<N>()? == wanted)
    }
}
