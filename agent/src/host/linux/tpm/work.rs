//! The verbs, each with a connection of its own.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use tss_esapi::{
    Context,
    attributes::{ObjectAttributesBuilder, SessionAttributesBuilder},
    constants::SessionType,
    handles::{KeyHandle, ObjectHandle, SessionHandle},
    interface_types::{
        algorithm::{HashingAlgorithm, PublicAlgorithm},
        session_handles::{AuthSession, PolicySession},
    },
    structures::{
        Auth, Data, Digest, KeyedHashScheme, PcrSelectionList, PcrSelectionListBuilder, PcrSlot, Private, Public,
        PublicBuilder, PublicKeyedHashParameters, SensitiveData, Signature, SignatureScheme, SymmetricDefinition,
    },
    traits::{Marshall, UnMarshall},
};
use zeroize::Zeroizing;

use super::{attempt::Failed, device, keys, signed};
use crate::host::{Above, HostError, Pcrs, Quote, Reason, Sealed, Terms, TpmSeen};

/// The PIN as the chip takes it.
type Pin<'a> = Option<&'a Zeroizing<Vec<u8>>>;

/// What a session of a policy is for.
#[derive(Clone, Copy)]
pub(super) enum Show<'a> {
    /// To say which digest the policy has.
    Digest,
    /// To show that it is kept, with these signatures over registers.
    Truth(&'a [u8]),
}

/// Says what chip it is.
pub(super) fn look(way: &str) -> Result<TpmSeen, HostError> {
    let mut context = device::open(way)?;
    let mut look = || {
        let mut seen = device::look(&mut context)?;
        let (key, public) = keys::signer(&mut context)?;
        keys::forget(&mut context, key, None);
        seen.signer = name(&public);
        if let Some((certificate, kind)) = device::certificate(&mut context) {
            // One that the chip does not make, by the template of its maker, can't be compared.
            seen.endorsement = keys::endorsement(&mut context, kind).ok();
            seen.certificate_der = Some(certificate);
        }
        seen.certificate = seen.certificate_der.as_ref().map(|it| HEXLOWER.encode(&Sha256::digest(it)));
        Ok(seen)
    };
    look().map_err(|error: Failed| error.told("say what it is"))
}

/// Seals a secret.
pub(super) fn seal(
    way: &str,
    secret: &Zeroizing<Vec<u8>>,
    terms: &Terms,
    pin: Pin<'_>,
    above: Above,
) -> Result<Sealed, HostError> {
    let mut context = device::open(way)?;
    let mut seal = || {
        let (key, home) = keys::above(&mut context, above)?;
        let (policy, digest) = policy(&mut context, key, Show::Digest, terms, pin.is_some())?;
        context.flush_context(SessionHandle::from(policy).into())?;
        let template = template(&digest, pin.is_some())?;
        let (auth, data) = (auth(pin)?, SensitiveData::try_from(secret.to_vec())?);
        let session = hidden(&mut context, key, None)?;
        let made =
            context.execute_with_session(Some(session), |it| it.create(key, template, auth, Some(data), None, None));
        context.flush_context(SessionHandle::from(session).into())?;
        keys::forget(&mut context, key, home.as_ref());
        let made = made?;
        let blob = Sealed::joined(made.out_private.value(), &made.out_public.marshall()?);
        let (pcrs, signer) = (terms.pcrs, terms.signer.clone());
        Ok(Sealed { blob, pcrs, pin: pin.is_some(), policy: digest.value().to_vec(), signer, home })
    };
    seal().map_err(|error: Failed| error.told("seal the secret"))
}

/// Returns what is made of a secret: data that opens by this policy alone.
fn template(policy: &Digest, has_pin: bool) -> Result<Public, Failed> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        // Only who tries PINs can be made to wait.
        .with_no_da(!has_pin)
        .build()?;
    Ok(PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::KeyedHash)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_auth_policy(policy.clone())
        .with_keyed_hash_parameters(PublicKeyedHashParameters::new(KeyedHashScheme::Null))
        .with_keyed_hash_unique_identifier(Digest::default())
        .build()?)
}

/// Gives a secret back.
pub(super) fn unseal(
    way: &str,
    sealed: &Sealed,
    pin: Pin<'_>,
    signatures: &[u8],
) -> Result<Zeroizing<Vec<u8>>, HostError> {
    if sealed.pin && pin.is_none() {
        return Err(HostError::new(Reason::PermissionDenied, "This is sealed with a PIN, which is needed to open it"));
    }
    let mut context = device::open(way)?;
    let mut unseal = || {
        let (private, public) = sealed.parts()?;
        let key = keys::of(&mut context, sealed.home.as_ref())?;
        let (private, public) = (Private::try_from(private.to_vec())?, Public::unmarshall(public)?);
        let object = context.execute_with_session(Some(AuthSession::Password), |it| it.load(key, private, public))?;
        let object = ObjectHandle::from(object);
        if let Some(auth) = auth(pin.filter(|_| sealed.pin))? {
            context.tr_set_auth(object, auth)?;
        }
        let session = hidden(&mut context, key, Some(object))?;
        let (policy, _) = policy(&mut context, key, Show::Truth(signatures), &Terms::of(sealed), sealed.pin)?;
        // The policy first: that is the order in which the chip looks at them.
        let secret = context.execute_with_sessions((Some(policy), Some(session), None), |it| it.unseal(object));
        for left in [SessionHandle::from(session).into(), SessionHandle::from(policy).into(), object] {
            // A session that failed is gone already.
            let _ = context.flush_context(left);
        }
        keys::forget(&mut context, key, sealed.home.as_ref());
        Ok(Zeroizing::new(secret?.value().to_vec()))
    };
    unseal().map_err(|error: Failed| error.told("open what is sealed"))
}

