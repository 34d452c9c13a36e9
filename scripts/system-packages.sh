#!/bin/bash
# Install the Debian packages that the controller, the lab and the tests use.
# When all are there already nothing is asked of apt, so a second run needs neither network nor root.
set -euo pipefail

packages=(
    openvswitch-switch      # the switch itself, ovs-ofctl, ovs-vsctl, ovs-appctl
    mininet                 # hosts and links of the lab (only packaged by the distribution)
    python3-venv            # .venv
    ca-certificates         # pip over TLS
    iproute2 ethtool        # namespaces, links, kernel ECMP of the physical router, offloads
    nftables                # counters and filters of the physical router
    iputils-ping traceroute # what the tests send
    iperf3 curl netcat-openbsd
    tcpdump                 # what the demonstration watches
    procps psmisc           # ps and killall, which Mininet's own tools call
)

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "setup: installing ${missing[*]}"
if ! command -v apt-get >/dev/null; then
    echo "setup: no apt-get here; install these by hand: ${missing[*]}" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "setup: must be root to install: ${missing[*]}" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
policy=
trap 'rm -f "$log" $policy' EXIT
# Without systemd the package would start the switch by itself, before open-vswitch.sh can set how it is to start.
if ! [ -d /run/systemd/system ] && ! [ -e /usr/sbin/policy-rc.d ]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
# A third-party source that is down must not stop us: what is really missing fails in the next step.
apt-get update -qq || echo "setup: apt-get update reported errors, going on" >&2
if ! apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" >"$log" 2>&1 </dev/null; then
    tail -n 40 "$log" >&2
    exit 1
fi
