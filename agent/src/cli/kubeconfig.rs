//! `piccolo kubeconfig`: a file by which Kubernetes clients find this machine.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use data_encoding::BASE64;
use piccolo_schema::Role;
use serde_json::json;
use zeroize::Zeroizing;

use super::{client::Client, failure::Failure, host::Host, output, screen::Screen, token};

/// The name of the machine, of its user and of the two together.
const NAME: &str = "piccolo";

/// Writes a file by which kubectl and other Kubernetes clients find this machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo kubeconfig > piccolo.kubeconfig\n  \
                        piccolo kubeconfig --out ~/.kube/piccolo && kubectl --kubeconfig ~/.kube/piccolo get all")]
pub(super) struct Args {
    /// Where it is written to, for its owner alone; printed when left out. A file that is there is not written over.
    #[arg(long)]
    out: Option<PathBuf>,
    /// What the token in it may do, which is made for it when this is run on the machine itself.
    #[arg(long, default_value = "operator", value_parser = PossibleValuesParser::new(Role::WORDS).try_map(|word| word.parse::<Role>()))]
    role: Role,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let (server, token, authority) = match (client.place(), client.known()) {
        (Host::Tls(at), Some(known)) => (format!("https://{at}"), known.token.clone(), known.authority.clone()),
        _ => from_here(args, client).await?,
    };
    let authority = BASE64.encode(authority.as_bytes());
    let text = Zeroizing::new(output::yaml(&json!({
        "apiVersion": "v1", "kind": "Config", "current-context": NAME,
        "clusters": [{ "name": NAME, "cluster": { "server": server, "certificate-authority-data": authority } }],
        "contexts": [{ "name": NAME, "context": { "cluster": NAME, "user": NAME } }],
        "users": [{ "name": NAME, "user": { "token": token.as_str() } }],
    }))?);
    let Some(path) = &args.out else { return screen.data(text.as_bytes()) };
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| Failure::File { path: path.clone(), source })?;
    screen.line(format!("{} leads to {server}", path.display()))
}

/// Has this machine make a token for the file, and returns where the machine is reached and by what it is known.
async fn from_here(args: &Args, client: &Client) -> Result<(String, Zeroizing<String>, String), Failure> {
    let told = client.get("/pairing").await?;
    let Some(server) = told["urls"][0].as_str() else {
        return Err(Failure::NotFound("the daemon answers on its socket only; see `piccolo status`".to_owned()));
    };
    let made = token::make(&json!({ "label": "kubeconfig", "role": args.role }), client).await?;
    let token = Zeroizing::new(made["token"].as_str().unwrap_or_default().to_owned());
    Ok((server.to_owned(), token, told["authority"].as_str().unwrap_or_default().to_owned()))
}
