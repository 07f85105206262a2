use std::{io::Write, process::Stdio, sync::Barrier};

use tempfile::TempDir;

use super::*;
use crate::access::Seed;

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn print() -> Print {
    Print::of(b"the authority of this machine")
}

/// Somebody with a key.
struct Owner(TempDir);

impl Owner {
    fn new() -> Self {
        let room = TempDir::with_prefix("piccolo-owner-").unwrap();
        let owner = Self(room);
        owner.keygen(&["-q", "-N", "", "-t", "ed25519", "-f", &owner.path()], b"");
        owner
    }

    fn path(&self) -> String {
        self.0.path().join("key").display().to_string()
    }

    fn public(&self) -> String {
        std::fs::read_to_string(self.0.path().join("key.pub")).unwrap()
    }

    fn keygen(&self, arguments: &[&str], input: &[u8]) -> String {
        #[expect(clippy::disallowed_methods, reason = "it makes what is read here")]
        let mut command = std::process::Command::new("ssh-keygen");
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }

    /// Signs a claim for whoever shows this authority.
    fn prove(&self, challenge: &str, authority: &Print, label: &str) -> Proof {
        self.prove_for(PURPOSE, challenge, authority, label)
    }

    fn prove_for(&self, purpose: &str, challenge: &str, authority: &Print, label: &str) -> Proof {
        let vow = vow(challenge, authority, label);
        let signature = self.keygen(&["-Y", "sign", "-q", "-n", purpose, "-f", &self.path()], vow.as_bytes());
        Proof { challenge: challenge.to_owned(), label: label.to_owned(), signature }
    }

    /// Returns a machine that waits for this key.
    fn machine(&self, room: &TempDir) -> Access {
        let access = Access::open(room.path(), Instant::now()).unwrap();
        access.plant(&self.seed(""), now()).unwrap();
        access
    }

    fn seed(&self, more: &str) -> Seed {
        toml::from_str(&format!("[key]\npublic = \"{}\"\n{more}", self.public().trim())).unwrap()
    }
}

#[test]
fn whoever_owns_the_key_claims_once() {
    let (room, owner) = (tempfile::tempdir().unwrap(), Owner::new());
    let access = owner.machine(&room);
    assert!(!access.is_claimed() && access.list().is_empty());
    // What it waits for survives an end of the daemon, also without the seed.
    let access = Access::open(room.path(), Instant::now()).unwrap();
    let at = (Instant::now(), now());
    let proof = owner.prove(&access.challenge(at.0).unwrap(), &print(), "anna@laptop");
    let (listed, token) = access.claim_by_key(&proof, &print(), None, at).unwrap();
    assert_eq!((listed.role, listed.label.as_str(), listed.expires), (Role::Admin, "anna@laptop", None));
    assert_eq!(access.know(&token.text(), now()).unwrap().role, Role::Admin);
    assert!(matches!(access.claim_by_key(&proof, &print(), None, at), Err(AccessError::Claimed)));
    assert!(matches!(access.challenge(at.0), Err(AccessError::Claimed)));
    // Root took all back: neither what was signed nor the key is good for anything any more.
    access.reset(at.0).unwrap();
    assert!(matches!(access.claim_by_key(&proof, &print(), None, at), Err(AccessError::NoKey)));
    assert!(matches!(access.challenge(at.0), Err(AccessError::NoKey)));
    // A seed that lies there still is a new beginning, but what was signed before is not.
    access.plant(&owner.seed(""), now()).unwrap();
    assert!(matches!(access.claim_by_key(&proof, &print(), None, at), Err(AccessError::NotSigned)));
}

