//! What a machine stands on and nobody here can mend: its links and its clock.

use std::{fs, path::Path, time::SystemTime};

use jiff::Timestamp;

use super::calling::addresses;

/// What systemd writes once a server has told the time.
const TOLD: &str = "/run/systemd/timesync/synchronized";

/// Says whether others can reach this machine over its links. Where there are no links, as in a namespace for tests,
/// nobody waits for addresses.
///
/// # Errors
/// What is wrong.
pub fn links() -> Result<String, String> {
    judge(&addresses().map_err(|error| format!("the kernel does not tell the addresses: {error}"))?, &devices())
}

fn judge<A: ToString>(addresses: &[A], devices: &[String]) -> Result<String, String> {
    match (addresses, devices) {
        ([], []) => Ok("there is no link to others".to_owned()),
        ([], _) => Err(format!("none of the links has an address ({}): is a cable plugged in?", devices.join(", "))),
        _ => Ok(format!("reached by {}", addresses.iter().map(A::to_string).collect::<Vec<_>>().join(", "))),
    }
}

/// Names the links that are devices. What another namespace shows is none of ours.
fn devices() -> Vec<String> {
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let names = entries.filter(|it| it.path().join("device").exists()).map(|it| it.file_name());
    let ours = |name: &String| fs::exists(Path::new("/proc/sys/net/ipv4/conf").join(name)).unwrap_or(false);
    let mut names: Vec<_> = names.filter_map(|it| it.into_string().ok()).filter(ours).collect();
    names.sort();
    names
}

/// Says whether the clock can be right: it is not before this program was built.
///
/// # Errors
/// What is wrong.
pub fn clock(now: Timestamp) -> Result<String, String> {
    let built = std::env::current_exe().and_then(|it| it.metadata()?.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let built = Timestamp::try_from(built).unwrap_or(Timestamp::UNIX_EPOCH);
    right(now, built, fs::exists(TOLD).unwrap_or(false))
}

fn right(now: Timestamp, built: Timestamp, told: bool) -> Result<String, String> {
    // Whoever builds here may be a little ahead.
    if now.as_second() + 86_400 < built.as_second() {
        return Err(format!("it shows {now:.0}, before this program was built: no server has told the time"));
    }
    Ok(if told { "a server told the time" } else { "no server has told the time; the machine's own clock is believed" }
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_without_an_address_are_told_of() {
        let none: [&str; 0] = [];
        assert_eq!(judge(&none, &[]), Ok("there is no link to others".to_owned()));
        assert_eq!(judge(&["192.168.1.5"], &["eth0".to_owned()]), Ok("reached by 192.168.1.5".to_owned()));
        let wrong = judge(&none, &["eth0".to_owned()]).unwrap_err();
        assert!(wrong.contains("eth0") && wrong.contains("cable"), "{wrong}");
    }

    #[test]
    fn a_clock_before_the_program_is_wrong() {
        let built = Timestamp::from_second(1_800_000_000).unwrap();
        let wrong = right(Timestamp::UNIX_EPOCH, built, false).unwrap_err();
        assert!(wrong.contains("1970"), "{wrong}");
        assert!(right(built, built, false).unwrap().contains("own clock"));
        assert!(right(built, built, true).unwrap().contains("server told"));
    }
}
