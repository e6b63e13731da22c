"""Logs (structlog, JSON in production, no secrets) and the correlation id that goes with every line."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

import structlog

correlation: ContextVar[str | None] = ContextVar("correlation", default=None)

_SECRET_KEYS = re.compile(r"password|secret|token|authorization|cookie|credential|sealed|private|api_key", re.IGNORECASE)
_SECRET_VALUES = re.compile(r"(fl_(?:pat|team|enr|trg)_[\w-]+|eyJ[\w-]{8,}\.[\w-]+\.[\w-]+|(?<=://)[^/\s:@]+:[^/\s@]+(?=@))")
HIDDEN = "[hidden]"


def redact(value: Any, key: str = "") -> Any:
    """`value` with everything that looks like a secret, by its key or by itself, replaced. Any: log fields are free."""
    if key and _SECRET_KEYS.search(key) and isinstance(value, str | bytes):
        return HIDDEN
    if isinstance(value, str):
        return _SECRET_VALUES.sub(HIDDEN, value)
    # What lies below such a key is secret too: secrets={"DB": "…"}.
    above = key if key and _SECRET_KEYS.search(key) else ""
    if isinstance(value, dict):
        return {k: redact(v, above or str(k)) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item, above) for item in value]
    return value


def _redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: redact(value, key) for key, value in event.items()}


def _add_correlation(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.setdefault("correlation", correlation.get())
    return event


def configure_logging(part: str, *, form: str = "json", level: str = "info") -> None:
    """Set up structlog and the standard library's logging for this process; `part` (`deployer.worker`) is on each line."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    renderer: Any = structlog.dev.ConsoleRenderer(colors=False) if form == "console" else structlog.processors.JSONRenderer()
    chain: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_correlation,
        # Not a context variable: each thread has a context of its own, and every line is to say whose it is.
        lambda _logger, _method, event: {"part": part, **event},
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    structlog.configure(
        processors=[*chain, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=chain, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)
    logging.getLogger("pika").setLevel(logging.CRITICAL)
