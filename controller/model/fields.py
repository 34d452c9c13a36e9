"""Types of the single values in a gateway file: identifiers, port names, addresses, networks, ranges and TCP/UDP ports.

Each type reads text and says, where it refuses, what is allowed; each has a JSON Schema that accepts what it accepts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    ip_address,
    ip_interface,
    ip_network,
    summarize_address_range,
)
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from controller.model import gateway
from controller.model.names import MAX_PORT_NAME
from controller.model.problems import describe

ANY = "ANY"
VERSION = 1
PREFIX_WORDS = "1 to 7 lower-case letters and digits that start with a letter (except 'seg')"

_ID = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
_REFERABLE_ID = r"^[A-Za-z][A-Za-z0-9_.-]{0,62}$"
_PORT_NAME = rf"^[A-Za-z][A-Za-z0-9_.-]{{0,{MAX_PORT_NAME - 1}}}$"
_PREFIX = r"^[a-z][a-z0-9]{0,6}$"
_ADDRESS = r"^[0-9A-Fa-f:.]+$"
_CIDR = r"^[0-9A-Fa-f:.]+/[0-9]{1,3}$"
_CIDR4 = r"^[0-9.]+/[0-9]{1,2}$"
_NAT_NETWORK = r"^[0-9.]+(/[0-9]{1,2})?$"
_NAT_TRANSLATED = r"^[0-9.]+(/[0-9]{1,2}| *- *[0-9.]+)?$"
_ADDRESSES = r"^[0-9A-Fa-f:.]+(/[0-9]{1,3}| *- *[0-9A-Fa-f:.]+)?$"
_PORTS = r"^[0-9]{1,5}( *- *[0-9]{1,5})?$"

# Words that ovs-ofctl reads as something else than a port's name, or that Linux keeps for itself.
_RESERVED_PORTS = frozenset(
    ("lo", "all", "any", "none", "local", "in_port", "normal", "flood", "controller", "table", "unset", "default")
)


def refuse(message: str) -> PydanticCustomError:
    """Return the error that puts ``message`` as it stands at the place of the value."""
    return PydanticCustomError("refused", "{message}", {"message": message})


def is_prefix(text: str) -> bool:
    """Tell whether a text can start the names of a gateway's bridges."""
    return re.fullmatch(_PREFIX, text) is not None and text != "seg"


def parse_address(text: str) -> gateway.Address:
    """Return an IPv4 or IPv6 address; ValueError for anything else, zones (``%eth0``) included."""
    if not re.fullmatch(_ADDRESS, text):
        raise ValueError(text)
    return ip_address(text)


def parse_range(text: str) -> tuple[gateway.Address, gateway.Address]:
    """Return first and last address of an address, a network (``a/len``) or a range ``a-b``; PydanticCustomError."""
    if "-" in text:
        first, last = re.split(" *- *", text, maxsplit=1)
        low, high = _address(first), _address(last)
        if low.version != high.version or int(low) > int(high):
            raise refuse(f"the range {text!r} must go from a lower to a higher address of the same family")
        return low, high
    network = _network(text) if "/" in text else ip_network(_address(text))
    return network[0], network[-1]


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise refuse(f"must be {what} (a text; in quotes where YAML reads it otherwise), not {describe(value)}")
    return value


def _matching(pattern: str, what: str, reserved: frozenset[str] = frozenset()) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        text = _text(value, what)
        # fullmatch: `$` would let a final newline pass.
        if not re.fullmatch(pattern, text):
            raise refuse(f"must be {what}, not {describe(text)}")
        if text.lower() in reserved:
            raise refuse(f"{text!r} is a reserved word; must be {what}")
        return text

    return check


def _address(value: Any) -> gateway.Address:
    what = "an IPv4 or IPv6 address"
    text = _text(value, what)
    try:
        return parse_address(text)
    except ValueError:
        raise refuse(f"must be {what}, not {describe(value)}") from None


def _with_length(value: Any, what: str) -> str:
    text = _text(value, what)
    if "/" not in text and re.fullmatch(_ADDRESS, text):
        raise refuse(f"must be {what}: the prefix length is missing in {text!r}")
    if not re.fullmatch(_CIDR, text):
        raise refuse(f"must be {what}, not {describe(text)}")
    return text


