//! Which halves of a state that lies on two disks are put together when a machine starts, and which are filled later: by the script
//! of the image, in a namespace whose devices have no disk behind them. What a half says is told by stand-ins for `mdadm` and
//! `blkid`; the story of the guests has real ones. Needs no engine.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Stdio,
};

use anyhow::{Context, ensure};
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
const OURS: (&str, &str) = ("00000011:00000022:00000033:00000044", "11111111-2222-85da-8ce5-7f666ecddb19");
const OTHERS: (&str, &str) = ("00000055:00000066:00000077:00000088", "66666666-2222-3333-4444-555555555555");
/// The UUID in whose place ours was given, and one that was given in the place of ours.
const PARENT: &str = "77777777-2222-3333-4444-555555555555";
const HEIR: &str = "99999999-aaaa-8ec8-88fe-014605278aa8";
/// A name by which an array once had whatever is on its disk run. It is as long as a name can be.
const EVIL: &str = "\nData Offset : _[$(sh</dev/sdb)]";
const JOINED: &str = "--assemble --run /dev/md/piccolo-state /dev/a6 /dev/b6\n";
/// A table in which the half counts, and a firmware finds the start.
const FINISHED: &str = "sfdisk --quiet --no-reread --no-tell-kernel --force /dev/disk-b6\n\
                        type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\nname=\"esp\"\nname=\"piccolo-state\"\n";
/// One in which it counts, and a firmware finds none.
const COUNTS: &str =
    "sfdisk --quiet --no-reread --no-tell-kernel --force /dev/disk-b6\nname=\"esp\"\nname=\"piccolo-state\"\n";
const NEW_UUID: &str = "cryptsetup luksUUID --batch-mode --uuid NEW /dev/md127\n";
const OLD_UUID: &str = "cryptsetup luksUUID --batch-mode --uuid OLD /dev/md127\n";
const ADDED: &str = "/dev/md127 --add /dev/b6\n";
const WAITS: &str = "systemctl --no-block --quiet start piccolo-filled.service\n";
const ALONE: &str = "--assemble --run /dev/md/piccolo-state /dev/a6\n";

/// What a half says, as `mdadm` prints it.
#[derive(Clone)]
struct Half {
    name: &'static str,
    array: &'static str,
    inside: &'static str,
    /// Which of the halves it is.
    own: &'static str,
    /// Who was there when it was last written to.
    there: &'static str,
    /// How often md wrote down that something became of it.
    events: u32,
    /// What its partition is called.
    called: &'static str,
    hangs: bool,
}

impl Half {
    /// One of ours that was there with the other one.
    const OURS: Self = Self {
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
    const STARTED: Self = Self { own: "0000000a", ..Self::OURS };

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
struct Came {
    done: String,
    told: String,
    /// Which halves were to make room.
    room: String,
    said: String,
    ran: bool,
}

/// How the machine is beside the halves.
#[derive(Clone, Copy)]
struct Machine<'a> {
    /// How many halves are missing.
    missing: &'a str,
    /// Which are in use beside the one that was started.
    used: &'a [&'a str],
    /// What fails or is otherwise: by the names of files.
    odd: &'a [&'a str],
    /// How large a new half is, in sectors, and its blocks.
    new: (u32, u32),
}

impl Machine<'_> {
    /// One half is missing, and all else is well.
    const PLAIN: Self = Self { missing: "1", used: &[], odd: &[], new: (108_192, 512) };
}

/// Runs the script where these halves are, of which `mdadm` takes none called `b6` if it `refuses`.
async fn came(what: &str, halves: &[(&str, Half)], refuses: bool) -> anyhow::Result<Came> {
    let odd: &[&str] = if refuses { &["refuses"] } else { &[] };
    came_where(Machine { odd, ..Machine::PLAIN }, what, halves).await
}

