"""Compose's interpolation: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME:?error}`, `${NAME:+replacement}`, nested, and `$$`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kernel.errors import FieldError, Invalid
from services.catalog.compose.document import Json

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")
_DEEPEST = 20
_LONGEST = 262_144


@dataclass
class Interpolation:
    """Replaces variables in texts; `missing` are those that had no value and no default."""

    variables: Mapping[str, str]
    missing: set[str] = field(default_factory=set)

    def apply(self, value: Json, path: str) -> Json:
        """`value` with every text in it interpolated (keys are not). Raises Invalid naming the path of what is wrong."""
        if isinstance(value, str):
            return self.text(value, path)
        if isinstance(value, dict):
            return {key: self.apply(item, f"{path}.{key}" if path else key) for key, item in value.items()}
        if isinstance(value, list):
            return [self.apply(item, f"{path}.{index}") for index, item in enumerate(value)]
        return value

    def text(self, text: str, path: str) -> str:
        """One text. Raises Invalid."""
        if "$" not in text:
            return text
        result, end = self._until(text, 0, path, depth=0)
        assert end == len(text)
        return result

    def _until(self, text: str, start: int, path: str, *, depth: int) -> tuple[str, int]:
        """What stands from `start` to the end, or inside braces to the closing one; and where it ends."""
        if depth > _DEEPEST:
            raise _wrong(path, "nests variables too deeply")
        found: list[str] = []
        position = start
        while position < len(text):
            character = text[position]
            if depth and character == "}":
                return "".join(found), position
            if character != "$":
                found.append(character)
                position += 1
                continue
            value, position = self._variable(text, position + 1, path, depth=depth)
            found.append(value)
        if depth:
            raise _wrong(path, "has a ${ without its }")
        return _bounded("".join(found), path), position

    def _variable(self, text: str, position: int, path: str, *, depth: int) -> tuple[str, int]:
        if text.startswith("$", position):
            return "$", position + 1
        braced = text.startswith("{", position)
        name = _NAME.match(text, position + braced)
        if name is None:
            raise _wrong(path, "has a $ that begins no variable; write $$ for the sign itself")
        if not braced:
            return self._value(name[0]), name.end()
        operator = _OPERATOR.match(text, name.end())
        if operator is None:
            if not text.startswith("}", name.end()):
                raise _wrong(path, f"has a ${{{name[0]} that does not end as it should")
            return self._value(name[0]), name.end() + 1
        argument, end = self._until(text, operator.end(), path, depth=depth + 1)
        return self._chosen(name[0], operator[0], argument, path), end + 1

    def _chosen(self, name: str, operator: str, argument: str, path: str) -> str:
        value = self.variables.get(name)
        there = bool(value) if operator.startswith(":") else value is not None
        kind = operator[-1]
        if kind == "+":
            return argument if there else ""
        if there:
            return str(value)
        if kind == "?":
            raise _wrong(path, f"needs the variable {name}" + (f": {argument[:200]}" if argument else ""))
        return argument

    def _value(self, name: str) -> str:
        if name not in self.variables:
            self.missing.add(name)
        return self.variables.get(name, "")


def _bounded(text: str, path: str) -> str:
    if len(text) > _LONGEST:
        raise _wrong(path, "is too long once its variables are filled in")
    return text


def _wrong(path: str, message: str) -> Invalid:
    return Invalid([FieldError(path, message)])


_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*(?:=\s*(.*?))?\s*\Z")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$"}


def parse_env_file(text: str, variables: Mapping[str, str], *, path: str) -> dict[str, str | None]:
    """The variables of an env file; a name without a value means the one of the surroundings. Raises Invalid."""
    found: dict[str, str | None] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise _wrong(f"{path}, line {number}", "is no NAME=value")
        name, raw = match[1], match[2]
        # Earlier lines may be used by later ones.
        known = dict(variables) | {key: value for key, value in found.items() if value is not None}
        found[name] = variables.get(name) if raw is None else _unquoted(raw, known, f"{path}, line {number}")
    return found


def _unquoted(raw: str, known: Mapping[str, str], path: str) -> str:
    single = re.match(r"'([^']*)'\s*(?:#.*)?\Z", raw)
    if single:
        return single[1]
    double = re.match(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?\Z', raw)
    if double:
        text = re.sub(r"\\(.)", lambda found: "$$" if found[1] == "$" else _ESCAPES.get(found[1], found[0]), double[1])
    else:
        text = re.split(r"\s#", raw, maxsplit=1)[0].rstrip()
    return Interpolation(known).text(text, path)
