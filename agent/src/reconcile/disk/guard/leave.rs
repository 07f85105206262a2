//! What the ticket of a manifest is worth.

use super::{Case, Leave};
use crate::host::Standing;

impl<'a> Case<'a> {
    /// Weighs the ticket that the manifest names.
    pub(super) fn ticket(self) -> Leave<'a> {
        let name = self.spec.wipe.as_deref()?;
        let Some(ticket) = self.view.tickets.iter().find(|it| it.ticket == name) else {
            let message = format!("There is no ticket `{name}` on this machine; take `wipe` out, or make a new one");
            return Some(Err(("TicketUnknown", message)));
        };
        let standing = ticket.standing(self.disk, self.view.now);
        let reason = match standing {
            Standing::Valid => return Some(Ok(name)),
            Standing::Expired => "TicketExpired",
            Standing::Used => "TicketUsed",
            Standing::OtherDisk => "TicketForOtherDisk",
            Standing::Changed => "TicketOutdated",
        };
        Some(Err((reason, format!("The ticket `{name}` {}; take `wipe` out, or make a new one", standing.words()))))
    }
}
