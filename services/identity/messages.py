"""What identity sends and handles: it tells of its own changes, and listens to nobody."""

from __future__ import annotations

from kernel.contracts import identity

SENT: tuple[str, ...] = identity.NAMES
HANDLED: dict[str, object] = {}
