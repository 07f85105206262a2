//! The directory that an image is built from: what is in it, and what tells it from any other.
//!
//! Everything is reached from the directory that was opened, without following any link, so that nothing outside of it
//! gets into an image.

pub(super) mod ignore;
pub(super) mod pack;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags, StatxTimestamp};
use sha2::{Digest, Sha256};

use self::ignore::Ignore;
use super::directory;
use crate::host::{HostError, Reason};

/// The most files and directories that an image is built from.
pub(super) const MOST_FILES: usize = 20_000;
/// The most bytes that an image is built from.
pub(super) const MOST_BYTES: u64 = 1 << 30;
/// The most files and directories that are looked at to find those, among others that are left out.
const MOST_LOOKS: usize = 200_000;
/// What says how to build, where a manifest does not say it.
pub(super) const CONTAINERFILES: [&str; 2] = ["Containerfile", "Dockerfile"];

/// How anything in it is opened.
const WITHIN: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// A directory, opened and looked through.
#[derive(Debug)]
pub(super) struct Context {
    root: OwnedFd,
    path: String,
    entries: BTreeMap<PathBuf, Entry>,
    bytes: u64,
    looked: usize,
}

/// Something in it.
#[derive(Debug)]
struct Entry {
    what: What,
    mode: u32,
    modified: u64,
    /// What changes with every change of it: number, size, times.
    mark: [u64; 5],
}

#[derive(Debug)]
enum What {
    Directory,
    File(u64),
    Link(OsString),
}

impl Context {
    /// Opens a directory and looks at all that is in it and not left out. Blocks.
    pub(super) fn open(path: &str, containerfile: Option<&str>) -> Result<Self, HostError> {
        let root = directory::open(path)?;
        let failed = |error: &io::Error| unreadable(path, error);
        let mut always: Vec<&str> = CONTAINERFILES.into_iter().chain(ignore::FILES).collect();
        always.extend(containerfile);
        let ignore = read_ignore(&root).map_err(|error| failed(&error))?;
        let ignore = Ignore::new(&ignore, &always)
            .map_err(|why| HostError::new(Reason::SourceUnavailable, format!("In `{path}`: {why}")))?;
        let mut context = Self { root, path: path.to_owned(), entries: BTreeMap::new(), bytes: 0, looked: 0 };
        let mut directories = vec![PathBuf::new()];
        while let Some(directory) = directories.pop() {
            context.look_into(&directory, &ignore, &mut directories)?;
        }
        Ok(context)
    }

    /// Returns what changes with every change in it. Reads no file.
    pub(super) fn mark(&self) -> String {
        let mut hash = Sha256::new();
        for (path, entry) in &self.entries {
            entry.begin(path, &mut hash);
            entry.mark.iter().for_each(|number| hash.update(number.to_le_bytes()));
        }
        hex(hash)
    }

    /// Returns the digest of all that gets into an image. Blocks for as long as reading takes.
    pub(super) fn digest(&self) -> Result<String, HostError> {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        for (path, entry) in &self.entries {
            entry.begin(path, &mut hash);
            if let What::File(size) = entry.what {
                let mut file = self.file(path, size).map_err(|error| unreadable(&self.path, &error))?;
                loop {
                    match file.read(&mut buffer).map_err(|error| unreadable(&self.path, &error))? {
                        0 => break,
                        length => hash.update(&buffer[..length]),
                    }
                }
            }
        }
        Ok(format!("sha256:{}", hex(hash)))
    }

    /// Returns true if there is a file of this name.
    pub(super) fn holds(&self, path: &str) -> bool {
        self.entries.get(Path::new(path)).is_some_and(|entry| !matches!(entry.what, What::Directory))
    }

    /// Writes everything.
    pub(super) fn pack(&self, packer: &mut pack::Packer) -> io::Result<()> {
        for (path, entry) in &self.entries {
            let rights = pack::Rights { mode: entry.mode, modified: entry.modified };
            match &entry.what {
                What::Directory => packer.directory(path, &rights)?,
                What::File(size) => packer.file(path, &rights, *size, self.file(path, *size)?)?,
                What::Link(to) => packer.link(path, &rights, Path::new(to))?,
            }
        }
        Ok(())
    }

