use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A container that must be there before this one starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dependency {
    /// The name of its manifest.
    #[schemars(
        regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        extend("patternErrorMessage" = "write the name of a manifest: lower-case letters, digits and `-`")
    )]
    pub container: String,
    /// What is waited for.
    #[serde(default)]
    pub condition: DependencyCondition,
}

/// What is waited for in a container that another one depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DependencyCondition {
    /// It runs.
    #[default]
    Started,
    /// It runs and its health check passes.
    Healthy,
    /// It ran to its end without an error; it has `restart = "no"` or `"onFailure"`.
    Completed,
}
