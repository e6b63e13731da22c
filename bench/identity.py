"""Log-ins, exchanges and token verifications per second, inside one process of identity on a real PostgreSQL."""

from __future__ import annotations

import base64
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from argon2 import PasswordHasher
from flask import Blueprint, Flask, Response

from bench.measure import Measure, middle, seconds_of
from kernel.http import HttpService, TokenVerifier, create_http_app, signed_in
from services.identity.app import create_app
from services.identity.settings import Settings
from services.identity.signer import Signer
from services.identity.usecases.parts import Parts, make_parts
from tests.fixtures import servers as fixture

_PASSWORD = "a password of the bench"
_EMAIL = "bench@example.org"
_LOG_INS = 10
_ROUNDS = 5
_EXCHANGES = 2000
_REQUESTS = 3000


def measure() -> list[Measure]:
    """All on default settings: what a log-in costs is Argon2id, by far and on purpose."""
    with _identity() as (app, parts):
        client = app.test_client()
        registered = client.post("/api/v1/auth/register", json={"email": _EMAIL, "password": _PASSWORD, "name": "Bench"})
        assert registered.status_code == 201, registered.text
        return [*_log_ins(app, parts), *_exchanges(app), *_verifications(app, parts)]


@contextmanager
def _identity() -> Iterator[tuple[Flask, Parts]]:
    servers = fixture.running_servers()
    running = next(servers)
    database = fixture.make_database(running, "identity")
    with tempfile.TemporaryDirectory(prefix="fairlead-bench-") as directory:
        ring = Path(directory) / "ring"
        ring.write_text(f"bench:{base64.b64encode(os.urandom(32)).decode()}\n")
        settings = Settings(database_url=database.url, encryption_keys_file=ring, environment="development", log_level="error")
        parts = make_parts(settings, "bench")
        try:
            yield create_app(settings, parts=parts), parts
        finally:
            parts.db.close()
            fixture.drop_database(running, database)
            servers.close()  # type: ignore[attr-defined]  # a generator


def _per_second(action: Callable[[], object], times: int, threads: int = 1) -> float:
    """How often a second `action` is done by `threads` together."""

    def work() -> None:
        for _ in range(times // threads):
            action()

    def all_together() -> None:
        running = [threading.Thread(target=work) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()

    return times / seconds_of(all_together)


def _log_ins(app: Flask, parts: Parts) -> list[Measure]:
    def log_in() -> None:
        answer = app.test_client().post("/api/v1/auth/login", json={"email": _EMAIL, "password": _PASSWORD})
        assert answer.status_code == 200, answer.text

    settings = parts.settings
    bare = PasswordHasher(settings.argon2_passes, settings.argon2_memory_kib, settings.argon2_lanes)
    kept = bare.hash(_PASSWORD)
    threads = settings.concurrent_hashes
    pairs = [
        # In turns, because the machine's other work changes from second to second.
        (_per_second(log_in, _LOG_INS, threads), _per_second(lambda: bare.verify(kept, _PASSWORD), _LOG_INS, threads))
        for _ in range(_ROUNDS)
    ]
    ours, theirs = (middle(figures) for figures in zip(*pairs, strict=True))
    note = f"dominated by Argon2id: {settings.argon2_memory_kib // 1024} MiB, {settings.argon2_passes} passes"
    return [Measure("log-ins", ours, "/s", "Argon2id verify alone, as many at once", theirs, note=note)]


def _exchanges(app: Flask) -> list[Measure]:
    grant = app.test_client().post("/api/v1/auth/login", json={"email": _EMAIL, "password": _PASSWORD}).get_json()
    sent = app.test_client().post("/internal/exchange", json={"token": grant["access_token"]}).get_json()
    headers = {"Authorization": f"Bearer {sent['token']}"}
    made = app.test_client().post("/api/v1/me/tokens", json={"name": "bench", "scopes": ["read"]}, headers=headers).get_json()
    bytes_of = app.test_client().post("/internal/exchange", json={"token": made["token"]}).get_data()
    theirs = _bare(bytes_of, "POST")
    measures = []
    for name, token in (("log-in session", grant["access_token"]), ("API token", made["token"])):
        question = {"token": token, "address": "203.0.113.7"}

        def exchange(question: dict[str, str] = question) -> None:
            assert app.test_client().post("/internal/exchange", json=question).status_code == 200

        ours = _per_second(exchange, _EXCHANGES)
        measures.append(
            Measure(f"exchanges, {name}", ours, "/s", "a bare Flask route", theirs, note="one query, one signature, one thread")
        )
    return measures


def _verifications(app: Flask, parts: Parts) -> list[Measure]:
    """A route of some service that verifies the internal token, against one that does not."""
    blueprint = Blueprint("bench", __name__)

    @blueprint.get("/thing")
    @signed_in("account")
    def thing() -> Response:
        return Response(b'{"ok":true}', content_type="application/json")

    service = create_http_app(HttpService("bench", "bench", [], parts.db, _Verifier(parts.signer)))
    service.register_blueprint(blueprint)
    grant = app.test_client().post("/api/v1/auth/login", json={"email": _EMAIL, "password": _PASSWORD}).get_json()
    token = app.test_client().post("/internal/exchange", json={"token": grant["access_token"]}).get_json()["token"]
    headers = {"Authorization": f"Bearer {token}"}

    def ask() -> None:
        assert service.test_client().get("/thing", headers=headers).status_code == 200

    ours, theirs = _per_second(ask, _REQUESTS), _bare(b'{"ok":true}', "GET")
    verifier = _Verifier(parts.signer)
    alone = _per_second(lambda: verifier.verify(token), _REQUESTS)
    return [
        Measure(
            "requests with a verified token",
            ours,
            "/s",
            "a bare Flask route, same bytes",
            theirs,
            note="all of kernel.http",
        ),
        Measure("verifications alone", alone, "/s", note="Ed25519 and claims, one thread"),
    ]


class _Verifier(TokenVerifier):
    """The kernel's verifier with keys at hand, so that only verifying is measured."""

    def __init__(self, signer: Signer) -> None:
        from joserfc.jwk import KeySet

        super().__init__("http://unused.invalid")
        keys = signer.jwks()
        self._keys = KeySet.import_key_set(keys)  # type: ignore[arg-type]  # a JWKS as JSON
        self._ids = frozenset(str(key["kid"]) for key in keys["keys"])
        self._life = float("inf")
        self._fetched_at = 0.0


def _bare(sent: bytes, method: str) -> float:
    """Requests a second of a Flask application that does nothing but answer `sent`."""
    app = Flask("bare")

    @app.route("/thing", methods=[method])
    def thing() -> Response:
        return Response(sent, content_type="application/json")

    return _per_second(lambda: app.test_client().open("/thing", method=method), _REQUESTS)
