//! The keys of encrypted disks.

use std::io::{self, IsTerminal};

use hyper::{Method, header};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    cli::{ask, client::Client, failure::Failure, screen::Screen},
    secrets::RecoveryKey,
};

/// Opens a disk by its recovery key or a passphrase.
pub(super) async fn unlock(disk: &str, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let key = ask::key(&format!("A key that opens the disk `{disk}`:"))?;
    send(client, "unlock", &json!({ "disk": disk, "key": &*key })).await?;
    screen.note(format!("disk `{disk}` is open; it is mounted in a moment"));
    Ok(())
}

/// Makes a recovery key and shows it once, or proves that somebody has it.
pub(super) async fn recovery_key(disk: &str, check: bool, client: &Client, screen: &Screen) -> Result<(), Failure> {
    if check {
        let key = ask::key(&format!("The recovery key of the disk `{disk}`:"))?;
        return prove(disk, &key, client, screen).await;
    }
    let answer = send(client, "recovery-key", &json!({ "disk": disk })).await?;
    let garbled = || Failure::Garbled { host: client.host(), cause: "this is no recovery key".to_owned() };
    let text = Zeroizing::new(answer["recoveryKey"].as_str().unwrap_or_default().to_owned());
    let key = RecoveryKey::parse(&text).ok_or_else(garbled)?;
    screen.note("the recovery key: it opens the disk when nothing else does; keep it away from this machine");
    screen.data(key.text().expose())?;
    screen.data(b"\n")?;
    if !io::stdin().is_terminal() {
        let command = format!("piccolo disk recovery-key {disk} --check");
        screen.note(format!("it counts once it was typed: `{command}`; until then the one before it holds"));
        return Ok(());
    }
    let slot = usize::try_from(answer["slot"].as_u64().unwrap_or_default()).unwrap_or_default();
    let group = slot % RecoveryKey::groups();
    let typed = ask::line(&format!("its group number {}, from where you kept it:", group + 1), "--check")?;
    if !key.has(group, &typed) {
        let help = "the key does not count yet, and one that was made before still holds: make another one";
        return Err(Failure::Usage(format!("this is not that group; {help}")));
    }
    prove(disk, &text, client, screen).await
}

async fn prove(disk: &str, key: &Zeroizing<String>, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let answer = send(client, "recovery-key/proof", &json!({ "disk": disk, "key": &**key })).await?;
    // Those of an adopted disk are its owner's.
    let others = if answer["othersKept"] == true { "stays as it is" } else { "is worth nothing" };
    screen.line(format!("it opens slot {} of disk `{disk}`; any other recovery key of it {others}", answer["slot"]))
}

async fn send(client: &Client, act: &str, body: &Value) -> Result<Value, Failure> {
    let body = Zeroizing::new(body.to_string());
    let json = [(header::CONTENT_TYPE, "application/json")];
    let answer = client.send(Method::POST, &format!("/disks/{act}"), &json, body.as_bytes().to_vec()).await?;
    client.json(&answer)
}
