//! Private keys of links: from the memory of secrets into a file that networkd, which is not root, can read.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
};

use piccolo_schema::link::KeyFrom;

use super::{
    blocking,
    files::{names, put, read, unwritable},
};
use crate::host::{Digests, HostError, KEYS, Reason, linux::vault::Vault};

/// The user that networkd runs as.
const READER: &str = "systemd-network";
/// Who may read a key: root, and the group of networkd.
const MODE: u32 = 0o640;

/// The keys of links.
pub(super) struct Keys {
    vault: Vault,
    home: PathBuf,
}

impl Keys {
    pub(super) fn new(vault: Vault) -> Self {
        Self { vault, home: KEYS.into() }
    }

    /// Returns what secrets hold, and the digests of the keys that networkd was given.
    pub(super) async fn seen(&self) -> Result<(Digests, BTreeMap<String, String>), HostError> {
        let (digests, _) = self.vault.given().await?;
        let home = self.home.clone();
        let given = blocking(move || {
            let all = names(&home).map_err(|error| unwritable(&home, &error))?;
            let of = |name: &String| {
                let subject = name.strip_suffix(".digest")?;
                home.join(format!("{subject}.key")).is_file().then(|| (subject.to_owned(), read(&home.join(name)).ok()))
            };
            Ok(all.iter().filter_map(of).filter_map(|(subject, digest)| Some((subject, digest?))).collect())
        })
        .await?;
        Ok((digests, given))
    }

    /// Writes a key, then what it was made from.
    pub(super) async fn write(&self, subject: &str, from: &KeyFrom) -> Result<(), HostError> {
        let (digests, _) = self.vault.given().await?;
        let digest = digests.get(&from.secret).and_then(|keys| keys.get(&from.key)).cloned();
        let digest = digest.ok_or_else(|| HostError::new(Reason::Gone, "The key of the link is gone again"))?;
        let (home, subject, group) = (self.home.clone(), subject.to_owned(), group()?);
        let prepared = home.clone();
        blocking(move || {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(&prepared)
                .map_err(|error| unwritable(&prepared, &error))
        })
        .await?;
        self.vault.copy_value(&from.secret, &from.key, home.join(format!("{subject}.key")), MODE, (0, group)).await?;
        blocking(move || {
            put(&home.join(format!("{subject}.digest")), &digest).map_err(|error| unwritable(&home, &error))
        })
        .await
    }
}

/// Returns the number of networkd's group.
fn group() -> Result<u32, HostError> {
    let unreadable = |error: io::Error| HostError::new(Reason::Failed, format!("`/etc/group` can't be read ({error})"));
    let text = fs::read_to_string("/etc/group").map_err(unreadable)?;
    let number = text.lines().find_map(|line| {
        let mut parts = line.split(':');
        (parts.next() == Some(READER)).then(|| parts.nth(1)?.parse().ok()).flatten()
    });
    number.ok_or_else(|| {
        HostError::new(Reason::Refused, format!("There is no group `{READER}`, so networkd is not here"))
    })
}
