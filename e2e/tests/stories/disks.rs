//! Disks under a whole daemon, with containers on them. They are files of this machine as loop devices; where there are
//! none, the stories say so and tell nothing.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, ensure};
use piccolo_e2e::{Engine, Machine, container, image, machine::story};
use tempfile::TempDir;

/// The size of a disk.
const SIZE: u64 = 96 << 20;
/// After how long a daemon is killed that has begun to make a file system.
const KILLS: [u64; 4] = [0, 30, 80, 160];

/// Disks, and the places at which they are mounted. Everything is taken away with it.
pub(super) struct Shelf {
    home: TempDir,
    loops: Vec<String>,
}

impl Shelf {
    /// Returns a shelf, or none where this machine has no loop devices.
    pub(super) fn new() -> anyhow::Result<Option<Self>> {
        let mut shelf = Self { home: TempDir::with_prefix("piccolo-shelf-")?, loops: Vec::new() };
        if shelf.plug("probe").is_err() {
            crate::skip::skipped("this machine has no loop devices");
            return Ok(None);
        }
        Ok(Some(shelf))
    }

    pub(super) fn path(&self, name: &str) -> anyhow::Result<PathBuf> {
        Ok(self.home.path().canonicalize()?.join(name))
    }

    /// Plugs a disk in, blank if it is new.
    pub(super) fn plug(&mut self, name: &str) -> anyhow::Result<String> {
        let file = self.path(name)?;
        File::options().create(true).append(true).open(&file)?.set_len(SIZE)?;
        let device = run("losetup", &["--find", "--show", &file.display().to_string()])?;
        self.loops.push(device.clone());
        Ok(device)
    }

    /// Returns what all bytes of a disk amount to.
    fn sum(&self, name: &str) -> anyhow::Result<String> {
        run("sha256sum", &[&self.path(name)?.display().to_string()])
    }

    /// Returns the manifest of a disk that is mounted at its place.
    pub(super) fn manifest(&self, name: &str, more: &str) -> anyhow::Result<String> {
        let (serial, at) = (self.path(name)?, self.at(name)?);
        Ok(format!(
            "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Disk\"\nmetadata.name = \"{name}\"\n\n[spec]\nselect = {{ serial = \"{}\" \
             }}\nfilesystem = \"ext4\"\nmount = \"{}\"\n{more}\n",
            serial.display(),
            at.display()
        ))
    }

    pub(super) fn at(&self, name: &str) -> anyhow::Result<PathBuf> {
        self.path(&format!("at-{name}"))
    }

    fn is_mounted(&self, name: &str) -> bool {
        let at = self.at(name).unwrap_or_default();
        run("findmnt", &["--mountpoint", &at.display().to_string()]).is_ok()
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        for device in &self.loops {
            for number in 1..4 {
                drop(run("umount", &["--all-targets", &format!("{device}p{number}")]));
            }
            drop(run("umount", &["--all-targets", device]));
            drop(run("partx", &["--delete", device]));
            drop(run("losetup", &["--detach", device]));
        }
        for entry in fs::read_dir(self.home.path()).into_iter().flatten().flatten() {
            drop(run("chattr", &["-i", &entry.path().display().to_string()]));
        }
    }
}

pub(super) fn run(program: &str, words: &[&str]) -> anyhow::Result<String> {
    let Output { status, stdout, stderr } = Command::new(program).args(words).output().context(program.to_owned())?;
    ensure!(status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&stderr));
    Ok(String::from_utf8(stdout)?.trim().to_owned())
}

