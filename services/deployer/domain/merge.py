"""The effective configuration of a container: image < bundles < deployment < instance, key by key where there are keys."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# A configuration is open JSON: values of any kind stand under known names.
Config = dict[str, Any]
Layer = Mapping[str, Any]

_DICTS = ("environment", "secrets", "labels")
_LISTS = ("ports", "volumes", "networks")
KEYED = (*_DICTS, *_LISTS)
_TEMPLATE = re.compile(r"\{\{\s*(version|prefix|node)\s*\}\}")


@dataclass(frozen=True)
class BundleConflict:
    """Two bundles say different things of one key, and neither the deployment nor the instance decides."""

    field: str
    key: str | None

    @property
    def path(self) -> str:
        return self.field if self.key is None else f"{self.field}.{self.key}"


def merge(image: Layer, bundles: Sequence[Layer] = (), deployment: Layer | None = None, instance: Layer | None = None) -> Config:
    """The last layer that speaks of a key wins; null takes it away."""
    result: Config = {}
    for layer in (image, *bundles, deployment or {}, instance or {}):
        for field, value in layer.items():
            if value is None:
                result.pop(field, None)
            elif field in _DICTS:
                result[field] = result.get(field, {}) | value
            elif field in _LISTS:
                result[field] = [*({_key(field, item): item for item in (*result.get(field, ()), *value)}).values()]
            else:
                result[field] = value
    return {field: cleaned for field, value in result.items() if (cleaned := _clean(field, value)) is not None}


def bundle_conflicts(bundles: Sequence[Layer], deployment: Layer | None = None, instance: Layer | None = None) -> list[BundleConflict]:
    """What bundles disagree about while nothing nearer decides it."""
    named = {(field, key) for bundle in bundles for field, value in bundle.items() for key in _parts(field, value)}
    said = {
        (field, key): [_word(bundle[field], field, key) for bundle in bundles if _decides(bundle, field, key)]
        for field, key in sorted(named, key=str)
    }
    decided = [layer for layer in (deployment, instance) if layer]
    return [
        BundleConflict(field, key)
        for (field, key), values in said.items()
        if any(value != values[0] for value in values[1:]) and not any(_decides(layer, field, key) for layer in decided)
    ]


def render(value: Any, words: Mapping[str, str]) -> Any:
    """`value` with `{{version}}`, `{{prefix}}` and `{{node}}` filled in wherever text stands. Any: JSON in, JSON out."""
    if isinstance(value, str):
        return _TEMPLATE.sub(lambda found: words[found[1]], value)
    if isinstance(value, list):
        return [render(item, words) for item in value]
    if isinstance(value, dict):
        return {key: render(item, words) for key, item in value.items()}
    return value


def _key(field: str, item: Any) -> str:
    if field == "ports":
        return f"{item['container_port']}/{item.get('protocol') or 'tcp'}"
    return str(item["path"] if field == "volumes" else item)


def _parts(field: str, value: Any) -> dict[str | None, Any]:
    """A layer's word on `field`, by key; the key None stands for the field as a whole."""
    if value is None or field not in KEYED:
        return {None: value}
    if field in _DICTS:
        return dict(value)
    return {_key(field, item): item for item in value}


def _word(value: Any, field: str, key: str | None) -> Any:
    """What a layer says of one key: a null for the whole field takes each key away."""
    return None if value is None else _parts(field, value)[key]


def _decides(layer: Layer, field: str, key: str | None) -> bool:
    if field not in layer:
        return False
    return layer[field] is None or key in _parts(field, layer[field])


def _clean(field: str, value: Any) -> Any:
    """Without the keys that a null takes away; None when nothing is left of a keyed field."""
    if field in _DICTS:
        return {key: one for key, one in value.items() if one is not None} or None
    return None if field in _LISTS and not value else value
