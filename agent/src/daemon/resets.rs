//! The factory reset: what the API asks of it, and the start that does it.

mod pending;

use std::{
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use piccolo_schema::Mode;
use serde_json::{Value, json};

use self::pending::Pending;
use crate::{
    api::Resetter,
    clock,
    host::{
        DiskSeen, LeftOut, ResetView, RunsFrom, WhyLeftOut,
        linux::{
            Drives, Renewal, ResetWork, hostname, is_rescue, nonce, reset_done, reset_pending, reset_word, running,
            show_of_reset, state_left_out,
        },
    },
    reset::{Asked, Ended, Leave, ResetDone, ResetOrder, reset},
    store::{Event, Writer},
};

/// What the start needs for itself, in memory.
const DIR: &str = "/run/piccolo-reset";
/// How long the recovery key stays on the screens.
const READ: Duration = Duration::from_secs(60);

/// The factory reset as the API has it.
pub(super) struct Door {
    drives: Arc<Drives>,
    store: Arc<Writer>,
    mode: Mode,
    /// The last leave that was given. One that was not kept over an end of the daemon is asked for anew.
    leave: Mutex<Option<Leave>>,
    pending: Arc<Pending>,
}

impl Door {
    /// Returns it, and tells what the last start left to tell.
    pub(super) fn open(drives: Arc<Drives>, store: Arc<Writer>, mode: Mode, state: &Path) -> Arc<Self> {
        let pending = Pending::new(drives.clone(), state);
        let door = Arc::new(Self { drives, store, mode, leave: Mutex::default(), pending });
        if let Some(done) = reset_done(state) {
            tell(&door.store, &done);
        }
        let pending = Arc::clone(&door.pending);
        drop(tokio::spawn(Arc::clone(&door).hear()));
        // The first partition may take its time, and nobody waits for it.
        drop(tokio::spawn(async move {
            match tokio::task::spawn_blocking(reset_pending).await {
                Ok(Ok(found)) => pending.begin(found).await,
                Ok(Err(error)) => tracing::warn!(why = error.message, "it can't be told whether a reset is ordered"),
                Err(_) => {}
            }
        }));
        door
    }

    fn lock_leave(&self) -> MutexGuard<'_, Option<Leave>> {
        self.leave.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells, once, why nothing came of the last reset.
    async fn hear(self: Arc<Self>) {
        let Ok(Some(why)) = tokio::task::spawn_blocking(reset_word).await else { return };
        self.store.event(Event::new("NotReset", why).warning());
        if let Err(error) = self.drives.reset(ResetWork::Heard).await {
            tracing::warn!(why = error.message, "the word that the last reset left is told again by the next start");
        }
    }

    /// Looks at what there is to be reset.
    async fn view(&self) -> Result<ResetView, String> {
        obstacle(running().from, self.mode, is_rescue(), Path::new("/dev/tpmrm0").exists())?;
        let changes = self.pending.changes();
        let view = self.drives.reset(ResetWork::Look).await.map_err(|error| error.message)?;
        self.pending.seen(view.pending.clone(), changes);
        Ok(view)
    }
}

impl Resetter for Door {
    fn look(&self) -> BoxFuture<'_, Result<Value, String>> {
        async move {
            let (view, machine) = (self.view().await?, name()?);
            let disks: Vec<Value> = view.disks.iter().filter(|it| !it.system).map(shown).collect();
            Ok(json!({ "machine": machine, "disks": disks, "pending": self.pending.order() }))
        }
        .boxed()
    }

    fn ticket<'a>(&'a self, asked: &'a Asked) -> BoxFuture<'a, Result<Value, String>> {
        async move {
            let (view, machine) = (self.view().await?, name()?);
            whole(state_left_out().as_ref())?;
            let chance = nonce().map_err(|error| error.message)?;
            let ticket = format!("reset-{}", chance.get(..24).unwrap_or(&chance));
            let leave = Leave::give(asked, &view, &machine, ticket, clock::now()).map_err(|why| why.to_string())?;
            let told = json!({ "ticket": leave.ticket(), "machine": machine, "erases": leave.disks(),
                "until": clock::text(leave.until()) });
            *self.lock_leave() = Some(leave);
            Ok(told)
        }
        .boxed()
    }

    fn order<'a>(&'a self, ticket: &'a str) -> BoxFuture<'a, Result<Value, String>> {
        async move {
            let (view, machine) = (self.view().await?, name()?);
            whole(state_left_out().as_ref())?;
            // It is used up, whatever becomes of it.
            let leave = self.lock_leave().take_if(|it| it.ticket() == ticket);
            let leave = leave.ok_or_else(|| format!("there is no ticket `{ticket}`, or it was used up"))?;
            let order = leave.order(&view, &machine, clock::now()).map_err(|why| why.to_string())?;
            let store = Arc::clone(&self.store);
            let tell = move |order: &ResetOrder| {
                store.event(Event::new("ResetOrdered", order.words()).warning());
            };
            let order = self.pending.put(order, tell).await?;
            Ok(json!({ "pending": order }))
        }
        .boxed()
    }

    fn restart(&self) -> BoxFuture<'_, Result<(), String>> {
        async move { self.drives.reset(ResetWork::Restart).await.map(drop).map_err(|error| error.message) }.boxed()
    }

    fn cancel(&self) -> BoxFuture<'_, Result<bool, String>> {
        async move {
            *self.lock_leave() = None;
            // It needs neither a look at disks nor a TPM: it may be wanted just when those fail.
            let from = running().from;
            if from != RunsFrom::Disk {
                return obstacle(from, self.mode, is_rescue(), true).map(|()| false);
            }
            let store = Arc::clone(&self.store);
            let tell = move || store.event(Event::new("ResetCancelled", "The next start is an ordinary one"));
            self.pending.take(tell).await
        }
        .boxed()
    }

    fn pending(&self) -> Option<ResetOrder> {
        self.pending.order()
    }
}

