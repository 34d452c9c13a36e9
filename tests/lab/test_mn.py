"""Mininet's own ``mn`` with the files of ``mininet/``, in namespaces of their own.

``mn`` works with the system's Open vSwitch, and when anything fails it kills processes by name all over the machine:
so it gets its own network, process and mount namespaces, with an Open vSwitch started in them the usual way.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SESSION = r"""
set -e
mount -t tmpfs tmpfs /run
case "$PWD" in /tmp/*) ;; *) mount -t tmpfs tmpfs /tmp ;; esac
ip link set lo up
mkdir -p /run/openvswitch /run/db
export OVS_RUNDIR=/run/openvswitch OVS_LOGDIR=/run/db
ovsdb-tool create /run/db/conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server /run/db/conf.db --remote=punix:$OVS_RUNDIR/db.sock --pidfile --detach --log-file -vconsole:off
ovs-vsctl --no-wait init
ovs-vsctl --no-wait set Open_vSwitch . other_config:userspace-tso-enable=$TSO
ovs-vswitchd unix:$OVS_RUNDIR/db.sock --pidfile --detach --log-file -vconsole:off
unset OVS_RUNDIR OVS_LOGDIR
printf %s "$GATEWAY" >/run/gateway.yaml
mn --custom "mininet/$TOPO.py" --topo "$TOPO${GATEWAY:+,config=/run/gateway.yaml}" --switch saga --controller saga
echo "left bridges: $(ovs-vsctl list-br)"
echo "left processes: $(ps ax -o comm= | grep -cE 'ryu-manager|mnexec')"
"""


def mn(topology: str, *commands: str, tso: bool = True, gateway: str = "") -> str:
    """Run ``mn`` on a topology (with another gateway file's text, if given), feed it commands, return its output."""
    unshare = ["unshare", "--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "TOPO": topology,
                   "TSO": str(tso).lower(), "GATEWAY": gateway}
    finished = subprocess.run(
        [*unshare, "bash", "-c", SESSION], input="\n".join([*commands, "exit", ""]), cwd=ROOT, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
    )
    assert finished.returncode == 0, finished.stdout
    assert "Caught exception" not in finished.stdout, finished.stdout
    assert "left bridges: \n" in finished.stdout
    assert "left processes: 0\n" in finished.stdout
    return finished.stdout


@pytest.mark.parametrize("topology", ["four_edge", "ecmp", "vm_a_to_host_b"])
def test_mn_brings_the_gateway_up(topology: str) -> None:
    output = mn(topology, "py net.controllers[0].process.wait_settled()['settled']",
                "A ping -c 1 -w 10 10.0.0.1", "A ping -c 1 -w 10 B", "A ping -c 1 -w 10 2001:db8:b::2")
    assert len(re.findall(r" 1 received", output)) == 3, output
    assert "PING 192.0.2.2 " in output


def test_without_tso_in_the_switch_hosts_finish_their_checksums() -> None:
    output = mn("vm_a_to_host_b", "py net.controllers[0].process.wait_settled()['settled']",
                "sh ovs-vsctl get Open_vSwitch . other_config", "A ethtool -k A-eth0 | grep tx-checksumming",
                "B nc -l -N -p 9000 </dev/null | wc -c > /run/received &",
                "A until head -c 3000000 /dev/zero | nc -N 192.0.2.2 9000; do :; done", "B wait; cat /run/received",
                tso=False)
    assert "tx-checksumming: off" in output
    assert re.search(r"^(saga> )*3000000\s*$", output, re.MULTILINE), output


def test_the_command_line_has_the_commands_of_the_gateway() -> None:
    output = mn("vm_a_to_host_b", "py net.controllers[0].process.wait_settled()['settled']", "wait", "help", "status",
                "owner 192.0.2.2", "path A B tcp 80", "explain --src A --dst 2001:db8:b::2")
    assert "exit code" not in output, output
    assert re.search(r"explain.*owner", output, re.DOTALL)
    assert len(re.findall(r"t0-sr[12]|edge[12]", output)) > 4, output


def test_another_gateway_file() -> None:
    text = (ROOT / "etc" / "gateways" / "vm_a_to_host_b.yaml").read_text().replace("10.0.0.", "10.7.7.")
    output = mn("vm_a_to_host_b", "py net.controllers[0].process.wait_settled()['settled']",
                "A ping -c 1 -w 10 10.7.7.1", gateway=text)
    assert " 1 received" in output, output
