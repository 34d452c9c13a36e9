"""Packets for the fabric: as flows for ``ofproto/trace``, and as real frames; and the stations around the gateway."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from controller.model.gateway import Address
from controller.pipeline import addresses
from tests.ovs.fabric import Fabric

GATEWAY = 1
STRANGER = "02:00:00:00:00:99"


@dataclass(frozen=True)
class Station:
    """A host or router outside the fabric: the port it is behind, its Ethernet address, its IP addresses."""

    port: str
    mac: str
    ipv4: str
    ipv6: str

    def announce(self, fabric: Fabric) -> None:
        """Tell the neighbours who it is: gratuitous ARP and an unsolicited neighbour advertisement."""
        fabric.send(self.port, Ether(src=self.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(
            op=1, hwsrc=self.mac, psrc=self.ipv4, hwdst="00:00:00:00:00:00", pdst=self.ipv4))
        fabric.send(self.port, Ether(src=self.mac, dst="33:33:00:00:00:01") / IPv6(
            src=self.ipv6, dst="ff02::1", hlim=255) / ICMPv6ND_NA(
                tgt=self.ipv6, R=0, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=self.mac))


A = Station("t0-dr-web", "02:00:00:00:0a:01", "10.0.0.2", "2001:db8:a::2")


def upstream(slot: int) -> Station:
    """The physical router on the uplink of a slot."""
    return Station(f"t0-up{slot}", f"02:00:00:00:0b:{slot:02x}", f"172.16.{slot}.1", f"2001:db8:{slot}::1")


def segment_mac(index: int = 1) -> str:
    """Ethernet address of the distributed router on a segment."""
    return addresses.text(addresses.segment(GATEWAY, index))


def uplink_mac(slot: int, interface: int = 1) -> str:
    """Ethernet address of an uplink."""
    return addresses.text(addresses.uplink(GATEWAY, slot, interface))


def flow(eth_src: str, eth_dst: str, source: str | Address, destination: str | Address, proto: str = "tcp",
         ports: tuple[int, int] = (40000, 80), ttl: int = 64) -> str:
    """Return a packet as ``ofproto/trace`` takes it.  ``ports`` are type and code for ICMP."""
    source, destination = ip_address(str(source)), ip_address(str(destination))
    six = source.version == 6
    ip = f"ipv6_src={source},ipv6_dst={destination}" if six else f"nw_src={source},nw_dst={destination}"
    names = ("icmp_type", "icmp_code") if proto == "icmp" else (f"{proto}_src", f"{proto}_dst")
    if six and proto == "icmp":
        names = ("icmpv6_type", "icmpv6_code")
    return (f"{proto}{6 if six else ''},dl_src={eth_src},dl_dst={eth_dst},{ip},nw_ttl={ttl},"
            f"{names[0]}={ports[0]},{names[1]}={ports[1]}")


def north(slot: int, source: str | Address, destination: str | Address, **more) -> tuple[str, str, str]:
    """A packet from the distributed router to the service router of a slot: (bridge, port, flow)."""
    macs = addresses.text(addresses.dr_backplane(GATEWAY)), addresses.text(addresses.backplane(GATEWAY, slot))
    return f"t0-sr{slot}", f"t0-sr{slot}-bp", flow(*macs, source, destination, **more)


def south(slot: int, source: str | Address, destination: str | Address, **more) -> tuple[str, str, str]:
    """A packet from outside to the uplink of a slot: (bridge, port, flow)."""
    return f"t0-sr{slot}", f"t0-up{slot}", flow(upstream(slot).mac, uplink_mac(slot), source, destination, **more)


def punt_mac(slot: int, group: int = 0, gateway: int = GATEWAY, kind: int = addresses.FrameKind.PUNT) -> str:
    """Address of a frame between service routers."""
    return addresses.text(addresses.frame(gateway, kind, slot, group))
