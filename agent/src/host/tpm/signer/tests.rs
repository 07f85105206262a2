use data_encoding::HEXLOWER;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A key that `openssl` made, and the digest of it by which `systemd-measure` names it.
const KEY: &str = include_str!("key.pem");
const PRINT: &str = "ffd8676dffc5c63abcf128b98ec89d62c1890a19a9a3ce9048a9fb0adef393a7";

fn signer() -> Signer {
    Signer::new(KEY.as_bytes().to_vec(), Pcrs::of([11]).unwrap()).unwrap()
}

#[test]
fn a_key_is_read_as_others_read_it() {
    let key = signer().public().unwrap();
    assert_eq!((key.modulus.len(), key.exponent), (256, 65537));
    assert_eq!(HEXLOWER.encode(&key.print), PRINT);
    for wrong in ["", "nothing", BEGIN, &KEY.replace("PUBLIC", "PRIVATE"), &KEY[..200], &KEY.replace("MIIB", "MIIC")] {
        assert_eq!(Signer::new(wrong.as_bytes().to_vec(), Pcrs::of([11]).unwrap()), Err(NotSigner), "{wrong}");
    }
    assert_eq!(Signer::new(KEY.as_bytes().to_vec(), Pcrs::NONE), Err(NotSigner));
}

#[test]
fn a_signature_is_of_this_key_these_registers_and_this_policy() {
    let file = |pcrs: &[u64], print: &str, policy: &str| {
        json!({ "sha1": [], "sha256": [
            { "pcrs": [4], "pkfp": print, "pol": policy, "sig": "AAAA" },
            { "pcrs": pcrs, "pkfp": print, "pol": policy, "sig": "AQID" },
        ] })
        .to_string()
    };
    let find = |text: &str| signer().signature(text.as_bytes(), &[0x5a; 32]);
    let policy = "5a".repeat(32);
    assert_eq!(find(&file(&[11], PRINT, &policy)), Some(vec![1, 2, 3]));
    assert_eq!(find(&file(&[11], &PRINT.to_uppercase(), &policy)), Some(vec![1, 2, 3]));
    assert_eq!(find(&file(&[11], &"00".repeat(32), &policy)), None);
    assert_eq!(find(&file(&[11], PRINT, &"5b".repeat(32))), None);
    assert_eq!(find(&file(&[11, 12], PRINT, &policy)), None);
    for wrong in ["", "{", "[]", "{\"sha256\":{}}", "{\"sha256\":[{}]}"] {
        assert_eq!(find(wrong), None, "{wrong}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn whatever_comes_is_read_without_a_panic(der in prop::collection::vec(any::<u8>(), 0..300), at in 0..294_usize, byte: u8) {
        let text = |der: &[u8]| format!("{BEGIN}\n{}\n{END}\n", BASE64.encode(der)).into_bytes();
        let _ = Signer::new(text(&der), Pcrs::of([11]).unwrap());
        let body: String = KEY.lines().filter(|it| !it.starts_with('-')).collect();
        let mut changed = BASE64.decode(body.as_bytes()).unwrap();
        let at = at % changed.len();
        changed[at] = byte;
        let _ = Signer::new(text(&changed), Pcrs::of([11]).unwrap());
        let _ = signer().signature(&der, &der);
    }
}
