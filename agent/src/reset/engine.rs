//! The engine of the start that resets its machine: looks whether it is meant, and goes through the steps.

use jiff::Timestamp;

use super::{Refusal, Step, plan};
use crate::host::{HostError, ResetDone, ResetOrder, ResetProgress, Resets, Voucher};

/// How long an order waits for its start, in seconds. What is on disks by then is not what was meant.
const WAITS: i64 = 24 * 3600;
/// How often it is begun at most.
const MOST_TRIES: u32 = 10;

/// How such a start ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The machine is as new.
    Reset,
    /// It was not to be done, or is given up. The next start is an ordinary one, and tells why.
    Nothing,
}

/// Resets the machine, if that is ordered, and shows how far it is. Begun anew, it comes to the same end.
///
/// # Errors
/// When a step of the state fails, which may be begun anew some times. Disks for data that can't be erased are told of in the new state instead.
pub async fn reset(host: &impl Resets, now: Timestamp) -> Result<Ended, Refusal> {
    let ended = run(host, now).await;
    match &ended {
        Ok(Ended::Reset) => host.show("done: the machine is as new, and starts again"),
        Ok(Ended::Nothing) => host.show("nothing is to be reset; the machine starts again"),
        Err(Refusal(why)) => host.show(why),
    }
    ended
}

async fn run(host: &impl Resets, now: Timestamp) -> Result<Ended, Refusal> {
    let Some(order) = host.order().await.map_err(refusal)? else {
        return nothing(host, "no reset is ordered, or none that can be understood").await;
    };
    if order.state.is_empty() || host.state().await.map_err(refusal)? != order.state {
        return nothing(host, "the reset that is ordered is for another machine, or was done already").await;
    }
    let noted = host.progress().await.map_err(refusal)?;
    let fresh = ResetProgress { ticket: order.ticket.clone(), ..ResetProgress::default() };
    let mut progress = if noted.ticket == order.ticket { noted } else { fresh };
    if !progress.has_begun && now.duration_since(order.ordered).as_secs() >= WAITS {
        return nothing(host, "the reset was ordered more than a day ago, and nothing was erased").await;
    }
    if progress.tries >= MOST_TRIES {
        let erased = if progress.has_begun { "its state may be erased already" } else { "nothing was erased" };
        return nothing(host, &format!("the reset is given up, as it failed {MOST_TRIES} times; {erased}")).await;
    }
    progress.tries += 1;
    host.note(&progress).await.map_err(refusal)?;
    if let Err(error) = host.ready().await {
        let why = format!("the TPM would not keep the key of a new state: {}", error.message);
        if progress.has_begun {
            return Err(Refusal(why));
        }
        return nothing(host, &format!("nothing was erased, as {why}")).await;
    }
    if let Some(why) = doubt(host, &order, progress.has_begun).await? {
        return nothing(host, &format!("nothing was erased, as {why}")).await;
    }
    if !progress.has_begun {
        progress.has_begun = true;
        host.note(&progress).await.map_err(refusal)?;
    }
    work(host, &order).await
}

/// Says why it is not believed that the machine itself gave an order. Whoever has its disk can write beside the loader.
async fn doubt(host: &impl Resets, order: &ResetOrder, has_begun: bool) -> Result<Option<String>, Refusal> {
    match host.voucher(order).await {
        // Where it was begun, what knew of it is destroyed. A state that is still there is asked, whatever is noted beside
        // the order.
        Ok(Voucher::Machine | Voucher::Nobody) => Ok(None),
        Ok(Voucher::Stranger) => Ok(Some("this machine did not give the order".to_owned())),
        Err(error) if has_begun => Err(refusal(error)),
        Err(error) => Ok(Some(format!("it can't be told who gave the order: {}", error.message))),
    }
}

/// Goes through the steps.
async fn work(host: &impl Resets, order: &ResetOrder) -> Result<Ended, Refusal> {
    let steps = plan(order);
    let mut done = ResetDone { ordered: order.ordered, ..ResetDone::default() };
    for (at, step) in (1..).zip(&steps) {
        host.show(&format!("{at} of {}  {step}", steps.len()));
        let applied = match step {
            Step::Erase(disk) => {
                match host.erase(disk).await {
                    Ok(()) => done.erased.push(disk.name.clone()),
                    Err(error) => {
                        let why = format!("{} was not erased to its end: {}", disk.name, error.message);
                        host.show(&why);
                        done.left.push(why);
                    }
                }
                Ok(())
            }
            Step::Destroy => host.destroy().await,
            Step::Make => host.make(order, &done).await,
            Step::Bind => host.bind().await,
            Step::Recovery => host.recovery().await.map(|key| {
                host.show(&format!("recovery key {}", *key));
                host.show("write it down: it is shown this once, and opens the disk without its TPM");
            }),
            Step::Rename => host.rename().await,
            Step::Finish => host.finish().await,
        };
        applied.map_err(|error| Refusal(format!("{step} failed: {}", error.message)))?;
    }
    Ok(Ended::Reset)
}

/// Makes the next start an ordinary one.
async fn nothing(host: &impl Resets, why: &str) -> Result<Ended, Refusal> {
    host.show(why);
    if let Err(error) = host.leave_word(why).await {
        host.show(&error.message);
    }
    host.finish().await.map_err(refusal)?;
    Ok(Ended::Nothing)
}

fn refusal(error: HostError) -> Refusal {
    Refusal(error.message)
}
