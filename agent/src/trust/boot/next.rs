//! What starts next, as it lies in files: so a seal can be made before it starts.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Grub, Image, Story};
use crate::host::Pcrs;

/// The largest file.
pub(super) const LARGEST: usize = 512 << 20;

/// What starts next in the place of what started this time.
#[derive(Debug)]
pub enum Next {
    /// A unified kernel image, started by the firmware or systemd-boot.
    Image(Image),
    /// A kernel, started by GRUB.
    Grub(Grub),
}

/// A file that GRUB reads as it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NextFile {
    /// By which path GRUB reads it, without the device: `/initrd.img`.
    pub name: String,
    /// Where what it will hold lies now, on this machine.
    pub path: PathBuf,
}

/// Why the next start can't be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNext {
    /// It is no program for the firmware, or damaged.
    #[error("this is no image that the firmware of a machine starts (PE), or it is cut short")]
    Form,
    /// It holds no kernel.
    #[error("this is no kernel, and there is none in it: a unified kernel image has a section .linux")]
    Kernel,
    /// It can start in several ways.
    #[error("it holds several profiles or trees of devices; which one starts is not known before")]
    Several,
    /// This machine did not start such an image.
    #[error(
        "this start was none by one unified kernel image, so what the next one will measure can't be worked out from it"
    )]
    NotImage,
    /// It was not by GRUB and one kernel.
    #[error(
        "this start was none by GRUB and one kernel, so what the next one will measure can't be worked out from it"
    )]
    NotGrub,
    /// GRUB did not read such a file, or several of that name.
    #[error(
        "GRUB read no file `{0}` as this machine started, or several; write its path as GRUB does, `/boot/initrd.img`"
    )]
    NotRead(String),
    /// What the kernel was told does not come to what was measured of it.
    #[error(
        "the kernel's command line of this start does not come to what was measured, so neither would the next one's"
    )]
    Options,
    /// The initrd is made of several files.
    #[error("GRUB gave the kernel several files as its initrd; what they come to together is not known before")]
    Initrds,
    /// An image brings its files and its command line along.
    #[error(
        "a unified kernel image brings its initrd and its command line along; leave out --next-file and --next-cmdline"
    )]
    Whole,
}

impl Next {
    /// Reads what starts next from files: an image, or a kernel with what else GRUB reads, and the whole command line of the
    /// kernel where that will be another one.
    ///
    /// # Errors
    /// When a file can't be read, or can't be what it is meant to be.
    pub fn open(image: &Path, files: &[NextFile], cmdline: Option<String>) -> io::Result<Self> {
        let bytes = read(image)?;
        let wrong = |error: NotNext| in_file(image, &io::Error::other(error));
        match Image::read(&bytes) {
            Ok(_) if !files.is_empty() || cmdline.is_some() => Err(wrong(NotNext::Whole)),
            Ok(image) => Ok(Self::Image(image)),
            Err(NotNext::Kernel) => {
                let kernel = Image::of_kernel(&bytes).map_err(wrong)?;
                let read = |it: &NextFile| Ok((it.name.clone(), Sha256::digest(read(&it.path)?).into()));
                let files = files.iter().map(read).collect::<io::Result<_>>()?;
                Ok(Self::Grub(Grub { kernel, content: Sha256::digest(&bytes).into(), files, cmdline }))
            }
            Err(error) => Err(wrong(error)),
        }
    }

    /// Returns the registers of which nobody can tell before what they will hold.
    pub fn unforeseen(&self) -> Pcrs {
        let all = match self {
            // What the kernel measures of its initrd, and what comes behind it.
            Self::Image(_) => [9, 10],
            // The commands of GRUB, and what comes behind the start.
            Self::Grub(_) => [8, 10],
        };
        Pcrs::of(all).unwrap_or_default()
    }

    /// Works out the next start from this one.
    ///
    /// # Errors
    /// When this start was another kind of start.
    pub fn after(&self, now: &Story) -> Result<Story, NotNext> {
        match self {
            Self::Image(image) => image.next(now),
            Self::Grub(grub) => grub.after(now),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(LARGEST).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|it| it.take(limit).read_to_end(&mut bytes));
    read.map_err(|error| in_file(path, &error))?;
    if bytes.len() > LARGEST {
        return Err(in_file(path, &io::Error::other("it is larger than any kernel or initrd")));
    }
    Ok(bytes)
}

fn in_file(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
