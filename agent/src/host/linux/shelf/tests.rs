//! On real directories.
#![allow(clippy::disallowed_methods, reason = "tests write files")]

use std::os::unix::fs::{PermissionsExt, chown, symlink};

use rustix::fs::{XattrFlags, getxattr, setxattr};
use tempfile::TempDir;

use super::*;

struct Room {
    dir: TempDir,
    volume: PathBuf,
}

impl Room {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().canonicalize().unwrap().join("volume");
        fs::create_dir(&volume).unwrap();
        Self { dir, volume }
    }

    fn shelf(&self) -> Shelf {
        let path = self.volume.to_str().unwrap();
        let opened = directory::open_engines(path).unwrap();
        Shelf::open(&self.dir.path().join("home"), "data", &opened, path).unwrap()
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.volume.join(file), text).unwrap();
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.volume.join(file)).unwrap_or_default()
    }

    fn labels(&self) -> Vec<String> {
        self.shelf().list().unwrap().into_iter().map(|it| it.label).collect()
    }

    /// Returns what lies on the shelf, whole or not.
    fn names(&self) -> Vec<String> {
        self.shelf().names().unwrap()
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Fills a directory with all that a copy could lose.
fn fill(volume: &Path) {
    let at = |name: &str| volume.join(name);
    fs::create_dir(at("sub")).unwrap();
    fs::write(at("sub/one"), "1").unwrap();
    fs::hard_link(at("sub/one"), at("twin")).unwrap();
    symlink("sub/one", at("link")).unwrap();
    symlink("/nowhere/at/all", at("dangling")).unwrap();
    File::create(at("sparse")).unwrap().set_len(64 << 20).unwrap();
    fs::write(at("name with\nblanks and -dashes"), "odd").unwrap();
    setxattr(at("sub/one"), "user.note", b"kept", XattrFlags::empty()).unwrap();
    fs::set_permissions(at("sub/one"), fs::Permissions::from_mode(0o4640)).unwrap();
    if is_root() {
        chown(at("sub"), Some(999), Some(998)).unwrap();
        std::os::unix::fs::lchown(at("link"), Some(7), Some(7)).unwrap();
        chown(volume, Some(999), Some(999)).unwrap();
    }
    fs::set_permissions(at("sub"), fs::Permissions::from_mode(0o2710)).unwrap();
    fs::set_permissions(volume, fs::Permissions::from_mode(0o750)).unwrap();
}

/// Returns what a copy could lose, a line for each file.
fn picture(root: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let seen = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let what = fs::read_link(&path)
            .map_or_else(|_| fs::read_to_string(&path).unwrap_or_default(), |to| to.display().to_string());
        let links = if seen.is_dir() { 0 } else { seen.nlink() };
        all.push(format!(
            "{name:?} {:o} {}:{} {links} {}.{} {}",
            seen.mode(),
            seen.uid(),
            seen.gid(),
            seen.mtime(),
            seen.mtime_nsec(),
            what.trim_end_matches('\0')
        ));
        if seen.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    all.sort();
    all
}

#[tokio::test]
async fn a_restore_brings_everything_back() {
    let room = Room::new();
    fill(&room.volume);
    let before = picture(&room.volume);
    room.shelf().take("old").await.unwrap();
    fs::remove_dir_all(room.volume.join("sub")).unwrap();
    room.write("sparse", "not any more");
    room.write("new", "new");
    fs::set_permissions(&room.volume, fs::Permissions::from_mode(0o777)).unwrap();
    room.shelf().put_back("old").await.unwrap();
    assert_eq!(picture(&room.volume), before);
    let mut note = [0; 8];
    let length = getxattr(room.volume.join("twin"), "user.note", &mut note[..]).unwrap();
    assert_eq!(&note[..length], b"kept");
    let (one, twin) = (room.volume.join("sub/one"), room.volume.join("twin"));
    assert_eq!(fs::metadata(one).unwrap().ino(), fs::metadata(twin).unwrap().ino(), "a hard link became a copy");
    let sparse = fs::metadata(room.volume.join("sparse")).unwrap();
    assert!(sparse.len() == 64 << 20 && sparse.blocks() < 1000, "a hole was filled: {} blocks", sparse.blocks());
}

#[tokio::test]
async fn what_is_replaced_is_kept_beside() {
    let room = Room::new();
    room.write("count", "1");
    room.shelf().take("old").await.unwrap();
    room.write("count", "2");
    room.shelf().put_back("old").await.unwrap();
    assert_eq!((room.read("count").as_str(), room.labels()), ("1", vec!["old".to_owned(), "old.replaced".to_owned()]));
    room.shelf().put_back("old.replaced").await.unwrap();
    assert_eq!(room.read("count"), "2");
    for label in room.labels() {
        room.shelf().remove(&label).await.unwrap();
        room.shelf().remove(&label).await.unwrap();
    }
    assert_eq!((room.names(), room.read("count")), (Vec::<String>::new(), "2".to_owned()));
}

#[tokio::test]
async fn a_snapshot_is_taken_once() {
    let room = Room::new();
    room.write("count", "1");
    room.shelf().take("old").await.unwrap();
    room.write("count", "2");
    room.shelf().take("old").await.unwrap();
    room.shelf().put_back("old").await.unwrap();
    assert_eq!(room.read("count"), "1");
    assert_eq!(room.shelf().put_back("never").await.unwrap_err().reason, Reason::Gone);
    let taken = &room.shelf().list().unwrap()[0].taken;
    assert!(taken.starts_with("20") && taken.ends_with('Z'), "{taken}");
}

#[tokio::test]
async fn what_was_broken_off_is_no_snapshot() {
    let room = Room::new();
    for number in 0..2000 {
        room.write(&format!("file-{number}"), "x");
    }
    let shelf = room.shelf();
    for millis in [0, 1, 3, 10, 30] {
        let patience = std::time::Duration::from_millis(millis);
        if tokio::time::timeout(patience, shelf.take("broken")).await.is_ok() {
            shelf.remove("broken").await.unwrap();
        }
        assert_eq!(room.labels(), Vec::<String>::new());
    }
    shelf.take("whole").await.unwrap();
    assert_eq!(room.names(), ["whole"]);
    assert_eq!(fs::read_dir(shelf.place.join("whole/data")).unwrap().count(), 2000);
}

#[tokio::test]
async fn a_restore_killed_before_the_swap_begins_anew() {
    let room = Room::new();
    room.write("count", "1");
    let shelf = room.shelf();
    shelf.take("old").await.unwrap();
    room.write("count", "2");
    // As after `kill -9` right before the places are changed: a copy with its own inode in its name.
    let copy = shelf.copy(shelf.place.join("old/data"), "old").await.unwrap();
    let inode = fs::metadata(copy.join("data")).unwrap().ino();
    shelf.rename(&copy, &format!("{SWAP}{inode}-old")).unwrap();
    assert_eq!(room.read("count"), "2");
    shelf.put_back("old").await.unwrap();
    assert_eq!((room.read("count").as_str(), room.names()), ("1", vec!["old".to_owned(), "old.replaced".to_owned()]));
    assert_eq!(fs::read_to_string(shelf.place.join("old.replaced/data/count")).unwrap(), "2");
}

#[tokio::test]
async fn a_restore_killed_after_the_swap_is_done() {
    let room = Room::new();
    room.write("count", "1");
    let shelf = room.shelf();
    shelf.take("old").await.unwrap();
    room.write("count", "2");
    let copy = shelf.copy(shelf.place.join("old/data"), "old").await.unwrap();
    let inode = fs::metadata(copy.join("data")).unwrap().ino();
    let swap = format!("{SWAP}{inode}-old");
    shelf.rename(&copy, &swap).unwrap();
    renameat_with(CWD, shelf.place.join(&swap).join("data"), CWD, &room.volume, RenameFlags::EXCHANGE).unwrap();
    room.write("count", "1 and on");
    room.shelf().put_back("old").await.unwrap();
    assert_eq!(room.read("count"), "1 and on", "what was written since is lost");
    assert_eq!(fs::read_to_string(shelf.place.join("old.replaced/data/count")).unwrap(), "2");
}

#[test]
fn nobody_else_can_look_into_a_shelf() {
    let room = Room::new();
    let mode = fs::metadata(&room.shelf().place).unwrap().mode();
    assert_eq!(mode & 0o777, 0o700);
    fs::set_permissions(room.dir.path().join("home"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = room.volume.to_str().unwrap();
    let opened = directory::open_engines(path).unwrap();
    let error = Shelf::open(&room.dir.path().join("home"), "data", &opened, path).unwrap_err();
    assert_eq!(error.reason, Reason::PermissionDenied);
}

#[test]
fn the_top_of_a_file_system_has_no_room_beside_it() {
    let home = tempfile::tempdir().unwrap();
    let opened = directory::open_engines("/proc").unwrap();
    let error = Shelf::open(&home.path().join("home"), "data", &opened, "/proc").unwrap_err();
    assert!(error.reason == Reason::Refused && error.message.contains("top of a file system"), "{error}");
}

#[tokio::test]
async fn another_file_system_has_a_shelf_of_its_own() {
    let shm = Path::new("/dev/shm");
    let other = tempfile::tempdir_in(shm).unwrap();
    let volume = other.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("count"), "1").unwrap();
    let room = Room::new();
    let path = volume.to_str().unwrap();
    let name = other.path().file_name().unwrap().to_str().unwrap();
    let opened = directory::open_engines(path).unwrap();
    let shelf = Shelf::open(&room.dir.path().join("home"), name, &opened, path).unwrap();
    assert_eq!(shelf.place, shm.join(ON_OTHER_DISKS).join(name));
    shelf.take("old").await.unwrap();
    fs::write(volume.join("count"), "2").unwrap();
    shelf.put_back("old").await.unwrap();
    assert_eq!(fs::read_to_string(volume.join("count")).unwrap(), "1");
    fs::remove_dir_all(&shelf.place).unwrap();
}
