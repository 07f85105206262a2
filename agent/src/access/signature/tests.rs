use std::{fs, io::Write, path::Path, process::Stdio};

use proptest::prelude::*;
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use tempfile::TempDir;

use super::*;

const PURPOSE: &str = "a purpose";

/// A key of `ssh-keygen`.
struct Owner {
    room: TempDir,
    key: PublicKey,
}

impl Owner {
    fn new(kind: &[&str]) -> Self {
        let room = TempDir::with_prefix("piccolo-key-").unwrap();
        let path = room.path().join("key");
        keygen(&[&["-q", "-N", "", "-C", "anna@laptop", "-f", path.to_str().unwrap(), "-t"], kind].concat(), b"");
        let key = PublicKey::parse(&fs::read_to_string(room.path().join("key.pub")).unwrap()).unwrap();
        Self { room, key }
    }

    fn path(&self) -> String {
        self.room.path().join("key").display().to_string()
    }

    fn sign(&self, purpose: &str, message: &[u8]) -> String {
        keygen(&["-Y", "sign", "-q", "-n", purpose, "-f", &self.path()], message)
    }
}

fn keygen(arguments: &[&str], input: &[u8]) -> String {
    #[expect(clippy::disallowed_methods, reason = "it makes what is read here")]
    let mut command = std::process::Command::new("ssh-keygen");
    let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let answer = child.wait_with_output().unwrap();
    assert!(answer.status.success(), "{arguments:?}");
    String::from_utf8(answer.stdout).unwrap()
}

#[test]
fn what_ssh_keygen_signs_is_signed() {
    let other = Owner::new(&["ed25519"]);
    for kind in [&["ed25519"][..], &["ecdsa", "-b", "256"], &["rsa", "-b", "2048"]] {
        let owner = Owner::new(kind);
        let signature = owner.sign(PURPOSE, b"a message");
        assert!(owner.key.has_signed(PURPOSE, b"a message", &signature), "{kind:?}");
        assert!(owner.key.has_signed(PURPOSE, b"a message", &signature.replace('\n', "\r\n")), "{kind:?}");
        assert!(!owner.key.has_signed(PURPOSE, b"another", &signature), "{kind:?}");
        assert!(!owner.key.has_signed("git", b"a message", &signature), "{kind:?}");
        assert!(!other.key.has_signed(PURPOSE, b"a message", &signature), "{kind:?}");
        assert!(!owner.key.has_signed(PURPOSE, b"a message", &other.sign(PURPOSE, b"a message")), "{kind:?}");
        let shown = keygen(&["-l", "-f", &owner.path()], b"");
        assert!(shown.contains(&owner.key.fingerprint()), "{shown}");
        assert_eq!(PublicKey::parse(&owner.key.to_string()).as_ref(), Ok(&owner.key));
    }
    // Ten in a row, as their numbers have leading zeros now and then.
    let owner = Owner::new(&["ecdsa", "-b", "256"]);
    for number in 0..10_u8 {
        assert!(owner.key.has_signed(PURPOSE, &[number], &owner.sign(PURPOSE, &[number])), "{number}");
    }
}

