//! The files of settings, under a root of one's own choice.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    file,
    host::{FileThere, HostError, OURS, OwnFile, Reason, Service},
};

/// The largest file that is looked at. Lists that block names make `/etc/hosts` several megabytes large.
const LARGEST: u64 = 16 << 20;
/// Where time zones are.
pub(super) const ZONES: &str = "/usr/share/zoneinfo";
/// The table of names.
pub(super) const NAMES: &str = "/etc/hosts";
/// Where a distribution keeps the language: the first is what systemd reads, the second is Debian's.
pub(super) const LOCALES: [&str; 2] = ["/etc/locale.conf", "/etc/default/locale"];
/// Where Debian keeps the name of the time zone a second time.
pub(super) const ZONE_NAME: &str = "/etc/timezone";

/// Where the files are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    root: PathBuf,
    /// What is remembered for good.
    memo: PathBuf,
    /// What the values of the kernel were that we changed. Our file sets them again when the machine starts, so this is
    /// remembered for good too: our own value would be taken for what was there before.
    values: PathBuf,
}

/// What is remembered for good.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    /// The digests of the files that services were told to read.
    pub(super) told: BTreeMap<Service, String>,
    /// Whether the SSH server was switched on by us.
    pub(super) ssh_by_us: bool,
}

impl Files {
    pub(super) fn new(root: &Path, state_dir: &Path) -> Self {
        let (memo, values) = (state_dir.join("settings/memo.json"), state_dir.join("settings/values.json"));
        Self { root: root.to_owned(), memo, values }
    }

    /// Returns where a file of the machine is.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Reads a file of the machine; none if there is none.
    pub(super) fn read(&self, path: &str) -> Result<Option<String>, HostError> {
        read(&self.at(path))
    }

    /// Reads a file that is written back: what is not text in it would be lost.
    fn read_whole(&self, path: &str) -> Result<Option<String>, HostError> {
        let Some(bytes) = bytes(&self.at(path))? else { return Ok(None) };
        let refused = |_| {
            let message = format!("`{path}` is not UTF-8 throughout, so it is not written to; mend it with `iconv`");
            HostError::new(Reason::Refused, message)
        };
        String::from_utf8(bytes).map(Some).map_err(refused)
    }

    pub(super) fn sysctl_path(name: &str) -> String {
        format!("/proc/sys/{}", name.replace('.', "/"))
    }

    pub(super) fn memo(&self) -> Result<Memo, HostError> {
        load(&self.memo)
    }

    /// Returns what the values of the kernel were that we changed.
    pub(super) fn before(&self) -> Result<BTreeMap<String, String>, HostError> {
        load(&self.values)
    }

    pub(super) fn set_hostname(&self, name: &str) -> Result<(), HostError> {
        self.put("/etc/hostname", &format!("{name}\n"))?;
        self.set_value("kernel.hostname", name)
    }

    pub(super) fn set_timezone(&self, zone: &str) -> Result<(), HostError> {
        let home = self.at("/etc");
        let (link, temporary) = (home.join("localtime"), home.join(".localtime.piccolo"));
        let failed = |error: io::Error| unwritable(&link, &error);
        file::gone(fs::remove_file(&temporary)).map_err(failed)?;
        // From `/etc`, so that it also leads there where the root is another one.
        symlink(format!("..{ZONES}/{zone}"), &temporary).map_err(failed)?;
        fs::rename(&temporary, &link).and_then(|()| File::open(&home)?.sync_all()).map_err(failed)?;
        if self.read(ZONE_NAME)?.is_some() {
            self.put(ZONE_NAME, &format!("{zone}\n"))?;
        }
        Ok(())
    }

