//! How the keys of the system's own disk stand: what opens it, and whether its owner has the recovery key.

use jiff::Timestamp;
use serde::Serialize;

use crate::host::{LeftOut, OpenedBy, Retrieved, StateHalves, StateSeen, WhyLeftOut};

/// How the encrypted state of the system stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateStanding {
    /// What the kernel calls its partition now.
    pub device: String,
    /// The UUID of its header.
    pub uuid: String,
    /// What opens it, by the numbers of its key slots.
    pub keys: Vec<String>,
    /// True if one of them is the TPM's, and opened it when the machine started.
    pub by_the_tpm: bool,
    /// When its recovery key was last proved to open it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_proved: Option<String>,
    /// What its owner should do about it.
    #[serde(skip)]
    pub notes: Vec<StateNote>,
}

/// Something that its owner should do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StateNote {
    /// The type of the condition.
    #[serde(rename = "type")]
    pub name: &'static str,
    /// The cause in PascalCase.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
    /// A command that helps.
    pub help: &'static str,
}

impl StateStanding {
    /// Sums up what is seen of it, and of its halves where it lies on two disks.
    pub fn new(seen: &StateSeen, halves: Option<&StateHalves>, now: Timestamp) -> Self {
        let luks = &seen.luks;
        let proved = match luks.retrieved(now) {
            Retrieved::Proved(last) | Retrieved::ProofDue(last) => Some(last.to_string()),
            Retrieved::NotMade | Retrieved::NotConfirmed => None,
        };
        Self {
            device: luks.device.clone(),
            uuid: luks.uuid.clone(),
            keys: luks.keys.iter().map(|it| format!("{}: {}", it.slot, it.words())).collect(),
            by_the_tpm: seen.shut.is_none() && luks.keys.iter().any(|it| it.by == OpenedBy::Tpm2),
            recovery_proved: proved,
            notes: [halves.and_then(lacking), halves.and_then(left_over), shut(seen), recovery(luks.retrieved(now))]
                .into_iter()
                .flatten()
                .collect(),
        }
    }

    /// Says it in one sentence.
    pub fn message(&self) -> String {
        if self.notes.is_empty() {
            return "somebody has the recovery key of the system's disk, and nothing else is to be done".to_owned();
        }
        self.notes.iter().map(|it| it.message.as_str()).collect::<Vec<_>>().join("; ")
    }
}

/// Says that one of its halves is missing, or not yet filled.
fn lacking(halves: &StateHalves) -> Option<StateNote> {
    let on = halves.on.iter().map(|it| format!("/dev/{it}")).collect::<Vec<_>>();
    if !halves.is_lacking {
        return None;
    }
    if let Some(left) = halves.left_out.as_ref().filter(|_| on.len() < 2) {
        let (reason, message) = left_out(left, &on.join(" and "));
        return Some(StateNote { name: "StateDegraded", reason, message, help: "piccolo disk list" });
    }
    let (reason, message) = match halves.filled {
        // Each is an event: it is told in steps of ten.
        Some(percent) => {
            let percent = percent / 10 * 10;
            (
                "Filling",
                format!("one half of the state was missing, and is filled now on {}: {percent} %", on.join(" and ")),
            )
        }
        None if on.len() > 1 => {
            ("Filling", format!("one half of the state was missing, and is about to be filled on {}", on.join(" and ")))
        }
        None => (
            "HalfMissing",
            format!(
                "the state lies on {} alone, its other half is missing, and what is lost with this disk is lost; plug the \
                 other disk in: it is filled by itself. A new one takes its place by `piccolo disk replace --state`",
                on.join("")
            ),
        ),
    };
    Some(StateNote { name: "StateDegraded", reason, message, help: "piccolo disk list" })
}

/// Says that a half is there that was replaced, or that the two in use were.
fn left_over(halves: &StateHalves) -> Option<StateNote> {
    let left = halves.left_out.as_ref().filter(|_| halves.on.len() > 1)?;
    let names = |all: &[String]| all.iter().map(|it| format!("/dev/{it}")).collect::<Vec<_>>().join(" and ");
    let (both, on) = (names(&halves.on), names(&left.on));
    if left.why == WhyLeftOut::Newer {
        let message = newer(&both, &on);
        return Some(StateNote { name: "HalfLeftOver", reason: "HalfNewer", message, help: "piccolo disk list" });
    }
    let message = format!(
        "the state lies on {both}, and {on} says that it holds a half of it: it was replaced, or something else is encrypted in \
         it, and it is left as it is; it may hold an older state, which the TPM of this machine opens if it is started, so \
         unplug it and have it erased elsewhere"
    );
    Some(StateNote { name: "HalfLeftOver", reason: "HalfStrange", message, help: "piccolo disk list" })
}

/// Says that what the system stands on was replaced.
fn newer(here: &str, there: &str) -> String {
    format!(
        "this machine runs an older state, of a disk that was replaced: it lies on {here}, and what came after it is on {there}; \
         what is changed now is not there, so switch off, start from {there}, and have the older one erased elsewhere"
    )
}

