//! Whether a request proves that the machine is reached with a change of its links. Pure.
//!
//! A connection that was there before the change goes on for a while whatever becomes of the links, and one of this machine,
//! or of a container on it, takes no way that the change could have cut.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use piccolo_schema::link::INNER;

use crate::host::{DeviceSeen, HostError, LinksView, Reason, Way, firewall};

/// How long networkd takes to give a link what its file says. Only then is the change in force.
pub(super) const SETTLES: Duration = Duration::from_secs(3);
/// Its words for a link that it has not begun with.
const UNTOUCHED: [&str; 2] = [super::files::UNHEARD, "initialized"];

/// Returns an error unless a connection shows that the machine is reached with what is on trial. `told` is when networkd was
/// told of something last.
pub(super) fn judge(way: &Way, view: &LinksView, told: Instant, now: Instant) -> Result<(), HostError> {
    let refused = |why: &str| Err(HostError::new(Reason::Refused, why));
    if is_own(way, &view.devices) {
        return refused(
            "A connection of this machine, or of a container on it, does not show that others reach it; as root on it, \
             `piccolo net confirm` counts",
        );
    }
    in_force(view, told, now)?;
    if way.since < told + SETTLES {
        // The same reason: whoever asks anew brings a new connection.
        return early("This connection was there before the change; only a new one shows that the machine is reached");
    }
    Ok(())
}

/// Returns an error unless the machine is set up as what is on trial says, and had the time for it.
pub(super) fn in_force(view: &LinksView, told: Instant, now: Instant) -> Result<(), HostError> {
    let Some(trial) = &view.trial else {
        return Err(HostError::new(Reason::Gone, "No change of links waits to be confirmed"));
    };
    let none = firewall::digest("");
    let is_loaded = |(subject, digest): (&String, &String)| match view.loaded.get(subject) {
        Some(loaded) => loaded == digest,
        // Networkd may not know of it any more, and its files are there yet.
        None => *digest == none && view.units.iter().all(|unit| unit.subject.as_ref() != Some(subject)),
    };
    let of_trial = |device: &&DeviceSeen| {
        let unit = view.units.iter().find(|it| Some(it.path()) == device.unit);
        unit.and_then(|it| it.subject.as_ref()).is_some_and(|it| trial.tried.contains_key(it))
    };
    let is_begun = |device: &DeviceSeen| !device.setup.as_deref().is_some_and(|it| UNTOUCHED.contains(&it));
    let is_set_up = trial.tried.iter().all(is_loaded) && view.devices.iter().filter(of_trial).all(is_begun);
    if is_set_up && now.saturating_duration_since(told) >= SETTLES {
        return Ok(());
    }
    early("The change is not in force yet; ask again in a moment")
}

fn early(why: &str) -> Result<(), HostError> {
    Err(HostError::new(Reason::InUse, why))
}

/// Returns true for an address of this machine, and of what runs on it behind a bridge.
fn is_own(way: &Way, devices: &[DeviceSeen]) -> bool {
    let ip = way.from.to_canonical();
    let is_inner = |device: &DeviceSeen| INNER.iter().any(|start| device.name.starts_with(start));
    let is_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let is_behind = is_local && way.over != 0 && devices.iter().any(|it| it.index == way.over && is_inner(it));
    let mut own = devices.iter().flat_map(|device| device.addresses.iter().map(move |it| (device, it)));
    ip.is_loopback()
        || ip.is_unspecified()
        || is_behind
        || own.any(|(device, text)| {
            let Some((address, bits)) = text.split_once('/') else { return false };
            let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), bits.parse()) else { return false };
            address == ip || (is_inner(device) && is_within(ip, address, bits))
        })
}

