"""Errors as RFC 9457 problem documents: one table maps the families to statuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from flask import Response, g, request
from marshmallow import Schema, fields
from werkzeug.exceptions import HTTPException

from kernel import errors, telemetry
from kernel.contracts.config import flatten
from kernel.errors import FairleadError, FieldError, Invalid

if TYPE_CHECKING:
    # The gateway has no database and answers problems all the same.
    from sqlalchemy.exc import DataError

log = structlog.get_logger(__name__)

# The first that fits counts: subclasses stand before their family.
STATUSES: tuple[tuple[type[FairleadError], int], ...] = (
    (errors.Unauthenticated, 401),
    (errors.PreconditionFailed, 412),
    (errors.RateLimited, 429),
    (errors.Invalid, 422),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.Forbidden, 403),
    (errors.Unavailable, 503),
)

_CODES = {400: "not-json", 404: "not-found", 405: "method-not-allowed", 413: "too-large", 415: "unsupported-media-type", 422: "invalid"}


class FieldErrorSchema(Schema):
    field = fields.String(required=True)
    message = fields.String(required=True)


class ProblemSchema(Schema):
    """RFC 9457: `code` is stable, `errors` names every wrong field of a 422."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String()
    code = fields.String(required=True)
    correlation_id = fields.String()
    errors = fields.List(fields.Nested(FieldErrorSchema))


def status_of(error: FairleadError) -> int:
    """The HTTP status of an error's family."""
    return next(status for family, status in STATUSES if isinstance(error, family))


def problem(
    status: int, code: str, detail: str, *, wrong: tuple[FieldError, ...] = (), facts: Mapping[str, object] | None = None
) -> Response:
    """A problem document as a response."""
    document: dict[str, Any] = dict(facts or {}) | {
        "type": f"https://fairlead.dev/problems/{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "correlation_id": telemetry.correlation.get(),
    }
    if wrong:
        document["errors"] = [{"field": error.field, "message": error.message} for error in wrong]
    g.problem_code = code
    return Response(json.dumps(document), status, content_type="application/problem+json")


def from_error(error: FairleadError) -> Response:
    """The problem document of one of our own errors."""
    wrong = error.errors if isinstance(error, Invalid) else ()
    response = problem(status_of(error), error.code, error.detail, wrong=wrong, facts=error.facts)
    if isinstance(error, errors.Unavailable):
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, errors.Unauthenticated):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def from_http_exception(error: HTTPException) -> Response:
    """The problem document of what Flask, Werkzeug or webargs refused."""
    status = error.code or 500
    if error.response is not None and status < 400:
        return Response(status=status, headers=dict(error.response.headers))
    messages = getattr(error, "data", {}).get("messages", {}) if isinstance(getattr(error, "data", None), dict) else {}
    if status == 422:
        wrong = tuple(found for location in messages.values() for found in flatten(location)) or (FieldError("body", "is invalid"),)
        return problem(422, "invalid", "Some fields are wrong.", wrong=wrong)
    response = problem(status, _CODES.get(status, HTTPStatus(status).phrase.lower().replace(" ", "-")), str(error.description or ""))
    if status == 405 and getattr(error, "valid_methods", None):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))  # type: ignore[attr-defined]  # of MethodNotAllowed
    return response


def from_data_error(error: DataError | UnicodeEncodeError) -> Response:
    """Text or numbers that PostgreSQL cannot hold (NUL, half a surrogate pair, a number too great): the client's mistake."""
    log.info("data could not be stored", error=type(error).__name__)
    return problem(
        422, "invalid", "A text or a number cannot be stored.", wrong=(FieldError("body", "holds a value that cannot be stored"),)
    )


def from_depth(error: RecursionError) -> Response:
    """A body that is nested so deeply that the parser gave up: the client's mistake. Without a body it is ours."""
    return problem(400, "not-json", "The body is nested too deeply.") if _has_body() else from_defect(error)


def from_digits(error: ValueError) -> Response:
    """A number of more digits than Python reads (json.loads then raises a bare ValueError): the client's mistake. Any other is ours."""
    if _has_body() and str(error).startswith("Exceeds the limit"):
        return problem(400, "not-json", "The body holds a number of too many digits.")
    return from_defect(error)


def _has_body() -> bool:
    return bool(request.content_length or request.headers.get("Transfer-Encoding"))


def from_defect(error: Exception) -> Response:
    """A defect of ours: logged in full, told in brief."""
    log.exception("request failed", error=repr(error))
    return problem(500, "internal-error", "Something went wrong on our side; the correlation id finds it in the log.")
