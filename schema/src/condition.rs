//! Conditions: how a thing stands, in the form of the Kubernetes API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How one aspect of a thing stands, with a cause for programs and a sentence for people.
///
/// The shape is that of `meta/v1` Condition of the Kubernetes API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The aspect, `Ready` or `Accepted`.
    pub r#type: String,
    /// Whether it holds.
    pub status: Truth,
    /// The cause in PascalCase, `ImageMissing`.
    pub reason: String,
    /// One sentence that says what happened and what to do.
    pub message: String,
    /// When `status` last changed, RFC 3339 in UTC.
    pub last_transition_time: String,
    /// The generation of the spec that this speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody can say at present.
    Unknown,
}
