use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::Bytes;

/// A directory, file or named volume that the container sees. Exactly one of `hostPath` and `volume` is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// Where it appears in the container, an absolute path.
    #[schemars(
        regex(pattern = r"^/"),
        extend("patternErrorMessage" = "write an absolute path, it begins with `/`")
    )]
    pub path: String,
    /// A directory or file of the machine, an absolute path. It must exist: nothing is made up in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^/"),
        extend("patternErrorMessage" = "write an absolute path, it begins with `/`")
    )]
    pub host_path: Option<String>,
    /// A volume by the name of its Volume manifest. It is never erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,63}$"),
        extend("patternErrorMessage" = "write a name of 2 to 64 letters, digits, `_`, `.` and `-`; a path of the machine is a `hostPath`")
    )]
    pub volume: Option<String>,
    /// Keeps the container from writing to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

impl Mount {
    /// Returns its volume if a manifest can declare it: others have names that no manifest can have.
    #[must_use]
    pub fn declared(&self) -> Option<&str> {
        self.volume.as_deref().filter(|name| can_be_declared(name))
    }
}

/// Returns true if a manifest can declare a network or volume of this name. What others made may be called otherwise.
#[must_use]
pub fn can_be_declared(name: &str) -> bool {
    name.chars().all(|it| matches!(it, 'a'..='z' | '0'..='9' | '-'))
}

/// A directory kept in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tmpfs {
    /// Where it appears in the container, an absolute path.
    #[schemars(
        regex(pattern = r"^/"),
        extend("patternErrorMessage" = "write an absolute path, it begins with `/`")
    )]
    pub path: String,
    /// The most it may hold, `64Mi`; half of the memory when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
}
