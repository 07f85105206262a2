//! What somebody signs to prove that a key is theirs: a challenge that holds for a while, of which nothing is remembered.
//!
//! It is a time, sealed with a key that nobody else knows. So asking for many takes nothing from the machine, and makes
//! nobody else's useless.

use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use ring::hmac::{HMAC_SHA256, Key, sign, verify};
use zeroize::Zeroizing;

/// How long one holds: somebody may have to find a device, and to type a password.
const HOLDS: Duration = Duration::from_secs(5 * 60);
/// Bytes of a time.
const TIME: usize = 8;

/// Makes challenges, and knows them again.
pub(super) struct Challenges {
    key: Key,
    since: Instant,
}

impl Challenges {
    /// Begins anew: what was made before holds no more.
    pub(super) fn new(now: Instant) -> std::io::Result<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        super::random(&mut *bytes)?;
        Ok(Self { key: Key::new(HMAC_SHA256, &*bytes), since: now })
    }

    /// Makes one.
    pub(super) fn make(&self, now: Instant) -> String {
        let time = self.time(now).to_be_bytes();
        let seal = sign(&self.key, &time);
        HEXLOWER.encode(&[&time, seal.as_ref()].concat())
    }

    /// Tells whether one was made here, and not too long ago.
    pub(super) fn holds(&self, text: &str, now: Instant) -> bool {
        let Ok(bytes) = HEXLOWER.decode(text.as_bytes()) else { return false };
        let Some((time, seal)) = bytes.split_first_chunk::<TIME>() else { return false };
        let age = self.time(now).checked_sub(u64::from_be_bytes(*time));
        verify(&self.key, time, seal).is_ok() && age.is_some_and(|it| it < HOLDS.as_secs())
    }

    fn time(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_holds_for_a_while_where_it_was_made() {
        let now = Instant::now();
        let challenges = Challenges::new(now).unwrap();
        let made = challenges.make(now + Duration::from_secs(60));
        assert!(challenges.holds(&made, now + Duration::from_secs(60)));
        assert!(challenges.holds(&made, now + Duration::from_secs(359)));
        assert!(!challenges.holds(&made, now + Duration::from_secs(360)), "it is too old");
        assert!(!challenges.holds(&made, now), "it is of a time that has not come");
        assert!(!Challenges::new(now).unwrap().holds(&made, now + Duration::from_secs(60)));
        for at in 0..made.len() {
            let mut wrong = made.clone().into_bytes();
            wrong[at] = if wrong[at] == b'0' { b'1' } else { b'0' };
            assert!(!challenges.holds(std::str::from_utf8(&wrong).unwrap(), now + Duration::from_secs(60)), "{at}");
        }
        for wrong in ["", "00", &made[..16], &made[..79], &format!("{made}00"), &made.to_uppercase(), "é"] {
            assert!(!challenges.holds(wrong, now + Duration::from_secs(60)), "{wrong}");
        }
    }
}
