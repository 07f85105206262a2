//! Images that come from an archive.

use super::{
    plan::{here, listed_as},
    step::Act,
};
use crate::host::{ArchiveSeen, Brought, ImagesView};

/// Says whether an image is to be loaded, or what is missing for that: a reason and a sentence.
pub(super) fn load(reference: &str, path: &str, observed: &ImagesView) -> Result<Option<Act>, (&'static str, String)> {
    let is_here = here(reference, observed).is_some();
    let there = match observed.archives.get(path) {
        Some(ArchiveSeen::There(there)) => there,
        // What was loaded once needs its archive no more.
        _ if is_here => return Ok(None),
        Some(ArchiveSeen::Unusable(why)) => {
            let message = format!("The archive `{path}` can't be used: {why}; put it there, or mend `archive`");
            return Err(("ArchiveMissing", message));
        }
        None => return Err(("ArchiveMissing", format!("The archive `{path}` was not looked at yet"))),
    };
    let of_this =
        |it: &Brought| it.archive.as_ref().is_some_and(|from| from.path == path && from.fingerprint == *there);
    if is_here && observed.brought.get(&listed_as(reference)).is_some_and(of_this) {
        return Ok(None);
    }
    Ok(Some(Act::Load { reference: reference.to_owned(), archive: path.to_owned() }))
}
