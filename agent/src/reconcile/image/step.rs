use std::fmt::{self, Display};

use piccolo_schema::{
    ImageSpec,
    image::{Build, Push},
};
use serde::Serialize;

use crate::{host::Built, reconcile::Step};

/// One change to an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageStep {
    /// The name of the manifest.
    pub subject: String,
    /// The change.
    pub act: Act,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Act {
    /// Pulls it.
    Pull {
        /// What it is pulled for.
        spec: ImageSpec,
    },
    /// Builds it.
    Build {
        /// What it is built for.
        spec: ImageSpec,
        /// What it is stamped with.
        built: Built,
        /// True if what it is built from is not what it was when the image that is here was built.
        moved: bool,
    },
    /// Gives it to a registry.
    Push {
        /// What it is called here.
        reference: String,
        /// The engine's identifier.
        image: String,
        /// Where it is pushed to.
        push: Push,
    },
    /// Gives back a name that it has only because a push broke off.
    GiveBack {
        /// The name.
        to: String,
    },
    /// Removes another image of its repository, which nobody needs.
    Remove {
        /// The engine's identifier.
        image: String,
        /// The repository.
        repository: String,
        /// What it is called.
        names: Vec<String>,
    },
    /// Loads it from an archive.
    Load {
        /// What it is called.
        reference: String,
        /// The archive.
        archive: String,
    },
}

impl Step for ImageStep {
    fn subject(&self) -> &str {
        &self.subject
    }

    fn is_transfer(&self) -> bool {
        !matches!(self.act, Act::Remove { .. })
    }

    fn is_follow_up(&self) -> bool {
        matches!(
            self.act,
            Act::Build { moved: true, .. } | Act::Push { .. } | Act::GiveBack { .. } | Act::Remove { .. }
        )
    }
}

impl Display for ImageStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.act {
            Act::Pull { spec } => {
                write!(f, "pull {}", spec.reference)?;
                spec.credentials.as_ref().map_or(Ok(()), |it| write!(f, " with the login of secret {}", it.secret))
            }
            Act::Load { reference, archive } => write!(f, "load {reference} from {archive}"),
            Act::Push { reference, push, .. } => {
                write!(f, "push {reference} to {}", push.to)?;
                push.credentials.as_ref().map_or(Ok(()), |it| write!(f, " with the login of secret {}", it.secret))
            }
            Act::Remove { image, names, .. } => {
                let name = names.first().map_or_else(|| short(image), String::as_str);
                write!(f, "remove the image {name}, which nothing needs")
            }
            Act::GiveBack { to } => write!(f, "give back the name {to}, which a push left"),
            Act::Build { spec, built, .. } => {
                let place = spec.build.as_ref().map(Build::place).unwrap_or_default();
                write!(f, "build {} from {place} at {}", spec.reference, short(&built.source))
            }
        }
    }
}

/// Returns a fingerprint as people can compare it.
fn short(fingerprint: &str) -> &str {
    let hex = fingerprint.strip_prefix("sha256:").unwrap_or(fingerprint);
    hex.get(..12).unwrap_or(hex)
}
