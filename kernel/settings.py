"""Settings out of the environment: frozen dataclasses whose fields name their variable, and a table for the manual."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from kernel.errors import FieldError, Invalid

T = TypeVar("T")

_ROOT = Path(__file__).resolve().parents[1]
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}
_PLACEHOLDERS = {"changeme", "change-me", "secret", "password", "example"}


def setting(variable: str, about: str, *, default: Any = dataclasses.MISSING, secret: bool = False) -> Any:
    """A dataclass field read from `variable`. Returns Any because dataclass fields are typed by their annotation."""
    return dataclasses.field(default=default, metadata={"variable": variable, "about": about, "secret": secret})


def _to_bool(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError("one of true, false")


def _to_tuple(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


_PARSERS: dict[str, Callable[[str], object]] = {
    "str": str,
    "str | None": str,
    "int": int,
    "float": float,
    "bool": _to_bool,
    "Path": Path,
    "Path | None": Path,
    "tuple[str, ...]": _to_tuple,
}


def _is_placeholder(text: str) -> bool:
    """Is it one, or an address whose password is one?"""
    password = re.search(r"://[^/@:]*:([^@/]*)@", text)
    return (password[1] if password else text).strip().lower() in _PLACEHOLDERS


def load(kind: type[T], environ: Mapping[str, str]) -> T:
    """An instance of the settings dataclass `kind`. Raises Invalid naming every variable that is missing or wrong.

    In production (`FAIRLEAD_ENVIRONMENT=production`) a secret that looks like a placeholder is refused too.
    """
    values: dict[str, object] = {}
    wrong: list[FieldError] = []
    production = environ.get("FAIRLEAD_ENVIRONMENT", "production") == "production"
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]  # a dataclass type, which TypeVar cannot say
        variable = field.metadata["variable"]
        text = environ.get(variable, "")
        if not text:
            if field.default is dataclasses.MISSING:
                wrong.append(FieldError(variable, f"is missing: {field.metadata['about']}"))
            continue
        if production and field.metadata["secret"] and _is_placeholder(text):
            wrong.append(FieldError(variable, "is a placeholder: production needs a value of its own"))
            continue
        try:
            values[field.name] = _PARSERS[str(field.type)](text)
        except ValueError as error:
            wrong.append(FieldError(variable, f"is wrong ({error}): {field.metadata['about']}"))
    if wrong:
        raise Invalid(wrong, code="settings-invalid", detail="; ".join(f"{e.field} {e.message}" for e in wrong))
    return kind(**values)


def table(kind: type[object]) -> list[tuple[str, str, str]]:
    """Rows (variable, default, meaning) of a settings class, for the operations manual."""
    rows = []
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]  # a dataclass type
        default = "required" if field.default is dataclasses.MISSING else _shown(field.default)
        rows.append((field.metadata["variable"], default, field.metadata["about"]))
    return rows


def _shown(default: object) -> str:
    """A default as people would write it in the environment; a path of ours from the root of the project."""
    if isinstance(default, tuple):
        return ",".join(str(part) for part in default)
    if isinstance(default, Path) and default.is_relative_to(_ROOT):
        return str(default.relative_to(_ROOT))
    return "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)


def classes_of(module: str) -> dict[str, type[object]]:
    """The settings classes that `module` defines, by name."""
    found = vars(importlib.import_module(module)).values()
    ours = (one for one in found if isinstance(one, type) and dataclasses.is_dataclass(one) and one.__module__ == module)
    return {one.__name__: one for one in ours if not one.__name__.startswith("_")}


def markdown(readers: Mapping[str, type[object]]) -> str:
    """The manual's table: each variable once, who reads it, its default, and every meaning that it has."""
    rows: dict[str, tuple[list[str], str, list[str]]] = {}
    for reader, kind in readers.items():
        for field, (variable, default, about) in zip(dataclasses.fields(kind), table(kind), strict=True):  # type: ignore[arg-type]  # a dataclass type
            shown = default if default in ("required", "") else f"`{default}`"
            words = ", ".join(filter(None, (shown, "secret" if field.metadata["secret"] else "")))
            names, _, meanings = rows.setdefault(variable, ([], words, []))
            names.append(reader)
            meanings += [] if about in meanings else [about]
    lines = ["| variable | who reads it | default | meaning |", "| --- | --- | --- | --- |"]
    for variable, (names, default, meanings) in sorted(rows.items()):
        lines.append(f"| `{variable}` | {', '.join(names)} | {default} | {'; '.join(meanings)} |")
    return "\n".join(lines)


def main(modules: list[str]) -> int:
    """`python -m kernel.settings services.identity.settings …` prints the manual's table."""
    readers = {}
    for module in modules:
        for name, kind in classes_of(module).items():
            role = name.removesuffix("Settings").lower()
            readers[f"{module.removesuffix('.settings').removeprefix('services.')} {role}".strip()] = kind
    sys.stdout.write(markdown(readers) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
