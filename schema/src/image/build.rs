//! How an image is built on this machine.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::volume::plain;

/// What an image is built from, by the engine's own builder. Exactly one of `context` and `git` is given.
///
/// It is built when it is not here, when this table changes, and when what it is built from changes. Files in it are
/// looked at every 15 seconds or so, a repository every 5 minutes. A container that runs goes on with the image that it
/// was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Build {
    /// The directory of this machine that the image is built from, an absolute path without symbolic links in it. What
    /// its `.containerignore`, or else its `.dockerignore`, names is left out. It holds at most 20,000 files and 1 GiB;
    /// a symbolic link in it is taken as a link and never followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^/"),
        extend("patternErrorMessage" = "write an absolute path, it begins with `/`")
    )]
    pub context: Option<String>,
    /// The git repository that the image is built from. A file that says what is left out counts here too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<Repository>,
    /// The file that says how, as a path in there; `Containerfile` when left out, or `Dockerfile` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containerfile: Option<String>,
    /// Values of the `ARG`s in it. They are no place for secrets: whoever has the image can read them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, String>,
    /// The stage of it that becomes the image, the last one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$"),
        extend("patternErrorMessage" = "write the name that stands behind `AS` in the file")
    )]
    pub target: Option<String>,
}

/// A git repository, which must be readable without a login.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Repository {
    /// Its address: `https://…`, `http://…`, or `file:///…` for one on this machine.
    #[schemars(
        regex(pattern = r"^(https?://[^/]|file:///)[^\s]*$"),
        length(max = 1024),
        extend("patternErrorMessage" = "write an address that begins with `https://`, `http://` or `file:///`")
    )]
    pub url: String,
    /// The branch, the tag or the whole identifier of the commit; the branch that the repository itself names when left
    /// out. A branch that moves is followed.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[A-Za-z0-9_]([A-Za-z0-9_./+-]{0,200}[A-Za-z0-9_+-])?$"),
        extend("patternErrorMessage" = "write a branch, a tag or a commit: `main`, `v1.2`")
    )]
    pub reference: Option<String>,
    /// The directory in it that the image is built from, the top one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl Build {
    /// Returns where it is built from, in one spelling: what is looked at to see whether it changed. The file that says
    /// how is part of it, for it counts even where it is left out.
    pub fn place(&self) -> String {
        match (&self.git, &self.context) {
            (Some(git), _) => git.place(),
            (None, context) => {
                let file = self.containerfile.as_ref().map(|file| format!(":{file}")).unwrap_or_default();
                context.as_deref().map(plain).unwrap_or_default() + &file
            }
        }
    }
}

impl Repository {
    /// Returns the repository and what is followed in it, in one word.
    pub fn place(&self) -> String {
        self.reference.as_ref().map_or_else(|| self.url.clone(), |reference| format!("{}#{reference}", self.url))
    }

    /// Returns the commit, if the manifest names one.
    pub fn commit(&self) -> Option<&str> {
        let is_commit = |it: &&str| matches!(it.len(), 40 | 64) && it.bytes().all(|b| b.is_ascii_hexdigit());
        self.reference.as_deref().filter(is_commit)
    }
}