pub(super) async fn reason(machine: &Machine, name: &str) -> String {
    let disk = machine.get(&format!("/apis/piccolo.os/v1alpha1/disks/{name}")).await.unwrap_or_default();
    disk["status"]["conditions"][0]["reason"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_disk_is_kept_erased_by_a_ticket_used_let_go_and_found_again() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let Some(mut shelf) = Shelf::new()? else { return Ok(()) };
        let at = shelf.at("media")?;
        let command =
            "command = [\"sh\", \"-c\", \"echo hello >> /data/hello; sleep 1000000\"]\nstopSignal = \"SIGKILL\"";
        let mount = format!("mounts = [{{ path = \"/data\", hostPath = \"{}\" }}]", at.display());
        let writer = container("writer", &image("1")?, &format!("{command}\n{mount}"));
        let mut machine = Machine::new()?;
        machine.write("media.toml", &shelf.manifest("media", "")?)?;
        machine.write("writer.toml", &writer)?;
        // Files that are suddenly all gone would be taken for a mistake.
        machine.write("bystander.toml", &piccolo_e2e::sleeper("bystander", "")?)?;
        machine.start().await?;
        machine.until("there is no such disk", async || reason(&machine, "media").await == "NoSuchDisk").await?;
        machine.until("the container waits for it", async || machine.reason("writer").await == "MountMissing").await?;
        let told = machine.status("writer").await.to_string();
        ensure!(told.contains("The disk `media` is not mounted"), "{told}");

        // The disk holds what somebody may want to keep.
        let device = shelf.plug("media")?;
        run("mkfs.ext4", &["-q", "-L", "photos", &device])?;
        run("blockdev", &["--flushbufs", &device])?;
        let before = shelf.sum("media")?;
        machine.until("it is left alone", async || reason(&machine, "media").await == "DiskNotBlank").await?;
        ensure!(shelf.sum("media")? == before, "bytes of a foreign disk have changed");
        ensure!(engine.inspect("writer").await.is_none(), "a container was made beside its disk");

        // Its owner gives it away.
        let serial = shelf.path("media")?.display().to_string();
        let refused = machine.piccolo(&["disk", "wipe-ticket", &serial, "--serial", "another"])?.output().await?;
        ensure!(!refused.status.success(), "a ticket for a wrong serial number");
        let made = machine.piccolo(&["disk", "wipe-ticket", &serial, "--serial", &serial])?.output().await?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let ticket = String::from_utf8(made.stdout)?.trim().to_owned();
        ensure!(shelf.sum("media")? == before, "a ticket alone has changed the disk");
        machine.write("media.toml", &shelf.manifest("media", &format!("wipe = \"{ticket}\""))?)?;
        machine.until("the container wrote on it", async || at.join("hello").exists()).await?;
        machine.until_settled().await?;
        ensure!(reason(&machine, "media").await == "Mounted");

        // A hand takes the mount away: it is mounted again, and who ran meanwhile is started anew to see it.
        let before = engine.inspect("writer").await.context("no container")?.id;
        run("umount", &["--lazy", &at.display().to_string()])?;
        let wrote = |lines: &str| fs::read_to_string(at.join("hello")).is_ok_and(|text| text == lines);
        machine.until("the container is on it again", async || wrote("hello\nhello\n")).await?;
        machine.until_settled().await?;
        ensure!(engine.inspect("writer").await.context("no container")?.id == before, "it was made anew");

        // The manifests go: the data stays, and no longer than the disk is there can anybody write to its place.
        machine.remove("writer.toml")?;
        machine.until("the container is gone", async || engine.inspect("writer").await.is_none()).await?;
        machine.remove("media.toml")?;
        machine.until("it is unmounted", async || !shelf.is_mounted("media")).await?;
        machine.until_settled().await?;
        ensure!(!at.join("hello").exists(), "the disk is still there");

        // The same manifest finds it again, and the ticket in it means nothing any more.
        machine.write("media.toml", &shelf.manifest("media", &format!("wipe = \"{ticket}\""))?)?;
        machine.until("it is mounted again", async || at.join("hello").exists()).await?;
        machine.write("writer.toml", &writer)?;
        machine
            .until("the container goes on", async || {
                fs::read_to_string(at.join("hello")).is_ok_and(|text| text == "hello\nhello\nhello\n")
            })
            .await?;
        machine.until_settled().await?;
        machine.remove("writer.toml")?;
        machine.until("the container is gone", async || engine.inspect("writer").await.is_none()).await?;
        machine.stop().await
    })
    .await
}

#[tokio::test]
async fn a_daemon_that_is_killed_while_it_makes_a_disk_goes_on_or_refuses() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let Some(mut shelf) = Shelf::new()? else { return Ok(()) };
        let device = shelf.plug("neighbour")?;
        run("mkfs.ext4", &["-q", "-L", "photos", &device])?;
        run("blockdev", &["--flushbufs", &device])?;
        let before = shelf.sum("neighbour")?;
        let (mut gone_on, mut refused) = (0, 0);
        for wait in KILLS {
            let name = format!("disk-{wait}");
            let mut machine = Machine::new()?;
            machine.write("disk.toml", &shelf.manifest(&name, "")?)?;
            shelf.plug(&name)?;
            machine.start().await?;
            let book = machine.state().join("disks/book.json");
            let has_begun = || fs::read_to_string(&book).is_ok_and(|text| text.contains(&name));
            let begun = async {
                while !has_begun() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            tokio::time::timeout(piccolo_e2e::PATIENCE, begun).await.context("it never began")?;
            tokio::time::sleep(Duration::from_millis(wait)).await;
            machine.kill().await?;
            machine.start().await?;
            let ends = ["Mounted", "HalfMade", "DiskNotBlank"];
            machine
                .until("it goes on or refuses", async || ends.contains(&reason(&machine, &name).await.as_str()))
                .await?;
            match reason(&machine, &name).await.as_str() {
                "Mounted" => {
                    ensure!(shelf.is_mounted(&name), "{name} is not mounted");
                    gone_on += 1;
                }
                _ => refused += 1,
            }
            machine.stop().await?;
            drop(run("umount", &[&shelf.at(&name)?.display().to_string()]));
            ensure!(shelf.sum("neighbour")? == before, "bytes of the disk beside it have changed");
        }
        println!("{gone_on} makings went on, {refused} were refused, the disk beside them kept every byte");
        Ok(())
    })
    .await
}

