//! The mark that directs the next start: the order beside the loader, and the line by which the loader goes there. Outside of
//! the state it outlives it, so that a reset that the power cuts off is begun anew.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    file,
    host::{HostError, Reason, ResetOrder, ResetProgress},
};

/// What is ordered, below the first partition of the disk.
const ORDER: &str = "piccolo/reset.json";
/// How far it came.
const PROGRESS: &str = "piccolo/reset-progress.json";
/// Why nothing came of it, for the next ordinary start.
const WORD: &str = "piccolo/reset-word";
/// What the loader goes by.
const LOADER: &str = "loader/loader.conf";
/// The line that has it start the entry of that name, of whichever version.
const LINE: &str = "default *@reset";
/// What stands before the line of somebody else that says another one.
const ASIDE: &str = "# until the reset is over: ";
/// An entry that the firmware remembers, which the loader takes before its own file.
const REMEMBERED: &str = "/sys/firmware/efi/efivars/LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// The longest order.
const MOST: u64 = 1 << 20;

/// How much of a word that was left is told, in letters.
const LONGEST_WORD: usize = 500;

/// The mark on the first partition of the disk.
pub(in crate::host::linux) struct Mark {
    esp: PathBuf,
    remembered: PathBuf,
}

impl Mark {
    /// Returns it for the partition that is mounted here.
    pub(in crate::host::linux) fn on(esp: &Path) -> Self {
        Self { esp: esp.to_owned(), remembered: REMEMBERED.into() }
    }

    /// Returns what the next start does. An order to which the loader does not go is none, and neither is one that nobody
    /// understands. A partition that is not mounted says nothing of that. Blocks.
    pub(in crate::host::linux) fn read(&self) -> Result<Option<ResetOrder>, HostError> {
        self.is_there()?;
        if !self.loader()?.lines().any(|line| line.trim() == LINE) {
            return Ok(None);
        }
        let text = self.text(ORDER)?;
        Ok(serde_json::from_str(&text).ok())
    }

    /// Has the next start do this. The order comes first: without it that start does nothing. Blocks.
    pub(in crate::host::linux) fn write(&self, order: &ResetOrder) -> Result<(), HostError> {
        self.is_there()?;
        if fs::metadata(&self.remembered).is_ok() {
            let message =
                "The firmware remembers an entry that is started always; `bootctl set-default ''` makes it forget";
            return Err(HostError::new(Reason::Refused, message));
        }
        let text = serde_json::to_vec(order).map_err(|error| HostError::new(Reason::Failed, error.to_string()))?;
        self.remove(PROGRESS)?;
        self.remove(WORD)?;
        self.replace(ORDER, &text)?;
        self.replace(LOADER, directed(&self.loader()?).as_bytes())
    }

    /// Has the next start be an ordinary one. Blocks.
    pub(in crate::host::linux) fn clear(&self) -> Result<(), HostError> {
        self.is_there()?;
        let (before, after) = {
            let text = self.loader()?;
            let after = ordinary(&text);
            (text, after)
        };
        if before != after {
            self.replace(LOADER, after.as_bytes())?;
        }
        self.remove(ORDER)?;
        self.remove(PROGRESS)
    }

    /// Returns how far it came; nothing where nothing that can be understood is noted. Blocks.
    pub(in crate::host::linux) fn progress(&self) -> Result<ResetProgress, HostError> {
        Ok(serde_json::from_str(&self.text(PROGRESS)?).unwrap_or_default())
    }

    /// Notes how far it came. Blocks.
    pub(in crate::host::linux) fn note(&self, progress: &ResetProgress) -> Result<(), HostError> {
        let text = serde_json::to_vec(progress).map_err(|error| HostError::new(Reason::Failed, error.to_string()))?;
        self.replace(PROGRESS, &text)
    }

    /// Leaves word of why nothing came of it. Blocks.
    pub(in crate::host::linux) fn leave_word(&self, why: &str) -> Result<(), HostError> {
        self.replace(WORD, why.as_bytes())
    }

    /// Returns the word that was left. Blocks.
    pub(in crate::host::linux) fn word(&self) -> Option<String> {
        self.text(WORD).ok().filter(|it| !it.is_empty()).map(|it| it.chars().take(LONGEST_WORD).collect())
    }

    /// Takes the word away, which was told. Blocks.
    pub(in crate::host::linux) fn heard(&self) -> Result<(), HostError> {
        self.remove(WORD)
    }

    fn remove(&self, name: &str) -> Result<(), HostError> {
        file::gone(fs::remove_file(self.esp.join(name))).map_err(|error| self.trouble(name, &error))
    }

    /// Fails unless the system starts from here.
    fn is_there(&self) -> Result<(), HostError> {
        // An automount is awaited here, and a failed one leaves an empty directory.
        if self.esp.join("EFI/Linux").is_dir() {
            return Ok(());
        }
        let message =
            format!("The start of this system is not at {}, so nothing directs the next one", self.esp.display());
        Err(HostError::new(Reason::Refused, message))
    }

    fn loader(&self) -> Result<String, HostError> {
        self.text(LOADER)
    }

