use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Image, Manifest, container::Grant};

/// How much somebody may do. Each may all that the one before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees manifests, plans, status, logs and figures.
    Reader,
    /// Changes manifests and runs programs in containers.
    Operator,
    /// Does what amounts to being the machine's root, and lets others in.
    Admin,
}

/// A word that is no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownRole;

impl Role {
    /// Every word, the weakest first.
    pub const WORDS: [&'static str; 3] = ["reader", "operator", "admin"];

    /// Returns its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl Manifest {
    /// Returns the role that it takes to make, change or remove this manifest: admin for what could take over the machine,
    /// operator for everything else.
    pub fn role(&self) -> Role {
        let is_mighty = match self {
            Self::Container(it) => !it.spec.grants.is_empty(),
            // What comes from there is not looked at again.
            Self::ConfigSource(_) => true,
            // It can lead everything that the machine says elsewhere, or lock everybody out.
            Self::Link(_) => true,
            // It lets others in.
            Self::Host(_) => true,
            // Who opens the machine, or shuts it, decides who else comes in.
            Self::Firewall(_) => true,
            // It may erase a disk, and brings in what another machine wrote.
            Self::Disk(_) => true,
            // It may erase a disk, and copies who may come in.
            Self::Install(_) => true,
            Self::Image(it) => reads_the_machine(it),
            Self::Network(_) | Self::Volume(_) | Self::Secret(_) => false,
        };
        if is_mighty { Role::Admin } else { Role::Operator }
    }
}

/// An image is readable by whatever runs from it.
fn reads_the_machine(image: &Image) -> bool {
    let context = image.spec.build.as_ref().and_then(|it| it.context.as_deref());
    let mut paths = context.into_iter().chain(image.spec.archive.as_deref());
    paths.any(|path| Grant::for_path(path, true).is_some())
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(word: &str) -> Result<Self, UnknownRole> {
        [Self::Reader, Self::Operator, Self::Admin].into_iter().find(|role| role.as_str() == word).ok_or(UnknownRole)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for UnknownRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write one of {}", Role::WORDS.join(", "))
    }
}

impl std::error::Error for UnknownRole {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    fn role(kind: &str, spec: &str) -> Role {
        let text = format!(
            "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"{kind}\"\nmetadata.name = \"it\"\n\n[spec]\n{spec}\n"
        );
        parse(&text).unwrap().role()
    }

    #[test]
    fn what_could_take_over_the_machine_is_for_admins() {
        assert_eq!(role("Container", "image = \"a:1\""), Role::Operator);
        let granted = "image = \"a:1\"\nprivileged = true\ngrants = [\"privileged\"]";
        assert_eq!(role("Container", granted), Role::Admin);
        assert_eq!(role("ConfigSource", "url = \"https://git.example.org/a.git\""), Role::Admin);
        let disk = "select.serial = \"A1\"\nfilesystem = \"ext4\"\nmount = \"/srv/a\"";
        assert_eq!(role("Disk", disk), Role::Admin);
        assert_eq!(role("Image", "reference = \"a:1\"\nbuild.context = \"/srv/a\""), Role::Operator);
        assert_eq!(role("Image", "reference = \"a:1\"\nbuild.context = \"/root/app\""), Role::Admin);
        assert!(Role::Reader < Role::Operator && Role::Operator < Role::Admin);
        for word in Role::WORDS {
            assert_eq!(word.parse::<Role>().map(Role::as_str), Ok(word));
        }
    }
}