def _on_link(value: Any) -> gateway.AddressOnLink:
    what = "an address with its prefix length such as 192.0.2.1/24 or 2001:db8::1/64"
    text = _with_length(value, what)
    try:
        result = ip_interface(text)
    except ValueError:
        raise refuse(f"must be {what}, not {describe(value)}") from None
    if result.version == 6 and result.ip.is_link_local:
        raise refuse(f"{value} is an IPv6 link-local address; give a global or unique local one")
    # IPv4's 240.0.0.0/4 is no unicast space either; IPv6 "reserved" would include addresses that are assigned today.
    if (
        result.ip.is_multicast
        or result.ip.is_loopback
        or result.ip.is_unspecified
        or (result.version == 4 and result.ip.is_reserved)
    ):
        raise refuse(f"{value} is not a unicast address of a link")
    return result


def _network(value: Any) -> gateway.Network:
    what = "a network with its prefix length such as 192.0.2.0/24 or 2001:db8::/32"
    text = _with_length(value, what)
    try:
        result = ip_network(text, strict=False)
        exact = ip_interface(text).ip == result.network_address
    except ValueError:
        raise refuse(f"must be {what}, not {describe(value)}") from None
    if not exact:
        raise refuse(f"{text} has host bits set; the network is {result}")
    return result


def _network4(value: Any) -> IPv4Network:
    result = _network(value)
    if not isinstance(result, IPv4Network):
        raise refuse(f"must be an IPv4 network, not {describe(value)}")
    return result


def _nat_translated(value: Any) -> tuple[IPv4Address, IPv4Address]:
    text = _text(value, "an IPv4 address, a network or a range a-b")
    if "," in text:
        raise refuse("lists are not offered; must be one IPv4 address, a network or a range a-b")
    first, last = parse_range(text)
    if isinstance(first, IPv6Address):
        raise refuse(f"there is no NAT for IPv6; must be an IPv4 address or network, not {describe(text)}")
    return first, last


def _nat_network(value: Any) -> IPv4Network:
    text = _text(value, "an IPv4 address or network")
    if "-" in text:
        raise refuse(f"must be one IPv4 address or network, not {describe(text)}")
    first, last = _nat_translated(text)
    return next(summarize_address_range(first, last))


def _networks(value: Any) -> tuple[gateway.Network, ...]:
    text = _text(value, "an address, a network or a range a-b")
    first, last = parse_range(text)
    return tuple(summarize_address_range(first, last))


def _rule_address(value: Any) -> str | tuple[gateway.Network, ...]:
    text = _text(value, f"an address, a network, a range a-b, the id of a group, or {ANY}")
    # Ids of groups start with a letter and have no colon, so an address with a typing error is not taken for an id.
    return text if re.fullmatch(_REFERABLE_ID, text) else _networks(text)


def _port_range(value: Any) -> gateway.PortRange:
    what = 'a port "80" or a range "443-445" within 0 to 65535'
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value, what)
    if not re.fullmatch(_PORTS, text):
        raise refuse(f"must be {what}, not {describe(value)}")
    first, _, last = text.partition("-")
    result = gateway.PortRange(int(first), int(last or first))
    if not result.first <= result.last <= 65535:
        raise refuse(f"must be {what}, not {describe(value)}")
    return result


def _ha_mode(value: Any) -> gateway.HaMode:
    if value == "ACTIVE_STANDBY":
        raise refuse("ACTIVE_STANDBY is not offered yet; must be ACTIVE_ACTIVE")
    if value != gateway.HaMode.ACTIVE_ACTIVE.value:
        raise refuse(f"must be ACTIVE_ACTIVE (ACTIVE_STANDBY is not offered yet), not {describe(value)}")
    return gateway.HaMode.ACTIVE_ACTIVE


def _version(value: Any) -> int:
    # For Python, and for pydantic with it, True and 1.0 equal 1.
    if type(value) is not int or value != VERSION:
        raise refuse(f"must be {VERSION}, not {describe(value)}")
    return value


