"""Compose's volumes, tmpfs, secrets and configs as volumes and files of a container."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.catalog.compose.document import Json
from services.catalog.compose.values import SIZE, Config, items, mapping, size_bytes, text, truth, whole, wrong

_MODES_WITHOUT_MEANING = {"rw", "z", "Z", "cached", "delegated", "consistent", "nocopy", ""}


@dataclass
class Mounts:
    """What was found for one service, with remarks on what changed and reasons for what was left out."""

    volumes: list[Config] = field(default_factory=list)
    files: list[Config] = field(default_factory=list)
    changed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Sources:
    """What a Compose file names at its top, and the contents of files that were handed in with it."""

    volumes: Mapping[str, Json]
    configs: Mapping[str, Json]
    files: Mapping[str, str]

    def volume_name(self, name: str) -> str:
        """As Docker knows it: the volume's own name where one is given."""
        given = mapping(self.volumes.get(name)).get("name")
        return text(given) if given else name

    def file(self, path: str) -> str | None:
        """The content of a file, by its path with or without `./`."""
        plain = path.removeprefix("./")
        return next((content for name, content in self.files.items() if name.removeprefix("./") == plain), None)


def read_mounts(service: Mapping[str, Json], name: str, sources: Sources) -> Mounts:
    """The volumes and files of a service. Raises Invalid."""
    found = Mounts()
    for index, item in enumerate(items(service.get("volumes"))):
        path = f"services.{name}.volumes.{index}"
        if isinstance(item, dict):
            _long(item, path, name, sources, found)
        else:
            _short(text(item), path, name, sources, found)
    for index, item in enumerate(items(service.get("tmpfs"))):
        target, _, options = text(item).partition(":")
        size = re.search(r"(?:^|,)size=([^,]+)", options)
        entry: Config = {"path": target, "type": "tmpfs"}
        if size and not SIZE.match(size[1]):
            wrong(f"services.{name}.tmpfs.{index}", "must have a size such as 512m")
        found.volumes.append(entry | ({"size_bytes": size_bytes(size[1])} if size else {}))
    _configs(service, name, sources, found)
    return found


def _short(raw: str, path: str, service: str, sources: Sources, found: Mounts) -> None:
    parts = raw.split(":")
    if len(parts) == 1:
        _anonymous(parts[0], path, service, found)
        return
    modes = set(parts[2].split(",")) if len(parts) == 3 else set()
    entry: Config = {"path": parts[1], "read_only": "ro" in modes}
    strange = modes - _MODES_WITHOUT_MEANING - {"ro"}
    if strange:
        found.changed.append((path, f"the mode {', '.join(sorted(strange))} was left out"))
    _sourced(parts[0], entry, path, sources, found)


def _sourced(source: str, entry: Config, path: str, sources: Sources, found: Mounts) -> None:
    if source.startswith("/"):
        found.volumes.append(entry | {"type": "bind", "host_path": source})
    elif source.startswith((".", "~")):
        content = sources.file(source)
        if content is None:
            reason = f"{source} lies beside the Compose file, which the node does not have: use a volume, a file or an absolute path"
            found.skipped.append((path, reason))
        else:
            found.files.append({"path": entry["path"], "content": content})
            found.changed.append((path, f"{source} became a file of the configuration"))
    else:
        found.volumes.append(entry | {"type": "volume", "name": sources.volume_name(source)})


def _anonymous(target: str, path: str, service: str, found: Mounts) -> None:
    slug = re.sub(r"[^A-Za-z0-9]+", "-", f"{service}-{target}").strip("-").lower()[:100]
    found.volumes.append({"path": target, "type": "volume", "name": slug})
    found.changed.append((path, f"the volume without a name is called {slug}, so that it is found again"))


def _long(item: Mapping[str, Json], path: str, service: str, sources: Sources, found: Mounts) -> None:
    kind = text(item.get("type") or "volume")
    entry: Config = {"path": text(item["target"]), "read_only": truth(item.get("read_only", False))}
    source = text(item["source"]) if item.get("source") else None
    if kind == "tmpfs":
        options = mapping(item.get("tmpfs"))
        size = {"size_bytes": size_bytes(options["size"])} if "size" in options else {}
        found.volumes.append({"path": entry["path"], "type": "tmpfs"} | size)
    elif kind not in ("volume", "bind"):
        found.skipped.append((path, f"mounts of type {kind} have no counterpart"))
    elif source is None:
        if kind == "bind":
            wrong(f"{path}.source", "is needed for a bind mount")
        _anonymous(str(entry["path"]), path, service, found)
    else:
        _sourced(source, entry, path, sources, found)


def _configs(service: Mapping[str, Json], name: str, sources: Sources, found: Mounts) -> None:
    for index, item in enumerate(items(service.get("configs"))):
        path = f"services.{name}.configs.{index}"
        wanted = item if isinstance(item, dict) else {"source": text(item)}
        source = text(wanted["source"])
        top = mapping(sources.configs.get(source))
        content = text(top["content"]) if "content" in top else None
        if content is None and "file" in top:
            content = sources.file(text(top["file"]))
        if content is None:
            found.skipped.append((path, f"the content of {source} is not at hand: give it inline, or the file with the import"))
            continue
        target = text(wanted.get("target") or f"/{source}")
        file: Config = {"path": target if target.startswith("/") else f"/{target}", "content": content}
        if wanted.get("mode") is not None:
            file["mode"] = f"{whole(wanted['mode']) & 0o777:04o}"
        found.files.append(file)
