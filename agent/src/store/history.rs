//! The last changes, so that a watch can go on where it was cut.

use std::{collections::VecDeque, sync::Arc};

use piccolo_schema::Kind;
use tokio::sync::broadcast;

use super::view::{Change, ChangeType};

/// How many changes are kept.
pub(super) const KEPT: usize = 1000;

/// The last changes as text: a thousand parsed objects would be most of the daemon's memory.
pub(super) struct History {
    /// The version after which every change is known.
    floor: u64,
    past: VecDeque<Past>,
    live: broadcast::Sender<Change>,
}

struct Past {
    r#type: ChangeType,
    kind: Kind,
    name: Box<str>,
    resource_version: u64,
    object: Box<[u8]>,
}

impl History {
    /// Returns a history that begins at this version.
    pub(super) fn new(floor: u64) -> Self {
        Self { floor, past: VecDeque::new(), live: broadcast::channel(256).0 }
    }

    pub(super) fn push(&mut self, change: Change) {
        let object = serde_json::to_vec(&change.object).unwrap_or_default().into_boxed_slice();
        self.past.push_back(Past {
            r#type: change.r#type,
            kind: change.kind,
            name: change.name.as_str().into(),
            resource_version: change.resource_version,
            object,
        });
        if self.past.len() > KEPT
            && let Some(gone) = self.past.pop_front()
        {
            self.floor = gone.resource_version;
        }
        // Nobody listening is fine.
        let _ = self.live.send(change);
    }

    /// Returns the changes after this version and all that follow, none when they are not known any more.
    pub(super) fn since(&self, version: u64, newest: u64) -> Option<(Vec<Change>, broadcast::Receiver<Change>)> {
        if version < self.floor || version > newest {
            return None;
        }
        let missed = self.past.iter().filter(|past| past.resource_version > version);
        Some((missed.map(Past::restore).collect::<Option<_>>()?, self.live.subscribe()))
    }
}

impl Past {
    fn restore(&self) -> Option<Change> {
        Some(Change {
            r#type: self.r#type,
            kind: self.kind,
            name: self.name.to_string(),
            resource_version: self.resource_version,
            object: Arc::new(serde_json::from_slice(&self.object).ok()?),
        })
    }
}
