use std::fmt::{self, Display};

use serde::Serialize;

use crate::{
    host::{KeyAct, KeyOrder, MakeOrder, Mount, NewKey, human},
    reconcile::{Disruption, Step},
};

/// One change to a disk.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskStep {
    /// The name of the manifest.
    pub subject: String,
    /// True when no manifest asks for the disk any more.
    pub removal: bool,
    /// The change.
    pub act: Act,
}

/// What is done. Only the first writes over what is on a disk.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Act {
    /// Makes a file system.
    Make {
        /// How, and on which disk.
        order: Box<MakeOrder>,
        /// The disk, for people.
        what: String,
        /// What is on it, for people.
        content: String,
    },
    /// Opens or closes an encrypted disk, or changes its keys.
    Key {
        /// Which, and how.
        order: KeyOrder,
    },
    /// Mounts it, or uses it as swap.
    Mount {
        /// How.
        mount: Mount,
    },
    /// Changes the options of the mount.
    Remount {
        /// How it is to be.
        mount: Mount,
    },
    /// Lets the file system fill a disk that has grown.
    Grow {
        /// The mount, with the new size of the disk.
        mount: Mount,
    },
    /// Tells the disk which of its blocks are free.
    Trim {
        /// Where it is mounted.
        at: String,
    },
    /// Takes the mount away. What is on the disk stays.
    Unmount {
        /// Where; none for swap.
        at: Option<String>,
    },
}

impl Step for DiskStep {
    fn subject(&self) -> &str {
        &self.subject
    }

    fn is_removal(&self) -> bool {
        self.removal
    }

    fn is_follow_up(&self) -> bool {
        // A disk that grew, and a week that passed, are nobody's change of what is declared.
        matches!(self.act, Act::Grow { .. } | Act::Trim { .. })
    }

    fn disruption(&self) -> Disruption {
        match &self.act {
            Act::Make { order, what, content } if order.ticket.is_some() => {
                Disruption::Erases(format!("{content} on {what}"))
            }
            _ => Disruption::None,
        }
    }

    fn loses(&self) -> Option<&'static str> {
        match &self.act {
            Act::Make { order, .. } if order.ticket.is_some() => Some("what is on the disk"),
            _ => None,
        }
    }

    fn is_transfer(&self) -> bool {
        matches!(self.act, Act::Make { .. })
    }
}

impl Display for DiskStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.subject;
        match &self.act {
            Act::Make { order, what, content } => {
                let go_on = if order.resumes.is_some() { "go on to " } else { "" };
                let as_what = if order.encryption.is_some() { "encrypted " } else { "" };
                let filesystem = order.filesystem.as_str();
                write!(f, "{go_on}format disk {name} as {as_what}{filesystem} ({what}, with {content})")?;
                order.ticket.as_ref().map_or(Ok(()), |ticket| write!(f, " by {ticket}"))
            }
            Act::Key { order } => key(f, name, &order.act),
            Act::Mount { mount } => match &mount.at {
                Some(at) => write!(f, "mount disk {name} at {at} ({})", mount.options.join(",")),
                None => write!(f, "use disk {name} as swap"),
            },
            Act::Remount { mount } => write!(f, "mount disk {name} anew with {}", mount.options.join(",")),
            Act::Grow { mount } => write!(f, "grow disk {name} to {}", human(mount.disk_size)),
            Act::Trim { at } => write!(f, "tell disk {name} what is free of {at}"),
            Act::Unmount { at: Some(at) } => write!(f, "unmount disk {name} from {at}; its data stays on it"),
            Act::Unmount { at: None } => write!(f, "use disk {name} as swap no longer"),
        }
    }
}

fn key(f: &mut fmt::Formatter<'_>, name: &str, act: &KeyAct) -> fmt::Result {
    match act {
        KeyAct::Open { .. } => write!(f, "open disk {name}"),
        KeyAct::Close => write!(f, "close disk {name}"),
        KeyAct::Add { key: NewKey::Tpm2(pcrs), .. } => write!(f, "let the TPM (registers {pcrs}) open disk {name}"),
        KeyAct::Add { key: NewKey::Passphrase(it), .. } => write!(f, "let the secret {it} open disk {name}"),
        KeyAct::Remove { slot, what, .. } => write!(f, "let {what} in slot {slot} open disk {name} no longer"),
    }
}