/// Says why a half takes no part that is there.
fn left_out(left: &LeftOut, alone: &str) -> (&'static str, String) {
    let on = left.on.iter().map(|it| format!("/dev/{it}")).collect::<Vec<_>>().join(" and ");
    match left.why {
        WhyLeftOut::Differs => (
            "HalvesDiffer",
            format!(
                "the state lies on {alone} alone: it and the half on {on} were each written to without the other, so that half \
                 is left as it is; the one whose disk is started counts, so start from {on} alone to see what it holds, and \
                 have the one erased elsewhere that you give up"
            ),
        ),
        WhyLeftOut::Several => (
            "HalfAmbiguous",
            format!(
                "the state lies on {alone} alone: {on} all say that they hold its other half, as a disk and its copy do, and \
                 none of them is written to; unplug those that are not meant, and the one that stays is filled by itself"
            ),
        ),
        WhyLeftOut::Strange => (
            "HalfStrange",
            format!(
                "the state lies on {alone} alone: {on} says that it holds its other half, but something else is encrypted in it, \
                 as in one that was replaced, so it is left as it is; plug the disk in that belongs to this one, or have a new \
                 one take its place by `piccolo disk replace --state`"
            ),
        ),
        WhyLeftOut::Newer => ("HalfNewer", newer(&format!("{alone} alone"), &on)),
        WhyLeftOut::Refused => (
            "HalfRefused",
            format!(
                "the state lies on {alone} alone: its other half is on {on}, and can't be taken back; see whether that disk is \
                 well, and plug it in once more; `journalctl --unit piccolo-fill` tells why"
            ),
        ),
    }
}

/// Says that the TPM does not open it as the machine started this time.
fn shut(seen: &StateSeen) -> Option<StateNote> {
    let shut = seen.shut.as_ref()?;
    let (name, reason, why) = match &shut.changed {
        Some(changed) => ("StartChanged", "TpmRefuses", format!("the machine started another way: {changed}")),
        None => ("TpmRefuses", "NotOpened", shut.why.clone()),
    };
    let message = format!(
        "the TPM does not open the system's disk, so its recovery key is asked for at each start: {why}. `piccolo trust why` \
         tells more; if it shall be so from now on, `piccolo disk reseal --state` with the recovery key binds it to that"
    );
    Some(StateNote { name, reason, message, help: "piccolo disk reseal --state" })
}

