"""Programs as text, in the notation of ``ovs-ofctl`` with names of tables, marks and groups: for people and logs."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from controller.compile import actions as a
from controller.compile.values import Flow, Group, GroupType, Program, Term
from controller.pipeline import addresses
from controller.pipeline.fields import FIELDS, MARKS, NEXT_HOP_4, NEXT_HOP_6, CtState, Mark, RegField
from controller.pipeline.groups import name_of

_MARK_NAMES = {mark: name for name, mark in MARKS.items()}
_NUMBERS_IN_HEX = frozenset(("eth_type",))


def value_text(field: str, value: int) -> str:
    """Return a value in the usual notation of its field."""
    bits = FIELDS[field].bits
    if bits == 48:
        return addresses.text(value)
    if bits == 32 and field.startswith(("ipv4", "arp")):
        return str(IPv4Address(value))
    if bits == 128 and field.startswith("ipv6"):
        return str(IPv6Address(value))
    return f"{value:#06x}" if field in _NUMBERS_IN_HEX else str(value)


def _masked(field: str, value: int, mask: int | None) -> str:
    if mask is None:
        return value_text(field, value)
    if FIELDS[field].bits == 48:
        return f"{value_text(field, value)}/{addresses.text(mask)}"
    if field.startswith(("ipv4", "ipv6", "arp_")):
        return f"{value_text(field, value)}/{mask.bit_count()}"
    return f"{value:#x}/{mask:#x}"


def mark_text(mark: Mark) -> str:
    """Return NAME where the mark has one, else FIELD=value."""
    value = _MARK_NAMES.get(mark) or mark.value
    if mark.value and mark.field in (NEXT_HOP_4, NEXT_HOP_6):
        value = (IPv4Address if mark.field is NEXT_HOP_4 else IPv6Address)(mark.value)
    return f"{mark.field.name}={value}"


def _term(term: Term) -> str:
    if term.reg_field is not None:
        return mark_text(Mark(term.reg_field, term.value))
    if term.name == "ct_state":
        flags = (("+" if term.value & bit else "-") + flag for flag, bit in CtState.BITS.items()
                 if term.mask is None or term.mask & bit)
        return f"ct_state={''.join(flags)}"
    return f"{FIELDS[term.name].ovs}={_masked(term.name, term.value, term.mask)}"


def _target(target: str | RegField) -> str:
    return target.name if isinstance(target, RegField) else FIELDS[target].ovs


def _learned(part: a.LearnMatch | a.LearnSet) -> str:
    if part.source:
        return f"{_target(part.target)}={FIELDS[part.source].ovs}"
    if isinstance(part.target, RegField):
        return mark_text(part.target.at(part.value))
    return f"{_target(part.target)}={value_text(part.target, part.value)}"


def action_text(action: a.Action) -> str:
    """Return one action as text."""
    match action:
        case a.Set(field=name, value=value, mask=mask):
            return f"set {FIELDS[name].ovs}={_masked(name, value, mask)}"
        case a.SetMark(mark=mark):
            return f"set {mark_text(mark)}"
        case a.Copy(source=source, target=target):
            return f"copy {FIELDS[source].ovs}->{FIELDS[target].ovs}"
        case a.Output(port=port):
            return f"output:{port}"
        case a.OutputInPort():
            return "in_port"
        case a.ToGroup(group_id=group_id):
            return f"group:{name_of(group_id)}"
        case a.Resubmit(table=table):
            return f"resubmit(,{table.name})"
        case a.Goto(table=table):
            return f"goto_table:{table.name}"
        case a.DecTtl():
            return "dec_ttl"
        case a.ToController(reason=reason):
            return f"controller({reason.name})"
        case a.Ct(zone=zone, table=table, commit=commit, nat=nat):
            parts = [*(["commit"] if commit else []), f"zone={zone}"]
            if nat is not None:
                last = f"-{nat.last}" if nat.last != nat.first else ""
                parts.append(f"nat({nat.kind.value}={nat.first}{last}{f':{nat.port}' if nat.port else ''})")
            elif not commit:
                parts.append("nat")
            return f"ct({','.join(parts)},table={table.name})"
        case a.Learn(table=table, matches=matches, sets=sets):
            return f"learn({table.name}: {','.join(map(_learned, matches))} -> {','.join(map(_learned, sets))})"
        case a.Multipath(links=links, target=target):
            return f"multipath(symmetric_l3,hrw,{links},{target.name})"
    raise TypeError(f"no text for {action}")


def flow_text(flow: Flow) -> str:
    """Return one flow as a line."""
    match = ",".join(map(_term, flow.match)) or "any"
    return (f"table={flow.table.name} priority={flow.priority} {match} "
            f"actions={','.join(map(action_text, flow.actions)) or 'drop'}")


def group_text(group: Group) -> str:
    """Return one group as a line."""
    method = f"hash({','.join(FIELDS[name].ovs for name in group.hash_fields)})" if (
        group.type is GroupType.SELECT_HASH) else "dp_hash"
    buckets = " ".join(f"[{bucket.bucket_id}: {','.join(map(action_text, bucket.actions))}]"
                       for bucket in group.buckets)
    return f"group={name_of(group.group_id)} select by {method} {buckets}"


def program_lines(program: Program) -> Iterator[str]:
    """Yield a program line by line, groups first, notes behind flows."""
    for group in program.groups:
        yield group_text(group)
    for flow in program.flows:
        yield flow_text(flow) + (f"  # {flow.note}" if flow.note else "")
