//! The sockets of the API.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt, chown},
        net::UnixStream,
    },
    path::Path,
};

use anyhow::{Context, bail};
use tokio::net::{TcpListener, UnixListener};

use crate::store::{Event, Writer};

/// Listens on an address. A port that is taken is no reason not to keep the machine: a manifest may be what took it, and
/// the socket is enough to mend that.
pub(super) async fn listen(address: SocketAddr, store: &Writer) -> Option<TcpListener> {
    let error = match TcpListener::bind(address).await {
        Ok(listener) => return Some(listener),
        // A kernel without IPv6.
        Err(_) if address == SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port())) => {
            match TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await {
                Ok(listener) => return Some(listener),
                Err(error) => error,
            }
        }
        Err(error) => error,
    };
    let message = format!("can't listen on {address}: {error}; is another program there? Choose another with --listen");
    store.event(Event::new("PortTaken", message.clone()).warning());
    store.health("port", false, message);
    None
}

/// The group whose members may look through the socket.
const GROUP: &str = "piccolo";

/// Listens on a unix socket that its owner and group may use.
pub(super) fn unix(path: &Path) -> anyhow::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("can't make {}", directory.display()))?;
    }
    if UnixStream::connect(path).is_ok() {
        bail!("another piccolod answers on {}: stop it first, or choose another socket with --socket", path.display());
    }
    match fs::symlink_metadata(path) {
        Ok(old) if old.file_type().is_socket() => {
            fs::remove_file(path).with_context(|| format!("can't remove the old socket {}", path.display()))?;
        }
        Ok(_) => bail!("{} is there and no socket: choose another path with --socket", path.display()),
        Err(_) => {}
    }
    let socket = UnixListener::bind(path).with_context(|| format!("can't listen on {}", path.display()))?;
    if let Some(group) = group(&fs::read_to_string("/etc/group").unwrap_or_default()) {
        chown(path, None, Some(group))
            .with_context(|| format!("can't give {} to the group {GROUP}", path.display()))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))
        .with_context(|| format!("can't set the mode of {}", path.display()))?;
    Ok(socket)
}

/// Finds the number of the group in the words of `/etc/group`.
fn group(groups: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == GROUP).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_group_is_found_by_name() {
        assert_eq!(super::group("root:x:0:\nbroken\npiccolo:x:990:anna\n"), Some(990));
        assert_eq!(super::group("piccolo-x:x:1:\n"), None);
    }
}
