//! What the API stands on where disks are concerned.

use futures_util::future::BoxFuture;
use piccolo_schema::DiskSpec;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::trust::{Meant, Rebound, Undone};

/// A recovery key that was made, with its slot where it is one alone.
type Made = (Option<u8>, Zeroizing<String>);

/// Shows the disks of the machine, and gives leave to erase one. An error is a sentence for people.
pub trait DiskDoor: Send + Sync {
    /// Lists all disks.
    fn list(&self) -> BoxFuture<'_, Result<Vec<DiskShown>, String>>;
    /// Makes a ticket for a disk, if its serial number was typed.
    fn wipe_ticket<'a>(&'a self, disk: &'a str, typed: &'a str) -> BoxFuture<'a, Result<WipeTicket, String>>;
    /// Opens the encrypted disk of a manifest by a key that a person typed, and returns what it left undone.
    fn unlock<'a>(
        &'a self,
        name: &'a str,
        spec: &'a DiskSpec,
        key: &'a Zeroizing<String>,
    ) -> BoxFuture<'a, Result<Option<Undone>, String>>;
    /// Makes a recovery key, by what the machine has or by a key that a person typed, and returns it with its slot, where it
    /// is one alone.
    fn recovery_key<'a>(
        &'a self,
        meant: &'a Meant,
        key: Option<&'a Zeroizing<String>>,
    ) -> BoxFuture<'a, Result<Made, String>>;
    /// Takes down that somebody has the recovery key of a disk, and returns its slot, where it is one alone.
    fn prove_recovery<'a>(
        &'a self,
        meant: &'a Meant,
        key: &'a Zeroizing<String>,
    ) -> BoxFuture<'a, Result<Option<u8>, String>>;
    /// Binds the slots of the TPM to how the machine started this time, and returns which, also where it went no further.
    fn rebind<'a>(&'a self, meant: &'a Meant, key: &'a Zeroizing<String>) -> BoxFuture<'a, Result<Rebound, String>>;
}

/// A disk as it is shown.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskShown {
    /// What the kernel calls it now.
    pub device: String,
    /// What it is, for people.
    pub name: String,
    /// Its serial number.
    pub serial: String,
    /// Its world wide name.
    pub wwn: String,
    /// Its names in `/dev/disk/by-id`.
    pub ids: Vec<String>,
    /// Its model.
    pub model: String,
    /// How it is connected.
    pub transport: Option<String>,
    /// Its size in bytes.
    pub size: u64,
    /// Its size, for people.
    pub size_text: String,
    /// What is on it, for people.
    pub holds: String,
    /// The UUID of the file system on it, or of the first in its partitions.
    pub uuid: Option<String>,
    /// The GUID of its table of partitions.
    pub table: Option<String>,
    /// Where it is used.
    pub used_at: Vec<String>,
    /// Why it is about to fail, if it is.
    pub failing: Option<String>,
}

/// Leave to erase one disk once.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WipeTicket {
    /// What a manifest repeats.
    pub ticket: String,
    /// The disk, for people.
    pub name: String,
    /// What is on it, for people.
    pub holds: String,
    /// The end of its time.
    pub until: String,
}
