//! What the kernel has of links, addresses and routes, asked over netlink.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::{
    Handle, RouteMessageBuilder, new_connection,
    packet_route::{
        address::{AddressAttribute, AddressHeaderFlags},
        link::{
            BridgeStpState, InfoBond, InfoBridge, InfoData, InfoMacVlan, InfoVlan, LinkAttribute, LinkFlags, LinkInfo,
            LinkMessage, MacVlanMode,
        },
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
        route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType},
    },
};

use super::checks;
use crate::host::{DeviceSeen, HostError, MadeSeen, Reason, RouteSeen};

/// Whose connections show by which links the machine is reached: ssh and the API.
const DOORS: [u16; 2] = [22, 8080];
/// How the kernel writes a connection that stands.
const ESTABLISHED: &str = "01";

/// A link, and what only the kernel needs to know.
pub(super) struct Device {
    pub(super) index: u32,
    pub(super) seen: DeviceSeen,
    master: Option<u32>,
    below: Option<u32>,
}

/// All links.
pub(super) struct Devices {
    pub(super) all: Vec<Device>,
}

/// Asks the kernel for everything.
pub(super) async fn devices() -> Result<Devices, HostError> {
    with(async |handle| {
        let mut all = Vec::new();
        let mut links = Box::pin(handle.link().get().execute());
        while let Some(link) = links.try_next().await? {
            all.extend(device(&link));
        }
        let mut addresses = Box::pin(handle.address().get().execute());
        while let Some(it) = addresses.try_next().await? {
            let local = it.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(ip) => Some(*ip),
                _ => None,
            });
            let plain = it.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(ip) => Some(*ip),
                _ => None,
            });
            if let (Some(ip), Some(device)) = (local.or(plain), find(&mut all, it.header.index)) {
                let address = format!("{ip}/{}", it.header.prefix_len);
                if !it.header.flags.contains(AddressHeaderFlags::Permanent) {
                    device.seen.leased.push(address.clone());
                }
                device.seen.addresses.push(address);
            }
        }
        for family in [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()] {
            let mut routes = Box::pin(handle.route().get(family).execute());
            while let Some(message) = routes.try_next().await? {
                if let Some((index, route)) = route(&message)
                    && let Some(device) = find(&mut all, index)
                {
                    device.seen.routes.push(route);
                }
            }
        }
        Ok(Devices { all })
    })
    .await
}

/// Another machine beside this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    pub(super) ip: IpAddr,
    /// Whether its hardware address is known.
    pub(super) answers: bool,
}

/// Lists the machines beside this one that somebody asked for.
pub(super) async fn neighbours() -> Result<Vec<Neighbour>, HostError> {
    with(async |handle| {
        let mut all = Vec::new();
        let mut told = Box::pin(handle.neighbours().get().execute());
        while let Some(message) = told.try_next().await? {
            all.extend(neighbour(&message));
        }
        Ok(all)
    })
    .await
}

fn neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    use NeighbourState::{Delay, Noarp, Permanent, Probe, Reachable, Stale};
    let ip = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::from(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::from(*ip)),
        _ => None,
    })?;
    // One that answered lately is asked again by the kernel, and has failed a few seconds later if it does not.
    let answers = matches!(message.header.state, Reachable | Stale | Delay | Probe | Permanent | Noarp);
    Some(Neighbour { ip, answers })
}

/// Removes a link; one that is gone is gone.
pub(super) async fn remove(name: &str) -> Result<(), HostError> {
    with(async |handle| {
        let mut found = Box::pin(handle.link().get().match_name(name.to_owned()).execute());
        match found.next().await {
            Some(Ok(link)) => handle.link().del(link.header.index).execute().await,
            _ => Ok(()),
        }
    })
    .await
}

async fn with<T>(work: impl AsyncFnOnce(Handle) -> Result<T, rtnetlink::Error>) -> Result<T, HostError> {
    let failed = |error: &dyn std::fmt::Display| {
        HostError::new(Reason::Failed, format!("The kernel does not tell of its links ({error})"))
    };
    let (connection, handle, _) = new_connection().map_err(|error| failed(&error))?;
    // It ends when nobody holds the handle any more.
    tokio::spawn(connection);
    work(handle).await.map_err(|error| failed(&error))
}

fn find(all: &mut [Device], index: u32) -> Option<&mut Device> {
    all.iter_mut().find(|it| it.index == index)
}

fn device(link: &LinkMessage) -> Option<Device> {
    let index = link.header.index;
    let seen = DeviceSeen { index, ..DeviceSeen::default() };
    let mut device = Device { index, seen, master: None, below: None };
    let seen = &mut device.seen;
    seen.up = link.header.flags.contains(LinkFlags::Up);
    seen.carrier = link.header.flags.contains(LinkFlags::LowerUp);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => name.clone_into(&mut seen.name),
            LinkAttribute::Address(bytes) => seen.mac = mac(bytes),
            LinkAttribute::PermAddress(bytes) => seen.permanent_mac = mac(bytes),
            LinkAttribute::Mtu(mtu) => seen.mtu = *mtu,
            LinkAttribute::Controller(index) => device.master = Some(*index),
            LinkAttribute::Link(index) => device.below = Some(*index),
            LinkAttribute::LinkInfo(infos) => {
                seen.kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
                infos.iter().for_each(|info| made(info, &mut seen.made));
            }
            _ => {}
        }
    }
    (!device.seen.name.is_empty()).then_some(device)
}

