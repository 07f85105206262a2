//! Who reaches whom: a neighbour in a network namespace of its own, and requests from it, from containers and from here.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use tokio::process::{Child, Command};

use crate::Engine;

/// The address of this machine on the neighbour's side.
pub const HERE: &str = "192.168.77.1";
/// The two addresses of the neighbour.
pub const NEIGHBOUR: [&str; 2] = ["192.168.77.2", "192.168.77.3"];
/// Our table, as `nft` is asked for it.
const TABLE: [&str; 3] = ["table", "inet", "piccolo"];
/// How long a request may go without an answer: what is refused has none.
const PATIENCE: &str = "2";

/// Another machine on the same wire.
#[derive(Debug)]
pub struct Neighbour {
    /// Holds the namespace; the wire is gone with it.
    holder: Child,
    servers: Vec<Child>,
}

impl Neighbour {
    /// Plugs it in, with an answer at each of these ports.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn arrive(ports: &[u16]) -> anyhow::Result<Self> {
        let holder = Command::new("unshare").args(["--net", "sleep", "infinity"]).kill_on_drop(true).spawn()?;
        let pid = holder.id().context("a namespace")?.to_string();
        let here = std::fs::read_link("/proc/self/ns/net")?;
        // The program starts here and moves on.
        while std::fs::read_link(format!("/proc/{pid}/ns/net"))? == here {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut neighbour = Self { holder, servers: Vec::new() };
        run("ip", &["link", "add", "wire", "type", "veth", "peer", "name", "eth0", "netns", &pid]).await?;
        run("ip", &["address", "add", &format!("{HERE}/24"), "dev", "wire"]).await?;
        run("ip", &["link", "set", "wire", "up"]).await?;
        for address in NEIGHBOUR {
            neighbour.run(&["ip", "address", "add", &format!("{address}/24"), "dev", "eth0"]).await?;
        }
        neighbour.run(&["ip", "link", "set", "lo", "up"]).await?;
        neighbour.run(&["ip", "link", "set", "eth0", "up"]).await?;
        neighbour.run(&["ip", "route", "add", "default", "via", HERE]).await?;
        for port in ports {
            neighbour.servers.push(neighbour.serve(*port)?);
        }
        Ok(neighbour)
    }

    /// Gives it a further way to this machine: a link of this name here, the address here, and its own.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn plug(&self, link: &str, here: &str, there: &str) -> anyhow::Result<()> {
        let pid = self.holder.id().context("the neighbour is gone")?.to_string();
        let far = format!("far-{link}");
        run("ip", &["link", "add", link, "type", "veth", "peer", "name", &far, "netns", &pid]).await?;
        run("ip", &["address", "add", &format!("{here}/24"), "dev", link]).await?;
        run("ip", &["link", "set", link, "up"]).await?;
        self.run(&["ip", "address", "add", &format!("{there}/24"), "dev", &far]).await?;
        self.run(&["ip", "link", "set", &far, "up"]).await
    }

    /// Returns true if a connection becomes one, by the way that leads to this address.
    ///
    /// # Errors
    /// When it can't be tried.
    pub async fn connects(&self, to: &str, port: u16) -> anyhow::Result<bool> {
        let knock = format!(": < /dev/tcp/{to}/{port}");
        self.succeeds(&["timeout", PATIENCE, "bash", "-c", &knock]).await
    }

    /// Returns true if it gets an answer when it asks from this address of its own.
    ///
    /// # Errors
    /// When the question can't be asked.
    pub async fn reaches(&self, from: &str, place: &str) -> anyhow::Result<bool> {
        let url = format!("http://{place}/");
        self.succeeds(&["curl", "-s", "-o", "/dev/null", "--max-time", PATIENCE, "--interface", from, &url]).await
    }

    fn serve(&self, port: u16) -> anyhow::Result<Child> {
        let mut command = self.command(&[&busybox()?.to_string_lossy(), "httpd", "-f", "-p", &port.to_string()])?;
        Ok(command.args(["-h", "/"]).kill_on_drop(true).spawn()?)
    }

    async fn run(&self, words: &[&str]) -> anyhow::Result<()> {
        ensure!(self.succeeds(words).await?, "{words:?} failed");
        Ok(())
    }

    async fn succeeds(&self, words: &[&str]) -> anyhow::Result<bool> {
        Ok(self.command(words)?.stderr(Stdio::null()).status().await?.success())
    }

    fn command(&self, words: &[&str]) -> anyhow::Result<Command> {
        let pid = self.holder.id().context("the neighbour is gone")?.to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--net", "--"]).args(words);
        Ok(command)
    }
}

