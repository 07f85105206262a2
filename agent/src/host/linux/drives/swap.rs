//! Swap that is encrypted: nobody keeps its key, and each start makes another one.
//!
//! A header of LUKS2 without any key lies at the beginning of the disk, with a label of ours, and is never written again: by it
//! the disk is known for what it is, whatever is cut off. What lies behind it is mapped by a key of chance, which the header does
//! not know.

use std::fs::File;

use piccolo_schema::disk::Filesystem;

use super::{
    content::signatures,
    encrypt::{close_leftover, slots, unmark},
    hands::Hands,
    make::{flush, run},
};
use crate::{
    host::{
        HALF_MADE, HostError, LUKS, MakeOrder, Reason, disk_label,
        linux::luks::{
            self,
            whole::{self, Strength},
        },
        mapped, mapped_name,
        parted::table_id,
        swap_label,
    },
    secrets::Plain,
};

impl Hands {
    /// Makes a header that says what the disk is for, and that no key opens. It ends half made, as it says.
    pub(super) async fn encrypt_swap(&self, order: &MakeOrder, marked: Option<&File>) -> Result<(), HostError> {
        let (slots, path) = (slots(&order.device), format!("/dev/{}", order.device));
        slots.format(&Plain::new(luks::random()?.to_vec()), Strength::Random, HALF_MADE).await?;
        slots.forget_all().await?;
        unmark(marked, order).await?;
        flush(&path).await?;
        let found = signatures(&order.device).await?;
        if found.is_empty() || !found.iter().all(|it| it.kind == LUKS && it.label.as_deref() == Some(HALF_MADE)) {
            return Err(HostError::new(Reason::Failed, format!("What was made on `{path}` is not what was asked for")));
        }
        Ok(())
    }

    /// Maps what is behind the header by a key that nobody keeps, and makes swap of it. What has another label is kept.
    pub(super) async fn open_anew(
        &self,
        subject: &str,
        (device, uuid): (&str, &str),
        discard: bool,
    ) -> Result<(), HostError> {
        let refuse =
            |why: &str| Err(HostError::new(Reason::Refused, format!("`/dev/{device}` {why}; nothing was written")));
        let (inside, label) = (mapped(subject), swap_label(subject));
        if !signatures(device).await?.iter().all(|it| it.kind == LUKS && it.label.as_ref() == Some(&label)) {
            return refuse("was not made for swap of this manifest");
        }
        let name = mapped_name(&inside).unwrap_or_default();
        match whole::opened(uuid, device) {
            Some(open) if open != name || !whole::is_passing(name) => return refuse("is open otherwise"),
            Some(_) => {}
            None => {
                close_leftover(&inside).await?;
                // Written down first, so that it is closed whenever the manifest goes.
                self.book.unlocked(subject, &inside)?;
                whole::open_anew(device, name, discard).await?;
            }
        }
        if !signatures(&inside).await?.iter().any(|it| it.kind == Filesystem::Swap.as_str()) {
            let path = format!("/dev/{inside}");
            // Chance may look like anything.
            run(vec!["wipefs", "--all", "--force", &path]).await?;
            run(vec!["mkswap", "--label", &disk_label(subject), "--uuid", &table_id(uuid), &path]).await?;
        }
        Ok(())
    }
}
