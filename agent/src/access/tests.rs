use std::sync::Barrier;

use super::*;
use crate::file;

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn wish(label: &str, role: Role) -> Wish {
    Wish { label: label.to_owned(), role, scope: Scope::All, lifetime: Some(LIFETIME) }
}

fn open(room: &tempfile::TempDir) -> Access {
    Access::open(room.path(), Instant::now()).unwrap()
}

#[test]
fn whoever_knows_the_code_claims_and_nobody_else_after() {
    let room = tempfile::tempdir().unwrap();
    let access = open(&room);
    let at = (Instant::now(), now());
    assert!(!access.is_claimed());
    let code = access.code(at.0).unwrap().unwrap().0;
    assert!(matches!(access.claim("AAAA-AAAA", "laptop", None, at), Err(AccessError::WrongCode)));
    let (listed, token) = access.claim(&code, "laptop", None, at).unwrap();
    assert_eq!((listed.role, listed.label.as_str()), (Role::Admin, "laptop"));
    assert!(access.is_claimed() && access.code(at.0).unwrap().is_none());
    assert!(matches!(access.claim(&code, "thief", None, at), Err(AccessError::Claimed)));
    // All that survives an end of the daemon.
    let access = open(&room);
    assert!(access.is_claimed());
    let caller = access.know(&token.text(), now()).unwrap();
    assert_eq!((&*caller.name, caller.role), ("laptop", Role::Admin));
    let kept = std::fs::read_to_string(room.path().join(FILE)).unwrap();
    assert!(!kept.contains(&token.text()[13..40]), "the secret is kept");
}

#[test]
fn of_two_who_claim_at_once_one_wins() {
    for _ in 0..200 {
        let room = tempfile::tempdir().unwrap();
        let access = open(&room);
        let at = (Instant::now(), now());
        let code = access.code(at.0).unwrap().unwrap().0;
        let together = Barrier::new(2);
        let claim = || {
            together.wait();
            access.claim_unlimited(&code, "racer", at).is_ok()
        };
        let won = std::thread::scope(|scope| {
            let other = scope.spawn(claim);
            [claim(), other.join().unwrap()]
        });
        assert_eq!(won.iter().filter(|it| **it).count(), 1);
        assert_eq!(access.list().len(), 1);
    }
}

#[test]
fn tries_are_counted() {
    let room = tempfile::tempdir().unwrap();
    let access = open(&room);
    let at = (Instant::now(), now());
    let from = |number: u8| Some(IpAddr::from([192, 0, 2, number]));
    let tried = (0..100).map(|it| access.claim("AAAA-AAAA", "guess", from(it), at));
    let heard = tried.filter(|it| matches!(it, Err(AccessError::WrongCode))).count();
    assert_eq!(heard, 5, "one account has five tries a minute, from however many addresses");
    assert!(matches!(access.claim("AAAA-AAAA", "guess", from(200), at), Err(AccessError::TooMany(_))));
}

#[test]
fn a_token_ends_when_it_is_revoked_or_over_and_with_it_what_goes_on() {
    let room = tempfile::tempdir().unwrap();
    let access = open(&room);
    let (first, one) = access.mint(&wish("one", Role::Operator), now()).unwrap();
    let (_, two) = access.mint(&wish("two", Role::Reader), now() + Duration::from_secs(1)).unwrap();
    let callers = [&one, &two].map(|it| access.know(&it.text(), now()).unwrap());
    let later = now() + LIFETIME + Duration::from_secs(1);
    assert_eq!(access.list().iter().map(|it| it.label.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    access.revoke(&first.id).unwrap();
    assert!(access.know(&one.text(), now()).is_none() && callers[0].ended.is_cancelled());
    assert!(matches!(access.revoke(&first.id), Err(AccessError::NoToken(_))));
    assert!(open(&room).know(&one.text(), now()).is_none());
    assert!(!callers[1].ended.is_cancelled() && access.know(&two.text(), now()).is_some());
    assert!(access.know(&two.text(), later).is_none());
    access.tidy((Instant::now(), later)).unwrap();
    assert!(callers[1].ended.is_cancelled());
}

#[test]
fn a_reset_lets_nobody_in_and_can_be_claimed() {
    let room = tempfile::tempdir().unwrap();
    let access = open(&room);
    let (_, token) = access.mint(&wish("one", Role::Admin), now()).unwrap();
    let caller = access.know(&token.text(), now()).unwrap();
    access.reset(Instant::now()).unwrap();
    assert!(!access.is_claimed() && caller.ended.is_cancelled());
    assert!(access.know(&token.text(), now()).is_none());
    let code = access.code(Instant::now()).unwrap().unwrap().0;
    assert!(access.claim(&code, "again", None, (Instant::now(), now())).is_ok());
}

#[test]
fn what_can_not_be_written_down_does_not_hold() {
    let room = tempfile::tempdir().unwrap();
    let access = open(&room);
    let (listed, token) = access.mint(&wish("one", Role::Admin), now()).unwrap();
    // A directory stands where the new file is to be written.
    std::fs::create_dir(room.path().join("credentials.writing")).unwrap();
    assert!(matches!(access.mint(&wish("two", Role::Admin), now()), Err(AccessError::Credentials(_))));
    assert!(matches!(access.revoke(&listed.id), Err(AccessError::Credentials(_))));
    assert!(access.know(&token.text(), now()).is_some() && access.list().len() == 1);
}

#[test]
fn what_can_not_be_read_lets_nobody_claim() {
    let room = tempfile::tempdir().unwrap();
    for damaged in ["{", "[]", "{\"tokens\": {\"a\": {}}}", "{\"other\": 1}"] {
        file::replace(&room.path().join(FILE), damaged.as_bytes()).unwrap();
        let opened = Access::open(room.path(), Instant::now());
        assert!(matches!(opened, Err(AccessError::Credentials(CredentialsError::Damaged(..)))), "{damaged}");
    }
}

#[test]
fn wishes_have_bounds() {
    let room = tempfile::tempdir().unwrap();
    let access = open(&room);
    for label in ["", "a\nb", &"x".repeat(65)] {
        assert!(matches!(access.mint(&wish(label, Role::Reader), now()), Err(AccessError::Label)), "{label}");
    }
    let for_ever = Wish { lifetime: Some(Duration::from_secs(u64::MAX)), ..wish("a", Role::Reader) };
    assert!(matches!(access.mint(&for_ever, now()), Err(AccessError::Lifetime)));
}
