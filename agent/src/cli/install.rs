//! `piccolo install`: the system of a stick comes onto a disk.

use std::{io::Read, path::PathBuf, time::Duration};

use hyper::{Method, header};
use piccolo_schema::{Progress, disk::Selector, install::Mirror};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    ask,
    client::Client,
    failure::Failure,
    output::{self, Format},
    progress::bar,
    screen::Screen,
    table::Table,
    top::size,
};
use crate::install::{Order, Told};

/// How long the machine may take to look at its disks before it begins.
const PATIENCE: Duration = Duration::from_secs(180);
/// The largest seed that is read.
const LARGEST: u64 = 16 << 10;

/// Installs the system of a stick on a disk or on two, on the live system alone; lists the disks when none is named.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  piccolo install\n  piccolo install S4EVNX0N123456\n  piccolo install S4EVNX0N123456 S4EVNX0N123457\n  piccolo install WD-WCC7K1234567 --erase"
)]
pub(super) struct Args {
    /// The disk by its serial number.
    #[arg(conflicts_with = "seed")]
    disk: Option<String>,
    /// A second disk by its serial number, that holds all of it as well: the machine starts with either alone.
    #[arg(requires = "disk")]
    second: Option<String>,
    /// A file that says which disk, in the words of the selector of a Disk: `serial = "…"`, `transport = "nvme"`. A second one
    /// by `mirror = { serial = "…" }`.
    #[arg(long)]
    seed: Option<PathBuf>,
    /// Erases what is on the disk, or on both. Each serial number has to be typed once more.
    #[arg(long, requires = "disk")]
    erase: bool,
    /// The serial number once more, where nobody can be asked. Said once for each disk.
    #[arg(long, requires = "disk")]
    serial: Vec<String>,
    /// The form of the list.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let order = match (&args.disk, &args.seed) {
        (None, None) => return list(args, client, screen).await,
        (None, Some(path)) => seed(path)?,
        (Some(serial), _) => {
            let (select, wipe) = meant(args, serial, client, screen).await?;
            let mut order = Order { select, wipe, ..Order::default() };
            if let Some(second) = &args.second {
                let (select, wipe) = meant(args, second, client, screen).await?;
                order.mirror = Some(Mirror { select, wipe });
            }
            order
        }
    };
    follow("/install", &json!(order), "`piccolo install` lists the disks", client, screen).await
}

/// Asks for something that takes its time, and shows how far it is.
pub(super) async fn follow(
    path: &str,
    asked: &Value,
    help: &str,
    client: &Client,
    screen: &Screen,
) -> Result<(), Failure> {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    let mut told = client.patient(PATIENCE).flow(Method::POST, path, &headers, asked.to_string()).await?;
    let mut step = 0;
    while let Some(document) = told.document().await? {
        let told = Told::deserialize(&document).map_err(|error| client.garbled(&error))?;
        if told.at.step != step || told.is_last() || told.recovery_key.is_some() {
            screen.redraw("");
        }
        if let Some(why) = told.refused {
            let problem = json!({ "status": 409, "detail": why, "help": help });
            return Err(Failure::Refused(problem));
        }
        if told.complete {
            screen.note(told.at.text);
            return Ok(());
        }
        if told.at.step != step {
            step = told.at.step;
            screen.note(format!("{} of {}  {}", told.at.step, told.at.steps, told.at.text));
        }
        match &told.recovery_key {
            Some(key) => {
                screen.note(
                    "the recovery key: it opens the disk when its TPM does not; shown this once, so write it down",
                );
                screen.data(Zeroizing::new(format!("{}\n", key.as_str())).as_bytes())?;
            }
            None => screen.redraw(&words(&told)),
        }
    }
    Err(client.garbled(&"it broke off; the machine's own screen says how far it is"))
}

/// Returns how a disk is chosen by its serial number, and the ticket for it where it is to be erased.
async fn meant(
    args: &Args,
    serial: &str,
    client: &Client,
    screen: &Screen,
) -> Result<(Selector, Option<String>), Failure> {
    let wipe = if args.erase { Some(leave("/install", &args.serial, serial, client, screen).await?) } else { None };
    Ok((Selector { serial: Some(serial.to_owned()), ..Selector::default() }, wipe))
}