/// Signs what the registers hold.
pub(super) fn quote(way: &str, nonce: &[u8], pcrs: Pcrs) -> Result<Quote, HostError> {
    let mut context = device::open(way)?;
    let mut quote = || {
        let selection = selection(pcrs)?;
        let registers = held(&mut context, pcrs)?;
        let (key, signer) = keys::signer(&mut context)?;
        let nonce = Data::try_from(nonce.to_vec())?;
        let signed = context.execute_with_session(Some(AuthSession::Password), |it| {
            it.quote(key, nonce, SignatureScheme::Null, selection)
        });
        keys::forget(&mut context, key, None);
        let (attest, signature) = signed?;
        let Signature::EcDsa(signature) = signature else {
            return Err(HostError::new(Reason::Failed, "The TPM signed in a way that nobody asked for").into());
        };
        let halves = [signature.signature_r().value(), signature.signature_s().value()].map(padded);
        Ok(Quote { attest: attest.marshall()?, signature: halves.concat(), signer, registers })
    };
    quote().map_err(|error: Failed| error.told("sign a quote"))
}

/// Says what registers hold.
pub(super) fn registers(way: &str, pcrs: Pcrs) -> Result<BTreeMap<u8, String>, HostError> {
    let mut context = device::open(way)?;
    held(&mut context, pcrs).map_err(|error| error.told("tell what its registers hold"))
}

/// Reads registers; a chip tells a few at a time.
fn held(context: &mut Context, pcrs: Pcrs) -> Result<BTreeMap<u8, String>, Failed> {
    let mut all = BTreeMap::new();
    for number in pcrs.iter() {
        let one = selection(Pcrs::of([number.into()]).unwrap_or_default())?;
        let (_, _, digests) = context.pcr_read(one)?;
        let value = digests.value().first().map(|it| HEXLOWER.encode(it.value()));
        all.insert(number, value.unwrap_or_default());
    }
    Ok(all)
}

/// Opens a session that shows the policy, and returns its digest.
fn policy(
    context: &mut Context,
    key: KeyHandle,
    show: Show<'_>,
    terms: &Terms,
    pin: bool,
) -> Result<(AuthSession, Digest), Failed> {
    let kind = if matches!(show, Show::Digest) { SessionType::Trial } else { SessionType::Policy };
    let session = session(context, key, None, kind)?;
    let policy = PolicySession::try_from(session)?;
    // This order is part of the form that systemd keeps.
    if let Some(signer) = &terms.signer {
        signed::authorize(context, policy, signer, show)?;
    }
    if !terms.pcrs.is_empty() {
        let held = terms.values.as_ref().map(wanted).transpose()?;
        context.policy_pcr(policy, held.unwrap_or_default(), selection(terms.pcrs)?)?;
    }
    if pin {
        context.policy_auth_value(policy)?;
    }
    let digest = context.policy_get_digest(policy)?;
    Ok((session, digest))
}

/// Returns the digest of what registers have to hold, one after the other.
fn wanted(values: &BTreeMap<u8, String>) -> Result<Digest, Failed> {
    let wrong = || HostError::new(Reason::Refused, "Registers hold 32 bytes in hexadecimal");
    let mut all = Sha256::new();
    for value in values.values() {
        let value = HEXLOWER.decode(value.as_bytes()).ok().filter(|it| it.len() == 32);
        all.update(value.ok_or_else(wrong)?);
    }
    Ok(Digest::try_from(all.finalize().to_vec())?)
}

/// Opens a session that encrypts what goes to the chip and what comes from it: nobody on the wires between reads it.
fn hidden(context: &mut Context, key: KeyHandle, bound: Option<ObjectHandle>) -> Result<AuthSession, Failed> {
    let session = session(context, key, bound, SessionType::Hmac)?;
    let (attributes, mask) =
        SessionAttributesBuilder::new().with_decrypt(true).with_encrypt(true).with_continue_session(true).build();
    context.tr_sess_set_attributes(session, attributes, mask)?;
    Ok(session)
}

fn session(
    context: &mut Context,
    key: KeyHandle,
    bound: Option<ObjectHandle>,
    kind: SessionType,
) -> Result<AuthSession, Failed> {
    let cipher = SymmetricDefinition::AES_128_CFB;
    let session = context.start_auth_session(Some(key), bound, None, kind, cipher, HashingAlgorithm::Sha256)?;
    Ok(session.ok_or_else(|| HostError::new(Reason::Failed, "The TPM gave no session"))?)
}

pub(super) fn selection(pcrs: Pcrs) -> Result<PcrSelectionList, Failed> {
    let slots: Vec<PcrSlot> = pcrs.iter().map(|number| PcrSlot::try_from(1_u32 << number)).collect::<Result<_, _>>()?;
    Ok(PcrSelectionListBuilder::new().with_selection(HashingAlgorithm::Sha256, &slots).build()?)
}

fn auth(pin: Pin<'_>) -> Result<Option<Auth>, Failed> {
    Ok(pin.map(|pin| Auth::try_from(pin.to_vec())).transpose()?)
}

/// Returns the name that the chip knows a key by.
fn name(public: &[u8]) -> String {
    format!("000b{}", HEXLOWER.encode(&Sha256::digest(public)))
}

/// Writes a number of a signature in 32 bytes; the chip leaves zeros at its beginning away.
pub(super) fn padded(number: &[u8]) -> [u8; 32] {
    let mut all = [0; 32];
    let digits = &number[number.len().saturating_sub(32)..];
    all[32 - digits.len()..].copy_from_slice(digits);
    all
}
