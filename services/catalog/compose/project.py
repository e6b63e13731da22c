"""A whole Compose file: interpolation, extends, profiles, the order of services; the answer says what became of each thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kernel.contracts.config import Config, parse_config
from kernel.errors import FieldError, Invalid
from services.catalog.compose import values
from services.catalog.compose.document import Json, load
from services.catalog.compose.extends import extended
from services.catalog.compose.interpolation import Interpolation
from services.catalog.compose.mounts import Sources
from services.catalog.compose.names import check_names
from services.catalog.compose.schema import check
from services.catalog.compose.services import Reader
from services.catalog.domain.references import container_name

_TOP = {"services", "volumes", "networks", "configs", "secrets", "name", "version", "include"}


@dataclass(frozen=True)
class ImportOptions:
    """What is given with a Compose file: contents of files by path, variables, and the profiles that are wanted."""

    files: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    profiles: Sequence[str] = ()


@dataclass(frozen=True)
class Note:
    """What happened to one thing of the file, by its path (`services.web.ports`)."""

    path: str
    detail: str


@dataclass(frozen=True)
class Service:
    """One service that can be deployed."""

    name: str
    image: str
    config: Config


@dataclass(frozen=True)
class Imported:
    """The services in the order of starting, and notes on what was changed or left out."""

    services: list[Service]
    changed: list[Note]
    skipped: list[Note]


def import_compose(compose: str, options: ImportOptions, *, field: str = "compose") -> Imported:
    """Raises Invalid naming everything that is wrong by its path in the file."""
    raw = load(compose, field=field)
    interpolation = Interpolation(options.variables)
    document = interpolation.apply(raw, "")
    check(document)
    outside: list[Note] = []
    services = extended(document["services"], lambda path, reason: outside.append(Note(path, reason)))
    check_names(document | {"services": services})
    sources = Sources(values.mapping(document.get("volumes")), values.mapping(document.get("configs")), options.files)
    result = Imported(
        [], [Note("variables", f"{name} has no value and is taken as empty") for name in sorted(interpolation.missing)], outside
    )
    _note_top(document, result)
    wrong: list[FieldError] = []
    for name in _in_order(services):
        try:
            _take(name, services[name], document, sources, options, result)
        except Invalid as error:
            wrong += error.errors
    if wrong:
        raise Invalid(wrong)
    return result


def _take(
    name: str, service: Mapping[str, Json], document: Mapping[str, Json], sources: Sources, options: ImportOptions, result: Imported
) -> None:
    profiles = [values.text(one) for one in values.items(service.get("profiles"))]
    if profiles and not set(profiles) & set(options.profiles) and "*" not in options.profiles:
        result.skipped.append(Note(f"services.{name}", f"belongs to the profile {' or '.join(profiles)}, which was not asked for"))
        return
    if not service.get("image"):
        reason = "has no image: build and push it first" if "build" in service else "has no image"
        result.skipped.append(Note(f"services.{name}", reason))
        return
    own_name = container_name(name)
    networks = values.mapping(document.get("networks"))
    reader = Reader(name, service, sources, options.variables, networks)
    config = {"name": own_name} | reader.read()
    if own_name != name:
        result.changed.append(Note(f"services.{name}", f"is called {own_name}"))
    # What Compose has no words for, as our own export writes it.
    for key, own in values.mapping(service.get("x-fairlead")).items():
        config[key] = own
    checked = parse_config({key: value for key, value in config.items() if value is not None}, field=f"services.{name}")
    result.services.append(Service(name, values.text(service["image"]), checked))
    result.changed.extend(Note(*one) for one in reader.changed)
    result.skipped.extend(Note(*one) for one in reader.skipped)


def _note_top(document: Mapping[str, Json], result: Imported) -> None:
    for file in _included(document):
        result.skipped.append(Note("include", f"{file} is not part of this file: import it on its own"))
    for key in document:
        if key not in _TOP and not key.startswith("x-"):
            result.skipped.append(Note(key, "has no counterpart in a version"))
    for name, volume in values.mapping(document.get("volumes")).items():
        for option in set(values.mapping(volume)) - {"name", "external"}:
            result.skipped.append(Note(f"volumes.{name}.{option}", "volumes are made with the driver of the node"))
    for name, network in values.mapping(document.get("networks")).items():
        for option in set(values.mapping(network)) - {"name", "external"}:
            result.skipped.append(Note(f"networks.{name}.{option}", "networks are made as the node makes them"))


def _included(document: Mapping[str, Json]) -> list[str]:
    entries = values.items(document.get("include"))
    return [file for entry in entries for file in values.items(entry.get("path") if isinstance(entry, dict) else entry)]


def _in_order(services: Mapping[str, Mapping[str, Json]]) -> list[str]:
    """Each after those that it depends on; otherwise as the file has them. Raises Invalid for a circle."""
    ordered: list[str] = []
    visiting: set[str] = set()

    def visit(name: str) -> None:
        if name in ordered:
            return
        if name in visiting:
            values.wrong(f"services.{name}.depends_on", "goes round in a circle")
        visiting.add(name)
        for other in _dependencies(services[name]):
            if other in services:
                visit(other)
        visiting.discard(name)
        ordered.append(name)

    for name in services:
        visit(name)
    return ordered


def _dependencies(service: Mapping[str, Json]) -> list[str]:
    wanted = service.get("depends_on")
    if isinstance(wanted, dict):
        return list(wanted)
    return [values.text(one) for one in values.items(wanted)]
