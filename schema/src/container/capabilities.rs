use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Linux capabilities, without `CAP_`: `NET_ADMIN`, or `ALL`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Capabilities {
    /// Capabilities given beyond the default set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        inner(regex(pattern = r"^[A-Z][A-Z_]+$")),
        extend("patternErrorMessage" = "write it in capitals: `NET_ADMIN`")
    )]
    pub add: Vec<String>,
    /// Capabilities taken from the default set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        inner(regex(pattern = r"^[A-Z][A-Z_]+$")),
        extend("patternErrorMessage" = "write it in capitals: `NET_ADMIN`")
    )]
    pub drop: Vec<String>,
}

/// Capabilities of the engine's default set that a container has not unless it asks for them: next to no program needs
/// them, and they help an intruder to forged packets, device files, forged records and capabilities on files.
pub const WITHHELD: [&str; 4] = ["AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP"];

impl Capabilities {
    pub(super) fn is_default(&self) -> bool {
        self.add.is_empty() && self.drop.is_empty()
    }
}
