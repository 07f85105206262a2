//! A machine without disks whose halves and programs are told by files, and what the script of the image does there.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Stdio,
};

use anyhow::Context;
use tempfile::TempDir;
use tokio::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../os-image/image/mkosi.extra/usr/lib/piccolo/halves");
/// Devices without a disk, the links that the rules of udev make, and what the kernel tells of them. `a6` was started, and is in use
/// where one is filled.
const DEVICES: &str = r#"
set -e
mount -t tmpfs -o mode=755 tmpfs /dev
mount -t tmpfs -o mode=755 tmpfs /run
mount --bind "$HERE/block" /sys/class/block
mknod -m 666 /dev/null c 1 3
ln -s /proc/self/fd /dev/fd
mkdir -p /dev/piccolo/halves
for file in "$HERE"/halves/*; do
  name=${file##*/}
  mknod "/dev/$name" b 7 200
  ln -s "../../$name" "/dev/piccolo/halves/$name"
done
ln -s ../a6 /dev/piccolo/half
# What the name of an array would have run.
echo "echo run >>$HERE/done" >/dev/sdb
mknod /dev/md127 b 9 127
ln -s ../md127 /dev/piccolo/state
PATH=$HERE/bin:$PATH PATIENCE=1 GLANCE=0.1 bash "$SCRIPT" $1
[ ! -e /run/piccolo/halves ] || cat /run/piccolo/halves >"$HERE/verdict"
"#;
/// It takes none of these halves where the file is there.
const MDADM: &str = r#"#!/bin/bash
case $* in
  "--examine --export "*) sed -n '/^MD_/p' "$HERE/halves/${3##*/}" ;;
  "--examine "*)
    ! grep -q '^hangs' "$HERE/halves/${2##*/}" || exec sleep 600
    grep -Ev '^(inside |called |MD_)' "$HERE/halves/${2##*/}" ;;
  *" --fail detached "*) echo "$*" >>"$HERE/room" ;;
  "--detail --export "*) printf 'MD_LEVEL=raid1\nMD_UUID=00000011:00000022:00000033:00000044\nMD_NAME=any:piccolo-state\n' ;;
  *)
    echo "$*" >>"$HERE/done"
    [[ ! -e $HERE/refuses ]] || [[ $* != *"/dev/b6" ]] || exit 1
    # What was added is filled, and full when somebody looks a second time.
    [[ $* != *" --add "* ]] || {
      mkdir -p "$HERE/block/md127/md/dev-b6" "$HERE/block/md127/slaves/b6"
      echo spare >"$HERE/block/md127/md/dev-b6/state"
    } ;;
