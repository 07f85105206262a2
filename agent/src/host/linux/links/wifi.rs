//! wpa_supplicant: a file and a unit of systemd for each port that joins a network.
//!
//! A file of ours ends with a line that says what it was made from and what it was when it was written, so that one which a
//! hand changed is known. Nobody but root reads it, as its password is in it. Whether a file is in force is remembered where
//! it goes with the start of the machine, as wpa_supplicant reads its file anew then.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use zeroize::Zeroizing;

use super::files::{LOADED, names, prepare, put, read, unwritable};
use crate::{
    file,
    host::{HostError, Reason, STAMP, WifiSeen, firewall, linux::program::run},
};

/// Where the files are.
const HOME: &str = "/etc/wpa_supplicant";
/// Where systemd has its units, and what the one is called that runs wpa_supplicant on a port.
const UNITS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
const TEMPLATE: &str = "wpa_supplicant@.service";
/// How the last line of a file of ours begins.
const WRITTEN: &str = "# piccolo.os/written=";
/// How the name of a file begins and ends.
const NAME: (&str, &str) = ("wpa_supplicant-", ".conf");
/// How long systemd may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most ports.
const MOST: usize = 32;

/// The files and units of wpa_supplicant.
#[derive(Clone, Debug)]
pub struct Radios {
    home: PathBuf,
    marks: PathBuf,
    units: Vec<PathBuf>,
    systemctl: String,
    /// How long that may take.
    patience: Duration,
}

/// A file of ours, as it was: with its password.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Kept(Zeroizing<String>);

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl Default for Radios {
    fn default() -> Self {
        Self {
            home: HOME.into(),
            marks: LOADED.into(),
            units: UNITS.iter().map(PathBuf::from).collect(),
            systemctl: "systemctl".to_owned(),
            patience: PATIENCE,
        }
    }
}

impl Radios {
    /// Returns those of a machine in one directory, with this program in place of `systemctl`.
    pub fn within(root: &Path, systemctl: &Path) -> Self {
        Self {
            home: root.join("wpa_supplicant"),
            marks: root.join("marks"),
            units: vec![root.join("units")],
            systemctl: systemctl.display().to_string(),
            patience: PATIENCE,
        }
    }

    /// Says why no network can be joined, if so.
    pub(super) fn missing(&self) -> Option<String> {
        let is_here = self.units.iter().any(|directory| directory.join(TEMPLATE).exists());
        (!is_here).then(|| {
            format!("There is no unit `{TEMPLATE}` on this machine; `apt install wpasupplicant` brings it on Debian")
        })
    }

    /// Lists the files of all ports, ours and others', and which of ours are in force.
    pub(super) async fn seen(&self) -> Result<Vec<WifiSeen>, HostError> {
        let here = self.clone();
        let mut all = super::blocking(move || here.files()).await?;
        for it in all.iter_mut().filter(|it| it.subject.is_some()) {
            it.serves = self.runs(&it.device).await? && it.digest.is_some() && self.is_told(it);
        }
        Ok(all)
    }

    fn files(&self) -> Result<Vec<WifiSeen>, HostError> {
        let mut all = Vec::new();
        for name in names(&self.home).map_err(|error| unwritable(&self.home, &error))? {
            let device = name.strip_prefix(NAME.0).and_then(|it| it.strip_suffix(NAME.1));
            let Some(device) = device.filter(|it| !it.is_empty() && all.len() < MOST) else { continue };
            let (subject, digest) = whose(&self.text(device)?);
            all.push(WifiSeen { device: device.to_owned(), subject, digest, serves: false });
        }
        all.sort_by(|a, b| a.device.cmp(&b.device));
        Ok(all)
    }

    /// Returns true unless the file was written after wpa_supplicant read it.
    fn is_told(&self, it: &WifiSeen) -> bool {
        let mark = self.mark(&it.device);
        !mark.exists() || read(&mark).is_ok_and(|told| Some(told) == it.digest)
    }

    async fn runs(&self, device: &str) -> Result<bool, HostError> {
        let words = ["show", "--property=ActiveState,UnitFileState", &unit(device)];
        let told = run(&self.systemctl, words, self.patience).await?;
        Ok(is_in_force(&told))
    }

    /// Writes the file of a port. The password is in the text by now.
    pub(super) fn write(&self, subject: &str, device: &str, text: &str, digest: &str) -> Result<(), HostError> {
        let text = Zeroizing::new(format!("{text}{WRITTEN}{digest} {}\n", firewall::digest(text)));
        self.is_ours(subject, device)?;
        self.put(device, &text)
    }

    /// Ends wpa_supplicant on a port, and removes its file, if that is ours.
    pub(super) async fn remove(&self, subject: &str, device: &str) -> Result<(), HostError> {
        self.is_ours(subject, device)?;
        run(&self.systemctl, ["disable", "--now", &unit(device)], self.patience).await?;
        let (here, device) = (self.clone(), device.to_owned());
        super::blocking(move || here.clear(&device)).await
    }

