"""The states of deployments, attempts and nodes, and the words that go with them."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a deployment stands."""

    PREPARING = "preparing"
    IN_PROGRESS = "in-progress"
    SUCCESSFUL = "successful"
    FAILED = "failed"
    OBSOLETE = "obsolete"
    DOWNGRADED = "downgraded"


class VersionType(StrEnum):
    """A rolling version changes in place; an incremental one is frozen once deployed."""

    ROLLING = "rolling"
    INCREMENTAL = "incremental"


class Outcome(StrEnum):
    """How an attempt ended; a live attempt has none."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    TIMED_OUT = "timed-out"


class NodeStatus(StrEnum):
    """What is known of a node."""

    NEW = "new"
    CONNECTED = "connected"
    UNREACHABLE = "unreachable"
    OUTDATED = "outdated"
    UPDATING = "updating"
    REVOKED = "revoked"


class EventKind(StrEnum):
    """What a deployment's event tells: a change of status, a step on the node, a line of a log."""

    STATUS = "status"
    STEP = "step"
    LOG = "log"


class Sync(StrEnum):
    """Does the node still run what the last success put there?"""

    IN_SYNC = "in-sync"
    DRIFTED = "drifted"
    UNKNOWN = "unknown"
