"""One OpenAPI 3.1 document out of four: fetched from the services, without what is internal, with the gateway's own routes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, jsonify

from gateway import own_routes
from gateway.health import VERSION, Kept, ask_all
from gateway.parts import Parts
from gateway.routing import public
from gateway.upstream import Upstream
from kernel.errors import Unavailable

_KEPT_SECONDS = 60.0
_PUBLIC = "/api/v1/"

Document = dict[str, Any]  # a loose document of OpenAPI's


def add_routes(app: Flask, parts: Parts) -> None:
    merged = Kept(lambda: merge(ask_all(parts, _fetch), parts.settings.public_url), _KEPT_SECONDS)

    @app.get("/api/v1/openapi.json")
    @public("the API's description holds no data")
    def openapi() -> Response:
        response = jsonify(merged.get())
        response.headers["Cache-Control"] = f"max-age={_KEPT_SECONDS:.0f}"
        return response


def _fetch(upstream: Upstream) -> Document:
    status, body = upstream.fetch("GET", "/openapi.json", {}, timeout_seconds=10)
    if status != 200:
        raise Unavailable(f"The {upstream.name} service does not describe itself now.", code=f"{upstream.name}-unavailable")
    document: Document = json.loads(body)
    return document


def merge(documents: Mapping[str, Document], public_url: str) -> Document:
    """The documents of the services by name as one. A component that two describe differently gets its service's name."""
    result: Document = {
        "openapi": "3.1.0",
        "info": {"title": "Fairlead", "version": VERSION, "description": own_routes.DESCRIPTION},
        "servers": [{"url": public_url}],
        "security": [{"bearer": []}],
        "tags": [],
        "paths": {},
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    }
    for service, document in documents.items():
        renamed = _take_components(result["components"], service, document.get("components") or {})
        _take_tags(result["tags"], document.get("tags") or [])
        for path, item in (document.get("paths") or {}).items():
            if path.startswith(_PUBLIC):
                result["paths"].setdefault(path, {}).update(_pointing_to(item, renamed))
    for path, item in own_routes.PATHS.items():
        result["paths"].setdefault(path, {}).update(item)
    _take_tags(result["tags"], own_routes.TAGS)
    return result


def _take_tags(tags: list[Document], more: list[Document]) -> None:
    known = {tag["name"] for tag in tags}
    tags.extend(tag for tag in more if tag["name"] not in known)


def _take_components(components: Document, service: str, more: Document) -> dict[str, str]:
    """Add `more`; returns the references that have another name now."""
    entries = {(section, name): entry for section, named in more.items() if section != "securitySchemes" for name, entry in named.items()}
    renamed: dict[str, str] = {}
    while True:
        # What points to something that got another name is another thing too, though its text is the same.
        clashes = {
            f"#/components/{section}/{name}": f"#/components/{section}/{service.capitalize()}{name}"
            for (section, name), entry in entries.items()
            if components.get(section, {}).get(name, entry) != _pointing_to(entry, renamed)
        }
        if clashes.keys() <= renamed.keys():
            break
        renamed |= clashes
    for (section, name), entry in entries.items():
        new = renamed.get(f"#/components/{section}/{name}", name).rpartition("/")[2]
        components.setdefault(section, {}).setdefault(new, _pointing_to(entry, renamed))
    return renamed


def _pointing_to(value: Any, renamed: Mapping[str, str]) -> Any:
    """`value` with its references by their new names. Any: JSON."""
    if isinstance(value, dict):
        return {
            key: renamed.get(inner, inner) if key == "$ref" and isinstance(inner, str) else _pointing_to(inner, renamed)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_pointing_to(inner, renamed) for inner in value]
    return value
