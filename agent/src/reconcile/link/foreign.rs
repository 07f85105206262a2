//! Which links a manifest, or a file of others, means. Pure.

use piccolo_schema::{LinkSpec, link::Match};

use super::render::COPIES;
use crate::host::{DeviceSeen, LinksView, PREFIX, UnitSeen};

/// Where a distribution keeps its own; a file there is a default, and gives way to ours.
const DEFAULTS: [&str; 2] = ["/usr/lib/systemd/network", "/lib/systemd/network"];

/// Returns the links that a manifest means.
pub(super) fn meant<'a>(name: &str, spec: &LinkSpec, view: &'a LinksView) -> Vec<&'a DeviceSeen> {
    let means = |device: &&DeviceSeen| match &spec.select {
        Some(select) => device.name != "lo" && chooses(select, device),
        None => device.name == name,
    };
    view.devices.iter().filter(means).collect()
}

fn chooses(select: &Match, device: &DeviceSeen) -> bool {
    let same = |want: &Option<String>, has: &Option<String>| {
        want.as_ref().is_none_or(|want| has.as_ref().is_some_and(|has| want.eq_ignore_ascii_case(has)))
    };
    let like = |want: &Option<String>, has: &Option<String>| {
        want.as_ref().is_none_or(|want| has.as_ref().is_some_and(|has| glob(want, has)))
    };
    let is_copy = device.kind.as_deref().is_some_and(|kind| COPIES.contains(&kind));
    same(&select.mac, &device.mac)
        && same(&select.permanent_mac, &device.permanent_mac)
        && like(&select.driver, &device.driver)
        && like(&select.path, &device.path)
        && like(&select.name, &Some(device.name.clone()))
        && (select.name.is_some() || !is_copy)
}

/// Returns the file of others that keeps a link from being ours: one that networkd finds first, or one that somebody wrote
/// for just this link. One that is for many, and comes after ours, is a default that ours replaces.
pub(super) fn claims<'a>(name: &str, devices: &[&DeviceSeen], view: &'a LinksView) -> Option<&'a UnitSeen> {
    let ours = format!("{PREFIX}{name}.network");
    view.units.iter().filter(|unit| unit.subject.is_none()).find(|unit| {
        if unit.name.ends_with(".netdev") {
            return values(&unit.text, "Name").any(|it| it == name);
        }
        if !unit.name.ends_with(".network") {
            return false;
        }
        let by_a_person = !DEFAULTS.contains(&unit.directory.as_str());
        let counts = unit.name < ours || (by_a_person && is_for_one(&unit.text));
        counts && devices.iter().any(|device| is_for(&unit.text, device))
    })
}

/// Returns true if a file is for this link. What we can't judge is taken for a match only if it asks nothing else.
fn is_for(text: &str, device: &DeviceSeen) -> bool {
    let mut asks = false;
    let mut every = |key: &str, has: Option<&str>| {
        let words: Vec<&str> = values(text, key).flat_map(str::split_whitespace).collect();
        asks |= !words.is_empty();
        let (no, yes): (Vec<&str>, Vec<&str>) = words.into_iter().partition(|it| it.starts_with('!'));
        let hit = |word: &&str| has.is_some_and(|has| glob(&word.to_ascii_lowercase(), &has.to_ascii_lowercase()));
        (yes.is_empty() || yes.iter().any(&hit)) && !no.iter().any(|it| hit(&it.trim_start_matches('!')))
    };
    let known = every("Name", Some(&device.name))
        & every("MACAddress", device.mac.as_deref())
        & every("PermanentMACAddress", device.permanent_mac.as_deref())
        & every("Driver", device.driver.as_deref())
        & every("Path", device.path.as_deref())
        & every("Kind", device.kind.as_deref());
    let kind = device.kind.as_deref().filter(|it| ["wireguard", "bridge", "bond", "vlan"].contains(it));
    let plain = if device.wireless { "wlan" } else { "ether" };
    known & every("Type", Some(kind.unwrap_or(plain))) & asks
}

/// Returns true if a file names one link, not a class of them.
fn is_for_one(text: &str) -> bool {
    ["Name", "MACAddress", "PermanentMACAddress", "Path"]
        .iter()
        .any(|key| values(text, key).next().is_some_and(|it| !it.contains(['*', '?', '[', '!'])))
}

fn values<'a>(text: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .filter(move |(it, _)| it.trim() == key)
        .map(|(_, it)| it.trim())
}

/// Returns true if a text is as a pattern with `*` and `?` says.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut here, mut star) = (0, 0, None);
    while here < text.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at, here));
            at += 1;
        } else if pattern.get(at).is_some_and(|it| *it == '?' || *it == text[here]) {
            (at, here) = (at + 1, here + 1);
        } else if let Some((star_at, from)) = star {
            (at, here) = (star_at + 1, from + 1);
            star = Some((star_at, from + 1));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|it| *it == '*')
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn patterns_choose_as_a_shell_does() {
        for (pattern, text, is) in [
            ("en*", "enp3s0", true),
            ("en*", "wlan0", false),
            ("eth?", "eth0", true),
            ("eth?", "eth10", false),
            ("*", "", true),
            ("e*0", "enp3s0", true),
            ("e*1*0", "enp3s0", false),
            ("", "a", false),
        ] {
            assert_eq!(glob(pattern, text), is, "{pattern} {text}");
        }
    }
}
