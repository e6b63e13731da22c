"""The five families of errors that every part speaks; rules raise them and know nothing of HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """One wrong field: `field` is a dotted path (`config.ports.0.host_port`), `message` tells what it should be."""

    field: str
    message: str


class FairleadError(Exception):
    """An error that a caller may see: `code` is kebab-case and never changes once a client has seen it."""

    def __init__(self, code: str, detail: str, *, facts: Mapping[str, object] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.facts: dict[str, object] = dict(facts or {})

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class Invalid(FairleadError):
    """What came in is wrong; every wrong field is named at once."""

    def __init__(
        self,
        errors: Sequence[FieldError],
        *,
        code: str = "invalid",
        detail: str = "Some fields are wrong.",
        facts: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(code, detail, facts=facts)
        self.errors = tuple(errors)


class NotFound(FairleadError):
    """It is not there, or it belongs to another team: the two are told alike on purpose."""

    def __init__(self, thing: str = "resource") -> None:
        super().__init__("not-found", f"There is no such {thing}.")


class Conflict(FairleadError):
    """The state of things forbids it."""


class PreconditionFailed(Conflict):
    """`If-Match` names another state than the present one: somebody else was quicker."""

    def __init__(self, detail: str = "It has been changed since you read it. Read it again and repeat your change.") -> None:
        super().__init__("precondition-failed", detail)


class Forbidden(FairleadError):
    """Known, and not allowed."""

    def __init__(self, detail: str = "Your role or your token does not allow this.", *, code: str = "forbidden") -> None:
        super().__init__(code, detail)


class Unauthenticated(Forbidden):
    """Nobody is signed in, or the token is wrong, expired or revoked."""

    def __init__(self, detail: str = "Sign in first: the token is missing, wrong or expired.", *, code: str = "unauthenticated") -> None:
        super().__init__(detail, code=code)


class Unavailable(FairleadError):
    """A part that is needed does not answer now; the same thing may work later."""

    def __init__(self, detail: str, *, code: str = "unavailable", retry_after_seconds: int = 5) -> None:
        super().__init__(code, detail)
        self.retry_after_seconds = retry_after_seconds


class RateLimited(Unavailable):
    """Too many tries: wait `retry_after_seconds`."""

    def __init__(self, retry_after_seconds: int, detail: str = "Too many tries. Wait, then try again.") -> None:
        super().__init__(detail, code="rate-limited", retry_after_seconds=retry_after_seconds)
