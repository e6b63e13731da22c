"""The Docker Engine: the only package that imports the docker library."""

from __future__ import annotations

from agent.docker.engine import Engine
from agent.docker.errors import EngineAway, EngineRefused, InUse, NotThere
from agent.docker.values import Inspected, PullLine

__all__ = ["Engine", "EngineAway", "EngineRefused", "InUse", "Inspected", "NotThere", "PullLine"]
