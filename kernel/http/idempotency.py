"""`Idempotency-Key` on POST: the same key with the same body answers the same again, with another body 409.

Answers may hold what is shown only once, and bodies a password: nothing of either can be read in the table without the key
that the client chose, and the table knows only a hash of that.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping

import structlog
from flask import Flask, Response, current_app, g, request
from nacl.secret import SecretBox
from sqlalchemy import text

from kernel.db import Database
from kernel.errors import Conflict, FieldError, Invalid, Unauthenticated, Unavailable
from kernel.housekeeping import forget_keys as forget_old

__all__ = ["forget_old", "install"]

log = structlog.get_logger(__name__)

_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")
_KEPT_HEADERS = ("Content-Type", "Location", "ETag")

# A key whose request died half-way may be used again after a minute.
_CLAIM = text("""
INSERT INTO idempotency_keys AS k (owner, key, request_hash) VALUES (:owner, :key, :hash)
ON CONFLICT (owner, key) DO UPDATE SET created_at = now(), request_hash = excluded.request_hash, status = NULL, body = NULL
WHERE (k.status IS NULL AND k.created_at < now() - interval '60 seconds') OR k.created_at < now() - interval '24 hours'
RETURNING key""")
_FIND = text("SELECT request_hash, status, headers, body FROM idempotency_keys WHERE owner = :owner AND key = :key")
_KEEP = text(
    "UPDATE idempotency_keys SET status = :status, headers = CAST(:headers AS jsonb), body = :body WHERE owner = :owner AND key = :key"
)
_RELEASE = text("DELETE FROM idempotency_keys WHERE owner = :owner AND key = :key AND status IS NULL")


def install(app: Flask, db: Database) -> None:
    """Honour the header on every POST of `app`. The caller's credentials are part of the key's owner."""

    @app.before_request
    def replay() -> Response | None:
        key = request.headers.get("Idempotency-Key")
        if request.method != "POST" or key is None or request.url_rule is None:
            return None
        if not _KEY.match(key):
            raise Invalid([FieldError("Idempotency-Key", "must be 1 to 255 visible ASCII characters")])
        row = {"owner": _owner(), "key": hashlib.sha256(key.encode()).hexdigest()}
        secret = hashlib.sha256(f"{row['owner']} {key}".encode()).digest()
        digest = hmac.digest(secret, request.get_data(cache=True), "sha256").hex()
        with db.system() as session:
            if session.execute(_CLAIM, row | {"hash": digest}).first() is not None:
                g.idempotency = (row, secret)
                return None
            kept = session.execute(_FIND, row).one()
        if kept.request_hash != digest:
            raise Conflict("idempotency-key-reused", "This Idempotency-Key was used with another body.")
        return _answer_again(kept.status, kept.headers, kept.body, secret)

    @app.after_request
    def keep(response: Response) -> Response:
        claim: tuple[dict[str, str], bytes] | None = g.pop("idempotency", None)
        if claim is None:
            return response
        try:
            _settle(db, *claim, response)
        except Unavailable as error:
            # The claim lapses by itself; the answer stands.
            log.warning("idempotency key could not be settled", error=str(error))
        return response


def _settle(db: Database, row: Mapping[str, str], secret: bytes, response: Response) -> None:
    with db.system() as session:
        if response.status_code >= 500 or response.status_code in (401, 429) or response.is_streamed:
            session.execute(_RELEASE, row)
        else:
            headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
            body = SecretBox(secret).encrypt(response.get_data())
            session.execute(_KEEP, {**row, "status": response.status_code, "headers": json.dumps(headers), "body": bytes(body)})


def _owner() -> str:
    """Who may meet this key again: the path and the caller; internal tokens change, so their subject counts.

    The token is verified first: an answer that was kept is given to nobody but the caller who got it before.
    """
    subject = request.headers.get("Authorization", "")
    _, _, token = subject.partition(" ")
    if token.count(".") == 2:
        try:
            claims = current_app.extensions["fairlead"]["verifier"].verify(token.strip())
            subject = f"{claims.get('sub')}/{claims.get('team')}"
        except Unauthenticated:
            # The route will say so; whatever it answers is kept for these very bytes only.
            log.debug("idempotency key with an unknown token")
    return hashlib.sha256(f"{subject} {request.path}".encode()).hexdigest()


def _answer_again(status: int | None, headers: Mapping[str, str] | None, body: bytes | None, secret: bytes) -> Response:
    if status is None or body is None:
        raise Conflict("idempotency-in-progress", "The first request with this Idempotency-Key is still being worked on.")
    response = Response(SecretBox(secret).decrypt(bytes(body)), status, headers=dict(headers or {}))
    response.headers["Idempotent-Replayed"] = "true"
    return response
