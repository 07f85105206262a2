//! The sockets of the API.

use std::{
    fs,
    net::SocketAddr,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixStream,
    },
    path::Path,
};

use anyhow::{Context, bail};
use tokio::net::{TcpListener, UnixListener};

/// Refuses an address that can be reached from a network.
pub(super) fn check(address: SocketAddr) -> anyhow::Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    bail!(
        "{address} is not a loopback address: as long as the API asks nobody who they are, it must not be reachable from \
         a network; use 127.0.0.1:{}",
        address.port()
    )
}

/// Listens on an address.
pub(super) async fn tcp(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("can't listen on {address}: is another program there? Choose another with --listen"))
}

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
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))
        .with_context(|| format!("can't set the mode of {}", path.display()))?;
    Ok(socket)
}
