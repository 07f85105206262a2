//! What the machine is called, by which addresses it is reached, and what its screens say before a login.

use std::{io, net::IpAddr, process::Stdio, time::Duration};

use piccolo_schema::link::INNER;

use super::program::program;

/// How long the screens may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns the name of the machine as the kernel knows it.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Returns the addresses by which others reach the machine. Those of links to containers are none, nor are those that need
/// the name of a link.
///
/// # Errors
/// When the kernel does not say.
pub fn addresses() -> io::Result<Vec<IpAddr>> {
    let all = if_addrs::get_if_addrs()?;
    let outer = all.into_iter().filter(|it| !INNER.iter().any(|start| it.name.starts_with(start)));
    Ok(outer.map(|it| it.ip()).filter(|it| !it.is_loopback() && !is_link_local(*it)).collect())
}

/// Has every screen that waits for a login show what it says anew. Nobody may be there to do so.
pub async fn reload_screens() {
    let mut reload = program("agetty");
    reload.arg("--reload").stdout(Stdio::null()).stderr(Stdio::null());
    // Dropped, it is killed.
    drop(tokio::time::timeout(PATIENCE, reload.status()).await);
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => it.is_link_local(),
        IpAddr::V6(it) => it.is_unicast_link_local(),
    }
}
