//! A machine without a screen is claimed by whoever owns the key that its seed names.
//!
//! What is signed names the authority that the client saw. So nobody who stands between the two with a certificate of his
//! own can hand a signature on: it is for him, and for nobody else.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use piccolo_schema::Role;
use serde::{Deserialize, Serialize};

use super::{Access, AccessError, Listed, Print, PublicKey, Scope, Token, Wish, challenge::Challenges, is_label};

/// What the signature is for, as `ssh-keygen -Y sign -n` names it: one that was made for anything else counts for nothing.
pub const PURPOSE: &str = "piccolo-claim";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Whose the machine will be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claimant {
    /// The key by which they are known.
    pub(super) public: PublicKey,
    /// How long their first token holds; until it is revoked when left out, as the clock of a new machine may be years
    /// behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) days: Option<u32>,
}

/// What somebody shows who owns the key.
#[derive(Clone, Debug)]
pub struct Proof {
    /// What the machine asked to be signed.
    pub challenge: String,
    /// What the first token shall be called.
    pub label: String,
    /// The signature of [`vow`], as `ssh-keygen` writes it.
    pub signature: String,
}

/// Returns what is signed: the machine's challenge, the authority that was seen there, and what the token shall be called.
pub fn vow(challenge: &str, authority: &Print, label: &str) -> String {
    format!("I claim a piccolo\nchallenge {challenge}\nauthority {authority:#}\nlabel {label}\n")
}

impl Claimant {
    /// Returns how long the token holds; none if until it is revoked.
    fn lifetime(&self) -> Option<Duration> {
        self.days.map(|days| DAY * days)
    }
}

impl Access {
    /// Returns a challenge for whoever owns the key that the machine waits for.
    ///
    /// # Errors
    /// When it waits for none, or is claimed.
    pub fn challenge(&self, now: Instant) -> Result<String, AccessError> {
        let inner = self.inner();
        if self.is_shut || inner.credentials.claimed.is_some() {
            return Err(AccessError::Claimed);
        }
        inner.credentials.key.as_ref().ok_or(AccessError::NoKey)?;
        Ok(inner.challenges.make(now))
    }

    /// Makes the machine the one's who owns the key, and returns the first token, an admin's. `authority` is this machine's.
    /// Blocks.
    ///
    /// # Errors
    /// When it is not signed for this machine, the machine is claimed or waits for no key, or too many tried.
    pub fn claim_by_key(
        &self,
        proof: &Proof,
        authority: &Print,
        from: Option<IpAddr>,
        now: (Instant, Timestamp),
    ) -> Result<(Listed, Token), AccessError> {
        // Nobody guesses a signature: whoever tries shall not keep the owner from it.
        let account = from.map_or_else(String::new, |it| format!("claim from {it}"));
        self.limits.count(from, &account).map_err(AccessError::TooMany)?;
        self.claim_by_key_unlimited(proof, authority, now)
    }

    pub(super) fn claim_by_key_unlimited(
        &self,
        proof: &Proof,
        authority: &Print,
        now: (Instant, Timestamp),
    ) -> Result<(Listed, Token), AccessError> {
        let mut inner = self.inner();
        if self.is_shut || inner.credentials.claimed.is_some() {
            return Err(AccessError::Claimed);
        }
        let claimant = inner.credentials.key.clone().ok_or(AccessError::NoKey)?;
        if !is_label(&proof.label) {
            return Err(AccessError::Label);
        }
        let vow = vow(&proof.challenge, authority, &proof.label);
        let is_signed = inner.challenges.holds(&proof.challenge, now.0)
            && claimant.public.has_signed(PURPOSE, vow.as_bytes(), &proof.signature);
        if !is_signed {
            return Err(AccessError::NotSigned);
        }
        let (label, lifetime) = (proof.label.clone(), claimant.lifetime());
        // What was signed is used up, with every other challenge.
        inner.challenges = Challenges::new(now.0).map_err(AccessError::Random)?;
        self.make(&mut inner, &Wish { label, role: Role::Admin, scope: Scope::All, lifetime }, now.1)
    }
}

#[cfg(test)]
mod tests;
