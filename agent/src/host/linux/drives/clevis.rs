//! Servers in the network that help to open a disk (Tang), by the programs of Debian's package `clevis`: what is bound here
//! `clevis-luks-unlock` opens too. No cryptography of it is ours.

use std::{io, process::Stdio, time::Duration};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use piccolo_schema::disk::Tang;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::timeout,
};
use zeroize::Zeroizing;

use super::key::Key;
use crate::{
    host::{
        HostError, Reason,
        linux::{
            luks::{
                self,
                whole::{CLEVIS, TANG},
            },
            program::{failed, not_started, program},
        },
    },
    secrets::Plain,
};

/// How long a server may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most that is read of an answer.
const LARGEST: u64 = 64 << 10;
/// What such a text has, one after the other with dots between.
const PARTS: [&str; 5] = ["protected", "encrypted_key", "iv", "ciphertext", "tag"];

/// Makes a key that is worked out with the help of this server alone, with the token that says how. A server that has another
/// key than the one of the thumbprint is not believed.
pub(super) async fn bind(tang: &Tang) -> Result<(Key, Value), HostError> {
    let secret = Zeroizing::new(BASE64.encode(&*luks::random()?));
    let config = json!({ "url": tang.url, "thp": tang.thumbprint }).to_string();
    let made = run(&["encrypt", "tang", &config], secret.as_bytes(), tang.url.as_str()).await?;
    let made = String::from_utf8_lossy(&made).trim().to_owned();
    // Only what comes back is worth a slot.
    if *run(&["decrypt"], made.as_bytes(), tang.url.as_str()).await? != *secret.as_bytes() {
        return Err(HostError::new(Reason::Failed, format!("{} gave something else back than it was given", tang.url)));
    }
    let strange = || HostError::new(Reason::Failed, "`clevis` said nothing that can be understood");
    let jwe = flattened(&made).ok_or_else(strange)?;
    Ok((Key::of(secret), json!({ "type": CLEVIS, "jwe": jwe, TANG: tang })))
}

/// Works out with a server what opens the slot of a token, if it is one of these: who wrote the header decides on no other
/// place that is asked.
pub(super) async fn open(token: &str, servers: &[Tang]) -> Result<Key, HostError> {
    let strange = || HostError::new(Reason::Undecryptable, "The token of the server in the header is damaged");
    let token: Value = serde_json::from_str(token).map_err(|_| strange())?;
    let tang: Tang = serde_json::from_value(token[TANG].clone()).map_err(|_| strange())?;
    let url = tang.url.as_str();
    if !asks(&token, url).ok_or_else(strange)? {
        let message =
            format!("The token in the header says that it is of {url}, and asks another place; nobody is asked");
        return Err(HostError::new(Reason::Undecryptable, message));
    }
    if !servers.contains(&tang) {
        let message = format!("The header names the server {url}, which the manifest does not, so it is not asked");
        return Err(HostError::new(Reason::Refused, message));
    }
    let parts: Option<Vec<&str>> = PARTS.iter().map(|part| token["jwe"][part].as_str()).collect();
    let jwe = parts.ok_or_else(strange)?.join(".");
    Key::text(&Plain::new(run(&["decrypt"], jwe.as_bytes(), url).await?.to_vec()), "What the server helped to work out")
}

/// Returns whether Clevis asks this server, and nobody else, for what is in a token. None if that can't be read.
fn asks(token: &Value, url: &str) -> Option<bool> {
    let protected = BASE64URL_NOPAD.decode(token["jwe"]["protected"].as_str()?.as_bytes()).ok()?;
    let told: Value = serde_json::from_slice(&protected).ok()?;
    Some(told["clevis"]["pin"] == "tang" && told["clevis"]["tang"]["url"] == url)
}

/// Returns true if a token is one of these.
pub(super) fn is_one(token: &str) -> bool {
    serde_json::from_str(token).is_ok_and(|it: Value| it["type"] == CLEVIS)
}

/// Returns true if a token is one of this slot.
pub(super) fn is_of(token: &str, slot: u8) -> bool {
    serde_json::from_str(token).is_ok_and(|it: Value| it["keyslots"] == json!([slot.to_string()]))
}

