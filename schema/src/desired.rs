use std::collections::BTreeSet;

/// Everything that is asked for of one kind.
#[derive(Clone, Debug)]
pub struct Desired<M> {
    /// The manifests, sorted by name, no name twice.
    pub manifests: Vec<M>,
    /// False while a file can't be read or understood: what is missing here may stand in that file, so nothing of the
    /// kind may be removed.
    pub complete: bool,
    /// Names whose removal a person has confirmed.
    pub consented: BTreeSet<String>,
}

impl<M> Desired<M> {
    /// Returns a complete desire for these manifests.
    pub fn complete(manifests: Vec<M>) -> Self {
        Self { manifests, complete: true, consented: BTreeSet::new() }
    }
}

impl<M> Default for Desired<M> {
    /// Returns the desire of a machine whose manifests have not been read yet: nothing, and nothing may be removed.
    fn default() -> Self {
        Self { manifests: Vec::new(), complete: false, consented: BTreeSet::new() }
    }
}
