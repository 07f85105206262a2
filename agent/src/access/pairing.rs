//! The code by which a machine is claimed. Pure.

use std::time::{Duration, Instant};

use data_encoding::BASE32_NOPAD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// How long a code holds.
const HOLDS: Duration = Duration::from_secs(15 * 60);
/// How many wrong tries a code outlives, less one.
const TRIES: u32 = 10;
/// Bytes of a code: eight letters and digits.
const BYTES: usize = 5;

/// The code that holds now.
pub(super) struct Pairing {
    code: Zeroizing<String>,
    since: Instant,
    wrong: u32,
}

impl Pairing {
    /// Makes a first code.
    pub(super) fn new(now: Instant) -> std::io::Result<Self> {
        Ok(Self { code: code()?, since: now, wrong: 0 })
    }

    /// Returns the code in the form in which it is shown, `ABCD-EFGH`.
    pub(super) fn shown(&self) -> Zeroizing<String> {
        let (left, right) = self.code.split_at(self.code.len() / 2);
        Zeroizing::new(format!("{left}-{right}"))
    }

    /// Puts another code in place of one that is too old, and returns whether it did.
    pub(super) fn refresh(&mut self, now: Instant) -> std::io::Result<bool> {
        let is_old = now.saturating_duration_since(self.since) >= HOLDS;
        if is_old {
            *self = Self::new(now)?;
        }
        Ok(is_old)
    }

    /// Returns when the code becomes too old.
    pub(super) fn until(&self) -> Instant {
        self.since + HOLDS
    }

    /// Tells whether this is the code. After ten wrong tries there is another one.
    pub(super) fn check(&mut self, typed: &str, now: Instant) -> std::io::Result<bool> {
        self.refresh(now)?;
        if bool::from(normal(typed).as_bytes().ct_eq(self.code.as_bytes())) {
            return Ok(true);
        }
        self.wrong += 1;
        if self.wrong >= TRIES {
            *self = Self::new(now)?;
        }
        Ok(false)
    }
}

fn code() -> std::io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; BYTES]);
    super::random(&mut *bytes)?;
    Ok(Zeroizing::new(BASE32_NOPAD.encode(&*bytes)))
}

/// Reads a code as people type it: in small letters, with blanks, and with the digits that look like its letters.
fn normal(typed: &str) -> Zeroizing<String> {
    let meant = |c: char| match c.to_ascii_uppercase() {
        '0' => 'O',
        '1' => 'I',
        '8' => 'B',
        other => other,
    };
    // What is longer is wrong anyway.
    Zeroizing::new(typed.chars().take(64).filter(|c| !c.is_whitespace() && *c != '-').map(meant).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let now = Instant::now();
        let mut pairing = Pairing::new(now).unwrap();
        let shown = pairing.shown();
        assert!(shown.len() == 9 && !shown.contains(['0', '1', '8', '9']), "{}", *shown);
        assert!(pairing.check(&shown, now).unwrap());
        let typed = format!(" {} ", shown.to_lowercase().replace('-', " ").replace('o', "0").replace('i', "1"));
        assert!(pairing.check(&typed, now).unwrap(), "{typed}");
        for wrong in ["", "-", &shown[..8], &format!("{}A", *shown), &"A".repeat(1 << 20)] {
            assert!(!pairing.check(wrong, now).unwrap());
        }
    }

    #[test]
    fn a_code_does_not_outlive_ten_tries_or_a_quarter_of_an_hour() {
        let now = Instant::now();
        let mut pairing = Pairing::new(now).unwrap();
        let first = pairing.shown();
        for _ in 0..9 {
            assert!(!pairing.check("AAAA-AAAA", now).unwrap());
        }
        assert_eq!(pairing.shown(), first);
        assert!(!pairing.check("AAAA-AAAA", now).unwrap());
        let second = pairing.shown();
        assert_ne!(second, first);
        assert!(!pairing.check(&first, now).unwrap());
        assert!(!pairing.refresh(now + HOLDS - Duration::from_secs(1)).unwrap());
        assert!(!pairing.check(&second, now + HOLDS).unwrap(), "it is too old");
        assert_ne!(pairing.shown(), second);
    }

    #[test]
    fn ten_thousand_wrong_codes_open_nothing() {
        let now = Instant::now();
        let mut pairing = Pairing::new(now).unwrap();
        let (mut codes, mut most, mut tries) = (0, 0, 0);
        let mut code = pairing.shown();
        for round in 0..10_000_u32 {
            let typed = BASE32_NOPAD.encode(&[
                0,
                round.to_be_bytes()[0],
                round.to_be_bytes()[1],
                round.to_be_bytes()[2],
                round.to_be_bytes()[3],
            ]);
            assert!(typed == pairing.code.as_str() || !pairing.check(&typed, now).unwrap());
            tries += 1;
            if pairing.shown() != code {
                (codes, most, tries, code) = (codes + 1, most.max(tries), 0, pairing.shown());
            }
        }
        assert_eq!((codes, most), (1000, 10));
    }
}
