"""Signs of life: to the control plane every few seconds, and to `agentctl status` as a file."""

from __future__ import annotations

import json
import os
import platform
import socket
from pathlib import Path
from typing import Any

import structlog

from agent.docker import Engine
from agent.identity import Node, write_private
from agent.link import Link
from agent.messages.commands import Commands
from agent.messages.reports import VERSION, Reports
from kernel import clock
from kernel.errors import FairleadError, Unavailable

log = structlog.get_logger(__name__)


def facts(engine: Engine) -> dict[str, Any]:  # Any: text and numbers
    """What a person wants to know of this machine; the engine's part only if it answers."""
    known: dict[str, Any] = {
        "host_name": socket.gethostname(),
        "os": platform.system(),
        "architecture": platform.machine(),
        "kernel": platform.release(),
        "cpus": os.cpu_count() or 0,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "agent_version": VERSION,
    }
    try:
        return known | engine.facts()
    except FairleadError:
        return known


class Heartbeat:
    """Beats when told to; remembers what the last look at the engine said."""

    def __init__(self, node: Node, reports: Reports, link: Link, commands: Commands, *, state_path: Path) -> None:
        self._node = node
        self._reports = reports
        self._link = link
        self._commands = commands
        self._state_path = state_path
        self._written: dict[str, Any] = {}  # Any: text and numbers
        self._written_at = 0.0
        self.engine = "ok"

    def beat(self) -> None:
        """Send a sign of life. A full disk must not end the agent: what it works on is to end as well as it can."""
        try:
            self._link.beat(self._reports.heartbeat(self.engine))
        except Unavailable as error:
            log.warning("no heartbeat", error=error.detail)

    def write_state(self, *, every_seconds: float = 5.0) -> None:
        """Write the state file when it has changed or is old."""
        state = {
            "node_id": str(self._node.node_id),
            "connected": self._link.is_connected,
            "welcomed": self._commands.welcomed,
            "refused": self._link.is_refused,
            "engine": self.engine,
            "epoch": self._reports.epoch,
            "version": VERSION,
            "pid": os.getpid(),
        }
        if state == self._written and clock.monotonic() - self._written_at < every_seconds:
            return
        self._written, self._written_at = state, clock.monotonic()
        try:
            write_private(self._state_path, json.dumps(state | {"at": clock.rfc3339(clock.now())}), mode=0o644, is_durable=False)
        except OSError as error:
            log.warning("the state file cannot be written", error=str(error))
