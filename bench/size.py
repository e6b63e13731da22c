"""Memory of each process when idle: proportional set size, so that what processes share is counted once."""

from __future__ import annotations

import threading

import psutil

from bench.measure import Measure
from deploy.native.supervisor import SERVICES, Supervisor
from tests.fixtures.stack import Harbour, Stack, make_harbour, remove_harbour, running_stack

_MIB = 1024 * 1024
_SETTLE_SECONDS = 20.0
_AGENT_AIM = 60
_ALL_AIM = 450


def measure() -> list[Measure]:
    """After a deployment has run and everything has been idle for a while."""
    stacks = running_stack()
    stack = next(stacks)
    harbour = make_harbour(stack)
    try:
        deployment = harbour.deployment(harbour.version(harbour.image("web", "1")), "idle")
        harbour.start(deployment)
        harbour.await_end(deployment)
        threading.Event().wait(_SETTLE_SECONDS)
        return _sizes(stack, harbour)
    finally:
        remove_harbour(harbour)
        stacks.close()


def _sizes(stack: Stack, harbour: Harbour) -> list[Measure]:
    sizes: dict[str, float] = {}
    for state in Supervisor(stack.layout).states():
        if state.group == SERVICES:
            sizes[state.name] = _megabytes(stack.program_pids(state.name))
    sizes["agent"] = _megabytes(harbour.node.pids())
    measures = [Measure(name, size, "MiB") for name, size in sorted(sizes.items())]
    total = Measure("all of Fairlead", sum(sizes.values()), "MiB", "the aim", _ALL_AIM, "below 1")
    return [*measures, Measure("agent", sizes["agent"], "MiB", "the aim", _AGENT_AIM, "below 1"), total]


def _megabytes(pids: list[int]) -> float:
    return sum(psutil.Process(pid).memory_full_info().pss for pid in pids) / _MIB
