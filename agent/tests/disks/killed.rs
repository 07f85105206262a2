//! A making that is killed at each of its steps, counted and not timed.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use piccolo_agent::{
    host::linux::{Drives, Outside},
    reconcile::{Reconciler, disk::Disks},
};
use piccolo_schema::disk::Filesystem;

use super::room::{Room, can_not, done, let_go, plan, settle, wanted};

/// The programs by which a disk is changed or looked over, and the words by which such a call is known.
const STEPS: [(&str, &str); 5] =
    [("blkdiscard", ""), ("wipefs", "--all"), ("mkfs.ext4", ""), ("e2fsck", ""), ("tune2fs", "-L")];

/// On which side of a step the hands are killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// Hands outside of the daemon that are killed before or after a step.
struct Cut<'a> {
    room: &'a Room,
}

impl Cut<'_> {
    /// Lets so many moments pass, one of each step on this side of it, and has the hands killed at the next one. `wipefs` always has
    /// one behind it too: what comes next, our other marks, is written by no program.
    fn at(room: &Room, side: Side, moments: u32) -> Cut<'_> {
        let (shim, left) = (room.path("shim"), room.path("left"));
        fs::create_dir_all(&shim).unwrap();
        fs::write(&left, moments.to_string()).unwrap();
        let moment = format!(
            "left=$(cat {0}); [ \"$left\" -gt 0 ] || {{ kill -9 $PPID; exit 1; }}; echo $((left - 1)) > {0}",
            left.display()
        );
        for (name, words) in STEPS {
            let homes = ["/sbin", "/usr/sbin", "/bin", "/usr/bin"].map(|home| Path::new(home).join(name));
            let Some(real) = homes.into_iter().find(|it| it.exists()) else { continue };
            let real = real.display();
            let (before, after) = match side {
                Side::Before if name == "wipefs" => (&*moment, &*moment),
                Side::Before => (&*moment, ""),
                Side::After => ("", &*moment),
            };
            let script = format!(
                "#!/bin/sh\ncase \"$*\" in *{words}*) ;; *) exec {real} \"$@\" ;; esac\n{before}\n{real} \"$@\"\nstatus=$?\n\
                 {after}\nexit $status\n"
            );
            let program = shim.join(name);
            fs::write(&program, script).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        }
        let run = format!(
            "#!/bin/sh\nwhile [ \"${{1#-}}\" != \"$1\" ]; do shift; done\nPATH={}:$PATH exec \"$@\"\n",
            shim.display()
        );
        fs::write(room.path("systemd-run"), run).unwrap();
        fs::set_permissions(room.path("systemd-run"), fs::Permissions::from_mode(0o700)).unwrap();
        Cut { room }
    }

    fn drives(&self) -> Arc<Drives> {
        let (systemd_run, state) = (self.room.path("systemd-run"), self.room.path("state"));
        let outside = Outside { systemd_run, piccolod: env!("CARGO_BIN_EXE_piccolod").into(), state };
        Drives::open_outside(&self.room.path("state"), outside, None)
    }
}

/// Killed at any step, a making goes on; the disk beside it keeps every byte. A blank disk is cut after each step, one that a ticket
/// gives away before each, and once it is wiped.
#[tokio::test]
async fn killed_at_each_step_a_making_goes_on_and_nothing_foreign_changes() {
    if can_not() {
        return;
    }
    let mut room = Room::new();
    room.plug("neighbour", |it| drop(done(&["mkfs.ext4", "-q", "-L", "photos", it])));
    let neighbour = fs::read(room.path("neighbour")).unwrap();
    for (has_ticket, side) in [(false, Side::After), (true, Side::Before)] {
        let (mut gone_on, mut is_done) = (0, false);
        while !is_done {
            assert!(gone_on < 20, "it never ends");
            let name = format!("disk-{has_ticket}-{gone_on}");
            let device = room.plug(&name, |it| {
                if has_ticket {
                    done(&["mkfs.ext4", "-q", "-L", "old", it]);
                }
            });
            let (whole, mut spec) = (room.drives(), room.spec(&name, Filesystem::Ext4));
            if has_ticket {
                let serial = spec.select.serial.clone().unwrap();
                spec.wipe = Some(whole.wipe_ticket(&serial, &serial).await.unwrap().1.ticket);
            }
            let desired = wanted(&[("it", &spec)]);
            let planned = plan(&whole, &desired).await;
            let made = Disks(Cut::at(&room, side, gone_on).drives()).apply(&planned.steps[0]).await;
            is_done = made.is_ok();
            let_go(&device);
            // Once our mark is on it, and until it is a whole one, the same manifest ends it.
            assert_eq!(settle(&room.drives(), &desired).await, None, "{name}");
            gone_on += 1;
            assert!(fs::read(room.path("neighbour")).unwrap() == neighbour, "{name}");
            // That a disk is let go is looked at elsewhere: here nothing is remembered of it.
            done(&["umount", &device]);
            fs::remove_dir_all(room.path("state")).unwrap();
            room.pull(&device);
        }
        assert!(gone_on > 4, "only {gone_on} went on");
    }
}
