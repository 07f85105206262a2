//! How an installation stands.

use piccolo_schema::{Install, InstallStatus, quantity::Bytes};

use super::plan::{is_settled, meant, names};
use crate::{
    host::{InstallView, RunsFrom, Target, UnderWay},
    reconcile::Report,
};

/// Says how the installation that a manifest asks for stands.
pub(super) fn report(manifest: &Install, observed: &InstallView) -> Report {
    let targets = meant(&manifest.spec, observed).unwrap_or_default();
    let (ready, reason, message) = stands(manifest, &targets, observed);
    let fields = serde_json::to_value(status(&targets, observed.under_way.as_ref())).unwrap_or_default();
    Report { ready, reason: reason.to_owned(), message, fields }
}

fn stands(manifest: &Install, targets: &[&Target], observed: &InstallView) -> (bool, &'static str, String) {
    if observed.runs_from == RunsFrom::Disk {
        let message = "This system runs from its disk, so there is nothing to be installed; take the manifest away";
        return (true, "RunsFromDisk", message.to_owned());
    }
    if let Some(it) = &observed.under_way {
        let part = it.done.zip(it.total.filter(|total| *total > 0));
        let part = part.map(|(done, total)| format!(", {} %", done.min(total).saturating_mul(100) / total));
        let message = format!("Step {} of {}: {}{}", it.step, it.steps, it.text, part.unwrap_or_default());
        return (false, "Installing", message);
    }
    if targets.is_empty() || !is_settled(manifest, targets, observed) {
        return (false, "NotInstalled", "It is not installed".to_owned());
    }
    let message = format!(
        "{} {} version {} of the system; switch off, and pull the stick out",
        names(targets),
        if targets.len() > 1 { "hold" } else { "holds" },
        observed.version.as_deref().unwrap_or_default()
    );
    (true, "Installed", message)
}

fn status(targets: &[&Target], under_way: Option<&UnderWay>) -> InstallStatus {
    let told = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let mut disks = targets.iter().map(|it| &it.disk);
    let (disk, second) = (disks.next(), disks.next());
    let mut status = InstallStatus {
        device: disk.and_then(|it| told(&it.device)),
        model: disk.and_then(|it| told(&it.model)),
        serial: disk.and_then(|it| told(&it.identity.serial)),
        size: disk.map(|it| Bytes::new(it.identity.size)),
        mirror: second.and_then(|it| told(&it.identity.serial)),
        ..InstallStatus::default()
    };
    if let Some(it) = under_way {
        status.phase = told(&it.text);
        status.step = Some(it.step);
        status.steps = Some(it.steps);
        status.done = it.done.map(Bytes::new);
        status.total = it.total.map(Bytes::new);
        status.rate = it.rate.map(Bytes::new);
    }
    status
}

#[cfg(test)]
mod tests {
    use piccolo_schema::{InstallSpec, disk::Selector};

    use super::*;
    use crate::host::{DiskSeen, Identity, STATE};

    fn manifest() -> Install {
        let select = Selector { serial: Some("A".to_owned()), ..Selector::default() };
        Install::new(Install::NAME, InstallSpec { select, ..InstallSpec::default() })
    }

    fn view() -> InstallView {
        let identity = Identity { serial: "A".to_owned(), wwn: String::new(), size: 1 << 34 };
        let disk = DiskSeen { device: "sda".to_owned(), identity, ..DiskSeen::default() };
        let names = vec!["piccolo_1.2.0".to_owned(), STATE.to_owned()];
        InstallView {
            runs_from: RunsFrom::Stick,
            version: Some("1.2.0".to_owned()),
            targets: vec![Target { disk, names, ..Target::default() }],
            ..InstallView::default()
        }
    }

    #[test]
    fn phase_bytes_and_rate_are_told() {
        let (done, total) = (Some(40 << 20), Some(160 << 20));
        let under_way =
            UnderWay { step: 2, steps: 6, text: "writing the system".to_owned(), done, total, rate: Some(1 << 20) };
        let told = report(&manifest(), &InstallView { under_way: Some(under_way), ..view() });
        assert_eq!((told.ready, told.reason.as_str()), (false, "Installing"));
        assert_eq!(told.message, "Step 2 of 6: writing the system, 25 %");
        let expected = serde_json::json!({
            "device": "sda", "serial": "A", "size": "16Gi", "phase": "writing the system", "step": 2, "steps": 6,
            "done": "40Mi", "total": "160Mi", "rate": "1Mi",
        });
        assert_eq!(told.fields, expected);
    }

    #[test]
    fn the_end_and_what_comes_after_it_are_told() {
        let told = report(&manifest(), &view());
        assert_eq!((told.ready, told.reason.as_str()), (true, "Installed"));
        assert!(told.message.contains("version 1.2.0 of the system; switch off"), "{}", told.message);
        let other = report(&manifest(), &InstallView { version: Some("1.3.0".to_owned()), ..view() });
        assert_eq!((other.ready, other.reason.as_str()), (false, "NotInstalled"));
        // What was to be erased is still there.
        let mut asked = manifest();
        asked.spec.wipe = Some("wipe-1".to_owned());
        assert_eq!(report(&asked, &view()).reason, "NotInstalled");
        let inert = report(&manifest(), &InstallView { runs_from: RunsFrom::Disk, ..InstallView::default() });
        assert_eq!((inert.ready, inert.reason.as_str()), (true, "RunsFromDisk"));
    }
}
