//! Quotes: what a TPM signed of what the machine started.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use hyper::{Method, header};
use serde_json::json;

use crate::{
    cli::{client::Client, failure::Failure, screen::Screen},
    trust::{self, Pcrs, Quote},
};

/// The largest file that holds a quote.
const LARGEST: u64 = 64 << 10;

/// Has the machine's TPM sign what its registers hold.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The registers: 0 the firmware, 7 how Secure Boot is set up, and so on.
    #[arg(long, default_value = "0,7")]
    pcrs: Pcrs,
    /// The bytes that the quote answers, 8 to 32 in hexadecimal. Whoever verifies it makes them, fresh for each quote.
    #[arg(long, value_parser = nonce)]
    nonce: Nonce,
}

/// Checks a quote in a file, or asks the machine for one and checks that.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// The file with the quote, `-` for standard input; the machine is asked when left out.
    #[arg(requires = "nonce")]
    file: Option<PathBuf>,
    /// The registers that the machine is asked for.
    #[arg(long, default_value = "0,7", conflicts_with = "file")]
    pcrs: Pcrs,
    /// The bytes that the quote has to answer; made when left out.
    #[arg(long, value_parser = nonce, requires = "file")]
    nonce: Option<Nonce>,
    /// The name of the machine's key, as `piccolo trust status` showed it when it was trusted. Without it a quote proves that
    /// some TPM signed it, not which.
    #[arg(long)]
    signer: Option<String>,
}

/// Fresh bytes that a quote answers.
#[derive(Clone, Debug)]
struct Nonce(Vec<u8>);

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let quote = ask(client, &args.nonce.0, args.pcrs).await?;
    screen.line(format!("{:#}", json!(quote)))
}

pub(super) async fn check(args: &Check, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let (quote, nonce) = match (&args.file, &args.nonce) {
        (Some(file), Some(nonce)) => (read(file)?, nonce.0.clone()),
        _ => {
            let mut nonce = vec![0; trust::LARGEST_NONCE];
            let failed = |error| Failure::Usage(format!("the kernel gives no random bytes ({error})"));
            getrandom::fill(&mut nonce).map_err(failed)?;
            (ask(client, &nonce, args.pcrs).await?, nonce)
        }
    };
    let proof = trust::verify(&quote, &nonce, args.signer.as_deref());
    let proof = proof.map_err(|doubt| Failure::Unproved(doubt.to_string()))?;
    screen.line(format!("signed by {}", proof.signer))?;
    for (number, value) in &proof.registers {
        screen.line(format!("  pcr {number:<2}  {value}"))?;
    }
    screen.line(format!("starts {}, wakes {}", proof.starts, proof.wakes))?;
    if args.signer.is_none() {
        screen.note("some TPM signed this; say with --signer which one it has to be");
    }
    Ok(())
}

async fn ask(client: &Client, nonce: &[u8], pcrs: Pcrs) -> Result<Quote, Failure> {
    let body = json!({ "nonce": HEXLOWER.encode(nonce), "pcrs": pcrs }).to_string();
    let json = [(header::CONTENT_TYPE, "application/json")];
    let answer = client.json(&client.send(Method::POST, "/trust/quote", &json, body).await?)?;
    let garbled = |error: serde_json::Error| Failure::Garbled { host: client.host(), cause: error.to_string() };
    serde_json::from_value(answer).map_err(garbled)
}

fn read(path: &Path) -> Result<Quote, Failure> {
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().lock().take(LARGEST).read_to_string(&mut text),
        _ => File::open(path).and_then(|file| file.take(LARGEST).read_to_string(&mut text)),
    };
    read.map_err(|source| Failure::File { path: path.to_owned(), source })?;
    let unproved = |error| Failure::Unproved(format!("this is no quote of a TPM ({error})"));
    serde_json::from_str(&text).map_err(unproved)
}

fn nonce(text: &str) -> Result<Nonce, String> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
    let bytes = bytes.filter(|it| (8..=trust::LARGEST_NONCE).contains(&it.len()));
    bytes.map(Nonce).ok_or_else(|| "write 8 to 32 bytes in hexadecimal".to_owned())
}
