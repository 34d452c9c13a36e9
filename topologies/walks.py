"""The way that packets really took, read from the port counters of the bridges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controller.model import names
from controller.model.gateway import Gateway, ServiceRouter
from topologies.errors import LabError
from topologies.lab import Lab

Counts = dict[str, tuple[int, int]]
"""Port name to packets received and sent."""


@dataclass(frozen=True)
class Passage:
    """Packets that crossed one port in one direction."""

    bridge: str
    port: str
    came_in: bool
    packets: int

    def __str__(self) -> str:
        return f"{self.bridge:8} {'<-' if self.came_in else '->'} {self.port:12} {self.packets} packets"


@dataclass(frozen=True)
class Walk:
    """One direction as observed: the edge it entered by, the edge that served it, and the ports it crossed."""

    entered: str
    served: str
    punted: bool
    passages: tuple[Passage, ...]


class WalkObserver:
    """Watches one gateway of a lab.  Traffic other than the observed one must be few packets."""

    def __init__(self, lab: Lab, gateway: Gateway | None = None):
        self._lab = lab
        self._gateway = gateway or lab.config.gateways[0]

    def counts(self) -> Counts:
        """Return the packets of every router port.  Counters of the datapath are collected first."""
        self._lab.appctl(self._gateway.routers[0].bridge, "revalidator/purge")
        return {port: (counters.rx_packets, counters.tx_packets) for router in self._gateway.routers
                for port, counters in self._lab.counters(router.bridge).items()}

    def north(self, before: Counts, after: Counts, least: int) -> Walk:
        """Return the walk north of a flow of at least ``least`` packets.  LabError if there is not exactly one."""
        return self._walk(before, after, least, names.BACKPLANE, names.PUNT_SOUTH)

    def south(self, before: Counts, after: Counts, least: int) -> Walk:
        """Return the walk south of a flow of at least ``least`` packets.  LabError if there is not exactly one."""
        return self._walk(before, after, least, "", names.PUNT_NORTH)

    def _ports(self, router: ServiceRouter, which: str) -> list[str]:
        """Names of a router's ports: its uplinks for "", else the one on a logical switch."""
        if not which:
            return [interface.port for interface in router.interfaces]
        return [names.sr_port(self._gateway.prefix, router.slot, which)]

    def _passages(self, before: Counts, after: Counts, which: str,
                  received: bool) -> Iterator[tuple[ServiceRouter, Passage]]:
        """Yield what crossed the ports of a kind (see ``_ports``) of every router, into it or out of it."""
        for router in self._gateway.routers:
            for port in self._ports(router, which):
                yield router, Passage(router.bridge, port, received,
                                      after[port][not received] - before[port][not received])

    def _walk(self, before: Counts, after: Counts, least: int, entry: str, punt: str) -> Walk:
        def crossed(which: str, received: bool) -> list[tuple[ServiceRouter, Passage]]:
            return [(router, passage) for router, passage in self._passages(before, after, which, received)
                    if passage.packets >= least]

        leaving = names.BACKPLANE if not entry else ""
        came, punted_out, punted_in, left = (crossed(entry, True), crossed(punt, False), crossed(punt, True),
                                             crossed(leaving, False))
        if len(came) != 1 or len(left) != 1 or len(punted_out) != len(punted_in) or len(punted_in) > 1:
            raise LabError(f"no single walk: entered {came}, punted {punted_out} {punted_in}, left {left}")
        passages = tuple(passage for _, passage in (*came, *punted_out, *punted_in, *left))
        return Walk(came[0][0].edge, left[0][0].edge, bool(punted_in), passages)

    def redirected(self, before: Counts, after: Counts) -> tuple[float, float]:
        """Return the shares of packets going north and going south that were punted."""
        def total(which: str) -> int:
            return sum(passage.packets for _, passage in self._passages(before, after, which, received=True))

        return (total(names.PUNT_SOUTH) / max(1, total(names.BACKPLANE)),
                total(names.PUNT_NORTH) / max(1, total("")))
