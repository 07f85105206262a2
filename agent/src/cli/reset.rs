//! `piccolo reset`: an installed machine becomes as new.

use hyper::{Method, header};
use serde_json::{Value, json};
use std::time::Duration;

use super::{
    ask,
    client::Client,
    failure::Failure,
    output::{self, Format},
    screen::{Screen, Tone},
    table::Table,
};

/// How long the machine may take to look at its disks.
const PATIENCE: Duration = Duration::from_secs(180);
const JSON: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];

/// Makes an installed machine as new at its next start; shows how that stands when nothing is said of disks for data.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  piccolo reset\n  piccolo reset --keep-data\n  piccolo reset --erase-data WD-WCC7K1234567 --restart\n  piccolo reset --cancel"
)]
pub(super) struct Args {
    /// Leaves all disks for data as they are.
    #[arg(long, group = "data", conflicts_with_all = ["erase_data", "cancel"])]
    keep_data: bool,
    /// Erases a disk for data as well, by its serial number; once for each. All others are left as they are.
    #[arg(long, value_name = "DISK", group = "data", conflicts_with = "cancel")]
    erase_data: Vec<String>,
    /// The name of the machine, where nobody can be asked.
    #[arg(long, requires = "data")]
    name: Option<String>,
    /// The serial number of each such disk once more, in their order, where nobody can be asked.
    #[arg(long, requires = "erase_data")]
    serial: Vec<String>,
    /// Starts the machine anew at once. Else the reset comes with its next start.
    #[arg(long, requires = "data")]
    restart: bool,
    /// Takes the order back, until the machine starts anew.
    #[arg(long, conflicts_with = "restart")]
    cancel: bool,
    /// The form of what is shown.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let client = &client.patient(PATIENCE);
    if args.cancel {
        let answer: Value = client.json(&client.send(Method::DELETE, "/reset", &[], "").await?)?;
        let was_ordered = answer["cancelled"] == true;
        return screen.line(if was_ordered { "the next start is an ordinary one" } else { "no reset was ordered" });
    }
    let stands = client.get("/reset").await?;
    if !args.keep_data && args.erase_data.is_empty() {
        return show(args, &stands, screen);
    }
    let leave = leave(args, &stands, client, screen).await?;
    let order = json!({ "ticket": leave["ticket"], "restart": args.restart }).to_string();
    let answer: Value = client.json(&client.send(Method::POST, "/reset", &JSON, order).await?)?;
    drop(answer);
    screen.line(match args.restart {
        true => "it starts anew, and is nobody's then; its screens tell how far it is, and the new recovery key",
        false => "its next start makes it as new; `piccolo reset --cancel` takes that back",
    })
}

fn show(args: &Args, stands: &Value, screen: &Screen) -> Result<(), Failure> {
    if output::document(screen, args.output, stands)? {
        return Ok(());
    }
    match stands["text"].as_str() {
        Some(text) => {
            screen.line(screen.paint(Tone::Danger, &format!("! {text}")))?;
            screen.line("  if it is not meant: piccolo reset --cancel")?;
        }
        None => screen.line("no reset is ordered; say `--keep-data`, or `--erase-data DISK` for disks of these")?,
    }
    let mut table = Table::new(["Serial", "Disk", "Holds"]);
    let disks = items(&stands["disks"]);
    disks.iter().for_each(|it| table.row([word(it, "serial"), word(it, "name"), word(it, "holds")]));
    if disks.is_empty() {
        return screen.line("there is no disk for data");
    }
    table.lines(screen.width()).iter().try_for_each(|line| screen.line(line))
}

/// Asks for leave, and returns it.
async fn leave(args: &Args, stands: &Value, client: &Client, screen: &Screen) -> Result<Value, Failure> {
    let machine = word(stands, "machine");
    let mut serials = args.serial.iter();
    let mut erase = Vec::new();
    screen.note(format!(
        "all that {machine} knows is erased: manifests, secrets, who may come in, and what containers keep on it"
    ));
    for disk in &args.erase_data {
        let serial = match serials.next() {
            Some(serial) => serial.clone(),
            None => {
                let found = items(&stands["disks"]).iter().find(|it| it["serial"] == disk.as_str());
                if let Some(it) = found {
                    screen.note(format!("{} holds {}, all of which is erased", word(it, "name"), word(it, "holds")));
                }
                ask::line(&format!("to erase {disk}, type its serial number:"), "--serial")?
            }
        };
        erase.push(json!({ "disk": disk, "serial": serial }));
    }
    let name = match &args.name {
        Some(name) => name.clone(),
        None => ask::line("to go on, type the name of the machine:", "--name")?,
    };
    let data = if args.keep_data { json!("keep") } else { json!({ "erase": erase }) };
    let body = json!({ "machine": name, "data": data }).to_string();
    client.json(&client.send(Method::POST, "/reset/tickets", &JSON, body).await?)
}

/// Prints the reset that is ordered, if one is.
pub(super) fn pending(document: &Value, screen: &Screen) -> Result<(), Failure> {
    let Some(text) = document["reset"]["text"].as_str() else { return Ok(()) };
    screen.line(screen.paint(Tone::Danger, &format!("! {text} (ResetPending)")))?;
    screen.line("  if it is not meant: piccolo reset --cancel")
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn word(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
