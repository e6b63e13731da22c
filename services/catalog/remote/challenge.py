"""The WWW-Authenticate header of a registry (RFC 9110, section 11.6.1), read as written and not as hoped."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - a grammar's word
_PARAMETER = re.compile(rf'\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))\s*')
_SCHEME = re.compile(rf"\s*({_TOKEN})(?=\s|$|,)\s*")


@dataclass(frozen=True)
class Challenge:
    """One scheme that the server would take, in lower case, with its parameters."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Every challenge in the headers, in order; what cannot be read ends its header."""
    found: list[Challenge] = []
    for header in headers:
        position = 0
        while position < len(header):
            while position < len(header) and header[position] in ", \t":
                position += 1
            parameter = _PARAMETER.match(header, position)
            if parameter and found and header[position:]:
                value = re.sub(r"\\(.)", r"\1", parameter[2]) if parameter[2] is not None else parameter[3]
                found[-1].parameters.setdefault(parameter[1].lower(), value)
                position = parameter.end()
                continue
            scheme = _SCHEME.match(header, position)
            if scheme is None:
                break
            found.append(Challenge(scheme[1].lower()))
            position = scheme.end()
    return found
