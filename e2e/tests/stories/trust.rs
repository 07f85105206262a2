//! Keys that open on one TPM alone, and quotes of what a machine started. Needs no engine.

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use piccolo_agent::{
    host::{Above, Pcrs, Reason, Tpm, linux},
    secrets::{Identity, Plain},
};
use piccolo_e2e::{Machine, tpm::Chip};
use zeroize::Zeroizing;

use super::updates::text;

/// A digest that is measured.
const MEASURED: &str = "1111111111111111111111111111111111111111111111111111111111111111";
/// No engine is there.
const NOWHERE: &str = "unix:///nonexistent/docker.sock";

fn machine(chip: &Chip) -> anyhow::Result<Machine> {
    let way = format!("PICCOLO_TCTI={}", chip.way());
    Ok(Machine::on(NOWHERE)?.launched_by(&["env", "TSS2_LOG=all+NONE", &way]))
}

async fn say(machine: &Machine, words: &[&str]) -> anyhow::Result<String> {
    text(machine.piccolo(words)?.output().await?)
}

#[tokio::test]
async fn a_chip_gives_back_what_it_sealed_and_another_one_does_not() -> anyhow::Result<()> {
    let (mut chip, other) = (Chip::start().await?, Chip::start().await?);
    let (ours, theirs) = (linux::Chip::new(Some(&chip.way())), linux::Chip::new(Some(&other.way())));
    let (secret, pin) = (Zeroizing::new(vec![7; 32]), Zeroizing::new(vec![9; 32]));
    let seven: Pcrs = "7".parse().map_err(anyhow::Error::msg)?;

    let start = std::time::Instant::now();
    let loose = ours.seal(&secret, Pcrs::NONE, None, Above::Shared).await?;
    let sealed = start.elapsed();
    ensure!(ours.unseal(&loose, None).await? == secret);
    println!("sealed in {sealed:?}, opened in {:?}", start.elapsed() - sealed);
    let bound = ours.seal(&secret, seven, None, Above::Shared).await?;
    let guarded = ours.seal(&secret, seven, Some(&pin), Above::Shared).await?;
    ensure!(ours.unseal(&bound, None).await? == secret && ours.unseal(&guarded, Some(&pin)).await? == secret);

    // Wrong PINs, none, and another chip.
    let wrong = Zeroizing::new(vec![8; 32]);
    let refused = ours.unseal(&guarded, Some(&wrong)).await.err().context("a wrong PIN opens it")?;
    ensure!(refused.reason == Reason::PermissionDenied && refused.message.contains("PIN is wrong"), "{refused}");
    ensure!(ours.unseal(&guarded, None).await.is_err());
    theirs.seal(&secret, Pcrs::NONE, None, Above::Shared).await?;
    for sealed in [&loose, &bound, &guarded] {
        let refused = theirs.unseal(sealed, Some(&pin)).await.err().context("another chip opens it")?;
        ensure!(refused.reason == Reason::Undecryptable && refused.message.contains("recovery key"), "{refused}");
    }
    // Every byte of what was sealed counts.
    for at in (0..bound.blob.len()).step_by(3) {
        let mut changed = bound.clone();
        changed.blob[at] ^= 1;
        ensure!(ours.unseal(&changed, None).await.is_err(), "byte {at} does not count");
    }

    chip.extend(7, MEASURED).await?;
    for sealed in [&bound, &guarded] {
        let refused = ours.unseal(sealed, Some(&pin)).await.err().context("it opens after a change")?;
        ensure!(refused.message.contains("registers are not as they were"), "{refused}");
    }
    ensure!(ours.unseal(&loose, None).await? == secret);
    chip.restart().await?;
    ensure!(ours.unseal(&bound, None).await? == secret, "the same start does not open it");

    // A cleared chip is another one.
    chip.tool("tpm2_clear", &["-c", "p"]).await?;
    for sealed in [&loose, &bound] {
        ensure!(ours.unseal(sealed, None).await.is_err(), "a cleared chip opens it");
    }
    // Sixty verbs later it still has room: nothing is left behind in it.
    for _ in 0..20 {
        let sealed = ours.seal(&secret, seven, Some(&pin), Above::Shared).await?;
        ensure!(ours.unseal(&sealed, Some(&pin)).await? == secret);
        ours.look().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_keys_of_a_machine_go_into_its_chip_and_back() -> anyhow::Result<()> {
    let (chip, other) = (Chip::start().await?, Chip::start().await?);
    let mut daemon = machine(&chip)?;
    daemon.start().await?;
    let state = daemon.state();
    let (file, sealed) = (state.join("identity.age"), state.join("identity.age.sealed"));
    let status = say(&daemon, &["trust", "status"]).await?;
    ensure!(status.starts_with("software: ") && status.contains("tpm     IBM"), "{status}");
    let recipient = say(&daemon, &["secret", "recipient"]).await?;
    let authority = fs::read(state.join("access/ca.pem"))?;
    let before = fs::read(&file)?;

    let done = daemon.piccolo(&["trust", "seal"])?.output().await?;
    let shown = text(done)?;
    let recovery =
        shown.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")).context("no recovery key")?.to_owned();
    ensure!(shown.contains("hardware: "), "{shown}");
    ensure!(!file.exists() && !state.join("access/ca.key").exists() && sealed.exists());
    ensure!(ready(&daemon).await?.contains("[+]trust: hardware"), "{}", ready(&daemon).await?);
    ensure!(!seen(&daemon).await?.contains("AGE-SECRET-KEY-1"), "a key lies in plain");

    // It is the same machine after a start, also one that was killed.
    for polite in [true, false] {
        if polite {
            daemon.stop().await?;
        } else {
            daemon.kill().await?;
        }
        daemon.start().await?;
        ensure!(say(&daemon, &["secret", "recipient"]).await? == recipient);
        ensure!(fs::read(state.join("access/ca.pem"))? == authority && !file.exists());
    }
    daemon.stop().await?;

    // With another chip it says so, makes no other key, and the recovery key opens it.
    let way = format!("PICCOLO_TCTI={}", other.way());
    daemon = daemon.launched_by(&["env", "TSS2_LOG=all+NONE", &way]);
    daemon.start().await?;
    let status = say(&daemon, &["trust", "status"]).await?;
    ensure!(status.starts_with("none: ") && status.contains("recovery key"), "{status}");
    ensure!(ready(&daemon).await?.contains("[-]trust: none"), "{}", ready(&daemon).await?);
    ensure!(!file.exists() && !state.join("access/ca.key").exists(), "another key was made");
    let key = Identity::parse(&Plain::new(recovery.into_bytes())).context("a recovery key")?;
    ensure!(key.open(&fs::read_to_string(&sealed)?)?.expose() == before);
    daemon.stop().await?;

    let way = format!("PICCOLO_TCTI={}", chip.way());
    daemon = daemon.launched_by(&["env", "TSS2_LOG=all+NONE", &way]);
    daemon.start().await?;
    let undone = say(&daemon, &["trust", "unseal"]).await?;
    ensure!(undone.starts_with("software: ") && fs::read(&file)? == before && !sealed.exists(), "{undone}");
    daemon.stop().await
}

#[tokio::test]
async fn a_quote_proves_what_a_machine_started() -> anyhow::Result<()> {
    let (chip, other) = (Chip::start().await?, Chip::start().await?);
    let (mut ours, mut theirs) = (machine(&chip)?, machine(&other)?);
    ours.start().await?;
    theirs.start().await?;
    chip.extend(7, MEASURED).await?;
    let trust = ours.get("/trust").await?;
    let signer = trust["tpm"]["signer"].as_str().context("a signer")?;
    let proved = say(&ours, &["trust", "verify", "--pcrs", "0,7", "--signer", signer]).await?;
    ensure!(proved.contains(signer) && proved.contains("pcr 0   0000"), "{proved}");
    ensure!(!proved.contains("pcr 7   0000"), "{proved}");
    // Another machine is another one, and an answer to another question is none.
    let refused = theirs.piccolo(&["trust", "verify", "--signer", signer])?.output().await?;
    ensure!(refused.status.code() == Some(4), "{}", String::from_utf8_lossy(&refused.stderr));
    let quote = say(&ours, &["trust", "quote", "--nonce", "5e1f6a7b8c9d0e1f"]).await?;
    let file = ours.state().join("quote.json");
    fs::write(&file, &quote)?;
    let check = |nonce: &'static str| offline(&file, nonce);
    ensure!(check("5e1f6a7b8c9d0e1f").await? == 0 && check("5e1f6a7b8c9d0e1e").await? == 4);
    fs::write(&file, quote.replace("\"0\": \"0", "\"0\": \"1"))?;
    ensure!(check("5e1f6a7b8c9d0e1f").await? == 4, "a changed register is believed");
    ours.stop().await?;
    theirs.stop().await
}

/// Gives a chip a certificate where its maker would have put it.
async fn certify(chip: &Chip, certificate: &Path) -> anyhow::Result<()> {
    let size = fs::metadata(certificate)?.len().to_string();
    let rights = "ppread|ppwrite|ownerread|authread|no_da|platformcreate";
    chip.tool("tpm2_nvdefine", &["0x01c0000a", "-C", "p", "-s", &size, "-a", rights]).await?;
    chip.tool("tpm2_nvwrite", &["0x01c0000a", "-C", "p", "-i", &certificate.display().to_string()]).await
}

#[tokio::test]
async fn the_certificate_of_a_chip_is_of_its_own_key() -> anyhow::Result<()> {
    let (chip, other) = (Chip::start().await?, Chip::start().await?);
    let home = tempfile::TempDir::with_prefix("piccolo-maker-")?;
    let path = |name: &str| home.path().join(name).display().to_string();
    let (key, context) = (path("key.pem"), path("key.context"));
    chip.tool("tpm2_createek", &["-G", "ecc", "-c", &context, "-u", &key, "-f", "pem"]).await?;
    super::locked_disks::flush(&chip).await?;
    let openssl = async |words: &str| {
        let words = words.split(' ').map(|word| if word.contains('.') { path(word) } else { word.to_owned() });
        text(tokio::process::Command::new("openssl").args(words).output().await?)
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout maker.key -out maker.pem -subj /CN=maker -days 30").await?;
    fs::write(path("what.for"), "extendedKeyUsage=2.23.133.8.1\n")?;
    openssl(
        "x509 -new -force_pubkey key.pem -CA maker.pem -CAkey maker.key -subj /CN=chip -days 30 -extfile what.for \
         -outform DER -out chip.der",
    )
    .await?;
    // The same certificate in the chip that it was made for, and in another one.
    for (chip, is_own) in [(&chip, true), (&other, false)] {
        certify(chip, &home.path().join("chip.der")).await?;
        let mut daemon = machine(chip)?;
        daemon.start().await?;
        let makers = daemon.state().join("trust/makers");
        fs::create_dir_all(&makers)?;
        fs::copy(path("maker.pem"), makers.join("maker.pem"))?;
        let maker = daemon.get("/trust").await?["maker"].clone();
        ensure!(maker["ofThisChip"] == is_own && (maker["by"] == "maker.pem") == is_own, "{maker}");
        daemon.stop().await?;
    }
    Ok(())
}

/// Checks a quote where no daemon is, and returns the exit code.
async fn offline(file: &Path, nonce: &str) -> anyhow::Result<i32> {
    let nobody = Machine::on(NOWHERE)?;
    let path = file.to_str().context("a plain path")?;
    let done = nobody.piccolo(&["trust", "verify", path, "--nonce", nonce])?.output().await?;
    done.status.code().context("an exit code")
}

async fn ready(machine: &Machine) -> anyhow::Result<String> {
    piccolo_e2e::http::text(&machine.socket(), "/readyz?verbose").await
}

/// Returns all that the daemon tells or keeps.
async fn seen(machine: &Machine) -> anyhow::Result<String> {
    let mut seen = machine.whole_log();
    for path in ["/trust", "/plan", "/journal?limit=1000"] {
        seen.push_str(&machine.get(path).await?.to_string());
    }
    seen.push_str(&piccolo_e2e::machine::all_files(&machine.state())?);
    Ok(seen)
}
