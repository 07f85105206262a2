//! `piccolo disk`: which disks there are, leave to erase one, the keys of those that are encrypted, and a new one in the place of
//! one that is lost.

mod keys;
mod replace;

use clap::Subcommand;
use hyper::{Method, header};
use serde_json::{Value, json};

use super::{ask, client::Client, failure::Failure, screen::Screen, table::Table};

/// Shows disks, gives leave to erase one, and opens encrypted ones.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  piccolo disk list\n  piccolo disk wipe-ticket WD-WCC7K1234567\n  piccolo disk recovery-key media\n  \
                  piccolo disk recovery-key --state --check\n  piccolo disk reseal --state\n  \
                  piccolo disk replace --state S4EVNX0N123456"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists all disks with what is on them.
    List,
    /// Makes a ticket by which a Disk manifest may erase this disk once, within the hour.
    #[command(name = "wipe-ticket")]
    WipeTicket {
        /// The disk: its serial number, its world wide name or a name in `/dev/disk/by-id`.
        disk: String,
        /// Its serial number once more, where nobody can be asked.
        #[arg(long)]
        serial: Option<String>,
    },
    /// Opens an encrypted disk that the machine does not open by itself, by its recovery key or a passphrase.
    Unlock {
        /// The name of its manifest.
        name: String,
    },
    /// Makes a recovery key of an encrypted disk and shows it once. The one before is worth nothing once this one was proved.
    #[command(name = "recovery-key")]
    RecoveryKey {
        #[command(flatten)]
        whose: keys::Whose,
        /// Makes none, and asks for the one that there is: that it still opens the disk.
        #[arg(long)]
        check: bool,
        /// Asks for a key that opens the disk, where nothing of the machine does.
        #[arg(long, conflicts_with = "check")]
        ask_key: bool,
    },
    /// Takes a new disk in the place of a lost one of two that the system lies on. Its half of the state is filled by itself.
    Replace(replace::Args),
    /// Binds the slots of the TPM to how the machine started this time, by the recovery key. First it says what changed since
    /// the last good start; what is not meant to have changed should be looked at.
    Reseal {
        #[command(flatten)]
        whose: keys::Whose,
        /// Asks only for the key.
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    match &args.command {
        Command::List => list(client, screen).await,
        Command::Unlock { name } => keys::unlock(name, client, screen).await,
        Command::RecoveryKey { whose, check: true, .. } => keys::check(whose, client, screen).await,
        Command::RecoveryKey { whose, ask_key, .. } => keys::recovery_key(whose, *ask_key, client, screen).await,
        Command::Replace(args) => replace::run(args, client, screen).await,
        Command::Reseal { whose, yes } => keys::reseal(whose, *yes, client, screen).await,
        Command::WipeTicket { disk, serial } => ticket(disk, serial.as_deref(), client, screen).await,
    }
}

async fn list(client: &Client, screen: &Screen) -> Result<(), Failure> {
    let list = client.get("/disks").await?;
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        screen.note("there is no disk");
        return Ok(());
    }
    let mut table = Table::new(["Device", "Size", "Serial", "Model", "By", "Holds", "UUID", "Table", "Used"]);
    for item in items {
        let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
        let used =
            item["usedAt"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        let keys = ["device", "sizeText", "serial", "model", "transport", "holds", "uuid", "table"];
        let mut row: Vec<String> = keys.iter().map(|key| text(key)).collect();
        row.push(used);
        let row: [String; 9] = row.try_into().unwrap_or_default();
        table.row(row);
    }
    table.lines(screen.width()).iter().try_for_each(|line| screen.line(line))
}

async fn ticket(disk: &str, serial: Option<&str>, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let serial = match serial {
        Some(serial) => serial.to_owned(),
        None => {
            let list = client.get("/disks").await?;
            let is_it = |item: &&Value| {
                let named = ["serial", "wwn", "device"].iter().any(|key| item[*key] == disk);
                named || item["ids"].as_array().is_some_and(|ids| ids.iter().any(|id| id == disk))
            };
            if let Some(item) = list["items"].as_array().into_iter().flatten().find(is_it) {
                let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
                screen.note(format!(
                    "{} holds {}, all of which can be erased with the ticket",
                    text("name"),
                    text("holds")
                ));
            }
            ask::line("to go on, type the serial number of the disk:", "--serial")?
        }
    };
    let headers = [(header::CONTENT_TYPE, "application/json")];
    let body = json!({ "disk": disk, "serial": serial }).to_string();
    let made = client.json(&client.send(Method::POST, "/disks/tickets", &headers, body).await?)?;
    let text = |key: &str| made[key].as_str().unwrap_or_default().to_owned();
    screen.line(text("ticket"))?;
    screen.note(format!(
        "write `wipe = \"{}\"` into the Disk manifest; it holds until {} for {} as it is, and for one time",
        text("ticket"),
        text("until"),
        text("name")
    ));
    Ok(())
}
