"""The broker's definitions: the kernel's topology, least permissions, hashed passwords, and nobody else."""

from __future__ import annotations

import base64
import hashlib
import json

from deploy.native import definitions

PASSWORDS = {name: f"password of {name}" for name in (*definitions.SERVICES, definitions.PROVISIONER)}


def test_a_password_is_hashed_as_rabbitmq_does() -> None:
    raw = base64.b64decode(definitions.password_hash("simple", salt=b"\x01\x02\x03\x04"))
    assert raw[:4] == b"\x01\x02\x03\x04"
    assert raw[4:] == hashlib.sha256(b"\x01\x02\x03\x04simple").digest()


def test_the_same_password_is_hashed_with_another_salt_each_time() -> None:
    assert definitions.password_hash("simple") != definitions.password_hash("simple")


def test_there_is_a_user_for_each_service_and_the_provisioner_and_no_guest() -> None:
    document = json.loads(definitions.render_for_services(PASSWORDS))
    assert {user["name"] for user in document["users"]} == set(PASSWORDS)
    assert [user["name"] for user in document["users"] if user["tags"]] == ["provisioner"]


def test_no_password_stands_in_the_document() -> None:
    text = definitions.render_for_services(PASSWORDS)
    assert not [password for password in PASSWORDS.values() if password in text]


def test_no_service_may_do_everything() -> None:
    document = json.loads(definitions.render_for_services(PASSWORDS))
    wide = {entry["user"] for entry in document["permissions"] for right in ("configure", "write", "read") if entry[right] == ".*"}
    assert wide == {"provisioner"}
