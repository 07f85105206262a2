//! An image of Flatcar becomes one of Piccolo, without mounting anything. The image is made here, with the partitions, names and
//! types of an official one, and a key to sign it: official ones can't be had for tests. Needs no engine.

use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use anyhow::{Context, ensure};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use super::updates::text;

/// The partitions of Flatcar, each as small as its file system allows. Its own gaps are there: nothing has the numbers 5 and 8.
const TABLE: &str = "label: gpt
label-id: 00000000-0000-0000-0000-000000000001
unit: sectors
1 : start=4096, size=8192, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=\"EFI-SYSTEM\"
2 : start=12288, size=4096, type=21686148-6449-6E6F-744E-656564454649, name=\"BIOS-BOOT\"
3 : start=16384, size=16384, type=5DFBF5F4-2848-4BAC-AA5E-0D9A20B745A6, uuid=7130C94A-213A-4E5A-8E26-6CCE9662F132, name=\"USR-A\", attrs=\"GUID:48,56\"
4 : start=32768, size=16384, type=5DFBF5F4-2848-4BAC-AA5E-0D9A20B745A6, uuid=E03DD35C-7C2D-4A47-B3FE-27F15780A57C, name=\"USR-B\"
6 : start=49152, size=65536, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=\"OEM\"
7 : start=114688, size=8192, type=C95DC21A-DF0E-4340-8D7B-26CBFA9A03E0, name=\"OEM-CONFIG\"
9 : start=122880, size=65536, type=3884DD41-8582-4404-B9A8-E9B84F2DF50E, name=\"ROOT\"
";
const MIB: u64 = 1 << 20;
const SIZE: u64 = 96 * MIB;
const OEM: (u64, u64) = (24 * MIB, 32 * MIB);
const ROOT: (u64, u64) = (60 * MIB, 32 * MIB);

/// A directory with an image, its signature and the key.
struct Place(TempDir);

impl Drop for Place {
    fn drop(&mut self) {
        // Whoever makes a key has an agent kept for it.
        let ended =
            std::process::Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", self.path("gpg")).status();
        drop(ended);
    }
}