/// Runs it on such a machine.
async fn came_where(machine: Machine<'_>, what: &str, halves: &[(&str, Half)]) -> anyhow::Result<Came> {
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

#[tokio::test]
async fn only_a_half_that_belongs_to_the_one_that_was_started_is_joined() -> anyhow::Result<()> {
    let (a, b) = (Half::STARTED, Half::OURS);
    let table = [
        // Both are there; the older of the two is for mdadm to tell.
        (vec![("a6", a.clone()), ("b6", b.clone())], JOINED),
        (vec![("a6", Half { there: "A.", ..a.clone() }), ("b6", b.clone())], JOINED),
        (vec![("a6", a.clone()), ("b6", Half { there: ".A", ..b.clone() })], JOINED),
        // Nobody comes, or somebody else.
        (vec![("a6", a.clone())], ALONE),
        (vec![("a6", a.clone()), ("b6", Half { array: OTHERS.0, ..b.clone() })], ALONE),
        (vec![("a6", a.clone()), ("b6", Half { inside: OTHERS.1, ..b.clone() })], ALONE),
        // Each was written to without the other, and of three it is not known which are the two.
        (vec![("a6", Half { there: "A.", ..a.clone() }), ("b6", Half { there: ".A", ..b.clone() })], ALONE),
        (vec![("a6", a.clone()), ("b6", b.clone()), ("c6", b.clone())], ALONE),
        // A copy of the one that was started is no other half.
        (vec![("a6", a.clone()), ("b6", b.clone()), ("c6", a.clone())], JOINED),
        // One that does not answer is none.
        (vec![("a6", Half { there: "A.", ..a.clone() }), ("b6", Half { hangs: true, ..b.clone() })], ALONE),
    ];
    for (at, (halves, expected)) in table.into_iter().enumerate() {
        let came = came("join", &halves, false).await?;
        ensure!(came.ran && came.done == expected, "{at}: {}", came.done);
    }
    // What holds no encryption of ours is no state, and nothing is joined.
    let none = came("join", &[("a6", Half { inside: "", ..a.clone() })], false).await?;
    ensure!(!none.ran && none.done.is_empty(), "something else was taken for a state: {}", none.done);
    // Where the two can't be joined the one that was started is enough, and nothing stays that holds it.
    let came = came("join", &[("a6", a), ("b6", b)], true).await?;
    ensure!(came.ran && came.done == format!("{JOINED}--stop /dev/md126\n{ALONE}"), "{}", came.done);
    Ok(())
}

#[tokio::test]
async fn only_one_half_that_nobody_wrote_to_alone_is_filled() -> anyhow::Result<()> {
    let (a, b) = (Half::STARTED, Half::OURS);
    let filled = "/dev/md127 --re-add /dev/b6\n";
    let finished = FINISHED;
    let unfinished = Half { called: "piccolo-half-made", ..b.clone() };
    let both = format!("{filled}{finished}");
    let table = [
        (vec![("b6", b.clone())], filled, "none"),
        (vec![], "", "none"),
        (vec![("b6", Half { array: OTHERS.0, ..b.clone() })], "", "none"),
        // What is there and is not taken is told.
        (vec![("b6", Half { there: ".A", ..b.clone() })], "", "differ b6"),
        (vec![("b6", Half { inside: OTHERS.1, ..b.clone() })], "", "strange b6"),
        // Of a half and its copy neither is taken, whatever they are called, and nothing is written to them.
        (vec![("b6", b.clone()), ("c6", b.clone())], "", "several b6 c6"),
        (vec![("b6", unfinished.clone()), ("c6", unfinished.clone())], "", "several b6 c6"),
        (vec![("b6", b.clone()), ("c6", Half { there: ".A", ..b.clone() })], "", "several b6 c6"),
        // A copy of the one that is in use would be the same half twice.
        (vec![("b6", a.clone())], "", "none"),
        // One counts when it is taken, and not before.
        (vec![("b6", unfinished.clone())], both.as_str(), "none"),
        (vec![("b6", Half { there: ".A", ..unfinished })], "", "differ b6"),
    ];
    for (at, (mut halves, expected, told)) in table.into_iter().enumerate() {
        halves.push(("a6", a.clone()));
        let came = came("fill", &halves, false).await?;
        ensure!(came.ran && came.done == expected && came.told == told, "{at}: {}, {}", came.done, came.told);
    }
    let came = came("fill", &[("a6", a), ("b6", b)], true).await?;
    ensure!(came.done == filled && came.told == "refused b6", "{}, {}", came.done, came.told);
    Ok(())
}

/// A new disk takes the place of a lost one, which then is none of the two any more: what is encrypted has another UUID.
#[tokio::test]
async fn a_new_disk_takes_the_place_of_a_lost_one() -> anyhow::Result<()> {
    let (a, plain) = (Half::STARTED, Machine { odd: &["hidden-b6"], ..Machine::PLAIN });
    // What the disk held, or holds now, is told by nobody yet.
    let new = Half { array: OTHERS.0, called: "piccolo-half-made", ..Half::OURS };
    let halves = [("a6", a.clone()), ("b6", new)];
    // It counts from then on, so that nobody erases it, and no firmware starts from its disk before it is full.
    let done = format!("{NEW_UUID}{ADDED}{COUNTS}{WAITS}");
    // Where it can't be added all is as before; and what is filled is not said to have failed.
    let back = format!("{NEW_UUID}{ADDED}{OLD_UUID}");
    let unnamed = format!("{NEW_UUID}{OLD_UUID}");
    let table: [(Machine<'_>, bool, &str, &str); 7] = [
        (plain, true, &done, ""),
        (Machine { odd: &["hidden-b6", "refuses"], ..plain }, false, &back, "was not added"),
        (Machine { odd: &["hidden-b6", "unnamed"], ..plain }, false, &unnamed, "can't be given another UUID"),
        (
            Machine { odd: &["hidden-b6", "unwritable"], ..plain },
            true,
            &format!("{NEW_UUID}{ADDED}{WAITS}"),
            "does not count yet",
        ),
        // What can't be added is known before.
        (Machine { new: (108_191, 512), ..plain }, false, "", "too small"),
        (Machine { new: (108_192, 4096), ..plain }, false, "", "larger than those of this state"),
        (Machine { missing: "0", ..plain }, false, "", "is missing"),
    ];
    for (at, (machine, ran, expected, word)) in table.into_iter().enumerate() {
        let came = came_where(machine, "replace /dev/b6", &halves).await?;
        let told = if ran { "none" } else { "" };
        ensure!(came.ran == ran && came.done == expected && came.told == told, "{at}: {}, {}", came.done, came.told);
        ensure!(came.said.contains(word), "{at}: {}", came.said);
        // What failed makes room for good here; what was only pulled does as one looks.
        ensure!(came.room == "/dev/md127 --fail detached --remove failed\n", "{at}: {}", came.room);
    }
    // Of what was plugged in meanwhile nothing is overlooked; what was replaced before is told, and is in nobody's way.
    let old = Half { inside: OTHERS.1, events: 39, own: "0000000c", ..Half::OURS };
    for (beside, ran, expected, told, word) in [
        (Half { own: "0000000c", ..Half::OURS }, false, "", "", "is there by now: /dev/c6"),
        (Half { own: "0000000c", there: ".A", ..Half::OURS }, false, "", "", "is there by now: /dev/c6"),
        (Half { events: 41, ..old.clone() }, false, "", "", "was replaced by is there: /dev/c6"),
        (old.clone(), true, done.as_str(), "strange c6", ""),
    ] {
        let came = came_where(plain, "replace /dev/b6", &[&halves[..], &[("c6", beside)]].concat()).await?;
        ensure!(came.ran == ran && came.done == expected && came.told == told, "{word}: {}, {}", came.done, came.told);
        ensure!(came.said.contains(word), "{}", came.said);
    }
    Ok(())
}

/// Of two states, of which one was replaced by the other, it is told which one is older, whichever is started.
#[tokio::test]
async fn an_older_state_is_not_told_as_the_true_one() -> anyhow::Result<()> {
    let (a, b) = (Half::STARTED, Half { own: "0000000c", ..Half::OURS });
    let strange = |inside, events| Half { inside, events, own: "0000000d", ..Half::OURS };
    let both = Machine { missing: "0", used: &["b6"], ..Machine::PLAIN };
    for (machine, other, events, told) in [
        // By what md counts where nothing else is known.
        (both, OTHERS.1, 39, "strange c6"),
        (both, OTHERS.1, 41, "newer c6"),
        // By the UUID, however often the older one was started.
        (both, HEIR, 12, "newer c6"),
        (both, PARENT, 99, "strange c6"),
        // What holds no encryption was never filled.
        (both, "", 41, "strange c6"),
        // Nor is one hidden that is there while the other one is filled.
        (Machine { used: &["b6"], ..Machine::PLAIN }, PARENT, 99, "strange c6"),
    ] {
        let halves = [("a6", a.clone()), ("b6", b.clone()), ("c6", strange(other, events))];
        let came = came_where(machine, "fill", &halves).await?;
        ensure!(came.ran && came.told == told, "{other} {events}: {}", came.told);
    }
    // The one that was replaced is started alone, beside the two that came after it.
    let two = [("b6", strange(HEIR, 60)), ("c6", Half { own: "0000000e", ..strange(HEIR, 60) })];
    let halves = [&[("a6", a)], &two[..]].concat();
    for (what, done, told) in [("join", ALONE, ""), ("fill", "", "newer b6 c6")] {
        let came = came(what, &halves, false).await?;
        ensure!(came.ran && came.done == done && came.told == told, "{what}: {}, {}", came.done, came.told);
    }
    Ok(())
}

/// What is filled is waited for, and its disk can be started once it is full.
#[tokio::test]
async fn a_firmware_finds_the_start_of_a_disk_whose_half_is_full() -> anyhow::Result<()> {
    let halves = [("a6", Half::STARTED), ("b6", Half { own: "0000000c", ..Half::OURS })];
    let hidden = Machine { used: &["b6"], odd: &["hidden-b6"], ..Machine::PLAIN };
    let full = Machine { missing: "0", ..hidden };
    let waited = format!("waited\n{FINISHED}");
    let table = [("fill", hidden, WAITS), ("fill", full, FINISHED), ("filled", hidden, &waited)];
    for (what, machine, done) in table {
        let came = came_where(machine, what, &halves).await?;
        ensure!(came.ran && came.done == done && came.told == "none", "{}, {}", came.done, came.told);
        ensure!(came.room == "/dev/md127 --fail detached --remove detached\n", "{}", came.room);
    }
    // Where nothing is filled nobody waits.
    let came = came_where(full, "filled", &halves).await?;
    ensure!(came.ran && came.done.is_empty(), "{}", came.done);
    Ok(())
}

/// The name of an array is chosen by whoever makes the disk that is plugged in.
#[tokio::test]
async fn what_a_disk_says_of_itself_is_never_run() -> anyhow::Result<()> {
    ensure!(EVIL.len() <= 32, "no array can be called so");
    let names = [
        EVIL,
        "\nArray State : AA ",
        "\nData Offset : 8192 sectors",
        "\nArray UUID : x",
        "$(sh</dev/sdb)",
        "`sh</dev/sdb`",
    ];
    for name in names {
        let evil = Half { name, ..Half::OURS };
        let is_plain = !name.contains(" : ") || name.contains("UUID");
        for (what, taken) in [("join", JOINED), ("fill", "/dev/md127 --re-add /dev/b6\n")] {
            let came = came(what, &[("a6", Half::STARTED), ("b6", evil.clone())], false).await?;
            let left = if what == "join" { ALONE } else { "" };
            // Where it speaks with two tongues nothing of it is believed.
            ensure!(came.ran && came.done == if is_plain { taken } else { left }, "{name:?}: {}", came.done);
        }
    }
    Ok(())
}
