//! The stick: it boots to the whole system in memory, and touches no disk.

use std::{os::unix::fs::MetadataExt, path::Path, time::Duration};

use anyhow::{Context, bail, ensure};
use piccolo_e2e::guest::{Guest, Hardware};
use tokio::{
    process::Command,
    time::{sleep, timeout},
};

use crate::{Person, complete, image, place, way_in};

/// How long the story may take where the processor is emulated and other things run beside it.
const LONG: Duration = Duration::from_secs(1200);
/// Prints how much of the memory is not to be had any more, in MiB.
const MEMORY: &str = r#"awk '/^MemTotal|^MemAvailable/ { it[$1] = $2 } END { print int((it["MemTotal:"] - it["MemAvailable:"]) / 1024) }' /proc/meminfo"#;
/// The most memory that a complete start uses, in MiB, and how soon.
const MOST_MEMORY: u64 = 250;
const AT_REST: Duration = Duration::from_secs(60);
/// The most that there is to download, in bytes.
const MOST_DOWNLOAD: u64 = 250_000_000;
/// What has to work for a start to be complete: the engine, what is remembered, what is declared, disks, TPM, network, clock.
const PARTS: [&str; 7] = ["containers", "store", "manifests", "disks", "trust", "network", "clock"];

#[tokio::test]
async fn a_stick_boots_is_claimed_from_its_screen_and_runs_what_is_declared() -> anyhow::Result<()> {
    timeout(LONG, tell()).await.context("the story did not end in time; its serial line is kept")?
}

async fn tell() -> anyhow::Result<()> {
    let download = std::fs::metadata(image()?.with_extension("raw.zst"))?.len();
    ensure!(download <= MOST_DOWNLOAD, "{download} bytes are to be downloaded");
    let mut hardware = Hardware::build(&place("live")?).await?;
    hardware.stick(&image()?).await?;
    let disk = hardware.blank(4 << 30)?;
    let mut guest = hardware.boot().await?;

    // Address, fingerprint and code are on the screen, and by them the machine becomes somebody's.
    let (fingerprint, code) = way_in(&mut guest).await?;
    let shown = guest.seconds();
    let (person, host) = (Person::new()?, guest.host());
    person.piccolo(&["claim", &host, "--fingerprint", &fingerprint, "--code", &code]).await?;
    println!("firmware to the screen {shown} s, to an answer of the API {} s", guest.seconds());

    // The start is complete once every part works, and then this image counts as good.
    complete(&mut guest).await?;
    println!("firmware to a complete start {} s", guest.seconds());
    let ready = guest.run("piccolo ready").await?;
    ensure!(PARTS.iter().all(|part| ready.contains(&format!("[+]{part}:"))), "{ready}");

    // What is declared runs, from an image that came as a file.
    let archive = std::env::var("ARCHIVE").context("ARCHIVE is not set: run e2e/test image")?;
    person.piccolo(&["image", "import", &archive]).await?;
    let spec = "command = [\"httpd\", \"-f\", \"-p\", \"80\", \"-h\", \"/www\"]\nports = [{ hostPort = 8088, containerPort = 80 }]";
    let manifest = piccolo_e2e::container("web", "busybox:1", spec);
    let file = person.write("web.toml", &manifest)?;
    person.piccolo(&["apply", "-f", &file, "--wait"]).await?;
    let page = guest.run("exec 3<>/dev/tcp/127.0.0.1/8088; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3").await?;
    ensure!(page.contains("It runs"), "{page}");

    // The system can't be written to, nothing failed, nobody can log in, and the disk in it is as it was.
    let usr = guest.run("findmnt -no FSTYPE,OPTIONS /usr; veritysetup status usr | grep -i status").await?;
    ensure!(usr.contains("erofs") && usr.contains("ro") && usr.contains("verified"), "{usr}");
    let failed = guest.run("systemctl --failed --no-legend --plain").await?;
    ensure!(failed.trim().is_empty(), "{failed}");
    let logins =
        guest.run("cut -d: -f2 /etc/shadow | sort -u; systemctl list-units --no-legend --plain '*getty@*'").await?;
    ensure!(logins.split_whitespace().all(|it| it.starts_with(['!', '*'])), "{logins}");
    let memory = memory_at_rest(&mut guest).await?;
    println!("{memory} MiB of memory in use; {}", guest.run("systemd-analyze | head -n 1").await?.trim());
    guest.cut().await?;
    // Where nothing was written, nothing takes room.
    let written = std::fs::metadata(disk)?.blocks();
    ensure!(written == 0, "{written} blocks were written to the disk");

    // One byte of the system is another one: no start makes anything of it.
    hardware.flip(start_of_usr(&image()?).await? + 2000).await?;
    let mut guest = hardware.boot().await?;
    guest.until_said(|said| said.contains("is corrupted").then_some(())).await?;
    println!("one byte that differs is found after {} s", guest.seconds());
    guest.cut().await
}

/// Returns how much memory is in use, in MiB, once what the start of a container took for a moment is given back.
async fn memory_at_rest(guest: &mut Guest) -> anyhow::Result<u64> {
    let mut least = u64::MAX;
    let falls = async {
        while least > MOST_MEMORY {
            least = least.min(guest.run(MEMORY).await?.trim().parse()?);
            sleep(Duration::from_secs(2)).await;
        }
        anyhow::Ok(())
    };
    match timeout(AT_REST, falls).await {
        Ok(fallen) => fallen.map(|()| least),
        Err(_) => bail!("{least} MiB of memory are in use"),
    }
}

/// Returns where on an image the system begins, in bytes.
async fn start_of_usr(image: &Path) -> anyhow::Result<u64> {
    let table = Command::new("sfdisk").arg("--json").arg(image).output().await?.stdout;
    let table: serde_json::Value = serde_json::from_slice(&table)?;
    let parts = table["partitiontable"]["partitions"].as_array().context("the image has no partitions")?;
    let is_usr = |part: &&serde_json::Value| {
        part["name"].as_str().is_some_and(|name| name.starts_with("piccolo-live_") && !name.ends_with("_v"))
    };
    let start = parts.iter().find(is_usr).and_then(|part| part["start"].as_u64());
    Ok(start.context("the image has no system")? * 512)
}
