"""The page ``docs/pipeline.md``: ``python -m controller.pipeline.document`` prints it, ``make docs`` writes it.

Everything on it comes from the declarations of this package, and from the program that the compiler makes of an example
gateway with these declarations, so the page cannot say what the switches are not told.  Same declarations, same page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.compile.actions import Learn, Reason
from controller.compile.gateway import bridges, compile_bridge
from controller.compile.text import action_text, flow_text, group_text
from controller.compile.values import Flow, Program
from controller.model import load
from controller.model.gateway import Gateway
from controller.pipeline import addresses, cookies, fields, groups, priorities, tables
from controller.pipeline.addresses import FrameKind, InterfaceKind
from controller.pipeline.cookies import Category
from controller.pipeline.priorities import Band

EXAMPLE = Path(__file__).resolve().parents[2] / "etc" / "gateways" / "four_edge.yaml"
FLOWS_PER_TABLE = 12
"""Flows of the first kind of bridge that has a table; of the others half as many, and only what is different there."""

CATEGORIES = {
    Category.BASE: "what every bridge of its kind has, whatever the rules",
    Category.FRAME: "frames between service routers, and through the logical switches",
    Category.LOCAL: "answers for the router's own addresses, and learning of neighbours",
    Category.OWNER: "owner table and punts",
    Category.ROUTE: "routes; object: position of the static route, from 1",
    Category.FIREWALL: "firewall; object: position of the rule in the order of evaluation, from 1",
    Category.NAT: "translations; object: position of the rule in the order of evaluation, from 1",
    Category.TO_CONTROLLER: "hands the packet to the controller; object: the reason, see below",
    Category.LEARNED: "written by the switch itself with learn(); never touched by the reconciler",
}
REASONS = {
    Reason.TTL_EXPIRED: "TTL or hop limit is used up: ICMP time exceeded",
    Reason.NO_ROUTE: "no route: ICMP network unreachable, ICMPv6 no route",
    Reason.REJECTED: "a REJECT rule: TCP reset, else ICMP administratively prohibited",
    Reason.RESOLVE: "the neighbour is not known: ask for it, keep the packet; host unreachable if nobody answers",
    Reason.NEIGHBOUR_SEEN: "a neighbour answered: the packets that waited for it go on",
    Reason.PORT_CLOSED: "TCP or UDP to an address of the router itself: TCP reset, ICMP port unreachable",
}
BANDS = {
    Band.MISS: "what no other flow takes",
    Band.NORMAL: "everything whose order among its like does not matter; small offsets for exceptions",
    Band.LONGEST_PREFIX: "routes: the offset is the length of the prefix, so the longest one wins",
    Band.RULES: "rules by rank, downwards from the top of the band: the first one has the highest priority",
    Band.GUARD: "what must be seen before any rule or route",
}
GROUPS = {
    groups.OWNER_NORTH: "owner of a packet going north, by the hash of its destination address",
    groups.OWNER_SOUTH: "owner of a packet coming south, by the hash of its source address",
    groups.DR_ECMP: "the distributed router's equal-cost paths to the service routers",
}


def page(gateway: Gateway | None = None) -> str:
    """Return the page as Markdown.  ``gateway`` is the example of the sample flows (default: four_edge.yaml)."""
    gateway = gateway or load(EXAMPLE).gateways[0]
    sample = Sample(gateway)
    parts: list[str] = [
        "# The pipeline",
        "This page is generated from the declarations in `controller/pipeline/` by `make docs`; edit those. The sample "
        f"flows are from the program that the compiler makes of `etc/gateways/{EXAMPLE.name}` (service router of slot "
        f"{gateway.routers[0].slot}, zone {gateway.routers[0].zone}), printed in the notation of "
        "`controller/compile/text.py`: like `ovs-ofctl dump-flows`, with the names of tables, marks and groups.",
        "## Tables",
        _overview(),
        "How packets go from table to table; from TRACK, and from NAT when it commits, by the connection tracker:",
        _arrows(),
        *_registers(),
        *_packet_fields(),
        *_priorities(),
        *_cookies(),
        *_groups(sample),
        *_addresses(gateway),
        "## Tables one by one, with sample flows",
        "Ports are numbered here as follows: " + "; ".join(sample.port_legends()) + ".",
    ]
    for table in tables.TABLES:
        parts += _table(table, sample)
    return "\n\n".join(parts) + "\n"


@dataclass
class Sample:
    """Programs of one bridge of each kind, with the ports that the program asks for, numbered from 1."""

    gateway: Gateway

    def __post_init__(self) -> None:
        self.programs: dict[tables.Kind, Program] = {}
        self.ports: dict[tables.Kind, dict[str, int]] = {}
        for bridge, kind in bridges(self.gateway).items():
            if kind not in self.programs:
                wanted = compile_bridge(self.gateway, bridge, {}).missing
                self.ports[kind] = {name: number for number, name in enumerate(wanted, start=1)}
                self.programs[kind] = compile_bridge(self.gateway, bridge, self.ports[kind])

    def port_legends(self) -> Iterator[str]:
        """Yield the port numbers of every bridge in words."""
        for kind, program in self.programs.items():
            listed = ", ".join(f"{number} = {name}" for name, number in self.ports[kind].items())
            yield f"`{program.bridge}`: {listed}"

    def flows(self, table: tables.Table) -> Iterator[tuple[Program, list[Flow]]]:
        """Yield, by kind of bridge, flows of a table that differ in more than their values."""
        seen: set[tuple] = set()
        for kind in table.kinds:
            limit = FLOWS_PER_TABLE if kind is table.kinds[0] else FLOWS_PER_TABLE // 2
            found = []
            for flow in self.programs[kind].flows:
                if flow.table == table and _shape(flow) not in seen and len(found) < limit:
                    seen.add(_shape(flow))
                    found.append(flow)
            yield self.programs[kind], found

    def learned(self, table: tables.Table) -> Iterator[str]:
        """Yield the learn() actions that write flows into a table, each shape once."""
        seen = set()
        for program in self.programs.values():
            for flow in program.flows:
                for action in flow.actions:
                    if isinstance(action, Learn) and action.table == table:
                        shape = tuple(part.target for part in action.matches), tuple(p.source for p in action.sets)
                        if shape not in seen:
                            seen.add(shape)
                            yield action_text(action)


def _shape(flow: Flow) -> tuple:
    """What a flow has in common with its like: purpose, fields matched, kinds of actions."""
    purpose = re.sub(r"\S*\d\S*", "", flow.note)  # without the words that name a port or a slot
    matched = tuple(term.name for term in flow.match if not term.name.startswith(("ipv4", "ipv6")))
    return flow.table.name, purpose, matched, tuple(type(action).__name__ for action in flow.actions)


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "nothing"


def _overview() -> str:
    return _rows(("number", "table", "bridges", "miss"), (
        (str(table.number), f"[{table.name}](#{table.name.lower()})", ", ".join(kind.value for kind in table.kinds),
         table.miss) for table in tables.TABLES))


def _arrows() -> str:
    lines = [f"{table.name:<10} -> {', '.join(table.next) or 'leaves the bridge or returns'}"
             for table in tables.TABLES]
    return "```text\n" + "\n".join(lines) + "\n```"


def _registers() -> Iterator[str]:
    yield "## Register fields and marks"
    yield ("Registers are never used bare. A register field is a named range of bits; a mark is a value of it with a "
           "name. Packets come into every bridge with all registers zero: patch ports carry none across.")
    yield _rows(("field", "bits", "purpose", "marks"), (
        (f"`{reg.name}`", f"{reg.register}[{reg.first}..{reg.first + reg.bits - 1}]", reg.purpose,
         ", ".join(f"`{name}` = {mark.value}" for name, mark in fields.MARKS.items() if mark.field == reg))
        for reg in fields.REG_FIELDS))
    yield (f"`INGRESS` and `EGRESS` hold {fields.BACKPLANE_INTERFACE} for the backplane port. `ovs-ofctl` prints a "
           "mark as a masked register: `reg0=0x1/0x3` is `DIRECTION=NORTH`. `xxreg2` is reg8 to reg11.")


def _packet_fields() -> Iterator[str]:
    yield "## Packet fields"
    yield "All that flows may match or set. \"Needs\" are the prerequisites, one of which a match must fix."
    yield _rows(("field", "in ovs-ofctl", "bits", "needs"), (
        (f"`{field.name}`", f"`{field.ovs}`", str(field.bits),
         " or ".join(f"{name}={value:#x}" for name, value in field.needs)) for field in fields.FIELDS.values()))


def _priorities() -> Iterator[str]:
    yield "## Priority bands"
    yield _rows(("band", "from", "for"), ((f"`{band.name}`", str(int(band)), BANDS[band]) for band in Band))
    yield (f"A table takes at most {priorities.RULES_IN_BAND} rules; the first has priority {priorities.rule(0)}. The "
           f"route of a /24 has priority {priorities.longest_prefix(24)}.")


def _cookies() -> Iterator[str]:
    example = cookies.Cookie(Category.FIREWALL, 2, 3)
    yield "## Cookies"
    yield (f"`signature(8) | category(8) | round(16) | object(32)`, signature {cookies.SIGNATURE:#x}. So "
           f"`{int(example):#018x}` is a {example.category.name} flow of rule {example.object}, installed in round "
           f"{example.round} of its bridge. The round counts the changes of a bridge; a flow that does not change "
           "keeps its round. All flows of ours: "
           f"`cookie={cookies.SIGNATURE << 56:#x}/{cookies.SIGNATURE_MASK:#x}`.")
    yield _rows(("category", "number", "for"), (
        (f"`{category.name}`", f"{int(category):#04x}", CATEGORIES[category]) for category in Category))
    yield "A packet-in message carries the cookie of its flow; the object of a TO_CONTROLLER flow says why:"
    yield _rows(("reason", "number", "what the controller does"), (
        (f"`{reason.name}`", str(int(reason)), REASONS[reason]) for reason in Reason))


def _groups(sample: Sample) -> Iterator[str]:
    yield "## Groups"
    rows = [(f"`{name}`", str(id_), GROUPS[id_]) for id_, name in groups.NAMES.items()]
    rows.append((f"`{groups.name_of(groups.route_group(0))}` …", f"{groups.FIRST_ROUTE} …",
                 "equal-cost next hops of a static route of one service router, by its position from 0"))
    yield _rows(("group", "id", "for"), rows)
    yield "```text\n" + "\n".join(
        group_text(group) for program in sample.programs.values() for group in program.groups) + "\n```"


def _addresses(gateway: Gateway) -> Iterator[str]:
    slot, number = gateway.routers[0].slot, gateway.number
    frames = {FrameKind.PUNT: (
        addresses.frame(number, FrameKind.PUNT, slot, 1),
        "a packet for its owner; destination: the shadow port of the slot, source: the sender. Group 0 on the south "
        "punt switch, where no uplink is meant")}
    interfaces = {
        InterfaceKind.BACKPLANE: (addresses.backplane(number, slot), "service router on the backplane"),
        InterfaceKind.UPLINK: (addresses.uplink(number, slot, 1), "external interface of a service router"),
        InterfaceKind.DR_BACKPLANE: (addresses.dr_backplane(number), "distributed router on the backplane"),
        InterfaceKind.SEGMENT: (addresses.segment(number, 1), "distributed router on a segment"),
    }
    yield "## Ethernet addresses"
    yield ("Frames between service routers: `02:5a:GG:KK:SS:II` = gateway, kind, slot, interface group. Interfaces: "
           "`02:5b:GG:KK:SS:II` = gateway, kind, slot (0 for the distributed router), index.")
    yield _rows(("kind", "prefix and number", "example", "what it is"), [
        (f"`{kind.name}`", f"{prefix:04x}, {int(kind):#04x}", f"`{addresses.text(frames_or_interfaces[kind][0])}`",
         frames_or_interfaces[kind][1])
        for prefix, kinds, frames_or_interfaces in ((addresses.FRAME_PREFIX, FrameKind, frames),
                                                    (addresses.INTERFACE_PREFIX, InterfaceKind, interfaces))
        for kind in kinds])


def _table(table: tables.Table, sample: Sample) -> Iterator[str]:
    yield f"### {table.name}"
    yield f"Table {table.number} of: {', '.join(kind.value for kind in table.kinds)}. {table.purpose}"
    yield "\n".join((f"* matches {_code(table.matches)}", f"* sets {_code(table.sets)}",
                     f"* goes to {_code(table.next)}", f"* on a miss: {table.miss}"))
    for program, found in sample.flows(table):
        if found:
            count = sum(flow.table == table for flow in program.flows)
            yield f"`{program.bridge}`, {len(found)} of {count} flows:"
            yield "```text\n" + "\n".join(_annotated(flow) for flow in found) + "\n```"
    if learned := list(sample.learned(table)):
        yield "Written by the switches themselves, with these actions of other tables:"
        yield "```text\n" + "\n".join(learned) + "\n```"


def _annotated(flow: Flow) -> str:
    head = f"table={flow.table.name} "
    return (f"# {flow.note}\n" if flow.note else "") + flow_text(flow).removeprefix(head)


if __name__ == "__main__":
    print(page(), end="")
