"""What identity sends is what the samples promise: one story in which every one of its events happens."""

from __future__ import annotations

import json
from pathlib import Path

import pyotp

from kernel import clock
from kernel.contracts.identity import NAMES
from services.identity.usecases import upkeep
from tests.integration.services.identity.conftest import PASSWORD, Caller, Identity, body
from tests.integration.services.identity.mailing import Mailing

SAMPLES = Path(__file__).resolve().parents[4] / "docs" / "messages"
NEW = "another good password"


def _people_do_what_people_do(mailing: Mailing, ann: Caller) -> None:
    identity, nobody = mailing.identity, ann.using(None)
    mailing.deliver()
    nobody.post("/api/v1/auth/email/verify", {"token": mailing.office.token()})
    ann.patch("/api/v1/me", {"name": "Anna"})
    nobody.post("/api/v1/auth/login", {"email": "ann@example.org", "password": "not the password"})
    made = body(ann.post("/api/v1/me/tokens", {"name": "t", "scopes": ["read"]}), 201)
    ann.delete(f"/api/v1/me/tokens/{made['id']}")
    grant = body(nobody.post("/api/v1/auth/login", {"email": "ann@example.org", "password": PASSWORD}))
    for _ in range(2):
        nobody.post("/api/v1/auth/refresh", {"refresh_token": grant["refresh_token"]})
    identity.log_in("ann@example.org").post("/api/v1/auth/logout")
    secret = body(ann.post("/api/v1/me/second-factor", {"password": PASSWORD}), 201)["secret"]
    body(ann.post("/api/v1/me/second-factor/confirm", {"code": pyotp.TOTP(secret).at(clock.now())}))
    nobody.post("/api/v1/auth/password/forgot", {"email": "ann@example.org"})
    mailing.deliver()
    nobody.post("/api/v1/auth/password/reset", {"token": mailing.office.token(), "password": NEW})
    upkeep.rotate_keys(identity.parts)


def _teams_do_what_teams_do(mailing: Mailing, owner: Caller) -> None:
    identity = mailing.identity
    team = identity.team(owner)
    path = f"/api/v1/teams/{team}"
    owner.patch(path, {"name": "Other"})
    bob = identity.person("bob@example.org", "Bob")
    mailing.deliver()
    bob.using(None).post("/api/v1/auth/email/verify", {"token": mailing.office.token()})
    bob.get(path)
    for answer in ("decline", "accept"):
        one = body(owner.post(f"{path}/invitations", {"email": "bob@example.org", "role": "viewer"}), 201)
        owner.post(f"{path}/invitations/{one['id']}/resend")
        bob.post(f"/api/v1/invitations/{one['id']}/{answer}")
    bob.patch(path, {"name": "X"})
    one = body(owner.post(f"{path}/invitations", {"email": "eve@example.org", "role": "viewer"}), 201)
    owner.delete(f"{path}/invitations/{one['id']}")
    user_id = body(bob.get("/api/v1/me"))["id"]
    owner.patch(f"{path}/members/{user_id}", {"role": "member"})
    owner.delete(f"{path}/members/{user_id}")
    assert owner.delete(f"{path}?confirm=Other").status_code == 204


def _told(identity: Identity) -> dict[str, set[str]]:
    """The fields of the data of each type that stands in the outbox."""
    documents = [json.loads(bytes(row[0])) for row in identity.rows("SELECT body FROM outbox ORDER BY id")]
    return {document["type"]: set(document["data"]) for document in documents}


def test_every_event_is_sent_and_looks_like_its_sample(mailing: Mailing) -> None:
    _teams_do_what_teams_do(mailing, mailing.identity.person("first@example.org"))
    _people_do_what_people_do(mailing, mailing.identity.person())
    told = _told(mailing.identity)
    assert set(told) == {f"{name}.v1" for name in NAMES}
    for name in NAMES:
        sample = json.loads((SAMPLES / name / "v1" / "full.json").read_text())
        assert told[sample["type"]] == set(sample["data"]), name


def test_nothing_secret_stands_in_any_event(mailing: Mailing) -> None:
    ann = mailing.identity.person()
    mailing.deliver()
    secret = body(ann.post("/api/v1/me/second-factor", {"password": PASSWORD}), 201)["secret"]
    codes = body(ann.post("/api/v1/me/second-factor/confirm", {"code": pyotp.TOTP(secret).at(clock.now())}))["recovery_codes"]
    token = body(ann.post("/api/v1/me/tokens", {"name": "t", "scopes": ["read"]}), 201)["token"]
    told = str(mailing.identity.rows("SELECT convert_from(body, 'UTF8') FROM outbox"))
    for hidden in (PASSWORD, secret, *codes, token, token.split("_", 3)[3], mailing.office.token(), str(ann.token)):
        assert hidden not in told
