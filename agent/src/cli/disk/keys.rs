//! The keys of encrypted disks.

use std::{
    fmt,
    io::{self, IsTerminal},
};

use hyper::{Method, header};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    cli::{ask, client::Client, failure::Failure, screen::Screen, trust::ask_of_start},
    secrets::RecoveryKey,
};

/// Whose keys are meant.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Whose {
    /// The name of the manifest of the disk.
    name: Option<String>,
    /// The state of the system itself, on the disk that it was installed on.
    #[arg(long)]
    state: bool,
}

impl Whose {
    /// Returns what is sent of it, with a key that was typed.
    fn body(&self, key: Option<&Zeroizing<String>>) -> Value {
        let mut body = match &self.name {
            Some(name) => json!({ "disk": name }),
            None => json!({ "state": true }),
        };
        if let Some(key) = key {
            body["key"] = json!(&**key);
        }
        body
    }

    /// Returns the words of the command line.
    fn words(&self) -> &str {
        self.name.as_deref().unwrap_or("--state")
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "disk `{name}`"),
            None => f.write_str("the state of the system"),
        }
    }
}

/// Opens a disk by its recovery key or a passphrase.
pub(super) async fn unlock(disk: &str, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let key = ask::key(&format!("A key that opens the disk `{disk}`:"))?;
    send(client, "unlock", &json!({ "disk": disk, "key": &*key })).await?;
    screen.note(format!("disk `{disk}` is open; it is mounted in a moment"));
    Ok(())
}

/// Makes a recovery key and shows it once.
pub(super) async fn recovery_key(
    whose: &Whose,
    ask_key: bool,
    client: &Client,
    screen: &Screen,
) -> Result<(), Failure> {
    let key = ask_key.then(|| ask::key(&format!("A key that opens {whose}:"))).transpose()?;
    let answer = send(client, "recovery-key", &whose.body(key.as_ref())).await?;
    let garbled = || Failure::Garbled { host: client.host(), cause: "this is no recovery key".to_owned() };
    let text = Zeroizing::new(answer["recoveryKey"].as_str().unwrap_or_default().to_owned());
    let key = RecoveryKey::parse(&text).ok_or_else(garbled)?;
    screen.note("the recovery key: it opens the disk when nothing else does; keep it away from this machine");
    screen.data(key.text().expose())?;
    screen.data(b"\n")?;
    if !io::stdin().is_terminal() {
        let command = format!("piccolo disk recovery-key {} --check", whose.words());
        screen.note(format!("it counts once it was typed: `{command}`; until then the one before it holds"));
        return Ok(());
    }
    // One of them is as good as another, and it is not always the same.
    let group = text.bytes().map(usize::from).sum::<usize>() % RecoveryKey::groups();
    let typed = ask::line(&format!("its group number {}, from where you kept it:", group + 1), "--check")?;
    if !key.has(group, &typed) {
        let help = "the key does not count yet, and one that was made before still holds: make another one";
        return Err(Failure::Usage(format!("this is not that group; {help}")));
    }
    prove(whose, &text, client, screen).await
}

/// Proves that somebody has the recovery key.
pub(super) async fn check(whose: &Whose, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let key = ask::key(&format!("The recovery key of {whose}:"))?;
    prove(whose, &key, client, screen).await
}

/// Binds the slots of the TPM to how the machine started this time.
pub(super) async fn reseal(whose: &Whose, yes: bool, client: &Client, screen: &Screen) -> Result<(), Failure> {
    if !yes {
        ask_of_start(client, screen).await?;
    }
    let key = ask::key(&format!("The recovery key of {whose}:"))?;
    let answer = send(client, "reseal", &whose.body(Some(&key))).await?;
    let mut slots = answer["slots"].as_array().into_iter().flatten();
    slots.try_for_each(|it| {
        let of = it["of"].as_str().map(|it| format!(" ({it})")).unwrap_or_default();
        screen.line(format!("the TPM opens slot {} of {whose}{of}; slot {} is gone", it["new"], it["old"]))
    })
}

async fn prove(whose: &Whose, key: &Zeroizing<String>, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let answer = send(client, "recovery-key/proof", &whose.body(Some(key))).await?;
    // Those of an adopted disk are its owner's.
    let others = if answer["othersKept"] == true { "stays as it is" } else { "is worth nothing" };
    // Where several are meant, each has a number of its own.
    let slot = answer["slot"].as_u64().map(|it| format!("slot {it} of ")).unwrap_or_default();
    screen.line(format!("it opens {slot}{whose}; any other recovery key of it {others}"))
}

async fn send(client: &Client, act: &str, body: &Value) -> Result<Value, Failure> {
    let body = Zeroizing::new(body.to_string());
    let json = [(header::CONTENT_TYPE, "application/json")];
    let answer = client.send(Method::POST, &format!("/disks/{act}"), &json, body.as_bytes().to_vec()).await?;
    client.json(&answer)
}
