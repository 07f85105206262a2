//! A new disk in the place of a lost one of two that the system lies on.

use piccolo_schema::{disk::Selector, install::Mirror};
use serde_json::json;

use crate::cli::{
    client::Client,
    failure::Failure,
    install::{follow, leave},
    screen::Screen,
};

/// Which disk, in whose place.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// In the place of the lost one of two disks that the system itself lies on.
    #[arg(long, required = true)]
    state: bool,
    /// The new disk by its serial number.
    disk: String,
    /// Erases what is on it. The serial number has to be typed once more.
    #[arg(long)]
    erase: bool,
    /// The serial number once more, where nobody can be asked.
    #[arg(long, requires = "erase")]
    serial: Option<String>,
}

/// Takes the disk in, and shows how far it is.
pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let typed: Vec<String> = args.serial.iter().cloned().collect();
    let wipe = if args.erase { Some(leave("/disks", &typed, &args.disk, client, screen).await?) } else { None };
    let select = Selector { serial: Some(args.disk.clone()), ..Selector::default() };
    let help = "`piccolo disk list` shows the disks";
    follow("/disks/state/replace", &json!(Mirror { select, wipe }), help, client, screen).await
}