esac
"#;
const BLKID: &str = r#"#!/bin/bash
name=${!#}
name=${name##*/}
# What the two are together has its header at the beginning, a half behind what it says of itself.
[ "$name" != md127 ] || { echo 11111111-2222-85da-8ce5-7f666ecddb19; exit; }
[ "$3" = 4194304 ] || exit 2
sed -n 's/^inside //p' "$HERE/halves/$name"
"#;
/// Who waits until a half is full.
const SYSTEMCTL: &str = "#!/bin/sh\necho \"systemctl $*\" >>\"$HERE/done\"\n";
/// What is filled is full once somebody has waited for it.
const SLEEP: &str = r#"#!/bin/bash
[ "$1" = 0.1 ] || exec /bin/sleep "$@"
echo waited >>"$HERE/done"
echo in_sync >"$HERE/block/md127/md/dev-b6/state"
echo 0 >"$HERE/block/md127/md/degraded"
"#;
/// The table of the disk of each half, and what is written of it.
const SFDISK: &str = r#"#!/bin/bash
disk=${!#}
half=${disk##*disk-}
called=$(sed -n 's/^called //p' "$HERE/halves/$half")
if [ "$1" = --dump ]; then
  start=C12A7328-F81F-11D2-BA4B-00A0C93EC93B attrs=
  [ "$called" != piccolo-half-made ] || attrs=', attrs="GUID:63"'
  [ ! -e "$HERE/hidden-$half" ] || start=0FC63DAF-8483-4772-8E79-3D69D8477DE4
  cat <<TABLE
label: gpt
/dev/disk1 : start=2048, size=9, type=$start, uuid=1, name="esp"
/dev/disk6 : start=9999, size=9, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=2, name="$called"$attrs
TABLE
else
  [ ! -e "$HERE/stubborn" ] || exec rm "$HERE/stubborn" /none
  [ ! -e "$HERE/unwritable" ] || { echo "$HERE" >>"$HERE/tried"; exit 1; }
  echo "sfdisk $*" >>"$HERE/done"
  grep -o 'type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\|name=.*' >>"$HERE/done"
fi
"#;
/// The UUID that an encryption is given is chance.
const CRYPTSETUP: &str = r#"#!/bin/bash
[[ $4 =~ ^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$ ]] || exit 1
what=NEW
[ "$4" != 11111111-2222-85da-8ce5-7f666ecddb19 ] || what=OLD
echo "cryptsetup ${*/$4/$what}" >>"$HERE/done"
[ ! -e "$HERE/unnamed" ]
"#;
/// The array that the one that was started belongs to, and the encryption inside of it.
pub(super) const OURS: (&str, &str) = ("00000011:00000022:00000033:00000044", "11111111-2222-85da-8ce5-7f666ecddb19");
pub(super) const OTHERS: (&str, &str) = ("00000055:00000066:00000077:00000088", "66666666-2222-3333-4444-555555555555");
/// The UUID in whose place ours was given, and one that was given in the place of ours.
pub(super) const PARENT: &str = "77777777-2222-3333-4444-555555555555";
pub(super) const HEIR: &str = "99999999-aaaa-8ec8-88fe-014605278aa8";

/// What a half says, as `mdadm` prints it.
#[derive(Clone)]
pub(super) struct Half {
    pub(super) name: &'static str,
    pub(super) array: &'static str,
    pub(super) inside: &'static str,
    /// Which of the halves it is.
    pub(super) own: &'static str,
    /// Who was there when it was last written to.
    pub(super) there: &'static str,
    /// How often md wrote down that something became of it.
    pub(super) events: u32,
    /// What its partition is called.
    pub(super) called: &'static str,
    pub(super) hangs: bool,
}

impl Half {
    /// One of ours that was there with the other one.
    pub(super) const OURS: Self = Self {
        name: "any:piccolo-state",
        array: OURS.0,
        inside: OURS.1,
        own: "0000000b",
        there: "AA",
        events: 40,
        called: "piccolo-state",
        hangs: false,
    };

    /// The one that was started.
    pub(super) const STARTED: Self = Self { own: "0000000a", ..Self::OURS };

    fn text(&self) -> String {
        let Self { name, array, inside, own, there, events, called, hangs } = self;
        let own = [*own; 4].join(":");
        // It tells the name in two ways, and only in one of them as it is.
        let first = name.lines().next().unwrap_or_default();
        let hangs = if *hangs { "hangs\n" } else { "" };
        format!(
            "{hangs}/dev/x:\n          Magic : a92b4efc\n     Array UUID : {array}\n           Name : {name}\n    Data Offset : 8192 \
             sectors\n    Device UUID : {own}\n   Device Role : Active device 0\n   Array State : {there} ('A' == active, '.' == \
             missing, 'R' == replacing)\nMD_LEVEL=raid1\nMD_NAME={first}\nMD_UUID={array}\nMD_DEV_UUID={own}\nMD_EVENTS={events}\ninside \
             {inside}\ncalled {called}\n"
        )
    }
}

/// What came of it: what `mdadm` and the others were to do, and what is told.
pub(super) struct Came {
    pub(super) done: String,
    pub(super) told: String,
    /// Which halves were to make room.
    pub(super) room: String,
    pub(super) said: String,
    pub(super) ran: bool,
}

/// How the machine is beside the halves.
#[derive(Clone, Copy)]
pub(super) struct Machine<'a> {
    /// How many halves are missing.
    pub(super) missing: &'a str,
    /// Which are in use beside the one that was started.
    pub(super) used: &'a [&'a str],
    /// What fails or is otherwise: by the names of files.
    pub(super) odd: &'a [&'a str],
    /// How large a new half is, in sectors, and its blocks.
    pub(super) new: (u32, u32),
}

impl Machine<'_> {
    /// One half is missing, and all else is well.
    pub(super) const PLAIN: Self = Self { missing: "1", used: &[], odd: &[], new: (108_192, 512) };
}

