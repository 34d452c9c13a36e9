"""Hosts of the lab, each a network namespace: virtual machines, physical routers, and the remote host."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from ipaddress import ip_interface, ip_network
from typing import Any, ClassVar, NamedTuple

from mininet.node import Host

from topologies.process import Result, argv_of, end, run

# What every host has in common.  Duplicate address detection and router advertisements would make addresses appear
# late or by surprise; flow labels would be hashed with the addresses by a router; ICMP is not rationed.
SETTINGS = {
    "net.ipv6.conf.all.disable_ipv6": 0,
    "net.ipv6.conf.default.disable_ipv6": 0,
    "net.ipv6.conf.all.accept_dad": 0,
    "net.ipv6.conf.default.accept_dad": 0,
    "net.ipv6.conf.default.dad_transmits": 0,
    "net.ipv6.conf.all.accept_ra": 0,
    "net.ipv6.conf.default.accept_ra": 0,
    "net.ipv6.conf.default.autoconf": 0,
    "net.ipv6.auto_flowlabels": 0,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    "net.ipv4.icmp_ratelimit": 0,
    "net.ipv6.icmp.ratelimit": 0,
}

# The congestion control decides the throughput, so it is fixed, whatever the machine's default is.  By route, because
# the sysctl takes only algorithms that the whole machine allows.
CONGESTION_CONTROL = "congctl cubic"


class Route(NamedTuple):
    """A route: prefix and equal-cost next hops, each an address and the interface it is on."""

    prefix: str
    next_hops: tuple[tuple[str, str], ...]

    def command(self, *options: str) -> str:
        """Return the ``ip`` command that sets the route, with more options of ``ip route`` if given."""
        family = ip_network(self.prefix).version
        if len(self.next_hops) == 1:
            hops = f"via {self.next_hops[0][0]} dev {self.next_hops[0][1]}"
        else:
            hops = " ".join(f"nexthop via {address} dev {interface}" for address, interface in self.next_hops)
        return " ".join([f"ip -{family} route replace", self.prefix, *options, hops])


class LabHost(Host):
    """A network namespace with ``run`` and ``popen``; subclasses give it addresses and routes."""

    settings: ClassVar[Mapping[str, int | str]] = {}

    def __init__(self, name: str, environment: Mapping[str, str] | None = None, **params: Any) -> None:
        """``environment`` is that of everything started in the host (default: ours)."""
        self._environment = environment
        self._background: list[subprocess.Popen] = []
        super().__init__(name, **params)
        self.set_sysctls({**SETTINGS, **self.settings})

    def _popen(self, cmd: list[str], **params: Any) -> subprocess.Popen:
        return super()._popen(cmd, **{"env": self._environment, **params})

    @property
    def _enter(self) -> list[str]:
        return ["mnexec", "-a", str(self.pid)]

    def run(
        self, command: str | Sequence[str], timeout: float = 30.0, check: bool = True, stdin: str | None = None
    ) -> Result:
        """Run a command in the host to its end and return stdout, stderr and returncode.

        A string is a shell's command line.  Raises CommandError if it takes longer than ``timeout`` seconds, or if it
        fails and ``check`` is true.
        """
        return run(command, timeout, check, stdin, self._environment, self._enter)

    def popen(self, *args: Any, **kwargs: Any) -> subprocess.Popen:
        """Start a command (a string is a shell's command line) in the host and return its Popen.

        Output goes to text pipes unless said otherwise.  The process, with its children, ends with the host at the
        latest.
        """
        command = args[0] if len(args) == 1 else [str(arg) for arg in args]
        pipe = subprocess.PIPE
        options = {"stdout": pipe, "stderr": pipe, "text": True, "env": self._environment, **kwargs}
        process = subprocess.Popen(self._enter + argv_of(command), start_new_session=True, **options)
        self._background.append(process)
        return process

    def pexec(self, *args: Any, **_kwargs: Any) -> tuple[str, str, int]:
        """Run a command and return output, errors, exit code (Mininet uses this)."""
        result = self.run(args[0] if len(args) == 1 else [str(arg) for arg in args], check=False)
        return result.stdout, result.stderr, result.returncode

    def set_sysctls(self, values: Mapping[str, int | str]) -> None:
        """Set kernel parameters of this namespace."""
        self.run(["sysctl", "-qw", *(f"{key}={value}" for key, value in values.items())])

    def config(self, **_params: Any) -> dict[str, Any]:  # noqa: D417
        """Give the host its addresses and routes (Mininet calls this with the node's options)."""
        self.run("set -e\nip link set lo up\n" + "\n".join(self.commands()))
        for intf in self.intfList():
            addresses = [address for address in self.addresses_of(intf.name) if ip_interface(address).version == 4]
            if addresses:
                intf.ip, intf.prefixLen = addresses[0].split("/")
        return {}

    def addresses_of(self, interface: str) -> list[str]:
        """Return the addresses (with prefix lengths) an interface gets."""
        raise NotImplementedError

    def commands(self) -> list[str]:
        """Return the shell commands that set up addresses and routes."""
        raise NotImplementedError

    def _address_commands(self) -> list[str]:
        return [
            f"ip address replace {address} dev {intf.name}"
            for intf in self.intfList()
            for address in self.addresses_of(intf.name)
        ]

    def own_addresses(self) -> list[str]:
        """Return the addresses (without prefix length) others know this host by, the first of each family first."""
        return [str(ip_interface(a).ip) for intf in self.intfList() for a in self.addresses_of(intf.name)]

    def _first(self, version: int) -> str:
        found = [address for address in self.own_addresses() if ip_interface(address).version == version]
        if not found:
            raise LookupError(f"host {self.name} has no IPv{version} address")
        return found[0]

    @property
    def ip(self) -> str:
        """The host's IPv4 address; LookupError if it has none."""
        return self._first(4)

    @property
    def ip6(self) -> str:
        """The host's IPv6 address; LookupError if it has none."""
        return self._first(6)

    def terminate(self) -> None:
        """End what runs in the host, then the host."""
        while self._background:
            end(self._background.pop(), grace=1.0)
        super().terminate()


class VM(LabHost):
    """A virtual machine on a segment, with the gateway as default router."""

    def addresses_of(self, interface: str) -> list[str]:
        """Return the addresses of the one interface."""
        return self.params["addresses"] if interface == self.params["interface"] else []

    def commands(self) -> list[str]:
        """Return the commands for addresses and default routes."""
        return self._address_commands() + [
            Route("0.0.0.0/0" if ip_interface(gateway).version == 4 else "::/0",
                  ((gateway, self.params["interface"]),)).command(CONGESTION_CONTROL)
            for gateway in self.params["gateways"]
        ]


class PhysicalRouter(LabHost):
    """The physical network: a Linux router with equal-cost routes over the uplinks of all service routers.

    A next hop whose link is down is left out at once.
    """

    HASH_ADDRESSES = 0
    HASH_FLOW = 1
    HASH_CUSTOM = 3

    settings = {
        "net.ipv4.ip_forward": 1,
        "net.ipv6.conf.all.forwarding": 1,
        "net.ipv4.conf.all.send_redirects": 0,
        "net.ipv4.conf.default.send_redirects": 0,
        "net.ipv4.conf.all.ignore_routes_with_linkdown": 1,
        "net.ipv4.conf.default.ignore_routes_with_linkdown": 1,
        "net.ipv6.conf.all.ignore_routes_with_linkdown": 1,
        "net.ipv6.conf.default.ignore_routes_with_linkdown": 1,
    }

    def addresses_of(self, interface: str) -> list[str]:
        """Return the router's addresses on an interface."""
        return self.params["interfaces"].get(interface, [])

    def commands(self) -> list[str]:
        """Return the commands for addresses and routes."""
        return self._address_commands() + [route.command() for route in self.params["routes"]]

    def config(self, **params: Any) -> dict[str, Any]:
        """Set addresses, routes and the choice of next hops."""
        result = super().config(**params)
        self.set_hash_policy(self.params["hash_policy"])
        return result

    def set_routes(self, routes: Sequence[Route]) -> None:
        """Set (add or replace) routes."""
        if routes:
            self.run("set -e\n" + "\n".join(route.command() for route in routes))

    def set_hash_policy(self, policy: int, fields: int | None = None, seed: int | None = None) -> None:
        """Choose what the kernel hashes to pick one of equal next hops, for IPv4 and IPv6.

        ``policy``: HASH_ADDRESSES, HASH_FLOW (addresses and ports) or HASH_CUSTOM with a bit mask ``fields``
        (kernel documentation, ip-sysctl: 0x1 source, 0x2 destination address, 0x10/0x20 ports …).  ``seed`` makes the
        choice repeatable; LabError where the kernel (before 6.11) has no seed.
        """
        values: dict[str, int | str] = {f"net.ipv{family}.fib_multipath_hash_policy": policy for family in (4, 6)}
        if fields is not None:
            values.update({f"net.ipv{family}.fib_multipath_hash_fields": fields for family in (4, 6)})
        if seed is not None:
            values["net.ipv4.fib_multipath_hash_seed"] = seed
        self.set_sysctls(values)


class RemoteHost(LabHost):
    """A host of the outside world that answers for every address of its prefixes."""

    settings = {
        "net.ipv4.ip_nonlocal_bind": 1,
        "net.ipv6.ip_nonlocal_bind": 1,
        "net.ipv4.fib_multipath_hash_policy": PhysicalRouter.HASH_FLOW,
        "net.ipv6.fib_multipath_hash_policy": PhysicalRouter.HASH_FLOW,
    }

    def addresses_of(self, interface: str) -> list[str]:
        """Return the addresses of an interface; the host's own are on the first one."""
        interfaces = self.params["interfaces"]
        own = [str(ip_interface(address)) for address in self.params["addresses"]]
        return [*(own if interface == next(iter(interfaces)) else []), *interfaces.get(interface, [])]

    def commands(self) -> list[str]:
        """Return the commands for addresses, local prefixes and default routes."""
        sources = {ip_interface(address).version: address for address in reversed(self.params["addresses"])}
        return [
            *self._address_commands(),
            *(self._local(prefix) for prefix in self.params["prefixes"]),
            *(
                route.command(f"src {sources[ip_network(route.prefix).version]}", CONGESTION_CONTROL)
                for route in self.params["routes"]
            ),
        ]

    @staticmethod
    def _local(prefix: str) -> str:
        return f"ip -{ip_network(prefix).version} route replace local {prefix} dev lo"

    def add_prefix(self, prefix: str) -> None:
        """Answer for every address of one more prefix; the physical routers must already route it here."""
        self.run(self._local(prefix))
