//! What is written on the machine's door: by which name and addresses it is reached, and how to know that it is it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tokio::sync::watch;

use crate::access::{Names, Print};

/// How the machine is reached over networks, and known.
#[derive(Clone)]
pub struct Plate {
    /// What it is called.
    pub names: watch::Receiver<Arc<Names>>,
    /// Where it listens; none if it does not.
    pub listen: Option<SocketAddr>,
    /// By what people know its authority; none if it has none.
    pub print: Option<Print>,
    /// The certificate of its authority, in PEM.
    pub pem: Arc<str>,
}

impl Plate {
    /// Returns what the machine calls itself.
    pub fn name(&self) -> String {
        self.names.borrow().called.clone()
    }

    /// Returns where it is reached, the name first.
    pub fn urls(&self) -> Vec<String> {
        let Some(listen) = self.listen else { return Vec::new() };
        let url = |host: &str| format!("https://{host}:{}", listen.port());
        let of = |address: IpAddr| url(&SocketAddr::new(address, 0).to_string().replace(":0", ""));
        if !listen.ip().is_unspecified() {
            return vec![of(listen.ip())];
        }
        let names = self.names.borrow();
        let addresses = names.addresses.iter().filter(|it| !it.is_loopback());
        [url(&format!("{}.local", names.called))].into_iter().chain(addresses.map(|it| of(*it))).collect()
    }
}
