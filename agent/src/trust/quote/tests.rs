use proptest::prelude::*;

use super::*;

/// What another program had a TPM sign, `tpm2_quote` of Debian 12.
const SIGNER: &str = "0023000b00050472000000100018000b00030010002085577ea126053bd0d961aa27553e37590f7d509b140a23799224c627a8f178df\
                      00205e089af0c10263319a45447c7e8ce7672c7349f14c4c8bc5092594f80b6d07d0";
const ATTEST: &str = "ff54434780180022000bebd25fe790d0a1bb8c2c77f6fe70e405c8e4c7459daec687d6d0ce87f7d1abc100085e1f6a7b8c9d0e1f\
                      0000000000000458000000010000000001201910230016363600000001000b038100000020bb4b612dea02c44c766468fae9720569\
                      7090cb6d50af6e73c00a5542f59acb7d";
const SIGNATURE: &str = "75c3366d75f9d68b558a24ab37be79a9ae3f5980a8300a4a8b0e82beee277da3\
                         b5a31a565a3711f9da4cf11e6433d65561b3308d1fdad7d6c85959adda223ce0";
const NAME: &str = "000bae3c4c1520c0e8b52db2e3d0e24dd38da9c60b14cb786c35106a6b1725b99f23";
const NONCE: [u8; 8] = [0x5e, 0x1f, 0x6a, 0x7b, 0x8c, 0x9d, 0x0e, 0x1f];

fn bytes(text: &str) -> Vec<u8> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).unwrap()
}

fn recorded() -> Quote {
    let seven = "90f4b39548df55ad6187a1d20d731ece".to_owned() + "e78c545b94afd16f42ef7592d99cd365";
    let registers = BTreeMap::from([(0, "0".repeat(64)), (7, seven)]);
    Quote { attest: bytes(ATTEST), signature: bytes(SIGNATURE), signer: bytes(SIGNER), registers }
}

#[test]
fn what_another_program_had_signed_is_believed() {
    let proof = verify(&recorded(), &NONCE, None).unwrap();
    assert_eq!((proof.signer.as_str(), proof.starts, proof.wakes), (NAME, 1, 0));
    assert_eq!(verify(&recorded(), &NONCE, Some(&NAME.to_uppercase())), Ok(proof));
}

#[test]
fn another_question_key_or_register_is_not() {
    let quote = recorded();
    assert_eq!(verify(&quote, &NONCE[..7], None), Err(Doubt::Nonce));
    assert_eq!(verify(&quote, &[], None), Err(Doubt::Nonce));
    assert_eq!(verify(&quote, &NONCE, Some(&NAME.replace("ae3c", "ae3d"))), Err(Doubt::Stranger));
    let changed = |change: fn(&mut Quote)| {
        let mut quote = recorded();
        change(&mut quote);
        verify(&quote, &NONCE, None)
    };
    assert_eq!(changed(|it| it.registers.extend([(0, "1".repeat(64))])), Err(Doubt::Registers));
    assert_eq!(changed(|it| it.registers.extend([(1, "0".repeat(64))])), Err(Doubt::Registers));
    assert_eq!(changed(|it| drop(it.registers.remove(&7))), Err(Doubt::Registers));
    assert_eq!(changed(|it| it.registers.extend([(0, "0".repeat(62))])), Err(Doubt::Registers));
    // The restriction is what makes the key speak for its chip alone.
    assert_eq!(changed(|it| it.signer[5] &= !1), Err(Doubt::Signer));
    assert_eq!(changed(|it| it.signer.push(0)), Err(Doubt::Signer));
}

#[test]
fn no_changed_byte_of_what_is_signed_is_believed() {
    for at in 0..recorded().attest.len() {
        let mut quote = recorded();
        quote.attest[at] ^= 1;
        assert_eq!(verify(&quote, &NONCE, None), Err(Doubt::Signature), "{at}");
    }
    for at in 0..recorded().signer.len() {
        let mut quote = recorded();
        quote.signer[at] ^= 1;
        assert!(verify(&quote, &NONCE, None).is_err(), "{at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn whatever_comes_is_read_without_a_panic(
        attest in prop::collection::vec(any::<u8>(), 0..200),
        signer in prop::collection::vec(any::<u8>(), 0..120),
        at in 0..89_usize,
    ) {
        let _ = Signed::read(&attest);
        let _ = key(&signer);
        // The beginning of a right one gets further.
        let _ = Signed::read(&[&bytes(ATTEST)[..at], &attest].concat());
        let _ = key(&[&bytes(SIGNER)[..at], &signer].concat());
    }
}