/// Says what there is to do about its recovery key.
fn recovery(retrieved: Retrieved) -> Option<StateNote> {
    let check = "piccolo disk recovery-key --state --check";
    let (reason, message, help) = match retrieved {
        Retrieved::Proved(_) => return None,
        Retrieved::NotMade => (
            "NotMade",
            "the system's disk has no recovery key, and what is on it is lost with its TPM: run `piccolo disk recovery-key \
             --state`"
                .to_owned(),
            "piccolo disk recovery-key --state",
        ),
        Retrieved::NotConfirmed => (
            "NotConfirmed",
            format!(
                "nobody has proved to have the recovery key of the system's disk, which was shown once as it was installed: \
                 type it at `{check}`, or make another one without `--check`"
            ),
            check,
        ),
        Retrieved::ProofDue(last) => {
            let when = last.strftime("%Y-%m-%d");
            let message = format!(
                "the recovery key of the system's disk was last typed on {when}; see whether you still have it: `{check}`"
            );
            ("ProofDue", message, check)
        }
    };
    Some(StateNote { name: "RecoveryKeyNotRetrieved", reason, message, help })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::host::{KeySeen, LuksSeen, Shut};

    fn stands(recovery: Option<Option<i64>>, shut: Option<Option<&str>>) -> StateStanding {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        let tpm = KeySeen { slot: 0, by: OpenedBy::Tpm2, ..KeySeen::default() };
        let proved = |days: i64| now - SignedDuration::from_hours(24 * days);
        let key = recovery.map(|days| KeySeen {
            slot: 1,
            by: OpenedBy::Recovery,
            proved: days.map(proved),
            ..KeySeen::default()
        });
        let keys = [Some(tpm), key].into_iter().flatten().collect();
        let luks = LuksSeen { device: "vda6".to_owned(), uuid: "6c1b".to_owned(), keys, ..LuksSeen::default() };
        let shut = shut.map(|changed| Shut {
            uuid: "6c1b".to_owned(),
            why: "it was cleared".to_owned(),
            changed: changed.map(str::to_owned),
        });
        StateStanding::new(&StateSeen { luks, shut }, None, now)
    }

    #[test]
    fn a_half_that_is_missing_or_not_full_is_told() {
        let told = |on: &[&str], is_lacking, filled| {
            let on = on.iter().map(|it| (*it).to_owned()).collect();
            lacking(&StateHalves { on, is_lacking, filled, left_out: None }).map(|it| (it.reason, it.message))
        };
        assert_eq!(told(&["vda", "vdb"], false, None), None);
        let (reason, message) = told(&["vdb"], true, None).unwrap();
        assert!(reason == "HalfMissing" && message.contains("lies on /dev/vdb alone"), "{message}");
        let (reason, message) = told(&["vda", "vdb"], true, Some(47)).unwrap();
        assert!(reason == "Filling" && message.ends_with("on /dev/vda and /dev/vdb: 40 %"), "{message}");
        assert!(told(&["vda", "vdb"], true, None).unwrap().1.contains("about to be filled"));
    }

    #[test]
    fn a_half_that_is_there_is_not_said_to_be_missing() {
        use WhyLeftOut::{Differs, Newer, Refused, Several, Strange};
        for (why, expected, word) in [
            (Differs, "HalvesDiffer", "each written to without the other"),
            (Several, "HalfAmbiguous", "unplug those that are not meant"),
            (Strange, "HalfStrange", "`piccolo disk replace --state`"),
            (Newer, "HalfNewer", "runs an older state"),
            (Refused, "HalfRefused", "can't be taken back"),
        ] {
            let left_out = Some(LeftOut { why, on: vec!["vdb".to_owned(), "vdc".to_owned()] });
            let note =
                lacking(&StateHalves { on: vec!["vda".to_owned()], is_lacking: true, filled: None, left_out }).unwrap();
            assert_eq!((note.name, note.reason), ("StateDegraded", expected));
            let names = ["/dev/vda alone", "/dev/vdb and /dev/vdc", word];
            assert!(names.iter().all(|it| note.message.contains(it)), "{}", note.message);
            assert!(!note.message.contains("missing") && !note.message.contains("  "), "{}", note.message);
        }
    }

    #[test]
    fn a_half_that_was_replaced_is_told_where_none_is_missing() {
        let on = vec!["vda".to_owned(), "vdc".to_owned()];
        let seen = |why, is_lacking| {
            let left_out = Some(LeftOut { why, on: vec!["vdb".to_owned()] });
            let halves = StateHalves { on: on.clone(), is_lacking, filled: None, left_out: None };
            let left_out = left_out.filter(|it| halves.counts(it));
            let halves = StateHalves { left_out, ..halves };
            (lacking(&halves).map(|it| it.reason), left_over(&halves))
        };
        // Nor does it hide behind one that is filled.
        for (is_lacking, filling) in [(false, None), (true, Some("Filling"))] {
            assert_eq!(seen(WhyLeftOut::Several, is_lacking), (filling, None));
            for (why, word) in [(WhyLeftOut::Strange, "/dev/vdb says"), (WhyLeftOut::Newer, "start from /dev/vdb")] {
                let (degraded, note) = seen(why, is_lacking);
                let note = note.unwrap();
                let names = ["/dev/vda and /dev/vdc", word, "was replaced"];
                assert!(
                    note.name == "HalfLeftOver" && names.iter().all(|it| note.message.contains(it)),
                    "{}",
                    note.message
                );
                assert_eq!(degraded, filling);
            }
        }
    }

    #[test]
    fn an_owner_is_told_what_to_do_until_it_is_done() {
        type Row = (Option<Option<i64>>, Option<Option<&'static str>>, &'static [(&'static str, &'static str)]);
        let table: &[Row] = &[
            (None, None, &[("RecoveryKeyNotRetrieved", "NotMade")]),
            (Some(None), None, &[("RecoveryKeyNotRetrieved", "NotConfirmed")]),
            (Some(Some(0)), None, &[]),
            (Some(Some(179)), None, &[]),
            (Some(Some(180)), None, &[("RecoveryKeyNotRetrieved", "ProofDue")]),
            (Some(Some(1)), Some(Some("the firmware")), &[("StartChanged", "TpmRefuses")]),
            (Some(Some(1)), Some(None), &[("TpmRefuses", "NotOpened")]),
            (
                Some(None),
                Some(Some("Secure Boot")),
                &[("StartChanged", "TpmRefuses"), ("RecoveryKeyNotRetrieved", "NotConfirmed")],
            ),
        ];
        for (recovery, shut, expected) in table {
            let stands = stands(*recovery, *shut);
            let told: Vec<_> = stands.notes.iter().map(|it| (it.name, it.reason)).collect();
            assert_eq!(told, *expected, "{recovery:?} {shut:?}");
            // Each names the command that helps.
            assert!(stands.notes.iter().all(|it| it.message.contains(it.help)), "{:?}", stands.notes);
        }
    }

    #[test]
    fn it_is_told_with_what_opens_it() {
        let (stands, shut) = (stands(Some(Some(1)), None), stands(Some(Some(1)), Some(None)));
        assert_eq!(stands.keys, ["0: the TPM", "1: a recovery key"]);
        assert!(stands.by_the_tpm && stands.recovery_proved.as_deref() == Some("2026-11-27T12:00:00Z"));
        assert!(stands.message().contains("nothing else is to be done"));
        assert!(!shut.by_the_tpm, "it did not open it when the machine started");
    }
}
