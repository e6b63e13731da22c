"""What can be wrong with a registry, told apart so that people know what to mend."""

from __future__ import annotations

from enum import StrEnum


class Fault(StrEnum):
    """Which part of a registry's settings, or of the registry, is at fault."""

    ADDRESS = "address"
    CERTIFICATE = "certificate"
    LOG_IN = "log-in"
    NAMESPACE = "namespace"
    MISSING = "missing"
    RATE_LIMIT = "rate-limit"
    UNREACHABLE = "unreachable"
    ANSWER = "answer"


class RemoteError(Exception):
    """A registry did not do what was asked. `detail` is ours, never the registry's own words."""

    def __init__(self, fault: Fault, detail: str, *, retry_after_seconds: int = 30) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds
