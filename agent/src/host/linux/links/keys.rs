//! Private keys of links: from the memory of secrets into a file that networkd, which is not root, can read.

use std::{collections::BTreeMap, fmt, fs, io, num::NonZeroU32, os::unix::fs::MetadataExt, path::PathBuf};

use piccolo_schema::link::{KeyFrom, Security};
use ring::pbkdf2;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    blocking,
    files::{group, is_open, names, prepare, read, unwritable},
};
use crate::{
    file,
    host::{
        Digests, HostError, KEY, KEYS, PASSWORD, Reason, WifiFile,
        linux::vault::{Vault, files},
    },
    secrets::Plain,
};

/// Who may read a key: root, and the group of networkd.
const MODE: u32 = 0o640;
/// How long a key of WPA2 is, and how often it is turned over, as IEEE 802.11 has it.
const KEY_BYTES: usize = 32;
const ROUNDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(4095);

/// The keys of links.
pub(super) struct Keys {
    vault: Vault,
    home: PathBuf,
}

/// The files of keys, in memory: for each link the key, and the digest of what it was made from.
#[derive(Clone, Debug)]
pub(super) struct KeyFiles(PathBuf);

/// A key as it was.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptKey {
    key: Zeroizing<String>,
    digest: String,
    owner: (u32, u32),
}

impl fmt::Debug for KeptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptKey").finish_non_exhaustive()
    }
}

impl KeyFiles {
    pub(super) fn new(home: PathBuf) -> Self {
        Self(home)
    }

    /// Returns the links whose keys are here, with the digests of these.
    fn given(&self) -> Result<BTreeMap<String, String>, HostError> {
        let all = names(&self.0).map_err(|error| unwritable(&self.0, &error))?;
        let of = |name: &String| {
            let subject = name.strip_suffix(".digest")?;
            self.key(subject).is_file().then(|| (subject.to_owned(), read(&self.0.join(name)).ok()))
        };
        Ok(all.iter().filter_map(of).filter_map(|(subject, digest)| Some((subject, digest?))).collect())
    }

    /// Returns those of them that networkd can get at. An earlier daemon made their directory for itself alone, and what lies
    /// in such a one is written anew.
    fn in_reach(&self) -> Result<BTreeMap<String, String>, HostError> {
        if is_open(&self.0) { self.given() } else { Ok(BTreeMap::new()) }
    }

    /// Returns the key of a link as it is, if networkd has one.
    pub(super) fn kept(&self, subject: &str) -> Result<Option<KeptKey>, HostError> {
        let Some(digest) = self.given()?.remove(subject) else { return Ok(None) };
        let path = self.key(subject);
        let about = fs::metadata(&path).map_err(|error| unwritable(&path, &error))?;
        Ok(Some(KeptKey { key: self.text(subject)?, owner: (about.uid(), about.gid()), digest }))
    }

    /// Puts back the keys of these links, and returns those of which one changed. One that had none has none again.
    pub(super) fn put_back(&self, kept: &BTreeMap<String, Option<KeptKey>>) -> Result<Vec<String>, HostError> {
        let mut changed = Vec::new();
        for (subject, before) in kept {
            let failed = |error: io::Error| unwritable(&self.key(subject), &error);
            let is_same = *self.text(subject)? == *before.as_ref().map_or("", |it| it.key.as_str());
            // That nobody knows what it is made from comes first: an end in between must not leave a wrong word for it.
            file::gone(fs::remove_file(self.digest(subject))).map_err(failed)?;
            match before {
                Some(it) => {
                    prepare(&self.0).map_err(failed)?;
                    files::put(&self.key(subject), it.key.as_bytes(), MODE, Some(it.owner)).map_err(failed)?;
                    file::replace(&self.digest(subject), it.digest.as_bytes()).map_err(failed)?;
                }
                None => file::gone(fs::remove_file(self.key(subject))).map_err(failed)?,
            }
            changed.extend((!is_same).then(|| subject.clone()));
        }
        Ok(changed)
    }

    /// Returns true if networkd has a key for a link.
    pub(super) fn has(&self, subject: &str) -> bool {
        self.key(subject).is_file()
    }

    fn text(&self, subject: &str) -> Result<Zeroizing<String>, HostError> {
        let path = self.key(subject);
        read(&path).map(Zeroizing::new).map_err(|error| unwritable(&path, &error))
    }

    fn key(&self, subject: &str) -> PathBuf {
        self.0.join(format!("{subject}.key"))
    }

    fn digest(&self, subject: &str) -> PathBuf {
        self.0.join(format!("{subject}.digest"))
    }
}

impl Keys {
    pub(super) fn new(vault: Vault) -> Self {
        Self { vault, home: KEYS.into() }
    }

    /// Returns what secrets hold, and the digests of the keys that networkd was given.
    pub(super) async fn seen(&self) -> Result<(Digests, BTreeMap<String, String>), HostError> {
        let (digests, _) = self.vault.given().await?;
        let files = KeyFiles::new(self.home.clone());
        Ok((digests, blocking(move || files.in_reach()).await?))
    }

