//! What the kernel and systemd keep of what was measured, and what runs here.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::host::{HostError, Measured, Reason, Versions};

/// Where the kernel shows the log of the firmware.
const FIRMWARE: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";
/// Where systemd writes its own.
const SYSTEM: &str = "/run/log/systemd/tpm2-measure.log";
/// Where systemd looks for signatures over registers, first things first.
const SIGNATURES: [&str; 3] = [
    "/etc/systemd/tpm2-pcr-signature.json",
    "/run/systemd/tpm2-pcr-signature.json",
    "/usr/lib/systemd/tpm2-pcr-signature.json",
];
/// Where systemd looks for the key that makes them.
const SIGNERS: [&str; 3] = [
    "/etc/systemd/tpm2-pcr-public-key.pem",
    "/run/systemd/tpm2-pcr-public-key.pem",
    "/usr/lib/systemd/tpm2-pcr-public-key.pem",
];
/// The largest log that is read; the room that understands them takes less.
const LARGEST: u64 = 2 << 20;
/// The most of a file with a version.
const SMALL: u64 = 16 << 10;
/// How often it is tried anew where something is measured meanwhile.
const TRIES: usize = 3;

/// The files in which is written down what was measured.
#[derive(Clone, Debug)]
pub struct Logs {
    /// The one of the firmware.
    pub firmware: PathBuf,
    /// The one of the system; it need not be there.
    pub system: PathBuf,
}

impl Default for Logs {
    fn default() -> Self {
        Self { firmware: FIRMWARE.into(), system: SYSTEM.into() }
    }
}

impl Logs {
    /// Reads both logs, and the registers while nothing is added.
    pub(super) fn read(
        &self,
        registers: impl Fn() -> Result<BTreeMap<u8, String>, HostError>,
    ) -> Result<Measured, HostError> {
        let mut logs = self.both()?;
        for _ in 0..TRIES {
            let registers = registers()?;
            let after = self.both()?;
            if after == logs {
                let (firmware_log, system_log) = logs;
                return Ok(Measured { firmware_log, system_log, registers, versions: versions() });
            }
            logs = after;
        }
        Err(HostError::new(Reason::Failed, "The logs of what is measured don't come to rest; try again"))
    }

    fn both(&self) -> Result<(Vec<u8>, Vec<u8>), HostError> {
        let unread = |path: &Path, error: &io::Error| {
            let message = match error.kind() {
                io::ErrorKind::NotFound => format!(
                    "This machine keeps no log of what was measured ({} is not there): its firmware writes none, the kernel \
                     shows none, or this is not the machine itself",
                    path.display()
                ),
                _ => format!("{} can't be read ({error})", path.display()),
            };
            HostError::new(Reason::Gone, message)
        };
        let firmware = read(&self.firmware, LARGEST).map_err(|error| unread(&self.firmware, &error))?;
        match read(&self.system, LARGEST) {
            Ok(system) => Ok((firmware, system)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((firmware, Vec::new())),
            Err(error) => Err(unread(&self.system, &error)),
        }
    }
}

/// Reads the file of signatures over what registers may hold; nothing where there is none.
pub(super) fn signatures(file: Option<&Path>) -> Vec<u8> {
    first(file, SIGNATURES, LARGEST)
}

/// Reads the public key of who signs; nothing where there is none.
pub(super) fn signer(file: Option<&Path>) -> Vec<u8> {
    first(file, SIGNERS, SMALL)
}

fn first(file: Option<&Path>, usual: [&str; 3], limit: u64) -> Vec<u8> {
    let usual = usual.into_iter().map(Path::new).find(|it| it.exists());
    file.or(usual).and_then(|path| read(path, limit).ok()).unwrap_or_default()
}

/// Says what runs here.
fn versions() -> Versions {
    let text = |path: &str| {
        let bytes = read(Path::new(path), SMALL).unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    };
    let release = text("/etc/os-release");
    let firmware = [text("/sys/class/dmi/id/bios_vendor"), text("/sys/class/dmi/id/bios_version")];
    Versions {
        system: system(&release),
        kernel: text("/proc/sys/kernel/osrelease"),
        firmware: firmware.join(" ").trim().to_owned(),
    }
}

/// Returns the name of a system and its version, which is most exact where it is an image.
fn system(release: &str) -> String {
    let value = |wanted: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(wanted)?.strip_prefix('='));
        line.map(|it| it.trim_matches(['"', '\'']).to_owned())
    };
    let version = ["IMAGE_VERSION", "BUILD_ID", "VERSION_ID"].into_iter().find_map(value);
    let all = [value("NAME"), version].into_iter().flatten().collect::<Vec<_>>();
    all.join(" ").chars().filter(|it| !it.is_control()).take(100).collect()
}

fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn logs_and_registers_are_of_one_moment() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs { firmware: dir.path().join("firmware"), system: dir.path().join("system") };
        let register = BTreeMap::from([(7, "00".to_owned())]);
        let refused = logs.read(|| Ok(register.clone())).unwrap_err();
        assert!(refused.reason == Reason::Gone && refused.message.contains("keeps no log"), "{refused}");
        crate::file::replace(&logs.firmware, b"first").unwrap();
        let asked = Cell::new(0);
        let measured = logs.read(|| {
            asked.set(asked.get() + 1);
            // The system measures something right then, once.
            if asked.get() == 1 {
                crate::file::replace(&logs.system, b"more").unwrap();
            }
            Ok(register.clone())
        });
        let measured = measured.unwrap();
        assert_eq!((measured.firmware_log.as_slice(), measured.system_log.as_slice()), (&b"first"[..], &b"more"[..]));
        assert_eq!((asked.get(), measured.registers), (2, register));
    }

    #[test]
    fn a_release_is_named_as_exactly_as_it_can_be() {
        assert_eq!(system("NAME=\"Piccolo\"\nVERSION_ID=1\nIMAGE_VERSION=1.4\n"), "Piccolo 1.4");
        assert_eq!(system("NAME='Debian GNU/Linux'\nVERSION_ID=\"12\"\n"), "Debian GNU/Linux 12");
        assert_eq!(system(""), "");
    }
}
