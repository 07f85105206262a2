//! Disks that a server in the network helps to open, with Tang's own server and Clevis' own programs. What the kernel would have
//! to open is not needed: the header is made before.

use std::{
    fs,
    net::TcpListener,
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Context, ensure};
use piccolo_agent::{
    host::{
        Disks as _,
        linux::{Chip, Drives, Keyring, Vault},
    },
    reconcile::{Reconciler, disk::Disks},
    secrets::Identity,
};
use piccolo_e2e::tang::{Keys, is_installed};
use piccolo_schema::{
    Desired, Disk, DiskSpec,
    disk::{Encryption, Filesystem, Selector, Tang},
};
use tempfile::TempDir;

use super::disks::{Shelf, run};

/// A server, with a process for each connection as its own unit does it.
struct Server {
    keys: Keys,
    port: u16,
    is_away: Arc<AtomicBool>,
}

impl Server {
    fn start() -> anyhow::Result<Self> {
        let keys = Keys::make()?;
        let program = keys.program()?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (port, is_away) = (listener.local_addr()?.port(), Arc::new(AtomicBool::default()));
        let away = Arc::clone(&is_away);
        // It ends with the process of the test.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if away.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(other) = stream.try_clone() else { continue };
                let ends = (Stdio::from(OwnedFd::from(stream)), Stdio::from(OwnedFd::from(other)));
                drop(Command::new(&program).stdin(ends.0).stdout(ends.1).stderr(Stdio::null()).status());
            }
        });
        Ok(Self { keys, port, is_away })
    }

    fn tang(&self, thumbprint: String) -> Tang {
        Tang { url: format!("http://127.0.0.1:{}", self.port), thumbprint }
    }
}

fn wanted(shelf: &Shelf, tang: Tang) -> anyhow::Result<Desired<Disk>> {
    let spec = DiskSpec {
        select: Selector { serial: Some(shelf.path("papers")?.display().to_string()), ..Selector::default() },
        filesystem: Filesystem::Ext4,
        mount: Some(shelf.at("papers")?.display().to_string()),
        encryption: Some(Encryption { tang: Some(tang), ..Encryption::default() }),
        ..DiskSpec::default()
    };
    Ok(Desired::complete(vec![Disk::new("papers", spec)]))
}

#[tokio::test]
async fn a_server_that_is_known_helps_to_open_a_disk_and_another_one_does_not() -> anyhow::Result<()> {
    if !is_installed() || !["/usr/bin/clevis", "/usr/bin/clevis-luks-pass"].iter().all(|it| Path::new(it).exists()) {
        crate::skip::skipped("clevis, clevis-luks or tang is not installed");
        return Ok(());
    }
    let Some(mut shelf) = Shelf::new()? else { return Ok(()) };
    let device = shelf.plug("papers")?;
    let (server, another) = (Server::start()?, Server::start()?);
    let home = TempDir::with_prefix("piccolo-served-")?;
    let vault = Vault::new(home.path().join("secrets"), Ok(Identity::generate()));
    let drives = Drives::open_with(&home.path().join("state"), Keyring::new(Chip::new(Some("none")), vault));
    let reconciler = Disks(Arc::clone(&drives));
    let made = async |tang: Tang| -> anyhow::Result<Result<(), String>> {
        let plan = Disks::<Drives>::plan(&wanted(&shelf, tang)?, &drives.disks().await?);
        let step = plan.steps.first().with_context(|| format!("no step: {:?}", plan.waiting))?;
        ensure!(step.to_string().contains("format disk papers as encrypted"), "{step}");
        Ok(reconciler.apply(step).await.map_err(|error| error.message))
    };

    // Who has another key than the one that is known gets nothing written, nor does who is away.
    let refused = made(server.tang(another.keys.thumbprint()?)).await?.err().context("a stranger was believed")?;
    ensure!(refused.contains("By the server http://127.0.0.1"), "{refused}");
    server.is_away.store(true, Ordering::SeqCst);
    ensure!(made(server.tang(server.keys.thumbprint()?)).await?.is_err(), "a server that is away was bound to");
    server.is_away.store(false, Ordering::SeqCst);
    ensure!(fs::read(shelf.path("papers")?)?.iter().all(|byte| *byte == 0), "something was written");

    if let Err(error) = made(server.tang(server.keys.thumbprint()?)).await? {
        println!("as far as this kernel goes: {error}");
    }
    let seen = drives.disks().await?;
    let disk = seen.disks.iter().find(|it| device.ends_with(&it.device)).context("it is gone")?;
    let key = disk.luks.first().and_then(|it| it.keys.first()).context("it has no key")?;
    ensure!(key.words() == format!("the server http://127.0.0.1:{}", server.port), "{key:?}");

    // Clevis' own program opens it, while the server is there.
    let passed = |_: ()| run("clevis-luks-pass", &["-d", &device, "-s", "0"]);
    let opens = passed(())?;
    let memory = TempDir::with_prefix_in("piccolo-served-", "/dev/shm")?;
    let file = memory.path().join("key");
    fs::write(&file, &opens)?;
    run("cryptsetup", &["open", "--test-passphrase", "--key-file", &file.display().to_string(), &device])?;
    let header = run("cryptsetup", &["luksDump", "--dump-json-metadata", &device])?;
    ensure!(
        !header.contains(&opens) && !fs::read_to_string(home.path().join("state/disks/book.json"))?.contains(&opens)
    );
    server.is_away.store(true, Ordering::SeqCst);
    ensure!(passed(()).is_err(), "it opens without the server");
    Ok(())
}
