"""The catalog's rules, as values and pure functions."""

from services.catalog.domain.references import ImageReference, parse_reference
from services.catalog.domain.registries import RegistryType
from services.catalog.domain.values import ConfigBundle, Image, Project, ProjectType, Registry, Version, VersionType

__all__ = [
    "ConfigBundle",
    "Image",
    "ImageReference",
    "Project",
    "ProjectType",
    "Registry",
    "RegistryType",
    "Version",
    "VersionType",
    "parse_reference",
]
