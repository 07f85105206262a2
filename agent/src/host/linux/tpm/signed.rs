//! The part of a policy that the owner of a key fills in later, by signatures over what registers may hold.

use sha2::{Digest as _, Sha256};
use tss_esapi::{
    Context,
    attributes::ObjectAttributesBuilder,
    constants::tss::{TPM2_RH_OWNER, TPM2_ST_VERIFIED},
    handles::KeyHandle,
    interface_types::{
        algorithm::{HashingAlgorithm, PublicAlgorithm},
        key_bits::RsaKeyBits,
        resource_handles::Hierarchy,
        session_handles::PolicySession,
    },
    structures::{
        Digest, Nonce, Public, PublicBuilder, PublicKeyRsa, PublicRsaParametersBuilder, RsaExponent, RsaScheme,
        RsaSignature, Signature, SymmetricDefinitionObject, VerifiedTicket,
    },
    tss2_esys::{TPM2B_DIGEST, TPMT_TK_VERIFIED},
};

use super::{
    attempt::Failed,
    work::{Show, selection},
};
use crate::host::{HostError, Reason, Signer};

/// Adds that a signature of this key is needed, or shows that there is one.
pub(super) fn authorize(
    context: &mut Context,
    policy: PolicySession,
    signer: &Signer,
    show: Show<'_>,
) -> Result<(), Failed> {
    let key = context.load_external_public(public(signer)?, Hierarchy::Owner)?;
    let done = by(context, policy, signer, key, show);
    context.flush_context(key.into())?;
    done
}

fn by(
    context: &mut Context,
    policy: PolicySession,
    signer: &Signer,
    key: KeyHandle,
    show: Show<'_>,
) -> Result<(), Failed> {
    let name = context.tr_get_name(key.into())?;
    let (approved, ticket) = match show {
        // Where only the digest is asked for, nobody looks at what was approved.
        Show::Digest => (Digest::default(), nothing()?),
        Show::Truth(signatures) => {
            context.policy_pcr(policy, Digest::default(), selection(signer.pcrs)?)?;
            let approved = context.policy_get_digest(policy)?;
            let signature = signer.signature(signatures, approved.value()).ok_or_else(unsigned)?;
            let signature = RsaSignature::create(HashingAlgorithm::Sha256, PublicKeyRsa::try_from(signature)?)?;
            let signed = Digest::try_from(Sha256::digest(approved.value()).to_vec())?;
            let ticket = context.verify_signature(key, signed, Signature::RsaSsa(signature))?;
            (approved, ticket)
        }
    };
    Ok(context.policy_authorize(policy, approved, Nonce::default(), &name, ticket)?)
}

/// Returns the key as systemd hands it to the chip: its name is part of the policy, so every field counts.
fn public(signer: &Signer) -> Result<Public, Failed> {
    let key = signer.public().map_err(|error| HostError::new(Reason::Refused, error.to_string()))?;
    let bits = u16::try_from(key.modulus.len() * 8).ok().and_then(|it| RsaKeyBits::try_from(it).ok());
    let size = || HostError::new(Reason::Refused, "The TPM knows no key of this size");
    let attributes =
        ObjectAttributesBuilder::new().with_user_with_auth(true).with_decrypt(true).with_sign_encrypt(true).build()?;
    let parameters = PublicRsaParametersBuilder::new()
        .with_symmetric(SymmetricDefinitionObject::Null)
        .with_scheme(RsaScheme::Null)
        .with_key_bits(bits.ok_or_else(size)?)
        .with_exponent(RsaExponent::create(key.exponent)?)
        .with_is_signing_key(true)
        .with_is_decryption_key(true)
        .build()?;
    Ok(PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Rsa)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_rsa_parameters(parameters)
        .with_rsa_unique_identifier(PublicKeyRsa::try_from(key.modulus)?)
        .build()?)
}

/// Returns a ticket that says nothing.
fn nothing() -> Result<VerifiedTicket, Failed> {
    let digest = TPM2B_DIGEST::default();
    Ok(TPMT_TK_VERIFIED { tag: TPM2_ST_VERIFIED, hierarchy: TPM2_RH_OWNER, digest }.try_into()?)
}

fn unsigned() -> HostError {
    let message = "No signature of the key that this was sealed for covers how the machine started: another image did, or \
                   tpm2-pcr-signature.json is missing; use the recovery key";
    HostError::new(Reason::Undecryptable, message)
}
