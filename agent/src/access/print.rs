//! The fingerprint of a machine's authority, by which people know the machine.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

/// Letters of the short form: 60 bits, which nobody finds a second certificate for.
const SHORT: usize = 12;

/// The SHA-256 of a certificate. Written in its short form, `ABCD-EFGH-IJKL`; with `{:#}` whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print([u8; 32]);

impl Print {
    /// Returns the fingerprint of a certificate.
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    /// Returns true if this is its short or its whole form, as people type it.
    pub fn is(&self, typed: &str) -> bool {
        let typed: String = typed.chars().filter(|c| *c != '-' && !c.is_whitespace()).collect();
        let whole = BASE32_NOPAD.encode(&self.0);
        let typed = typed.to_ascii_uppercase();
        typed == whole || typed == whole[..SHORT]
    }
}

impl fmt::Display for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = BASE32_NOPAD.encode(&self.0);
        if f.alternate() {
            return f.write_str(&whole);
        }
        write!(f, "{}-{}-{}", &whole[..4], &whole[4..8], &whole[8..SHORT])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_print_is_known_by_both_forms() {
        let print = Print::of(b"a certificate");
        let (short, whole) = (print.to_string(), format!("{print:#}"));
        assert_eq!((short.len(), whole.len()), (14, 52));
        for form in [&short, &whole, &short.to_lowercase(), &short.replace('-', " "), &short.replace('-', "")] {
            assert!(print.is(form), "{form}");
        }
        for wrong in ["", "-", &short[..13], &whole[..51], &Print::of(b"another").to_string()] {
            assert!(!print.is(wrong), "{wrong}");
        }
    }
}
