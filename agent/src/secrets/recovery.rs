//! Recovery keys of disks: what a person copies by hand and types when nothing else opens a disk.

use zeroize::Zeroizing;

use super::Plain;

/// Letters that lie in the same place on nearly every keyboard, as systemd and Yubico write bytes with them.
const LETTERS: &[u8; 16] = b"cbdefghijklnrtuv";
/// The bytes of a key.
const BYTES: usize = 32;
/// The letters of a group.
const GROUP: usize = 8;

/// A recovery key: 256 bits, as `systemd-cryptenroll --recovery-key` writes them. It can't be printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryKey(Zeroizing<String>);

impl RecoveryKey {
    /// Writes a key of these bytes, which have to be random.
    pub fn of(bytes: &Zeroizing<[u8; BYTES]>) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(BYTES * 2 + BYTES * 2 / GROUP));
        for (at, group) in bytes.chunks(GROUP / 2).enumerate() {
            text.push_str(if at > 0 { "-" } else { "" });
            for byte in group {
                text.push(char::from(LETTERS[usize::from(byte >> 4)]));
                text.push(char::from(LETTERS[usize::from(byte & 15)]));
            }
        }
        Self(text)
    }

    /// Reads a key as a person types it: with or without dashes, spaces and capital letters.
    pub fn parse(typed: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        let mut many = 0;
        for letter in typed.chars().filter(|it| *it != '-' && !it.is_whitespace()) {
            let number = LETTERS.iter().position(|it| char::from(*it) == letter.to_ascii_lowercase())?;
            let byte = bytes.get_mut(many / 2)?;
            *byte = (*byte << 4) | u8::try_from(number).ok()?;
            many += 1;
        }
        (many == 2 * BYTES).then(|| Self::of(&bytes))
    }

    /// Returns true if this is the group of this number, counted from 0, as a person types it.
    pub fn has(&self, group: usize, typed: &str) -> bool {
        self.0.split('-').nth(group).is_some_and(|it| it.eq_ignore_ascii_case(typed.trim()))
    }

    /// Returns how many groups there are.
    pub const fn groups() -> usize {
        BYTES * 2 / GROUP
    }

    /// Returns the key itself, which is also the passphrase of its slot.
    pub fn text(&self) -> Plain {
        Plain::new(self.0.as_bytes().to_vec())
    }
}

impl std::fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecoveryKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_written_as_systemd_does() {
        let bytes = Zeroizing::new(std::array::from_fn(|at| u8::try_from(at).unwrap()));
        let key = RecoveryKey::of(&bytes);
        let text = String::from_utf8(key.text().expose().to_vec()).unwrap();
        assert_eq!(&text[..17], "cccbcdce-cfcgchci");
        assert_eq!((text.len(), text.split('-').count()), (71, RecoveryKey::groups()));
        for typed in [text.clone(), text.to_uppercase(), text.replace('-', " "), text.replace('-', "")] {
            assert_eq!(RecoveryKey::parse(&typed), Some(key.clone()), "{typed}");
        }
        for wrong in ["", &text[..70], &format!("{text}c"), &text.replace('c', "a")] {
            assert_eq!(RecoveryKey::parse(wrong), None, "{wrong}");
        }
        assert!(key.has(0, "CCCBCDCE ") && !key.has(1, "cccbcdce") && !key.has(8, ""));
        assert_eq!(format!("{key:?}"), "RecoveryKey(…)");
    }

    proptest! {
        #[test]
        fn every_key_is_read_back(bytes: [u8; 32], other in ".{0,100}") {
            let key = RecoveryKey::of(&Zeroizing::new(bytes));
            let text = String::from_utf8(key.text().expose().to_vec()).unwrap();
            prop_assert_eq!(RecoveryKey::parse(&text), Some(key));
            let _ = RecoveryKey::parse(&other);
        }
    }
}
