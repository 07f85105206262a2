//! What was measured as the machine started.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::in_base64;

/// What was measured as the machine started, as it was written down, and what the registers hold by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// The log of the firmware, in the binary form of the TCG.
    #[serde(with = "in_base64")]
    pub firmware_log: Vec<u8>,
    /// The log of systemd; empty where it keeps none, as before version 256.
    #[serde(with = "in_base64")]
    pub system_log: Vec<u8>,
    /// What the registers of the bank `sha256` hold, in hexadecimal.
    pub registers: BTreeMap<u8, String>,
    /// What runs here.
    #[serde(default)]
    pub versions: Versions,
}

/// What runs on a machine, in words: what may explain that something else was measured. Empty where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Versions {
    /// The name of the operating system and its version.
    pub system: String,
    /// The version of the kernel.
    pub kernel: String,
    /// The version of the firmware.
    pub firmware: String,
}