/// Writes a text with dots in it as Clevis keeps it in a token.
fn flattened(text: &str) -> Option<Value> {
    let parts: Vec<&str> = text.split('.').collect();
    let is_plain = |part: &&str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let is_one = parts.len() == PARTS.len() && parts.iter().all(is_plain) && !parts[0].is_empty();
    is_one.then(|| PARTS.iter().zip(parts).map(|(name, part)| ((*name).to_owned(), json!(part))).collect())
}

/// Runs `clevis`, which asks a server. What goes in and out is on no command line.
async fn run(words: &[&str], input: &[u8], url: &str) -> Result<Zeroizing<Vec<u8>>, HostError> {
    let mut command = program(CLEVIS);
    command.args(words);
    ask(command, input, url).await
}

/// Runs a program that asks a server, by programs of its own, which end with it.
async fn ask(mut command: Command, input: &[u8], url: &str) -> Result<Zeroizing<Vec<u8>>, HostError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    let exchange = async {
        let mut child = command.spawn()?;
        // It goes before the child does, whose number is nobody else's until then.
        let mut group = Group::of(&child);
        let (mut pipe, output, complaint) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (mut answer, mut why) = (Zeroizing::new(Vec::new()), Vec::new());
        let write = async {
            if let Some(pipe) = &mut pipe {
                // One that ended before it read everything says why itself.
                drop(pipe.write_all(input).await);
            }
            drop(pipe.take());
        };
        let read = async { output.ok_or_else(none)?.take(LARGEST).read_to_end(&mut answer).await };
        let listen = async { complaint.ok_or_else(none)?.take(LARGEST).read_to_end(&mut why).await };
        let ((), read, listened) = tokio::join!(write, read, listen);
        read.and(listened)?;
        let status = child.wait().await?;
        group.0 = None;
        Ok::<_, io::Error>((status, answer, why))
    };
    match timeout(PATIENCE, exchange).await {
        Err(_) => {
            Err(HostError::new(Reason::TimedOut, format!("{url} did not answer within {} s", PATIENCE.as_secs())))
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            let message = "The program `clevis` is missing, which asks servers: install Debian's package `clevis`";
            Err(HostError::new(Reason::Failed, message))
        }
        Ok(Err(error)) => Err(not_started(CLEVIS, &error)),
        Ok(Ok((status, answer, _))) if status.success() && !answer.is_empty() => Ok(answer),
        Ok(Ok((_, _, why))) => {
            let said = failed(CLEVIS, &why);
            Err(HostError::new(Reason::Failed, format!("By the server {url}: {}", said.message)))
        }
    }
}

