//! Slots of the TPM, bound to how the machine started this time, by a key that a person typed.

use std::path::Path;

use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    Drives, beside_the_point, clevis,
    encrypt::Worked,
    hands::KeyWork,
    key::Key,
    owner::{Locked, typed_key},
};
use crate::host::{Disks as _, HostError, KeyOrder, Meant, Moved, OpenedBy, Reason, Rebound, tpm::token::Token};

impl Drives {
    /// Gives every slot of the TPM that does not open as the machine started this time one in its place that does. The old one
    /// goes once the new one was proved. Broken off, the next call goes on.
    ///
    /// # Errors
    /// When there is no such disk, what was typed does not open it, no slot is shut, a PIN belongs to one, nobody is known to
    /// have another key, or nothing could be changed. What was changed before it failed is no error: it is told.
    pub async fn rebind(&self, meant: &Meant, typed: &Zeroizing<String>) -> Result<Rebound, HostError> {
        let _turn = self.rebinding.lock().await;
        let (all, key) = (self.encrypted(meant).await?, typed_key(typed)?);
        for it in &all {
            self.is_trusted(it, &key, meant.is_adopted()).await?;
        }
        self.rebind_all(&all, (&key, None)).await
    }

    /// Does so with the disk at a path. What nobody but its owner knows of it needs no recovery key.
    ///
    /// # Errors
    /// As above, and when a PIN is missing or wrong.
    pub async fn rebind_at(
        &self,
        path: &Path,
        typed: &Zeroizing<String>,
        pin: Option<&str>,
    ) -> Result<Rebound, HostError> {
        let _turn = self.rebinding.lock().await;
        let (it, key) = (self.at(path).await?, typed_key(typed)?);
        self.is_trusted(&it, &key, !it.luks.keys.iter().any(|it| it.bound().is_some())).await?;
        self.rebind_all(&[it], (&key, pin)).await
    }

    async fn rebind_all(&self, all: &[Locked], (key, pin): (&Key, Option<&str>)) -> Result<Rebound, HostError> {
        let (mut rebound, mut is_bound) = (Rebound::default(), false);
        for it in all {
            let done = self.rebind_one(it, (key, pin), &mut rebound.moved).await;
            // Some slots may be others by now also where one failed.
            self.keys_changed(&it.order);
            match done {
                Ok(has_any) => is_bound |= has_any,
                Err(error) if rebound.moved.is_empty() => return Err(error),
                Err(error) => {
                    rebound.failed = Some(error.message);
                    return Ok(rebound);
                }
            }
        }
        if rebound.moved.is_empty() {
            let why = if is_bound {
                "The TPM opens the disk as the machine started this time, so nothing is to be bound anew"
            } else {
                "No slot of the disk is bound to registers of a TPM"
            };
            return Err(HostError::new(Reason::Refused, why));
        }
        Ok(rebound)
    }

    /// Returns the devices that the TPM is not known to open as the machine started this time, of those that it should, by a
    /// look at them.
    ///
    /// # Errors
    /// When the disks can't be looked at.
    pub async fn unopened(&self) -> Result<Vec<String>, HostError> {
        self.disks().await?;
        Ok(self.proofs.unopened())
    }

    /// Does so with one disk, and takes down each slot at once. Returns whether any is bound to registers.
    async fn rebind_one(
        &self,
        it: &Locked,
        (key, pin): (&Key, Option<&str>),
        moved: &mut Vec<Moved>,
    ) -> Result<bool, HostError> {
        let (mut open, shut) = self.told_apart(it, pin).await?;
        let is_bound = !open.is_empty() || !shut.is_empty();
        for token in shut {
            // One that was broken off has made it already.
            let new = match open.iter().find(|it| is_alike(it, &token)) {
                Some(made) => made.slot,
                None => {
                    let slot = self.add_like(&it.order, key, self.keyring()?.seal_like(&token, pin).await?).await?;
                    open.push(Token { slot, ..token.clone() });
                    slot
                }
            };
            let of = it.order.half.as_ref().map(|it| it.what.clone());
            moved.push(Moved { of, device: it.luks.device.clone(), old: token.slot, new, kept: true });
            let seen = it.luks.keys.iter().find(|it| it.slot == token.slot);
            let what = seen.ok_or_else(beside_the_point)?.words();
            let remove = KeyWork::Remove { with: key.clone(), slot: token.slot, what, proved: false };
            self.work(&it.order, remove).await?;
            moved.last_mut().into_iter().for_each(|it| it.kept = false);
        }
        Ok(is_bound)
    }