/// Says why a machine can't be reset, if so.
fn obstacle(from: RunsFrom, mode: Mode, is_rescue: bool, has_tpm: bool) -> Result<(), String> {
    let why = match from {
        RunsFrom::Elsewhere => {
            "this system was not installed from an image of Piccolo, so there is nothing that could be made anew; take away the manifests, then the package with its directories"
        }
        RunsFrom::Stick => "this system runs in memory, and is as new whenever it is switched off",
        RunsFrom::Disk if mode == Mode::Observe && !is_rescue => "this machine is only observed, and nothing is reset",
        RunsFrom::Disk if !has_tpm => {
            "there is no TPM to keep the key of a new state; switch it on in the firmware's settings"
        }
        RunsFrom::Disk => return Ok(()),
    };
    Err(why.to_owned())
}

/// Refuses while a half of the state is there that takes no part in it: it would keep the old state, which this TPM still opens.
fn whole(left: Option<&LeftOut>) -> Result<(), String> {
    let Some(left) = left else { return Ok(()) };
    let on: Vec<String> = left.on.iter().map(|it| format!("/dev/{it}")).collect();
    if left.why == WhyLeftOut::Newer {
        return Err(format!(
            "this machine runs an older state, of a disk that was replaced, and what came after it is on {}: start from there, and \
             order it there, or unplug what is not to be reset",
            on.join(" and ")
        ));
    }
    Err(format!(
        "a half of the state on {} takes no part in it, and would keep the old state, which the TPM of this machine opens: \
         unplug it and have it erased elsewhere, or see in `piccolo status` how it is filled",
        on.join(" and ")
    ))
}

fn name() -> Result<String, String> {
    let none = || "this machine has no name that could be typed".to_owned();
    Some(hostname()).filter(|it| !it.is_empty()).ok_or_else(none)
}

fn shown(disk: &DiskSeen) -> Value {
    json!({ "device": disk.device, "name": disk.name(), "serial": disk.identity.serial, "holds": disk.content() })
}

/// Tells what the last reset did.
fn tell(store: &Writer, done: &ResetDone) {
    let erased = if done.erased.is_empty() { String::new() } else { format!(", with {}", done.erased.join(", ")) };
    let when = clock::text(done.ordered);
    store.event(Event::new("Reset", format!("The machine was made as new{erased}, as was ordered at {when}")));
    for why in &done.left {
        store.event(Event::new("NotErased", why.clone()).warning());
    }
}

/// Resets the machine in the start that was ordered for it. The caller starts the machine anew when this ends well, and begins
/// again when it does not.
pub async fn reset_now() -> ExitCode {
    let host = match Renewal::open(Path::new(DIR)) {
        Ok(host) => host,
        Err(error) => {
            show_of_reset(&error.message);
            tracing::error!(why = error.message, "nothing was reset");
            return ExitCode::FAILURE;
        }
    };
    match reset(&host, clock::now()).await {
        Ok(Ended::Reset) => {
            // The recovery key is on the screens alone.
            tokio::time::sleep(READ).await;
            ExitCode::SUCCESS
        }
        Ok(Ended::Nothing) => ExitCode::SUCCESS,
        Err(why) => {
            tracing::error!(%why, "the reset is begun anew in a minute");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_installed_machine_is_reset() {
        let said = |from, mode, is_rescue, has_tpm| obstacle(from, mode, is_rescue, has_tpm).err().unwrap_or_default();
        assert!(said(RunsFrom::Elsewhere, Mode::Enforce, false, true).contains("not installed from an image"));
        assert!(said(RunsFrom::Stick, Mode::Enforce, false, true).contains("in memory"));
        assert!(said(RunsFrom::Disk, Mode::Observe, false, true).contains("observed"));
        assert!(said(RunsFrom::Disk, Mode::Enforce, false, false).contains("no TPM"));
        assert_eq!(said(RunsFrom::Disk, Mode::Enforce, false, true), "");
        // Whoever cut themselves off gets a new machine from there.
        assert_eq!(said(RunsFrom::Disk, Mode::Observe, true, true), "");
    }

    #[test]
    fn a_half_that_would_keep_the_old_state_is_in_the_way() {
        assert_eq!(whole(None), Ok(()));
        let left = LeftOut { why: WhyLeftOut::Differs, on: vec!["vdb".to_owned()] };
        assert!(whole(Some(&left)).unwrap_err().contains("on /dev/vdb takes no part"));
        // It is not said of the true state that it is to be erased.
        let why = whole(Some(&LeftOut { why: WhyLeftOut::Newer, ..left })).unwrap_err();
        assert!(why.contains("start from there") && !why.contains("erased"), "{why}");
    }
}
