"""YAML as Compose reads it: safe, bounded, with the booleans and numbers of YAML 1.2 (`22:22` and `yes` are texts)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

from kernel.errors import FieldError, Invalid

Json = Any  # what YAML gives: mappings, lists, texts, numbers, truths, nothing
_MOST_NODES = 50_000
_DEEPEST = 40


class _Loader(yaml.SafeLoader):
    """Its own table of implicit types, instead of YAML 1.1's."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^(?:[-+]?(?:0|[1-9][0-9]*)|0o?[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    ("float", r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("merge", r"^(?:<<)$", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node)).lower()
    if len(text) > 4000:
        raise yaml.constructor.ConstructorError(None, None, "a number is too long", node.start_mark)
    octal = (
        text.removeprefix("0o") if text.startswith("0o") else text if len(text) > 1 and text.startswith("0") and "x" not in text else None
    )
    return int(octal, 8) if octal is not None else int(text, 0)


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[str, Json]:
    plain = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
    twice = {key for key in plain if isinstance(key, str) and plain.count(key) > 1} if len(plain) < 2000 else set()
    if twice:
        raise yaml.constructor.ConstructorError(None, None, f"the key {sorted(twice)[0]} stands there twice", node.start_mark)
    loader.flatten_mapping(node)
    return {_key(loader, key): loader.construct_object(value, deep=True) for key, value in node.value}


def _key(loader: yaml.SafeLoader, node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise yaml.constructor.ConstructorError(None, None, "a key must be a text", node.start_mark)
    return str(node.value)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def load(text: str, *, field: str) -> dict[str, Json]:
    """The mapping in `text`. Raises Invalid naming `field`: no YAML, no mapping, or grown beyond bounds by its aliases."""
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 - _Loader is a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Invalid([FieldError(field, f"is not YAML: {_one_line(error)}")]) from error
    if not isinstance(document, dict):
        raise Invalid([FieldError(field, "must be a mapping with services")])
    _count(document, field)
    return document


def _count(document: Json, field: str) -> None:
    """Aliases share their nodes in memory; whoever walks them sees each again. Bounded here, before anybody walks."""
    waiting: list[tuple[Json, int]] = [(document, 0)]
    seen = 0
    while waiting:
        node, depth = waiting.pop()
        seen += 1
        if seen > _MOST_NODES or depth > _DEEPEST:
            raise Invalid([FieldError(field, "is too large or too deep once its aliases are followed")])
        children: Iterable[Json] = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        waiting += [(child, depth + 1) for child in children]


def _one_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or type(error).__name__
    return f"{problem} (line {mark.line + 1})" if mark is not None else str(problem)


_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+-]*\Z")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


class _Dumper(yaml.SafeDumper):
    """Quotes every text that any YAML might take for something else, and shares nothing by aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # as the base class has it
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    plain = _PLAIN.match(value) and value.lower() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def dump(document: dict[str, Json]) -> str:
    """`document` as YAML, keys in their order."""
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=4096))
