//! What a link has, against what it should have. Pure. Only what the manifest names is compared.

use std::net::IpAddr;

use piccolo_schema::{
    LinkSpec,
    link::{Route, host_part},
};

use super::plan::Wanted;
use crate::host::{DeviceSeen, RouteSeen};

/// Returns true while networkd works on the link. One that waits for an answer to DHCP may be `configuring` for ever, and has
/// what the manifest names after a moment all the same.
pub(super) fn is_busy(device: &DeviceSeen) -> bool {
    match device.setup.as_deref() {
        Some("pending" | "initialized") => true,
        Some("configuring") => device.settling,
        _ => false,
    }
}

/// Says what a link lacks of what its manifest asks, if anything.
pub(super) fn lacks(
    name: &str,
    spec: &LinkSpec,
    device: &DeviceSeen,
    file: Option<&str>,
    able: &Wanted<'_>,
) -> Option<String> {
    if device.setup.as_deref() == Some("failed") {
        return Some("networkd failed at it".to_owned());
    }
    if device.unit.as_deref() != file {
        let by = device.unit.as_deref().unwrap_or("nothing");
        return Some(format!("it is set up by {by}"));
    }
    if !device.up {
        return Some("it is switched off".to_owned());
    }
    if let Some(mtu) = spec.mtu.filter(|mtu| *mtu != device.mtu) {
        return Some(format!("its mtu is {}, not {mtu}", device.mtu));
    }
    let owner = able.iter().find(|(_, it)| it.members().iter().any(|member| member == name)).map(|(owner, _)| *owner);
    if let Some(owner) = owner.filter(|owner| device.master.as_deref() != Some(owner)) {
        return Some(format!("it does not belong to {owner}"));
    }
    // networkd gives nothing to a link with nobody at its other end, but for those that the machine itself uses.
    if !device.carrier && spec.bridge.is_none() && !spec.dummy {
        return None;
    }
    if let Some(missing) = spec.addresses.iter().find(|want| !has_address(device, want)) {
        return Some(format!("{missing} is missing"));
    }
    let missing = spec.routes.iter().find(|want| !has_route(device, want));
    missing.map(|route| format!("the route to {} is missing", route.to))
}

/// The kernel writes an address in its own way, `fd00::1` for `fd00:0::1`.
pub(super) fn has_address(device: &DeviceSeen, want: &str) -> bool {
    let want = host_part(want);
    device.addresses.iter().any(|has| want.is_some() && host_part(has) == want)
}

fn has_route(device: &DeviceSeen, want: &Route) -> bool {
    device.routes.iter().any(|has| {
        let via = want.via.is_none() || has.via == want.via;
        via && same_range(&has.to, &want.to) && metric(has, want)
    })
}

/// IPv6 routes without a metric have the kernel's own.
fn metric(has: &RouteSeen, want: &Route) -> bool {
    want.metric.is_none_or(|metric| metric == has.metric)
}

fn same_range(one: &str, other: &str) -> bool {
    let read = |text: &str| -> Option<(IpAddr, u8)> {
        let (ip, bits) = text.split_once('/')?;
        Some((ip.parse().ok()?, bits.parse().ok()?))
    };
    read(one).is_some_and(|one| read(other) == Some(one))
}