/// Runs the script where these halves are, of which `mdadm` takes none called `b6` if it `refuses`.
pub(super) async fn came(what: &str, halves: &[(&str, Half)], refuses: bool) -> anyhow::Result<Came> {
    let odd: &[&str] = if refuses { &["refuses"] } else { &[] };
    came_where(Machine { odd, ..Machine::PLAIN }, what, halves).await
}

/// Runs it on such a machine.
pub(super) async fn came_where(machine: Machine<'_>, what: &str, halves: &[(&str, Half)]) -> anyhow::Result<Came> {
    let here = TempDir::with_prefix("piccolo-halves-")?;
    let at = |name: &str| here.path().join(name);
    for name in ["bin", "halves", "block/md127/md/dev-a6", "block/md127/slaves/a6", "block/md127/queue"] {
        fs::create_dir_all(at(name))?;
    }
    for (name, text) in [
        ("md/degraded", machine.missing),
        ("md/component_size", "50000"),
        ("md/dev-a6/state", "in_sync"),
        ("queue/logical_block_size", "512"),
    ] {
        fs::write(at("block/md127").join(name), format!("{text}\n"))?;
    }
    for used in machine.used {
        fs::create_dir(at("block/md127/slaves").join(used))?;
        let state = at("block/md127/md").join(format!("dev-{used}"));
        fs::create_dir(&state)?;
        fs::write(state.join("state"), if machine.missing == "0" { "in_sync\n" } else { "spare\n" })?;
    }
    let programs = [
        ("mdadm", MDADM),
        ("blkid", BLKID),
        ("systemctl", SYSTEMCTL),
        ("sfdisk", SFDISK),
        ("sleep", SLEEP),
        ("cryptsetup", CRYPTSETUP),
        ("modprobe", "#!/bin/sh\n"),
    ];
    for (name, text) in programs {
        let path = at("bin").join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    for (name, half) in halves {
        fs::write(at("halves").join(name), half.text())?;
        let disk = at(&format!("disk-{name}"));
        let part = disk.join(name);
        fs::create_dir_all(part.join("holders"))?;
        fs::create_dir(disk.join("queue"))?;
        let (size, block) = machine.new;
        fs::write(disk.join("queue/logical_block_size"), format!("{block}\n"))?;
        fs::write(part.join("size"), format!("{size}\n"))?;
        fs::write(part.join("partition"), "6\n")?;
        symlink(&part, at("block").join(name))?;
    }
    for odd in machine.odd {
        fs::write(at(odd), "")?;
    }
    if machine.odd.contains(&"refuses") {
        fs::create_dir(at("disk-a6/a6/holders/md126"))?;
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--", "bash", "-c", DEVICES, "halves", what]);
    command.env("HERE", here.path()).env("SCRIPT", Path::new(SCRIPT)).stdin(Stdio::null()).kill_on_drop(true);
    // Stand-ins are slow on a busy machine, and are not to be taken for disks that do not answer.
    command.env("ANSWER", if halves.iter().any(|(_, it)| it.hangs) { "5" } else { "60" });
    let output = command.output().await.context("can't start unshare")?;
    let read = |name: &str| fs::read_to_string(at(name)).unwrap_or_default();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        println!("{said}");
    }
    let told = read("verdict").trim().to_owned();
    Ok(Came { done: read("done"), told, room: read("room"), said, ran: output.status.success() })
}
