//! The engine of the start that resets its machine: looks whether it is meant, and goes through the steps.

use super::{Refusal, Step, plan};
use crate::host::{HostError, ResetDone, Resets};

/// How such a start ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The machine is as new.
    Reset,
    /// Nothing was ordered for it, and nothing was touched.
    Nothing,
}

/// Resets the machine, if that is ordered, and shows how far it is. Begun anew, it comes to the same end.
///
/// # Errors
/// When a step of the state fails. Disks for data that can't be erased are told of in the new state instead.
pub async fn reset(host: &impl Resets) -> Result<Ended, Refusal> {
    let ended = run(host).await;
    match &ended {
        Ok(Ended::Reset) => host.show("done: the machine is as new, and starts again"),
        Ok(Ended::Nothing) => host.show("nothing is to be reset; the machine starts again"),
        Err(Refusal(why)) => host.show(why),
    }
    ended
}

async fn run(host: &impl Resets) -> Result<Ended, Refusal> {
    let Some(order) = host.order().await.map_err(refusal)? else {
        return nothing(host, "no reset is ordered").await;
    };
    if order.state.is_empty() || host.state().await.map_err(refusal)? != order.state {
        return nothing(host, "the reset that is ordered is for another machine").await;
    }
    let steps = plan(&order);
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
            Step::Make => host.make(&done).await,
            Step::Bind => host.bind().await,
            Step::Recovery => host.recovery().await.map(|key| {
                host.show(&format!("recovery key {}", *key));
                host.show("write it down: it is shown this once, and opens the disk without its TPM");
            }),
            Step::Finish => host.finish().await,
        };
        applied.map_err(|error| Refusal(format!("{step} failed: {}", error.message)))?;
    }
    Ok(Ended::Reset)
}

/// Makes the next start an ordinary one.
async fn nothing(host: &impl Resets, why: &str) -> Result<Ended, Refusal> {
    host.show(why);
    host.finish().await.map_err(refusal)?;
    Ok(Ended::Nothing)
}

fn refusal(error: HostError) -> Refusal {
    Refusal(error.message)
}
