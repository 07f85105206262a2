//! The files of networkd: those that it reads, and those in which it says how far it is.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::kernel::Device;
use crate::{
    file,
    host::{HostError, PREFIX, Reason, Unit, UnitSeen, firewall},
};

/// Where networkd reads its files, the first directory first.
const READ: [&str; 5] = [
    "/etc/systemd/network",
    "/run/systemd/network",
    "/usr/local/lib/systemd/network",
    "/usr/lib/systemd/network",
    "/lib/systemd/network",
];
/// Where networkd says how far it is.
const STATE: &str = "/run/systemd/netif";
/// Where we remember what networkd was told to read. It goes with the start of the machine, as what networkd knows does.
pub(super) const LOADED: &str = "/run/piccolo-links";
/// The word for a link that networkd has not got to.
pub(super) const UNHEARD: &str = "pending";
/// The largest file that is looked at.
const LARGEST: u64 = 64 << 10;
/// Who may read a file of ours: everybody.
const READABLE: u32 = 0o644;
/// The user that networkd runs as, and its group.
const READER: &str = "systemd-network";
/// The most files that are looked at.
const MOST: usize = 1000;

/// Where the files are.
#[derive(Clone, Debug)]
pub(super) struct Places {
    read: Vec<PathBuf>,
    state: PathBuf,
    loaded: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self { read: READ.iter().map(PathBuf::from).collect(), state: STATE.into(), loaded: LOADED.into() }
    }
}

impl Places {
    /// Returns the directory of our files.
    pub(super) fn ours(&self) -> PathBuf {
        self.read.first().cloned().unwrap_or_default()
    }

    /// Says why networkd can't be used, if so.
    pub(super) fn problem(&self) -> Option<String> {
        // The directory alone says nothing: systemd makes it without networkd too.
        let runs = fs::read_dir(self.state.join("links")).is_ok_and(|mut links| links.next().is_some());
        (!runs).then(|| {
            "systemd-networkd does not run here; `systemctl enable --now systemd-networkd` starts it, if nothing else \
             sets up the links of this machine"
                .to_owned()
        })
    }

    /// Lists the files that networkd reads: of one name only the first, in the order of the names.
    pub(super) fn units(&self) -> Result<Vec<UnitSeen>, HostError> {
        let mut all: BTreeMap<String, UnitSeen> = BTreeMap::new();
        for directory in &self.read {
            for name in names(directory).map_err(|error| unreadable(directory, &error))? {
                let is_one = name.ends_with(".network") || name.ends_with(".netdev");
                if is_one && all.len() < MOST && !all.contains_key(&name) {
                    let path = directory.join(&name);
                    let text = read(&path).map_err(|error| unreadable(&path, &error))?;
                    let mut unit = UnitSeen::of(&directory.display().to_string(), &name, text);
                    unit.closed = unit.subject.is_some() && !(is_open(directory) && is_open(&path));
                    all.insert(name, unit);
                }
            }
        }
        Ok(all.into_values().collect())
    }

    /// Returns true if a file of ours makes a link of this name.
    pub(super) fn makes(&self, name: &str) -> bool {
        let file = format!("{PREFIX}{name}.netdev");
        let ours = self.ours();
        read(&ours.join(&file)).is_ok_and(|text| UnitSeen::of("", &file, text).subject.as_deref() == Some(name))
    }

    /// Writes the files of a manifest, removes its others, and refuses to write over what is not ours.
    pub(super) fn write(&self, subject: &str, units: &[Unit]) -> Result<(), HostError> {
        let home = self.ours();
        let failed = |error: io::Error| unwritable(&home, &error);
        let seen = self.units()?;
        let path = |name: &str| home.join(name);
        for unit in units {
            let there = seen.iter().find(|it| it.name == unit.name && Path::new(&it.directory) == home);
            if there.is_some_and(|it| it.subject.as_deref() != Some(subject)) {
                let message =
                    format!("`{}` is there and is not Piccolo's; remove it first", path(&unit.name).display());
                return Err(HostError::new(Reason::NameTaken, message));
            }
        }
        file::make_open(&home).map_err(failed)?;
        // An earlier daemon may have made it for itself alone.
        if !is_open(&home) {
            file::set_open(&home).map_err(failed)?;
        }
        for unit in units {
            put(&path(&unit.name), &unit.text).map_err(failed)?;
        }
        let stale = seen.iter().filter(|it| it.subject.as_deref() == Some(subject) && Path::new(&it.directory) == home);
        for unit in stale.filter(|it| !units.iter().any(|unit| unit.name == it.name)) {
            file::gone(fs::remove_file(path(&unit.name))).map_err(failed)?;
        }
        File::open(&home).and_then(|it| it.sync_all()).map_err(failed)
    }

