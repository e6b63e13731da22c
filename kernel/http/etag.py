"""ETags of single resources, from a revision that grows with each change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import after_this_request, request
from werkzeug.http import parse_etags

from kernel.errors import PreconditionFailed


def set_etag(revision: object) -> None:
    """Send `revision` as the ETag of this answer."""

    def attach(response: Any) -> Any:  # Flask's own response type, whichever is configured
        response.set_etag(str(revision))
        return response

    callback: Callable[[Any], Any] = attach
    after_this_request(callback)


def check_if_match(revision: object) -> None:
    """Raises PreconditionFailed when the client sent If-Match and it names another revision than the present one.

    To be called inside the transaction that changes the row, with the row locked.
    """
    header = request.headers.get("If-Match")
    if header is not None and not parse_etags(header).contains(str(revision)):
        raise PreconditionFailed


def if_match_check() -> Callable[[object], None]:
    """`check_if_match` as a value, for use cases that know no Flask: they call it with the locked row's revision."""
    header = request.headers.get("If-Match")

    def check(revision: object) -> None:
        if header is not None and not parse_etags(header).contains(str(revision)):
            raise PreconditionFailed

    return check
