//! Keys into the TPM's keeping, and back.

use std::io::IsTerminal;

use bytes::Bytes;
use hyper::{Method, header};
use serde_json::{Value, json};

use crate::{
    cli::{ask, client::Client, failure::Failure, screen::Screen},
    secrets::{Identity, Recipient},
    trust::Pcrs,
};

/// How many of the last characters of a recovery key are typed, to show that it was kept.
const TYPED: usize = 6;

/// Seals the machine's keys to its TPM, with a recovery key for the day when that can't open them.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The registers that have to be as they are now for the keys to open. Without any, a stolen disk opens nothing elsewhere;
    /// with 7, nothing opens either once somebody changed Secure Boot, and nor does it after many an update of the firmware.
    #[arg(long, default_value = "none")]
    pcrs: Pcrs,
    /// Who can open the keys without the TPM, `age1…`, once for each. When left out, a recovery key is made and shown once, or
    /// those of before stay.
    #[arg(long)]
    recovery: Vec<Recipient>,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let now = client.get("/trust").await?;
    let mut recovery = args.recovery.clone();
    if recovery.is_empty() && now["recovery"].as_array().is_none_or(Vec::is_empty) {
        recovery.push(made(screen)?);
    }
    let recovery: Vec<String> = recovery.iter().map(ToString::to_string).collect();
    let body = json!({ "pcrs": args.pcrs, "recovery": recovery }).to_string();
    let json = [(header::CONTENT_TYPE, "application/json")];
    let answer = client.json(&client.send(Method::POST, "/trust/seal", &json, body).await?)?;
    told(&answer, screen)
}

pub(super) async fn undo(client: &Client, screen: &Screen) -> Result<(), Failure> {
    let answer = client.json(&client.send(Method::POST, "/trust/unseal", &[], Bytes::new()).await?)?;
    told(&answer, screen)
}

/// Makes a recovery key and shows it, once. On a terminal its end has to be typed before anything is done.
fn made(screen: &Screen) -> Result<Recipient, Failure> {
    let key = Identity::generate();
    let text = key.text();
    screen
        .note("the recovery key: it alone opens the machine's keys when its TPM can't; keep it away from this machine");
    screen.data(text.expose())?;
    screen.data(b"\n")?;
    let end = &text.expose()[text.expose().len().saturating_sub(TYPED)..];
    if std::io::stdin().is_terminal() {
        let typed = ask::line(&format!("its last {TYPED} characters, from where you kept it:"), "--recovery")?;
        if !typed.as_bytes().eq_ignore_ascii_case(end) {
            return Err(Failure::Usage("this is not its end; nothing was sealed".to_owned()));
        }
    }
    Ok(key.recipient())
}

fn told(answer: &Value, screen: &Screen) -> Result<(), Failure> {
    let text = |key: &str| answer[key].as_str().unwrap_or_default();
    screen.line(format!("{}: {}", text("level"), text("message")))
}
