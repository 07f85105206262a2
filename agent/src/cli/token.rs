//! `piccolo token`: who may come in over networks.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use clap::{
    Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use hyper::{Method, header};
use piccolo_schema::Role;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{client::Client, failure::Failure, output, screen::Screen, subject, table::Table};
use crate::access::{PublicKey, Seed, Token};

/// Lets others in over networks, and out again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo token create backup --role reader --out token\n  \
                        piccolo token create prometheus --role reader --metrics-only --never-expires --out token\n  \
                        piccolo token list\n  piccolo token revoke 4fj2k7qa")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a token. It is told this once.
    Create(Create),
    /// Makes a token for a machine that is not there yet, and prints the seed by which it will know the token; or, with `--key`, the seed by which it will know who claims it.
    ///
    /// The seed holds nothing secret, but whoever can change it owns the machine: it is root's alone, at `/run/piccolo/seed.toml` or as the credential `piccolo.seed` of systemd.
    Seed(SeedArgs),
    /// Lists tokens, without what is secret of them.
    List,
    /// Takes a token back. What goes on in its name ends at once.
    Revoke {
        /// The token, as the list names it.
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// What it is called, in lists and as the author of changes.
    label: String,
    /// What it may do.
    #[arg(long, value_parser = PossibleValuesParser::new(Role::WORDS).try_map(|word| word.parse::<Role>()))]
    role: Role,
    /// How many days it holds.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "never_expires")]
    days: u32,
    /// Lets it hold until it is revoked.
    #[arg(long)]
    never_expires: bool,
    /// Narrows it to reading `/metrics`.
    #[arg(long)]
    metrics_only: bool,
    /// The file that it is written to, for its owner alone; printed when left out. A file that is there is not written
    /// over.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo token seed anna --out token > seed.toml\n  \
                  piccolo token seed --key ~/.ssh/id_ed25519.pub > seed.toml")]
struct SeedArgs {
    /// What the token is called.
    #[arg(required_unless_present = "key", conflicts_with = "key")]
    label: Option<String>,
    /// A further name by which the machine will be reached, once for each.
    #[arg(long)]
    name: Vec<String>,
    /// The file that the token is written to, for its owner alone. A file that is there is not written over.
    #[arg(long, required_unless_present = "key", conflicts_with = "key")]
    out: Option<PathBuf>,
    /// The file of a public SSH key, in place of a token: its owner claims the machine with `piccolo claim HOST --key`.
    #[arg(long)]
    key: Option<PathBuf>,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    match &args.command {
        Command::Create(args) => create(args, client, screen).await,
        Command::Seed(args) => seed(args, screen),
        Command::List => list(client, screen).await,
        Command::Revoke { id } => {
            let id = Token::id_in(id);
            let path = format!("/tokens/{}", subject::escape(id));
            let answer = client.send(Method::DELETE, &path, &[], Bytes::new()).await?;
            let gone = client.json(&answer)?;
            screen.line(format!("token {id} ({}) revoked", gone["revoked"]["label"].as_str().unwrap_or_default()))
        }
    }
}

async fn create(args: &Create, client: &Client, screen: &Screen) -> Result<(), Failure> {
    // The file first: a token that could not be written would be nobody's.
    let file = args.out.as_ref().map(|path| new(path).map(|file| (path, file))).transpose()?;
    let scope = if args.metrics_only { "metrics" } else { "all" };
    let days = (!args.never_expires).then_some(args.days);
    let made = make(&json!({ "label": args.label, "role": args.role, "scope": scope, "days": days }), client).await?;
    let token = Zeroizing::new(format!("{}\n", made["token"].as_str().unwrap_or_default()));
    match file {
        Some((path, mut file)) => {
            file.write_all(token.as_bytes()).map_err(|source| Failure::File { path: path.clone(), source })?;
        }
        None => screen.data(token.as_bytes())?,
    }
    let until = made["expires"].as_str().map_or_else(|| "for ever".to_owned(), |it| format!("until {it}"));
    screen.note(format!("token {} ({}, {}) holds {until}", text(&made, "id"), args.label, args.role));
    Ok(())
}

/// Makes a token here, and tells a machine to come what it has to know of it.
fn seed(args: &SeedArgs, screen: &Screen) -> Result<(), Failure> {
    if let Some(path) = &args.key {
        return seed_of_key(path, &args.name, screen);
    }
    let (Some(label), Some(out)) = (&args.label, &args.out) else {
        return Err(Failure::Usage("say what the token is called, and by --out where it goes".to_owned()));
    };
    let unusable = |source| Failure::File { path: out.clone(), source };
    let mut file = new(out)?;
    let token = Token::generate().map_err(unusable)?;
    file.write_all(Zeroizing::new(format!("{}\n", *token.text())).as_bytes()).map_err(unusable)?;
    screen.data(Seed::text(&token, label, &args.name).as_bytes())?;
    screen.note(format!("token {} ({label}, admin) holds until it is revoked", token.id()));
    Ok(())
}

fn seed_of_key(path: &Path, names: &[String], screen: &Screen) -> Result<(), Failure> {
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|source| Failure::File { path: path.to_owned(), source })?;
    let key = PublicKey::parse(&text).map_err(|why| Failure::Usage(format!("{}: {why}", path.display())))?;
    screen.data(Seed::of_key(&key, names).as_bytes())?;
    screen
        .note(format!("whoever owns the key {} claims the machine: piccolo claim HOST --key FILE", key.fingerprint()));
    Ok(())
}

/// Makes a file for its owner alone.
fn new(path: &Path) -> Result<fs::File, Failure> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|source| Failure::File { path: path.to_owned(), source })
}

/// Has the machine make a token.
pub(super) async fn make(wish: &Value, client: &Client) -> Result<Value, Failure> {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    client.json(&client.send(Method::POST, "/tokens", &headers, wish.to_string()).await?)
}

async fn list(client: &Client, screen: &Screen) -> Result<(), Failure> {
    let list = client.get("/tokens").await?;
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        screen.note("there is no token; `piccolo token create LABEL --role ROLE` makes one");
        return Ok(());
    }
    let mut table = Table::new(["Id", "Label", "Role", "Age", "Used", "Expires"]);
    for item in items {
        let role = if item["scope"] == "metrics" { "metrics".to_owned() } else { text(item, "role") };
        let used = item["lastUsed"].as_str().map_or_else(|| "never".to_owned(), |it| output::age(it) + " ago");
        let day = |it: &str| it.split('T').next().unwrap_or_default().to_owned();
        let expires = item["expires"].as_str().map_or_else(|| "never".to_owned(), day);
        let age = output::age(&text(item, "created"));
        table.row([text(item, "id"), text(item, "label"), role, age, used, expires]);
    }
    table.lines(screen.width()).iter().try_for_each(|line| screen.line(line))
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