/// The processes of a program and of those that it started, which are killed when nobody waits for it any more.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|it| Pid::from_raw(i32::try_from(it).ok()?)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // All of them may have ended by themselves.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn none() -> io::Error {
    io::Error::other("there is no pipe")
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{BufRead, BufReader},
    };

    use futures_util::FutureExt as _;
    use proptest::prelude::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_text_with_dots_is_kept_in_parts() {
        let jwe = flattened("aA0_.bb..cc-.dd").unwrap_or_default();
        assert_eq!(
            jwe,
            json!({ "protected": "aA0_", "encrypted_key": "bb", "iv": "", "ciphertext": "cc-", "tag": "dd" })
        );
        for text in ["", ".b.c.d.e", "a.b.c.d", "a.b.c.d.e.f", "a b.c.d.e.f", "a.\".c.d.e"] {
            assert!(flattened(text).is_none(), "{text}");
        }
    }

    #[test]
    fn tokens_are_told_apart() {
        let token = json!({ "type": "clevis", "keyslots": ["3"] }).to_string();
        assert!(is_one(&token) && is_of(&token, 3) && !is_of(&token, 2));
        assert!(!is_one("{\"type\":\"systemd-tpm2\"}") && !is_one("nonsense"));
    }

    #[tokio::test]
    async fn no_place_is_asked_that_a_header_alone_names() {
        let named = Tang { url: "http://tang.lan".to_owned(), thumbprint: "upjd".to_owned() };
        let token = |pin: &str, url: &str, said: &Tang| {
            let protected = json!({ "clevis": { "pin": pin, "tang": { "url": url } } }).to_string();
            let protected = BASE64URL_NOPAD.encode(protected.as_bytes());
            json!({ "type": CLEVIS, TANG: said, "jwe": { "protected": protected } }).to_string()
        };
        let refused = async |token: String| open(&token, std::slice::from_ref(&named)).await.err();
        let other = Tang { url: "http://127.0.0.1:7438".to_owned(), ..named.clone() };
        let another_key = Tang { thumbprint: "Q_s8".to_owned(), ..named.clone() };
        for (pin, url, said, why) in [
            ("tang", "http://127.0.0.1:7438", &named, "asks another place"),
            ("sss", "http://tang.lan", &named, "asks another place"),
            ("tang", "http://127.0.0.1:7438", &other, "which the manifest does not"),
            ("tang", "http://tang.lan", &another_key, "which the manifest does not"),
            // This one would be asked, and is damaged further on.
            ("tang", "http://tang.lan", &named, "damaged"),
        ] {
            let error = refused(token(pin, url, said)).await;
            assert!(error.as_ref().is_some_and(|it| it.message.contains(why)), "{pin} {url}: {error:?}");
        }
    }

    #[tokio::test]
    async fn what_clevis_started_ends_with_it() -> io::Result<()> {
        let home = tempfile::TempDir::with_prefix("piccolo-clevis-")?;
        let pipe = home.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let (begun, begins) = tokio::sync::oneshot::channel();
        let path = pipe.clone();
        let listens = tokio::task::spawn_blocking(move || {
            let (mut lines, mut line) = (BufReader::new(File::open(path)?), String::new());
            lines.read_line(&mut line)?;
            let _ = begun.send(());
            // It ends when nobody is there who could write.
            lines.read_line(&mut line)
        });
        let mut command = program("sh");
        command.args(["-c", "exec 3>\"$0\"; sleep 300 & echo begun >&3; wait"]).arg(&pipe);
        tokio::select! {
            ended = ask(command, b"", "http://tang.lan") => return Err(io::Error::other(format!("{ended:?}"))),
            begins = begins => begins.map_err(io::Error::other)?,
        }
        let read = timeout(PATIENCE, listens).await.map_err(|_| io::Error::other("a program goes on"))?;
        assert_eq!(read.map_err(io::Error::other)??, 0);
        Ok(())
    }

    #[tokio::test]
    async fn a_damaged_token_is_sent_nowhere() {
        for token in ["", "{}", "{\"type\":\"clevis\",\"jwe\":{\"protected\":7}}"] {
            assert_eq!(open(token, &[]).await.err().map(|error| error.reason), Some(Reason::Undecryptable), "{token}");
        }
    }

    /// A token as Clevis writes it, and the answer of `clevis encrypt`.
    const TOKEN: &str = r#"{"type":"clevis","keyslots":["1"],"jwe":{"protected":"eyJjbGV2aXMiOnsicGluIjoidGFuZyIsInRhbmciOnsidXJsIjoiaHR0cDovL3RhbmcubGFuIn19fQ",
        "encrypted_key":"","iv":"aa","ciphertext":"bb","tag":"cc"},"piccolo_tang":{"url":"http://tang.lan","thumbprint":"upjd"}}"#;
    const ANSWER: &str = "eyJhbGciOiJFQ0RILUVTIn0..IVaa0_-.bbbb.cccc";

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_breaks_it(at in 0..TOKEN.len(), cut in 0..TOKEN.len(), what in "\\PC{0,12}") {
            for token in [format!("{}{what}{}", &TOKEN[..at], &TOKEN[at..]), TOKEN[..cut].to_owned(), what.clone()] {
                let (_, _) = (is_one(&token), is_of(&token, 1));
                // No server is named, so none is asked, and the answer is there at once.
                prop_assert!(open(&token, &[]).now_or_never().is_some_and(|it| it.is_err()), "{}", token);
            }
            let at = at.min(ANSWER.len());
            for text in [format!("{}{what}{}", &ANSWER[..at], &ANSWER[at..]), what] {
                let kept = flattened(&text);
                let parts = kept.as_ref().map(|it| PARTS.map(|part| it[part].as_str().unwrap_or("?").to_owned()).join("."));
                prop_assert!(parts.is_none_or(|it| it == text));
            }
        }
    }
}
