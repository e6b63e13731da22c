"""Compose's ways of writing things, read one by one: durations, sizes, ports, mounts, lists that may be mappings."""

from __future__ import annotations

import math
import re
import shlex
from typing import NoReturn

from kernel.errors import FieldError, Invalid
from services.catalog.compose.document import Json

Config = dict[str, Json]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")
_UNIT_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\Z", re.IGNORECASE)
_UNIT_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def wrong(path: str, message: str) -> NoReturn:
    """Raises Invalid."""
    raise Invalid([FieldError(path, message)])


def text(value: Json, path: str) -> str:
    """A text; numbers and truths are written as Compose writes them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        wrong(path, "must be a text")
    return value


def whole(value: Json, path: str) -> int:
    """A whole number, also when it is written as a text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value.strip()):
        return int(value)
    wrong(path, "must be a whole number")


def number(value: Json, path: str) -> float:
    try:
        found = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        wrong(path, "must be a number")
    return found


def truth(value: Json, path: str) -> bool:
    """A truth, also as the texts that interpolation leaves."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false", "yes", "no", "on", "off", "y", "n", "1", "0"):
        return value.strip().lower() in ("true", "yes", "on", "y", "1")
    wrong(path, "must be true or false")


def mapping(value: Json, path: str) -> dict[str, Json]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        wrong(path, "must be a mapping")
    return value


def items(value: Json, path: str) -> list[Json]:
    """A list; a single text counts as one of one."""
    if value is None:
        return []
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        return [value]
    wrong(path, "must be a list")


def pairs(value: Json, path: str) -> dict[str, str | None]:
    """`{A: b}` or `[A=b, C]`; without a value it is None."""
    if isinstance(value, list):
        found: dict[str, str | None] = {}
        for index, item in enumerate(value):
            name, equals, content = text(item, f"{path}.{index}").partition("=")
            found[name] = content if equals else None
        return found
    return {name: None if item is None else text(item, f"{path}.{name}") for name, item in mapping(value, path).items()}


def words(value: Json, path: str) -> list[str]:
    """A command: a list of words, or one text that is split as a shell would."""
    if isinstance(value, list):
        return [text(item, f"{path}.{index}") for index, item in enumerate(value)]
    try:
        return shlex.split(text(value, path))
    except ValueError:
        wrong(path, "has a quote without its end")


def seconds(value: Json, path: str) -> float:
    """`1h30m`, `500ms`, or a number of seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raw = text(value, path).strip()
    parts = _DURATION.findall(raw)
    if re.fullmatch(r"\d+(\.\d+)?", raw):
        return float(raw)
    if not parts or "".join(amount + unit for amount, unit in parts) != raw:
        wrong(path, "must be a duration such as 1m30s")
    return round(sum(float(amount) * _UNIT_SECONDS[unit] for amount, unit in parts), 6)


def size_bytes(value: Json, path: str) -> int:
    """`512m`, `1.5gb`, or a number of bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _SIZE.match(text(value, path).strip())
    if found is None:
        wrong(path, "must be a size such as 512m")
    return int(float(found[1]) * _UNIT_BYTES[found[2].lower()])


_PORT = re.compile(
    r"(?:(?P<ip>\[[0-9a-fA-F:]+\]|\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]*::[0-9a-fA-F:]*):)?(?:(?P<host>\d+(?:-\d+)?)?:)?(?P<container>\d+(?:-\d+)?)(?:/(?P<protocol>\w+))?\Z"
)


def ports(value: Json, path: str) -> tuple[Config, list[str]]:
    """`{"ports": …, "port_ranges": …}` of a service, and remarks on what could not be kept."""
    found: list[Config] = []
    ranges: list[Config] = []
    remarks: list[str] = []
    for index, item in enumerate(items(value, path)):
        where = f"{path}.{index}"
        container, host, host_ip, protocol = _long_port(item, where) if isinstance(item, dict) else _short_port(text(item, where), where)
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


def _short_port(raw: str, path: str) -> tuple[str, str | None, str | None, str]:
    match = _PORT.match(raw.strip())
    if match is None:
        wrong(path, "must be a port such as 8080:80, 127.0.0.1:8080:80/udp or 8000-8010:9000-9010")
    return match["container"], match["host"], (match["ip"] or "").strip("[]") or None, (match["protocol"] or "tcp").lower()


def _long_port(item: Json, path: str) -> tuple[str, str | None, str | None, str]:
    if "target" not in item:
        wrong(f"{path}.target", "is needed")
    published = item.get("published")
    host = None if published in (None, "", 0) else text(published, f"{path}.published")
    host_ip = item.get("host_ip")
    protocol = text(item.get("protocol") or "tcp", f"{path}.protocol").lower()
    return text(item["target"], f"{path}.target"), host, text(host_ip, f"{path}.host_ip") if host_ip else None, protocol


def _range(raw: str, path: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", raw.strip())
    if match is None:
        wrong(path, f"{raw!r} is no port")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first or last - first > 1000:
        wrong(path, f"{raw!r} is no range of ports")
    return first, last