/// As a device does it, which can't be here.
#[test]
fn a_key_in_a_device_counts_if_somebody_touched_it() {
    let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap();
    let (kind, application) = (b"sk-ssh-ed25519@openssh.com", b"ssh:");
    let blob = [part(kind), part(pair.public_key().as_ref()), part(application)].concat();
    let key = PublicKey::parse(&format!("sk-ssh-ed25519@openssh.com {}", BASE64.encode(&blob))).unwrap();
    let digest = Sha512::digest(b"a message");
    let signed = [MAGIC, &part(PURPOSE.as_bytes()), &part(b""), &part(b"sha512"), &part(&digest)].concat();
    let made = |flags: u8| {
        let tail = [flags, 0, 0, 0, 7];
        let whole = [&*Sha256::digest(application), &tail, &*Sha256::digest(&signed)].concat();
        let signature = [part(kind), part(pair.sign(&whole).as_ref()), tail.to_vec()].concat();
        let parts = [part(&blob), part(PURPOSE.as_bytes()), part(b""), part(b"sha512"), part(&signature)].concat();
        format!("{BEGIN}\n{}\n{END}\n", BASE64.encode(&[MAGIC, &VERSION, &parts].concat()))
    };
    assert!(key.has_signed(PURPOSE, b"a message", &made(1)));
    assert!(key.has_signed(PURPOSE, b"a message", &made(5)));
    assert!(!key.has_signed(PURPOSE, b"a message", &made(0)), "nobody touched it");
    assert!(!key.has_signed(PURPOSE, b"another", &made(1)));
}

fn part(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

#[test]
fn what_is_no_key_is_refused() {
    let good = Owner::new(&["ed25519"]).key.to_string();
    let small = {
        let room = TempDir::with_prefix("piccolo-key-").unwrap();
        let path = room.path().join("key");
        keygen(&["-q", "-N", "", "-t", "rsa", "-b", "1024", "-f", path.to_str().unwrap()], b"");
        fs::read_to_string(Path::new(&path).with_extension("pub")).unwrap()
    };
    let (kind, body) = good.split_once(' ').unwrap();
    for wrong in [
        "",
        "ssh-ed25519",
        &format!("ssh-rsa {body}"),
        &format!("ssh-dss {body}"),
        &format!("{kind} {}", &body[..40]),
        &format!("{kind} {body}AAAA"),
        &format!("{good} a\nb"),
        &format!("restrict {good}"),
        &format!("{good} {}", "x".repeat(LONGEST)),
        &small,
    ] {
        assert_eq!(PublicKey::parse(wrong), Err(NoKey), "{wrong}");
    }
    assert!(PublicKey::parse(&format!("  {good} anna's laptop\n")).is_ok());
}

/// Returns a signature, and where its bytes are.
fn sample() -> &'static (PublicKey, Vec<u8>) {
    static SAMPLE: std::sync::OnceLock<(PublicKey, Vec<u8>)> = std::sync::OnceLock::new();
    SAMPLE.get_or_init(|| {
        let owner = Owner::new(&["ed25519"]);
        let signature = owner.sign(PURPOSE, b"a message");
        (owner.key.clone(), bare(&signature).unwrap())
    })
}

fn armoured(bytes: &[u8]) -> String {
    format!("{BEGIN}\n{}\n{END}\n", BASE64.encode(bytes))
}

proptest! {
    #[test]
    fn a_changed_signature_is_none(at in 0_usize..200, by in 1_u8..=255) {
        let (key, bytes) = sample();
        let mut bytes = bytes.clone();
        prop_assert!(key.has_signed(PURPOSE, b"a message", &armoured(&bytes)));
        let at = at % bytes.len();
        bytes[at] ^= by;
        prop_assert!(!key.has_signed(PURPOSE, b"a message", &armoured(&bytes)), "{at}");
        bytes[at] ^= by;
        bytes.truncate(at);
        prop_assert!(!key.has_signed(PURPOSE, b"a message", &armoured(&bytes)), "{at}");
    }

    #[test]
    fn odd_bytes_are_no_signature_and_no_key(bytes in prop::collection::vec(any::<u8>(), 0..300), text in ".{0,80}") {
        let (key, _) = sample();
        let with_beginning = [MAGIC, &VERSION, &bytes].concat();
        for signature in [armoured(&bytes), armoured(&with_beginning), text.clone()] {
            prop_assert!(!key.has_signed(PURPOSE, b"a message", &signature));
        }
        let line = format!("ssh-ed25519 {}", BASE64.encode(&bytes));
        prop_assert!(PublicKey::parse(&line).is_err() && PublicKey::parse(&text).is_err());
    }
}
