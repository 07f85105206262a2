//! `piccolo net`: the links of the machine.

use hyper::Method;
use serde_json::Value;

use super::{
    client::Client,
    failure::Failure,
    output::{self, Format},
    reach,
    screen::Screen,
    table::Table,
};

/// Shows links, addresses, routes and name servers, and which manifest each is from.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo net\n  piccolo net confirm", args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lets a change of links stay that would be put back else.
    Confirm,
    /// Has a change that was put back be tried again.
    Retry,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    match args.command {
        None => show(args, client, screen).await,
        Some(Command::Confirm) => {
            reach::confirm_now(client, screen).await?;
            screen.line("the links stay as they are now")
        }
        Some(Command::Retry) => {
            post("/net/retry", client).await?;
            screen.line("what was put back is tried again")
        }
    }
}

async fn post(path: &str, client: &Client) -> Result<(), Failure> {
    let answer = client.send(Method::POST, path, &[], "").await?;
    client.json(&answer).map(drop)
}

async fn show(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let answer = client.get("/net").await?;
    if output::document(screen, args.output, &answer)? {
        return Ok(());
    }
    if let Some(problem) = answer["problem"].as_str() {
        screen.note(problem);
    }
    if let Some(until) = answer["trial"]["until"].as_str() {
        screen.note(format!("a change is put back at {until}; `piccolo net confirm` lets it stay"));
    }
    for check in items(&answer["trial"]["checks"]) {
        let works = if check["passes"] == true { "works" } else { "does not work" };
        screen.note(format!("{} {works}: {}", word(&check["name"]), word(&check["message"])));
    }
    let mut table = Table::new(["device", "link", "state", "addresses", "routes", "dns"]);
    for item in items(&answer) {
        let state = match (item["up"].as_bool(), item["carrier"].as_bool()) {
            (Some(true), Some(true)) => "up",
            (Some(true), _) => "no carrier",
            _ => "off",
        };
        let routes = items(&item["routes"]).iter().map(way).collect::<Vec<_>>().join(", ");
        table.row([
            word(&item["name"]),
            word(&item["declaredBy"]),
            state.to_owned(),
            words(&item["addresses"]),
            routes,
            words(&item["dns"]),
        ]);
    }
    table.lines(screen.width()).iter().try_for_each(|line| screen.line(line))
}

fn way(route: &Value) -> String {
    let via = route["via"].as_str().map(|via| format!(" via {via}")).unwrap_or_default();
    let metric = route["metric"].as_u64().filter(|it| *it > 0).map(|it| format!(" metric {it}")).unwrap_or_default();
    format!("{}{via}{metric}", route["to"].as_str().unwrap_or_default())
}

fn items(value: &Value) -> &[Value] {
    value.as_array().or_else(|| value["items"].as_array()).map_or(&[], Vec::as_slice)
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

fn words(value: &Value) -> String {
    let all: Vec<_> = items(value).iter().filter_map(Value::as_str).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(", ") }
}
