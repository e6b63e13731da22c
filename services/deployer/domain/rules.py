"""The rules of deployments: what may be made, changed, started, copied and deleted, and what a success does to the others."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from kernel.errors import Conflict, FairleadError, Forbidden
from services.deployer.domain.states import Status, VersionType

Id = TypeVar("Id")

_PREFIX = re.compile(r"[a-z0-9]{1,32}")
_SETTLED = frozenset(Status) - {Status.IN_PROGRESS}
_BEFORE_SUCCESS = frozenset({Status.PREPARING, Status.FAILED})
# A success changes what has run here, and never what is only prepared, has failed or is being worked on.
_HAS_RUN = frozenset({Status.SUCCESSFUL, Status.OBSOLETE, Status.DOWNGRADED})
_MAY_OVERRIDE = frozenset({"admin", "owner"})

_AN = {VersionType.ROLLING: "a rolling", VersionType.INCREMENTAL: "an incremental"}
_MUTABLE = {VersionType.ROLLING: _SETTLED, VersionType.INCREMENTAL: _BEFORE_SUCCESS}
_STARTABLE = {VersionType.ROLLING: _SETTLED, VersionType.INCREMENTAL: _SETTLED - {Status.SUCCESSFUL}}


def is_prefix(text: str) -> bool:
    """Is it lower-case letters and digits, 1 to 32, so that `prefix-name` splits one way only?"""
    return _PREFIX.fullmatch(text) is not None


def is_mutable(kind: VersionType, status: Status) -> bool:
    """May note, config, instances, prefix and node be changed?"""
    return status in _MUTABLE[kind]


def is_startable(kind: VersionType, status: Status) -> bool:
    """May it be started (again)?"""
    return status in _STARTABLE[kind]


def is_deletable(status: Status) -> bool:
    return status in _SETTLED


def is_copyable(status: Status) -> bool:
    return status in _SETTLED


def check_mutable(kind: VersionType, status: Status) -> None:
    """Raises Conflict `deployment-immutable`."""
    if not is_mutable(kind, status):
        raise Conflict("deployment-immutable", f"A deployment of {_AN[kind]} version that is {status} cannot be changed. Copy it.")


def check_deletable(status: Status) -> None:
    """Raises Conflict `deployment-in-progress`."""
    if not is_deletable(status):
        raise Conflict("deployment-in-progress", "The deployment is in progress. Cancel it, or wait for its end.")


def check_copyable(status: Status) -> None:
    """Raises Conflict `deployment-in-progress`."""
    if not is_copyable(status):
        raise Conflict("deployment-in-progress", "The deployment is in progress. Wait for its end, then copy it.")


@dataclass(frozen=True)
class Existing:
    """A deployment of the same version that is there already."""

    node: object
    prefix: str
    status: Status


def check_creatable(kind: VersionType, existing: Sequence[Existing], *, node: object, prefix: str, images: int = 1) -> None:
    """May a version be given a deployment at (node, prefix)? Raises Conflict with the rule's code."""
    if images == 0:
        raise Conflict("version-has-no-images", "The version has no images. Add one, then deploy it.")
    here = [one for one in existing if one.node == node]
    if kind is VersionType.ROLLING and here:
        raise Conflict("deployment-exists", f"This rolling version has a deployment on the node already, under {here[0].prefix}.")
    if kind is VersionType.INCREMENTAL and any(one.prefix == prefix and one.status is Status.PREPARING for one in here):
        raise Conflict(
            "deployment-preparing-exists",
            f"A deployment of this version is being prepared under {prefix} on the node already.",
        )


@dataclass(frozen=True)
class Protected:
    """Another deployment that stands at the place and is protected."""

    same_version: bool
    name: str = ""


def blocked_by_protection(
    kind: VersionType, others: Sequence[Protected], *, override: bool = False, role: str | None = None
) -> FairleadError | None:
    """Why a start is stopped by what is protected at the place: `place-protected`, `override-forbidden`, or None."""
    blocking = [one for one in others if kind is VersionType.ROLLING or not one.same_version]
    if not blocking:
        return None
    if not override:
        names = ", ".join(one.name for one in blocking if one.name)
        return Conflict("place-protected", f"A protected deployment stands at this place{f': {names}' if names else ''}.")
    if role not in _MAY_OVERRIDE:
        return Forbidden("Only an admin or owner may override protection.", code="override-forbidden")
    return None


@dataclass(frozen=True)
class Ran:
    """What has just turned successful."""

    project: object
    type: VersionType
    seq: int


@dataclass(frozen=True)
class Standing:
    """Another deployment at the same place."""

    project: object
    type: VersionType
    seq: int
    status: Status


def after_success(x: Ran, others: Mapping[Id, Standing]) -> dict[Id, Status]:
    """The status of each of `others` after `x` has turned successful at their place."""
    return {key: _after(x, other) for key, other in others.items()}


def _after(x: Ran, other: Standing) -> Status:
    if other.status not in _HAS_RUN:
        return other.status
    in_one_line = x.project == other.project and x.type is other.type is VersionType.INCREMENTAL
    return Status.DOWNGRADED if in_one_line and other.seq > x.seq else Status.OBSOLETE
