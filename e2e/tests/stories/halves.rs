//! Which halves of a state that lies on two disks are put together when a machine starts, and which are filled later: by the script
//! of the image, in a namespace whose devices have no disk behind them. What a half says is told by stand-ins for `mdadm` and
//! `blkid`; the story of the guests has real ones. Needs no engine.

mod stage;

use anyhow::ensure;

use self::stage::{HEIR, Half, Machine, OTHERS, PARENT, came, came_where};

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
    let table =
        [("fill", hidden, WAITS), ("fill", full, FINISHED), ("filled", hidden, &waited), ("filled", full, FINISHED)];
    for (what, machine, done) in table {
        let came = came_where(machine, what, &halves).await?;
        ensure!(came.ran && came.done == done && came.told == "none", "{}, {}", came.done, came.told);
        ensure!(came.room == "/dev/md127 --fail detached --remove detached\n", "{}", came.room);
    }
    // What can't be written at once is tried again, by whoever waits.
    let stubborn = Machine { odd: &["hidden-b6", "stubborn"], ..full };
    let came = came_where(stubborn, "filled", &halves).await?;
    ensure!(came.ran && came.done == format!("{WAITS}{waited}"), "{}", came.done);
    let came = came_where(stubborn, "fill", &halves).await?;
    ensure!(came.ran && came.done == WAITS, "{}", came.done);
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
