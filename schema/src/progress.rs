//! How far something has come that takes a while.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::Bytes;

/// How far an image has come that is on its way to this machine, is being built on it, or leaves it for a registry.
///
/// It is told at most once a second, and goes away with the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// How much of it has come, in percent. It never goes back; layers of which the size is not known yet count as
    /// large as the others.
    pub percent: u8,
    /// How much has come.
    pub done: Bytes,
    /// How much is to come in all. None as long as there are layers of which the size is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Bytes>,
    /// How many of its layers are unpacked, or are at the registry that it is pushed to.
    pub layers_done: u32,
    /// How many layers it has, with those that were here before.
    pub layers: u32,
    /// The step of a build that is under way.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub step: u32,
    /// How many steps a build has. None for a pull.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub steps: u32,
    /// What it is called where it is pushed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
