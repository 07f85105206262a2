//! Whether a machine can still be reached, as far as it can tell by itself: whether there is something at the other end,
//! whether it has an address, whether its router answers, and whether a name server does.
//!
//! None of them proves that a person gets in, so a change on trial stays only when somebody confirms it. But what worked before
//! the change and works no more is reason enough to put it back before its time is over.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use futures_util::{FutureExt, future::join_all};
use piccolo_schema::link::INNER;
use tokio::{net::UdpSocket, time};

use super::kernel::{self, Neighbour};
use crate::host::{CheckSeen, DeviceSeen};

/// How long a router or a name server may take.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How often is looked whether a router has answered.
const STEP: Duration = Duration::from_millis(100);
/// A port at which nobody answers; what counts is whether the router's hardware address can be found.
const DISCARD: u16 = 9;
const DNS: u16 = 53;
/// A question for the name servers of everything, which each name server can answer: header, the root, type NS.
const QUESTION: [u8; 17] = [0x50, 0x1c, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
/// The most routers and name servers that are asked.
const MOST: usize = 8;

/// How long a link may take until it works again: an address comes by DHCP, and a bridge lets nothing through for a while.
const GRACE: Duration = Duration::from_secs(25);
/// How long there may be nothing at the other end of any link: a port that is set up anew lets go for a few seconds. One
/// without a wire has to find its network first, which takes as long as an address does.
const CARRIER_GRACE: Duration = Duration::from_secs(10);
/// How often in a row what worked before has to fail.
const FAILURES: u32 = 3;

/// Looks at all of it once.
pub(super) async fn look(devices: &[DeviceSeen]) -> Vec<CheckSeen> {
    let outer: Vec<&DeviceSeen> = devices.iter().filter(|it| is_outer(it)).collect();
    let (router, names) = tokio::join!(router(&outer), name_server(&outer));
    let check = |name: &str, passes, message| CheckSeen { name: name.to_owned(), before: false, passes, message };
    let carried = outer.iter().find(|it| it.up && it.carrier);
    let addressed = outer.iter().find_map(|it| it.addresses.iter().find(|ip| is_reachable(ip)).map(|ip| (it, ip)));
    let mut all = vec![
        match carried {
            Some(it) => check("carrier", true, format!("there is something at the other end of {}", it.name)),
            None => check("carrier", false, "there is nothing at the other end of any link".to_owned()),
        },
        match addressed {
            Some((it, ip)) => check("address", true, format!("{} has {ip}", it.name)),
            None => check("address", false, "no link has an address".to_owned()),
        },
    ];
    all.push(check("gateway", router.is_ok(), router.unwrap_or_else(|why| why)));
    all.extend(names.map(|it| check("dns", it.is_ok(), it.unwrap_or_else(|why| why))));
    all
}

/// Counts how often in a row something fails that worked before.
#[derive(Debug, Default)]
pub(super) struct Judge {
    failures: u32,
    /// Whether a port without a wire was in use at any time.
    wireless: bool,
}

impl Judge {
    /// Has a network without wires be waited for as long as it takes, where one is joined.
    pub(super) fn see(&mut self, devices: &[DeviceSeen]) {
        self.wireless |= devices.iter().any(|it| it.wireless && (it.up || it.unit.is_some()));
    }

    /// Takes in one look, this long after the links were changed last. Returns what no longer works, once it is sure.
    pub(super) fn hear(&mut self, before: &BTreeSet<String>, checks: &[CheckSeen], after: Duration) -> Option<String> {
        let wired = !self.wireless;
        let grace = |name: &str| if wired && name == "carrier" { CARRIER_GRACE } else { GRACE };
        // What can't be asked any more, as nothing names a server, worked before as well.
        let fails = |name: &&String| after >= grace(name) && !checks.iter().any(|it| it.name == **name && it.passes);
        let failed: Vec<&String> = before.iter().filter(fails).collect();
        self.failures = if failed.is_empty() { 0 } else { self.failures + 1 };
        if self.failures < FAILURES {
            return None;
        }
        let told = |name: &String| {
            let check = checks.iter().find(|it| it.name == *name);
            check.map_or_else(|| format!("no link names a server for {name}"), |it| it.message.clone())
        };
        Some(failed.into_iter().map(told).collect::<Vec<_>>().join(", and "))
    }
}

/// Returns true for a link that is not between containers and the machine.
pub(super) fn is_outer(device: &DeviceSeen) -> bool {
    device.name != "lo" && !INNER.iter().any(|start| device.name.starts_with(start))
}

/// An address that every link with IPv6 has leads nobody here from elsewhere.
pub(super) fn is_reachable(address: &str) -> bool {
    !address.starts_with("fe80:") && !address.starts_with("169.254.")
}

/// Asks the routers for their hardware addresses: by ARP, or by neighbour discovery.
async fn router(devices: &[&DeviceSeen]) -> Result<String, String> {
    let routes = devices.iter().flat_map(|it| &it.routes);
    let leads_out = routes.filter(|it| it.to == "0.0.0.0/0" || it.to == "::/0");
    let vias: BTreeSet<IpAddr> = leads_out.filter_map(|it| it.via).take(MOST).collect();
    if vias.is_empty() {
        return Err("no way leads to a router".to_owned());
    }
    for via in &vias {
        nudge(*via).await;
    }
    let until = time::Instant::now() + PATIENCE;
    loop {
        let known = kernel::neighbours().await.unwrap_or_default();
        let answers = known.iter().find(|it: &&Neighbour| it.answers && vias.contains(&it.ip));
        if let Some(it) = answers {
            return Ok(format!("router {} answers", it.ip));
        }
        if time::Instant::now() >= until {
            let all: Vec<String> = vias.iter().map(ToString::to_string).collect();
            return Err(format!("router {} does not answer", all.join(" and ")));
        }
        time::sleep(STEP).await;
    }
}

/// Sends one byte, so that the kernel has to find out who has this address. Where it can't be sent, the answer is missing.
async fn nudge(to: IpAddr) {
    let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { IpAddr::from(Ipv6Addr::UNSPECIFIED) };
    if let Ok(socket) = UdpSocket::bind((any, 0)).await {
        drop(socket.send_to(&[0], (to, DISCARD)).await);
    }
}

/// Asks the name servers that links name, all at once; nothing if none is named.
async fn name_server(devices: &[&DeviceSeen]) -> Option<Result<String, String>> {
    let named = devices.iter().flat_map(|it| &it.dns);
    let servers: BTreeSet<IpAddr> = named.filter_map(|it| it.split('#').next()?.parse().ok()).take(MOST).collect();
    if servers.is_empty() {
        return None;
    }
    let asked = servers.iter().map(|ip| answers(SocketAddr::new(*ip, DNS)).map(move |well| (ip, well)));
    let told = join_all(asked).await;
    Some(match told.into_iter().find(|(_, well)| *well) {
        Some((ip, _)) => Ok(format!("name server {ip} answers")),
        None => {
            let all: Vec<String> = servers.iter().map(ToString::to_string).collect();
            Err(format!("name server {} does not answer", all.join(" and ")))
        }
    })
}

/// Returns true if a name server answers our question, whatever it says.
async fn answers(server: SocketAddr) -> bool {
    let any = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { IpAddr::from(Ipv6Addr::UNSPECIFIED) };
    let ask = async {
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(server).await?;
        socket.send(&QUESTION).await?;
        let mut answer = [0; 512];
        loop {
            let length = socket.recv(&mut answer).await?;
            // The same number, and marked as an answer.
            if length >= 12 && answer[..2] == QUESTION[..2] && answer[2] & 0x80 != 0 {
                return Ok::<_, std::io::Error>(());
            }
        }
    };
    matches!(time::timeout(PATIENCE, ask).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, passes: bool) -> CheckSeen {
        CheckSeen { name: name.to_owned(), before: false, passes, message: format!("{name} is {passes}") }
    }

    #[test]
    fn what_worked_before_and_fails_three_times_is_judged() {
        let before: BTreeSet<String> = ["gateway".to_owned()].into();
        let (well, ill) =
            ([check("gateway", true), check("dns", false)], [check("gateway", false), check("dns", false)]);
        let mut judge = Judge::default();
        assert_eq!(judge.hear(&before, &ill, GRACE), None);
        assert_eq!(judge.hear(&before, &ill, GRACE), None);
        assert_eq!(judge.hear(&before, &well, GRACE), None);
        assert_eq!(judge.hear(&before, &ill, GRACE), None);
        assert_eq!(judge.hear(&before, &ill, GRACE), None);
        assert_eq!(judge.hear(&before, &ill, GRACE).as_deref(), Some("gateway is false"));
        // What failed before as well says nothing.
        let mut judge = Judge::default();
        assert!((0..10).all(|_| judge.hear(&BTreeSet::new(), &ill, GRACE).is_none()));
    }

    #[test]
    fn a_cable_that_is_pulled_is_judged_sooner_than_a_silence() {
        let before: BTreeSet<String> = ["carrier".to_owned(), "gateway".to_owned()].into();
        let all = [check("carrier", false), check("gateway", false)];
        let mut judge = Judge::default();
        assert!((0..10).all(|_| judge.hear(&before, &all, Duration::from_secs(9)).is_none()));
        let judged: Vec<_> = (10..13).map(|at| judge.hear(&before, &all, Duration::from_secs(at))).collect();
        assert_eq!(judged, [None, None, Some("carrier is false".to_owned())]);
    }

    #[test]
    fn a_port_without_a_wire_has_the_time_to_join() {
        let before: BTreeSet<String> = ["carrier".to_owned()].into();
        let device = |up| DeviceSeen { name: "wlan0".to_owned(), wireless: true, up, ..DeviceSeen::default() };
        for (devices, first) in [(vec![device(true)], 25), (vec![device(false)], 10), (Vec::new(), 10)] {
            let mut judge = Judge::default();
            judge.see(&devices);
            // It is switched off for a moment when it is told of another network.
            judge.see(&[]);
            let mut hear = |at| judge.hear(&before, &[check("carrier", false)], Duration::from_secs(at));
            assert!((0..first).all(|at| hear(at).is_none()));
            assert!((first..first + 2).all(|at| hear(at).is_none()) && hear(first + 2).is_some());
        }
    }

    #[tokio::test]
    async fn a_name_server_answers_and_silence_is_none() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let place = server.local_addr().unwrap();
        let serve = async {
            let mut question = [0; 64];
            let (length, from) = server.recv_from(&mut question).await.unwrap();
            assert_eq!(&question[..length], QUESTION);
            // Of another question, and then of ours.
            server.send_to(&[1; 12], from).await.unwrap();
            let mut answer = [0; 12];
            answer[..2].copy_from_slice(&QUESTION[..2]);
            answer[2] = 0x80;
            server.send_to(&answer, from).await.unwrap();
        };
        let (well, ()) = tokio::join!(answers(place), serve);
        assert!(well);
        drop(server);
        assert!(!answers(place).await);
    }

    #[tokio::test]
    async fn links_of_containers_are_no_way_in() {
        let device = |name: &str, ip: &str| DeviceSeen {
            name: name.to_owned(),
            up: true,
            carrier: true,
            addresses: vec![ip.to_owned()],
            ..DeviceSeen::default()
        };
        let passes =
            |checks: &[CheckSeen]| checks.iter().filter(|it| it.passes).map(|it| it.name.clone()).collect::<Vec<_>>();
        assert!(passes(&look(&[device("docker0", "172.17.0.1/16"), device("lo", "127.0.0.1/8")]).await).is_empty());
        assert_eq!(passes(&look(&[device("eth0", "fe80::1/64")]).await), ["carrier"]);
        assert_eq!(passes(&look(&[device("eth0", "192.168.1.2/24")]).await), ["carrier", "address"]);
    }
}
