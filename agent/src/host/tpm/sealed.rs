//! A secret that a TPM has sealed, in the form that systemd keeps it in.

use serde::{Deserialize, Serialize};

use super::{Pcrs, Signer, in_base64};

/// The most bytes of a sealed secret, of each of its parts, and of what is known of the key above it.
const LARGEST: usize = 4096;

/// A secret that only one chip gives back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sealed {
    /// `TPM2B_PRIVATE` and `TPM2B_PUBLIC`, one after the other.
    #[serde(with = "in_base64")]
    pub blob: Vec<u8>,
    /// The registers that have to be as they were, in the bank `sha256`.
    pub pcrs: Pcrs,
    /// Whether a PIN is needed.
    #[serde(default)]
    pub pin: bool,
    /// The digest of the policy that all this makes.
    #[serde(with = "in_base64")]
    pub policy: Vec<u8>,
    /// Whose signature over registers counts as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<Signer>,
    /// The key above it, as `Esys_TR_Serialize` writes it. Where it is left out, the one that systemd before 254 makes anew
    /// each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<Home>,
}

/// Where in the chip the key lies under which a secret is sealed, and by what it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home(#[serde(with = "in_base64")] Vec<u8>);

/// Why bytes are no sealed secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSealed {
    /// They end too early, or go on.
    #[error("it is cut short or has something behind it")]
    Length,
    /// It was sealed from outside, for a public key.
    #[error("it was sealed without the chip at hand (a third part), which can't be read here")]
    Imported,
    /// What is known of the key above is none.
    #[error("it names no key that lies in the chip")]
    Home,
}

impl Sealed {
    /// Returns the private and the public part, each without its length.
    ///
    /// # Errors
    /// When these are not two parts.
    pub fn parts(&self) -> Result<(&[u8], &[u8]), NotSealed> {
        if self.blob.len() > LARGEST {
            return Err(NotSealed::Length);
        }
        let (private, rest) = counted(&self.blob).ok_or(NotSealed::Length)?;
        let (public, rest) = counted(rest).ok_or(NotSealed::Length)?;
        match (private.is_empty() || public.is_empty(), counted(rest)) {
            (false, _) if rest.is_empty() => Ok((private, public)),
            (false, Some((_, []))) => Err(NotSealed::Imported),
            _ => Err(NotSealed::Length),
        }
    }

    /// Puts both parts together.
    pub fn joined(private: &[u8], public: &[u8]) -> Vec<u8> {
        let mut blob = Vec::with_capacity(private.len() + public.len() + 4);
        push_counted(&mut blob, private);
        push_counted(&mut blob, public);
        blob
    }
}

impl Home {
    /// Takes over what was written.
    ///
    /// # Errors
    /// When it names no key in the chip.
    pub fn read(bytes: Vec<u8>) -> Result<Self, NotSealed> {
        let home = Self(bytes);
        home.place().map(|_| home.clone())
    }

    /// Writes it for a key by its handle, name and public area.
    pub fn write(handle: u32, name: &[u8], public: &[u8]) -> Self {
        let mut bytes = handle.to_be_bytes().to_vec();
        push_counted(&mut bytes, name);
        // An object with a public area, not a session.
        bytes.extend(1_u32.to_be_bytes());
        push_counted(&mut bytes, public);
        Self(bytes)
    }

    /// Returns its handle and its name.
    ///
    /// # Errors
    /// When it names no key in the chip.
    pub fn place(&self) -> Result<(u32, &[u8]), NotSealed> {
        let (handle, rest) = self.0.split_first_chunk::<4>().ok_or(NotSealed::Home)?;
        let (name, rest) = counted(rest).ok_or(NotSealed::Home)?;
        let handle = u32::from_be_bytes(*handle);
        // Persistent objects, and a name that is a digest with its algorithm.
        let is_one = handle >> 24 == 0x81 && (3..=66).contains(&name.len()) && rest.len() >= 4 && rest.len() <= LARGEST;
        is_one.then_some((handle, name)).ok_or(NotSealed::Home)
    }

    /// Returns it as it is written.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Splits what a TPM writes with its length before it.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

fn push_counted(bytes: &mut Vec<u8>, part: &[u8]) {
    // Every part is some hundred bytes: a TPM takes no larger one.
    let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.extend(&part[..length.into()]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealed(blob: Vec<u8>) -> Sealed {
        Sealed { blob, pcrs: Pcrs::NONE, pin: false, policy: vec![0; 32], signer: None, home: None }
    }

    #[test]
    fn two_parts_and_nothing_else() {
        let blob = Sealed::joined(b"private", b"public");
        assert_eq!(sealed(blob.clone()).parts(), Ok((&b"private"[..], &b"public"[..])));
        for cut in 0..blob.len() {
            assert_eq!(sealed(blob[..cut].to_vec()).parts(), Err(NotSealed::Length), "{cut}");
        }
        let mut third = blob.clone();
        push_counted(&mut third, b"a seed");
        assert_eq!(sealed(third).parts(), Err(NotSealed::Imported));
        assert_eq!(sealed([&blob[..], b"x"].concat()).parts(), Err(NotSealed::Length));
        assert_eq!(sealed(Sealed::joined(b"", b"")).parts(), Err(NotSealed::Length));
    }

    #[test]
    fn a_home_is_a_key_in_the_chip() {
        let home = Home::write(0x8100_0001, &[7; 34], b"public");
        assert_eq!(home.place(), Ok((0x8100_0001, &[7; 34][..])));
        assert!(Home::read(home.bytes().to_vec()).is_ok());
        assert!(Home::read(Home::write(0x8000_0001, &[7; 34], b"public").0).is_err());
        assert!(Home::read(Home::write(0x8100_0001, b"", b"public").0).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn whatever_comes_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Home::read(bytes.clone());
            let _ = sealed(bytes).parts();
        }
    }
}
