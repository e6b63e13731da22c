"""How an attempt ended: as a report, as the text in the journal, and back."""

from __future__ import annotations

import json

from agent.journal import Work
from kernel.contracts.agent import DeploymentFinished, DeploymentFinishedSchema, PlaceRemoved, PlaceRemovedSchema
from kernel.contracts.deployer import ApplyDeployment, CancelDeployment
from kernel.errors import Conflict

_SCHEMA = DeploymentFinishedSchema()
_REMOVED = PlaceRemovedSchema()

# What Python raises where our own code is wrong: such a fault belongs to one work, not to the whole agent.
DEFECTS = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError)


def refused_data(order: ApplyDeployment | CancelDeployment, code: str, detail: str) -> DeploymentFinished:
    """The end of an attempt that was never begun."""
    return DeploymentFinished(
        deployment_id=order.deployment_id, attempt_id=order.attempt_id, prefix=order.prefix, outcome="refused", code=code, detail=detail
    )


def to_text(finished: DeploymentFinished) -> str:
    """For the journal."""
    return json.dumps(_SCHEMA.dump(finished), separators=(",", ":"))


def finished_of(work: Work) -> DeploymentFinished:
    """The end of a finished attempt, as it was told the first time."""
    loaded = _SCHEMA.load(json.loads(work.finished or "{}"))
    assert isinstance(loaded, DeploymentFinished)
    return loaded


def removed_text(removed: PlaceRemoved) -> str:
    """For the journal."""
    return json.dumps(_REMOVED.dump(removed), separators=(",", ":"))


def removed_of(work: Work) -> PlaceRemoved:
    """The end of a removal, as it was told the first time."""
    loaded = _REMOVED.load(json.loads(work.finished or "{}"))
    assert isinstance(loaded, PlaceRemoved)
    return loaded


class Refused(Conflict):
    """The attempt is outside what this node obeys; nothing was touched."""


class Cancelled(Conflict):
    """Somebody told the attempt to stop."""


class Unhealthy(Conflict):
    """A container did not become, or did not stay, what it should be."""

    def __init__(self, code: str, detail: str, *, container_id: str) -> None:
        super().__init__(code, detail)
        self.container_id = container_id
