"""What the engine can answer besides yes, as our own errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import docker.errors
import requests.exceptions
import urllib3.exceptions

from kernel.errors import Conflict, FairleadError, NotFound, Unavailable


class EngineAway(Unavailable):
    """The engine does not answer; it may in a moment."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, code="engine-unavailable")


class NotThere(NotFound):
    """The engine knows no such thing."""


class InUse(Conflict):
    """A name or a thing is in use."""

    def __init__(self, detail: str) -> None:
        super().__init__("engine-conflict", detail)


class EngineRefused(Conflict):
    """The engine understood and said no."""

    def __init__(self, detail: str) -> None:
        super().__init__("engine-refused", detail)


_DISK_FULL = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_PORT_TAKEN = re.compile(r"port is already allocated|address already in use|ports are not available", re.IGNORECASE)
_DENIED = re.compile(r"unauthorized|authentication required|denied|no basic auth|\b40[13]\b", re.IGNORECASE)
_IMAGE_MISSING = re.compile(r"no such image|manifest unknown|not found|name unknown|no match for platform", re.IGNORECASE)
_MOST_CHARACTERS = 1000

# How a call over the engine's socket can break.
_BROKEN = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
    ConnectionError,
    TimeoutError,
)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turns the library's errors into ours; `what` says what was tried, on which thing."""
    try:
        yield
    except docker.errors.APIError as error:
        raise _of_answer(what, error) from error
    except docker.errors.DockerException as error:
        # The library's own complaint: in practice that the version could not be asked for.
        raise EngineAway(f"{what}: {error}") from error
    except _BROKEN as error:
        raise EngineAway(f"{what}: the Docker Engine does not answer ({type(error).__name__})") from error


def _of_answer(what: str, error: docker.errors.APIError) -> FairleadError:
    status = error.response.status_code if error.response is not None else 500
    said = str(error.explanation or error)[:_MOST_CHARACTERS]
    detail = f"{what}: {said}"
    if status == 404:
        return Conflict("image-missing", detail) if "no such image" in said.lower() else NotThere(what)
    if _DISK_FULL.search(said):
        return Conflict("disk-full", detail)
    if _PORT_TAKEN.search(said):
        return Conflict("port-taken", detail)
    if status == 409:
        return InUse(detail)
    return EngineAway(detail) if status == 503 else EngineRefused(detail)


def of_pull(image: str, said: str) -> FairleadError:
    """What a failed pull means. Anything unknown may be better in a moment."""
    detail = f"pulling {image}: {said[:_MOST_CHARACTERS]}"
    if _DISK_FULL.search(said):
        return Conflict("disk-full", detail)
    if _DENIED.search(said):
        return Conflict("registry-denied", detail)
    if _IMAGE_MISSING.search(said):
        return Conflict("image-missing", detail)
    return Unavailable(detail, code="registry-unavailable")
