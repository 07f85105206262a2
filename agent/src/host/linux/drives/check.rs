//! What a disk says of its own health, where `smartctl` is installed.

use serde::Deserialize;

use super::{LOOK, program};
use crate::host::HealthSeen;

/// What counts of it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    smart_status: Option<Status>,
    ata_smart_attributes: Attributes,
    nvme_smart_health_information_log: Option<Nvme>,
}

#[derive(Deserialize)]
struct Status {
    passed: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Attributes {
    table: Vec<Attribute>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Attribute {
    id: u32,
    raw: Raw,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    value: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Nvme {
    critical_warning: u64,
    percentage_used: u64,
    media_errors: u64,
}

/// What a disk said when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Nothing: it sleeps, or can't be asked. What it said before still holds.
    Silent,
    /// What it counts, and what is wrong with it, in a sentence, if anything is.
    Told(HealthSeen, Option<String>),
}

/// The program did not understand what it was asked, or the disk was not opened, for it sleeps or is gone.
const NO_ANSWER: i32 = 0b0000_0011;
/// The disk says that it is about to fail.
const ABOUT_TO_FAIL: i32 = 0b0000_1000;
/// What it counts has come to where its maker says that it will fail.
const BELOW_ITS_BOUND: i32 = 0b0001_0000;

/// The number of what counts the sectors that the disk has put others in the place of.
const REALLOCATED: u32 = 5;

/// Asks a disk, without waking one that sleeps.
pub(super) async fn health(device: &str) -> Health {
    if device.starts_with("loop") || !std::path::Path::new("/usr/sbin/smartctl").exists() {
        return Health::Silent;
    }
    let path = format!("/dev/{device}");
    let Ok(output) = program::ended("smartctl", ["--json", "--nocheck=standby", "-HA", &path], LOOK).await else {
        return Health::Silent;
    };
    judge(output.status.code(), &String::from_utf8_lossy(&output.stdout))
}

/// Says how a disk is, from what `smartctl` ends with, whose bits each have a meaning, and what it prints.
fn judge(code: Option<i32>, text: &str) -> Health {
    let Some(code) = code.filter(|code| code & NO_ANSWER == 0) else { return Health::Silent };
    let Ok(told) = serde_json::from_str::<Told>(text) else { return Health::Silent };
    let reallocated = told.ata_smart_attributes.table.iter().find(|it| it.id == REALLOCATED).map(|it| it.raw.value);
    let worn = told.nvme_smart_health_information_log.as_ref().map(|it| it.percentage_used);
    Health::Told(HealthSeen { worn, reallocated }, wrong(code, told))
}

fn wrong(code: i32, told: Told) -> Option<String> {
    if code & ABOUT_TO_FAIL != 0 || told.smart_status.is_some_and(|it| !it.passed) {
        return Some("It says itself that it is about to fail".to_owned());
    }
    if code & BELOW_ITS_BOUND != 0 {
        return Some("It counts more wear than its maker allows".to_owned());
    }
    let count = |id: u32| told.ata_smart_attributes.table.iter().find(|it| it.id == id).map_or(0, |it| it.raw.value);
    let (pending, lost) = (count(197), count(198));
    if pending > 0 || lost > 0 {
        return Some(format!("It counts {} sectors that it can't read", pending.max(lost)));
    }
    let nvme = told.nvme_smart_health_information_log.unwrap_or_default();
    match nvme {
        Nvme { critical_warning, .. } if critical_warning > 0 => Some("It warns of its own end".to_owned()),
        Nvme { media_errors, .. } if media_errors > 0 => Some(format!("It counts {media_errors} errors of its memory")),
        Nvme { percentage_used, .. } if percentage_used >= 100 => Some("Its memory is worn out".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WELL: Health = Health::Told(HealthSeen { worn: None, reallocated: None }, None);
    const TEXT: &str = r#"{"smart_status":{"passed":true},"ata_smart_attributes":{"table":[
        {"id":5,"name":"Reallocated_Sector_Ct","raw":{"value":3}},{"id":197,"name":"Current_Pending_Sector","raw":{"value":8}}]}}"#;

    #[test]
    fn a_disk_that_is_about_to_fail_is_told() {
        let failing = |code, text: &str| match judge(Some(code), text) {
            Health::Told(_, why) => why,
            Health::Silent => None,
        };
        assert_eq!(failing(0, TEXT).as_deref(), Some("It counts 8 sectors that it can't read"));
        assert!(failing(8, r#"{"smart_status":{"passed":false}}"#).is_some_and(|it| it.contains("about to fail")));
        assert!(failing(0, r#"{"nvme_smart_health_information_log":{"critical_warning":4}}"#).is_some());
        assert_eq!(judge(Some(0), r#"{"smart_status":{"passed":true}}"#), WELL);
        assert_eq!(judge(Some(0), "{}"), WELL);
    }

    #[test]
    fn what_it_counts_is_told_along() {
        let counts = |text: &str| match judge(Some(0), text) {
            Health::Told(seen, _) => (seen.worn, seen.reallocated),
            Health::Silent => (None, None),
        };
        assert_eq!(counts(TEXT), (None, Some(3)));
        assert_eq!(counts(r#"{"nvme_smart_health_information_log":{"percentage_used":12}}"#), (Some(12), None));
        assert_eq!(counts("{}"), (None, None));
    }

    #[test]
    fn each_bit_of_its_code_is_used_for_what_it_says() {
        let passed = r#"{"smart_status":{"passed":true}}"#;
        // Not understood, or asleep: that is no word on the disk.
        assert_eq!(judge(Some(1), passed), Health::Silent);
        assert_eq!(judge(Some(2), passed), Health::Silent);
        // A command that this disk does not know, old errors, and old self-tests are not its end.
        for code in [4, 32, 64, 128, 4 + 64] {
            assert_eq!(judge(Some(code), passed), WELL, "{code}");
            assert!(matches!(judge(Some(code), TEXT), Health::Told(_, Some(_))), "{code}");
        }
        assert!(matches!(judge(Some(8), "{}"), Health::Told(_, Some(why)) if why.contains("about to fail")));
        assert!(matches!(judge(Some(16 + 64), passed), Health::Told(_, Some(why)) if why.contains("wear")));
        assert_eq!(judge(None, passed), Health::Silent);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_breaks_it(at in 0..TEXT.len(), what in "\\PC{0,8}") {
            drop(judge(Some(0), &format!("{}{what}{}", &TEXT[..at], &TEXT[at..])));
        }
    }
}