    /// Has wpa_supplicant run with the file of a port, from now on and after each start of the machine.
    pub(super) async fn serve(&self, device: &str) -> Result<(), HostError> {
        let unit = unit(device);
        run(&self.systemctl, ["enable", &unit], self.patience).await?;
        run(&self.systemctl, ["restart", &unit], self.patience).await?;
        let (here, device) = (self.clone(), device.to_owned());
        super::blocking(move || {
            let told = whose(&here.text(&device)?).1.unwrap_or_default();
            put(&here.mark(&device), &told).map_err(|error| unwritable(&here.marks, &error))
        })
        .await
    }

    /// Returns our file for a port as it is, with its password, if there is one.
    pub(super) fn kept(&self, device: &str) -> Result<Option<Kept>, HostError> {
        let text = self.text(device)?;
        Ok((!text.is_empty() && !is_others(&text)).then_some(Kept(text)))
    }

    /// Puts back what was there of these ports. Whoever has written a file that is not ours meanwhile keeps it. Returns the
    /// names of the files that changed.
    pub(super) fn put_back(&self, kept: &BTreeMap<String, Option<Kept>>) -> Result<Vec<String>, HostError> {
        let mut changed = Vec::new();
        for (device, before) in kept {
            let there = self.text(device)?;
            if is_others(&there) || there.as_str() == before.as_ref().map_or("", |it| it.0.as_str()) {
                continue;
            }
            match before {
                Some(before) => self.put(device, &before.0)?,
                None => self.clear(device)?,
            }
            changed.push(name(device));
        }
        Ok(changed)
    }

    /// Has systemd take what was put back of a port. At the start of the machine nobody waits for it.
    pub(super) async fn take(&self, device: &str, now: bool) -> Result<(), HostError> {
        let (here, of) = (self.clone(), device.to_owned());
        let there = super::blocking(move || here.text(&of)).await?;
        if is_others(&there) {
            return Ok(());
        }
        let unit = unit(device);
        match (there.is_empty(), now) {
            (false, true) => self.serve(device).await,
            (false, false) => {
                run(&self.systemctl, ["enable", &unit], self.patience).await?;
                run(&self.systemctl, ["--no-block", "start", &unit], self.patience).await.map(drop)
            }
            (true, true) => run(&self.systemctl, ["disable", "--now", &unit], self.patience).await.map(drop),
            (true, false) => run(&self.systemctl, ["disable", &unit], self.patience).await.map(drop),
        }
    }

    fn is_ours(&self, subject: &str, device: &str) -> Result<(), HostError> {
        let there = self.text(device)?;
        if there.is_empty() || whose(&there).0.as_deref() == Some(subject) {
            return Ok(());
        }
        let message = format!("`{}` is there and is not this Link's; remove it first", self.path(device).display());
        Err(HostError::new(Reason::NameTaken, message))
    }

    /// That it is not in force comes first: an end in between must not leave a file that nobody reads.
    fn put(&self, device: &str, text: &str) -> Result<(), HostError> {
        let failed = |error| unwritable(&self.path(device), &error);
        prepare(&self.marks).and_then(|()| put(&self.mark(device), "")).map_err(failed)?;
        file::replace(&self.path(device), text.as_bytes()).map_err(failed)
    }

    fn clear(&self, device: &str) -> Result<(), HostError> {
        let path = self.path(device);
        let removed = file::gone(fs::remove_file(&path))
            .and_then(|()| file::sweep(&path))
            .and_then(|()| file::gone(fs::remove_file(self.mark(device))));
        removed.and_then(|()| fs::File::open(&self.home)?.sync_all()).map_err(|error| unwritable(&path, &error))
    }

    fn text(&self, device: &str) -> Result<Zeroizing<String>, HostError> {
        let path = self.path(device);
        read(&path).map(Zeroizing::new).map_err(|error| unwritable(&path, &error))
    }

    fn path(&self, device: &str) -> PathBuf {
        self.home.join(name(device))
    }

    fn mark(&self, device: &str) -> PathBuf {
        self.marks.join(format!("{device}.wifi"))
    }
}

/// Returns true if a unit runs that is not switched off, by what `systemctl show` tells of it.
fn is_in_force(told: &str) -> bool {
    let is = |word: &str| told.lines().any(|line| line == word);
    is("ActiveState=active") && !is("UnitFileState=disabled")
}

fn name(device: &str) -> String {
    format!("{}{device}{}", NAME.0, NAME.1)
}

/// Returns true if somebody else wrote a file.
fn is_others(text: &str) -> bool {
    !text.is_empty() && whose(text).0.is_none()
}

/// Returns whose a file is, and what it was made from if nobody has changed it since.
fn whose(text: &str) -> (Option<String>, Option<String>) {
    let subject = text.lines().find_map(|line| line.strip_prefix(STAMP)).map(|it| it.trim().to_owned());
    let at = text.rfind(WRITTEN).unwrap_or(text.len());
    let (body, last) = text.split_at(at);
    let parts = last.strip_prefix(WRITTEN).and_then(|it| it.strip_suffix('\n')?.split_once(' '));
    let digest = parts.filter(|(_, written)| *written == firewall::digest(body)).map(|(digest, _)| digest.to_owned());
    (subject, digest)
}

/// Returns the unit for a port, whose name systemd wants without characters that mean something in the names of units.
fn unit(device: &str) -> String {
    let escaped: String = device
        .bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':' | b'.' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        })
        .collect();
    TEMPLATE.replace('@', &format!("@{escaped}"))
}
