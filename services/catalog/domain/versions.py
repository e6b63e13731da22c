"""What may be done with a version, given its type, its deployments and its child."""

from __future__ import annotations

import re
from collections.abc import Collection

from kernel.errors import Conflict
from services.catalog.domain.values import ProjectType, VersionType

MOST_IMAGES = 100

# A deployment in one of these has run, runs, or may be running now: what it was made of is a record.
_FREEZING = frozenset({"in-progress", "successful", "obsolete", "downgraded"})

REASONS = {
    "version-immutable": "The version has been deployed or has a successor: it stays as it was. Increase it to go on.",
    "version-already-increased": "The version has a successor already. Increase that one.",
    "rolling-version": "A rolling version is changed in place; only incremental versions are increased.",
    "version-in-use": "A deployment of the version runs or has run. Delete the deployment first.",
    "version-has-child": "Another version was increased from this one.",
    "hidden-version": "A versionless project lives in this one version. Delete or convert the project instead.",
}


def immutable_because(kind: VersionType, statuses: Collection[str], *, children: int) -> str | None:
    """Why its images and their configuration may not be changed; None when they may."""
    if kind is VersionType.INCREMENTAL and (children or not _FREEZING.isdisjoint(statuses)):
        return "version-immutable"
    return None


def not_increasable_because(kind: VersionType, *, children: int) -> str | None:
    """Why it may not be increased; None when it may."""
    if kind is VersionType.ROLLING:
        return "rolling-version"
    return "version-already-increased" if children else None


def not_deletable_because(kind: VersionType, project: ProjectType, statuses: Collection[str], *, children: int) -> str | None:
    """Why it may not be deleted; None when it may."""
    if project is ProjectType.VERSIONLESS:
        return "hidden-version"
    in_use = "in-progress" in statuses if kind is VersionType.ROLLING else not _FREEZING.isdisjoint(statuses)
    if in_use:
        return "version-in-use"
    return "version-has-child" if children else None


def refuse(reason: str | None) -> None:
    """Raises Conflict when there is a reason."""
    if reason is not None:
        raise Conflict(reason, REASONS[reason])


_SEMANTIC = re.compile(
    r"v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?\Z",
    re.ASCII,
)


def name_warnings(kind: VersionType, name: str) -> list[str]:
    """Advice on a version's name; never a reason to refuse it."""
    if kind is VersionType.INCREMENTAL and not _SEMANTIC.match(name):
        return [f"{name!r} is not a semantic version such as 1.4.0 (https://semver.org): people and tools will not know its order."]
    return []