    fn look_into(
        &mut self,
        directory: &Path,
        ignore: &Ignore,
        directories: &mut Vec<PathBuf>,
    ) -> Result<(), HostError> {
        for path in self.names(directory).map_err(|error| unreadable(&self.path, &error))? {
            let left_out = ignore.leaves_out(&path.to_string_lossy());
            if left_out && !ignore.has_exceptions() {
                continue;
            }
            self.looked += 1;
            if self.looked > MOST_LOOKS {
                return Err(too_large(&self.path));
            }
            let Some(entry) = look(&self.root, &path).map_err(|error| unreadable(&self.path, &error))? else {
                continue;
            };
            if matches!(entry.what, What::Directory) {
                directories.push(path.clone());
            }
            if !left_out {
                self.add(path, entry)?;
            }
        }
        Ok(())
    }

    /// Returns the paths of all that is in a directory.
    fn names(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let opened = open(&self.root, directory, OFlags::DIRECTORY)?;
        let mut paths = Vec::new();
        for entry in Dir::read_from(&opened)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                paths.push(directory.join(OsStr::from_bytes(name)));
            }
            if paths.len() > MOST_LOOKS {
                break;
            }
        }
        Ok(paths)
    }

    fn add(&mut self, path: PathBuf, entry: Entry) -> Result<(), HostError> {
        if let What::File(size) = entry.what {
            self.bytes = self.bytes.saturating_add(size);
        }
        self.entries.insert(path, entry);
        if self.entries.len() > MOST_FILES || self.bytes > MOST_BYTES { Err(too_large(&self.path)) } else { Ok(()) }
    }

    /// Opens a file, of which so much is read as was seen.
    fn file(&self, path: &Path, size: u64) -> io::Result<io::Take<File>> {
        // One that is exchanged for a pipe meanwhile must not be waited for.
        let file = File::from(open(&self.root, path, OFlags::NONBLOCK)?);
        if file.metadata()?.is_file() { Ok(file.take(size)) } else { Err(pack::changed(path)) }
    }
}

impl Entry {
    fn begin(&self, path: &Path, hash: &mut Sha256) {
        let (kind, to) = match &self.what {
            What::Directory => (b'd', OsStr::new("")),
            What::File(_) => (b'f', OsStr::new("")),
            What::Link(to) => (b'l', to.as_os_str()),
        };
        let size = if let What::File(size) = self.what { size } else { 0 };
        for text in [path.as_os_str().as_bytes(), to.as_bytes()] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        hash.update([kind]);
        hash.update(self.mode.to_le_bytes());
        hash.update(size.to_le_bytes());
    }
}

/// Says that there is more than is taken.
pub(super) fn too_large(place: &str) -> HostError {
    let message = format!(
        "`{place}` holds more than {MOST_FILES} files or {} MiB; name in `.dockerignore` what the image does not need",
        MOST_BYTES >> 20
    );
    HostError::new(Reason::SourceUnavailable, message)
}