#[test]
fn what_is_signed_for_another_counts_for_nothing() {
    let (room, owner, thief) = (tempfile::tempdir().unwrap(), Owner::new(), Owner::new());
    let access = owner.machine(&room);
    let at = (Instant::now(), now());
    let challenge = access.challenge(at.0).unwrap();
    let good = owner.prove(&challenge, &print(), "anna");
    let elsewhere = {
        let room = tempfile::tempdir().unwrap();
        owner.machine(&room).challenge(at.0).unwrap()
    };
    for (why, proof) in [
        ("another key", thief.prove(&challenge, &print(), "anna")),
        ("somebody in between", owner.prove(&challenge, &Print::of(b"of somebody in between"), "anna")),
        ("a challenge of another machine", owner.prove(&elsewhere, &print(), "anna")),
        ("another purpose", owner.prove_for("git", &challenge, &print(), "anna")),
        ("another label", Proof { label: "thief".to_owned(), ..good.clone() }),
        ("nothing", Proof { signature: String::new(), ..good.clone() }),
    ] {
        let met = access.claim_by_key_unlimited(&proof, &print(), at);
        assert!(matches!(met, Err(AccessError::NotSigned)), "{why}: {met:?}");
    }
    let late = (at.0 + Duration::from_secs(301), at.1);
    assert!(matches!(access.claim_by_key_unlimited(&good, &print(), late), Err(AccessError::NotSigned)));
    let odd = owner.prove(&challenge, &print(), "anna\nlabel thief");
    assert!(matches!(access.claim_by_key_unlimited(&odd, &print(), at), Err(AccessError::Label)));
    assert!(!access.is_claimed());
    assert!(access.claim_by_key(&good, &print(), None, at).is_ok());
}

#[test]
fn of_two_who_claim_at_once_by_key_one_wins() {
    let owner = Owner::new();
    for _ in 0..20 {
        let room = tempfile::tempdir().unwrap();
        let access = owner.machine(&room);
        let at = (Instant::now(), now());
        let code = access.code(at.0).unwrap().unwrap().0;
        let challenge = access.challenge(at.0).unwrap();
        let proofs = ["one", "two"].map(|label| owner.prove(&challenge, &print(), label));
        let together = Barrier::new(3);
        let claim = |proof: &Proof| {
            together.wait();
            access.claim_by_key_unlimited(proof, &print(), at).is_ok()
        };
        let won = std::thread::scope(|scope| {
            let others: Vec<_> = proofs.iter().map(|proof| scope.spawn(|| claim(proof))).collect();
            together.wait();
            // Nor do the two ways in make two owners.
            let by_code = access.claim_unlimited(&code, "three", at).is_ok();
            others.into_iter().map(|it| it.join().unwrap()).chain([by_code]).filter(|it| *it).count()
        });
        assert_eq!((won, access.list().len()), (1, 1));
    }
}

#[test]
fn the_owner_is_not_kept_out_by_those_who_try() {
    let (room, owner) = (tempfile::tempdir().unwrap(), Owner::new());
    let access = owner.machine(&room);
    let at = (Instant::now(), now());
    let from = |number: u8| Some(IpAddr::from([192, 0, 2, number]));
    let good = owner.prove(&access.challenge(at.0).unwrap(), &print(), "anna");
    let bad = Proof { signature: "canary".to_owned(), ..good.clone() };
    let tried: Vec<_> = (0..20).map(|_| access.claim_by_key(&bad, &print(), from(1), at)).collect();
    assert_eq!(tried.iter().filter(|it| matches!(it, Err(AccessError::NotSigned))).count(), 5);
    assert!(tried.iter().skip(5).all(|it| matches!(it, Err(AccessError::TooMany(_)))));
    for _ in 0..100 {
        access.challenge(at.0).unwrap();
    }
    assert!(access.claim_by_key(&good, &print(), from(2), at).is_ok());
}

#[test]
fn a_seed_says_how_long_and_another_seed_another_key() {
    let (room, owner, other) = (tempfile::tempdir().unwrap(), Owner::new(), Owner::new());
    let access = owner.machine(&room);
    let at = (Instant::now(), now());
    let early = owner.prove(&access.challenge(at.0).unwrap(), &print(), "anna");
    access.plant(&other.seed("days = 7\n"), now()).unwrap();
    assert!(matches!(access.claim_by_key(&early, &print(), None, at), Err(AccessError::NotSigned)));
    let proof = other.prove(&access.challenge(at.0).unwrap(), &print(), "ben");
    let (listed, _) = access.claim_by_key(&proof, &print(), None, at).unwrap();
    assert_eq!(listed.expires, Some(now() + DAY * 7));
    // A machine that is somebody's waits for nobody.
    access.plant(&owner.seed(""), now()).unwrap();
    assert!(matches!(access.challenge(at.0), Err(AccessError::Claimed)));
    let kept = std::fs::read_to_string(room.path().join("credentials.json")).unwrap();
    assert!(!kept.contains("ssh-ed25519"), "{kept}");
}
