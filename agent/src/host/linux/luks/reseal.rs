//! Slots that a TPM opens, bound to the registers as they are now.

use super::{Enrolment, Slots, sentence};
use crate::{
    host::{
        Above, HostError, KeySeen, Moved, OpenedBy, Reason, Rebound, Tpm,
        tpm::token::{self, Token},
    },
    secrets::Plain,
};

impl Slots {
    /// Gives every slot that is bound to registers a new one that is bound to what they hold now. The old one goes once the TPM
    /// gave back what opens the new one. `key` has to open the disk.
    ///
    /// # Errors
    /// When nothing is bound, the key opens nothing, a PIN is missing, or nothing could be changed. What was changed before it
    /// failed is no error: it is told, and no slot went that had no other one in its place.
    pub async fn reseal(&self, chip: &impl Tpm, key: &Plain, pin: Option<&str>) -> Result<Rebound, HostError> {
        let tokens = self.tokens().await?.into_iter();
        let tokens = tokens.map(|(_, it)| it.map_err(|error| HostError::new(Reason::Refused, sentence(error))));
        let tokens: Vec<Token> = tokens.collect::<Result<_, _>>()?;
        self.has_another_way(&tokens, key).await?;
        let mut rebound = Rebound::default();
        match self.reseal_each(chip, &tokens, (key, pin), &mut rebound.moved).await {
            Err(error) if rebound.moved.is_empty() => return Err(error),
            Err(error) => rebound.failed = Some(error.message),
            Ok(()) if rebound.moved.is_empty() => {
                return Err(HostError::new(Reason::Gone, "No slot of this disk is bound to registers of a TPM"));
            }
            Ok(()) => {}
        }
        Ok(rebound)
    }

    async fn reseal_each(
        &self,
        chip: &impl Tpm,
        tokens: &[Token],
        (key, pin): (&Plain, Option<&str>),
        moved: &mut Vec<Moved>,
    ) -> Result<(), HostError> {
        let device = self.device.strip_prefix("/dev").unwrap_or(&self.device).display().to_string();
        for token in tokens.iter().filter(|it| !it.sealed.pcrs.is_empty()) {
            let pin = match (token.sealed.pin, pin) {
                (true, None) => return Err(HostError::new(Reason::PermissionDenied, "A PIN opens this disk; say it")),
                (true, pin) => pin,
                (false, _) => None,
            };
            let above = if token.sealed.home.is_some() { Above::Shared } else { Above::Old };
            let wish = Enrolment { pcrs: token.sealed.pcrs, pin, above };
            let made = self.enrol_as(chip, key, (&wish, token.kept), token.sealed.signer.as_ref()).await?;
            if !self.is_opened(chip, &made, pin).await? {
                self.kill(made.slot, key).await?;
                return Err(HostError::new(Reason::Failed, "What the TPM gives back does not open the new slot"));
            }
            moved.push(Moved { of: None, device: device.clone(), old: token.slot, new: made.slot, kept: true });
            self.kill(token.slot, key).await?;
            moved.last_mut().into_iter().for_each(|it| it.kept = false);
        }
        Ok(())
    }

    /// Looks whether a disk that a manifest keeps is opened by something else too that somebody has, before a slot goes.
    async fn has_another_way(&self, tokens: &[Token], key: &Plain) -> Result<(), HostError> {
        let keys = self.keys().await?;
        let counts = |it: &KeySeen| it.by == OpenedBy::Passphrase || it.by == OpenedBy::Recovery && it.proved.is_some();
        if !tokens.iter().any(|it| it.kept) || keys.iter().any(counts) {
            return Ok(());
        }
        for it in keys.iter().filter(|it| it.by == OpenedBy::Recovery) {
            if self.opens(Some(it.slot), key).await? {
                return Ok(());
            }
        }
        let message = "Nobody has proved to have the recovery key of this disk: make one with `piccolo disk recovery-key` and \
                       give it here, or type it there with `--check`";
        Err(HostError::new(Reason::Refused, message))
    }

    /// Returns whether the chip gives back what opens this very slot.
    async fn is_opened(&self, chip: &impl Tpm, token: &Token, pin: Option<&str>) -> Result<bool, HostError> {
        let pin = pin.map(|it| token::pin(it, token.salt.as_deref()));
        let secret = chip.unseal(&token.sealed, pin.as_ref()).await?;
        let passphrase = Plain::new(token::passphrase(&secret).as_bytes().to_vec());
        self.opens(Some(token.slot), &passphrase).await
    }
}
