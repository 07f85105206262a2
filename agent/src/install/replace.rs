//! A new disk in the place of a lost one of two that the system lies on.

use jiff::Timestamp;
use piccolo_schema::install::{Keep, Mirror};

use super::{
    Leave, Refusal, Step, Tell, Told, choose,
    engine::{end, go, refusal},
    judge,
};
use crate::host::{Halved, Installs, LeftOut, Target, WhyLeftOut, human};

/// Takes a disk in, and tells how far it is. The last that it tells says that it is complete, or why it is not. That half of the
/// state is filled afterwards, by itself.
pub async fn replace(host: &impl Installs, with: &Mirror, now: Timestamp, tell: &Tell<'_>) {
    let ended = run(host, with, now, tell).await;
    end(host, ended, tell);
}

async fn run(host: &impl Installs, with: &Mirror, now: Timestamp, tell: &Tell<'_>) -> Result<Told, Refusal> {
    let halved = host.halved().await.map_err(refusal)?;
    let halved = lacking(halved.as_ref())?;
    let targets = host.targets().await.map_err(refusal)?;
    let target = choose(&with.select, &targets)?;
    let tickets = host.tickets().await.map_err(refusal)?;
    let leave = judge(target, &targets, &tickets, with.wipe.as_deref(), now)?;
    takes_its_place(halved, target)?;
    let text = format!(
        "done: {} holds the system; its half of the state is being filled now, and `piccolo status` says how far it is",
        target.disk.name()
    );
    go(host, Keep::default(), std::slice::from_ref(&target.disk), &replacement(&leave), text, tell).await
}

/// Makes sure that one half of the state is lost, and no other one is filled.
///
/// # Errors
/// When it is not so.
pub fn lacking(halved: Option<&Halved>) -> Result<&Halved, Refusal> {
    let refuse = |why: String| Err(Refusal(why));
    let Some(it) = halved else {
        let why = "the state of this system lies on one disk alone, so there is no other one to be replaced; to have it on \
                   two, install anew on both";
        return refuse(why.to_owned());
    };
    let on = named(&it.halves.on);
    match (it.halves.is_lacking, it.halves.on.len()) {
        (false, _) => refuse(format!(
            "the state lies on {on}, and none of its halves is missing; unplug the disk that is to be replaced first"
        )),
        (true, 1) => Ok(it),
        (true, _) => refuse(format!("the state is filled now on {on}; `piccolo status` says how far it is")),
    }
}

/// Makes sure that a disk may take the place of the half that is lost: nothing else is plugged in that is one, and it has room.
///
/// # Errors
/// When it may not.
pub fn takes_its_place(halved: &Halved, target: &Target) -> Result<(), Refusal> {
    let disk = &target.disk;
    if let Some(why) = halved.halves.left_out.as_ref().and_then(|it| in_the_way(it, &disk.device)) {
        return Err(Refusal(why));
    }
    if disk.identity.size < halved.least {
        let (name, least) = (disk.name(), human(halved.least));
        return Err(Refusal(format!("{name}: it is too small; the system and one half of this state take {least}")));
    }
    if target.block > halved.block {
        return Err(Refusal(format!(
            "{}: its blocks have {} bytes, and the state is written in those of {}; take a disk whose blocks are as small",
            disk.name(),
            target.block,
            halved.block
        )));
    }
    Ok(())
}

/// Says why a half that is there and takes no part is to be seen to first. One whose own disk is to be erased is in nobody's way, nor
/// is one that was replaced before.
fn in_the_way(left: &LeftOut, chosen: &str) -> Option<String> {
    let others: Vec<String> = left.on.iter().filter(|it| *it != chosen).cloned().collect();
    let on = named(&others);
    let why = match left.why {
        WhyLeftOut::Strange => return None,
        // What is chosen may be the true state, whatever leave there is.
        WhyLeftOut::Newer => {
            return Some(format!(
                "this machine runs an older state, of a disk that was replaced, and what came after it is on {}: switch off, and \
                 start from there; to give that up, have it erased elsewhere",
                named(&left.on)
            ));
        }
        WhyLeftOut::Differs => format!(
            "the other half is there, on {on}, and was written to without this one: start from it alone to see what it holds, \
             and unplug the one that you give up, or name it here with leave to erase it"
        ),
        WhyLeftOut::Several => format!(
            "the other half is said to be on {on}: unplug what is not meant, and what stays is filled by itself, or \
             unplug all of them"
        ),
        WhyLeftOut::Refused => format!(
            "the other half is there, on {on}, and could not be taken back: plug it in once more, or unplug it, or name it \
             here with leave to erase it"
        ),
    };
    (!others.is_empty()).then_some(why)
}

/// Returns the steps by which a disk takes the place of the lost one. It counts last, once all but the state was read back.
pub fn replacement(leave: &Leave) -> Vec<Step> {
    let ticket = match leave {
        Leave::Ticket(name) => Some(Step::UseUp(0, name.clone())),
        Leave::Blank | Leave::Unfinished => None,
    };
    ticket.into_iter().chain([Step::Mark(0), Step::WriteHalf, Step::ReadBack, Step::TakeIn]).collect()
}

fn named(disks: &[String]) -> String {
    disks.iter().map(|it| format!("/dev/{it}")).collect::<Vec<_>>().join(" and ")
}