    /// Reads a file; one that is not there says nothing, and what is no text is never an order.
    fn text(&self, name: &str) -> Result<String, HostError> {
        let mut bytes = Vec::new();
        let read = fs::File::open(self.esp.join(name));
        match read.and_then(|it| io::Read::read_to_end(&mut io::Read::take(it, MOST), &mut bytes)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.trouble(name, &error)),
            _ => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), HostError> {
        let path = self.esp.join(name);
        // On FAT a new name leads nowhere, or to what was there before, until the file itself is written back once more.
        let kept = file::replace(&path, bytes).and_then(|()| fs::File::open(&path)?.sync_all());
        kept.map_err(|error| self.trouble(name, &error))
    }

    fn trouble(&self, name: &str, error: &io::Error) -> HostError {
        HostError::new(Reason::Failed, format!("{} can't be used ({error})", self.esp.join(name).display()))
    }
}

/// Returns what directs the loader to the reset.
fn directed(text: &str) -> String {
    let aside = |line: &str| if line.starts_with("default") { format!("{ASIDE}{line}\n") } else { format!("{line}\n") };
    ordinary(text).lines().map(aside).collect::<String>() + LINE + "\n"
}

/// Returns what the loader goes by else.
fn ordinary(text: &str) -> String {
    let lines = text.lines().filter(|line| line.trim() != LINE);
    lines.map(|line| format!("{}\n", line.strip_prefix(ASIDE).unwrap_or(line))).collect()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "it makes what is read here")]
mod tests {
    use super::*;

    fn esp() -> (tempfile::TempDir, Mark) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("EFI/Linux")).unwrap();
        fs::create_dir_all(dir.path().join("loader")).unwrap();
        fs::write(dir.path().join(LOADER), "timeout 0\n").unwrap();
        let mark = Mark { esp: dir.path().to_owned(), remembered: dir.path().join("remembered") };
        (dir, mark)
    }

    fn order() -> ResetOrder {
        ResetOrder { ticket: "reset-1".to_owned(), state: "4f68".to_owned(), ..ResetOrder::default() }
    }

    #[test]
    fn what_is_ordered_stands_until_it_is_taken_back() {
        let (dir, mark) = esp();
        assert_eq!(mark.read().unwrap(), None);
        // Each can be repeated.
        for _ in 0..2 {
            mark.write(&order()).unwrap();
            assert_eq!(mark.read().unwrap(), Some(order()));
            assert_eq!(fs::read_to_string(dir.path().join(LOADER)).unwrap(), "timeout 0\ndefault *@reset\n");
        }
        for _ in 0..2 {
            mark.clear().unwrap();
            assert_eq!(mark.read().unwrap(), None);
            assert_eq!(fs::read_to_string(dir.path().join(LOADER)).unwrap(), "timeout 0\n");
            assert!(!dir.path().join(ORDER).exists());
        }
    }

    #[test]
    fn how_far_it_came_goes_with_the_order_and_a_word_stays_until_it_is_heard() {
        let (_dir, mark) = esp();
        mark.write(&order()).unwrap();
        assert_eq!((mark.progress().unwrap(), mark.word()), (ResetProgress::default(), None));
        let progress = ResetProgress { ticket: "reset-1".to_owned(), tries: 2, has_begun: true };
        mark.note(&progress).unwrap();
        mark.leave_word("the TPM does not answer").unwrap();
        assert_eq!(mark.progress().unwrap(), progress);
        mark.clear().unwrap();
        assert_eq!(mark.progress().unwrap(), ResetProgress::default());
        assert_eq!(mark.word().as_deref(), Some("the TPM does not answer"));
        mark.heard().unwrap();
        assert_eq!(mark.word(), None);
    }

    #[test]
    fn half_of_a_mark_is_none() {
        let (dir, mark) = esp();
        mark.write(&order()).unwrap();
        fs::write(dir.path().join(LOADER), "timeout 0\n").unwrap();
        assert_eq!(mark.read().unwrap(), None);
        mark.write(&order()).unwrap();
        fs::write(dir.path().join(ORDER), "{").unwrap();
        assert_eq!(mark.read().unwrap(), None);
        fs::write(dir.path().join(ORDER), b"\xff\xfe{").unwrap();
        assert_eq!(mark.read().unwrap(), None);
        fs::remove_file(dir.path().join(ORDER)).unwrap();
        assert_eq!(mark.read().unwrap(), None);
        mark.clear().unwrap();
    }

    #[test]
    fn where_another_start_would_follow_nothing_is_ordered() {
        let (dir, mark) = esp();
        fs::write(dir.path().join("remembered"), "rescue").unwrap();
        assert!(mark.write(&order()).unwrap_err().message.contains("set-default"));
        assert_eq!(mark.read().unwrap(), None);
        let none = Mark { esp: dir.path().join("nowhere"), remembered: dir.path().join("none") };
        assert!(none.write(&order()).unwrap_err().message.contains("not at"));
        // Nothing is known of a partition that is not mounted, and nothing is taken back there.
        assert!(none.read().unwrap_err().message.contains("not at"));
        assert!(none.clear().unwrap_err().message.contains("not at"));
    }

    #[test]
    fn what_an_owner_wrote_for_the_loader_comes_back() {
        let own = "timeout 3\ndefault piccolo_*\n";
        assert_eq!(directed(own), "timeout 3\n# until the reset is over: default piccolo_*\ndefault *@reset\n");
        assert_eq!(directed(&directed(own)), directed(own));
        assert_eq!(ordinary(&directed(own)), own);
        assert_eq!(ordinary(own), own);
    }
}
