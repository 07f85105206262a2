//! Slots of the TPM, bound to how the machine started this time, by a key that a person typed.

use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    Drives, beside_the_point, clevis,
    encrypt::Worked,
    hands::KeyWork,
    key::Key,
    owner::{Locked, typed_key},
};
use crate::host::{HostError, KeyOrder, Meant, Moved, OpenedBy, Reason, tpm::token::Token};

impl Drives {
    /// Gives every slot of the TPM that does not open as the machine started this time one in its place that does, and returns
    /// both numbers of each. The old one goes once the new one was proved. Broken off, the next call goes on.
    ///
    /// # Errors
    /// When there is no such disk, what was typed does not open it, no slot is shut, a PIN belongs to one, or nobody is known
    /// to have another key.
    pub async fn rebind(&self, meant: &Meant, typed: &Zeroizing<String>) -> Result<Vec<Moved>, HostError> {
        let _turn = self.rebinding.lock().await;
        let (all, key) = (self.encrypted(meant).await?, typed_key(typed)?);
        for it in &all {
            self.is_trusted(it, &key).await?;
        }
        let (mut moved, mut is_bound) = (Vec::new(), false);
        for it in &all {
            let (open, shut) = self.told_apart(it).await?;
            is_bound |= !open.is_empty() || !shut.is_empty();
            let done = self.rebind_one(it, &key, open, shut).await;
            // Some slots may be others by now also where one failed.
            self.keys_changed(&it.order);
            moved.extend(done?);
        }
        if moved.is_empty() {
            let why = if is_bound {
                "The TPM opens the disk as the machine started this time, so nothing is to be bound anew"
            } else {
                "No slot of the disk is bound to registers of a TPM"
            };
            return Err(HostError::new(Reason::Refused, why));
        }
        Ok(moved)
    }

    async fn rebind_one(
        &self,
        it: &Locked,
        key: &Key,
        mut open: Vec<Token>,
        shut: Vec<Token>,
    ) -> Result<Vec<Moved>, HostError> {
        let mut moved = Vec::new();
        for token in shut {
            // One that was broken off has made it already.
            let slot = match open.iter().find(|it| is_alike(it, &token)) {
                Some(made) => made.slot,
                None => {
                    let slot = self.add_like(&it.order, key, self.keyring()?.seal_like(&token).await?).await?;
                    open.push(Token { slot, ..token.clone() });
                    slot
                }
            };
            let seen = it.luks.keys.iter().find(|it| it.slot == token.slot);
            let what = seen.ok_or_else(beside_the_point)?.words();
            let remove = KeyWork::Remove { with: key.clone(), slot: token.slot, what, proved: false };
            self.work(&it.order, remove).await?;
            let of = it.order.half.as_ref().map(|it| it.what.clone());
            moved.push(Moved { of, old: token.slot, new: slot });
        }
        Ok(moved)
    }

    /// Tells the tokens that are bound to registers apart: those that the TPM opens, and those that it does not.
    async fn told_apart(&self, it: &Locked) -> Result<(Vec<Token>, Vec<Token>), HostError> {
        let Worked::Tokens(tokens) = self.work(&it.order, KeyWork::Tokens).await? else {
            return Err(beside_the_point());
        };
        let (ring, mut open, mut shut) = (self.keyring()?, Vec::new(), Vec::new());
        for token in bound(&tokens)? {
            match ring.opens(&token).await {
                Ok(()) => open.push(token),
                Err(error) if error.reason == Reason::Undecryptable => shut.push(token),
                Err(error) => return Err(error),
            }
        }
        Ok((open, shut))
    }

    /// Looks whether the key opens the disk, and whether somebody has one beside the TPM, before a slot goes.
    async fn is_trusted(&self, it: &Locked, key: &Key) -> Result<(), HostError> {
        let Locked { luks, order } = it;
        if !self.tries(order, key, None).await? {
            let message = format!("The key does not open /dev/{}", luks.device);
            return Err(HostError::new(Reason::PermissionDenied, message));
        }
        if luks.keys.iter().any(|it| it.by == OpenedBy::Passphrase || it.proved.is_some()) {
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
fn bound(tokens: &[String]) -> Result<Vec<Token>, HostError> {
    let mut all = Vec::new();
    for text in tokens.iter().filter(|it| !clevis::is_one(it)) {
        let strange = |error| HostError::new(Reason::Refused, format!("A slot of the TPM can't be used here: {error}"));
        let token = Token::read(text).map_err(strange)?;
        if token.sealed.pcrs.is_empty() {
            continue;
        }
        if token.sealed.pin {
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
    let of = |it: &Token| (it.sealed.pcrs, it.sealed.signer.clone(), it.kept);
    of(one) == of(other)
}
