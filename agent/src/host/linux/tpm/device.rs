//! A connection to the chip, and what it tells of itself.

use std::{collections::BTreeMap, str::FromStr};

use tss_esapi::{
    Context,
    abstraction::nv,
    constants::{CapabilityType, PropertyTag},
    handles::NvIndexTpmHandle,
    interface_types::{
        algorithm::{AsymmetricAlgorithm, HashingAlgorithm},
        resource_handles::NvAuth,
        session_handles::AuthSession,
    },
    structures::CapabilityData,
    tcti_ldr::TctiNameConf,
};

use super::attempt::Failed;
use crate::host::{HostError, Pcrs, Reason, TpmSeen};

/// The most algorithms that are asked for.
const MOST: u32 = 128;
/// Where makers put the certificate of the chip's key: the one of an elliptic curve, and the one of RSA.
const CERTIFICATES: [(u32, AsymmetricAlgorithm); 2] =
    [(0x01c0_000a, AsymmetricAlgorithm::Ecc), (0x01c0_0002, AsymmetricAlgorithm::Rsa)];

/// Opens a connection.
pub(super) fn open(way: &str) -> Result<Context, HostError> {
    let wrong = || HostError::new(Reason::Refused, format!("`{way}` is no way to a TPM, as `device:/dev/tpmrm0` is"));
    let way = TctiNameConf::from_str(way).map_err(|_| wrong())?;
    Context::new(way).map_err(|error| HostError::new(Reason::Gone, format!("The TPM can't be reached ({error})")))
}

/// Asks the chip what it is; the name of the key and the certificate are for others to fill in.
pub(super) fn look(context: &mut Context) -> Result<TpmSeen, Failed> {
    let mut number = |tag| Ok::<_, Failed>(context.get_tpm_property(tag)?.unwrap_or_default());
    let maker = letters(&[number(PropertyTag::Manufacturer)?]);
    let tags = [
        PropertyTag::VendorString1,
        PropertyTag::VendorString2,
        PropertyTag::VendorString3,
        PropertyTag::VendorString4,
    ];
    let model = letters(&tags.into_iter().map(&mut number).collect::<Result<Vec<_>, _>>()?);
    let (major, minor) = (number(PropertyTag::FirmwareVersion1)?, number(PropertyTag::FirmwareVersion2)?);
    let firmware = format!("{}.{}.{}.{}", major >> 16, major & 0xffff, minor >> 16, minor & 0xffff);
    let revision = number(PropertyTag::Revision)?;
    let revision = format!("{}.{:02}", revision / 100, revision % 100);
    let wrong_pins = number(PropertyTag::LockoutCounter)?;
    Ok(TpmSeen {
        maker,
        model,
        firmware,
        revision,
        algorithms: algorithms(context)?,
        banks: banks(context)?,
        wrong_pins,
        ..TpmSeen::default()
    })
}

/// Returns the certificate that the maker gave the chip, and the kind of key that it is of, if there is one.
pub(super) fn certificate(context: &mut Context) -> Option<(Vec<u8>, AsymmetricAlgorithm)> {
    CERTIFICATES.into_iter().find_map(|(index, kind)| {
        let index = NvIndexTpmHandle::new(index).ok()?;
        let read = |context: &mut Context| nv::read_full(context, NvAuth::Owner, index);
        Some((context.execute_with_session(Some(AuthSession::Password), read).ok()?, kind))
    })
}

fn algorithms(context: &mut Context) -> Result<Vec<String>, Failed> {
    let (data, _) = context.get_capability(CapabilityType::Algorithms, 0, MOST)?;
    let CapabilityData::Algorithms(all) = data else { return Ok(Vec::new()) };
    let all: Vec<_> = all.into();
    Ok(all.iter().map(|it| format!("{:?}", it.algorithm_identifier()).to_lowercase()).collect())
}

fn banks(context: &mut Context) -> Result<BTreeMap<String, Pcrs>, Failed> {
    let (data, _) = context.get_capability(CapabilityType::AssignedPcr, 0, MOST)?;
    let CapabilityData::AssignedPcr(all) = data else { return Ok(BTreeMap::new()) };
    let named = all.get_selections().iter().map(|bank| {
        let name = match bank.hashing_algorithm() {
            HashingAlgorithm::Sha1 => "sha1".to_owned(),
            HashingAlgorithm::Sha256 => "sha256".to_owned(),
            HashingAlgorithm::Sha384 => "sha384".to_owned(),
            HashingAlgorithm::Sha512 => "sha512".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        };
        let numbers = bank.selected().into_iter().map(|slot| u64::from(u32::from(slot).trailing_zeros()));
        (name, Pcrs::of(numbers).unwrap_or_default())
    });
    Ok(named.collect())
}

/// Reads letters that are packed into numbers.
fn letters(numbers: &[u32]) -> String {
    let bytes = numbers.iter().flat_map(|number| number.to_be_bytes());
    let text: String = bytes.filter(|byte| byte.is_ascii_graphic() || *byte == b' ').map(char::from).collect();
    text.trim().to_owned()
}
