//! Which halves of a state that lies on two disks are put together when a machine starts, and which are filled later: by the script
//! of the image, in a namespace whose devices have no disk behind them. What a half says is told by stand-ins for `mdadm` and
//! `blkid`; the story of the guests has real ones. Needs no engine.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Stdio};

use anyhow::{Context, ensure};
use tempfile::TempDir;
use tokio::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../os-image/image/mkosi.extra/usr/lib/piccolo/halves");
/// Devices without a disk, and the links that the rules of udev make.
const DEVICES: &str = r#"
set -e
mount -t tmpfs -o mode=755 tmpfs /dev
mknod -m 666 /dev/null c 1 3
ln -s /proc/self/fd /dev/fd
mkdir -p /dev/piccolo/halves
for file in "$HERE"/halves/*; do
  name=${file##*/}
  mknod "/dev/$name" b 7 200
  ln -s "../../$name" "/dev/piccolo/halves/$name"
done
ln -s ../a6 /dev/piccolo/half
mknod /dev/md127 b 9 127
ln -s ../md127 /dev/piccolo/state
PATH=$HERE/bin:$PATH PATIENCE=1 bash "$SCRIPT" "$1"
"#;
const MDADM: &str = r#"#!/bin/bash
case $1 in
  --examine) grep -v '^inside ' "$HERE/halves/${2##*/}" ;;
  --detail) printf '/dev/md127:\n           Version : 1.2\n              UUID : 11:22:33:44\n' ;;
  *) echo "$*" >>"$HERE/done" ;;
esac
"#;
const BLKID: &str = r#"#!/bin/bash
name=${!#}
name=${name##*/}
# What the two are together has its header at the beginning, a half behind what it says of itself.
[ "$name" != md127 ] || { echo luks-1; exit; }
[ "$3" = 4194304 ] || exit 2
sed -n 's/^inside //p' "$HERE/halves/$name"
"#;
const UDEVADM: &str = "#!/bin/sh\necho piccolo-state\n";

/// What a half says: the array that it belongs to, what is inside of it, and who was there when it was last written to.
fn half(array: &str, inside: &str, state: &str) -> String {
    format!(
        "/dev/x:\n          Magic : a92b4efc\n     Array UUID : {array}\n    Data Offset : 8192 sectors\n   Array State : {state} \
         ('A' == active, '.' == missing, 'R' == replacing)\ninside {inside}\n"
    )
}

/// Runs the script where these halves are, and returns what it had `mdadm` do.
async fn done(what: &str, halves: &[(&str, String)]) -> anyhow::Result<String> {
    let here = TempDir::with_prefix("piccolo-halves-")?;
    for name in ["bin", "halves"] {
        fs::create_dir(here.path().join(name))?;
    }
    for (name, text) in [("mdadm", MDADM), ("blkid", BLKID), ("udevadm", UDEVADM), ("modprobe", "#!/bin/sh\n")] {
        let path = here.path().join("bin").join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    for (name, text) in halves {
        fs::write(here.path().join("halves").join(name), text)?;
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--", "bash", "-c", DEVICES, "halves", what]);
    command.env("HERE", here.path()).env("SCRIPT", Path::new(SCRIPT)).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.context("can't start unshare")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
    Ok(fs::read_to_string(here.path().join("done")).unwrap_or_default())
}

const OURS: (&str, &str) = ("11:22:33:44", "luks-1");

#[tokio::test]
async fn only_a_half_that_belongs_to_the_one_that_was_started_is_joined() -> anyhow::Result<()> {
    let (array, inside) = OURS;
    let whole = || half(array, inside, "AA");
    let both = "--assemble --run /dev/md/piccolo-state /dev/a6 /dev/b6\n";
    let alone = "--assemble --run /dev/md/piccolo-state /dev/a6\n";
    let table = [
        // Both are there; the older of the two is for mdadm to tell.
        (vec![("a6", whole()), ("b6", whole())], both),
        (vec![("a6", half(array, inside, "A.")), ("b6", whole())], both),
        (vec![("a6", whole()), ("b6", half(array, inside, ".A"))], both),
        // Nobody comes, or somebody else.
        (vec![("a6", whole())], alone),
        (vec![("a6", whole()), ("b6", half("55:66:77:88", inside, "AA"))], alone),
        (vec![("a6", whole()), ("b6", half(array, "luks-2", "AA"))], alone),
        // Each was written to without the other, and of three it is not known which are the two.
        (vec![("a6", half(array, inside, "A.")), ("b6", half(array, inside, ".A"))], alone),
        (vec![("a6", whole()), ("b6", whole()), ("c6", whole())], alone),
    ];
    for (halves, expected) in table {
        let done = done("join", &halves).await?;
        ensure!(done == expected, "{halves:?}: {done}");
    }
    // What holds no encryption of ours is no state, and nothing is joined.
    ensure!(done("join", &[("a6", half(array, "", "AA"))]).await.is_err(), "something else was taken for a state");
    Ok(())
}

#[tokio::test]
async fn only_a_half_that_nobody_wrote_to_alone_is_filled() -> anyhow::Result<()> {
    let (array, inside) = OURS;
    let table = [
        (half(array, inside, "AA"), true),
        (half(array, inside, ".A"), false),
        (half("55:66:77:88", inside, "AA"), false),
        (half(array, "luks-2", "AA"), false),
    ];
    for (text, is_filled) in table {
        let done = done("fill", &[("b6", text.clone())]).await?;
        ensure!(done.contains("/dev/md127 --re-add /dev/b6") == is_filled, "{text}: {done}");
    }
    Ok(())
}
