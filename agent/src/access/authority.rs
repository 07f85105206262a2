//! The machine's own certificate authority, and the certificate that it shows.
//!
//! Who knows the authority trusts every certificate under it, so that the one that is shown may change as often as it
//! has to: every few weeks, and whenever the machine's names do.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{names::Names, print::Print};
use crate::file;

/// How long a certificate holds.
const HOLDS: SignedDuration = SignedDuration::from_hours(90 * 24);
/// When another one is made, before the end of that.
const EARLY: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long before now a certificate begins: other clocks are not quite right.
const BACK: SignedDuration = SignedDuration::from_hours(24);
/// The last second of 2199.
const LAST: u64 = 7_258_118_400;
const KEY: &str = "ca.key";
const CERTIFICATE: &str = "ca.pem";
const LEAF: &str = "leaf.json";

/// The authority of this machine.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: Arc<str>,
    directory: PathBuf,
}

/// Why there is no authority, or no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file can't be read.
    #[error("can't read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file can't be written.
    #[error("can't write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// A file holds something else. It is never written over: without it every client has to be told of the machine anew.
    #[error("{} holds nothing that can be used; put the right file back, or remove it to begin anew", .0.display())]
    Damaged(PathBuf),
    /// A key or a certificate can't be made.
    #[error("can't make a certificate ({0})")]
    Make(String),
}

/// What is shown to clients.
#[derive(Serialize, Deserialize)]
struct Leaf {
    names: Names,
    from: Timestamp,
    until: Timestamp,
    certificate: String,
    key: Zeroizing<String>,
}

impl Authority {
    /// Reads the authority from this directory, or makes it on the first start.
    ///
    /// # Errors
    /// When files can't be read, written or used.
    pub fn open(directory: &Path) -> Result<Self, AuthorityError> {
        Self::open_with(directory, None)
    }

    /// The same with a key that is kept elsewhere.
    ///
    /// # Errors
    /// When files can't be read, written or used.
    pub fn open_with(directory: &Path, key: Option<Zeroizing<String>>) -> Result<Self, AuthorityError> {
        let (key_path, path) = (directory.join(KEY), directory.join(CERTIFICATE));
        let key = match key.map_or_else(|| fs::read_to_string(&key_path).map(Zeroizing::new), Ok) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(not_made)?;
                let text = Zeroizing::new(made.serialize_pem());
                write(&key_path, text.as_bytes())?;
                text
            }
            Err(error) => return Err(AuthorityError::Read(key_path, error)),
        };
        let key = KeyPair::from_pem(&key).map_err(|_| AuthorityError::Damaged(key_path))?;
        let params = params(&key);
        let pem = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = params.self_signed(&key).map_err(not_made)?.pem();
                write(&path, text.as_bytes())?;
                text
            }
            Err(error) => return Err(AuthorityError::Read(path, error)),
        };
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| AuthorityError::Damaged(path))?;
        let issuer = Issuer::new(params, key);
        Ok(Self { issuer, certificate, pem: pem.into(), directory: directory.to_owned() })
    }

    /// Returns by what people know it.
    pub fn print(&self) -> Print {
        Print::of(&self.certificate)
    }

    /// Returns its certificate, in PEM.
    pub fn pem(&self) -> Arc<str> {
        Arc::clone(&self.pem)
    }

    /// Returns a certificate for these names that holds now, and when to ask again: the one that was shown before, if it
    /// still does.
    ///
    /// # Errors
    /// When it can't be made or written.
    pub fn leaf(&self, names: &Names, now: Timestamp) -> Result<(Arc<CertifiedKey>, Timestamp), AuthorityError> {
        let path = self.directory.join(LEAF);
        // One that can't be read is made anew: nobody knows it by itself.
        let kept = fs::read(&path).ok().and_then(|it| serde_json::from_slice::<Leaf>(&it).ok());
        let leaf = match kept.filter(|it| it.names == *names && it.holds(now)) {
            Some(leaf) => leaf,
            None => {
                let leaf = self.make(names, now)?;
                let text = serde_json::to_vec(&leaf).map(Zeroizing::new).map_err(not_made)?;
                write(&path, &text)?;
                leaf
            }
        };
        let until = leaf.renewed_at();
        Ok((Arc::new(self.shown(&leaf).ok_or(AuthorityError::Damaged(path))?), until))
    }

    fn make(&self, names: &Names, now: Timestamp) -> Result<Leaf, AuthorityError> {
        let (from, until) = span(now).ok_or_else(|| not_made("the clock of this machine is far off"))?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(not_made)?;
        let mut params = CertificateParams::new(names.for_certificate()).map_err(not_made)?;
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, "Piccolo");
        let epoch = date_time_ymd(1970, 1, 1);
        (params.not_before, params.not_after) = (epoch + from.1, epoch + until.1);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(not_made)?.pem();
        let key = Zeroizing::new(key.serialize_pem());
        Ok(Leaf { names: names.clone(), from: from.0, until: until.0, certificate, key })
    }

    /// Returns what TLS shows, with the authority, so that a client can compare its fingerprint.
    fn shown(&self, leaf: &Leaf) -> Option<CertifiedKey> {
        let certificate = CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).ok()?;
        let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).ok()?;
        Some(CertifiedKey::new(vec![certificate, self.certificate.clone()], any_supported_type(&key).ok()?))
    }
}

