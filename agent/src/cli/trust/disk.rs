//! Key slots of encrypted disks: for the TPM, and for the day when that does not open them.

use std::{
    fs::{self, File},
    io::IsTerminal,
    path::{self, Path, PathBuf},
};

use hyper::{Method, header};
use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    cli::{ask, client::Client, failure::Failure, screen::Screen},
    secrets::{Plain, RecoveryKey},
    trust::{DiskKey, DiskRecovery, DiskWish, Pcrs},
};

/// How large a file with a key may be.
const LARGEST: usize = 4096;

/// Lets the TPM open an encrypted disk, with systemd-cryptsetup when the machine starts.
#[derive(Debug, clap::Args)]
pub(super) struct Enrol {
    #[command(flatten)]
    at: Disk,
    /// The registers that have to be as they are now for the TPM to open it.
    #[arg(long, default_value = "7")]
    pcrs: Pcrs,
    /// Asks for a PIN, which has to be typed as well when the machine starts.
    #[arg(long)]
    pin: bool,
    /// The file with a public key (PEM): the TPM opens the disk only for a kernel's image that was signed with the other half,
    /// as `systemd-measure sign` does it, and every one that was.
    #[arg(long)]
    signed_by: Option<PathBuf>,
    /// The registers that are signed.
    #[arg(long, default_value = "11", requires = "signed_by")]
    signed_pcrs: Pcrs,
    /// Seals in the way that systemd before 254 unlocks by, as that of Debian 12 is.
    #[arg(long)]
    old_systemd: bool,
}

/// Makes a recovery key of an encrypted disk, and shows it once.
#[derive(Debug, clap::Args)]
pub(super) struct Recovery {
    #[command(flatten)]
    at: Disk,
}

#[derive(Debug, clap::Args)]
struct Disk {
    /// The disk, as in /dev/disk/by-id.
    disk: PathBuf,
    /// The file with a key that opens it already, asked for when left out.
    #[arg(long)]
    key_file: Option<PathBuf>,
}

pub(super) async fn enrol(args: &Enrol, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let DiskKey { disk, key } = args.at.read()?;
    let pin = args.pin.then(|| typed_twice("The new PIN: ")).transpose()?;
    let signed_by = args.signed_by.as_deref().map(from_file).transpose()?.map(|it| it.to_string());
    let (pcrs, signed_pcrs, old_systemd) = (args.pcrs, Some(args.signed_pcrs), args.old_systemd);
    let wish = DiskWish { disk, key, pcrs, pin, signed_by, signed_pcrs, old_systemd };
    let answer = send(client, "enrol", &wish).await?;
    screen.line(format!("the TPM opens slot {} of {}", answer["slot"], args.at.disk.display()))
}

pub(super) async fn recovery(args: &Recovery, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let at = args.at.read()?;
    let answer = send(client, "recovery", &at).await?;
    let garbled = |cause: String| Failure::Garbled { host: client.host(), cause };
    let made: DiskRecovery = serde_json::from_value(answer).map_err(|error| garbled(error.to_string()))?;
    let key = RecoveryKey::parse(&made.recovery_key).ok_or_else(|| garbled("this is no recovery key".to_owned()))?;
    screen.note("the recovery key: it opens the disk when its TPM does not; keep it away from this machine");
    screen.data(key.text().expose())?;
    screen.data(b"\n")?;
    if std::io::stdin().is_terminal() {
        let group = usize::from(made.slot) % RecoveryKey::groups();
        let question = format!("its group number {}, from where you kept it:", group + 1);
        let typed = ask::line(&question, "--key-file")?;
        if !key.has(group, &typed) {
            let forgotten = json!({ "disk": at.disk, "key": &*at.key, "slot": made.slot });
            send(client, "forget", &forgotten).await?;
            return Err(Failure::Usage("this is not that group; the key was taken back, make another one".to_owned()));
        }
    }
    screen.line(format!("it opens slot {} of {}", made.slot, args.at.disk.display()))
}

impl Disk {
    fn read(&self) -> Result<DiskKey, Failure> {
        let key = match &self.key_file {
            Some(path) => from_file(path)?,
            None => typed("A key that opens the disk: ")?,
        };
        Ok(DiskKey { disk: whole(&self.disk)?, key })
    }
}

/// Returns the path as the daemon finds it too, which runs in another directory and may not see to where names of disks lead.
pub(super) fn whole(disk: &Path) -> Result<PathBuf, Failure> {
    let source = |source| Failure::File { path: disk.to_owned(), source };
    fs::canonicalize(disk).or_else(|_| path::absolute(disk)).map_err(source)
}

pub(super) async fn send(client: &Client, act: &str, body: &impl Serialize) -> Result<Value, Failure> {
    let body = Zeroizing::new(json!(body).to_string());
    let json = [(header::CONTENT_TYPE, "application/json")];
    let answer = client.send(Method::POST, &format!("/trust/disks/{act}"), &json, body.as_bytes().to_vec()).await?;
    client.json(&answer)
}

pub(super) fn from_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let unreadable = |source| Failure::File { path: path.to_owned(), source };
    let key = File::open(path).and_then(|file| Plain::read(file, LARGEST)).map_err(unreadable)?;
    let text = std::str::from_utf8(key.expose()).map_err(|_| Failure::Usage("a key is text here".to_owned()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Asks for something that nobody can check, twice.
pub(super) fn typed_twice(words: &str) -> Result<Zeroizing<String>, Failure> {
    let once = typed(words)?;
    if once != typed("Once more: ")? {
        return Err(Failure::Usage("the two differ; nothing was changed".to_owned()));
    }
    Ok(once)
}

pub(super) fn typed(words: &str) -> Result<Zeroizing<String>, Failure> {
    let no_terminal = |source| Failure::File { path: PathBuf::from("/dev/tty"), source };
    rpassword::prompt_password(words).map(Zeroizing::new).map_err(no_terminal)
}