/// A server on this machine, at every address.
///
/// # Errors
/// When it can't be started.
pub fn serve_here(port: u16) -> anyhow::Result<Child> {
    let mut command = Command::new(busybox()?);
    Ok(command.args(["httpd", "-f", "-p", &port.to_string(), "-h", "/"]).kill_on_drop(true).spawn()?)
}

/// Returns true if this machine gets an answer.
///
/// # Errors
/// When the question can't be asked.
pub async fn reaches(place: &str) -> anyhow::Result<bool> {
    let url = format!("http://{place}/");
    let mut command = Command::new("curl");
    Ok(command.args(["-s", "-o", "/dev/null", "--max-time", PATIENCE, &url]).status().await?.success())
}

impl Engine {
    /// Returns true if a container gets an answer.
    ///
    /// # Errors
    /// When the question can't be asked.
    pub async fn reaches(&self, container: &str, place: &str) -> anyhow::Result<bool> {
        let (host, port) = place.rsplit_once(':').context("a place is an address and a port")?;
        let ask = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w {PATIENCE} {host} {port}");
        let output = Command::new("docker").args(["exec", container, "sh", "-c", &ask]).output().await?;
        Ok(output.stdout.starts_with(b"HTTP/"))
    }

    /// Returns the IPv4 address of a container on a network.
    ///
    /// # Errors
    /// When it has none.
    pub async fn address(&self, container: &str, network: &str) -> anyhow::Result<String> {
        let [ipv4, _] = self.addresses(container, network).await?;
        ipv4.with_context(|| format!("{container} has no IPv4 address on {network}"))
    }

    /// Returns the IPv6 address of a container on a network.
    ///
    /// # Errors
    /// When it has none.
    pub async fn address6(&self, container: &str, network: &str) -> anyhow::Result<String> {
        let [_, ipv6] = self.addresses(container, network).await?;
        ipv6.with_context(|| format!("{container} has no IPv6 address on {network}"))
    }

    /// Returns the address of the machine on a network of a container.
    ///
    /// # Errors
    /// When it has none.
    pub async fn gateway(&self, container: &str, network: &str) -> anyhow::Result<String> {
        let seen = self.0.inspect_container(container, None).await?;
        let networks = seen.network_settings.and_then(|it| it.networks).unwrap_or_default();
        networks.get(network).and_then(|it| it.gateway.clone()).with_context(|| format!("{container} has no gateway"))
    }

    async fn addresses(&self, container: &str, network: &str) -> anyhow::Result<[Option<String>; 2]> {
        let seen = self.0.inspect_container(container, None).await?;
        let networks = seen.network_settings.and_then(|it| it.networks).unwrap_or_default();
        let place = networks.get(network).with_context(|| format!("{container} is not on {network}"))?;
        Ok([&place.ip_address, &place.global_ipv6_address].map(|it| it.clone().filter(|it| !it.is_empty())))
    }
}

/// Lists our rules; none if there are none.
///
/// # Errors
/// When nobody can say.
pub async fn rules() -> anyhow::Result<Option<String>> {
    let output = Command::new("nft").arg("list").args(TABLE).output().await?;
    Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// Does something to the packet filter by hand.
///
/// # Errors
/// When `nft` refuses.
pub async fn nft(words: &[&str]) -> anyhow::Result<()> {
    run("nft", words).await
}

/// Removes our rules, if there are any.
///
/// # Errors
/// When `nft` refuses.
pub async fn remove_rules() -> anyhow::Result<()> {
    if rules().await?.is_some() { nft(&[&["delete"][..], &TABLE].concat()).await } else { Ok(()) }
}

async fn run(program: &str, words: &[&str]) -> anyhow::Result<()> {
    ensure!(Command::new(program).args(words).status().await?.success(), "{program} {words:?} failed");
    Ok(())
}

fn busybox() -> anyhow::Result<PathBuf> {
    Ok(std::env::var("BUSYBOX").context("BUSYBOX is not set: run e2e/test")?.into())
}