/// A table of somebody's: what stands in the way of one partition is nobody's business of the other, a third is made by a
/// hand while they are used, and all are let go with what is on them.
#[tokio::test]
async fn partitions_are_adopted_mounted_joined_and_let_go() -> anyhow::Result<()> {
    const ID: &str = "aaaaaaaa-2222-4333-8444-555555555502";
    let engine = Engine::connect().await?;
    story(&engine, async {
        let Some(mut shelf) = Shelf::new()? else { return Ok(()) };
        let device = shelf.plug("parted")?;
        let script =
            format!("label: gpt\\nlabel-id: {ID}\\nsize=30MiB, name=films\\nsize=30MiB, name=rest\\nname=more\\n");
        run("sh", &["-c", &format!("printf '{script}' | sfdisk -q --no-tell-kernel {device}")])?;
        run("partx", &["--update", &device])?;
        for number in 1..3 {
            run("mkfs.ext4", &["-q", &format!("{device}p{number}")])?;
        }
        let films = shelf.at("films")?;
        let manifest = |names: &[&str]| -> anyhow::Result<String> {
            let part = |name: &&str| {
                Ok(format!("{{ name = \"{name}\", size = \"30Mi\", mount = \"{}\" }}", shelf.at(name)?.display()))
            };
            let parts = names.iter().map(part).collect::<anyhow::Result<Vec<_>>>()?.join(", ");
            let whole = shelf.manifest("parted", &format!("adopt = \"{ID}\"\npartitions = [{parts}]"))?;
            Ok(whole.lines().filter(|it| !it.starts_with("mount = ")).map(|it| format!("{it}\n")).collect())
        };
        fs::create_dir(&films)?;
        fs::write(films.join("in-the-way"), "")?;
        let mut machine = Machine::new()?;
        machine.write("bystander.toml", &piccolo_e2e::sleeper("bystander", "")?)?;
        machine.write("parted.toml", &manifest(&["films", "rest"])?)?;
        machine.start().await?;
        let is_mounted = |name: &str| shelf.is_mounted(name);
        machine.until("the second is mounted", async || is_mounted("rest")).await?;
        ensure!(!is_mounted("films"), "what was in the way is hidden");
        let listed = machine.piccolo(&["disk", "list"])?.output().await?;
        ensure!(String::from_utf8(listed.stdout)?.contains(ID), "the list of disks does not tell what to adopt");
        fs::remove_file(films.join("in-the-way"))?;
        machine.until("both are mounted", async || reason(&machine, "parted").await == "Mounted").await?;
        fs::write(films.join("film"), "a film")?;

        // Nothing is on the third yet; nothing of the disk is unmounted for it.
        machine.write("parted.toml", &manifest(&["films", "rest", "more"])?)?;
        machine.until("it is told", async || reason(&machine, "parted").await == "WrongFilesystem").await?;
        run("mkfs.ext4", &["-q", &format!("{device}p3")])?;
        machine.until("it is seen and mounted", async || is_mounted("more")).await?;
        machine.until_settled().await?;
        ensure!(films.join("film").exists());

        machine.remove("parted.toml")?;
        let is_used = || ["films", "rest", "more"].into_iter().any(is_mounted);
        machine.until("all are let go", async || !is_used()).await?;
        machine.until_settled().await?;
        machine.stop().await?;
        run("chattr", &["-i", &films.display().to_string()])?;
        run("mount", &[&format!("{device}p1"), &films.display().to_string()])?;
        ensure!(fs::read_to_string(films.join("film"))? == "a film");
        Ok(())
    })
    .await
}
