//! Whether a maker of chips vouches for the TPM of this machine: by its certificate, and by those of makers that the owner put
//! into a directory.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject};
use serde::Serialize;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// The most files that are looked at, and the most bytes of each.
const MOST: usize = 256;
const LARGEST: u64 = 256 << 10;
/// What such a certificate is for, if it says so: 2.23.133.8.1.
const OF_A_CHIP: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];

/// Whether a maker vouches for the chip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Vouched {
    /// The file with the certificate that signed the one of the chip.
    pub by: Option<String>,
    /// Whether the certificate is of the very key that this chip makes; left out where that can't be looked at.
    #[serde(rename = "ofThisChip", skip_serializing_if = "Option::is_none")]
    pub of_this_chip: Option<bool>,
    /// That in a sentence.
    pub message: String,
}

impl Vouched {
    /// Looks whether this certificate is of the chip's own key, and who signed it, among those in this directory.
    pub fn find(certificate: &[u8], endorsement: Option<&[u8]>, makers: &Path, now: UnixTime) -> Self {
        let certificate = CertificateDer::from(whole(certificate));
        let Ok(chip) = EndEntityCert::try_from(&certificate) else {
            let message = "the certificate of the TPM can't be read".to_owned();
            return Self { by: None, of_this_chip: None, message };
        };
        let own = endorsement.filter(|it| !it.is_empty());
        let of_this_chip = own.map(|key| chip.subject_public_key_info().ends_with(key));
        if of_this_chip == Some(false) {
            let message =
                "the certificate is of another chip's key than this one makes: trust it for nothing".to_owned();
            return Self { by: None, of_this_chip, message };
        }
        Self { of_this_chip, ..Self::signed(&chip, makers, now) }
    }

    fn signed(chip: &EndEntityCert<'_>, makers: &Path, now: UnixTime) -> Self {
        let no = |message: String| Self { by: None, of_this_chip: None, message };
        let files = match files(makers) {
            Ok(files) if !files.is_empty() => files,
            Ok(_) => return no(format!("no certificate of a maker lies in {}", makers.display())),
            Err(error) => return no(format!("{} can't be read ({error})", makers.display())),
        };
        let mut why = "none of those makers signed it".to_owned();
        for (name, bytes) in files {
            for maker in certificates(&bytes) {
                let Ok(anchor) = anchor_from_trusted_cert(&maker) else { continue };
                let usage = KeyUsage::required_if_present(OF_A_CHIP);
                match chip.verify_for_usage(ALL_VERIFICATION_ALGS, &[anchor], &[], now, usage, None, None) {
                    Ok(_) => {
                        let message = format!("the maker in {name} vouches for it");
                        return Self { by: Some(name), of_this_chip: None, message };
                    }
                    Err(webpki::Error::UnknownIssuer) => {}
                    Err(error) => why = format!("the maker in {name} does not vouch for it ({error})"),
                }
            }
        }
        no(why)
    }
}

/// Leaves away what some chips fill the place of their certificate up with.
fn whole(bytes: &[u8]) -> &[u8] {
    let length = match bytes {
        [0x30, 0x82, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])) + 4,
        _ => bytes.len(),
    };
    &bytes[..length.min(bytes.len())]
}

/// Reads the files of a directory, by their names; one that is not there holds none.
fn files(directory: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut all = Vec::new();
    for entry in entries.take(MOST) {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let mut bytes = Vec::new();
            File::open(entry.path())?.take(LARGEST).read_to_end(&mut bytes)?;
            all.push((entry.file_name().to_string_lossy().into_owned(), bytes));
        }
    }
    all.sort();
    Ok(all)
}

/// Returns the certificates of a file, as text (PEM) or as they are.
fn certificates(bytes: &[u8]) -> Vec<CertificateDer<'static>> {
    let as_text: Vec<_> = CertificateDer::pem_slice_iter(bytes).filter_map(Result::ok).take(MOST).collect();
    if as_text.is_empty() { vec![CertificateDer::from(bytes.to_vec())] } else { as_text }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

    use super::*;
    use crate::file;

    fn maker(name: &str) -> (Issuer<'static, KeyPair>, Vec<u8>, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = params.self_signed(&key).unwrap();
        (Issuer::new(params, key), own.der().to_vec(), own.pem())
    }

    fn chip(of: &Issuer<'static, KeyPair>, usage: Option<ExtendedKeyUsagePurpose>) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.extended_key_usages = usage.into_iter().collect();
        params.signed_by(&KeyPair::generate().unwrap(), of).unwrap().der().to_vec()
    }

    #[test]
    fn a_maker_vouches_for_what_it_signed_and_for_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let makers = dir.path().join("makers");
        let find = |certificate: &[u8]| Vouched::find(certificate, None, &makers, UnixTime::now());
        let ((ours, der, _), (others, _, pem)) = (maker("ours"), maker("others"));
        let it = chip(&ours, Some(ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 1])));
        assert!(find(&it).by.is_none() && find(&it).message.contains("no certificate of a maker lies in"));
        file::replace(&makers.join("others.pem"), pem.as_bytes()).unwrap();
        assert_eq!(
            find(&it),
            Vouched { by: None, of_this_chip: None, message: "none of those makers signed it".to_owned() }
        );
        file::replace(&makers.join("ours.der"), &der).unwrap();
        assert_eq!(find(&it).by.as_deref(), Some("ours.der"));
        // Some chips fill up the place of it.
        assert_eq!(find(&[&it[..], &[0xff; 100]].concat()).by.as_deref(), Some("ours.der"));
        assert_eq!(find(&chip(&others, None)).by.as_deref(), Some("others.pem"));
        // One of another chip's key counts for nothing, whoever signed it.
        let own = |end: &[u8]| Vouched::find(&it, Some(end), &makers, UnixTime::now());
        let spki = EndEntityCert::try_from(&CertificateDer::from(it.clone())).unwrap().subject_public_key_info();
        let (key, chip_of_another) = (&spki[spki.len() - 65..], [4; 65]);
        assert!(own(key).by.is_some() && own(key).of_this_chip == Some(true));
        assert!(own(&chip_of_another).by.is_none() && own(&chip_of_another).of_this_chip == Some(false));
        // One for servers is none of a chip.
        let server = find(&chip(&ours, Some(ExtendedKeyUsagePurpose::ServerAuth)));
        assert!(server.by.is_none() && server.message.contains("does not vouch for it"), "{server:?}");
        for at in (0..it.len()).step_by(5) {
            let mut changed = it.clone();
            changed[at] ^= 1;
            assert_eq!(find(&changed).by, None, "{at}");
        }
        let late = UnixTime::since_unix_epoch(std::time::Duration::from_secs(200_000_000_000));
        assert_eq!(Vouched::find(&it, None, &makers, late).by, None);
        assert_eq!(find(b"").by, None);
    }
}
