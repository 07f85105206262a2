use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::Bytes;

/// A limit that the kernel keeps for each process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ulimit {
    /// What a process begins with; -1 for no limit.
    #[schemars(range(min = -1))]
    pub soft: i64,
    /// How far a process may raise it; -1 for no limit. The same as `soft` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub hard: Option<i64>,
}

/// A device of the machine that the container may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// The device, best by a path that stays the same: `/dev/serial/by-id/…`, `/dev/dri/by-path/…`.
    #[schemars(regex(pattern = r"^/dev/."), extend("patternErrorMessage" = "write a path below `/dev/`"))]
    pub host_path: String,
    /// Where it appears in the container; the same path when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^/dev/."), extend("patternErrorMessage" = "write a path below `/dev/`"))]
    pub path: Option<String>,
    /// Keeps the container from writing to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// Where the output of a container goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Log {
    /// Who keeps it.
    #[serde(default)]
    pub driver: LogDriver,
    /// The size at which a file is full and the next one is begun, `10Mi` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<Bytes>,
    /// How many files are kept, 3 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_files: Option<u16>,
    /// Further options of the driver, in the engine's words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// Who keeps the output of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// The engine, in files of JSON that many tools can read.
    #[default]
    JsonFile,
    /// The engine, in small files of its own form.
    Local,
    /// The machine's journal, which rotates by itself.
    Journald,
    /// A syslog server; its address is an option.
    Syslog,
    /// Nobody.
    None,
}

impl LogDriver {
    /// Returns the engine's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JsonFile => "json-file",
            Self::Local => "local",
            Self::Journald => "journald",
            Self::Syslog => "syslog",
            Self::None => "none",
        }
    }

    /// Returns true if the engine keeps files that have to be rotated.
    pub const fn keeps_files(self) -> bool {
        matches!(self, Self::JsonFile | Self::Local)
    }
}
