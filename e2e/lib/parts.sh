# The real parts that the demo and the tests stand on: an engine, a registry, an image. Sourced, not run.
# Everything is started in a directory of its own and stopped by its process id.

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# need_root: the parts need root, and so does the daemon.
need_root() { [ "$(id -u)" = 0 ] || die "this needs root: run it with sudo"; }

# need_packages NAME...: installs the Debian packages that are missing, and says which.
need_packages() {
  local missing=() name
  for name in "$@"; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
  done
  [ ${#missing[@]} = 0 ] && return
  command -v apt-get >/dev/null || die "missing here: ${missing[*]} (and there is no apt-get to install them)"
  say "installing from Debian: ${missing[*]}"
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends --no-remove "${missing[@]}" >"$WORK/apt.log" 2>&1 ||
    { tail -n 20 "$WORK/apt.log" >&2; die "apt-get could not install ${missing[*]}"; }
}

# need_engine: installs Debian's engine unless there is one, of whichever maker.
need_engine() {
  if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then
    need_packages docker.io
  fi
  need_packages docker-registry git iptables mount nftables iproute2 curl
}

# need_compiler: what Rust's linker needs, the libraries for TPMs, and Rust itself.
need_compiler() {
  command -v cargo >/dev/null || die "cargo is not on the PATH: install a Rust toolchain (https://rustup.rs)"
  need_packages gcc libc6-dev pkg-config libtss2-dev
}

# need_emulator: what an emulated machine is made of, its firmware and its TPM.
need_emulator() { need_packages fdisk qemu-system-x86 qemu-utils ovmf swtpm swtpm-tools; }

# whole_image DIRECTORY: prints the image for a stick among what os-image/build made.
whole_image() { find "$1" -name 'piccolo_*.raw' ! -name '*.usr.raw' ! -name '*.usr-verity.raw' ! -name '*.sysext.raw'; }

# fetch_busybox: puts a static busybox into $WORK, without installing it: the package would displace `busybox`.
fetch_busybox() {
  mkdir -p "$WORK/busybox"
  (cd "$WORK/busybox" && { apt-get -qq download busybox-static || { apt-get -qq update && apt-get -qq download busybox-static; }; } &&
    dpkg -x busybox-static_*.deb .) >"$WORK/apt.log" 2>&1 || { cat "$WORK/apt.log" >&2; die "can't fetch busybox-static"; }
  chmod 755 "$WORK/busybox/bin/busybox" 2>/dev/null || ln -sf ../usr/bin "$WORK/busybox/bin"
}

# fetch_resolved: puts systemd-resolved into $WORK, without installing it: the package would change who answers for names here.
# Where it can't be had, its test says that it is skipped.
fetch_resolved() {
  [ -x /lib/systemd/systemd-resolved ] && return
  mkdir -p "$WORK/resolved"
  if (cd "$WORK/resolved" && apt-get -qq download systemd-resolved && dpkg -x systemd-resolved_*.deb .) >"$WORK/apt.log" 2>&1; then
    export PICCOLO_RESOLVED=$WORK/resolved
  fi
}

# fetch_wpa: puts wpa_supplicant and its libraries into $WORK, without installing them: the package would have it run here.
# Where it can't be had, its test says that it is skipped.
fetch_wpa() {
  [ -x /sbin/wpa_supplicant ] && return
  mkdir -p "$WORK/wpa"
  if (cd "$WORK/wpa" && apt-get -qq download wpasupplicant libnl-3-200 libnl-genl-3-200 libnl-route-3-200 libpcsclite1 &&
    for package in *.deb; do dpkg -x "$package" . || exit; done) >"$WORK/apt.log" 2>&1; then
    export PICCOLO_WPA=$WORK/wpa
  fi
}

# engine_answers SOCKET
engine_answers() { curl -fs --max-time 5 --unix-socket "$1" http://engine/_ping >/dev/null 2>&1; }

# wait_for SECONDS WHAT COMMAND...: tries until the command succeeds.
wait_for() {
  local left=$(($1 * 10)) what=$2
  shift 2
  until "$@"; do
    left=$((left - 1))
    [ $left -gt 0 ] || die "$what did not come up in time; see $WORK"
    sleep 0.1
  done
}

# start_engine: starts an engine of our own; sets DOCKER_HOST.
start_engine() {
  local socket=$WORK/docker.sock
  say "starting a Docker engine in $WORK"
  # What the machine's own engine is told is not meant for this one.
  echo '{}' >"$WORK/daemon.json"
  setsid dockerd --config-file "$WORK/daemon.json" --data-root "$WORK/docker" --exec-root "$WORK/exec" --pidfile "$WORK/dockerd.pid" \
    --host "unix://$socket" --containerd-namespace "${WORK##*/}" --containerd-plugins-namespace "${WORK##*/}-plugins" \
    >>"$WORK/dockerd.log" 2>&1 &
  wait_for 60 "the Docker engine" engine_answers "$socket"
  export DOCKER_HOST=unix://$socket
}

# start_registry PORT: starts a registry on loopback; sets REGISTRY.
start_registry() {
  REGISTRY=localhost:$1
  say "starting a registry at $REGISTRY"
  cat >"$WORK/registry.yml" <<EOF
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $WORK/registry }, delete: { enabled: true } }
http: { addr: "127.0.0.1:$1" }
EOF
  docker-registry serve "$WORK/registry.yml" >"$WORK/registry.log" 2>&1 &
  echo $! >"$WORK/registry.pid"
  wait_for 20 "the registry" curl -fs -o /dev/null "http://$REGISTRY/v2/"
}

# make_image TAG...: makes an image of Debian's static busybox and pushes it under each tag, so that pulling is real.
make_image() {
  local root=$WORK/image tag
  mkdir -p "$root"/{bin,etc,tmp,www,proc,sys,dev}
  cp "${BUSYBOX:-$WORK/busybox/bin/busybox}" "$root/bin/busybox"
  "$root/bin/busybox" --list | grep -vx busybox | while read -r applet; do ln -sf busybox "$root/bin/$applet"; done
  printf 'root:x:0:0:root:/:/bin/sh\nweb:x:1000:1000:web:/:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\nweb:x:1000:\n' >"$root/etc/group"
  printf '<h1>It runs, and it is kept so</h1>\n' >"$root/www/index.html"
  for tag in "$@"; do
    printf '%s\n' "$tag" >"$root/etc/version"
    tar -C "$root" -c . | docker import -c 'CMD ["sh"]' -c 'ENV PATH=/bin' - "$REGISTRY/busybox:$tag" >/dev/null
    docker push -q "$REGISTRY/busybox:$tag" >/dev/null
    docker rmi "$REGISTRY/busybox:$tag" >/dev/null
  done
}

# make_archive FILE: writes an image of busybox as `docker save` does, without an engine. Its name is `busybox:1`.
make_archive() {
  local root=$WORK/archive id
  mkdir -p "$root"/{bin,etc,tmp,www} "$WORK/saved"
  cp "${BUSYBOX:-$WORK/busybox/bin/busybox}" "$root/bin/busybox"
  "$root/bin/busybox" --list | grep -vx busybox | while read -r applet; do ln -sf busybox "$root/bin/$applet"; done
  printf '<h1>It runs, and it is kept so</h1>\n' >"$root/www/index.html"
  tar -C "$root" --sort=name --owner=0 --group=0 --numeric-owner -cf "$WORK/saved/layer.tar" .
  id=$(sha256sum "$WORK/saved/layer.tar" | cut -d' ' -f1)
  printf '{"architecture":"amd64","os":"linux","config":{"Cmd":["sh"],"Env":["PATH=/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$id" >"$WORK/saved/config.json"
  echo '[{"Config":"config.json","RepoTags":["busybox:1"],"Layers":["layer.tar"]}]' >"$WORK/saved/manifest.json"
  tar -C "$WORK/saved" -cf "$1" manifest.json config.json layer.tar
}

# stop_engine: stops the engine of our own, if there is one, and waits until it is gone.
stop_engine() {
  local pid
  pid=$(cat "$WORK/dockerd.pid" 2>/dev/null) || return 0
  kill "$pid" 2>/dev/null || return 0
  (wait_for 60 "the end of the engine" gone "$pid") || kill -KILL "$pid"
}

# gone PID: succeeds once the process is no more.
gone() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# stop_parts: stops what was started here, the engine last.
stop_parts() {
  [ ! -e "$WORK/registry.pid" ] || kill "$(cat "$WORK/registry.pid")" 2>/dev/null || true
  rm -f "$WORK/registry.pid"
  stop_engine
}

# clear_mounts: takes away what an engine that ended in a hurry left mounted in $WORK.
clear_mounts() {
  local mounts
  mapfile -t mounts < <(awk -v work="$WORK/" 'index($2, work) == 1 { print $2 }' /proc/self/mounts | sort -r)
  [ ${#mounts[@]} = 0 ] || umount --lazy "${mounts[@]}"
}

# clear_work PATH...: removes $WORK and these directories.
clear_work() {
  clear_mounts
  rm -rf --one-file-system "$WORK" "$@"
}

# free_port WANTED: prints the port if nobody listens there, else one that is free.
free_port() {
  local port=$1
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
  echo "$port"
}