    /// Tells the tokens that are bound to registers apart: those that the TPM opens, and those that it does not.
    async fn told_apart(&self, it: &Locked, pin: Option<&str>) -> Result<(Vec<Token>, Vec<Token>), HostError> {
        let Worked::Tokens(tokens) = self.work(&it.order, KeyWork::Tokens).await? else {
            return Err(beside_the_point());
        };
        let (ring, mut open, mut shut) = (self.keyring()?, Vec::new(), Vec::new());
        for token in bound(&tokens, pin.is_some())? {
            match ring.opens(&token, pin).await {
                Ok(()) => open.push(token),
                Err(error) if error.reason == Reason::Undecryptable => shut.push(token),
                Err(error) => return Err(error),
            }
        }
        Ok((open, shut))
    }

    /// Looks whether the key opens the disk, and whether somebody has one beside the TPM, before a slot goes. Those of a disk
    /// that was adopted are its owner's, who has typed one just now.
    async fn is_trusted(&self, it: &Locked, key: &Key, is_adopted: bool) -> Result<(), HostError> {
        let Locked { luks, order } = it;
        if !self.tries(order, key, None).await? {
            let message = format!("The key does not open /dev/{}", luks.device);
            return Err(HostError::new(Reason::PermissionDenied, message));
        }
        if is_adopted || luks.keys.iter().any(|it| it.by == OpenedBy::Passphrase || it.proved.is_some()) {
            return Ok(());
        }
        for it in luks.keys.iter().filter(|it| it.by == OpenedBy::Recovery) {
            if self.tries(order, key, Some(it.slot)).await? {
                return Ok(());
            }
        }
        let message = "Nobody has proved to have the recovery key of this disk: give that one here, or make one with \
                       `piccolo disk recovery-key`";
        Err(HostError::new(Reason::Refused, message))
    }

    async fn tries(&self, order: &KeyOrder, key: &Key, slot: Option<u8>) -> Result<bool, HostError> {
        match self.work(order, KeyWork::Try { key: key.clone(), slot }).await? {
            Worked::Opens(opens) => Ok(opens),
            _ => Err(beside_the_point()),
        }
    }

    /// Adds what the TPM gave back; whoever adds it proves that it opens its slot.
    async fn add_like(&self, order: &KeyOrder, with: &Key, (new, token): (Key, Value)) -> Result<u8, HostError> {
        let add = KeyWork::Add { with: with.clone(), new, is_chosen: false, token };
        match self.work(order, add).await? {
            Worked::Slot(slot) => Ok(slot),
            _ => Err(beside_the_point()),
        }
    }
}

/// Returns the tokens that are bound to registers.
fn bound(tokens: &[String], has_pin: bool) -> Result<Vec<Token>, HostError> {
    let mut all = Vec::new();
    for text in tokens.iter().filter(|it| !clevis::is_one(it)) {
        let strange = |error| HostError::new(Reason::Refused, format!("A slot of the TPM can't be used here: {error}"));
        let token = Token::read(text).map_err(strange)?;
        if token.sealed.pcrs.is_empty() {
            continue;
        }
        if token.sealed.pin && !has_pin {
            let message = format!(
                "A PIN belongs to slot {}: bind it anew as root on the machine, by `piccolo trust reseal --disk PATH --pin`",
                token.slot
            );
            return Err(HostError::new(Reason::Refused, message));
        }
        all.push(token);
    }
    Ok(all)
}

/// Returns true if two slots open by the same things.
fn is_alike(one: &Token, other: &Token) -> bool {
    let of = |it: &Token| (it.sealed.pcrs, it.sealed.signer.clone(), it.sealed.pin, it.kept);
    of(one) == of(other)
}