def _bridge_prefix(value: Any) -> str:
    text = _text(value, PREFIX_WORDS)
    if not is_prefix(text):
        raise refuse(f"must be {PREFIX_WORDS}, not {describe(text)}")
    return text


def _schema(pattern: str, examples: list[str] | None = None) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern} | ({"examples": examples} if examples else {}))


_ID_WORDS = "1 to 63 letters, digits, '_', '.' and '-' that start with a letter or digit"
_REFERABLE_ID_WORDS = "1 to 63 letters, digits, '_', '.' and '-' that start with a letter"
_PORT_NAME_WORDS = f"1 to {MAX_PORT_NAME} letters, digits, '_', '.' and '-' that start with a letter"

Id = Annotated[str, PlainValidator(_matching(_ID, _ID_WORDS)), _schema(_ID)]
"""Identifier of an object."""

ReferableId = Annotated[
    str,
    PlainValidator(_matching(_REFERABLE_ID, _REFERABLE_ID_WORDS, frozenset((ANY.lower(),)))),
    _schema(_REFERABLE_ID),
]
"""Identifier of an object that stands where an address may stand: starts with a letter, is not ANY."""

PortName = Annotated[
    str,
    PlainValidator(_matching(_PORT_NAME, _PORT_NAME_WORDS, _RESERVED_PORTS)),
    _schema(_PORT_NAME, ["t0-up1"]),
]
"""Name of a switch port, which is a Linux device."""

BridgePrefix = Annotated[str, PlainValidator(_bridge_prefix), _schema(_PREFIX, ["t0"])]
"""Start of the names of a gateway's bridges; ``seg`` is kept for the bridges of segments."""

AddressField = Annotated[gateway.Address, PlainValidator(_address), _schema(_ADDRESS, ["192.0.2.1", "2001:db8::1"])]
OnLinkField = Annotated[
    gateway.AddressOnLink, PlainValidator(_on_link), _schema(_CIDR, ["192.0.2.1/24", "2001:db8::1/64"])
]
NetworkField = Annotated[gateway.Network, PlainValidator(_network), _schema(_CIDR, ["192.0.2.0/24", "2001:db8::/32"])]
Network4Field = Annotated[IPv4Network, PlainValidator(_network4), _schema(_CIDR4, ["169.254.0.0/24"])]

NatNetworkField = Annotated[
    IPv4Network, PlainValidator(_nat_network), _schema(_NAT_NETWORK, ["198.51.100.80", "10.0.0.0/24"])
]
"""IPv4 address or network of a NAT rule's match."""

NatTranslatedField = Annotated[
    tuple[IPv4Address, IPv4Address],
    PlainValidator(_nat_translated),
    _schema(_NAT_TRANSLATED, ["198.51.100.1", "198.51.100.0/28", "198.51.100.1-198.51.100.9"]),
]
"""First and last address a NAT rule translates to."""

NetworksField = Annotated[
    tuple[gateway.Network, ...],
    PlainValidator(_networks),
    _schema(_ADDRESSES, ["10.0.0.1", "10.0.0.0/24", "10.0.0.5-10.0.0.9"]),
]
"""Address, network or range, as the networks that cover it."""

RuleAddressField = Annotated[
    str | tuple[gateway.Network, ...],
    PlainValidator(_rule_address),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": _ADDRESSES}, {"type": "string", "pattern": _REFERABLE_ID}],
            "examples": [ANY, "10.0.0.0/24", "10.0.0.5-10.0.0.9", "web-servers"],
        }
    ),
]
"""Source or destination of a firewall rule: the networks of an inline value, or a text: a group's id or ANY."""

PortRangeField = Annotated[
    gateway.PortRange,
    PlainValidator(_port_range),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": _PORTS}, {"type": "integer", "minimum": 0, "maximum": 65535}],
            "examples": ["80", "443-445"],
        }
    ),
]

HaModeField = Annotated[gateway.HaMode, PlainValidator(_ha_mode), WithJsonSchema({"const": "ACTIVE_ACTIVE"})]

VersionField = Annotated[int, PlainValidator(_version), WithJsonSchema({"type": "integer", "const": VERSION})]
