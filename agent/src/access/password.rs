//! Passwords: kept as argon2id digests, and looked at one at a time, since each look takes 19 MiB of memory on purpose.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::Semaphore, task::spawn_blocking};
use zeroize::Zeroizing;

use super::{AccessError, random};

/// The fewest characters of a password.
pub(super) const SHORTEST: usize = 12;
/// The most bytes of one: more would only cost time.
pub(super) const LONGEST: usize = 1024;
/// Memory of a look, in KiB.
const MEMORY: u32 = 19 * 1024;
/// How often that memory is gone through.
const PASSES: u32 = 2;

/// What is kept of a password: its argon2id digest, with salt and costs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digest")
    }
}

/// Makes digests of passwords and compares with them.
pub(super) struct Passwords {
    /// Looks at the same time.
    place: Arc<Semaphore>,
    /// A salt of nobody's: who is asked for in vain costs as much as who is there.
    nobody: SaltString,
}

impl Passwords {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { place: Arc::new(Semaphore::new(1)), nobody: salt()? })
    }

    /// Makes a digest, once there is a place for it.
    pub(super) async fn digest(&self, password: Zeroizing<String>) -> Result<Digest, AccessError> {
        if password.chars().count() < SHORTEST || password.len() > LONGEST {
            return Err(AccessError::Password);
        }
        let salt = salt().map_err(AccessError::Random)?;
        self.with_place(move || digest(&password, &salt)).await?
    }

    /// Returns whether this is the password of the digest; of none it never is, and that takes as long.
    pub(super) async fn is(&self, digest: Option<Digest>, password: Zeroizing<String>) -> Result<bool, AccessError> {
        if password.len() > LONGEST {
            return Ok(false);
        }
        let nobody = self.nobody.clone();
        self.with_place(move || match digest {
            Some(digest) => verify(&digest.0, &password),
            None => self::digest(&password, &nobody).map(|_| false),
        })
        .await?
    }

    async fn with_place<T: Send + 'static>(&self, look: impl FnOnce() -> T + Send + 'static) -> Result<T, AccessError> {
        let ends = || AccessError::Hash("the daemon ends".to_owned());
        let place = Arc::clone(&self.place).acquire_owned().await.map_err(|_| ends())?;
        // The place is held to the end of the look, even if nobody waits for it any more.
        let looked = spawn_blocking(move || {
            let seen = look();
            drop(place);
            seen
        });
        looked.await.map_err(|_| ends())
    }
}

fn argon2() -> Result<Argon2<'static>, AccessError> {
    let params = Params::new(MEMORY, PASSES, 1, None).map_err(|it| AccessError::Hash(it.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn digest(password: &str, salt: &SaltString) -> Result<Digest, AccessError> {
    let digest = argon2()?.hash_password(password.as_bytes(), salt);
    digest.map(|it| Digest(it.to_string())).map_err(|it| AccessError::Hash(it.to_string()))
}

fn verify(digest: &str, password: &str) -> Result<bool, AccessError> {
    let kept = PasswordHash::new(digest).map_err(|it| AccessError::Hash(it.to_string()))?;
    // The costs are those that stand in the digest.
    Ok(argon2()?.verify_password(password.as_bytes(), &kept).is_ok())
}

fn salt() -> std::io::Result<SaltString> {
    let mut bytes = [0; 16];
    random(&mut bytes)?;
    SaltString::encode_b64(&bytes).map_err(|it| std::io::Error::other(it.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_digest_alone() {
        let passwords = Passwords::new().unwrap();
        let digest = passwords.digest(secret("correct horse battery")).await.unwrap();
        assert!(digest.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", digest.0);
        assert_ne!(digest, passwords.digest(secret("correct horse battery")).await.unwrap(), "the salt is another");
        assert!(passwords.is(Some(digest.clone()), secret("correct horse battery")).await.unwrap());
        for wrong in ["", "correct horse batter", "Correct horse battery", &"x".repeat(LONGEST + 1)] {
            assert!(!passwords.is(Some(digest.clone()), secret(wrong)).await.unwrap(), "{wrong}");
        }
        assert!(!passwords.is(None, secret("correct horse battery")).await.unwrap());
        assert!(passwords.is(Some(Digest("no digest".to_owned())), secret("correct horse battery")).await.is_err());
    }

    #[tokio::test]
    async fn passwords_have_bounds() {
        let passwords = Passwords::new().unwrap();
        for wrong in ["", "elevenchars", &"x".repeat(LONGEST + 1)] {
            let digest = passwords.digest(secret(wrong)).await;
            assert!(matches!(digest, Err(AccessError::Password)), "{wrong}");
        }
        assert!(passwords.digest(secret("zwölf Zeiche")).await.is_ok());
    }
}
