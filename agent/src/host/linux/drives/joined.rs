//! Halves that are encrypted, each for itself: how a file system is made on both, and how one takes the place of a lost one.

use piccolo_schema::disk::Filesystem;

use super::{
    content::signatures,
    halves,
    hands::Hands,
    make::{flush, label, make, run, verify},
};
use crate::host::{HALF_MADE, HostError, JoinOrder, MakeOrder, OpenHalf, Reason, RebuildOrder, linux::luks::whole};

impl Hands {
    /// Makes one file system on two encrypted halves that are open, and that hold nothing but the word that they are to be
    /// filled. Dropped before the end, they say so still, and it is made anew.
    pub(super) async fn join(&self, order: &JoinOrder) -> Result<(), HostError> {
        for half in &order.halves {
            is_to_be_filled(half).await?;
        }
        let paths = order.halves.each_ref().map(|it| format!("/dev/{}", it.device));
        // What is there says that it is half made; it is written over by what says the same.
        for path in &paths {
            run(vec!["wipefs", "--all", "--force", path]).await?;
        }
        let [first, _] = &order.halves;
        let one = MakeOrder {
            filesystem: Filesystem::Btrfs,
            label: order.label.clone(),
            device: first.device.clone(),
            ..MakeOrder::default()
        };
        run(make(&one, &paths, HALF_MADE)).await?;
        verify(&one, &first.device, HALF_MADE).await?;
        run(label(&one, &paths[0])).await?;
        for path in &paths {
            flush(path).await?;
        }
        Ok(())
    }

    /// Begins to fill the inside of an encrypted disk in the place of a lost half, or of itself as it was before.
    pub(super) async fn rebuild_inside(
        &self,
        subject: &str,
        (order, open): (&RebuildOrder, &OpenHalf),
        at: &str,
    ) -> Result<(), HostError> {
        match &order.stale {
            None => is_to_be_filled(open).await?,
            Some(stale) => {
                is_free(open)?;
                if halves::half(&open.device).await.as_ref() != Some(stale) {
                    let message =
                        format!("What is inside of `/dev/{}` was written to since this was planned", open.disk);
                    return Err(HostError::new(Reason::Refused, message));
                }
            }
        }
        self.book.joined(subject, order.onto.seq)?;
        halves::replace(order.lost, &format!("/dev/{}", open.device), at).await
    }
}

/// Looks whether what is inside of an encrypted disk is a half that was made to be filled, and nothing else.
async fn is_to_be_filled(open: &OpenHalf) -> Result<(), HostError> {
    is_free(open)?;
    let found = signatures(&open.device).await?;
    let is_it = |kind: &str, label: Option<&str>| kind == Filesystem::Btrfs.as_str() && label == Some(HALF_MADE);
    if found.is_empty() || !found.iter().all(|it| is_it(&it.kind, it.label.as_deref())) {
        let message =
            format!("What is inside of `/dev/{}` is not what was seen before; nothing was written", open.disk);
        return Err(HostError::new(Reason::Refused, message));
    }
    Ok(())
}

/// Looks whether it is still the inside of the disk that was meant, and is no part of what is mounted.
fn is_free(open: &OpenHalf) -> Result<(), HostError> {
    let name = whole::opened(&open.header, &open.disk).map(|it| format!("mapper/{it}"));
    if name.as_ref() != Some(&open.device) {
        return Err(HostError::new(Reason::Gone, format!("`/dev/{}` is not open as it was", open.disk)));
    }
    if halves::mounted().values().flatten().any(|it| *it == open.device) {
        return Err(HostError::new(Reason::InUse, format!("What is inside of `/dev/{}` is mounted", open.disk)));
    }
    Ok(())
}