async fn list(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let answer = client.patient(PATIENCE).get("/install").await?;
    if output::document(screen, args.output, &answer)? {
        return Ok(());
    }
    let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        screen.note("there is no disk");
        return Ok(());
    }
    let mut table = Table::new(["Serial", "Disk", "Holds", "Install"]);
    for item in items {
        let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
        let ready = if item["ready"] == true { format!("yes, {}", text("why")) } else { "not as it is".to_owned() };
        table.row([text("serial"), text("name"), text("holds"), ready]);
    }
    table.lines(screen.width()).iter().try_for_each(|line| screen.line(line))
}

/// Asks for leave to erase a disk, one of those that a list shows, and returns the ticket.
pub(super) async fn leave(
    list: &str,
    typed: &[String],
    disk: &str,
    client: &Client,
    screen: &Screen,
) -> Result<String, Failure> {
    let client = client.patient(PATIENCE);
    // One that was typed for the other disk is refused by whoever makes the ticket.
    let serial = match typed.iter().find(|it| *it == disk).or(typed.first()) {
        Some(serial) => serial.clone(),
        None => {
            let answer = client.get(list).await?;
            if let Some(item) = answer["items"].as_array().into_iter().flatten().find(|item| item["serial"] == disk) {
                let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
                screen.note(format!("{} holds {}, all of which is erased", text("name"), text("holds")));
            }
            ask::line("to go on, type the serial number of the disk:", "--serial")?
        }
    };
    let headers = [(header::CONTENT_TYPE, "application/json")];
    let body = json!({ "disk": disk, "serial": serial }).to_string();
    let made: Value = client.json(&client.send(Method::POST, "/install/tickets", &headers, body).await?)?;
    Ok(made["ticket"].as_str().unwrap_or_default().to_owned())
}

/// Reads which disk a seed means, and which second one if it names any.
fn seed(path: &std::path::Path) -> Result<Order, Failure> {
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LARGEST).read_to_string(&mut text));
    read.map_err(|source| Failure::File { path: path.to_owned(), source })?;
    let wrong = |error: toml::de::Error| Failure::Usage(format!("{}: {error}", path.display()));
    let mut table: toml::Table = toml::from_str(&text).map_err(wrong)?;
    let second = table.remove("mirror").map(|it| Selector::deserialize(it).map_err(wrong)).transpose()?;
    let select = Selector::deserialize(table).map_err(wrong)?;
    let mirror = second.map(|select| Mirror { select, wipe: None });
    Ok(Order { select, mirror, ..Order::default() })
}

/// Says how far a step is: `[########            ] 40 %, 80M of 200M, 12M a second`.
fn words(told: &Told) -> String {
    let (Some(done), Some(total)) = (told.at.done, told.at.total.filter(|total| *total > 0)) else {
        return String::new();
    };
    let percent = u8::try_from(done.saturating_mul(100) / total).unwrap_or(100);
    let drawn = bar(&Progress { percent, ..Progress::default() });
    let rate = told.at.rate.map(|rate| format!(", {} a second", size(rate))).unwrap_or_default();
    format!("{drawn} {percent} %, {} of {}{rate}", size(done), size(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_how_far_a_step_is() {
        let at = crate::install::UnderWay {
            done: Some(80 << 20),
            total: Some(200 << 20),
            rate: Some(12 << 20),
            ..Default::default()
        };
        let told = Told { at, ..Told::default() };
        assert_eq!(words(&told), "[########            ] 40 %, 80M of 200M, 12M a second");
        assert_eq!(words(&Told::default()), "");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test writes files as it likes")]
    fn a_seed_is_a_selector() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("install.toml");
        std::fs::write(&path, "serial = \"S4EVNX0N123456\"\nminSize = \"100G\"\n").unwrap();
        let order = seed(&path).unwrap();
        assert_eq!((order.select.serial.as_deref(), order.mirror), (Some("S4EVNX0N123456"), None));
        std::fs::write(&path, "serial = \"A\"\nmirror = { serial = \"B\" }\n").unwrap();
        let second = seed(&path).unwrap().mirror.unwrap();
        assert_eq!((second.select.serial.as_deref(), second.wipe), (Some("B"), None));
        std::fs::write(&path, "serial = \"A\"\nmirror = { disk = \"B\" }\n").unwrap();
        assert!(seed(&path).unwrap_err().to_string().contains("unknown field `disk`"));
        std::fs::write(&path, "disk = \"/dev/sda\"\n").unwrap();
        assert!(seed(&path).unwrap_err().to_string().contains("unknown field `disk`"));
    }
}
