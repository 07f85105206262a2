//! `piccolo claim`: making a machine one's own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use hyper::{Method, header};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    ask,
    client::Client,
    contexts::{Context, Contexts},
    failure::Failure,
    host::Host,
    screen::Screen,
    sign,
};
use crate::access::{PURPOSE, Print, vow};

/// The longest challenge that is signed.
const LONGEST: usize = 256;

/// Makes a machine yours that is nobody's.
///
/// The machine shows a fingerprint and a code on its own screen. The fingerprint is compared before the code is sent, so that nobody between you and the machine learns it. The first token, an admin's, is kept in your settings.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo claim attic.local\n  \
                        piccolo claim 192.168.1.5 --fingerprint ABCD-EFGH-IJKL --code QRST-UVWX\n  \
                        piccolo claim 192.168.1.5 --key ~/.ssh/id_ed25519\n  \
                        piccolo claim --show        on the machine itself, as root\n  \
                        piccolo claim --reset       on the machine itself, as root")]
pub(super) struct Args {
    /// The machine: a name or an address, with a port unless that is 8080.
    #[arg(required_unless_present_any = ["show", "reset"])]
    machine: Option<String>,
    /// The code that the machine shows. You are asked for it when left out.
    #[arg(long)]
    code: Option<String>,
    /// The SSH key that the machine's seed names, in place of a code: the file of the private key, or of the public one if an agent has the other. It signs for this machine alone, and nothing secret is sent.
    #[arg(long, conflicts_with = "code")]
    key: Option<PathBuf>,
    /// The fingerprint that the machine shows. You are asked to compare it when left out; with `--key` whoever answers is taken for the machine then.
    #[arg(long)]
    fingerprint: Option<String>,
    /// What to call the machine; its own name when left out.
    #[arg(long)]
    name: Option<String>,
    /// What the machine shall call your token; your name and your computer's when left out.
    #[arg(long)]
    label: Option<String>,
    /// Shows address, fingerprint and code of this machine.
    #[arg(long, conflicts_with_all = ["machine", "reset"])]
    show: bool,
    /// Takes back every token of this machine, so that it can be claimed anew. Its data and manifests stay.
    #[arg(long, conflicts_with = "machine")]
    reset: bool,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    if args.reset {
        client.send(Method::DELETE, "/pairing", &[], Bytes::new()).await?;
        screen.note("every token is taken back");
    }
    let Some(machine) = &args.machine else { return show(client, screen).await };
    let host = Host::machine(machine).map_err(Failure::Usage)?;
    let (authority, print) = Client::new(host.clone(), None).look().await?;
    let is_it = match &args.fingerprint {
        Some(fingerprint) => print.is(fingerprint),
        None if args.key.is_some() => {
            screen.note(format!("{host} shows the fingerprint {print}, which nobody compared"));
            true
        }
        None => {
            screen.note(format!("{host} shows the fingerprint\n\n  {print}\n"));
            ask::is_so("Does its own screen show the same?", "--fingerprint")?
        }
    };
    if !is_it {
        let why = format!("its fingerprint is {print}");
        return Err(Failure::Untrusted { host: host.to_string(), why });
    }
    let label = args.label.clone().unwrap_or_else(label);
    let known = Context { host: host.place(), token: Zeroizing::default(), authority };
    let client = Client::new(host.clone(), Some(known.clone()));
    let (path, body) = match &args.key {
        Some(key) => ("/claim/key", signed(key, &client, &print, &label).await?),
        None => ("/claim", coded(args, &label)?),
    };
    let called = match &args.name {
        Some(name) => name.clone(),
        None => client.get("/claim").await?["name"].as_str().unwrap_or("piccolo").to_owned(),
    };
    // What can fail is done before: the first token is given once.
    let mut contexts = Contexts::read()?;
    let headers = [(header::CONTENT_TYPE, "application/json")];
    let answer = client.send(Method::POST, path, &headers, Bytes::copy_from_slice(body.as_bytes())).await?;
    let answer = client.json(&answer)?;
    let token = Zeroizing::new(answer["token"].as_str().unwrap_or_default().to_owned());
    let name = contexts.add(&called, Context { token: token.clone(), ..known });
    if let Err(failure) = contexts.write() {
        screen.note("the machine is yours, but this could not be written down; keep its token, it is shown only now");
        screen.line(&*token)?;
        return Err(failure);
    }
    screen.note(format!("{host} is yours, and is meant from now on; it is called `{name}` (piccolo context list)"));
    until(&answer, screen);
    Ok(())
}

/// Returns what is sent by whoever has read the code.
fn coded(args: &Args, label: &str) -> Result<Zeroizing<String>, Failure> {
    let code = match &args.code {
        Some(code) => Zeroizing::new(code.clone()),
        None => Zeroizing::new(ask::line("The code on its screen:", "--code")?),
    };
    Ok(Zeroizing::new(json!({ "code": &*code, "label": label }).to_string()))
}

/// Returns what is sent by the owner of a key. What is signed names the authority that answers here, so that it is good for
/// no other machine.
async fn signed(key: &Path, client: &Client, print: &Print, label: &str) -> Result<Zeroizing<String>, Failure> {
    let told = client.get("/claim/key").await?;
    let is_plain = |it: &&str| it.len() <= LONGEST && it.bytes().all(|it| it.is_ascii_hexdigit());
    let challenge = told["challenge"].as_str().filter(is_plain).ok_or_else(|| client.garbled(&"it is no challenge"))?;
    let signature = sign::sign(key, PURPOSE, vow(challenge, print, label)).await?;
    Ok(Zeroizing::new(json!({ "challenge": challenge, "label": label, "signature": signature }).to_string()))
}

/// Says until when a token holds.
fn until(answer: &Value, screen: &Screen) {
    if let Some(expires) = answer["expires"].as_str() {
        screen.note(format!("your token `{}` holds until {expires}", answer["label"].as_str().unwrap_or_default()));
    }
}

async fn show(client: &Client, screen: &Screen) -> Result<(), Failure> {
    let told = client.get("/pairing").await?;
    let text = |key: &str| told[key].as_str().unwrap_or("-").to_owned();
    for url in told["urls"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        screen.line(format!("address      {url}"))?;
    }
    screen.line(format!("fingerprint  {}", text("fingerprint")))?;
    if told["claimed"] == true {
        return screen.line("claimed      yes");
    }
    let minutes = told["secondsLeft"].as_u64().unwrap_or_default().div_ceil(60);
    screen.line(format!("code         {}  (for {minutes} min)", text("code")))
}

/// Returns what a token is called if nobody says.
fn label() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let user = std::env::var("USER").unwrap_or_default();
    let label: String = format!("{user}@{}", host.trim()).chars().filter(|it| !it.is_control()).take(64).collect();
    label.trim_matches('@').to_owned()
}
