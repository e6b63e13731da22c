"""The health gate: what one look at a container says about it, and asking it over http or tcp. Judging is pure."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from agent.docker.values import Inspected
from kernel import clock
from kernel.contracts.config import Config

_ASK_AGAIN_SECONDS = 0.5
_DEFAULT_EXPECTED: Config = {"state": "running", "timeout_seconds": 120, "stable_seconds": 2, "exit_code": 0}


def expected_state(config: Config) -> Config:
    """What the container should come to, with defaults."""
    return _DEFAULT_EXPECTED | (config.get("expected_state") or {})


class Verdict(StrEnum):
    WAIT = "wait"
    READY = "ready"
    ENDED = "ended"  # it ran, and does not any more
    FAILED = "failed"


@dataclass(frozen=True)
class Judgement:
    verdict: Verdict
    detail: str = ""


def has_check(config: Config, found: Inspected | None) -> bool:
    """Whether anything tells its health: its own check, the image's, or a probe of ours."""
    check = config.get("healthcheck") or {}
    return bool("http" in check or "tcp" in check or (found is not None and found.health is not None))


def judge(config: Config, found: Inspected, probe: Judgement | None = None) -> Judgement:
    """What one look says. `probe` is what the last http or tcp probe said, where there is one."""
    expected = expected_state(config)
    if expected["state"] == "exited":
        return _judge_exit(expected, found)
    if found.has_ended:
        return Judgement(Verdict.ENDED, ending(found))
    if not found.is_running:
        return Judgement(Verdict.WAIT, f"is {found.state}")
    if probe is not None:
        return probe
    if found.health == "healthy":
        return Judgement(Verdict.READY)
    if found.health == "unhealthy":
        return Judgement(Verdict.FAILED, f"its health check fails: {found.health_output.strip()}".rstrip(": "))
    if found.health is not None:
        return Judgement(Verdict.WAIT, "its health check has not passed yet")
    if expected["state"] == "healthy":
        return Judgement(Verdict.FAILED, "is to become healthy and has no health check")
    return Judgement(Verdict.READY)


def _judge_exit(expected: Config, found: Inspected) -> Judgement:
    if not found.has_ended:
        return Judgement(Verdict.WAIT, "has not exited yet")
    if found.exit_code == expected["exit_code"]:
        return Judgement(Verdict.READY)
    return Judgement(Verdict.FAILED, f"{ending(found)}, expected {expected['exit_code']}")


def ending(found: Inspected) -> str:
    """How a container ended, for people."""
    said = f"exited with code {found.exit_code}"
    if found.was_oom_killed:
        said += ", killed because it used more memory than its limit"
    return f"{said} ({found.error})" if found.error else said


class Probe:
    """Asks one container over http or tcp until it answers. A failure counts once an interval, but it is asked more often."""

    def __init__(self, check: Config, ask: Callable[[str, Config], str | None] | None = None) -> None:
        self._check = check
        self._ask = ask or ask_container
        self._began_at = clock.monotonic()
        self._counted_at = self._began_at
        self._next_at = 0.0
        self._failures = 0
        self._last = Judgement(Verdict.WAIT, "has not been asked yet")

    def look(self, address: str) -> Judgement:
        """The judgement now; asks only when it is time."""
        if clock.monotonic() < self._next_at:
            return self._last
        wrong = self._ask(address, self._check)
        now = clock.monotonic()
        interval = self._check["interval_seconds"]
        if wrong is None:
            self._failures = 0
            self._next_at = now + interval
            self._last = Judgement(Verdict.READY)
            return self._last
        self._next_at = now + min(interval, _ASK_AGAIN_SECONDS)
        if now - self._began_at >= self._check["start_period_seconds"] and now - self._counted_at >= interval:
            self._failures += 1
            self._counted_at = now
        is_out = self._failures >= self._check["retries"]
        self._last = Judgement(Verdict.FAILED if is_out else Verdict.WAIT, f"its probe fails: {wrong}")
        return self._last

    @classmethod
    def of(cls, config: Config) -> Probe | None:
        """The probe that a configuration asks for, if it is the agent's to do."""
        check = config.get("healthcheck") or {}
        return cls(check) if check.get("http") or check.get("tcp") else None


def address_of(found: Inspected) -> str:
    """Where the host reaches the container."""
    if found.is_on_host_network:
        return "127.0.0.1"
    return next(iter(found.addresses.values()), "")


def ask_container(address: str, check: Config) -> str | None:
    """None when it answers as it should, else what was wrong."""
    if not address:
        return "the container has no address"
    timeout = check["timeout_seconds"]
    if check.get("tcp"):
        return _ask_tcp(address, check["tcp"]["port"], timeout)
    return _ask_http(address, check["http"], timeout)


def _ask_tcp(address: str, port: int, timeout: float) -> str | None:
    try:
        with socket.create_connection((address, port), timeout):
            return None
    except OSError as error:
        return f"port {port}: {error}"


def _ask_http(address: str, wanted: Config, timeout: float) -> str | None:
    connection = http.client.HTTPConnection(address, wanted["port"], timeout=timeout)
    try:
        connection.request("GET", wanted["path"], headers={"User-Agent": "fairlead-agent"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"GET {wanted['path']} on port {wanted['port']}: {error}"
    finally:
        connection.close()
    is_right = status == wanted["status"] if wanted.get("status") else 200 <= status < 400
    return None if is_right else f"GET {wanted['path']} on port {wanted['port']}: status {status}"
