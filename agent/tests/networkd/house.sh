#!/bin/bash
# A machine of its own in a network namespace: veth pairs, a bus, networkd. Runs "$@" in it.
set -eu
HOUSE=$1
shift
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/dbus /run/systemd/network /run/systemd/netif/{links,leases,lldp}
chown -R systemd-network /run/systemd/netif
mount -t tmpfs tmpfs /etc/systemd/network
# Where the devices of the machine can't be written to, networkd does not wait for udev.
mount -t sysfs -o ro sysfs /sys
ip link set lo up
# An address is there at once, not after a second in which the kernel asks whether somebody has it.
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
echo 0 >/proc/sys/net/ipv6/conf/default/dad_transmits
for n in 0 1 2; do
  ip link add "lan$n" address "52:54:00:00:00:0$n" type veth peer name "far$n"
  ip link set "far$n" up
done
cat >"$HOUSE/bus.conf" <<X
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
    <allow send_type="method_call"/><allow receive_type="method_call"/><allow receive_type="method_return"/>
    <allow receive_type="error"/><allow receive_type="signal"/>
  </policy>
</busconfig>
X
dbus-daemon --config-file="$HOUSE/bus.conf" --nofork 2>"$HOUSE/bus.log" &
BUS=$!
until [ -S /run/dbus/system_bus_socket ]; do sleep 0.05; done
/lib/systemd/systemd-networkd >"$HOUSE/networkd.log" 2>&1 &
NETWORKD=$!
trap 'kill $NETWORKD $BUS' EXIT
until [ -e /run/systemd/netif/links/1 ]; do sleep 0.05; done
"$@"
