//! What an author may change: some manifests are as good as root on the machine.

use piccolo_schema::{Manifest, Role};

use super::{error::WriteError, snapshot::Snapshot, tree::Tree};

impl Tree {
    /// Refuses the write under way if its author may not make, change or remove this.
    pub(super) fn allow(&self, manifest: &Manifest) -> Result<(), WriteError> {
        check(self.limit, manifest)
    }
}

/// Refuses what is beyond this role.
pub(super) fn check(limit: Role, manifest: &Manifest) -> Result<(), WriteError> {
    let needs = manifest.role();
    if needs <= limit {
        return Ok(());
    }
    Err(WriteError::Forbidden { kind: manifest.kind(), name: manifest.name().to_owned(), needs })
}

/// Returns all manifests that differ between two snapshots, as both have them.
pub(super) fn changed<'a>(before: &'a Snapshot, after: &'a Snapshot) -> impl Iterator<Item = &'a Manifest> {
    differing(before, after).chain(differing(after, before))
}

/// Returns what one has that the other has not, or not so.
fn differing<'a>(one: &'a Snapshot, other: &'a Snapshot) -> impl Iterator<Item = &'a Manifest> {
    let declared = one.declared.iter();
    let changed = declared.filter(|(key, it)| other.declared.get(*key).is_none_or(|its| its.manifest != it.manifest));
    changed.map(|(_, it)| &*it.manifest)
}
