//! The operating system in a machine of its own: QEMU with firmware, a TPM, disks, and a serial line that is kept.
//!
//! The processor is emulated, so that it runs where there is no virtualisation, and is slow. The network of the guest ends
//! at this machine: nothing gets out, and from here only its API is reached, on loopback.

mod shell;
mod wires;

use std::{
    fs,
    io::Write,
    net::{Ipv4Addr, TcpListener},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use self::{shell::Shell, wires::Serial};

/// Where Debian keeps the firmware.
const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// What the firmware remembers when it is new: whose signatures it trusts is not yet among it.
const MEMORY_OF_FIRMWARE: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// The plainest processor of its kind: what a newer one does at once for many numbers is slow where it is emulated, and the guest takes
/// it wherever it is to be had.
const PROCESSOR: &str = "qemu64";

/// What a TPM says that finds its state in use, and how long it may be.
const IS_HELD: &str = "Could not lock access to lockfile";
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine that is switched off. What its disks, firmware and TPM hold stays in its directory.
#[derive(Clone, Debug)]
pub struct Hardware {
    dir: PathBuf,
    disks: Vec<PathBuf>,
    memory: u32,
    port: u16,
    /// Who answers at an address of its network, and by which program.
    others: Vec<(String, PathBuf)>,
}

impl Hardware {
    /// Builds a machine in a directory that is made anew, with a new TPM and firmware that remembers nothing.
    ///
    /// # Errors
    /// When a program is missing or there is no room.
    pub async fn build(dir: &Path) -> anyhow::Result<Self> {
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        fs::create_dir_all(dir)?;
        fs::copy(MEMORY_OF_FIRMWARE, dir.join("firmware")).context("can't copy the memory of the firmware")?;
        let it = Self {
            dir: std::path::absolute(dir)?,
            disks: Vec::new(),
            memory: 2048,
            port: free_port()?,
            others: Vec::new(),
        };
        it.new_tpm().await?;
        Ok(it)
    }

    /// Has a program answer each connection to an address of the machine's network, on its input and output. Its path must have
    /// no space in it.
    pub fn answers(&mut self, address: &str, program: &Path) {
        self.others.push((address.to_owned(), program.to_owned()));
    }

    /// Gives it a new TPM in the place of the one it has.
    ///
    /// # Errors
    /// When it can't be made.
    pub async fn new_tpm(&self) -> anyhow::Result<()> {
        let state = self.dir.join("tpm");
        if state.exists() {
            fs::remove_dir_all(&state)?;
        }
        fs::create_dir(&state)?;
        let mut setup = Command::new("swtpm_setup");
        setup.args(["--tpm2", "--pcr-banks", "sha256", "--tpmstate"]).arg(&state);
        done(setup, "swtpm_setup").await
    }

    /// Plugs a disk in that begins as a copy of an image, which is not written to.
    ///
    /// # Errors
    /// When there is no room.
    pub async fn stick(&mut self, image: &Path) -> anyhow::Result<()> {
        let disk = self.next_disk("qcow2");
        let mut create = Command::new("qemu-img");
        create.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(std::path::absolute(image)?).arg(&disk);
        done(create, "qemu-img").await?;
        self.disks.push(disk);
        Ok(())
    }

    /// Puts a CD in, which can only be read.
    ///
    /// # Errors
    /// When its place can't be told.
    pub fn cd(&mut self, image: &Path) -> anyhow::Result<()> {
        self.disks.push(std::path::absolute(image)?);
        Ok(())
    }

    /// Plugs in a blank disk of so many bytes, and returns the file that is its platters: what is in there at any moment is
    /// what a loss of power would leave.
    ///
    /// # Errors
    /// When there is no room.
    pub fn blank(&mut self, size: u64) -> anyhow::Result<PathBuf> {
        let disk = self.next_disk("raw");
        fs::File::create_new(&disk)?.set_len(size)?;
        self.disks.push(disk.clone());
        Ok(disk)
    }

    /// Changes one byte of the first disk.
    ///
    /// # Errors
    /// When it can't be read or written.
    pub async fn flip(&self, at: u64) -> anyhow::Result<()> {
        let disk = self.disks.first().context("there is no disk")?;
        let read = ["-f", "qcow2", "-c", &format!("read -v {at} 1")].map(str::to_owned);
        let output = Command::new("qemu-io").args(&read).arg(disk).output().await.context("can't start qemu-io")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let byte = said.lines().next().and_then(|line| line.split_whitespace().nth(1)).context("no byte was read")?;
        let byte = u8::from_str_radix(byte, 16).with_context(|| said.to_string())?;
        let mut write = Command::new("qemu-io");
        write.args(["-f", "qcow2", "-c", &format!("write -P {} {at} 1", byte ^ 1)]).arg(disk);
        done(write, "qemu-io").await
    }

    /// Puts zeros into the first disk.
    ///
    /// # Errors
    /// When it can't be written.
    pub async fn erase(&self, at: u64, length: u64) -> anyhow::Result<()> {
        let disk = self.disks.first().context("there is no disk")?;
        let mut write = Command::new("qemu-io");
        write.args(["-f", "qcow2", "-c", &format!("write -P 0 {at} {length}")]).arg(disk);
        done(write, "qemu-io").await
    }

    fn next_disk(&self, form: &str) -> PathBuf {
        self.dir.join(format!("disk{}.{form}", self.disks.len()))
    }

    /// Pulls the first disk out, and returns it.
    ///
    /// # Errors
    /// When there is none.
    pub fn unplug(&mut self) -> anyhow::Result<PathBuf> {
        ensure!(!self.disks.is_empty(), "there is no disk");
        Ok(self.disks.remove(0))
    }

    /// Pulls this disk out.
    ///
    /// # Errors
    /// When it is not there.
    pub fn pull(&mut self, disk: &Path) -> anyhow::Result<()> {
        let at = self.disks.iter().position(|it| it == disk).context("it is not plugged in")?;
        self.disks.remove(at);
        Ok(())
    }

    /// Plugs a disk in again. The firmware starts from it when it can from no other.
    pub fn plug(&mut self, disk: PathBuf) {
        self.disks.push(disk);
    }

    /// Has the firmware start from this disk before all others.
    pub fn prefer(&mut self, disk: &Path) {
        self.disks.sort_by_key(|it| it != disk);
    }

    /// Switches it on.
    ///
    /// # Errors
    /// When the emulator does not start.
    pub async fn boot(&self) -> anyhow::Result<Guest> {
        let (serial, shell) = (wires::listen(&self.dir.join("serial"))?, wires::listen(&self.dir.join("shell"))?);
        self.tpm().await?;
        // It ends with the story also when that is killed: else it would hold what the next one needs.
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        qemu.args(self.arguments()?).stdin(Stdio::null()).kill_on_drop(true);
        let said = self.dir.join("qemu.log");
        let log = fs::File::create(&said)?;
        qemu.stdout(log.try_clone()?).stderr(log);
        let begun = Instant::now();
        let mut qemu = qemu.spawn().context("can't start qemu-system-x86_64").inspect_err(|_| self.hang_up())?;
        let wires = async { anyhow::Ok((serial.accept().await?.0, shell.accept().await?.0)) };
        let (serial, shell) = tokio::select! {
            wires = wires => wires?,
            ended = qemu.wait() => {
                self.hang_up();
                bail!("QEMU ended with {}: {}", ended?, fs::read_to_string(&said)?)
            }
        };
        let serial = Serial::follow(serial, &self.dir.join("serial.log"))?;
        Ok(Guest { qemu, port: self.port, begun, serial, shell: Shell::new(shell) })
    }

    /// Starts the TPM. It listens when this returns, and ends when the machine hangs up.
    async fn tpm(&self) -> anyhow::Result<()> {
        let socket = self.dir.join("tpm.socket");
        // The TPM of the start before may still be ending, as nobody waits for it: it holds what this one needs.
        let until = Instant::now() + PATIENCE;
        while let Err(error) = self.try_tpm(&socket).await {
            ensure!(error.to_string().contains(IS_HELD) && Instant::now() < until, error);
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    async fn try_tpm(&self, socket: &Path) -> anyhow::Result<()> {
        // What a machine left that lost its power.
        drop(fs::remove_file(socket));
        let mut swtpm = Command::new("swtpm");
        swtpm
            .args(["socket", "--tpm2", "--daemon", "--terminate", "--flags", "startup-clear", "--tpmstate"])
            .arg(format!("dir={}", self.dir.join("tpm").display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", socket.display()));
        // It goes on with what it is given here, so that it must not be a pipe that somebody reads to its end.
        let said = self.dir.join("swtpm.log");
        let log = fs::File::create(&said)?;
        let ended = swtpm.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).status().await;
        ensure!(ended.context("can't start swtpm")?.success(), "swtpm: {}", fs::read_to_string(&said)?);
        Ok(())
    }

    /// Ends a TPM to which no machine came.
    fn hang_up(&self) {
        // What swtpm calls a shutdown. If it is gone already, so much the better.
        let order = 3_u32.to_be_bytes();
        drop(UnixStream::connect(self.dir.join("tpm.socket")).and_then(|mut line| line.write_all(&order)));
    }

    fn arguments(&self) -> anyhow::Result<Vec<String>> {
        let at = |name: &str| self.dir.join(name).display().to_string();
        let others: String =
            self.others.iter().map(|(to, program)| format!(",guestfwd=tcp:{to}-cmd:{}", program.display())).collect();
        let mut all = vec![
            format!("-nodefaults -no-user-config -display none -vga none -smp 2 -m {}", self.memory),
            format!("-machine q35,smm=off -accel tcg,thread=multi,tb-size=512 -cpu {PROCESSOR}"),
            format!("-drive if=pflash,format=raw,unit=0,readonly=on,file={FIRMWARE}"),
            format!("-drive if=pflash,format=raw,unit=1,file={}", at("firmware")),
            format!("-chardev socket,id=serial,path={} -serial chardev:serial", at("serial")),
            "-object rng-random,id=rng,filename=/dev/urandom -device virtio-rng-pci,rng=rng".to_owned(),
            format!("-netdev user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{}-:8080{others}", self.port),
            "-device virtio-net-pci,netdev=net,romfile=".to_owned(),
            format!("-device virtio-serial-pci -chardev socket,id=shell,path={}", at("shell")),
            "-device virtserialport,chardev=shell,name=e2e".to_owned(),
            format!("-chardev socket,id=tpm,path={}", at("tpm.socket")),
            "-tpmdev emulator,id=tpm,chardev=tpm -device tpm-crb,tpmdev=tpm".to_owned(),
            "-device i6300esb -action watchdog=reset".to_owned(),
        ];
        for (at, disk) in self.disks.iter().enumerate() {
            // A disk keeps its serial number when another is pulled out.
            let serial = disk.file_stem().unwrap_or_default().display();
            let form = disk.extension().unwrap_or_default().display();
            let (disk, boot) = (disk.display(), at + 1);
            if disk.to_string().ends_with(".iso") {
                all.push(format!("-drive if=none,id=disk{at},format=raw,media=cdrom,readonly=on,file={disk}"));
                all.push(format!("-device ide-cd,drive=disk{at},bus=ide.{at},bootindex={boot}"));
                continue;
            }
            all.push(format!("-drive if=none,id=disk{at},format={form},discard=unmap,cache=unsafe,file={disk}"));
            all.push(format!("-device virtio-blk-pci,drive=disk{at},serial={serial},bootindex={boot}"));
        }
        for (at, (name, text)) in shell::credentials().iter().enumerate() {
            let file = self.dir.join(format!("credential{at}"));
            fs::write(&file, shell::credential(name, text))?;
            all.push(format!("-smbios type=11,path={}", file.display()));
        }
        Ok(all.iter().flat_map(|words| words.split(' ').map(str::to_owned)).collect())
    }
}

/// A machine that runs. It loses its power when this is dropped.
#[derive(Debug)]
pub struct Guest {
    qemu: Child,
    port: u16,
    begun: Instant,
    serial: Serial,
    shell: Shell,
}

impl Guest {
    /// Where its API is reached from here.
    #[must_use]
    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// How long ago it was switched on, in seconds.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.begun.elapsed().as_secs()
    }

    /// Reads its serial line until `find` finds something in what it has said so far.
    ///
    /// # Errors
    /// When the machine goes off before, with the last that it said.
    pub async fn until_said<T>(&mut self, find: impl FnMut(&str) -> Option<T> + Send) -> anyhow::Result<T> {
        self.serial.until(find).await
    }

    /// Types a line at its serial line.
    ///
    /// # Errors
    /// When the machine is off.
    pub async fn type_line(&mut self, text: &str) -> anyhow::Result<()> {
        self.serial.type_line(text).await
    }

    /// Presses keys at its serial line.
    ///
    /// # Errors
    /// When the machine is off.
    pub async fn press(&mut self, keys: &str) -> anyhow::Result<()> {
        self.serial.press(keys).await
    }

    /// Runs a command as root and returns what it printed.
    ///
    /// # Errors
    /// When it fails, or the machine goes off.
    pub async fn run(&mut self, command: &str) -> anyhow::Result<String> {
        self.shell.run(command).await
    }

    /// Stops it for as long as it takes to look at its disks.
    ///
    /// # Errors
    /// When it is off, or the look fails.
    pub async fn held<T>(&mut self, look: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let pid = self.qemu.id().context("the machine is off")?.to_string();
        let signal = |which: &'static str| {
            let mut kill = Command::new("kill");
            kill.args([which, &pid]);
            done(kill, "kill")
        };
        signal("-STOP").await?;
        let seen = look();
        signal("-CONT").await?;
        seen
    }

    /// Waits until it is off, as after `poweroff`.
    ///
    /// # Errors
    /// When it can't be waited for.
    pub async fn until_off(mut self) -> anyhow::Result<()> {
        self.qemu.wait().await?;
        Ok(())
    }

    /// Takes its power away.
    ///
    /// # Errors
    /// When it can't be ended.
    pub async fn cut(mut self) -> anyhow::Result<()> {
        self.qemu.kill().await?;
        Ok(())
    }
}

/// Returns a port that is free, and stays so from one start to the next: it is none of those that are given to whoever calls somebody.
fn free_port() -> anyhow::Result<u16> {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (0..100).map(|_| fastrand::u16(20_000..32_000)).find(is_free).context("no port is free")
}

/// Runs a program to its end.
async fn done(mut command: Command, name: &str) -> anyhow::Result<()> {
    let output = command.output().await.with_context(|| format!("can't start {name}"))?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
