"""NAT rules, gateway firewall rules, and the services and address groups they refer to, as written in the gateway file.

Names and meaning: NSX Policy API, PolicyNatRule, GatewayPolicy, Rule, Service and Group (nsx.md 1.3).
"""

from __future__ import annotations

import enum
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from controller.model.document_base import Base
from controller.model.fields import (
    ANY,
    Id,
    NatNetworkField,
    NatTranslatedField,
    NetworksField,
    PortRangeField,
    ReferableId,
    RuleAddressField,
)
from controller.model.gateway import FirewallAction, NatAction, RuleDirection

MAX_SEQUENCE_NUMBER = 2**31 - 1
MAX_RULES = 10_000
"""NAT rules, and firewall rules, of a gateway: their ranks are priorities of flows, of which there are 65,536."""


class Protocol(str, enum.Enum):
    """Protocols of service entries."""

    TCP = "TCP"
    UDP = "UDP"
    ICMPV4 = "ICMPv4"
    ICMPV6 = "ICMPv6"


class IpProtocol(str, enum.Enum):
    """Address families a firewall rule is for."""

    BOTH = "IPV4_IPV6"
    IPV4 = "IPV4"
    IPV6 = "IPV6"


class ServiceEntry(Base):
    """Protocol with ports, or with ICMP type and code."""

    protocol: Protocol
    source_ports: tuple[PortRangeField, ...] = ()
    """TCP and UDP only.  Default: any."""
    destination_ports: tuple[PortRangeField, ...] = ()
    """TCP and UDP only.  Default: any."""
    icmp_type: int | None = Field(default=None, ge=0, le=255)
    """ICMP only.  Default: any."""
    icmp_code: int | None = Field(default=None, ge=0, le=255)
    """ICMP only, beside a type.  Default: any."""


def _service_kind(value: Any) -> str | None:
    if isinstance(value, str):
        return "<id>"
    return "<entry>" if isinstance(value, (dict, ServiceEntry)) else None


ServiceReference = Annotated[
    Annotated[str, Tag("<id>")] | Annotated[ServiceEntry, Tag("<entry>")],
    Discriminator(
        _service_kind,
        custom_error_type="refused",
        custom_error_message="must be the id of a service, or a service entry (a mapping with protocol)",
    ),
]
"""A service entry in place, or the id of a service."""


class ServiceDefinition(Base):
    """Named service: one or more service entries."""

    id: ReferableId
    service_entries: tuple[ServiceEntry, ...] = Field(min_length=1)


class AddressGroup(Base):
    """Named group of addresses, networks and ranges."""

    id: ReferableId
    ip_addresses: tuple[NetworksField, ...] = Field(min_length=1)


class NatRule(Base):
    """NAT rule for traffic between segments and external interfaces.  IPv4 only."""

    id: Id
    action: NatAction
    source_network: NatNetworkField | None = None
    destination_network: NatNetworkField | None = None
    service: ServiceReference | None = None
    """A service entry, or the id of a service with exactly one entry."""
    translated_network: NatTranslatedField | None = None
    translated_port: int | None = Field(default=None, ge=1, le=65535)
    """DNAT only, with a TCP or UDP service that has destination ports."""
    sequence_number: int = Field(default=0, ge=0, le=MAX_SEQUENCE_NUMBER)
    scope: tuple[str, ...] = ()
    """Ids of interface groups.  Default: every one."""
    enabled: bool = True


class FirewallRule(Base):
    """Gateway firewall rule.  IN is from the external interfaces to the segments, OUT the other way."""

    id: Id
    action: FirewallAction
    direction: RuleDirection = RuleDirection.IN_OUT
    stateful: bool = True
    sources: tuple[RuleAddressField, ...] = Field(default=(ANY,), min_length=1)
    """Addresses, networks, ranges and ids of groups, or ANY alone."""
    destinations: tuple[RuleAddressField, ...] = Field(default=(ANY,), min_length=1)
    """Addresses, networks, ranges and ids of groups, or ANY alone."""
    services: tuple[ServiceReference, ...] = Field(default=(ANY,), min_length=1)
    """Service entries and ids of services, or ANY alone."""
    scope: tuple[str, ...] = ()
    """Ids of interface groups.  Default: every one."""
    ip_protocol: IpProtocol = IpProtocol.BOTH
    sequence_number: int = Field(default=0, ge=0, le=MAX_SEQUENCE_NUMBER)
    disabled: bool = False


class GatewayFirewall(Base):
    """Firewall of a gateway: rules by sequence_number, then by position; the first that matches decides."""

    default_action: FirewallAction = FirewallAction.ALLOW
    """For connections that no rule matches.  ALLOW is what the default rule of a Tier-0 gateway does in NSX."""
    rules: tuple[FirewallRule, ...] = Field(default=(), max_length=MAX_RULES)
