"""What comes in and what goes out: signed commands, signed reports."""

from __future__ import annotations

from agent.messages.commands import Commands
from agent.messages.reports import Cause, Reports

__all__ = ["Cause", "Commands", "Reports"]
