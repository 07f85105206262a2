//! What a disk says of its own health, where `smartctl` is installed.

use serde::Deserialize;

use super::{LOOK, program};

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

/// Asks a disk, without waking one that sleeps.
pub(super) async fn failing(device: &str) -> Option<String> {
    if device.starts_with("loop") || !std::path::Path::new("/usr/sbin/smartctl").exists() {
        return None;
    }
    let path = format!("/dev/{device}");
    // Its exit code tells of the disk too, so a failure is no answer, and only what was printed counts.
    let text = program::run("smartctl", ["--json", "--nocheck=standby", "-HA", &path], LOOK).await.ok()?;
    judge(&text)
}

/// Says what is wrong, from what `smartctl` prints.
fn judge(text: &str) -> Option<String> {
    let told: Told = serde_json::from_str(text).ok()?;
    if told.smart_status.is_some_and(|it| !it.passed) {
        return Some("It says itself that it is about to fail".to_owned());
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

    const TEXT: &str = r#"{"smart_status":{"passed":true},"ata_smart_attributes":{"table":[
        {"id":5,"name":"Reallocated_Sector_Ct","raw":{"value":3}},{"id":197,"name":"Current_Pending_Sector","raw":{"value":8}}]}}"#;

    #[test]
    fn a_disk_that_is_about_to_fail_is_told() {
        assert_eq!(judge(TEXT).as_deref(), Some("It counts 8 sectors that it can't read"));
        assert!(judge(r#"{"smart_status":{"passed":false}}"#).is_some_and(|it| it.contains("about to fail")));
        assert!(judge(r#"{"nvme_smart_health_information_log":{"critical_warning":4}}"#).is_some());
        assert_eq!(judge(r#"{"smart_status":{"passed":true}}"#), None);
        assert_eq!(judge("{}"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_breaks_it(at in 0..TEXT.len(), what in "\\PC{0,8}") {
            drop(judge(&format!("{}{what}{}", &TEXT[..at], &TEXT[at..])));
        }
    }
}