/// Reads how a link was made.
fn made(info: &LinkInfo, made: &mut MadeSeen) {
    let LinkInfo::Data(data) = info else { return };
    match data {
        InfoData::Vlan(all) => {
            made.vlan = all.iter().find_map(|it| if let InfoVlan::Id(id) = it { Some(*id) } else { None });
        }
        InfoData::Bond(all) => {
            made.mode =
                all.iter().find_map(|it| if let InfoBond::Mode(mode) = it { Some(mode.to_string()) } else { None });
        }
        InfoData::Bridge(all) => {
            let off = |it: &InfoBridge| matches!(it, InfoBridge::StpState(BridgeStpState::Disabled));
            let told = all.iter().any(|it| matches!(it, InfoBridge::StpState(_)));
            made.stp = told && !all.iter().any(off);
        }
        InfoData::MacVlan(all) => {
            let word = |mode: &MacVlanMode| match mode {
                MacVlanMode::Bridge => "bridge",
                MacVlanMode::Private => "private",
                MacVlanMode::Vepa => "vepa",
                _ => "other",
            };
            let mode = all.iter().find_map(|it| if let InfoMacVlan::Mode(mode) = it { Some(word(mode)) } else { None });
            made.mode = mode.map(str::to_owned);
        }
        _ => {}
    }
}

fn mac(bytes: &[u8]) -> Option<String> {
    let text: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    (bytes.len() == 6).then(|| text.join(":"))
}

/// Reads a way that somebody made, in the table that counts.
fn route(message: &RouteMessage) -> Option<(u32, RouteSeen)> {
    let header = &message.header;
    let is_made = header.protocol != RouteProtocol::Kernel && header.kind == RouteType::Unicast;
    if header.table != RouteHeader::RT_TABLE_MAIN || !is_made {
        return None;
    }
    let (mut to, mut via, mut metric, mut index) = (None, None, 0, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = plain(address),
            RouteAttribute::Gateway(address) => via = plain(address),
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Oif(number) => index = Some(*number),
            _ => {}
        }
    }
    let leased = matches!(header.protocol, RouteProtocol::Dhcp | RouteProtocol::Ra);
    let is_v4 = u8::from(header.address_family) == 2;
    let to = to.unwrap_or(if is_v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() });
    Some((index?, RouteSeen { to: format!("{to}/{}", header.destination_prefix_length), via, metric, leased }))
}