    /// Writes the language wherever the distribution keeps it; what else is in these files stays.
    pub(super) fn set_locale(&self, locale: &str) -> Result<(), HostError> {
        // All are read before the first is written: one that can't be read must not leave the other one changed.
        let texts = LOCALES.map(|path| self.read_whole(path)).into_iter().collect::<Result<Vec<_>, _>>()?;
        for (index, (path, text)) in LOCALES.into_iter().zip(texts).enumerate() {
            let Some(text) = text.or_else(|| (index == 0).then(String::new)) else { continue };
            let others = text.lines().filter(|line| !line.trim_start().starts_with("LANG="));
            let lines: Vec<&str> = others.collect();
            let line = format!("LANG={locale}");
            let text = lines.into_iter().chain([line.as_str()]).fold(String::new(), |text, line| text + line + "\n");
            self.put(path, &text)?;
        }
        Ok(())
    }

    /// Writes or removes a file of ours, and refuses where one of others is.
    pub(super) fn put_own(&self, file: OwnFile, text: Option<&str>) -> Result<(), HostError> {
        let there = self.read(file.path())?.map(FileThere::of);
        if there.is_some_and(|it| !it.ours) {
            let message = format!("`{}` is there and is not Piccolo's; remove it first", file.path());
            return Err(HostError::new(Reason::NameTaken, message));
        }
        if let Some(service) = file.read_by() {
            // First of all: an end right after the writing must not leave a service that nobody tells.
            self.note_told(service, None)?;
        }
        let path = self.at(file.path());
        match text {
            Some(text) => self.put(file.path(), text),
            None => file::gone(fs::remove_file(&path)).map_err(|error| unwritable(&path, &error)),
        }
    }

    pub(super) fn set_names(&self, lines: &str) -> Result<(), HostError> {
        let text = self.read_whole(NAMES)?.unwrap_or_default();
        let Names { others, whole, .. } = split_names(&text);
        if !whole {
            let message = format!(
                "`{NAMES}` has a line `{OURS} begin` without its `{OURS} end`, so nobody knows which lines are \
                 Piccolo's; put the end after the last of them, or take the begin out"
            );
            return Err(HostError::new(Reason::Refused, message));
        }
        let text = if lines.is_empty() { others } else { format!("{others}{OURS} begin\n{lines}{OURS} end\n") };
        self.put(NAMES, &text)
    }

    pub(super) fn set_sysctl(&self, name: &str, value: &str) -> Result<(), HostError> {
        let mut before = self.before()?;
        if !before.contains_key(name) {
            let now = self.read(&Self::sysctl_path(name))?.unwrap_or_default();
            before.insert(name.to_owned(), piccolo_schema::host::sysctl::plain(&now));
            save(&self.values, &before)?;
        }
        self.set_value(name, value)
    }

    pub(super) fn reset_sysctl(&self, name: &str) -> Result<(), HostError> {
        let mut before = self.before()?;
        let Some(value) = before.remove(name) else { return Ok(()) };
        self.set_value(name, &value)?;
        save(&self.values, &before)
    }

    pub(super) fn note_told(&self, service: Service, digest: Option<String>) -> Result<(), HostError> {
        let mut memo = self.memo()?;
        if memo.told.get(&service) == digest.as_ref() {
            return Ok(());
        }
        match digest {
            Some(digest) => drop(memo.told.insert(service, digest)),
            None => drop(memo.told.remove(&service)),
        }
        save(&self.memo, &memo)
    }

    pub(super) fn note_ssh(&self, by_us: bool) -> Result<(), HostError> {
        save(&self.memo, &Memo { ssh_by_us: by_us, ..self.memo()? })
    }

    /// A value of the kernel is there already: nothing is made, and nothing takes its place.
    fn set_value(&self, name: &str, value: &str) -> Result<(), HostError> {
        let path = self.at(&Self::sysctl_path(name));
        let written = OpenOptions::new().write(true).truncate(true).open(&path);
        let written = written.and_then(|mut file| file.write_all(format!("{value}\n").as_bytes()));
        written.map_err(|error| {
            let message = format!("The kernel does not take {value} for {name} ({error})");
            HostError::new(reason(&error), message)
        })
    }

