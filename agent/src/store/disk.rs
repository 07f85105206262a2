//! The files. The only place that knows sled.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use super::{
    codec::{self, BadRecord},
    ledger::{Header, Ledger},
    mirror::Key,
    object::Record,
};

/// The cache that sled may use: the mirror is what is read, so it needs next to none.
const CACHE: u64 = 1024 * 1024;

/// The store's files, open.
pub(super) struct Disk {
    db: sled::Db,
    /// The file that sled writes to. sled does not sync it, so we do.
    file: File,
    /// Tells which write was the last. A database whose end is lost opens as it was before, and looks whole.
    mark: File,
    ledger: Ledger,
}

/// Everything that is on disk.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) objects: BTreeMap<Key, Record>,
    pub(super) first_event: u64,
    pub(super) events: VecDeque<Box<[u8]>>,
    /// The highest version that may have been given; none in a new store.
    pub(super) reserved: Option<u64>,
}

/// What has changed since the last write.
pub(super) struct Batch {
    /// Objects as JSON; none for those that are gone.
    pub(super) objects: Vec<(Key, Option<Vec<u8>>)>,
    /// The number of the oldest event to keep.
    pub(super) first_event: u64,
    /// New events as JSON, with their numbers.
    pub(super) events: Vec<(u64, Box<[u8]>)>,
    pub(super) reserved: u64,
}

/// Files that can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    #[error("the database can't be used")]
    Sled(#[from] sled::Error),
    #[error("the files can't be used")]
    Io(#[from] io::Error),
    #[error("a record is damaged")]
    Record(#[from] BadRecord),
    #[error("records are missing or old")]
    Incomplete,
    #[error("the database gave up")]
    Panicked,
    #[error("the database did not open in time")]
    TimedOut,
}

impl DiskError {
    /// Returns true if the files themselves are in doubt, rather than the room or the right to write them.
    pub(super) fn is_damage(&self) -> bool {
        use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let outside = [PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull];
        match self {
            Self::Sled(sled::Error::Io(error)) | Self::Io(error) => !outside.contains(&error.kind()),
            _ => true,
        }
    }
}

impl Disk {
    /// Opens the files and checks every record. Blocks; may panic, where sled does.
    pub(super) fn open(dir: &Path) -> Result<(Self, Contents), DiskError> {
        let is_new = fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
        let config =
            sled::Config::new().path(dir).cache_capacity(CACHE).mode(sled::Mode::LowSpace).flush_every_ms(None);
        let db = config.open()?;
        let file = File::open(dir.join("db"))?;
        let mark = File::options().create(true).read(true).write(true).truncate(false).open(dir.join("last-write"))?;
        let mut disk = Self { db, file, mark, ledger: Ledger::default() };
        if is_new {
            disk.write(&Batch { objects: Vec::new(), first_event: 1, events: Vec::new(), reserved: 0 })?;
            sync_directories(dir)?;
            return Ok((disk, Contents::default()));
        }
        let contents = disk.read()?;
        Ok((disk, contents))
    }

    /// Returns the number of the first event that is not on disk.
    pub(super) fn next_event(&self) -> u64 {
        self.ledger.next_event()
    }

    /// Writes the batch whole or not at all, and returns when it will survive a loss of power. Blocks.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), DiskError> {
        let mut writes = sled::Batch::default();
        for (key, json) in &batch.objects {
            let on_disk = codec::object_key(key);
            let record = json.as_ref().map(|json| codec::encode(&on_disk, json));
            self.ledger.object(key, record.as_ref().map(|(_, sum)| *sum));
            match record {
                Some((record, _)) => writes.insert(on_disk, record),
                None => writes.remove(on_disk),
            }
        }
        for id in self.ledger.prune(batch.first_event) {
            writes.remove(&codec::event_key(id));
        }
        for (id, json) in &batch.events {
            let key = codec::event_key(*id);
            let (record, sum) = codec::encode(&key, json);
            self.ledger.event(*id, sum)?;
            writes.insert(&key, record);
        }
        let header = self.ledger.next_header(batch.reserved);
        let json = serde_json::to_vec(&header).map_err(|_| BadRecord)?;
        writes.insert(codec::HEADER, codec::encode(codec::HEADER, &json).0);
        self.db.apply_batch(writes)?;
        self.sync()?;
        // Not synced: an old mark only says less.
        Ok(self.mark.write_all_at(&header.writes.to_be_bytes(), 0)?)
    }

    /// Forgets everything on disk.
    pub(super) fn clear(&mut self) -> Result<(), DiskError> {
        self.db.clear()?;
        self.ledger.clear();
        Ok(())
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.db.flush()?;
        Ok(self.file.sync_data()?)
    }

    /// Returns the number of the last write, 0 when that is not known.
    fn marked(&self) -> u64 {
        let mut number = [0; 8];
        self.mark.read_exact_at(&mut number, 0).map_or(0, |()| u64::from_be_bytes(number))
    }

    fn read(&mut self) -> Result<Contents, DiskError> {
        let mut contents = Contents::default();
        let mut header: Option<Header> = None;
        for entry in self.db.iter() {
            let (key, record) = entry?;
            let (payload, sum) = codec::decode(&key, &record)?;
            match key.first() {
                Some(&codec::OBJECT) => {
                    let id = codec::object_id(&key)?;
                    self.ledger.object(&id, Some(sum));
                    contents.objects.insert(id, serde_json::from_slice(payload).map_err(|_| BadRecord)?);
                }
                Some(&codec::EVENT) => {
                    self.ledger.event(codec::event_id(&key)?, sum)?;
                    contents.events.push_back(payload.into());
                }
                _ => header = Some(serde_json::from_slice(payload).map_err(|_| BadRecord)?),
            }
        }
        let header = header.filter(|header| self.ledger.matches(header)).ok_or(DiskError::Incomplete)?;
        if header.writes < self.marked() {
            return Err(DiskError::Incomplete);
        }
        contents.first_event = header.first_event;
        contents.reserved = Some(header.reserved).filter(|it| *it > 0);
        Ok(contents)
    }
}

/// Makes the names of new files survive a loss of power.
fn sync_directories(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()?;
    dir.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}
