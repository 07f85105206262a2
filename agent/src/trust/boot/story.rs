//! The story of one start: everything that was measured, in order, and what the registers come to by that.

use super::{
    NotLog, Part, RUNTIME, Sum, Values, extend,
    firmware::{self, Record},
    kept::registers,
    part, system,
};
use crate::host::{Measured, Pcrs};

/// One thing that was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Into which register.
    pub pcr: u8,
    /// What it is part of.
    pub part: Part,
    /// What is known of it.
    pub detail: String,
    /// Its digest.
    pub digest: [u8; 32],
}

/// What was measured in one start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// Everything, in order.
    pub events: Vec<Event>,
    /// What the registers come to by that.
    pub(super) values: Values,
    /// From what the first register began.
    begins: Sum,
}

impl Story {
    /// Reads the log of the firmware and that of the system.
    ///
    /// # Errors
    /// When one of them can't be understood.
    pub fn read(firmware: &[u8], system: &[u8]) -> Result<Self, NotLog> {
        let records = firmware::read(firmware)?;
        let begins = records.iter().find_map(firmware::begins).unwrap_or_default();
        let mut started = 0;
        let mut events: Vec<Event> = records.iter().filter_map(|record| Event::of(record, &mut started)).collect();
        events.extend(system::read(system)?.into_iter().map(Event::later));
        Ok(Self::of(events, begins))
    }

    /// Works out what the registers come to.
    pub(super) fn of(events: Vec<Event>, begins: Sum) -> Self {
        let mut values = Values::from([(0, begins)]);
        events.iter().for_each(|it| extend(&mut values, it.pcr, &it.digest));
        Self { events, values, begins }
    }

    /// Returns the story with other events.
    pub(super) fn with(&self, events: Vec<Event>) -> Self {
        Self::of(events, self.begins)
    }

    /// Returns what a register comes to.
    pub fn value(&self, pcr: u8) -> [u8; 32] {
        self.values.get(&pcr).copied().unwrap_or_default()
    }

    /// Returns the registers that held something else when this was read.
    pub fn untrue_of(&self, measured: &Measured) -> Pcrs {
        self.untrue(&registers(measured))
    }

    /// Returns the registers that hold something else than this tells.
    pub(super) fn untrue(&self, registers: &Values) -> Pcrs {
        let untold = Sum::default();
        let wrong = Pcrs::OF_A_START.iter().filter(|pcr| *pcr != RUNTIME).filter(|pcr| {
            let told = self.values.get(pcr).unwrap_or(&untold);
            registers.get(pcr).is_some_and(|held| held != told)
        });
        Pcrs::of(wrong.map(u64::from)).unwrap_or_default()
    }
}

impl Event {
    fn of(record: &Record<'_>, started: &mut usize) -> Option<Self> {
        let (part, detail) = part::told(record, *started)?;
        *started += usize::from(matches!(part, Part::BootLoader | Part::Kernel) && record.pcr == 4);
        Some(Self { pcr: record.pcr, part, detail, digest: record.digest })
    }

    fn later(entry: system::Entry) -> Self {
        let part = match (entry.pcr, entry.kind.as_str()) {
            (11, _) | (_, "phase") => Part::Phase,
            (15, _) | (_, "machine-id" | "filesystem" | "volume-key") => Part::Identity,
            (12 | 13, _) => Part::Extras,
            _ => Part::Other,
        };
        Self { pcr: entry.pcr, part, detail: entry.text, digest: entry.digest }
    }
}
