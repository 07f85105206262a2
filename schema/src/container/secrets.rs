use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rights of a secret's file when nothing is asked: the container is the border, and who in it reads is its own
/// business.
const DEFAULT_MODE: u32 = 0o444;

/// A secret that the container is given. Exactly one of `path` and `env` is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretUse {
    /// The name of its Secret manifest.
    #[schemars(
        regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        extend("patternErrorMessage" = "write the name of a manifest: lower-case letters, digits and `-`")
    )]
    pub secret: String,
    /// One value of it; all of them when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[A-Za-z0-9._-]{1,128}$"),
        extend("patternErrorMessage" = "write the name of one value of the secret: `password`")
    )]
    pub key: Option<String>,
    /// Where it appears in the container, an absolute path: a directory with a file for each value, or the file of the
    /// one value that `key` names. Held in memory, read-only, and changed in place when the secret changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^/"),
        extend("patternErrorMessage" = "write an absolute path, it begins with `/`")
    )]
    pub path: Option<String>,
    /// The environment variable that holds the value of `key`. Whoever may ask the engine about the container can read it
    /// there, and a change makes the container anew: prefer `path` where the program can read a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]{0,254}$"),
        extend("patternErrorMessage" = "write the name of a variable: `DB_PASSWORD`")
    )]
    pub env: Option<String>,
    /// The rights of its files in octal digits, `0444` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^0?[0-7]{3}$"),
        extend("patternErrorMessage" = "write three octal digits: `0400`")
    )]
    pub mode: Option<String>,
    /// The number of the user who owns its files, 0 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_294.0))]
    pub uid: Option<u32>,
    /// The number of the group that owns its files, 0 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_294.0))]
    pub gid: Option<u32>,
}

impl SecretUse {
    /// Returns the rights of its files.
    pub fn mode(&self) -> u32 {
        let mode = self.mode.as_deref().and_then(|mode| u32::from_str_radix(mode, 8).ok());
        mode.map_or(DEFAULT_MODE, |mode| mode & 0o777)
    }

    /// Returns user and group that own its files.
    pub fn owner(&self) -> (u32, u32) {
        (self.uid.unwrap_or(0), self.gid.unwrap_or(0))
    }
}
