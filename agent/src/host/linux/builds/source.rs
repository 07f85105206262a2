//! What an image is built from, opened for the engine.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use piccolo_schema::{image::Build, volume};
use tar::{Archive, EntryType};

use crate::host::{
    Built, HostError, Reason,
    linux::{
        context::{
            CONTAINERFILES, Context, MOST_BYTES, MOST_FILES,
            ignore::{self, Ignore},
            pack::{Packer, Rights},
        },
        git::{self, Commit},
        volumes::blocking,
    },
};

/// What an image is built from.
#[derive(Debug)]
pub(super) struct Source {
    files: Files,
    containerfile: String,
}

#[derive(Debug)]
enum Files {
    Directory(Context),
    /// The commit is kept for as long as it is read.
    Commit {
        archive: git::Archive,
        ignore: Ignore,
        commit: Commit,
    },
}

impl Source {
    /// Opens what an image is built from. A repository is brought to `room` for as long as this lives.
    pub(super) async fn open(build: &Build, built: &Built, room: String) -> Result<Self, HostError> {
        let named = build.containerfile.as_deref().map(plain);
        if let Some(git) = &build.git {
            return Self::commit(git::fetch(git, &built.source, room).await?, named, &git.place()).await;
        }
        let place = volume::plain(build.context.as_deref().unwrap_or_default());
        let wanted = built.source.clone();
        blocking(move || {
            let context = Context::open(&place, named.as_deref())?;
            if context.digest()? != wanted {
                let message = format!("`{place}` was changed meanwhile; it is looked at again");
                return Err(HostError::new(Reason::Gone, message));
            }
            let found = named.or_else(|| first(|name| context.holds(name)));
            let there = found.filter(|name| context.holds(name)).ok_or_else(|| no_containerfile(&place))?;
            Ok(Self { files: Files::Directory(context), containerfile: there })
        })
        .await
    }

    async fn commit(commit: Commit, named: Option<String>, place: &str) -> Result<Self, HostError> {
        let mut found = None;
        for name in named.iter().map(String::as_str).chain(CONTAINERFILES.into_iter().filter(|_| named.is_none())) {
            if commit.file(name).await.is_some() {
                found = Some(name.to_owned());
                break;
            }
        }
        let containerfile = found.ok_or_else(|| no_containerfile(place))?;
        let mut text = None;
        for name in ignore::FILES {
            if text.is_none() {
                text = commit.file(name).await;
            }
        }
        let ignore = Ignore::new(&String::from_utf8_lossy(&text.unwrap_or_default()), &[&containerfile]);
        let ignore = ignore.map_err(|why| HostError::new(Reason::SourceUnavailable, format!("In `{place}`: {why}")))?;
        let archive = commit.archive()?;
        Ok(Self { files: Files::Commit { archive, ignore, commit }, containerfile })
    }

    /// Returns the file that says how to build.
    pub(super) fn containerfile(&self) -> &str {
        &self.containerfile
    }

    /// Writes everything. Blocks.
    pub(super) fn pack(self, packer: &mut Packer) -> io::Result<()> {
        match self.files {
            Files::Directory(context) => context.pack(packer),
            Files::Commit { archive, ignore, commit } => {
                archive.read(|tar| repack(tar, &ignore, packer))?;
                drop(commit);
                Ok(())
            }
        }
    }
}

/// Writes what a tar holds, but for what is left out, and no more than is taken.
fn repack(tar: impl Read, ignore: &Ignore, packer: &mut Packer) -> io::Result<()> {
    let (mut files, mut bytes) = (0, 0_u64);
    let mut tar = Archive::new(tar);
    for entry in tar.entries()? {
        let mut entry = entry?;
        let path: PathBuf = entry.path()?.components().collect();
        let (kind, size) = (entry.header().entry_type(), entry.size());
        files += 1;
        bytes = bytes.saturating_add(size);
        if files > MOST_FILES || bytes > MOST_BYTES {
            return Err(io::Error::other(format!("it holds more than {MOST_FILES} files or {} MiB", MOST_BYTES >> 20)));
        }
        if path.as_os_str().is_empty() || ignore.leaves_out(&path.to_string_lossy()) {
            continue;
        }
        let rights = Rights { mode: entry.header().mode()? & 0o777, modified: entry.header().mtime()? };
        match kind {
            EntryType::Directory => packer.directory(&path, &rights)?,
            EntryType::Regular => packer.file(&path, &rights, size, &mut entry)?,
            EntryType::Symlink => {
                let to = entry.link_name()?.unwrap_or_else(|| Path::new("").into()).into_owned();
                packer.link(&path, &rights, &to)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn first(is_there: impl Fn(&str) -> bool) -> Option<String> {
    CONTAINERFILES.into_iter().find(|name| is_there(name)).map(str::to_owned)
}

fn no_containerfile(place: &str) -> HostError {
    let message = format!("In `{place}` there is no file that says how to build; name it as `containerfile`");
    HostError::new(Reason::SourceUnavailable, message)
}

fn plain(path: &str) -> String {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/")
}