    /// Writes a key, then what it was made from.
    pub(super) async fn write(&self, subject: &str, from: &KeyFrom) -> Result<(), HostError> {
        let (digests, _) = self.vault.given().await?;
        let digest = digests.get(&from.secret).and_then(|keys| keys.get(&from.key)).cloned();
        let digest = digest.ok_or_else(|| HostError::new(Reason::Gone, "The key of the link is gone again"))?;
        let (home, subject, group) = (self.home.clone(), subject.to_owned(), group()?);
        let prepared = home.clone();
        blocking(move || prepare(&prepared).map_err(|error| unwritable(&prepared, &error))).await?;
        self.vault.copy_value(&from.secret, &from.key, home.join(format!("{subject}.key")), MODE, (0, group)).await?;
        blocking(move || {
            let path = home.join(format!("{subject}.digest"));
            file::replace(&path, digest.as_bytes()).map_err(|error| unwritable(&path, &error))
        })
        .await
    }
}

impl Keys {
    /// Returns a password of a network. What is wrong with one is not told: that would repeat a part of it.
    pub(super) async fn password(&self, from: &KeyFrom, security: Security) -> Result<Plain, HostError> {
        let (secret, key) = (&from.secret, &from.key);
        let value = self.vault.value(secret, key).await?;
        let value = value.ok_or_else(|| HostError::new(Reason::Gone, "The password of the link is gone again"))?;
        let value = match value.expose().strip_suffix(b"\n") {
            Some(line) => Plain::new(line.to_vec()),
            None => value,
        };
        if security.takes(value.expose()) {
            return Ok(value);
        }
        let keys = if security == Security::Wpa2 { ", or is a key of 64 hexadecimal digits" } else { "" };
        let message = format!(
            "The value `{key}` of Secret `{secret}` is no password of a network with `{}`: such a one has 8 to 63 letters, \
             digits and signs of ASCII{keys}; `piccolo secret set {secret} {key}` sets it anew",
            security.as_str()
        );
        Err(HostError::new(Reason::Refused, message))
    }

    /// Returns the text of a file of wpa_supplicant with its password.
    pub(super) async fn fill(&self, file: &WifiFile) -> Result<Zeroizing<String>, HostError> {
        let Some(from) = &file.psk else { return Ok(Zeroizing::new(file.text.clone())) };
        let password = self.password(from, file.security).await?;
        let (text, ssid) = (file.text.clone(), file.ssid.clone());
        blocking(move || Ok(filled(&text, &ssid, password.expose()))).await
    }
}

/// Puts the password of a network into the text of a [`WifiFile`], as digits alone.
pub fn filled(text: &str, ssid: &str, password: &[u8]) -> Zeroizing<String> {
    let hex = |bytes: &[u8]| Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let text = Zeroizing::new(text.replacen(PASSWORD, &hex(password), 1));
    if !text.contains(KEY) {
        return text;
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    match std::str::from_utf8(password) {
        // It is one already.
        Ok(digits) if digits.len() == 2 * KEY_BYTES => return Zeroizing::new(text.replacen(KEY, digits, 1)),
        _ => pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA1, ROUNDS, ssid.as_bytes(), password, &mut *key),
    }
    Zeroizing::new(text.replacen(KEY, &hex(&*key), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An earlier daemon made the directory for itself alone. What lies there is written anew, and then networkd gets at it.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "it makes what an earlier daemon left")]
    fn a_key_in_a_closed_directory_counts_as_none_until_that_is_opened() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("keys");
        let files = KeyFiles::new(home.clone());
        assert_eq!(files.in_reach().unwrap(), BTreeMap::new(), "there is no directory yet");
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        for (name, text) in [("vpn.key", "a key"), ("vpn.digest", "d1"), ("lost.digest", "d2")] {
            fs::write(home.join(name), text).unwrap();
        }
        let given = BTreeMap::from([("vpn".to_owned(), "d1".to_owned())]);
        assert_eq!((files.in_reach().unwrap(), files.given().unwrap()), (BTreeMap::new(), given.clone()));
        assert!(files.has("vpn") && !files.has("lost"));
        // A trial keeps it as it was all the same.
        assert_eq!(
            files.kept("vpn").unwrap().map(|it| (it.key.to_string(), it.digest)),
            Some(("a key".into(), "d1".into()))
        );
        prepare(&home).unwrap();
        assert_eq!(files.in_reach().unwrap(), given);
    }

    /// The first is a vector of IEEE 802.11 (H.4.3); the others have characters that a file could trip over.
    #[test]
    fn a_password_goes_into_its_file_as_digits_alone() {
        let text = format!("psk={KEY}\nsae_password={PASSWORD}\n");
        assert_eq!(
            *filled(&text, "IEEE", b"password"),
            "psk=f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e\nsae_password=70617373776f7264\n"
        );
        for odd in ["\"quoted\" # and \\", "a}\u{20}network={", KEY, "<password>"] {
            let filled = filled(&text, "a\"\n#", odd.as_bytes());
            let values: Vec<_> = filled.lines().filter_map(|it| Some(it.split_once('=')?.1.to_owned())).collect();
            assert_eq!(filled.lines().count(), 2, "{odd}");
            assert!(values.iter().all(|it| it.bytes().all(|byte| byte.is_ascii_hexdigit())), "{odd}");
        }
        let key = "0F".repeat(32);
        assert_eq!(*filled(&format!("psk={KEY}\n"), "IEEE", key.as_bytes()), format!("psk={key}\n"));
    }
}
