//! What the API shows of disks.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use futures_util::future::BoxFuture;
use piccolo_schema::DiskSpec;
use zeroize::Zeroizing;

use crate::{
    api::{DiskDoor, DiskShown, WipeTicket},
    clock,
    host::{
        DiskSeen, Disks as _, human,
        linux::{self, Drives},
    },
};

impl DiskDoor for Drives {
    fn list(&self) -> BoxFuture<'_, Result<Vec<DiskShown>, String>> {
        Box::pin(async move {
            let view = self.disks().await.map_err(|error| error.message)?;
            Ok(view.disks.iter().map(shown).collect())
        })
    }

    fn wipe_ticket<'a>(&'a self, disk: &'a str, typed: &'a str) -> BoxFuture<'a, Result<WipeTicket, String>> {
        Box::pin(async move {
            let (disk, ticket) = self.wipe_ticket(disk, typed).await.map_err(|error| error.message)?;
            let until = clock::text(ticket.until());
            Ok(WipeTicket { ticket: ticket.ticket, name: disk.name(), holds: disk.content(), until })
        })
    }

    fn unlock<'a>(
        &'a self,
        name: &'a str,
        spec: &'a DiskSpec,
        key: &'a Zeroizing<String>,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.unlock(name, spec, key).await.map_err(|error| error.message) })
    }

    fn recovery_key<'a>(
        &'a self,
        name: &'a str,
        spec: &'a DiskSpec,
    ) -> BoxFuture<'a, Result<(u8, Zeroizing<String>), String>> {
        Box::pin(async move { self.recovery_key(name, spec).await.map_err(|error| error.message) })
    }

    fn prove_recovery<'a>(
        &'a self,
        name: &'a str,
        spec: &'a DiskSpec,
        key: &'a Zeroizing<String>,
    ) -> BoxFuture<'a, Result<u8, String>> {
        Box::pin(async move { self.prove_recovery(name, spec, key).await.map_err(|error| error.message) })
    }
}

/// Does to disks what the daemon asks at the standard input, outside of its bounds: `piccolod disks STATE`.
///
/// # Errors
/// When nothing can be understood of it.
pub async fn answer_for_disks(state: Option<OsString>) -> anyhow::Result<ExitCode> {
    let state = state.map_or_else(|| PathBuf::from("/var/lib/piccolo"), PathBuf::from);
    linux::answer_for_disks(&state).await?;
    Ok(ExitCode::SUCCESS)
}

fn shown(disk: &DiskSeen) -> DiskShown {
    DiskShown {
        device: disk.device.clone(),
        name: disk.name(),
        serial: disk.identity.serial.clone(),
        wwn: disk.identity.wwn.clone(),
        ids: disk.ids.clone(),
        model: disk.model.clone(),
        transport: disk.transport.map(|it| it.as_str().to_owned()),
        size: disk.identity.size,
        size_text: human(disk.identity.size),
        holds: disk.content(),
        uuid: disk.found().find_map(|(_, it)| it.uuid.clone()),
        used_at: disk.mounted.iter().chain(&disk.holders).cloned().collect(),
        failing: disk.failing.clone(),
    }
}
