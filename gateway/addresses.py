"""Whose request it is by address, and which paths are plain enough to be handed on."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kernel.errors import FieldError, Invalid

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What gateway and service could read differently: doubled slashes, dot segments, and slashes, dots or controls in disguise.
_CROOKED = re.compile(r"//|/\.{1,2}(?:/|\Z)|\\|%(?:2f|5c|2e|00|0a|0d|25)|[^\x21-\x7e]", re.IGNORECASE)
_FORWARDED = frozenset({"x-forwarded-for", "forwarded", "x-real-ip"})


def raw_path(environ: Mapping[str, Any]) -> str:
    """The path exactly as the client wrote it, without the query. Raises Invalid `path-invalid`. Any: WSGI's own mapping."""
    whole = str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or environ.get("PATH_INFO") or "/")
    path = whole.partition("?")[0].partition("#")[0]
    if not path.startswith("/") or _CROOKED.search(path):
        detail = "Write the path plainly: no '//', no '..', no encoded slashes or dots."
        raise Invalid([FieldError("path", "is not plain")], code="path-invalid", detail=detail)
    return path


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """The networks that `texts` name. Raises ValueError."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def client_address(peer: str | None, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """The nearest address that is not one of our own proxies; headers of strangers count for nothing."""
    current = _parse(peer or "")
    if current is None:
        return "unknown"
    for text in reversed([part.strip() for part in forwarded_for.split(",") if part.strip()]):
        if not _is_trusted(current, trusted):
            break
        earlier = _parse(text)
        if earlier is None:
            break
        current = earlier
    return str(current)


def is_loopback(address: str) -> bool:
    """Does the request come from this very machine?"""
    found = _parse(address)
    return found is not None and found.is_loopback


def was_forwarded(headers: Iterable[str]) -> bool:
    """Does somebody say that the request came through a proxy?"""
    return any(name.lower() in _FORWARDED for name in headers)


def limit_key(address: str) -> str:
    """What a rate limit counts: an IPv4 address, or the /64 that one IPv6 customer has."""
    found = _parse(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False))
    return address


def _parse(text: str) -> Address | None:
    try:
        found = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in trusted)
