"""Compose's ways of writing things, read one by one. The schema has judged their forms; numbers of ports are judged here."""

from __future__ import annotations

import re
import shlex
from typing import NoReturn

from kernel.errors import FieldError, Invalid
from services.catalog.compose.document import Json

Config = dict[str, Json]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")
_UNIT_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SIZE = re.compile(r"\s*(\d{1,18}(?:\.\d{1,9})?)\s*([kmgt]?)i?b?\s*\Z", re.IGNORECASE)
_UNIT_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def wrong(path: str, message: str) -> NoReturn:
    """Raises Invalid."""
    raise Invalid([FieldError(path, message)])


def text(value: Json) -> str:
    """A text; numbers and truths are written as Compose writes them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def whole(value: Json) -> int:
    """A whole number, also when it is written as a text, or with a fraction of nothing."""
    return int(value)


def number(value: Json) -> float:
    return float(value)


def truth(value: Json) -> bool:
    """A truth, also as the texts that interpolation leaves."""
    return text(value).strip().lower() in ("true", "yes", "on", "y", "1")


def mapping(value: Json) -> dict[str, Json]:
    """A mapping; nothing counts as an empty one."""
    return value or {}


def items(value: Json) -> list[Json]:
    """A list; a single text counts as one of one, nothing as an empty one."""
    return value if isinstance(value, list) else [] if value is None else [value]


def pairs(value: Json) -> dict[str, str | None]:
    """`{A: b}` or `[A=b, C]`; without a value it is None."""
    if isinstance(value, list):
        parts = [item.partition("=") for item in value]
        return {name: content if equals else None for name, equals, content in parts}
    return {name: None if item is None else text(item) for name, item in mapping(value).items()}


def words(value: Json, path: str) -> list[str]:
    """A command: a list of words, or one text that is split as a shell would. Raises Invalid."""
    if isinstance(value, list):
        return [text(item) for item in value]
    try:
        return shlex.split(value)
    except ValueError:
        wrong(path, "has a quote without its end")


def seconds(value: Json) -> float:
    """`1h30m`, `500ms`, or a number of seconds."""
    parts = _DURATION.findall(text(value))
    if not parts:
        return float(value)
    return round(sum(float(amount) * _UNIT_SECONDS[unit] for amount, unit in parts), 6)


def size_bytes(value: Json) -> int:
    """`512m`, `1.5gb`, or a number of bytes; a limit of -1 is none."""
    found = SIZE.match(value) if isinstance(value, str) else None
    return int(value) if found is None else int(float(found[1]) * _UNIT_BYTES[found[2].lower()])


_PORT = re.compile(
    r"(?:(?P<ip>\[[0-9a-fA-F:]+\]|\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]*::[0-9a-fA-F:]*):)?(?:(?P<host>\d+(?:-\d+)?)?:)?(?P<container>\d+(?:-\d+)?)(?:/(?P<protocol>\w+))?\Z"
)


def ports(value: Json, path: str) -> tuple[Config, list[str]]:
    """`{"ports": …, "port_ranges": …}` of a service, and remarks on what could not be kept."""
    found: list[Config] = []
    ranges: list[Config] = []
    remarks: list[str] = []
    for index, item in enumerate(items(value)):
        where = f"{path}.{index}"
        container, host, host_ip, protocol = _long_port(item) if isinstance(item, dict) else _short_port(text(item))
        base: Config = {"protocol": protocol} | ({"host_ip": host_ip} if host_ip else {})
        inside = _range(container, where)
        outside = _range(host, where) if host else None
        if outside is None:
            found += [{"container_port": port, **base} for port in range(inside[0], inside[1] + 1)]
            remarks.append(f"{container} is published on no fixed port: it is reachable by other containers only")
        elif inside[1] - inside[0] != outside[1] - outside[0]:
            if inside[0] != inside[1]:
                wrong(where, "has two ranges of different lengths")
            found.append({"container_port": inside[0], "host_port": outside[0], **base})
            remarks.append(f"{container} takes the first of the host's ports {host}")
        elif inside[0] == inside[1]:
            found.append({"container_port": inside[0], "host_port": outside[0], **base})
        else:
            ends = {"container": inside, "host": outside}
            ranges.append({side: {"first": first, "last": last} for side, (first, last) in ends.items()} | base)
    kept = {(one["container_port"], one["protocol"]): one for one in reversed(found)}
    if len(kept) < len(found):
        remarks.append("a port of a container is published once: the first entry counts")
    once = [one for one in found if kept[one["container_port"], one["protocol"]] is one]
    return {name: entries for name, entries in (("ports", once), ("port_ranges", ranges)) if entries}, remarks


def _short_port(raw: str) -> tuple[str, str | None, str | None, str]:
    match = _PORT.match(raw.strip())
    assert match is not None, "the schema lets no other form pass"
    return match["container"], match["host"], (match["ip"] or "").strip("[]") or None, (match["protocol"] or "tcp").lower()


def _long_port(item: Json) -> tuple[str, str | None, str | None, str]:
    published = item.get("published")
    host = None if published in (None, "", 0) else text(published)
    host_ip = item.get("host_ip")
    protocol = text(item.get("protocol") or "tcp").lower()
    return text(item["target"]), host, text(host_ip) if host_ip else None, protocol


def _range(raw: str, path: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", raw.strip())
    if match is None:
        wrong(path, f"{raw!r} is no port")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first or last - first > 1000:
        wrong(path, f"{raw!r} is no range of ports")
    return first, last