impl Place {
    /// Makes them. The extension is no more than some bytes here.
    async fn make(oem: &str) -> anyhow::Result<Self> {
        let place = Self(TempDir::with_prefix("piccolo flatcar-")?);
        let image = fs::File::create_new(place.path("flatcar.bin"))?;
        image.set_len(SIZE)?;
        place.feed("sfdisk --quiet flatcar.bin", TABLE).await?;
        fs::create_dir(place.path("oem"))?;
        fs::write(place.path("oem/grub.cfg"), "set linux_append=\"quiet\"\n")?;
        let makes = match oem {
            "btrfs" => "mkfs.btrfs --quiet --mixed --metadata single --data single --label OEM --rootdir oem part",
            _ => "mkfs.ext4 -q -L OEM -d oem part",
        };
        place.fill(&image, OEM, makes).await?;
        place.fill(&image, ROOT, "mkfs.ext4 -q -b 4096 -L ROOT part").await?;
        // What is verified by Flatcar's own start may not change by a byte.
        for at in [2 * MIB, 8 * MIB, 56 * MIB] {
            image.write_all_at(&vec![0xA5; 1 << 16], at)?;
        }
        fs::write(place.path("sysext"), vec![7; 3 << 20])?;
        fs::create_dir(place.path("gpg"))?;
        fs::set_permissions(place.path("gpg"), fs::Permissions::from_mode(0o700))?;
        place.key("flatcar").await?;
        place.sign("flatcar", "flatcar.bin").await?;
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, words: &str) -> Command {
        let mut words = words.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).current_dir(self.0.path()).env("GNUPGHOME", "gpg").kill_on_drop(true).stdin(Stdio::null());
        command
    }

    async fn run(&self, words: &str) -> anyhow::Result<String> {
        text(self.command(words).output().await?).with_context(|| words.to_owned())
    }

    async fn feed(&self, words: &str, what: &str) -> anyhow::Result<()> {
        fs::write(self.path("fed"), what)?;
        let done = self.command(words).stdin(fs::File::open(self.path("fed"))?).output().await?;
        text(done).with_context(|| words.to_owned()).map(drop)
    }

    /// Makes a file system and puts it into its partition.
    async fn fill(&self, image: &fs::File, (at, size): (u64, u64), makes: &str) -> anyhow::Result<()> {
        fs::File::create(self.path("part"))?.set_len(size)?;
        self.run(makes).await?;
        Ok(image.write_all_at(&fs::read(self.path("part"))?, at)?)
    }

    async fn key(&self, who: &str) -> anyhow::Result<()> {
        self.run(&format!("gpg --batch --quiet --passphrase= --quick-gen-key {who}@example.org ed25519 sign 1d"))
            .await?;
        fs::write(
            self.path(&format!("{who}.asc")),
            self.run(&format!("gpg --armor --export {who}@example.org")).await?,
        )?;
        Ok(())
    }

    async fn sign(&self, who: &str, file: &str) -> anyhow::Result<()> {
        let to = format!("--output {file}.sig --detach-sign {file}");
        self.run(&format!("gpg --batch --quiet --yes --local-user {who}@example.org {to}")).await.map(drop)
    }

    fn wrap(&self, words: &str) -> Command {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../os-image/flatcar/wrap");
        self.command(&format!("{program} {words}"))
    }

    /// Returns what the image is refused with. Nothing may be left of it.
    async fn refused(&self, words: &str) -> anyhow::Result<String> {
        let before = self.names()?;
        let done: Output = self.wrap(words).output().await?;
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        ensure!(!done.status.success(), "{words}: it was made: {told}");
        ensure!(self.names()? == before, "{words}: it left {:?}", self.names()?);
        told.lines().rev().find_map(|line| line.strip_prefix("error: ")).map(str::to_owned).context(told.clone())
    }

    fn names(&self) -> anyhow::Result<Vec<String>> {
        let names = fs::read_dir(self.0.path())?.map(|it| Ok(it?.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<anyhow::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    /// Makes a file of a partition of what was made.
    fn part(&self, name: &str, (at, size): (u64, u64)) -> anyhow::Result<()> {
        let mut bytes = vec![0; usize::try_from(size)?];
        fs::File::open(self.path(name))?.read_exact_at(&mut bytes, at)?;
        Ok(fs::write(self.path("part"), bytes)?)
    }

    /// Says that what was made is the image, and beside it the extension and the configuration.
    async fn is_wrapped(&self, made: &str, oem: &str, config: &str) -> anyhow::Result<()> {
        let (before, after) = (fs::read(self.path("flatcar.bin"))?, fs::read(self.path(made))?);
        ensure!(before.len() == after.len());
        let ours = |at: u64| [OEM, ROOT].iter().any(|(from, size)| (*from..from + size).contains(&at));
        let other = (0..)
            .zip(before.chunks(1 << 12).zip(after.chunks(1 << 12)))
            .find(|(block, (a, b))| a != b && !ours(block << 12));
        ensure!(other.is_none(), "another partition changed in block {:?}", other.map(|it| it.0));

        self.part(made, OEM)?;
        let tree = self.path("tree");
        fs::create_dir_all(&tree)?;
        match oem {
            "btrfs" => self.run("btrfs restore --metadata part tree").await?,
            _ => text(self.command("debugfs -R").args(["rdump / tree", "part"]).output().await?)?,
        };
        ensure!(fs::read(tree.join("grub.cfg"))? == fs::read(self.path("oem/grub.cfg"))?);
        let told = fs::read_to_string(tree.join("config.ign"))?;
        ensure!(told.contains(config), "{told}");
        // It may hold what is not for everybody, and so may what it is in.
        ensure!(fs::metadata(tree.join("config.ign"))?.permissions().mode() & 0o777 == 0o600);
        ensure!(fs::metadata(self.path(made))?.permissions().mode() & 0o777 == 0o600);
        fs::remove_dir_all(tree)?;

        self.part(made, ROOT)?;
        self.run("e2fsck -fn part").await?;
        let mut look = self.command("debugfs -R");
        let told = text(look.arg("stat /var/lib/extensions/piccolo.raw").arg("part").output().await?)?;
        ensure!(told.contains("Mode:  0644") && told.contains(&format!("Size: {}", 3 << 20)), "{told}");
        ensure!(told.contains("User:     0   Group:     0"), "{told}");
        Ok(fs::remove_file(self.path(made))?)
    }
}

#[tokio::test]
async fn an_image_of_flatcar_becomes_one_of_ours() -> anyhow::Result<()> {
    let place = Place::make("btrfs").await?;
    let before = fs::read(place.path("flatcar.bin"))?;
    text(place.wrap("flatcar.bin --key flatcar.asc --sysext sysext").output().await?)?;
    place.is_wrapped("flatcar.piccolo.bin", "btrfs", "update-engine.service").await?;
    ensure!(fs::read(place.path("flatcar.bin"))? == before, "the image itself changed");

    // As it is downloaded: packed, and signed like that. What the owner wants beside it comes along.
    place.run("bzip2 --keep --fast flatcar.bin").await?;
    place.sign("flatcar", "flatcar.bin.bz2").await?;
    let own = r#"{"ignition":{"version":"3.3.0"},"passwd":{"users":[{"name":"core","sshAuthorizedKeys":["ssh-ed25519 AAAA"]}]}}"#;
    fs::write(place.path("own.ign"), own)?;
    let words = "flatcar.bin.bz2 --key flatcar.asc --sysext sysext --config own.ign --out made.bin";
    text(place.wrap(words).output().await?)?;
    place.is_wrapped("made.bin", "btrfs", "\"merge\"").await?;

    let older = Place::make("ext4").await?;
    text(older.wrap("flatcar.bin --key flatcar.asc --sysext sysext").output().await?)?;
    older.is_wrapped("flatcar.piccolo.bin", "ext4", "locksmithd.service").await
}

#[tokio::test]
async fn what_is_not_signed_or_is_no_flatcar_is_refused() -> anyhow::Result<()> {
    let place = Place::make("btrfs").await?;
    let all = "flatcar.bin --key flatcar.asc --sysext sysext";
    ensure!(place.refused("flatcar.bin --sysext sysext").await?.contains("no key is named"));
    place.key("other").await?;
    ensure!(place.refused("flatcar.bin --key other.asc --sysext sysext").await?.contains("another key signed it"));
    ensure!(place.refused("flatcar.bin --key sysext --sysext sysext").await?.contains("no key can be read from it"));
    let why = place.refused(&format!("{all} --signature sysext")).await?;
    ensure!(why.contains("there is no signature in the file"), "{why}");
    ensure!(place.refused(&format!("{all} --signature none")).await?.contains("none can't be read"));
    ensure!(place.refused(&format!("{all} --out sysext")).await?.contains("is not written over"));
    ensure!(place.refused(&format!("{all} --config flatcar.asc")).await?.contains("no configuration that Ignition"));

    let image = fs::OpenOptions::new().read(true).write(true).open(place.path("flatcar.bin"))?;
    let mut byte = [0];
    image.read_exact_at(&mut byte, 8 * MIB)?;
    image.write_all_at(&[byte[0] ^ 1], 8 * MIB)?;
    ensure!(place.refused(all).await?.contains("the image is not what was signed"));

    // Signed by whom it should be, and still nothing that could be used.
    let changed = async |words: &'static str| {
        place.run(words).await?;
        place.sign("flatcar", "flatcar.bin").await?;
        place.refused(all).await
    };
    fs::write(place.path("oem/config.ign"), "{}")?;
    place.fill(&image, OEM, "mkfs.btrfs --quiet --mixed --rootdir oem part").await?;
    ensure!(changed("true").await?.contains("there is a /config.ign in OEM already"));
    place.fill(&image, OEM, "true").await?;
    ensure!(changed("true").await?.contains("OEM has no file system"));
    let why = changed("sfdisk --quiet --part-type flatcar.bin 9 0FC63DAF-8483-4772-8E79-3D69D8477DE4").await?;
    ensure!(why.contains("no image of Flatcar: it has no partition ROOT of its type"), "{why}");
    ensure!(changed("truncate --size 1M flatcar.bin").await?.contains("flatcar.bin"));
    Ok(())
}

#[tokio::test]
async fn whoever_interrupts_it_finds_nothing_left() -> anyhow::Result<()> {
    let place = Place::make("btrfs").await?;
    let before = place.names()?;
    // After the last one it may have come to its end before the signal does.
    for step in 1..=6 {
        // In a group of its own, so that all of it hears the signal, as at a terminal.
        let mut command = place.wrap("flatcar.bin --key flatcar.asc --sysext sysext");
        let mut child = command.process_group(0).stderr(Stdio::piped()).spawn()?;
        let group = child.id().context("it ended")?;
        let mut told = BufReader::new(child.stderr.take().context("it says nothing")?).lines();
        while let Some(line) = told.next_line().await? {
            if line.contains(&format!(" {step} of 7 ")) {
                text(Command::new("kill").args(["-TERM", "--", &format!("-{group}")]).output().await?)?;
                break;
            }
        }
        while told.next_line().await?.is_some() {}
        ensure!(!child.wait().await?.success(), "step {step}: it came to its end");
        ensure!(place.names()? == before, "step {step}: it left {:?}", place.names()?);
    }
    Ok(())
}

/// The extension of the programs that this tree builds, with the libraries that they need there.
#[tokio::test]
async fn the_extension_has_all_that_the_programs_need() -> anyhow::Result<()> {
    let place = TempDir::with_prefix("piccolo-sysext-")?;
    let programs = piccolo_e2e::machine::program()?;
    let programs = programs.parent().context("the programs lie nowhere")?;
    let made = place.path().join("piccolo.raw");
    let makes = concat!(env!("CARGO_MANIFEST_DIR"), "/../os-image/flatcar/sysext");
    // Only the code is of interest here, and it is packed in a moment.
    for name in ["piccolod", "piccolo"] {
        text(Command::new("strip").arg("-o").arg(place.path().join(name)).arg(programs.join(name)).output().await?)?;
    }
    text(Command::new(makes).arg(place.path()).arg(&made).output().await?)?;
    let tree = place.path().join("tree");
    text(Command::new("unsquashfs").args(["-quiet", "-no-progress", "-dest"]).arg(&tree).arg(&made).output().await?)?;
    let release = fs::read_to_string(tree.join("usr/lib/extension-release.d/extension-release.piccolo"))?;
    ensure!(release == "ID=flatcar\nSYSEXT_LEVEL=1.0\nARCHITECTURE=x86-64\n", "{release}");
    let units = tree.join("usr/lib/systemd/system");
    let upholds = fs::read_to_string(units.join("multi-user.target.d/10-piccolo.conf"))?;
    ensure!(upholds.contains("Upholds=piccolod.service") && units.join("piccolod.service").exists());
    ensure!(units.join("docker.service.requires/piccolo-rules.service").exists());
    ensure!(!units.join("piccolo-screen.path").exists() && !units.join("piccolo-healthy.service").exists());
    for name in ["piccolod", "piccolo"] {
        let program = tree.join("usr/bin").join(name);
        let path = text(Command::new("patchelf").arg("--print-rpath").arg(&program).output().await?)?;
        ensure!(path.trim() == "/usr/lib/piccolo", "{name}: {path}");
        let needed = text(Command::new("patchelf").arg("--print-needed").arg(&program).output().await?)?;
        let ours = needed.lines().filter(|it| it.starts_with("libtss2"));
        for library in ours {
            ensure!(tree.join("usr/lib/piccolo").join(library).exists(), "{name} needs {library}");
        }
        // It was changed to look elsewhere, and still is a program.
        text(Command::new(&program).arg("--version").output().await?)?;
    }
    ensure!(is_empty_of_others(&tree)?, "it writes outside of /usr");
    Ok(())
}

/// Returns true if an extension has nothing but `/usr`: systemd takes nothing else.
fn is_empty_of_others(tree: &Path) -> anyhow::Result<bool> {
    let names: Vec<_> = fs::read_dir(tree)?.map(|it| Ok(it?.file_name())).collect::<anyhow::Result<_>>()?;
    Ok(names == ["usr"])
}
