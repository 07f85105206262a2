//! `Secret`: values that only this machine can read.

mod rules;

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use rules::is_key;

use crate::Condition;

/// Values that stand encrypted in the manifest and in plain only in the memory of this machine.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "piccolo.os",
    version = "v1alpha1",
    kind = "Secret",
    plural = "secrets",
    singular = "secret",
    shortname = "sec",
    category = "all",
    derive = "PartialEq",
    status = "SecretStatus",
    doc = "Values that stand encrypted in the manifest and in plain only in the memory of this machine.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Keys", type_ = "string", json_path = ".status.keys"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretSpec {
    /// The values by name, each encrypted with age for this machine, in armour. A name consists of letters, digits, `.`,
    /// `_` and `-`. `piccolo secret set` writes them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// Who else shall be able to read the values, `age1…`: a recovery key on paper, another machine. This machine always
    /// can. Used when values are encrypted; after a change run `piccolo secret rotate`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
}

/// How a secret stands. Holds no value, and nothing that a value could be guessed from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretStatus {
    /// The names of the values that containers can be given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How it stands in the words of the API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
