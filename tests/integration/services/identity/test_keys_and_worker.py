"""Signing keys rotate without signing anyone out; the worker relays; the exchange is what other services verify."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey
from werkzeug.serving import make_server

from kernel import clock
from kernel.errors import Invalid, Unauthenticated
from kernel.http import TokenVerifier
from services.identity import keys
from services.identity.usecases import upkeep
from services.identity.usecases.parts import make_parts
from services.identity.worker import make_worker_parts
from tests.fixtures.servers import TestBroker
from tests.fixtures.waiting import eventually
from tests.integration.services.identity.conftest import Caller, Identity, Make, body, problem


@pytest.fixture
def served(identity: Identity) -> Iterator[str]:
    """Identity on a real socket, for verifiers that fetch its keys."""
    server = make_server("127.0.0.1", 0, identity.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


def _internal(identity: Identity, caller: Caller, team: str | None = None) -> str:
    question = {"token": caller.token, "team_id": team, "address": "203.0.113.7"}
    return str(body(identity.nobody.post("/internal/exchange", question))["token"])


def test_the_internal_token_says_who_asks_and_other_services_verify_it(identity: Identity, served: str) -> None:
    ann = identity.person()
    team = identity.team(ann)
    claims = TokenVerifier(f"{served}/api/v1/.well-known/jwks.json").verify(_internal(identity, ann, team))
    me = body(ann.get("/api/v1/me"))
    said = {name: claims[name] for name in ("sub", "kind", "name", "email", "team", "role", "scopes", "addr")}
    assert said == {
        "sub": me["id"], "kind": "user", "name": "Ann", "email": "ann@example.org", "team": team, "role": "owner",
        "scopes": ["admin"], "addr": "203.0.113.7",
    }  # fmt: skip
    assert claims["exp"] - claims["iat"] == 60


def test_an_access_token_is_no_internal_token_and_the_other_way_round(identity: Identity) -> None:
    ann = identity.person()
    internal = _internal(identity, ann)
    answer = identity.app.test_client().get("/api/v1/me", headers={"Authorization": f"Bearer {ann.token}"})
    assert answer.status_code == 401
    problem(ann.using(internal).get("/api/v1/me"), 401, "unauthenticated")


def test_forged_tokens_are_refused(identity: Identity) -> None:
    ann = identity.person()
    key = body(identity.nobody.get("/api/v1/.well-known/jwks.json"))["keys"][0]
    assert "d" not in key
    claims = {"iss": "fairlead", "aud": "fairlead", "sub": str(clock.new_id()), "sid": str(clock.new_id()), "exp": 4_000_000_000}
    mine = OKPKey.generate_key("Ed25519")
    forged = jwt.encode({"alg": "Ed25519", "kid": key["kid"]}, claims, mine, algorithms=["Ed25519"])
    symmetric = jwt.encode({"alg": "HS256", "kid": key["kid"]}, claims, OctKey.import_key(json.dumps(key) + " " * 64), algorithms=["HS256"])
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=") + "." + symmetric.split(".")[1] + "."
    for token in (forged, symmetric, none, "a.b.c", "..", "é.é.é"):
        problem(ann.using(token).get("/api/v1/me"), 401, "unauthenticated")


def test_a_token_whose_head_is_nested_without_end_is_refused(identity: Identity) -> None:
    token = f"{base64.urlsafe_b64encode(b'[' * 2901).decode()}.e30.x"
    for read in (identity.parts.signer.read_access_token, identity.parts.signer.verify):
        with pytest.raises(Unauthenticated):
            read(token)


def test_a_token_without_an_end_is_refused(identity: Identity) -> None:
    identity.person()
    key = identity.parts.signer._present()
    claims = {"iss": "fairlead", "aud": "fairlead", "sub": str(clock.new_id()), "sid": str(clock.new_id())}
    token = jwt.encode({"alg": "Ed25519", "kid": key.id}, claims, key.private, algorithms=["Ed25519"])
    with pytest.raises(Unauthenticated):
        identity.parts.signer.read_access_token(token)


def test_rotation_publishes_first_signs_later_and_signs_nobody_out(make_identity: Make, served: str) -> None:
    identity = make_identity(signing_key_lead_seconds=300)
    ann = identity.person()
    before = body(identity.nobody.get("/api/v1/.well-known/jwks.json"))["keys"]
    upkeep.rotate_keys(identity.parts)
    fresh = make_identity(signing_key_lead_seconds=300)
    after = body(fresh.nobody.get("/api/v1/.well-known/jwks.json"))["keys"]
    assert (len(before), len(after)) == (1, 2)
    assert fresh.parts.signer._present().id == before[0]["kid"]
    assert body(fresh.nobody.using(ann.token).get("/api/v1/me"))
    identity.rows(
        "UPDATE signing_keys SET signs_from = now() - interval '1 hour' + (id = %s)::int * interval '59 minutes'", after[1]["kid"]
    )
    later = make_identity()
    assert later.parts.signer._present().id == after[1]["kid"]
    assert body(later.nobody.using(ann.token).get("/api/v1/me"))
    # A process that has not read the new key yet meets a token that the new key signed.
    newer = later.log_in("ann@example.org")
    assert body(fresh.nobody.using(newer.token).get("/api/v1/me"))
    verifier = TokenVerifier(f"{served}/api/v1/.well-known/jwks.json")
    assert verifier.verify(_internal(later, newer))["email"] == "ann@example.org"


def test_a_stolen_key_ends_at_once_and_sessions_go_on(make_identity: Make) -> None:
    identity = make_identity()
    made = identity.nobody.post("/api/v1/auth/register", {"email": "ann@example.org", "password": "a long enough one", "name": "Ann"})
    assert made.status_code == 201
    grant = body(identity.nobody.post("/api/v1/auth/login", {"email": "ann@example.org", "password": "a long enough one"}))
    upkeep.rotate_keys(identity.parts, end_old_now=True)
    fresh = make_identity()
    problem(fresh.nobody.using(grant["access_token"]).get("/api/v1/me"), 401, "unauthenticated")
    again = body(fresh.nobody.post("/api/v1/auth/refresh", {"refresh_token": grant["refresh_token"]}))
    assert body(fresh.nobody.using(again["access_token"]).get("/api/v1/me"))


def test_private_keys_are_encrypted_at_rest_and_follow_a_change_of_the_ring(make_identity: Make, key_ring: Path) -> None:
    identity = make_identity()
    identity.person()
    kept = identity.rows("SELECT private_sealed FROM signing_keys")[0][0]
    assert kept.startswith("v1.one.")
    assert '"d"' not in kept
    key_ring.write_text(f"two:{base64.b64encode(os.urandom(32)).decode()}\n" + key_ring.read_text())
    upkeep.rotate_keys_in_time(make_identity().parts)
    assert identity.rows("SELECT private_sealed FROM signing_keys")[0][0].startswith("v1.two.")
    make_identity().log_in("ann@example.org")


def test_a_command_rotates_the_keys(make_identity: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    identity = make_identity()
    identity.person()
    monkeypatch.setenv("FAIRLEAD_DATABASE_URL", identity.parts.settings.database_url)
    monkeypatch.setenv("FAIRLEAD_ENCRYPTION_KEYS_FILE", str(identity.parts.settings.encryption_keys_file))
    assert keys.main(["rotate"]) == 0
    assert capsys.readouterr().out.count("signs from") == 2
    assert len(identity.events("identity.signing_key.rotated")) == 1


def test_keys_are_replaced_in_time(make_identity: Make) -> None:
    identity = make_identity()
    identity.person()
    upkeep.rotate_keys_in_time(identity.parts)
    assert len(identity.rows("SELECT id FROM signing_keys")) == 1
    identity.rows("UPDATE signing_keys SET created_at = now() - interval '91 days'")
    upkeep.rotate_keys_in_time(identity.parts)
    upkeep.rotate_keys_in_time(identity.parts)
    assert len(identity.rows("SELECT id FROM signing_keys")) == 2


def test_the_worker_relays_what_happened(make_identity: Make, broker: TestBroker) -> None:
    identity = make_identity(broker_core_url=broker.core_url("identity"))
    settings = identity.parts.settings
    identity.team(identity.person())
    parts = make_worker_parts(settings, make_parts(settings, "test.worker"))
    threads = [threading.Thread(target=part.run, daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: identity.rows("SELECT 1 FROM outbox WHERE sent_at IS NULL") == [], what="all is sent")
        eventually(lambda: broker.depth(broker.core, "catalog.inbox") == 1, what="the catalog hears of the team")
    finally:
        for part in parts:
            part.stop()
        for thread in threads:
            thread.join(20)


def test_a_worker_without_a_broker_does_not_start(identity: Identity) -> None:
    with pytest.raises(Invalid, match="FAIRLEAD_BROKER_CORE_URL"):
        make_worker_parts(replace(identity.parts.settings, broker_core_url=""), identity.parts)


def test_what_has_lapsed_is_forgotten(identity: Identity) -> None:
    identity.person()
    identity.rows("UPDATE throttles SET full_at = now() - interval '1 second'")
    identity.rows("UPDATE sessions SET expires_at = now() - interval '31 days'")
    upkeep.forget_old(identity.parts)
    assert identity.rows("SELECT count(*) FROM throttles") == [(0,)]
    assert identity.rows("SELECT count(*) FROM refresh_tokens") == [(0,)]
