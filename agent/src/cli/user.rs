//! `piccolo user`: who may come in with a browser.

use bytes::Bytes;
use clap::{
    Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use hyper::{Method, header};
use piccolo_schema::Role;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{ask, client::Client, failure::Failure, output, screen::Screen, subject, table::Table};

/// Lets people in with a browser, and out again.
///
/// A password is asked for, or read as the one line of the standard input; it is never an argument, which others could see. It begins a session of a browser and opens nothing else: programs, git and kubectl use tokens.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo user add anna --role operator\n  \
                        pwgen 20 1 | piccolo user passwd anna\n  piccolo user list\n  piccolo user remove anna")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a user.
    Add {
        /// What it is called: small letters, digits, `.`, `_` and `-`.
        name: String,
        /// What it may do.
        #[arg(long, value_parser = PossibleValuesParser::new(Role::WORDS).try_map(|word| word.parse::<Role>()))]
        role: Role,
    },
    /// Lists users.
    List,
    /// Gives a user another password, and ends its sessions.
    Passwd {
        /// The user.
        name: String,
    },
    /// Gives a user another role, and ends its sessions.
    Role {
        /// The user.
        name: String,
        /// What it may do.
        #[arg(value_parser = PossibleValuesParser::new(Role::WORDS).try_map(|word| word.parse::<Role>()))]
        role: Role,
    },
    /// Removes a user, and ends its sessions.
    Remove {
        /// The user.
        name: String,
    },
}

/// What is sent of a user.
#[derive(Serialize)]
struct Wish<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    match &args.command {
        Command::Add { name, role } => {
            let password = password(name)?;
            let wish = Wish { name: Some(name), role: Some(*role), password: Some(&password) };
            send(Method::POST, "/users", &wish, client).await?;
            screen.line(format!("user {name} ({role}) made"))
        }
        Command::List => list(client, screen).await,
        Command::Passwd { name } => {
            let password = password(name)?;
            let wish = Wish { name: None, role: None, password: Some(&password) };
            send(Method::PATCH, &path(name), &wish, client).await?;
            screen.line(format!("user {name} has another password"))
        }
        Command::Role { name, role } => {
            let wish = Wish { name: None, role: Some(*role), password: None };
            send(Method::PATCH, &path(name), &wish, client).await?;
            screen.line(format!("user {name} has the role {role}"))
        }
        Command::Remove { name } => {
            client.send(Method::DELETE, &path(name), &[], Bytes::new()).await?;
            screen.line(format!("user {name} removed"))
        }
    }
}

async fn send(method: Method, path: &str, wish: &Wish<'_>, client: &Client) -> Result<(), Failure> {
    let garbled = |error: serde_json::Error| Failure::Usage(error.to_string());
    let body = Zeroizing::new(serde_json::to_vec(wish).map_err(garbled)?);
    let headers = [(header::CONTENT_TYPE, "application/json")];
    client.send(method, path, &headers, Bytes::copy_from_slice(&body)).await.map(drop)
}

fn password(name: &str) -> Result<Zeroizing<String>, Failure> {
    let typed = ask::secret(&format!("Password of {name}:"))?;
    let text = std::str::from_utf8(typed.expose());
    text.map(|it| Zeroizing::new(it.to_owned())).map_err(|_| Failure::Usage("a password is UTF-8".to_owned()))
}

fn path(name: &str) -> String {
    format!("/users/{}", subject::escape(name))
}

async fn list(client: &Client, screen: &Screen) -> Result<(), Failure> {
    let list = client.get("/users").await?;
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        screen.note("there is no user; `piccolo user add NAME --role ROLE` makes one");
        return Ok(());
    }
    let mut table = Table::new(["Name", "Role", "Age", "Password", "Sessions"]);
    for item in items {
        let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
        let password = output::age(&text("changed")) + " old";
        let sessions = item["sessions"].as_u64().unwrap_or_default().to_string();
        table.row([text("name"), text("role"), output::age(&text("created")), password, sessions]);
    }
    table.lines(screen.width()).iter().try_for_each(|line| screen.line(line))
}
