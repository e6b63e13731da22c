"""What a manifest says of an image: platforms, size, labels, when it was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from services.catalog.domain.references import is_digest
from services.catalog.remote.distribution import Fetched
from services.catalog.remote.faults import Fault, RemoteError

_MOST_LABELS = 512


@dataclass(frozen=True)
class Platform:
    """One entry of an index."""

    os: str
    architecture: str
    variant: str | None = None
    digest: str | None = None


@dataclass(frozen=True)
class Described:
    """An image as people look at it. An index is told by its platforms; the rest is of one of them (linux/amd64 if there)."""

    digest: str
    media_type: str
    size_bytes: int
    platforms: list[Platform] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    created: str | None = None


Json = Mapping[str, Any]  # a registry's JSON: nothing about its inside is known


def describe(top: Fetched, fetch_manifest: Callable[[str], Fetched], fetch_blob: Callable[[str], Json]) -> Described:
    """`top` in full; the two functions get a manifest or a blob of the same repository. Raises RemoteError."""
    entries = _index_entries(top.document)
    if entries is None:
        return _image(top, fetch_blob)
    if not entries:
        return Described(top.digest, top.media_type, top.size_bytes)
    chosen = min(entries, key=lambda one: (one.os != "linux", one.architecture != "amd64", one.variant or ""))
    image = _image(fetch_manifest(str(chosen.digest)), fetch_blob)
    return replace(image, digest=top.digest, media_type=top.media_type, platforms=entries)


def _index_entries(document: Json) -> list[Platform] | None:
    listed = document.get("manifests")
    if not isinstance(listed, list):
        return None
    found = []
    for entry in listed[:200]:
        platform = entry.get("platform") if isinstance(entry, dict) else None
        if not isinstance(platform, dict) or not is_digest(str(entry.get("digest"))):
            continue
        if platform.get("os") == "unknown":
            continue  # an attestation that build tools put beside the images
        variant = platform.get("variant")
        found.append(
            Platform(str(platform.get("os")), str(platform.get("architecture")), str(variant) if variant else None, str(entry["digest"]))
        )
    return found


def _image(manifest: Fetched, fetch_blob: Callable[[str], Json]) -> Described:
    config = manifest.document.get("config")
    layers = manifest.document.get("layers")
    size = manifest.size_bytes + sum(_size(part) for part in (layers if isinstance(layers, list) else [])) + _size(config)
    described = Described(manifest.digest, manifest.media_type, size)
    if not isinstance(config, dict) or not is_digest(str(config.get("digest"))):
        return described  # an old or foreign kind of artefact: nothing more is known of it
    if _size(config) > 1 << 21:
        raise RemoteError(Fault.ANSWER, "The image's configuration is larger than 2 MiB.")
    blob = fetch_blob(str(config["digest"]))
    platform = Platform(
        str(blob.get("os", "unknown")), str(blob.get("architecture", "unknown")), blob.get("variant") or None, manifest.digest
    )
    inner = blob.get("config")
    labels = inner.get("Labels") if isinstance(inner, dict) else None
    pairs = [(name, value) for name, value in labels.items() if isinstance(value, str)] if isinstance(labels, dict) else []
    created = blob.get("created")
    return replace(
        described, platforms=[platform], labels=dict(pairs[:_MOST_LABELS]), created=created if isinstance(created, str) else None
    )


def _size(part: object) -> int:
    size = part.get("size") if isinstance(part, dict) else None
    return size if isinstance(size, int) and 0 <= size < 1 << 50 else 0