fn is_within(ip: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (ip, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).checked_shr(32 - bits.min(32)).unwrap_or(0) == 0,
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            !a.is_unicast_link_local() && (a.to_bits() ^ b.to_bits()).checked_shr(128 - bits.min(128)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::host::{PREFIX, STAMP, TrialSeen, UnitSeen};

    fn device(name: &str, address: &str) -> DeviceSeen {
        DeviceSeen { name: name.to_owned(), addresses: vec![address.to_owned()], ..DeviceSeen::default() }
    }

    /// A machine whose link `lan` was changed, and networkd has read the change.
    fn view() -> LinksView {
        let tried: BTreeMap<String, String> = [("lan".to_owned(), "new".to_owned())].into();
        let unit = UnitSeen::of("/etc/systemd/network", &format!("{PREFIX}lan.network"), format!("{STAMP}lan\n"));
        let lan = DeviceSeen {
            unit: Some(unit.path()),
            setup: Some("configured".to_owned()),
            ..device("enp3s0", "192.168.1.10/24")
        };
        LinksView {
            units: vec![unit],
            loaded: tried.clone(),
            devices: vec![device("docker0", "172.17.0.1/16"), device("br-1", "fd00:1::1/64"), lan],
            trial: Some(TrialSeen { id: "net-1".to_owned(), tried, ..TrialSeen::default() }),
            ..LinksView::default()
        }
    }

    fn judged(view: &LinksView, from: &str, since: u64, now: u64) -> Result<(), Reason> {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let way = Way { since: at(since), from: from.parse().unwrap(), over: 0 };
        judge(&way, view, at(100), at(now)).map_err(|error| error.reason)
    }

    #[test]
    fn only_a_connection_from_after_the_change_proves_anything() {
        let view = view();
        assert_eq!(judged(&view, "192.168.1.7", 104, 104), Ok(()));
        assert_eq!(judged(&view, "2001:db8::7", 150, 160), Ok(()));
        // Each that was there before networkd had done its part, however late it asks.
        for since in [0, 99, 100, 102] {
            assert_eq!(judged(&view, "192.168.1.7", since, 180), Err(Reason::InUse), "{since}");
        }
        // None so soon that the link may still be as it was.
        assert_eq!(judged(&view, "192.168.1.7", 102, 102), Err(Reason::InUse));
    }

    #[test]
    fn nothing_of_this_machine_proves_anything() {
        let view = view();
        for from in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "192.168.1.10",
            "172.17.0.5",
            "fd00:1::5",
        ] {
            assert_eq!(judged(&view, from, 110, 120), Err(Reason::Refused), "{from}");
        }
        // An address of a link alone is a container's if that link is a bridge of ours.
        let devices = [DeviceSeen { index: 4, ..device("br-1", "") }, DeviceSeen { index: 2, ..device("enp3s0", "") }];
        let over = |over| is_own(&Way { since: Instant::now(), from: "fe80::5".parse().unwrap(), over }, &devices);
        assert_eq!([4, 2, 0].map(over), [true, false, false]);
        // What is beside the machine is not behind one of its bridges.
        for from in ["192.168.1.11", "172.18.0.5", "fd00:2::5", "fe80::5"] {
            assert_eq!(judged(&view, from, 110, 120), Ok(()), "{from}");
        }
    }

    #[test]
    fn what_is_not_in_force_is_not_proved() {
        let with = |change: fn(&mut LinksView)| {
            let mut view = view();
            change(&mut view);
            judged(&view, "192.168.1.7", 110, 120)
        };
        assert_eq!(with(|it| it.trial = None), Err(Reason::Gone));
        // A further change has joined, and is not written yet.
        let join = |it: &mut LinksView| {
            it.trial.as_mut().map(|it| it.tried.insert("more".to_owned(), "new".to_owned()));
        };
        assert_eq!(with(join), Err(Reason::InUse));
        assert_eq!(with(|it| drop(it.loaded.insert("lan".to_owned(), "old".to_owned()))), Err(Reason::InUse));
        assert_eq!(with(|it| it.loaded.clear()), Err(Reason::InUse));
        assert_eq!(with(|it| it.devices[2].setup = Some("pending".to_owned())), Err(Reason::InUse));
        // A link that goes has no files to be read.
        let goes = |it: &mut LinksView| {
            it.trial.as_mut().map(|it| it.tried.insert("lan".to_owned(), firewall::digest("")));
            it.loaded.clear();
        };
        assert_eq!(with(goes), Err(Reason::InUse));
        let went = |it: &mut LinksView| {
            it.trial.as_mut().map(|it| it.tried.insert("lan".to_owned(), firewall::digest("")));
            it.loaded.clear();
            it.units.clear();
        };
        assert_eq!(with(went), Ok(()));
    }
}