    /// Puts a text in place of a file of the machine, which is there whole or not at all, and may be read by all.
    fn put(&self, path: &str, text: &str) -> Result<(), HostError> {
        let path = self.at(path);
        put(&path, text).map_err(|error| unwritable(&path, &error))
    }
}

/// The lines of the table of names.
pub(super) struct Names {
    pub(super) others: String,
    pub(super) ours: String,
    /// Whether each mark that begins our lines has one that ends them.
    pub(super) whole: bool,
}

/// Tells our lines of the table of names from the others.
pub(super) fn split_names(text: &str) -> Names {
    let (mut others, mut ours, mut within, mut whole) = (String::new(), String::new(), false, true);
    for line in text.lines() {
        match line.strip_prefix(OURS).map(str::trim) {
            Some("begin") => {
                whole &= !within;
                within = true;
            }
            Some("end") => within = false,
            _ => {
                let to = if within { &mut ours } else { &mut others };
                to.push_str(line);
                to.push('\n');
            }
        }
    }
    Names { others, ours, whole: whole && !within }
}

pub(super) fn read(path: &Path) -> Result<Option<String>, HostError> {
    Ok(bytes(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Reads a file as a whole, or not at all; none if there is none.
fn bytes(path: &Path) -> Result<Option<Vec<u8>>, HostError> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes)) {
        Ok(_) if bytes.len() as u64 > LARGEST => {
            let message = format!("`{}` is larger than {LARGEST} bytes; make it smaller", path.display());
            Err(HostError::new(Reason::Refused, message))
        }
        Ok(_) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(HostError::new(reason(&error), format!("`{}` can't be read ({error})", path.display()))),
    }
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    let home = path.parent().unwrap_or(Path::new("/"));
    file::make_open(home)?;
    // No reader of such directories takes a name that begins with a dot for one of its files.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = home.join(format!(".{name}.piccolo"));
    file::gone(fs::remove_file(&temporary))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    match fs::rename(&temporary, path) {
        // Something is mounted on this very file, as engines do in containers: it can only be written to.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            fs::remove_file(&temporary)?;
            let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        }
        renamed => renamed.and_then(|()| File::open(home)?.sync_all()),
    }
}

fn load<T: Default + for<'de> Deserialize<'de>>(path: &Path) -> Result<T, HostError> {
    let Some(text) = read(path)? else { return Ok(T::default()) };
    let damaged = |error| HostError::new(Reason::Failed, format!("`{}` is damaged ({error})", path.display()));
    serde_json::from_str(&text).map_err(damaged)
}

fn save<T: Serialize>(path: &Path, value: &T) -> Result<(), HostError> {
    let bytes = serde_json::to_vec(value).map_err(|error| HostError::new(Reason::Failed, error.to_string()))?;
    file::replace(path, &bytes).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> HostError {
    HostError::new(reason(error), format!("`{}` can't be written ({error})", path.display()))
}

fn reason(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Reason::PermissionDenied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::DiskFull,
        io::ErrorKind::InvalidInput => Reason::Refused,
        _ => Reason::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::strict::{is_within, mode};

    /// Services that read them are not root, and the umask of the shipped unit takes every right from others.
    #[test]
    fn services_read_what_is_written_for_them_whatever_the_umask_is() {
        let test = "host::linux::settings::files::tests::services_read_what_is_written_for_them_whatever_the_umask_is";
        if !is_within(test) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(&dir.path().join("root"), &dir.path().join("state"));
        for file in [OwnFile::Ntp, OwnFile::Mdns, OwnFile::SshKeys] {
            files.put_own(file, Some("#\n")).unwrap();
            let path = files.at(file.path());
            assert_eq!(mode(&path), 0o644);
            let mut above = path.ancestors().skip(1).take_while(|it| *it != dir.path());
            assert!(above.all(|it| mode(it) == 0o755), "{}", path.display());
        }
        // What is remembered is for root alone.
        files.note_told(Service::Resolved, Some("digest".to_owned())).unwrap();
        assert_eq!(mode(&dir.path().join("state")) & 0o077, 0);
    }
}
