#!/bin/bash
# See to it that the machine's own Open vSwitch runs, for people who use plain `mn`.
# The lab does not need it (it starts instances of its own), so nothing here is fatal.
# No service manager is assumed; where there is one, it is the one to start the switch.
set -uo pipefail

scripts=/usr/share/openvswitch/scripts
log=$(mktemp)
trap 'rm -f "$log"' EXIT

running() { timeout 5 ovs-appctl -t ovs-vswitchd version >/dev/null 2>&1; }

give_up() {
    echo "setup: the system's Open vSwitch is not running and could not be started ($1)." >&2
    echo "setup: this is needed for plain 'mn' only; the lab and the tests start their own. Going on." >&2
    sed 's/^/    /' "$log" >&2
    exit 0
}

running && exit 0
[ "$(id -u)" -eq 0 ] || give_up "not root"
[ -x "$scripts/ovs-ctl" ] || give_up "no $scripts/ovs-ctl"

if [ -d /run/systemd/system ]; then
    systemctl start openvswitch-switch >"$log" 2>&1
    running || give_up "systemctl start openvswitch-switch"
    exit 0
fi

mkdir -p /var/run/openvswitch /var/log/openvswitch /etc/openvswitch
"$scripts/ovs-ctl" --system-id=random --no-ovs-vswitchd start >"$log" 2>&1 </dev/null || give_up "ovsdb-server"
# Without a kernel datapath bridges are userspace ones, and TCP from veth needs segmentation offload in the switch,
# or it arrives with unfinished checksums.  The switch reads this only when it starts.
timeout 10 ovs-vsctl --no-wait set Open_vSwitch . other_config:userspace-tso-enable=true >"$log" 2>&1 ||
    give_up "ovs-vsctl"
if ! "$scripts/ovs-ctl" --no-ovsdb-server start >"$log" 2>&1 </dev/null; then
    # ovs-ctl insists on the kernel module, which userspace bridges do without.
    timeout 20 ovs-vswitchd unix:/var/run/openvswitch/db.sock --pidfile --detach --no-chdir -vconsole:emer \
        -vsyslog:err --log-file >"$log" 2>&1 </dev/null || give_up "ovs-vswitchd"
fi
running || give_up "ovs-vswitchd"
