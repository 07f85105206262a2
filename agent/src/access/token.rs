//! The form of tokens: `pic_<id>_<secret>_<checksum>`.
//!
//! The prefix lets scanners of repositories find one that leaked, the checksum tells a mistyped one from a wrong one.

use data_encoding::BASE32_NOPAD_NOCASE;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// How every token begins.
const PREFIX: &str = "pic_";
/// Bytes of the identifier.
const ID: usize = 5;
/// Letters of the identifier.
const ID_LENGTH: usize = 8;
/// Bytes of the secret.
const SECRET: usize = 32;

/// What a client proves itself with. Of its secret the machine keeps a digest alone.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Token {
    #[zeroize(skip)]
    id: String,
    secret: [u8; SECRET],
}

/// The SHA-256 of a token's secret. With 256 random bits beneath it, a slow digest would add nothing.
pub type Fingerprint = [u8; 32];

impl Token {
    /// Makes a new one.
    ///
    /// # Errors
    /// When the kernel has no randomness to give.
    pub fn generate() -> std::io::Result<Self> {
        let (mut id, mut secret) = ([0; ID], [0; SECRET]);
        super::random(&mut id)?;
        super::random(&mut secret)?;
        Ok(Self { id: encode(&id), secret })
    }

    /// Reads one; none if it is no token of ours, or mistyped.
    pub fn parse(text: &str) -> Option<Self> {
        let (body, checksum) = text.trim().rsplit_once('_')?;
        let (id, secret) = body.strip_prefix(PREFIX)?.split_once('_')?;
        let secret = Zeroizing::new(BASE32_NOPAD_NOCASE.decode(secret.as_bytes()).ok()?);
        if checksum != self::checksum(body) || !Self::is_id(id) {
            return None;
        }
        Some(Self { id: id.to_owned(), secret: secret.as_slice().try_into().ok()? })
    }

    /// Returns whether this can be the part of a token that may be shown.
    pub(super) fn is_id(id: &str) -> bool {
        BASE32_NOPAD_NOCASE.decode(id.as_bytes()).is_ok_and(|it| it.len() == ID)
    }

    /// Returns the text that a client keeps. It is told once.
    pub fn text(&self) -> Zeroizing<String> {
        let body = Zeroizing::new(format!("{PREFIX}{}_{}", self.id, *Zeroizing::new(encode(&self.secret))));
        Zeroizing::new(format!("{}_{}", *body, checksum(&body)))
    }

    /// Returns the identifier in what somebody gave for one, which may be the whole token: the rest is not to be shown.
    pub fn id_in(text: &str) -> &str {
        let Some(rest) = text.strip_prefix(PREFIX) else { return text };
        let id = rest.split('_').next().unwrap_or_default();
        id.get(..ID_LENGTH).unwrap_or(id)
    }

    /// Returns the part of it that may be shown.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns what the machine keeps of it.
    pub fn fingerprint(&self) -> Fingerprint {
        Sha256::digest(self.secret).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({})", self.id)
    }
}

fn encode(bytes: &[u8]) -> String {
    let mut text = BASE32_NOPAD_NOCASE.encode(bytes);
    text.make_ascii_lowercase();
    text
}

fn checksum(body: &str) -> String {
    encode(&crc32fast::hash(body.as_bytes()).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_told() {
        let token = Token::generate().unwrap();
        let text = token.text();
        assert!(text.starts_with("pic_") && text.len() == 4 + 8 + 1 + 52 + 1 + 7, "{}", text.len());
        let read = Token::parse(&text).unwrap();
        assert_eq!((read.id(), read.fingerprint()), (token.id(), token.fingerprint()));
        assert!(!format!("{token:?}").contains(&text[13..30]));
        assert_ne!(Token::generate().unwrap().fingerprint(), token.fingerprint());
    }

    #[test]
    fn a_slip_of_the_finger_is_no_token() {
        let text = Token::generate().unwrap().text();
        for place in 0..text.len() {
            let mut wrong = text.as_bytes().to_vec();
            wrong[place] = if wrong[place] == b'a' { b'b' } else { b'a' };
            assert!(Token::parse(std::str::from_utf8(&wrong).unwrap()).is_none(), "{place}");
        }
        for wrong in ["", "pic_", "pic__", "pic___", "ghp_aaaa_bbbb_cccc", &text[1..], &text[..70], "pic_é_é_é"] {
            assert!(Token::parse(wrong).is_none(), "{wrong}");
        }
    }
}
