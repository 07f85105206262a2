//! What is done with a change on trial once the tree is there for it alone. Blocks.
//!
//! It is written down, with the texts of before, ahead of the change itself. So whatever moment the agent is killed at, the
//! next one knows what to put back and when.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use piccolo_schema::{Role, parse};

use super::{
    error::WriteError,
    read,
    set::Replacement,
    snapshot::{Identity, Snapshot},
    tree::Tree,
    trial::{CHANGE, Ended, Fate, Moment, Terms, Trial, Tried},
    write,
};
use crate::clock;

/// Where the change on trial is written down. The dot keeps it out of the tree.
const TRIAL: &str = ".piccolo-trial";

impl Moment {
    pub(super) fn now() -> Self {
        Self { wall: clock::now(), up: clock::uptime() }
    }
}

impl Tried {
    /// Describes a file that is about to be written, or removed when there is no new text.
    pub(super) fn new(before: Option<Arc<str>>, after: Option<&str>) -> Self {
        let fingerprint = |text: &str| read::etag(text.as_bytes());
        Self { old: before.as_deref().map(fingerprint), new: after.map(fingerprint), before }
    }
}

impl Tree {
    /// Finds the change that was on trial when the agent ended. One that can't be read can't be put back.
    pub(super) fn resume_trial(&mut self) {
        let path = self.root.join(TRIAL);
        let read = fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice::<Trial>(&bytes)?));
        match read {
            Ok(trial) => self.trials.pending = Some(Arc::new(trial.resumed(&Moment::now()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(path = %path.display(), %error, "a change on trial can't be put back"),
        }
    }

    /// Writes on these terms, and within this limit. While a change is on trial, only those are written that join it.
    pub(super) fn on_terms<T>(
        &mut self,
        terms: Option<Terms>,
        limit: Role,
        write: impl FnOnce(&mut Self) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        if let (None, Some(trial)) = (terms, &self.trials.pending) {
            return Err(WriteError::OnTrial { id: trial.id.clone() });
        }
        (self.terms, self.limit) = (terms, limit);
        let done = write(self);
        (self.terms, self.limit) = (None, Role::Reader);
        done
    }

    /// Writes down what is about to be written, if that is on trial.
    pub(super) fn try_out(&mut self, files: impl IntoIterator<Item = (PathBuf, Tried)>) -> Result<(), WriteError> {
        let Some(terms) = self.terms else { return Ok(()) };
        let now = Moment::now();
        let trial = match &self.trials.pending {
            Some(pending) => Trial::clone(pending).extended(terms.within, &now),
            None => Trial::begin(new_id(), terms, &now),
        };
        let trial = files.into_iter().fold(trial, |trial, (path, tried)| trial.joined(path, tried));
        let path = self.root.join(TRIAL);
        let written = serde_json::to_vec(&trial).map_err(io::Error::from).and_then(|it| write::replace(&path, &it));
        written.map_err(|source| WriteError::Io { path, source })?;
        self.trials.pending = Some(Arc::new(trial));
        Ok(())
    }

    /// Lets the change on trial stay.
    pub(super) fn confirm(&mut self, id: &str) -> Result<(), WriteError> {
        let trial = self.pending(id)?;
        self.end(&trial, true, Vec::new())
    }

    /// Puts the change on trial back if its time has come.
    pub(super) fn put_back_if_due(&mut self, id: &str) -> Result<(), WriteError> {
        match self.pending(id) {
            Ok(trial) if trial.left(&Moment::now()).is_zero() => self.put_back(id),
            _ => Ok(()),
        }
    }

    /// Makes everything that the change on trial wrote what it was before. What a hand did meanwhile stays.
    pub(super) fn put_back(&mut self, id: &str) -> Result<(), WriteError> {
        let trial = self.pending(id)?;
        let now = self.rescan();
        self.found = Some(Arc::clone(&now));
        let failed = |source| WriteError::Io { path: self.root.join(TRIAL), source };
        let (back, left) = self.fates(&trial, &now).map_err(failed)?;
        let replacements: Vec<_> = back.iter().map(|(path, tried)| replacement(path, tried)).collect();
        if !replacements.is_empty() {
            self.intend(&replacements).and_then(|()| self.finish()).map_err(failed)?;
        }
        // Nobody may be there who could confirm these removals, and who asked for a trial has.
        let gone = now.declared.iter().filter(|(_, it)| back.get(&it.path).is_some_and(|it| it.before.is_none()));
        self.consented.extend(gone.map(|(identity, _)| identity.clone()));
        self.end(&trial, false, left)
    }

    fn pending(&self, id: &str) -> Result<Arc<Trial>, WriteError> {
        let pending = self.trials.pending.as_ref().filter(|trial| trial.id == id);
        pending.cloned().ok_or_else(|| WriteError::NoTrial { id: id.to_owned() })
    }

    fn end(&mut self, trial: &Trial, confirmed: bool, left: Vec<PathBuf>) -> Result<(), WriteError> {
        let path = self.root.join(TRIAL);
        write::remove(&path).map_err(|source| WriteError::Io { path, source })?;
        self.trials.pending = None;
        self.trials.ended = Some(Arc::new(Ended { id: trial.id.clone(), confirmed, left }));
        Ok(())
    }

    /// Returns the files that can be put back, and those that are left as they are.
    fn fates<'a>(
        &self,
        trial: &'a Trial,
        now: &Snapshot,
    ) -> io::Result<(BTreeMap<&'a PathBuf, &'a Tried>, Vec<PathBuf>)> {
        let (mut back, mut left) = (BTreeMap::new(), Vec::new());
        for (path, tried) in trial.files() {
            match tried.fate(self.fingerprint(path)?.as_deref()) {
                Fate::Back => drop(back.insert(path, tried)),
                Fate::Done => {}
                Fate::Left => left.push(path.clone()),
            }
        }
        // What a hand declares elsewhere by now would be declared twice.
        let makes_room: BTreeSet<_> = back.keys().copied().cloned().collect();
        back.retain(|path, tried| {
            let identity = tried.before.as_deref().and_then(identity);
            let other = identity.and_then(|identity| now.declared.get(&identity));
            let is_free = other.is_none_or(|it| it.path == **path || makes_room.contains(&it.path));
            if !is_free {
                left.push(PathBuf::clone(path));
            }
            is_free
        });
        Ok((back, left))
    }

    fn fingerprint(&self, path: &Path) -> io::Result<Option<String>> {
        match fs::read(self.root.join(path)) {
            Ok(bytes) => Ok(Some(read::etag(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn replacement(path: &Path, tried: &Tried) -> Replacement {
    let text = tried.before.as_deref().map(str::to_owned);
    Replacement { path: path.to_owned(), before: tried.new.clone(), text }
}

fn identity(text: &str) -> Option<Identity> {
    parse::parse(text).ok().map(|manifest| (manifest.kind(), manifest.name().to_owned()))
}

fn new_id() -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{CHANGE}{}", random.chars().take(6).collect::<String>())
}
