"""Which addresses a user's URL may lead to: the public ones, and the private ones that an operator has allowed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from kernel.errors import FieldError, Invalid

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# The standard library's is_global calls multicast, NAT64 and 6to4 public (measured on Python 3.11), so the list is our own.
_CLOSED_V4 = [
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
        "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24",
        "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
]  # fmt: skip
_GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
_CLOSED_V6 = [IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20")]
_NAT64 = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_COMPATIBLE = IPv6Network("::/96")


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks of a setting. Raises Invalid naming the one that is none."""
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError as error:
        variable = "FAIRLEAD_EGRESS_ALLOWED_NETWORKS"
        raise Invalid([FieldError(variable, str(error))], code="settings-invalid", detail=f"{variable}: {error}") from error


def meant(address: Address) -> list[Address]:
    """Every address that a packet to `address` may end at: itself, or the IPv4 ones that stand inside it."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    value = int(address)
    if address in _NAT64 or (address in _COMPATIBLE and value > 0xFFFF):
        return [IPv4Address(value & 0xFFFFFFFF)]
    if address in _SIX_TO_FOUR:
        return [IPv4Address(value >> 80 & 0xFFFFFFFF)]
    if address in _TEREDO:
        return [IPv4Address(value >> 64 & 0xFFFFFFFF), IPv4Address(value & 0xFFFFFFFF ^ 0xFFFFFFFF)]
    return [address]


def is_public(address: Address) -> bool:
    """Does everything that `address` may lead to lie on the public internet?"""
    return all(_is_public_itself(one) for one in meant(address))


def _is_public_itself(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _CLOSED_V4)
    return address in _GLOBAL_UNICAST_V6 and not any(address in network for network in _CLOSED_V6)


def is_allowed(address: Address, allowed: Sequence[Network]) -> bool:
    """Has an operator allowed everything that `address` may lead to?"""
    return all(any(one.version == network.version and one in network for network in allowed) for one in meant(address))


def parse_address(text: str) -> Address:
    """An address as the resolver gives it, without a zone."""
    return ip_address(text.partition("%")[0])
