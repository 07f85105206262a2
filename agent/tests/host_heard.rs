//! What a Host manifest writes is heard by the real programs that it is written for, each started alone in namespaces of its
//! own. Skipped, and said, where they are not here.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test says what is wrong, or that it was skipped, and runs real programs"
)]

#[path = "support/skip.rs"]
mod skip;

use std::{
    fs,
    net::UdpSocket,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::Command,
    sync::Arc,
    time::Duration,
};

use piccolo_agent::{
    host::{Settings as _, linux::Own},
    reconcile::{Reconciler, host::Hosts},
};
use piccolo_schema::{Desired, Host, HostSpec};
use skip::skipped;
use tempfile::TempDir;

/// The address of a time server, and what says that the test is it.
const SERVER: &str = "10.99.0.1";
const HEARS: &str = "PICCOLO_TEST_HEARS";

/// Says of all services that they run, but for the SSH server, which can be switched on.
const SYSTEMCTL: &str = "#!/bin/sh
[ \"$1\" = show ] || exit 0
for unit in systemd-timesyncd.service:active systemd-resolved.service:active ssh.service:inactive; do
  printf 'Id=%s\\nLoadState=loaded\\nActiveState=%s\\n\\n' \"${unit%:*}\" \"${unit#*:}\"
done
";

/// Brings an SSH server up on the files of the house, and logs in with the key of the manifest, with another and with none.
const LOGIN: &str = r#"
set -eu
HOUSE=$1
mount --make-rprivate /
ip link set lo up
mount -t tmpfs tmpfs /run
mkdir -p /run/sshd
mount --bind "$HOUSE/root/etc/ssh" /etc/ssh
/usr/sbin/sshd -D -e -p 2222 -h "$HOUSE/host" 2>"$HOUSE/sshd.log" &
SSHD=$!
trap 'kill $SSHD; cat "$HOUSE/sshd.log" >&2' EXIT
for _ in $(seq 200); do (: </dev/tcp/127.0.0.1/2222) 2>/dev/null && break; sleep 0.05; done
enter() {
  ssh -F none -p 2222 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes -o IdentitiesOnly=yes \
    -o IdentityAgent=none "$@" root@127.0.0.1 echo inside </dev/null
}
[ "$(enter -i "$HOUSE/key")" = inside ]
if enter -i "$HOUSE/other"; then echo "another key got in" >&2; exit 1; fi
if enter -o PubkeyAuthentication=no; then echo "nobody got in" >&2; exit 1; fi
echo done
"#;

/// Starts systemd-timesyncd on the files of the house, and waits for its first question.
const TIME: &str = r#"
set -eu
HOUSE=$1
shift
mount --make-rprivate /
ip link set lo up
ip addr add 10.99.0.1/32 dev lo
mount -t tmpfs tmpfs /run
# It keeps the time of its last answer there, and would set a clock that is behind it.
mount -t tmpfs tmpfs /var/lib/systemd
mkdir -p /run/systemd/timesync /var/lib/systemd/timesync
chown -R systemd-timesync:systemd-timesync /run/systemd/timesync /var/lib/systemd/timesync
mount --bind "$HOUSE/root/etc/systemd" /etc/systemd
"$@" &
HEARS=$!
for _ in $(seq 400); do grep -q ':007B ' /proc/net/udp && break; sleep 0.05; done
/lib/systemd/systemd-timesyncd >"$HOUSE/timesyncd.log" 2>&1 &
ASKS=$!
trap 'kill $ASKS; cat "$HOUSE/timesyncd.log" >&2' EXIT
wait $HEARS
"#;

/// Two machines on one wire, each with systemd-resolved on the files of the house; the second asks for the name of the first.
const NAMES: &str = r#"
set -eu
HOUSE=$1
RESOLVED=$2
mount --make-rprivate /
ip link set lo up
unshare --net sleep 60 &
FAR=$!
trap 'kill $FAR $(jobs -p) 2>/dev/null || true' EXIT
until [ "$(readlink /proc/$FAR/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
ip link add here type veth peer name there
ip link set there netns $FAR
ip addr add 10.5.0.1/24 dev here
ip link set here up
nsenter -t $FAR -n sh -c 'ip link set lo up; ip addr add 10.5.0.2/24 dev there; ip link set there up'
cat >"$HOUSE/bus.conf" <<X
<busconfig>
  <type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
    <allow send_type="method_call"/><allow receive_type="method_call"/><allow receive_type="method_return"/>
    <allow receive_type="error"/><allow receive_type="signal"/>
  </policy>
</busconfig>
X
for file in passwd group; do
  cp /etc/$file "$HOUSE/$file"
  grep -q ^systemd-resolve: "$HOUSE/$file" || case $file in
    passwd) echo 'systemd-resolve:x:64994:64994::/:/usr/sbin/nologin' >>"$HOUSE/$file" ;;
    group) echo 'systemd-resolve:x:64994:' >>"$HOUSE/$file" ;;
  esac
  mount --bind "$HOUSE/$file" /etc/$file
done
mount --bind "$HOUSE/root/etc/systemd" /etc/systemd
cat >"$HOUSE/machine" <<'X'
set -eu
hostname "$1"
mount -t tmpfs tmpfs /run
mkdir -p /run/dbus /run/systemd
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
dbus-daemon --config-file="$HOUSE/bus.conf" --nofork &
until [ -S /run/dbus/system_bus_socket ]; do sleep 0.02; done
"$RESOLVED/lib/systemd/systemd-resolved" &
until "$RESOLVED/usr/bin/resolvectl" mdns "$2" yes 2>/dev/null; do sleep 0.05; done
if [ "$1" = desk ]; then
  until "$RESOLVED/usr/bin/resolvectl" query attic.local 2>/dev/null; do sleep 0.1; done