impl Leaf {
    /// A clock that was far off when it was made is no reason to show it for ever.
    fn holds(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.renewed_at()
    }

    fn renewed_at(&self) -> Timestamp {
        self.until.checked_sub(EARLY).unwrap_or(self.until)
    }
}

/// The same for a key at every start. A clock may be far off at the first one, so it holds from before until long after.
fn params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let name = format!("Piccolo {}", Print::of(key.public_key_raw()));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (date_time_ymd(1970, 1, 1), date_time_ymd(2120, 1, 1));
    params
}

/// Returns from when to when a certificate holds that is made now, also as the time since 1970. None before 1970 and after
/// 2200, where the arithmetic of dates ends somewhere.
fn span(now: Timestamp) -> Option<((Timestamp, Duration), (Timestamp, Duration))> {
    let at = |instant: Timestamp| {
        let seconds = u64::try_from(instant.as_second()).ok().filter(|it| *it < LAST)?;
        Some((Timestamp::from_second(instant.as_second()).ok()?, Duration::from_secs(seconds)))
    };
    Some((at(now.checked_sub(BACK).ok()?.max(Timestamp::UNIX_EPOCH))?, at(now.checked_add(HOLDS).ok()?)?))
}

fn not_made(error: impl std::fmt::Display) -> AuthorityError {
    AuthorityError::Make(error.to_string())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), AuthorityError> {
    file::replace(path, bytes).map_err(|error| AuthorityError::Write(path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(host: &str) -> Names {
        Names::new(host, ["192.0.2.1".parse().unwrap()], &[])
    }

    #[test]
    fn an_authority_stays_and_what_it_shows_follows_the_names() {
        let room = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let authority = Authority::open(room.path()).unwrap();
        let (first, until) = authority.leaf(&names("attic"), now).unwrap();
        assert_eq!(until, now + HOLDS - EARLY);
        let again = Authority::open(room.path()).unwrap();
        assert_eq!(again.print(), authority.print());
        assert_eq!(again.leaf(&names("attic"), now).unwrap().0.cert, first.cert);
        let (renamed, _) = again.leaf(&names("cellar"), now).unwrap();
        assert!(renamed.cert[0] != first.cert[0] && renamed.cert[1] == first.cert[1]);
        assert_eq!(Print::of(&renamed.cert[1]), authority.print());
        let (renewed, _) = again.leaf(&names("cellar"), until).unwrap();
        assert_ne!(renewed.cert[0], renamed.cert[0]);
        let (early, _) = again.leaf(&names("cellar"), now).unwrap();
        assert_ne!(early.cert[0], renewed.cert[0], "it is shown before it holds");
        for file in [KEY, LEAF] {
            assert_eq!(fs::metadata(room.path().join(file)).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_damaged_key_is_not_written_over() {
        let room = tempfile::tempdir().unwrap();
        let print = Authority::open(room.path()).unwrap().print();
        let key = fs::read(room.path().join(KEY)).unwrap();
        file::replace(&room.path().join(KEY), b"damaged").unwrap();
        assert!(matches!(Authority::open(room.path()), Err(AuthorityError::Damaged(_))));
        file::replace(&room.path().join(KEY), &key).unwrap();
        assert_eq!(Authority::open(room.path()).unwrap().print(), print);
        file::replace(&room.path().join(LEAF), b"{}").unwrap();
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        assert!(Authority::open(room.path()).unwrap().leaf(&names("attic"), now).is_ok());
    }
}
