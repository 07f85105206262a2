//! Files as disks, and what they leave behind.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

/// How long somebody may look at a partition just now.
const PATIENCE: Duration = Duration::from_secs(20);

/// Has the kernel forget the partitions of a file: it keeps those that somebody looks at, also for the next file that is a disk of
/// that name.
pub(crate) fn forget_partitions(device: &str) {
    let name = device.trim_start_matches("/dev/");
    let is_part = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&format!("{name}p"));
    let has_some = || fs::read_dir(format!("/sys/block/{name}")).is_ok_and(|it| it.flatten().any(is_part));
    let begun = Instant::now();
    while has_some() && begun.elapsed() < PATIENCE {
        drop(Command::new("partx").args(["--delete", device]).output());
        std::thread::sleep(Duration::from_millis(10));
    }
}
