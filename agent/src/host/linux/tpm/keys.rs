//! The keys that the chip makes of its own seeds: always the same, so none of them has to be kept.

use tss_esapi::{
    Context,
    abstraction::ek,
    attributes::ObjectAttributesBuilder,
    constants::response_code::Tss2ResponseCodeKind,
    handles::{KeyHandle, ObjectHandle, PersistentTpmHandle, TpmHandle},
    interface_types::{
        algorithm::{AsymmetricAlgorithm, HashingAlgorithm, PublicAlgorithm},
        dynamic_handles::Persistent,
        ecc::EccCurve,
        resource_handles::{Hierarchy, Provision},
        session_handles::AuthSession,
    },
    structures::{
        EccPoint, EccScheme, HashScheme, KeyDerivationFunctionScheme, Public, PublicBuilder,
        PublicEccParametersBuilder, SymmetricDefinitionObject,
    },
    traits::Marshall,
};

use super::{attempt::Failed, work::padded};
use crate::host::{Above, Home, HostError, Reason};

/// Where the storage root key lies, by the guidance of the TCG; systemd and others share it.
const SHARED: u32 = 0x8100_0001;

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Sealing. Wrong PINs of others do not lock it.
    Storage,
    /// Sealing, as systemd before 254 does it.
    OldStorage,
    /// Signing quotes, and nothing that somebody hands in.
    Signing,
}

/// Returns the key to seal under, and by what it is known if it stays in the chip.
pub(super) fn above(context: &mut Context, above: Above) -> Result<(KeyHandle, Option<Home>), Failed> {
    match above {
        Above::Shared => shared(context).map(|(key, home)| (key, Some(home))),
        Above::Old => Ok((primary(context, Hierarchy::Owner, Purpose::OldStorage)?.0, None)),
    }
}

/// Returns the storage root key that all share, made where it is missing, and by what it is known.
fn shared(context: &mut Context) -> Result<(KeyHandle, Home), Failed> {
    let handle = PersistentTpmHandle::new(SHARED)?;
    let key = match context.tr_from_tpm_public(TpmHandle::Persistent(handle)) {
        Ok(key) => key.into(),
        Err(_) => {
            let made = primary(context, Hierarchy::Owner, Purpose::Storage)?.0;
            let kept = context.execute_with_session(Some(AuthSession::Password), |it| {
                it.evict_control(Provision::Owner, made.into(), Persistent::Persistent(handle))
            });
            context.flush_context(made.into())?;
            KeyHandle::from(kept?)
        }
    };
    let (public, name, _) = context.read_public(key)?;
    Ok((key, Home::write(SHARED, name.value(), &public.marshall()?)))
}

/// Returns the key under which something was sealed. It must be the very one: another chip has another at the same place.
pub(super) fn of(context: &mut Context, home: Option<&Home>) -> Result<KeyHandle, Failed> {
    let Some(home) = home else { return Ok(primary(context, Hierarchy::Owner, Purpose::OldStorage)?.0) };
    let (handle, wanted) = home.place()?;
    let key = context.tr_from_tpm_public(TpmHandle::Persistent(PersistentTpmHandle::new(handle)?));
    let key: KeyHandle = match key {
        Ok(key) => key.into(),
        // A chip that was cleared makes another key, so it need not be made to know that.
        Err(tss_esapi::Error::Tss2Error(code)) if code.kind() == Some(Tss2ResponseCodeKind::Handle) => {
            return Err(stranger().into());
        }
        Err(error) => return Err(error.into()),
    };
    let (_, name, _) = context.read_public(key)?;
    if name.value() == wanted { Ok(key) } else { Err(stranger().into()) }
}

/// Returns the key that signs quotes, and its public area.
pub(super) fn signer(context: &mut Context) -> Result<(KeyHandle, Vec<u8>), Failed> {
    let (key, public) = primary(context, Hierarchy::Endorsement, Purpose::Signing)?;
    Ok((key, public.marshall()?))
}

/// Returns the key that certificates of makers are of, as the end of what such a certificate says of its key: the point, or the
/// number of RSA with its exponent.
pub(super) fn endorsement(context: &mut Context, kind: AsymmetricAlgorithm) -> Result<Vec<u8>, Failed> {
    let key = ek::create_ek_object(context, kind, None)?;
    let public = context.read_public(key).map(|it| it.0);
    forget(context, key, None);
    Ok(match public? {
        Public::Ecc { unique, .. } => {
            let halves = [unique.x().value(), unique.y().value()].map(padded);
            [&[4][..], &halves[0], &halves[1]].concat()
        }
        Public::Rsa { unique, .. } => [unique.value(), &[0x02, 0x03, 0x01, 0x00, 0x01][..]].concat(),
        _ => Vec::new(),
    })
}

/// Forgets a key unless it stays in the chip.
pub(super) fn forget(context: &mut Context, key: KeyHandle, home: Option<&Home>) {
    if home.is_none() {
        // The connection is closed soon, and the kernel forgets it then.
        let _ = context.flush_context(ObjectHandle::from(key));
    }
}

fn stranger() -> HostError {
    let message = "The TPM is not the one that this was sealed by, or it was cleared since; use the recovery key, then \
                   seal anew";
    HostError::new(Reason::Undecryptable, message)
}

fn primary(context: &mut Context, hierarchy: Hierarchy, purpose: Purpose) -> Result<(KeyHandle, Public), Failed> {
    let template = template(purpose)?;
    let made = context.execute_with_session(Some(AuthSession::Password), |it| {
        it.create_primary(hierarchy, template, None, None, None, None)
    })?;
    Ok((made.key_handle, made.out_public))
}

fn template(purpose: Purpose) -> Result<Public, Failed> {
    let signs = purpose == Purpose::Signing;
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_restricted(true)
        .with_no_da(purpose != Purpose::OldStorage)
        .with_sign_encrypt(signs)
        .with_decrypt(!signs)
        .build()?;
    let parameters = PublicEccParametersBuilder::new()
        .with_curve(EccCurve::NistP256)
        .with_key_derivation_function_scheme(KeyDerivationFunctionScheme::Null)
        .with_restricted(true);
    let parameters = if signs {
        let scheme = EccScheme::EcDsa(HashScheme::new(HashingAlgorithm::Sha256));
        parameters.with_ecc_scheme(scheme).with_symmetric(SymmetricDefinitionObject::Null).with_is_signing_key(true)
    } else {
        let symmetric = SymmetricDefinitionObject::AES_128_CFB;
        parameters.with_ecc_scheme(EccScheme::Null).with_symmetric(symmetric).with_is_decryption_key(true)
    };
    Ok(PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(parameters.build()?)
        .with_ecc_unique_identifier(EccPoint::default())
        .build()?)
}
