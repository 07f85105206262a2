//! Halves that are encrypted, each for itself: how a file system is made on both, and how one takes the place of a lost one.

use piccolo_schema::disk::Filesystem;

use super::{
    content::signatures,
    halves,
    hands::Hands,
    make::{flush, label, make, run, verify},
};
use crate::host::{
    HALF_MADE, HostError, JoinOrder, MakeOrder, OpenHalf, Reason, RebuildOrder, Signature, linux::luks::whole,
};

impl Hands {
    /// Makes one file system on two encrypted halves that are open, and that hold nothing but the word that they are to be
    /// filled. Dropped before the end, that is still written inside, or else in the book, and it is made anew.
    pub(super) async fn join(&self, subject: &str, order: &JoinOrder) -> Result<(), HostError> {
        for half in &order.halves {
            self.is_to_be_filled(subject, half).await?;
        }
        let paths = order.halves.each_ref().map(|it| format!("/dev/{}", it.device));
        // The word that allows it goes first, and what is made is known inside only at its end.
        self.book.fills(subject, &order.halves.each_ref().map(|it| it.header.as_str()))?;
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
        self.book.filled(subject)
    }

    /// Begins to fill the inside of an encrypted disk in the place of a lost half, or of itself as it was before.
    pub(super) async fn rebuild_inside(
        &self,
        subject: &str,
        (order, open): (&RebuildOrder, &OpenHalf),
        at: &str,
    ) -> Result<(), HostError> {
        match &order.stale {
            None => self.is_to_be_filled(subject, open).await?,
            Some(stale) => {
                is_free(open)?;
                if halves::half(&open.device).await? != *stale {
                    let message =
                        format!("What is inside of `/dev/{}` was written to since this was planned", open.disk);
                    return Err(HostError::new(Reason::Refused, message));
                }
            }
        }
        // It is wiped before it is known inside that it is being filled.
        self.book.fills(subject, &[&open.header])?;
        self.book.joined(subject, order.onto.seq)?;
        halves::replace(order.lost, &format!("/dev/{}", open.device), at).await
    }

    /// Looks whether what is inside of an encrypted disk is a half that was made to be filled, and nothing else; or nothing,
    /// where it is written down that this was begun.
    async fn is_to_be_filled(&self, subject: &str, open: &OpenHalf) -> Result<(), HostError> {
        is_free(open)?;
        let found = signatures(&open.device).await?;
        let is_begun = self.book.is_filled(subject, &open.header)?;
        if !says_so(&found, is_begun) {
            let message =
                format!("What is inside of `/dev/{}` is not what was seen before; nothing was written", open.disk);
            return Err(HostError::new(Reason::Refused, message));
        }
        Ok(())
    }
}

fn says_so(found: &[Signature], is_begun: bool) -> bool {
    let is_it = |it: &Signature| it.kind == Filesystem::Btrfs.as_str() && it.label.as_deref() == Some(HALF_MADE);
    if found.is_empty() { is_begun } else { found.iter().all(is_it) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_inside_is_no_leave_to_fill_it() {
        let found = |kind: &str, label: &str| Signature {
            kind: kind.to_owned(),
            label: Some(label.to_owned()),
            ..Signature::default()
        };
        let half_made = found("btrfs", HALF_MADE);
        assert!(!says_so(&[], false) && says_so(&[], true));
        assert!(says_so(std::slice::from_ref(&half_made), false));
        // What is written in the book is no leave to write over what somebody keeps there.
        for other in [found("btrfs", "pic-721c9525"), found("ext4", HALF_MADE)] {
            assert!(!says_so(std::slice::from_ref(&other), true) && !says_so(&[half_made.clone(), other], true));
        }
    }
}
