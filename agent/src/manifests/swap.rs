//! Writing a file only if it still is what the writer saw.
//!
//! The new file and the one that is there change places in one call. What comes out shows whether somebody saved at the same
//! moment; if so it goes back, so that nobody's work is lost. Where a file system can't do that, the file is looked at right
//! before.

use std::{fs, io, path::Path};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use super::{read, write};

/// How often somebody may save while something is put back.
const MOST: usize = 64;

/// Puts these bytes in place of the file with this fingerprint, or makes the file if there shall be none, as
/// [`write::replace`] does. Returns false, and changes nothing, if something else is there.
pub(super) fn replace(path: &Path, bytes: &[u8], before: Option<&str>) -> io::Result<bool> {
    let like = before.and_then(|_| fs::metadata(path).ok());
    let temporary = write::temporary(path);
    let put = write::write_new(&temporary, bytes, like.as_ref()).and_then(|()| match before {
        Some(before) => exchange(&temporary, path, &read::etag(bytes), before),
        None => place(&temporary, path),
    });
    // It is ours or what we replaced; after a rename there is nothing.
    let _ = fs::remove_file(&temporary);
    if put.as_ref().is_ok_and(|put| *put) {
        write::sync(path)?;
    }
    put
}

/// Removes the file with this fingerprint, for good. Returns false, and changes nothing, if something else is there.
pub(super) fn remove(path: &Path, before: &str) -> io::Result<bool> {
    let aside = write::temporary(path);
    match fs::rename(path, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        renamed => renamed?,
    }
    // What a link leads to is found from where it stands, and it still stands in the same directory.
    let is_it = fs::read(&aside).is_ok_and(|bytes| read::etag(&bytes) == before);
    if !is_it {
        // Whatever was saved there by now is newer.
        place(&aside, path)?;
    }
    let _ = fs::remove_file(&aside);
    write::sync(path)?;
    Ok(is_it)
}

/// Moves a file to where none is. Returns false if there is one.
fn place(from: &Path, to: &Path) -> io::Result<bool> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(Errno::INVAL | Errno::NOSYS) if fs::symlink_metadata(to).is_ok() => Ok(false),
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(from, to).map(|()| true),
        Err(error) => Err(error.into()),
    }
}

/// Lets the new file and the one that is there change places, for good if it was this one.
fn exchange(new: &Path, path: &Path, new_etag: &str, before: &str) -> io::Result<bool> {
    match change_places(new, path) {
        Ok(()) => {}
        // Somebody removed it.
        Err(Errno::NOENT) => return Ok(false),
        Err(Errno::INVAL | Errno::NOSYS) if etag(path)? != before => return Ok(false),
        Err(Errno::INVAL | Errno::NOSYS) => return fs::rename(new, path).map(|()| true),
        Err(error) => return Err(error.into()),
    }
    let mut out = etag(new)?;
    if out == before {
        return Ok(true);
    }
    put_back(new, path, new_etag.to_owned(), &mut out)
}

/// Puts back what came out, and then whatever was saved in its place meanwhile: the latest is the one that stays.
fn put_back(new: &Path, path: &Path, mut ours: String, out: &mut String) -> io::Result<bool> {
    for _ in 0..MOST {
        match change_places(new, path) {
            Ok(()) => {}
            // Somebody removed what we had put there: so it was meant.
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let now = etag(new)?;
        if now == ours {
            return Ok(false);
        }
        ours = std::mem::replace(out, now);
    }
    Err(io::Error::other("somebody saves it again and again"))
}

fn change_places(one: &Path, other: &Path) -> rustix::io::Result<()> {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)
}

fn etag(path: &Path) -> io::Result<String> {
    Ok(read::etag(&fs::read(path)?))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests write files")]
mod tests {
    use std::{os::unix::fs::PermissionsExt, sync::Barrier, thread, time::Duration};

    use super::*;

    #[test]
    fn only_what_was_seen_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        assert!(replace(&path, b"1", None).unwrap());
        assert!(!replace(&path, b"2", None).unwrap());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        assert!(!replace(&path, b"2", Some(&read::etag(b"0"))).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"1");
        assert!(replace(&path, b"2", Some(&read::etag(b"1"))).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o604);
        assert!(!remove(&path, &read::etag(b"1")).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert!(remove(&path, &read::etag(b"2")).unwrap());
        assert!(!remove(&path, &read::etag(b"2")).unwrap());
        assert!(!replace(&path, b"3", Some(&read::etag(b"2"))).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "something is left over");
    }

    #[test]
    fn what_a_hand_saves_at_the_same_moment_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (path, hand) = (dir.path().join("a.toml"), dir.path().join("hand"));
        fs::write(&path, "0").unwrap();
        let mut refused = 0;
        for round in 0..1000 {
            let seen = read::etag(&fs::read(&path).unwrap());
            fs::write(&hand, format!("hand {round}")).unwrap();
            let together = Barrier::new(2);
            let is_put = thread::scope(|scope| {
                let writer = scope.spawn(|| {
                    together.wait();
                    replace(&path, format!("writer {round}").as_bytes(), Some(&seen)).unwrap()
                });
                together.wait();
                // The writer syncs its file first.
                thread::sleep(Duration::from_micros(fastrand::u64(0..2000)));
                fs::rename(&hand, &path).unwrap();
                writer.join().unwrap()
            });
            refused += u32::from(!is_put);
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("hand {round}"), "it was lost");
        }
        assert!((1..1000).contains(&refused), "{refused} met");
    }
}
