//! What the installer is asked, and what it tells.

use std::fmt;

use piccolo_schema::install::Mirror;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::host::{Order, UnderWay};

/// A question, one line of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Asked {
    /// Which disks there are.
    Look {},
    /// All that is known of them, and of tickets.
    Targets {},
    /// Leave to erase a disk, whose serial number a person has typed.
    Ticket {
        /// The disk, by any of its names.
        disk: String,
        /// What was typed.
        serial: String,
    },
    /// An installation.
    Install(Box<Order>),
    /// A disk in the place of a lost one of two.
    Replace(Box<Mirror>),
}

/// A line that is told of an installation. The last one says that it is complete, or why it is not.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Told {
    /// How far it is.
    #[serde(flatten)]
    pub at: UnderWay,
    /// The key that opens the disk where its TPM does not, told this once: before the disk counts, so that there is no
    /// system whose key nobody was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_key: Option<Zeroizing<String>>,
    /// True once the disk holds the system.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub complete: bool,
    /// Why nothing was installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl Told {
    /// Says that nothing was installed.
    pub fn refused(why: impl Into<String>) -> Self {
        Self { refused: Some(why.into()), ..Self::default() }
    }

    /// Returns true if it is the last.
    pub const fn is_last(&self) -> bool {
        self.complete || self.refused.is_some()
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key is for one pair of eyes.
        let (at, refused) = (format!("{} of {}", self.at.step, self.at.steps), &self.refused);
        f.debug_struct("Told")
            .field("step", &at)
            .field("text", &self.at.text)
            .field("refused", refused)
            .finish_non_exhaustive()
    }
}