else
  read -r _
fi
X
export HOUSE RESOLVED
mkfifo "$HOUSE/end"
unshare --mount --uts bash "$HOUSE/machine" attic here <>"$HOUSE/end" >"$HOUSE/attic.log" 2>&1 &
timeout 25 nsenter -t $FAR -n unshare --mount --uts bash "$HOUSE/machine" desk there || { cat "$HOUSE/attic.log" >&2; exit 1; }
echo >"$HOUSE/end"
wait $!
"#;

/// A machine whose files are under a root of their own, as this manifest wants them.
async fn house(spec: &HostSpec) -> TempDir {
    let house = TempDir::new().unwrap();
    fs::set_permissions(house.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (path, text) in [
        ("root/etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
        ("root/etc/hosts", "127.0.0.1 localhost\n"),
        ("root/etc/systemd/timesyncd.conf", "[Time]\n"),
        ("root/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication yes\n"),
        ("systemctl", SYSTEMCTL),
    ] {
        let path = house.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let systemctl = house.path().join("systemctl");
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let own = Arc::new(Own::with(&house.path().join("root"), &house.path().join("state"), &systemctl));
    let (desired, hosts) = (Desired::complete(vec![Host::new(Host::NAME, spec.clone())]), Hosts(Arc::clone(&own)));
    // Whether the server was switched on, the stand-in does not remember: what is written is what counts here.
    for _ in 0..3 {
        for step in &Hosts::<Own>::plan(&desired, &own.settings().await.unwrap()).steps {
            hosts.apply(step).await.unwrap_or_else(|error| panic!("{step}: {error}"));
        }
    }
    house
}

/// Runs a script in namespaces of its own. None where that, or a program, can't be had.
fn within(house: &Path, program: &str, script: &str, more: &[&str]) -> Option<(bool, String)> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0);
    if !is_root || !Path::new(program).exists() {
        skipped(format_args!("it takes root and {program}"));
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "bash", "-c", script, "bash"]).arg(house).args(more);
    let output = command.env(HEARS, "1").output().unwrap();
    let words = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if words.contains("Operation not permitted") && words.contains("unshare") {
        skipped("no namespace can be made here");
        return None;
    }
    Some((output.status.success(), words))
}

#[tokio::test]
async fn whoever_is_named_logs_in_and_nobody_else() {
    let keys = TempDir::new().unwrap();
    for name in ["key", "other", "host"] {
        let mut made = Command::new("ssh-keygen");
        made.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]);
        let Ok(true) = made.arg(keys.path().join(name)).status().map(|it| it.success()) else {
            skipped("there is no ssh-keygen");
            return;
        };
    }
    let public = fs::read_to_string(keys.path().join("key.pub")).unwrap();
    let ssh = serde_json::json!({ "ssh": { "user": "root", "keys": [public.trim()] } });
    let house = house(&serde_json::from_value(ssh).unwrap()).await;
    for name in ["key", "other", "host"] {
        fs::copy(keys.path().join(name), house.path().join(name)).unwrap();
    }
    let Some((well, words)) = within(house.path(), "/usr/sbin/sshd", LOGIN, &[]) else { return };
    assert!(well && words.contains("done"), "{words}");
}

#[tokio::test]
async fn the_server_that_is_named_is_asked_for_the_time() {
    if std::env::var_os(HEARS).is_some() {
        let socket = UdpSocket::bind((SERVER, 123)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut question = [0; 128];
        let length = socket.recv(&mut question).unwrap();
        // The head of NTP, in the mode of a client. It is not answered: the clock is the machine's own.
        assert!(length >= 48 && question[0] & 7 == 3, "{length} {}", question[0]);
        return;
    }
    let house = house(&serde_json::from_value(serde_json::json!({ "ntp": [SERVER] })).unwrap()).await;
    let written = house.path().join("root/etc/systemd/timesyncd.conf.d/10-piccolo.conf");
    assert!(fs::read_to_string(&written).is_ok_and(|it| it.contains(SERVER)));
    let own = std::env::current_exe().unwrap();
    let words = [own.to_str().unwrap(), "--exact", "the_server_that_is_named_is_asked_for_the_time"];
    let Some((well, words)) = within(house.path(), "/lib/systemd/systemd-timesyncd", TIME, &words) else { return };
    assert!(well, "{words}");
}

#[tokio::test]
async fn a_neighbour_asks_for_the_name_and_is_answered() {
    // One that is not installed may lie elsewhere.
    let resolved = std::env::var("PICCOLO_RESOLVED").unwrap_or_default();
    let program = format!("{resolved}/lib/systemd/systemd-resolved");
    if !Command::new(&program).arg("--version").output().is_ok_and(|it| it.status.success()) {
        skipped("systemd-resolved does not run here");
        return;
    }
    let house = house(&serde_json::from_value(serde_json::json!({ "mdns": true })).unwrap()).await;
    let written = house.path().join("root/etc/systemd/resolved.conf.d/10-piccolo.conf");
    assert!(fs::read_to_string(&written).is_ok_and(|it| it.contains("MulticastDNS=yes")));
    let Some((well, words)) = within(house.path(), &program, NAMES, &[&resolved]) else { return };
    assert!(well && words.contains("attic.local: 10.5.0.1"), "{words}");
    eprintln!("{words}");
}
