use proptest::prelude::*;

use super::*;

/// As `systemd-cryptenroll` of version 252 writes it, but for the blob.
const OLD: &str = r#"{"type":"systemd-tpm2","keyslots":["1"],"tpm2-blob":"AAIBAgABAw==","tpm2-pcrs":[7],
    "tpm2-pcr-bank":"sha256","tpm2-primary-alg":"ecc",
    "tpm2-policy-hash":"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"}"#;

fn changed(key: &str, value: Value) -> Result<Token, NotToken> {
    let mut json: Value = serde_json::from_str(OLD).unwrap();
    json[key] = value;
    Token::read(&json.to_string())
}

#[test]
fn what_is_written_is_read() {
    let token = Token::read(OLD).unwrap();
    assert_eq!((token.slot, token.sealed.pcrs.to_string().as_str(), token.sealed.pin), (1, "7", false));
    assert_eq!(token.sealed.parts(), Ok((&[1, 2][..], &[3][..])));
    assert_eq!(Token::read(&token.write()), Ok(token.clone()));
    let home = Home::write(0x8100_0001, &[7; 34], b"public");
    let sealed = Sealed { pin: true, home: Some(home), ..token.sealed };
    let token = Token { slot: 31, sealed, salt: Some(vec![5; 32]), kept: true };
    assert_eq!(Token::read(&token.write()), Ok(token));
}

#[test]
fn newer_forms_are_read_or_refused_in_words() {
    assert!(changed("tpm2-blob", json!(["AAIBAgABAw=="])).is_ok());
    assert!(changed("tpm2-policy-hash", json!(["00".repeat(32)])).is_ok());
    assert!(changed("tpm2_pcrlock", json!(false)).is_ok() && changed("tpm2_pubkey_pcrs", json!([])).is_ok());
    for (key, value) in [
        ("tpm2-blob", json!(["AAIBAgABAw==", "AAIBAgABAw=="])),
        ("tpm2-pcr-bank", json!("sha1")),
        ("tpm2-primary-alg", json!("rsa")),
        ("tpm2_pcrlock", json!(true)),
    ] {
        let refused = changed(key, value).unwrap_err();
        assert!(matches!(refused, NotToken::Unable(_)), "{key}: {refused}");
        assert!(refused.to_string().contains("systemd-cryptsetup"), "{refused}");
    }
    assert_eq!(changed("tpm2-blob", json!("AAIBAgABAwABBA==")), Err(NotToken::Sealed(NotSealed::Imported)));
    for (key, value) in [
        ("type", json!("systemd-fido2")),
        ("keyslots", json!([])),
        ("keyslots", json!(["32"])),
        ("keyslots", json!(["1", "2"])),
        ("tpm2-blob", json!("not base64")),
        ("tpm2-pcrs", json!([24])),
        ("tpm2-pcrs", json!([-1])),
        ("tpm2-policy-hash", json!("00")),
        ("tpm2-pin", json!("yes")),
        ("tpm2_salt", json!(7)),
        ("tpm2_srk", json!("AAAA")),
        ("tpm2_pubkey_pcrs", json!([11])),
        ("tpm2_pubkey_pcrs", json!([24])),
    ] {
        assert!(changed(key, value.clone()).is_err(), "{key} {value}");
    }
}

#[test]
fn whose_signature_counts_is_read_and_written() {
    let key = include_str!("../signer/key.pem").as_bytes().to_vec();
    let mut json: Value = serde_json::from_str(OLD).unwrap();
    (json["tpm2_pubkey_pcrs"], json["tpm2_pubkey"]) = (json!([11]), json!(BASE64.encode(&key)));
    let token = Token::read(&json.to_string()).unwrap();
    let signer = token.sealed.signer.as_ref().unwrap();
    assert_eq!((signer.pcrs.to_string().as_str(), &signer.key), ("11", &key));
    assert_eq!(Token::read(&token.write()), Ok(token));
    json["tpm2_pubkey"] = json!("cHVibGlj");
    assert!(matches!(Token::read(&json.to_string()), Err(NotToken::Unable(_))));
}

#[test]
fn pins_are_hashed_as_systemd_does() {
    // The digest of `a`, and of a PIN whose digest ends with a zero.
    assert_eq!(pin("a", None)[..4], [0xca, 0x97, 0x81, 0x12]);
    let short = (0..2000).map(|it| pin(&it.to_string(), None).len()).min();
    assert_eq!(short, Some(31));
    assert_ne!(pin("a", Some(b"salt")), pin("a", None));
    assert_eq!(passphrase(&[0; 32]).len(), 44);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn whatever_comes_is_read_without_a_panic(text in ".{0,200}", cut in 0..300_usize, at in 0..300_usize, byte: char) {
        let _ = Token::read(&text);
        let _ = Token::read(&OLD[..cut.min(OLD.len())]);
        let mut changed: Vec<char> = OLD.chars().collect();
        let at = at % changed.len();
        changed[at] = byte;
        let _ = Token::read(&changed.into_iter().collect::<String>());
    }
}