    /// Returns the digests of what networkd was told to read.
    pub(super) fn loaded(&self) -> Result<BTreeMap<String, String>, HostError> {
        let names = names(&self.loaded).map_err(|error| unreadable(&self.loaded, &error))?;
        let subjects = names.iter().filter_map(|name| name.strip_suffix(".loaded"));
        Ok(subjects
            .filter_map(|it| Some((it.to_owned(), read(&self.loaded.join(format!("{it}.loaded"))).ok()?)))
            .collect())
    }

    /// Forgets that networkd was told to read these files of a manifest. That it was told of others is still true.
    pub(super) fn forget_loaded(&self, subject: &str, digest: &str) -> Result<(), HostError> {
        let path = self.loaded.join(format!("{subject}.loaded"));
        if self.loaded()?.get(subject).is_none_or(|loaded| loaded != digest) {
            return Ok(());
        }
        file::gone(fs::remove_file(&path)).map_err(|error| unwritable(&path, &error))
    }

    /// Remembers that networkd was told to read the files of this manifest; one that has none is forgotten.
    pub(super) fn note_loaded(&self, subject: &str, digest: &str) -> Result<(), HostError> {
        let failed = |error: io::Error| unwritable(&self.loaded, &error);
        if digest == firewall::digest("") {
            return file::gone(fs::remove_file(self.loaded.join(format!("{subject}.loaded")))).map_err(failed);
        }
        prepare(&self.loaded).map_err(failed)?;
        put(&self.loaded.join(format!("{subject}.loaded")), digest).map_err(failed)
    }

    /// Adds what udev and networkd say of a link.
    pub(super) fn describe(&self, device: &mut Device) {
        let index = device.index;
        let udev = read(Path::new(&format!("/run/udev/data/n{index}"))).unwrap_or_default();
        let told = |key: &str| {
            udev.lines()
                .find_map(|line| line.strip_prefix("E:")?.strip_prefix(key)?.strip_prefix('='))
                .map(str::to_owned)
        };
        let seen = &mut device.seen;
        seen.path = told("ID_PATH");
        seen.wireless =
            ["phy80211", "wireless"].iter().any(|it| Path::new(&format!("/sys/class/net/{}/{it}", seen.name)).exists());
        let driver = fs::read_link(format!("/sys/class/net/{}/device/driver", seen.name)).ok();
        let driver = driver.and_then(|it| Some(it.file_name()?.to_str()?.to_owned()));
        seen.driver = told("ID_NET_DRIVER").or(driver).or_else(|| seen.kind.clone());
        let state = read(&self.state.join(format!("links/{index}"))).unwrap_or_default();
        if state.is_empty() {
            // The kernel told of it, and networkd has not heard yet: asked now, it would know no such link.
            seen.setup = Some(UNHEARD.to_owned());
            return;
        }
        let says = |key: &str| state.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let of = |key: &str| says(key).filter(|it| !it.is_empty()).map(str::to_owned);
        seen.setup = of("ADMIN_STATE");
        seen.unit = of("NETWORK_FILE");
        seen.dns = says("DNS").into_iter().flat_map(str::split_whitespace).map(str::to_owned).collect();
    }
}

/// Makes the directory in memory in which networkd finds keys, or opens it for networkd if it was made otherwise.
pub(super) fn prepare(memory: &Path) -> io::Result<()> {
    file::make_open(memory)?;
    file::set_open(memory)
}

/// Returns true unless networkd is kept from reading a file, or from entering a directory.
pub(super) fn is_open(path: &Path) -> bool {
    // What is gone keeps nobody out.
    let Ok(about) = fs::metadata(path) else { return true };
    let needs = if about.is_dir() { 0o5 } else { 0o4 };
    let has = |bits: u32| bits & needs == needs;
    has(about.mode()) || (has(about.mode() >> 3) && group().is_ok_and(|it| it == about.gid()))
}

