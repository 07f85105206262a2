//! When to look at links again: the kernel tells every change of links, addresses and routes.

use std::sync::Weak;

use futures_util::StreamExt;
use rtnetlink::{MulticastGroup, new_multicast_connection};
use tokio::sync::Notify;
use tracing::debug;

/// What the kernel is asked to tell of.
const GROUPS: [MulticastGroup; 5] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// Asks for a look whenever something happens to a link, until nobody waits for it any more. Where the kernel does not let
/// us listen, a change by hand is found by the next look.
pub(super) async fn follow(hint: Weak<Notify>) {
    let (connection, _handle, mut told) = match new_multicast_connection(&GROUPS) {
        Ok(opened) => opened,
        Err(error) => return debug!(%error, "can't listen to changes of links"),
    };
    let mut connection = Box::pin(connection);
    loop {
        tokio::select! {
            () = &mut connection => return debug!("no longer told of changes of links"),
            message = told.next() => {
                let (Some(_), Some(hint)) = (message, hint.upgrade()) else { return };
                hint.notify_one();
            }
        }
    }
}
