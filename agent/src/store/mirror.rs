//! Everything the store knows, in memory. Readers read here; the disk follows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use piccolo_schema::Kind;
use serde_json::Value;

use super::{
    disk::Batch,
    history::History,
    journal::Journal,
    object::{self, Record, Stamp},
    view::{Change, ChangeType, Counters, Declared, Event, Health, PlanView, Work},
};
use crate::clock;

/// An object's identity.
pub(super) type Key = (Kind, String);

/// Versions reserved on disk at once, so that a version is never given twice without writing each one down.
const BLOCK: u64 = 1000;

pub(super) struct Mirror {
    pub(super) objects: BTreeMap<Key, Record>,
    pub(super) journal: Journal,
    pub(super) history: History,
    pub(super) plans: BTreeMap<Kind, Arc<PlanView>>,
    pub(super) healths: BTreeMap<&'static str, Health>,
    pub(super) work: BTreeMap<Kind, Work>,
    /// Objects that the disk does not know yet.
    pub(super) dirty: BTreeSet<Key>,
    pub(super) syncs: u64,
    pub(super) sync_failures: u64,
    version: u64,
}

impl Mirror {
    /// `reserved` is the highest version that may have been given before.
    pub(super) fn new(objects: BTreeMap<Key, Record>, journal: Journal, reserved: u64) -> Self {
        Self {
            objects,
            journal,
            history: History::new(reserved),
            plans: BTreeMap::new(),
            healths: BTreeMap::new(),
            work: BTreeMap::new(),
            dirty: BTreeSet::new(),
            syncs: 0,
            sync_failures: 0,
            version: reserved,
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Returns the version up to which the disk must count as given.
    pub(super) fn reserved(&self) -> u64 {
        (self.version / BLOCK + 2) * BLOCK
    }

    pub(super) fn declare(&mut self, kind: Kind, name: &str, manifest: &Value) -> Declared {
        let key = (kind, name.to_owned());
        let Some(old) = self.objects.get(&key) else {
            let stamp = Stamp { uid: uuid::Uuid::new_v4().to_string(), generation: 1, created: clock::now_text() };
            self.version += 1;
            let object = Arc::new(object::assemble(manifest, &stamp, self.version, None));
            self.keep(key, Record { object, settled_generation: None }, ChangeType::Added);
            return Declared { generation: 1, changed: true, settled_generation: None };
        };
        let (mut stamp, settled_generation) = (old.stamp(), old.settled_generation);
        if old.asks_the_same(manifest) {
            return Declared { generation: stamp.generation, changed: false, settled_generation };
        }
        let changed = !old.has_spec_of(manifest);
        stamp.generation += i64::from(changed);
        let status = old.object.get("status").cloned();
        self.version += 1;
        let object = Arc::new(object::assemble(manifest, &stamp, self.version, status));
        self.keep(key, Record { object, settled_generation }, ChangeType::Modified);
        Declared { generation: stamp.generation, changed, settled_generation }
    }

    pub(super) fn undeclare(&mut self, kind: Kind, name: &str) -> bool {
        let key = (kind, name.to_owned());
        let Some(old) = self.objects.remove(&key) else { return false };
        self.version += 1;
        let object = Arc::new(object::restamp(&old.object, self.version));
        self.dirty.insert(key);
        self.history.push(Change {
            r#type: ChangeType::Deleted,
            kind,
            name: name.to_owned(),
            resource_version: self.version,
            object,
        });
        true
    }

    pub(super) fn report(&mut self, kind: Kind, name: &str, status: Value) -> bool {
        let key = (kind, name.to_owned());
        let Some(old) = self.objects.get(&key).filter(|old| old.object.get("status") != Some(&status)) else {
            return false;
        };
        self.version += 1;
        let mut object = object::restamp(&old.object, self.version);
        object["status"] = status;
        let record = Record { object: Arc::new(object), settled_generation: old.settled_generation };
        self.keep(key, record, ChangeType::Modified);
        true
    }

    pub(super) fn settled(&mut self, kind: Kind, name: &str, generation: i64) -> bool {
        let key = (kind, name.to_owned());
        let Some(record) = self.objects.get_mut(&key).filter(|it| it.settled_generation != Some(generation)) else {
            return false;
        };
        record.settled_generation = Some(generation);
        self.dirty.insert(key);
        true
    }

    pub(super) fn event(&mut self, mut event: Event) {
        event.time = clock::now_text();
        self.journal.append(event);
    }

    pub(super) fn list(&self, kind: Kind) -> Vec<Arc<Value>> {
        let of_kind = self.objects.range((kind, String::new())..).take_while(|((it, _), _)| *it == kind);
        of_kind.map(|(_, record)| Arc::clone(&record.object)).collect()
    }

    /// Takes what the disk does not know yet, with the events from this number on.
    pub(super) fn take_batch(&mut self, next_event: u64) -> Batch {
        let dirty = std::mem::take(&mut self.dirty);
        let json = |key: &Key| self.objects.get(key).and_then(|record| serde_json::to_vec(record).ok());
        let objects = dirty.into_iter().map(|key| (json(&key), key)).map(|(json, key)| (key, json)).collect();
        let first_event = self.journal.first();
        let new = next_event.max(first_event)..self.journal.next();
        let events = new.filter_map(|id| Some((id, self.journal.line(id)?.into()))).collect();
        Batch { objects, first_event, events, reserved: self.reserved() }
    }

    pub(super) fn mark_all_dirty(&mut self) {
        self.dirty = self.objects.keys().cloned().collect();
    }

    pub(super) fn counters(&self) -> Counters {
        let mut objects = BTreeMap::new();
        for (kind, _) in self.objects.keys() {
            *objects.entry(*kind).or_default() += 1;
        }
        Counters {
            resource_version: self.version,
            objects,
            events: self.journal.len(),
            last_event: self.journal.next() - 1,
            work: self.work.clone(),
            syncs: self.syncs,
            sync_failures: self.sync_failures,
        }
    }

    fn keep(&mut self, key: Key, record: Record, r#type: ChangeType) {
        let object = Arc::clone(&record.object);
        let (kind, name) = key.clone();
        self.dirty.insert(key.clone());
        self.objects.insert(key, record);
        self.history.push(Change { r#type, kind, name, resource_version: self.version, object });
    }
}