/// Looks at one thing. None if it is neither file nor directory nor link, or gone.
fn look(root: &OwnedFd, path: &Path) -> io::Result<Option<Entry>> {
    let seen = match fs::statx(root, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        seen => seen?,
    };
    let what = match FileType::from_raw_mode(u32::from(seen.stx_mode)) {
        FileType::Directory => What::Directory,
        FileType::RegularFile => What::File(seen.stx_size),
        FileType::Symlink => {
            let to = fs::readlinkat(root, path, Vec::new())?;
            What::Link(OsStr::from_bytes(to.to_bytes()).to_owned())
        }
        _ => return Ok(None),
    };
    let modified = u64::try_from(seen.stx_mtime.tv_sec).unwrap_or_default();
    Ok(Some(Entry { what, mode: u32::from(seen.stx_mode) & 0o7777, modified, mark: mark(&seen) }))
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mark(seen: &Statx) -> [u64; 5] {
    let seconds = |time: StatxTimestamp| time.tv_sec.cast_unsigned();
    [
        seen.stx_ino,
        seconds(seen.stx_mtime),
        u64::from(seen.stx_mtime.tv_nsec),
        seconds(seen.stx_ctime),
        u64::from(seen.stx_ctime.tv_nsec),
    ]
}

fn open(root: &OwnedFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    Ok(fs::openat2(root, path, flags | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty(), WITHIN)?)
}

/// Reads the file that says what is left out; nothing if there is none.
fn read_ignore(root: &OwnedFd) -> io::Result<String> {
    for name in ignore::FILES {
        match open(root, Path::new(name), OFlags::NONBLOCK) {
            Ok(file) => {
                let mut text = Vec::new();
                File::from(file).take(ignore::LONGEST).read_to_end(&mut text)?;
                return Ok(String::from_utf8_lossy(&text).into_owned());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::new())
}

fn unreadable(path: &str, error: &io::Error) -> HostError {
    HostError::new(Reason::SourceUnavailable, format!("`{path}` can't be read ({error})"))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests write files")]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn room() -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().display().to_string();
        std::fs::write(format!("{path}/Dockerfile"), "FROM x").unwrap();
        (dir, path)
    }

    /// Returns what the engine would be given: paths, and what stands in files or where links lead.
    fn packed(context: &Context) -> BTreeMap<String, String> {
        let (queue, mut pieces) = tokio::sync::mpsc::channel(1000);
        let mut packer = pack::Packer::new(queue);
        context.pack(&mut packer).unwrap();
        packer.finish().unwrap();
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.blocking_recv() {
            bytes.extend_from_slice(&piece.unwrap());
        }
        let mut archive = tar::Archive::new(&bytes[..]);
        let read = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.unwrap();
            let link = entry.link_name().unwrap().map(|it| it.display().to_string());
            let mut text = link.unwrap_or_default();
            entry.read_to_string(&mut text).unwrap();
            (entry.path().unwrap().display().to_string(), text)
        };
        archive.entries().unwrap().map(read).collect()
    }

    #[test]
    fn what_is_packed_is_what_is_there_and_not_left_out() {
        let (_dir, path) = room();
        let long = "x".repeat(180);
        std::fs::create_dir_all(format!("{path}/src/{long}")).unwrap();
        std::fs::write(format!("{path}/src/{long}/main"), "fn main").unwrap();
        std::fs::write(format!("{path}/key"), "secret").unwrap();
        std::fs::write(format!("{path}/.dockerignore"), "key\nDockerfile").unwrap();
        symlink("/etc/passwd", format!("{path}/link")).unwrap();
        fs::mknodat(fs::CWD, format!("{path}/pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let packed = packed(&Context::open(&path, None).unwrap());
        let deep = format!("src/{long}/main");
        let names: Vec<&str> = packed.keys().map(|name| name.trim_end_matches('/')).collect();
        assert_eq!(names, [".dockerignore", "Dockerfile", "link", "src", &deep[..deep.len() - 5], &deep]);
        assert_eq!((packed["link"].as_str(), packed[&deep].as_str()), ("/etc/passwd", "fn main"));
    }

    #[test]
    fn the_digest_is_of_what_gets_in_and_the_mark_of_every_change() {
        let (_dir, path) = room();
        let open = || Context::open(&path, None).unwrap();
        let (mark, digest) = (open().mark(), open().digest().unwrap());
        assert_eq!((open().mark(), open().digest().unwrap()), (mark.clone(), digest.clone()));
        std::fs::write(format!("{path}/Dockerfile"), "FROM x").unwrap();
        assert_eq!(open().digest().unwrap(), digest);
        std::fs::write(format!("{path}/Dockerfile"), "FROM y").unwrap();
        assert!(open().mark() != mark && open().digest().unwrap() != digest);
        let other = open().digest().unwrap();
        std::fs::set_permissions(format!("{path}/Dockerfile"), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(open().digest().unwrap(), other);
    }

    #[test]
    fn nothing_outside_is_reached() {
        let (_dir, path) = room();
        let (_other, outside) = room();
        std::fs::create_dir(format!("{path}/sub")).unwrap();
        std::fs::write(format!("{path}/sub/file"), "x").unwrap();
        let context = Context::open(&path, None).unwrap();
        // Somebody exchanges a directory for a link after it was looked at.
        std::fs::remove_dir_all(format!("{path}/sub")).unwrap();
        symlink(&outside, format!("{path}/sub")).unwrap();
        std::fs::write(format!("{outside}/file"), "secret").unwrap();
        let error = context.digest().unwrap_err();
        assert_eq!(error.reason, Reason::SourceUnavailable);
        symlink(&path, format!("{outside}/link")).unwrap();
        assert!(Context::open(&format!("{outside}/link"), None).unwrap_err().message.contains("symbolic link"));
    }

    #[test]
    fn there_is_an_end_to_what_is_taken() {
        let (_dir, path) = room();
        let large = File::create(format!("{path}/large")).unwrap();
        large.set_len(MOST_BYTES + 1).unwrap();
        let error = Context::open(&path, None).unwrap_err();
        assert!(error.message.contains("1024 MiB") && error.message.contains(".dockerignore"), "{error}");
        std::fs::write(format!("{path}/.dockerignore"), "large").unwrap();
        assert!(Context::open(&path, None).is_ok());
    }
}
