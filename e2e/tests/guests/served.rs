//! A disk that a server in the network helps to open, on the image: in any machine of that network, and in none without it.

use std::time::Duration;

use anyhow::{Context, ensure};
use piccolo_e2e::{guest::Hardware, tang::Keys};
use tokio::time::timeout;

use crate::{claimed, image, place};

/// How long the story may take where the processor is emulated and other things run beside it.
const LONG: Duration = Duration::from_secs(1500);
/// Where the server is in the network of the machine.
const SERVER: &str = "10.0.2.100:80";
const CANARY: &str = "what a thief does not hear";

#[tokio::test]
async fn a_server_in_the_network_opens_a_disk_while_it_is_there() -> anyhow::Result<()> {
    timeout(LONG, tell()).await.context("the story did not end in time; its serial line is kept")?
}

async fn tell() -> anyhow::Result<()> {
    let keys = Keys::make()?;
    let manifest = format!(
        r#"apiVersion = "piccolo.os/v1alpha1"
kind = "Disk"
metadata.name = "music"

[spec]
select = {{ serial = "disk1" }}
filesystem = "ext4"
mount = "/srv/music"
encryption = {{ tang = {{ url = "http://{SERVER}", thumbprint = "{}" }} }}
"#,
        keys.thumbprint()?
    );
    let mut hardware = Hardware::build(&place("served")?).await?;
    hardware.stick(&image()?).await?;
    hardware.answers(SERVER, &keys.program()?);
    hardware.blank(256 << 20)?;
    let mut guest = hardware.boot().await?;
    let person = claimed(&mut guest).await?;
    person.piccolo(&["apply", "-f", &person.write("music.toml", &manifest)?, "--wait", "--timeout", "600"]).await?;
    let stack = guest.run("lsblk --noheadings --inverse --output TYPE,FSTYPE $(findmnt -no SOURCE /srv/music)").await?;
    ensure!(stack.contains("crypt") && stack.contains("crypto_LUKS"), "{stack}");
    guest.run(&format!("echo '{CANARY}' >/srv/music/song && sync")).await?;
    guest.cut().await?;

    // Another machine, which is in the network as well.
    hardware.new_tpm().await?;
    keys.away(true)?;
    let mut guest = hardware.boot().await?;
    let person = claimed(&mut guest).await?;
    person.piccolo(&["apply", "-f", &person.write("music.toml", &manifest)?]).await?;
    person.until("disk", "music", &format!("By the server http://{SERVER}")).await?;
    ensure!(guest.run("findmnt /srv/music").await.is_err(), "it is mounted without the server");
    keys.away(false)?;
    // It is asked again every five minutes at last.
    guest.run("for i in $(seq 400); do test -e /srv/music/song && exit 0; sleep 1; done; exit 1").await?;
    ensure!(guest.run("cat /srv/music/song").await?.contains(CANARY));
    guest.cut().await
}
