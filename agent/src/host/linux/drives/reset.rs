//! What the reset of the machine needs while it still runs: which disks there are, and the mark that directs the next start.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    super::{
        installs::state::state,
        program::run,
        resets::{ESP, Mark},
        volumes::blocking,
    },
    Drives, LOOK, beside_the_point,
    hands::{Answer, Hands, Request},
};
use crate::host::{HostError, ResetOrder, ResetView};

/// What is done for the reset of the machine, with rights that the daemon has not.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ResetWork {
    /// Looks at what there is to be reset.
    Look,
    /// Has the next start do it. What is seen then is the mark alone.
    Mark(ResetOrder),
    /// Has the next start be an ordinary one. What is seen then is the mark alone.
    Clear,
    /// Takes away the word that the last reset left, which was told.
    Heard,
    /// Starts the machine anew.
    Restart,
}

impl Drives {
    /// Does something for the reset of the machine, and returns what is seen after it.
    ///
    /// # Errors
    /// When it can't be done.
    pub async fn reset(&self, work: ResetWork) -> Result<ResetView, HostError> {
        // What takes long with disks never holds this up: it only looks, or turns on the mark, for which its owner has a turn.
        match self.ask(Request::Reset(Box::new(work))).await? {
            Answer::Reset(view) => Ok(*view),
            _ => Err(beside_the_point()),
        }
    }
}

impl Hands {
    pub(super) async fn reset(&self, work: ResetWork) -> Result<Answer, HostError> {
        let view = match work {
            ResetWork::Look => ResetView { state: state().await?.id, disks: self.look(None).await?, pending: None },
            ResetWork::Mark(order) => {
                blocking(move || Mark::on(Path::new(ESP)).write(&order)).await?;
                ResetView::default()
            }
            ResetWork::Clear => {
                blocking(|| Mark::on(Path::new(ESP)).clear()).await?;
                ResetView::default()
            }
            ResetWork::Heard => {
                blocking(|| Mark::on(Path::new(ESP)).heard()).await?;
                ResetView::default()
            }
            ResetWork::Restart => {
                // This very process ends with the machine, and has to answer before.
                let words = ["--quiet", "--collect", "--on-active=5s", "--timer-property=AccuracySec=100ms"];
                run("systemd-run", words.into_iter().chain(["systemctl", "reboot"]), LOOK).await?;
                return Ok(Answer::Reset(Box::default()));
            }
        };
        let pending = blocking(|| Mark::on(Path::new(ESP)).read()).await?;
        Ok(Answer::Reset(Box::new(ResetView { pending, ..view })))
    }
}
