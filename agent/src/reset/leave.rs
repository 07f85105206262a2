//! Leave to reset a machine: for one hour, used once, for this machine and what its owner named alone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::host::{DiskSeen, Erase, ResetOrder, ResetView, Ticket, named};

/// How many disks can be named at most.
const MOST_DISKS: usize = 64;

/// Why a machine is not reset, in a sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// What leave is asked for. What becomes of disks for data has to be said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Asked {
    /// The name of the machine, as a person typed it.
    pub machine: String,
    /// What becomes of disks for data.
    pub data: Data,
}

/// What becomes of disks for data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Data {
    /// All of them are left as they are.
    Keep,
    /// These are erased, and all others left as they are.
    Erase(Vec<Typed>),
}

/// A disk whose serial number a person typed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Typed {
    /// The disk, by any of its names.
    pub disk: String,
    /// What was typed.
    pub serial: String,
}

/// Leave to reset a machine once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    ticket: String,
    machine: String,
    state: String,
    /// The disks that may be erased, each bound to what was on it.
    disks: Vec<(Erase, Ticket)>,
    made: Timestamp,
}

impl Leave {
    /// Gives leave under this name, if what was typed is right for what is seen.
    ///
    /// # Errors
    /// When something else was typed, or a disk can't be erased.
    pub fn give(
        asked: &Asked,
        view: &ResetView,
        machine: &str,
        ticket: String,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        if asked.machine != machine {
            return Err(Refusal(format!("`{}` is not the name of this machine, which is `{machine}`", asked.machine)));
        }
        let typed = match &asked.data {
            Data::Keep => &[][..],
            Data::Erase(none) if none.is_empty() => {
                return Err(Refusal("no disk is named that shall be erased; say so if all are kept".to_owned()));
            }
            Data::Erase(typed) if typed.len() > MOST_DISKS => {
                return Err(Refusal(format!("more than {MOST_DISKS} disks are named")));
            }
            Data::Erase(typed) => typed,
        };
        let mut disks: Vec<(Erase, Ticket)> = Vec::new();
        for it in typed {
            let disk = meant(it, view)?;
            if disks.iter().any(|(known, _)| known.identity == disk.identity) {
                return Err(Refusal(format!("{} is named twice", disk.name())));
            }
            let erase = Erase::new(disk);
            disks.push((erase, Ticket::new(ticket.clone(), disk, now)));
        }
        Ok(Self { ticket, machine: machine.to_owned(), state: view.state.clone(), disks, made: now })
    }

    /// Returns its name.
    pub fn ticket(&self) -> &str {
        &self.ticket
    }

    /// Returns the disks that it lets be erased.
    pub fn disks(&self) -> Vec<&str> {
        self.disks.iter().map(|(it, _)| it.name.as_str()).collect()
    }

    /// Returns the end of its time.
    pub fn until(&self) -> Timestamp {
        self.time().until()
    }

    /// Turns it into an order, if the machine and the disks are still what it was made for.
    ///
    /// # Errors
    /// When its hour is over, or something is not as it was.
    pub fn order(self, view: &ResetView, machine: &str, now: Timestamp) -> Result<ResetOrder, Refusal> {
        let worthless = |why: String| Err(Refusal(format!("the ticket `{}` {why}", self.ticket)));
        if !(self.made..self.until()).contains(&now) {
            return worthless("held for an hour, which is over".to_owned());
        }
        if self.machine != machine || self.state != view.state {
            return worthless("is for another machine".to_owned());
        }
        for (erase, ticket) in &self.disks {
            let found: Vec<_> = view.disks.iter().filter(|it| it.identity == erase.identity).collect();
            let [disk] = found.as_slice() else {
                return worthless(format!("is for {}, which is not there alone any more", erase.name));
            };
            let standing = ticket.standing(disk, now);
            if standing != crate::host::Standing::Valid {
                return worthless(format!("{} ({})", standing.words(), erase.name));
            }
        }
        let erase = self.disks.into_iter().map(|(erase, _)| erase).collect();
        Ok(ResetOrder { ticket: self.ticket, ordered: now, state: self.state, erase })
    }

    fn time(&self) -> Ticket {
        Ticket { made: self.made, ..Ticket::default() }
    }
}

/// Finds the one disk that is meant.
fn meant<'a>(typed: &Typed, view: &'a ResetView) -> Result<&'a DiskSeen, Refusal> {
    let disk = named(&view.disks, &typed.disk, &typed.serial).map_err(Refusal)?;
    let refuse = |why: &str| Err(Refusal(format!("{}: {why}", disk.name())));
    if disk.system {
        return refuse("the machine itself runs from it; its state is erased by every reset");
    }
    if disk.read_only {
        return refuse("it can only be read");
    }
    Ok(disk)
}
