//! How each link stands.

use std::collections::BTreeMap;

use piccolo_schema::{Declared, Link, LinkStatus};

use super::foreign;
use crate::{
    host::{CheckSeen, DeviceSeen, LinksView, WifiSeen},
    reconcile::{Note, Report},
};

pub(super) fn report(manifests: &[Link], view: &LinksView) -> Vec<Report> {
    manifests.iter().map(|it| stands(it, view)).collect()
}

/// Says which links are on trial.
pub(super) fn notes(manifests: &[Link], view: &LinksView) -> Vec<Vec<Note>> {
    let none = BTreeMap::new();
    let tried = view.trial.as_ref().map_or(&none, |it| &it.tried);
    let until = view.trial.as_ref().map_or("", |it| it.until.as_str());
    let note = |it: &Link| {
        let checks = view.trial.as_ref().map_or_else(String::new, |it| told(&it.checks));
        let message =
            format!("It is put back at {until} unless `piccolo net confirm` says that the machine is reached{checks}");
        tried.contains_key(it.name()).then_some(Note { name: "OnTrial", reason: "NotConfirmedYet", message })
    };
    manifests.iter().map(|it| note(it).into_iter().collect()).collect()
}

/// Says what the machine can tell by itself.
fn told(checks: &[CheckSeen]) -> String {
    let (well, ill): (Vec<_>, Vec<_>) = checks.iter().partition(|it| it.passes);
    let all = |checks: Vec<&CheckSeen>| checks.iter().map(|it| it.message.as_str()).collect::<Vec<_>>().join(", ");
    match (well.is_empty(), ill.is_empty()) {
        (true, true) => String::new(),
        (_, true) => format!(". By itself it finds that {}", all(well)),
        (_, false) => format!(". By itself it finds that {}", all(ill)),
    }
}

fn stands(link: &Link, view: &LinksView) -> Report {
    let devices = foreign::meant(link.name(), &link.spec, view);
    let Some(device) = devices.first() else {
        let fields = serde_json::json!({});
        let message = "The machine has no such link".to_owned();
        return Report { ready: false, reason: "DeviceMissing".to_owned(), message, fields };
    };
    let (ready, reason, message) = says(link, device, devices.len(), view);
    let status = LinkStatus {
        device: Some(device.name.clone()),
        mac: device.mac.clone(),
        addresses: device.addresses.clone(),
        ..LinkStatus::default()
    };
    Report { ready, reason: reason.to_owned(), message, fields: serde_json::to_value(status).unwrap_or_default() }
}

fn says(link: &Link, device: &DeviceSeen, many: usize, view: &LinksView) -> (bool, &'static str, String) {
    let (spec, name) = (&link.spec, &device.name);
    let needs_no_other = spec.bridge.is_some() || spec.dummy;
    if let Some(wifi) = spec.wifi.as_ref().filter(|_| !device.carrier) {
        let ssid = wifi.ssid.escape_debug();
        let serves = |it: &WifiSeen| it.device == *name && it.subject.as_deref() == Some(link.name()) && it.serves;
        if !view.wifi.iter().any(serves) {
            let message =
                format!("{name} has not joined `{ssid}`: wpa_supplicant does not run on {name} with its file");
            return (false, "NotJoined", message);
        }
        let message = format!("{name} has not joined `{ssid}`: it is out of reach, or the password is another one");
        return (false, "NotJoined", message);
    }
    if !device.carrier && !needs_no_other {
        return (false, "NoCarrier", format!("{name} is set up, but there is nothing at its other end"));
    }
    let waits = (spec.dhcp4 && !has_leased(device, '.')) || (spec.dhcp6 && !has_leased(device, ':'));
    if waits {
        return (false, "NoLease", format!("{name} asks for an address, and nobody answers"));
    }
    match (many, device.addresses.as_slice()) {
        (2.., _) => (true, "Configured", format!("{name} and {} more are set up", many - 1)),
        (_, []) => (true, "Configured", format!("{name} is set up")),
        (_, addresses) => (true, "Configured", format!("{name} has {}", addresses.join(", "))),
    }
}

/// An address that every link with IPv6 has is no lease.
fn has_leased(device: &DeviceSeen, mark: char) -> bool {
    device.addresses.iter().any(|it| it.contains(mark) && !it.starts_with("fe80:"))
}

#[cfg(test)]
mod tests {
    use piccolo_schema::LinkSpec;

    use super::*;

    #[test]
    fn who_does_not_join_is_told_whether_anybody_tries() {
        let spec = serde_json::json!({ "match": { "name": "wlan0" }, "wifi": { "ssid": "attic", "security": "open" } });
        let links = [Link::new("air", serde_json::from_value::<LinkSpec>(spec).unwrap())];
        let device = DeviceSeen { name: "wlan0".to_owned(), wireless: true, up: true, ..DeviceSeen::default() };
        let file =
            |serves| WifiSeen { device: "wlan0".to_owned(), subject: Some("air".to_owned()), digest: None, serves };
        for (wifi, says) in [
            (vec![file(true)], "wlan0 has not joined `attic`: it is out of reach, or the password is another one"),
            (vec![file(false)], "wlan0 has not joined `attic`: wpa_supplicant does not run on wlan0 with its file"),
            (Vec::new(), "wlan0 has not joined `attic`: wpa_supplicant does not run on wlan0 with its file"),
        ] {
            let view = LinksView { devices: vec![device.clone()], wifi, ..LinksView::default() };
            let told = &report(&links, &view)[0];
            assert_eq!((told.ready, told.reason.as_str(), told.message.as_str()), (false, "NotJoined", says));
        }
    }
}