/// Returns the number of networkd's group.
pub(super) fn group() -> Result<u32, HostError> {
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

/// Puts a file in place of what is there, for everybody to read: networkd is not root.
pub(super) fn put(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("piccolo-writing");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&temporary)?;
    // The daemon's umask takes from what was asked for.
    file.set_permissions(Permissions::from_mode(READABLE))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

/// Lists a directory; one that is not there is empty.
pub(super) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    entries.filter_map(|entry| entry.map(|it| it.file_name().into_string().ok()).transpose()).collect()
}

/// Reads the beginning of a file. A link that leads nowhere is how a file of a distribution is taken out of force.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        other => other?,
    };
    let mut bytes = Vec::new();
    if file.metadata()?.is_file() {
        file.take(LARGEST).read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unreadable(path: &Path, error: &io::Error) -> HostError {
    HostError::new(Reason::Failed, format!("`{}` can't be read ({error})", path.display()))
}

pub(super) fn unwritable(path: &Path, error: &io::Error) -> HostError {
    let reason = match error.kind() {
        io::ErrorKind::StorageFull => Reason::DiskFull,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Reason::PermissionDenied,
        _ => Reason::Failed,
    };
    HostError::new(reason, format!("`{}` can't be written ({error})", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        file::strict::{is_within, mode},
        host::STAMP,
    };

    /// Under the shipped unit, whose umask takes every right from others: networkd is not root.
    #[test]
    fn networkd_reads_what_is_written_for_it_whatever_the_umask_is() {
        if !is_within("host::linux::links::files::tests::networkd_reads_what_is_written_for_it_whatever_the_umask_is") {
            return;
        }
        let dir = tempfile::TempDir::new().unwrap();
        let (units, memory) = (dir.path().join("etc/network"), dir.path().join("memory"));
        let places = Places { read: vec![units.clone()], state: dir.path().into(), loaded: memory.clone() };
        let unit = Unit { name: format!("{PREFIX}lan.network"), text: format!("{STAMP}lan\n") };
        places.write("lan", std::slice::from_ref(&unit)).unwrap();
        assert_eq!((mode(&units), mode(&units.join(&unit.name))), (0o755, 0o644));
        // An earlier daemon has made it, and nobody else could enter.
        fs::create_dir(&memory).unwrap();
        assert_eq!(mode(&memory), 0o750);
        places.note_loaded("lan", "digest").unwrap();
        assert_eq!((mode(&memory), mode(&memory.join("lan.loaded"))), (0o755, 0o644));
    }

    /// As a daemon of before left them under that umask.
    #[test]
    fn a_file_of_ours_that_networkd_is_kept_from_is_seen_and_written_so_that_it_is_not() {
        let dir = tempfile::TempDir::new().unwrap();
        let home = dir.path().join("network");
        let places = Places { read: vec![home.clone()], state: dir.path().into(), loaded: dir.path().join("loaded") };
        let unit = Unit { name: format!("{PREFIX}lan.network"), text: format!("{STAMP}lan\n") };
        let path = home.join(&unit.name);
        let write = || places.write("lan", std::slice::from_ref(&unit)).unwrap();
        write();
        put(&home.join("20-mine.network"), "[Match]\nName=x\n").unwrap();
        let closed = || places.units().unwrap().into_iter().filter(|it| it.closed).count();
        assert_eq!(closed(), 0);
        for (place, bits, open) in [(&home, 0o750, 0o755), (&path, 0o640, 0o644)] {
            fs::set_permissions(place, Permissions::from_mode(bits)).unwrap();
            // A person's own is a person's business.
            assert_eq!(closed(), 1, "{}", place.display());
            write();
            assert_eq!((closed(), mode(place)), (0, open), "{}", place.display());
        }
    }

    #[test]
    fn what_is_tried_again_is_not_loaded_before_it_is() {
        let home = tempfile::TempDir::new().unwrap();
        let places = Places { read: Vec::new(), state: home.path().into(), loaded: home.path().join("loaded") };
        places.forget_loaded("lan", "new").unwrap();
        places.note_loaded("lan", "new").unwrap();
        // It was put back, and networkd told of it by whom that fell to.
        places.forget_loaded("lan", "new").unwrap();
        assert!(places.loaded().unwrap().is_empty());
        // Whether networkd has forgotten what goes is known by what it was told last.
        places.note_loaded("lan", "old").unwrap();
        places.forget_loaded("lan", &firewall::digest("")).unwrap();
        assert_eq!(places.loaded().unwrap()["lan"], "old");
    }
}
