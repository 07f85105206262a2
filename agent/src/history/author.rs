//! Whose change it was.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt, path::Path};

use super::files::Changed;
use crate::manifests::{By, Door, Who};

/// Returns the name of the author: who came by the door, or else the owner of the files. Blocks.
pub(super) fn name(by: &By, root: &Path, changes: &[Changed]) -> String {
    match (by.door, &by.who) {
        (_, Who::User(user)) => user_name(*user),
        (_, Who::Named(name)) => name.to_string(),
        (_, Who::Agent(_)) => "piccolod".to_owned(),
        (_, Who::Committer { author, .. }) => author.to_string(),
        (Door::File, Who::Unknown) => owner(root, changes),
        (Door::Api | Door::Git | Door::Pull, Who::Unknown) => by.door.as_str().to_owned(),
    }
}

/// Names the owner of what changed; of what is gone, the owner of the nearest directory that is there.
fn owner(root: &Path, changes: &[Changed]) -> String {
    let owner = |it: &Changed| {
        let mut places = it.path.ancestors().map(|path| root.join(path));
        places.find_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.uid())
    };
    let owners: BTreeSet<u32> = changes.iter().filter_map(owner).collect();
    if owners.is_empty() {
        return "unknown".to_owned();
    }
    owners.into_iter().map(user_name).collect::<Vec<_>>().join(", ")
}

fn user_name(user: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    find(&users, user).map_or_else(|| format!("uid {user}"), str::to_owned)
}

/// Finds a user in the words of `/etc/passwd`.
fn find(users: &str, user: u32) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn users_are_found_by_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbroken\nanna:x:1000:1000::/home/anna:/bin/sh\n";
        assert_eq!(super::find(users, 0), Some("root"));
        assert_eq!(super::find(users, 1000), Some("anna"));
        assert_eq!(super::find(users, 7), None);
    }
}
