//! The engine: looks, decides, and goes through the steps, telling how far it is.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use piccolo_schema::install::Keep;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Leave, Refusal, Step, Told, chosen, judge, plan};
use crate::host::{DiskSeen, HostError, Installs, Order, Pace, Reason, Target, UnderWay};

/// The least time between two words on how far a step is.
const REST: Duration = Duration::from_millis(500);

/// Hears what is told.
pub type Tell<'a> = dyn Fn(Told) + Send + Sync + 'a;

/// A disk, and what can be done with it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// What the kernel calls it now.
    pub device: String,
    /// What it is, for people.
    pub name: String,
    /// Its serial number.
    pub serial: String,
    /// Its model.
    pub model: String,
    /// Its size in bytes.
    pub size: u64,
    /// What is on it, for people.
    pub holds: String,
    /// True if it can be installed on without leave to erase it.
    pub ready: bool,
    /// Why it can't be, or what becomes of what is on it.
    pub why: String,
}

/// Lists all disks with what can be done with them.
///
/// # Errors
/// When nothing can be installed from here, or the disks can't be seen.
pub async fn offers(host: &impl Installs) -> Result<Vec<Offer>, Refusal> {
    obstacle(host)?;
    let all = host.targets().await.map_err(refusal)?;
    Ok(all.iter().map(|it| offer(it, &all)).collect())
}

fn offer(target: &Target, all: &[Target]) -> Offer {
    let disk = &target.disk;
    let leave = judge(target, all, &[], None, Timestamp::UNIX_EPOCH);
    let (ready, why) = match leave {
        Ok(Leave::Unfinished) => (true, "an installation that did not come to its end is begun anew".to_owned()),
        Ok(_) => (true, "it is blank".to_owned()),
        Err(Refusal(why)) => (false, why),
    };
    Offer {
        device: disk.device.clone(),
        name: disk.name(),
        serial: disk.identity.serial.clone(),
        model: disk.model.clone(),
        size: disk.identity.size,
        holds: if target.is_unfinished() { "an unfinished installation".to_owned() } else { disk.content() },
        ready,
        why,
    }
}

/// Installs the system, and tells how far it is. The last that it tells says that it is complete, or why it is not.
pub async fn install(host: &impl Installs, order: &Order, now: Timestamp, tell: &Tell<'_>) {
    let ended = run(host, order, now, tell).await;
    end(host, ended, tell);
}

/// Tells how it ended.
pub(super) fn end(host: &impl Installs, ended: Result<Told, Refusal>, tell: &Tell<'_>) {
    let told = ended.unwrap_or_else(|Refusal(why)| Told::refused(why));
    host.show(told.refused.as_ref().unwrap_or(&told.at.text));
    tell(told);
}

async fn run(host: &impl Installs, order: &Order, now: Timestamp, tell: &Tell<'_>) -> Result<Told, Refusal> {
    obstacle(host)?;
    let targets = host.targets().await.map_err(refusal)?;
    let chosen = chosen(order, &targets)?;
    let tickets = host.tickets().await.map_err(refusal)?;
    let wipes = order.disks().map(|(_, wipe)| wipe);
    let judged = chosen.iter().zip(wipes).map(|(target, wipe)| judge(target, &targets, &tickets, wipe, now));
    let leaves: Vec<Leave> = judged.collect::<Result<_, _>>()?;
    let disks: Vec<DiskSeen> = chosen.iter().map(|it| it.disk.clone()).collect();
    let names: Vec<String> = disks.iter().map(DiskSeen::name).collect();
    let holds = if names.len() > 1 { "hold" } else { "holds" };
    let text = format!("done: {} {holds} the system; switch off, and pull the stick out", names.join(" and "));
    go(host, order.keep, &disks, &plan(&leaves), text, tell).await
}

/// Goes through the steps for these disks, and returns what is told last.
pub(super) async fn go(
    host: &impl Installs,
    keep: Keep,
    disks: &[DiskSeen],
    steps: &[Step],
    last: String,
    tell: &Tell<'_>,
) -> Result<Told, Refusal> {
    let count = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    for (at, step) in (1..).zip(steps) {
        let at = UnderWay { step: at, steps: count, text: step.to_string(), ..UnderWay::default() };
        let told = Told { at, ..Told::default() };
        host.show(&told.at.text);
        tell(told.clone());
        let gauge = Gauge::new(&told, tell);
        let pace = |done, total| gauge.tell(done, total);
        let applied = apply(host, keep, disks, step, &pace).await.map(|key| {
            if let Some(key) = key {
                host.show(&format!("recovery key {}", *key));
                host.show("write it down: it is shown this once, and opens the disk without its TPM");
                tell(Told { recovery_key: Some(key), ..told.clone() });
            }
        });
        applied.map_err(|error| Refusal(format!("{step} failed: {}", error.message)))?;
    }
    let at = UnderWay { step: count, steps: count, text: last, ..UnderWay::default() };
    Ok(Told { at, complete: true, ..Told::default() })
}

/// Does one step, and returns the recovery key if it is the one that makes it.
async fn apply(
    host: &impl Installs,
    keep: Keep,
    disks: &[DiskSeen],
    step: &Step,
    pace: Pace<'_>,
) -> Result<Option<Zeroizing<String>>, HostError> {
    let gone = || HostError::new(Reason::Failed, "There is no such disk among those that were chosen");
    let one = |at: &usize| disks.get(*at).ok_or_else(gone);
    match step {
        Step::UseUp(at, name) => host.use_up(name, one(at)?).await?,
        Step::Mark(at) => host.mark(one(at)?).await?,
        Step::Write => host.write(disks, pace).await?,
        Step::ReadBack => host.read_back(disks, pace).await?,
        Step::Keep => host.keep(disks, keep).await?,
        Step::Recovery => return host.recovery(disks).await.map(Some),
        Step::Finish(_) => host.finish(disks).await?,
        Step::WriteHalf => host.write_half(one(&0)?, pace).await?,
        Step::TakeIn => host.take_in(one(&0)?).await?,
    }
    Ok(None)
}

/// Tells how far a step is, and how fast.
struct Gauge<'a> {
    step: &'a Told,
    tell: &'a Tell<'a>,
    begun: Instant,
    told: Mutex<Option<Instant>>,
}

impl<'a> Gauge<'a> {
    fn new(step: &'a Told, tell: &'a Tell<'a>) -> Self {
        Self { step, tell, begun: Instant::now(), told: Mutex::default() }
    }

    fn tell(&self, done: u64, total: u64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if done < total && told.is_some_and(|it| it.elapsed() < REST) {
            return;
        }
        *told = Some(Instant::now());
        let rate = u128::from(done) * 1000 / self.begun.elapsed().as_millis().max(1);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        let at = UnderWay { done: Some(done), total: Some(total), rate: Some(rate), ..self.step.at.clone() };
        (self.tell)(Told { at, ..self.step.clone() });
    }
}

fn obstacle(host: &impl Installs) -> Result<(), Refusal> {
    host.obstacle().map_or(Ok(()), |why| Err(Refusal(why)))
}

pub(super) fn refusal(error: HostError) -> Refusal {
    Refusal(error.message)
}
