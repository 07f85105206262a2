use std::fmt::{self, Display};

use piccolo_schema::disk::part_key;
use serde::Serialize;

use crate::{
    host::{JoinOrder, KeyAct, KeyOrder, MakeOrder, Mount, NewKey, RebuildOrder, human, parted::PartOrder},
    reconcile::{Disruption, Step},
};

/// One change to a disk.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskStep {
    /// The name of the manifest.
    pub subject: String,
    /// The partition, where one of several is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
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
    /// Begins to read all that is stored and to compare it with its checksums.
    Scrub {
        /// Where it is mounted.
        at: String,
        /// True if it goes on with what was broken off.
        resumes: bool,
    },
    /// Begins to fill a disk in the place of a lost half.
    Rebuild {
        /// How, and which disk.
        order: Box<RebuildOrder>,
        /// The disk, for people.
        what: String,
        /// What is on it, for people.
        content: String,
    },
    /// Makes one file system on two encrypted disks that hold nothing yet.
    Join {
        /// Which.
        order: Box<JoinOrder>,
    },
    /// Begins to keep everything twice again.
    Even {
        /// Where it is mounted.
        at: String,
    },
    /// Takes the mount away. What is on the disk stays.
    Unmount {
        /// Where; none for swap.
        at: Option<String>,
    },
}

impl Act {
    fn uses_a_ticket(&self) -> bool {
        match self {
            Self::Make { order, .. } => order.tickets().next().is_some(),
            Self::Rebuild { order, .. } => order.onto.ticket.is_some(),
            _ => false,
        }
    }
}

impl DiskStep {
    /// Returns the name under which what it changes is mounted.
    pub fn key(&self) -> String {
        match &self.part {
            Some(part) => part_key(&self.subject, part),
            None => self.subject.clone(),
        }
    }
}

impl Step for DiskStep {
    fn subject(&self) -> &str {
        &self.subject
    }

    fn rests_on(&self, failed: &Self) -> bool {
        // Partitions have nothing to do with each other, but that one may be on its way to the place of another.
        let apart = matches!((&self.part, &failed.part), (Some(own), Some(other)) if own != other);
        let both_leave = [self, failed].iter().all(|it| matches!(it.act, Act::Unmount { .. }));
        !apart || both_leave
    }

    fn is_removal(&self) -> bool {
        self.removal
    }

    fn is_follow_up(&self) -> bool {
        // A disk that grew, and weeks that passed, are nobody's change of what is declared.
        matches!(self.act, Act::Grow { .. } | Act::Trim { .. } | Act::Scrub { .. } | Act::Even { .. })
    }

    fn disruption(&self) -> Disruption {
        match &self.act {
            Act::Make { what, content, .. } | Act::Rebuild { what, content, .. } if self.act.uses_a_ticket() => {
                Disruption::Erases(format!("{content} on {what}"))
            }
            _ => Disruption::None,
        }
    }

    fn loses(&self) -> Option<&'static str> {
        self.act.uses_a_ticket().then_some("what is on the disk")
    }

    fn is_transfer(&self) -> bool {
        matches!(self.act, Act::Make { .. } | Act::Join { .. })
    }
}

