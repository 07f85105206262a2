//! What must be on disk: the header record, which tells when records are missing or old.
//!
//! sled opens a damaged file without a word and lacks some keys, or has old values of them. Each record's own checksum
//! does not show that; a count and a sum over all of them do.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{codec::BadRecord, mirror::Key};

/// The header record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// How often the store was written.
    pub(super) writes: u64,
    /// Every version up to this one may have been given.
    pub(super) reserved: u64,
    /// How many objects there are.
    pub(super) objects: usize,
    /// The number of the oldest event.
    pub(super) first_event: u64,
    /// How many events there are.
    pub(super) events: usize,
    /// The sum of all checksums.
    pub(super) sum: u64,
}

/// The checksums of all records on disk.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    objects: BTreeMap<Key, u32>,
    first_event: u64,
    events: VecDeque<u32>,
    writes: u64,
}

impl Ledger {
    /// Returns the number of the first event that is not on disk.
    pub(super) fn next_event(&self) -> u64 {
        self.first_event + self.events.len() as u64
    }

    pub(super) fn object(&mut self, key: &Key, sum: Option<u32>) {
        match sum {
            Some(sum) => self.objects.insert(key.clone(), sum),
            None => self.objects.remove(key),
        };
    }

    /// Adds an event, which must be the next one unless it is the first.
    pub(super) fn event(&mut self, id: u64, sum: u32) -> Result<(), BadRecord> {
        if self.events.is_empty() {
            self.first_event = id;
        }
        if id != self.next_event() {
            return Err(BadRecord);
        }
        self.events.push_back(sum);
        Ok(())
    }

    /// Drops the events before this one and returns their numbers.
    pub(super) fn prune(&mut self, first: u64) -> std::ops::Range<u64> {
        let old = self.first_event;
        while self.first_event < first && self.events.pop_front().is_some() {
            self.first_event += 1;
        }
        old..self.first_event
    }

    /// Forgets all records, not how often they were written.
    pub(super) fn clear(&mut self) {
        *self = Self { writes: self.writes, ..Self::default() };
    }

    /// Returns the header of the next write.
    pub(super) fn next_header(&mut self, reserved: u64) -> Header {
        self.writes += 1;
        self.header(reserved)
    }

    /// Returns true if this header speaks of these records.
    pub(super) fn matches(&mut self, header: &Header) -> bool {
        self.writes = header.writes;
        if self.events.is_empty() {
            self.first_event = header.first_event;
        }
        self.header(header.reserved) == *header
    }

    fn header(&self, reserved: u64) -> Header {
        let sums = self.objects.values().chain(&self.events);
        Header {
            writes: self.writes,
            reserved,
            objects: self.objects.len(),
            first_event: self.first_event,
            events: self.events.len(),
            sum: sums.map(|sum| u64::from(*sum)).fold(0, u64::wrapping_add),
        }
    }
}