fn plain(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

impl Devices {
    /// Returns the links by which others reach the machine: those of the ways to everywhere, those that connections of
    /// clients come in by, and all that carry one of these. Where there is neither, whoever is near may come by any link
    /// that has an address for it.
    pub(super) fn reached(&self) -> BTreeSet<String> {
        self.reached_from(&called_addresses())
    }

    fn reached_from(&self, callers: &BTreeSet<IpAddr>) -> BTreeSet<String> {
        let is_called = |device: &Device| {
            let ips = device.seen.addresses.iter().filter_map(|it| it.split('/').next()?.parse::<IpAddr>().ok());
            ips.into_iter().any(|ip| callers.contains(&ip))
        };
        let leads_out = |device: &Device| device.seen.routes.iter().any(|it| it.to == "0.0.0.0/0" || it.to == "::/0");
        let those = |is: &dyn Fn(&Device) -> bool| -> BTreeSet<u32> {
            self.all.iter().filter(|it| it.seen.name != "lo" && is(it)).map(|it| it.index).collect()
        };
        let mut reached = those(&|it| is_called(it) || leads_out(it));
        if reached.is_empty() {
            reached = those(&is_near);
        }
        // A link is carried by its members and the one below it; there are no more rounds than links.
        for _ in &self.all {
            let below = self.all.iter().filter(|it| reached.contains(&it.index)).filter_map(|it| it.below);
            let members = self.all.iter().filter(|it| it.master.is_some_and(|master| reached.contains(&master)));
            let more: BTreeSet<u32> = below.chain(members.map(|it| it.index)).collect();
            if more.is_subset(&reached) {
                break;
            }
            reached.extend(more);
        }
        self.all.iter().filter(|it| reached.contains(&it.index)).map(|it| it.seen.name.clone()).collect()
    }

    /// Returns the links as they are seen, sorted by name.
    pub(super) fn into_seen(self) -> Vec<DeviceSeen> {
        let names: BTreeMap<u32, String> = self.all.iter().map(|it| (it.index, it.seen.name.clone())).collect();
        let seen = |device: Device| {
            let master = device.master.and_then(|index| names.get(&index).cloned());
            let mut seen = DeviceSeen { master, ..device.seen };
            seen.made.parent =
                device.below.filter(|_| seen.kind.is_some()).and_then(|index| names.get(&index).cloned());
            seen.addresses.sort();
            seen.routes.sort();
            seen
        };
        let mut all: Vec<_> = self.all.into_iter().map(seen).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

/// Returns true for a link by which somebody near the machine may come. An address that each link gives itself does not count,
/// or the first Link of a machine that has no other would be on trial; who does come by one is connected.
fn is_near(device: &Device) -> bool {
    let is_made_here = device.seen.kind.as_deref() == Some("dummy");
    checks::is_outer(&device.seen) && !is_made_here && device.seen.addresses.iter().any(|it| checks::is_reachable(it))
}

/// Returns the addresses of this machine that clients are connected to.
fn called_addresses() -> BTreeSet<IpAddr> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(called).collect()
}

fn called(line: &str) -> Option<IpAddr> {
    let mut words = line.split_whitespace().skip(1);
    let (address, port) = words.next()?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let state = words.nth(1)?;
    if state != ESTABLISHED || !DOORS.contains(&port) {
        return None;
    }
    let words = (0..address.len() / 8).map(|at| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok());
    let bytes: Vec<u8> = words.collect::<Option<Vec<u32>>>()?.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "  0: 0A01A8C0:1F90 0202A8C0:D431 01 00000000:00000000 00:00000000";

    fn link(index: u32, name: &str, kind: Option<&str>, addresses: &[&str]) -> Device {
        let seen = DeviceSeen {
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            addresses: addresses.iter().map(|it| (*it).to_owned()).collect(),
            ..DeviceSeen::default()
        };
        Device { index, seen, master: None, below: None }
    }

    fn reached(all: Vec<Device>, callers: &[&str]) -> Vec<String> {
        let callers = callers.iter().map(|it| it.parse().unwrap()).collect();
        Devices { all }.reached_from(&callers).into_iter().collect()
    }

    #[test]
    fn where_nothing_tells_by_which_link_the_machine_is_reached_it_may_be_any_with_an_address() {
        let all = || {
            let port = Device { master: Some(6), ..link(5, "lan3", None, &[]) };
            vec![
                link(1, "lo", None, &["127.0.0.1/8"]),
                link(2, "lan0", None, &["10.0.0.2/24"]),
                link(3, "lan1", None, &["fe80::1/64", "169.254.1.2/16"]),
                link(4, "lan2", None, &["fd00::2/64"]),
                port,
                link(6, "front", Some("bridge"), &["10.3.0.1/24"]),
                link(7, "inner", Some("dummy"), &["10.4.0.1/24"]),
                link(8, "docker0", Some("bridge"), &["172.17.0.1/16"]),
            ]
        };
        assert_eq!(reached(all(), &[]), ["front", "lan0", "lan2", "lan3"]);
        // Who is connected comes by one of them, also by an address that each link has.
        assert_eq!(reached(all(), &["fd00::2"]), ["lan2"]);
        assert_eq!(reached(all(), &["fe80::1"]), ["lan1"]);
        let mut with_a_way_out = all();
        let way = RouteSeen { to: "0.0.0.0/0".to_owned(), via: None, metric: 0, leased: false };
        with_a_way_out[2].seen.routes.push(way);
        assert_eq!(reached(with_a_way_out, &[]), ["lan1"]);
    }

    #[test]
    fn a_machine_that_has_no_address_yet_is_reached_by_none() {
        let all = vec![
            link(1, "lo", None, &["127.0.0.1/8", "::1/128"]),
            link(2, "lan0", None, &["fe80::1/64"]),
            link(3, "lan1", None, &[]),
            link(4, "docker0", Some("bridge"), &["172.17.0.1/16"]),
        ];
        assert_eq!(reached(all, &[]), Vec::<String>::new());
    }

    #[test]
    fn a_client_of_the_api_is_seen_and_others_are_not() {
        let line =
            |local: &str, state: &str| format!("  0: {local} 0202A8C0:D431 {state} 00000000:00000000 00:00000000");
        let seen = |local, state| called(&line(local, state)).map(|it| it.to_string());
        assert_eq!(seen("0A01A8C0:1F90", "01").as_deref(), Some("192.168.1.10"));
        assert_eq!(seen("0000000000000000FFFF00000A01A8C0:0016", "01").as_deref(), Some("192.168.1.10"));
        assert_eq!(seen("0A01A8C0:1F90", "0A"), None);
        assert_eq!(seen("0A01A8C0:0050", "01"), None);
        assert_eq!(called("nonsense"), None);
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { cases: 200, failure_persistence: None, ..proptest::test_runner::Config::default() })]

        #[test]
        fn no_line_breaks_it(at in 0..LINE.len(), what in "\\PC{0,8}") {
            let _ = (called(&format!("{}{what}{}", &LINE[..at], &LINE[at..])), called(&LINE[..at]));
        }
    }
}
