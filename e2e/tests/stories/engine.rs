//! An engine that is not there, may not be used or has no room: said by name, and mended without a restart.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown, symlink},
        net::UnixListener,
    },
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, ensure};
use piccolo_e2e::{Engine, Machine, PATIENCE, http, machine::story, sleeper};
use tempfile::TempDir;
use tokio::process::{Child, Command};

#[tokio::test]
async fn without_an_engine_the_api_lives_and_says_so() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let place = TempDir::new()?;
        let socket = place.path().join("engine.sock");
        let mut machine = Machine::on(&format!("unix://{}", socket.display()))?;
        machine.write("web.toml", &sleeper("web", "")?)?;
        machine.start().await?;
        machine.until("the engine is missed", async || machine.reason("web").await == "EngineUnavailable").await?;
        ensure!(machine.status("web").await["conditions"][0]["status"] == "Unknown");
        let ready = http::send(&machine.socket(), "GET", "/readyz?verbose").await?;
        ensure!(ready.status() == 503, "ready without an engine: {}", ready.status());
        // The engine comes late, and is noticed.
        let host = std::env::var("DOCKER_HOST")?;
        symlink(host.trim_start_matches("unix://"), &socket)?;
        machine.until_settled().await?;
        ensure!(engine.inspect("web").await.context("web")?.state == "running");
        let ready = http::send(&machine.socket(), "GET", "/readyz?verbose").await?;
        ensure!(ready.status() == 200, "not ready with an engine: {}", ready.status());
        machine.stop().await
    })
    .await
}

#[tokio::test]
async fn an_engine_that_may_not_be_used_is_named() -> anyhow::Result<()> {
    let place = TempDir::new()?;
    let socket = place.path().join("engine.sock");
    let _listener = UnixListener::bind(&socket)?;
    chown(&socket, Some(65534), Some(65534))?;
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600))?;
    // Root goes where it likes, unless it has lost the power to.
    let launcher = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"];
    let mut machine = Machine::on(&format!("unix://{}", socket.display()))?.launched_by(&launcher);
    machine.write("web.toml", &sleeper("web", "")?)?;
    machine.start().await?;
    machine.until("permission is missed", async || machine.reason("web").await == "PermissionDenied").await?;
    machine.stop().await
}

#[tokio::test]
async fn a_full_disk_is_named_and_goes_on_once_there_is_room() -> anyhow::Result<()> {
    let engine = SmallEngine::start().await?;
    let filler = engine.fill()?;
    let mut machine = Machine::on(&engine.address())?;
    machine.write("web.toml", &sleeper("web", "network = \"none\"")?)?;
    machine.start().await?;
    machine.until("the disk is full", async || machine.reason("web").await == "DiskFull").await?;
    let message = machine.status("web").await["conditions"][0]["message"].to_string();
    ensure!(message.contains("free some space"), "{message}");
    fs::remove_file(filler)?;
    machine.until_settled().await?;
    machine.stop().await?;
    engine.stop().await
}

/// The bridge of the small engine.
const BRIDGE: &str = "piccolo-small";

/// An engine of its own on a small disk.
struct SmallEngine {
    place: TempDir,
    process: Child,
}

impl SmallEngine {
    async fn start() -> anyhow::Result<Self> {
        let place = TempDir::with_prefix("piccolo-small-")?;
        let path = |name: &str| place.path().join(name);
        fs::create_dir(path("disk"))?;
        fs::write(path("daemon.json"), "{}")?;
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(path("disk"))).await?;
        // With no bridge at all it would take the other engine's away.
        run(Command::new("ip").args(["link", "add", BRIDGE, "type", "bridge"])).await?;
        run(Command::new("ip").args(["address", "add", "10.213.0.1/24", "dev", BRIDGE])).await?;
        let process = Command::new("dockerd")
            .arg("--data-root")
            .arg(path("disk"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg("--config-file")
            .arg(path("daemon.json"))
            // The machine's own containerd may be there, and then both engines use it.
            .args(["--containerd-namespace", BRIDGE, "--containerd-plugins-namespace", "piccolo-small-plugins"])
            .args(["--bridge", BRIDGE, "--iptables=false", "--host"])
            .arg(format!("unix://{}", path("sock").display()))
            .stderr(fs::File::create(path("log"))?)
            .spawn()?;
        let small = Self { place, process };
        let answers = async {
            while http::send(&small.path("sock"), "GET", "/_ping").await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answers).await.context("the small engine does not answer")?;
        Ok(small)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn address(&self) -> String {
        format!("unix://{}", self.path("sock").display())
    }

    /// Fills the disk but for a little, and returns the file that does it.
    fn fill(&self) -> anyhow::Result<PathBuf> {
        let filler = self.path("disk/filler");
        let mut size = 64 << 20;
        while size > 0 && fs::write(&filler, vec![0; size]).is_err() {
            size -= 256 << 10;
        }
        // What the engine needs to go on speaking.
        fs::write(&filler, vec![0; size.saturating_sub(512 << 10)])?;
        Ok(filler)
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.process.id().context("the small engine has ended")?;
        run(Command::new("kill").arg(pid.to_string())).await?;
        tokio::time::timeout(PATIENCE, self.process.wait()).await.context("the small engine does not stop")??;
        run(Command::new("umount").arg(self.path("disk"))).await?;
        run(Command::new("ip").args(["link", "delete", BRIDGE])).await
    }
}

async fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().await?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}
