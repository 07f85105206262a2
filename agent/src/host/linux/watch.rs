//! When to look at our rules again: the kernel tells every change of its packet filter.

use std::{io, os::unix::net::UnixDatagram as StdDatagram, sync::Weak};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketFlags, SocketType, bind,
        netlink::{NETFILTER, SocketAddrNetlink},
        socket_with,
    },
};
use tokio::net::UnixDatagram;
use tracing::debug;

use super::docker::Docker;
use crate::host::firewall::{MACHINE_TABLE, TABLE};

/// The group in which the kernel tells of tables, chains and rules: the seventh, as a bit.
const GROUP: u32 = 1 << 6;
/// More than one message of the kernel.
const LONGEST: usize = 64 << 10;

/// Asks for a look at the networks whenever something happens to our tables, until nobody owns the engine any more. Where
/// the kernel does not let us listen, a change by hand is found by the next look.
pub(super) async fn follow(docker: Weak<Docker>) {
    let socket = match listen() {
        Ok(socket) => socket,
        Err(error) => return debug!(%error, "can't listen to changes of the packet filter"),
    };
    let mut buffer = vec![0; LONGEST];
    loop {
        let told = socket.recv(&mut buffer).await;
        let Some(engine) = docker.upgrade() else { return };
        match told {
            Ok(length) => {
                if names(&buffer[..length], TABLE) {
                    engine.networks_hint.notify_one();
                }
                if names(&buffer[..length], MACHINE_TABLE) {
                    engine.gate.hint.notify_one();
                }
            }
            // It told more than there was room for.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {
                engine.networks_hint.notify_one();
                engine.gate.hint.notify_one();
            }
            Err(error) => return debug!(%error, "no longer told of changes of the packet filter"),
        }
    }
}

/// The runtime has no type for such a socket; receiving from it is the same as from any that knows datagrams.
fn listen() -> io::Result<UnixDatagram> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(NETFILTER))?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUP))?;
    UnixDatagram::from_std(StdDatagram::from(socket))
}

/// Every message names its table, with a zero at the end. The engine's own changes are many and none of ours.
fn names(message: &[u8], table: &str) -> bool {
    // The name of one is the end of no other.
    message.windows(table.len() + 1).any(|part| part.strip_prefix(table.as_bytes()) == Some(&[0]))
}