impl Display for DiskStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &*self.key();
        match &self.act {
            Act::Make { order, what, content } if !order.parts.is_empty() => {
                let begin = if order.resumes.is_some() { "go on to part" } else { "part" };
                let how = |it: &PartOrder| if it.encrypted { "encrypted " } else { "" };
                let part =
                    |it: &PartOrder| format!("{} ({}{}, {})", it.name, how(it), it.filesystem.as_str(), human(it.size));
                let parts: Vec<String> = order.parts.iter().map(part).collect();
                write!(f, "{begin} disk {name} into {} ({what}, with {content})", parts.join(", "))?;
                by(f, order.tickets())
            }
            Act::Make { order, what, content } if order.half.is_some() => {
                let go_on = if order.resumes.is_some() { "go on to " } else { "" };
                write!(f, "{go_on}encrypt a half of disk {name} ({what}, with {content})")?;
                by(f, order.tickets())
            }
            Act::Make { order, what, content } => {
                let go_on = if order.resumes.is_some() { "go on to " } else { "" };
                let as_what = if order.encryption.is_some() { "encrypted " } else { "" };
                let filesystem = order.filesystem.as_str();
                write!(f, "{go_on}format disk {name} as {as_what}{filesystem} ({what}, with {content})")?;
                by(f, order.tickets())
            }
            Act::Key { order } => {
                let half = order.half.as_ref().map(|it| format!(" ({})", it.what)).unwrap_or_default();
                turned(f, &format!("{name}{half}"), &order.act)
            }
            Act::Mount { mount } => match &mount.at {
                Some(at) => {
                    let lacks = mount.mirror.as_ref().is_some_and(|it| it.device.is_none());
                    let alone = if lacks { ", one half alone" } else { "" };
                    write!(f, "mount disk {name} at {at} ({}{alone})", mount.options.join(","))
                }
                None => write!(f, "use disk {name} as swap"),
            },
            Act::Remount { mount } => write!(f, "mount disk {name} anew with {}", mount.options.join(",")),
            Act::Grow { mount } => write!(f, "grow disk {name} to {}", human(mount.disk_size)),
            Act::Trim { at } => write!(f, "tell disk {name} what is free of {at}"),
            Act::Scrub { at, resumes } => {
                let begin = if *resumes { "go on to scrub" } else { "scrub" };
                write!(f, "{begin} disk {name} at {at}")
            }
            Act::Rebuild { order, what, content } => {
                write!(f, "fill a half of disk {name} anew ({what}, with {content})")?;
                by(f, order.onto.ticket.iter())
            }
            Act::Join { .. } => write!(f, "format disk {name} as btrfs on its two encrypted halves"),
            Act::Even { at } => write!(f, "keep all of disk {name} at {at} twice again"),
            Act::Unmount { at: Some(at) } => write!(f, "unmount disk {name} from {at}; its data stays on it"),
            Act::Unmount { at: None } => write!(f, "use disk {name} as swap no longer"),
        }
    }
}

fn turned(f: &mut fmt::Formatter<'_>, name: &str, act: &KeyAct) -> fmt::Result {
    match act {
        KeyAct::Open { .. } => write!(f, "open disk {name}"),
        KeyAct::OpenAnew { .. } => write!(f, "open disk {name} with a new key, and make swap inside"),
        KeyAct::Close => write!(f, "close disk {name}"),
        KeyAct::Add { key: NewKey::Tpm2(bound), .. } => write!(f, "let the TPM ({bound}) open disk {name}"),
        KeyAct::Add { key: NewKey::Tang(tang), .. } => write!(f, "let the server {} open disk {name}", tang.url),
        KeyAct::Add { key: NewKey::Passphrase(it), .. } => write!(f, "let the secret {it} open disk {name}"),
        KeyAct::Remove { slot, what, .. } => write!(f, "let {what} in slot {slot} open disk {name} no longer"),
    }
}

fn by<'a, T: Iterator<Item = &'a String>>(f: &mut fmt::Formatter<'_>, tickets: T) -> fmt::Result {
    let tickets: Vec<&str> = tickets.map(String::as_str).collect();
    if tickets.is_empty() { Ok(()) } else { write!(f, " by {}", tickets.join(" and ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Mount;

    #[test]
    fn a_partition_holds_up_no_other_unless_both_leave_their_places() {
        let step = |part: Option<&str>, act: Act| DiskStep {
            subject: "data".to_owned(),
            part: part.map(str::to_owned),
            removal: false,
            act,
        };
        let mount = |part| step(part, Act::Mount { mount: Mount::default() });
        let leave = |part| step(part, Act::Unmount { at: None });
        assert!(!mount(Some("rest")).rests_on(&mount(Some("films"))));
        assert!(!mount(Some("rest")).rests_on(&leave(Some("films"))));
        assert!(mount(Some("films")).rests_on(&leave(Some("films"))));
        // It may be on its way to where the other still is.
        assert!(leave(Some("rest")).rests_on(&leave(Some("films"))));
        assert!(mount(None).rests_on(&mount(None)));
        assert!(mount(Some("rest")).rests_on(&mount(None)));
    }
}
