"""Registries through the catalog's API, against a real registry behind a password."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from kernel import clock
from kernel.keyring import KeyRing
from services.catalog.usecases import registries
from services.catalog.usecases.registries import Vault
from tests.fixtures.catalog import TestCatalog, team_event
from tests.fixtures.registry_images import Pusher


def new(catalog: TestCatalog, pusher: Pusher, **more: Any) -> Any:
    """The registry of a pusher, as the catalog keeps it. Any: JSON."""
    user, password = pusher.auth or (None, None)
    return catalog.new_registry(pusher.url, username=user, password=password, **more)


def test_a_password_is_encrypted_and_never_shown_or_told(catalog: TestCatalog) -> None:
    registry = catalog.new_registry(username="robot", password="correct horse")
    assert "password" not in registry
    assert registry["has_password"] is True
    catalog.ask("PATCH", f"/registries/{registry['id']}", {"password": "battery staple"})
    with catalog.db.system() as session:
        row = str(session.execute(text("SELECT * FROM registries")).one())
        outbox = str([bytes(body) for (body,) in session.execute(text("SELECT body FROM outbox"))])
    for secret in ("correct horse", "battery staple"):
        assert secret not in row
        assert secret not in outbox


def test_a_password_is_not_sent_to_another_address_without_being_given_again(catalog: TestCatalog) -> None:
    registry = catalog.new_registry(username="robot", password="correct horse")
    for change in ({"url": "http://127.0.0.1:6000"}, {"verify_tls": False}, {"token_host": "127.0.0.2"}):
        assert "password" in catalog.problem("PATCH", f"/registries/{registry['id']}", change, expect=422)
    moved = catalog.ask("PATCH", f"/registries/{registry['id']}", {"url": "http://127.0.0.1:6000", "password": "correct horse"})
    assert moved["host"] == "127.0.0.1:6000"
    open_now = catalog.ask("PATCH", f"/registries/{registry['id']}", {"username": None})
    assert open_now["has_password"] is False


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"type": "v2"}, "url"),
        ({"type": "v2", "url": "ftp://x"}, "url"),
        ({"type": "v2", "url": "https://user:pw@x"}, "url"),
        ({"type": "v2", "url": "https://x/path"}, "url"),
        ({"type": "v2", "url": "https://x:99999"}, "url"),
        ({"type": "v2", "url": "https://[::1"}, "url"),
        ({"type": "gitlab", "api_url": "https://[::1"}, "api_url"),
        ({"type": "v2", "url": "https://x", "username": "a"}, "password"),
        ({"type": "v2", "url": "https://x", "namespace": "Not/Ok"}, "namespace"),
        ({"type": "v2", "url": "https://x", "ca_certificate": "no"}, "ca_certificate"),
        ({"type": "docker-hub", "url": "https://x"}, "url"),
        ({"type": "github"}, "namespace"),
        ({"type": "google", "url": "https://evil.example", "namespace": "p"}, "url"),
        ({"type": "azure", "url": "https://azurecr.io.evil.example"}, "url"),
        ({"type": "floppy"}, "type"),
        ({"type": "v2", "url": "https://x", "colour": "red"}, "colour"),
    ],
)
def test_a_wrong_registry_is_refused_and_the_field_is_named(catalog: TestCatalog, body: dict[str, Any], field: str) -> None:
    assert field in catalog.problem("POST", "/registries", {"name": "r"} | body, expect=422)


def test_a_registry_in_use_is_not_deleted(catalog: TestCatalog) -> None:
    registry = catalog.new_registry()
    version = catalog.new_version()
    image = catalog.add_image(version, registry)
    assert catalog.problem("DELETE", f"/registries/{registry['id']}", expect=409) == "registry-in-use"
    catalog.ask("DELETE", f"/images/{image['id']}", expect=204)
    catalog.ask("DELETE", f"/registries/{registry['id']}", expect=204)


def test_a_registry_that_deployed_versions_come_from_stays_where_it_is(catalog: TestCatalog) -> None:
    registry = catalog.new_registry()
    version = catalog.new_version()
    catalog.add_image(version, registry)
    catalog.ask("PATCH", f"/registries/{registry['id']}", {"url": "http://127.0.0.1:6001"})
    catalog.tell_deployment(version, "successful", deployment_id=clock.new_id(), revision=1)
    assert catalog.problem("PATCH", f"/registries/{registry['id']}", {"url": "http://127.0.0.1:6002"}, expect=409) == "registry-in-use"
    catalog.ask("PATCH", f"/registries/{registry['id']}", {"description": "words may change"})


def test_repositories_tags_and_a_manifest_are_shown(catalog: TestCatalog, password_registry: Pusher) -> None:
    for tag in ("1.9", "1.10", "1.10-rc1", "latest"):
        digest = password_registry.image("browse/web", tag, labels={"who": "me"})
    registry = new(catalog, password_registry)
    names = catalog.ask("GET", f"/registries/{registry['id']}/repositories?query=BROWSE")
    assert [one["name"] for one in names["items"]] == ["browse/web"]
    tags = catalog.ask("GET", f"/registries/{registry['id']}/tags?repository=browse/web&limit=3")
    assert [one["name"] for one in tags["items"]] == ["1.10", "1.10-rc1", "1.9"]
    more = catalog.ask("GET", f"/registries/{registry['id']}/tags?repository=browse/web&limit=3&cursor={tags['next_cursor']}")
    assert [one["name"] for one in more["items"]] == ["latest"]
    assert tags["as_of"] == more["as_of"]
    manifest = catalog.ask("GET", f"/registries/{registry['id']}/manifest?repository=browse/web&reference=latest")
    assert (manifest["digest"], manifest["labels"], manifest["created"]) == (digest, {"who": "me"}, "2026-11-01T10:00:00Z")
    assert [(one["os"], one["architecture"]) for one in manifest["platforms"]] == [("linux", "amd64")]
    catalog.ask("GET", f"/registries/{registry['id']}/tags?repository=browse/none", expect=404)
    catalog.ask("GET", f"/registries/{registry['id']}/manifest?repository=browse/web&reference=none", expect=404)
    assert "repository" in catalog.problem("GET", f"/registries/{registry['id']}/tags?repository=../x", expect=422)


def test_a_namespace_is_left_out_of_names_and_put_in_when_asking(catalog: TestCatalog, password_registry: Pusher) -> None:
    password_registry.image("inside/app", "1")
    registry = new(catalog, password_registry, namespace="inside")
    assert [one["name"] for one in catalog.ask("GET", f"/registries/{registry['id']}/repositories")["items"]] == ["app"]
    assert [one["name"] for one in catalog.ask("GET", f"/registries/{registry['id']}/tags?repository=app")["items"]] == ["1"]
    version = catalog.new_version()
    image = catalog.add_image(version, registry, "app", tag="1")
    assert image["reference"] == f"{registry['host']}/inside/app:1"


def test_a_tag_list_is_kept_a_minute_and_says_of_when_it_is(catalog: TestCatalog, password_registry: Pusher) -> None:
    password_registry.image("kept/web", "1")
    registry = new(catalog, password_registry)
    path = f"/registries/{registry['id']}/tags?repository=kept/web"
    first = catalog.ask("GET", path)
    password_registry.image("kept/web", "2")
    again = catalog.ask("GET", path)
    assert (again["as_of"], again["total"]) == (first["as_of"], 1)
    fresh = catalog.ask("GET", f"{path}&refresh=true")
    assert fresh["total"] == 2
    assert fresh["as_of"] > first["as_of"]


def test_check_tells_what_is_wrong(catalog: TestCatalog, password_registry: Pusher) -> None:
    password_registry.image("checked/app", "1")
    user, password = password_registry.auth or ("", "")
    cases: list[tuple[dict[str, Any], tuple[bool, bool, str | None]]] = [
        ({}, (True, True, None)),
        ({"password": "wrong"}, (True, False, "log-in")),
        ({"namespace": "nobody"}, (True, True, "namespace")),
        ({"url": "http://127.0.0.1:1"}, (False, False, "address")),
        ({"url": "http://does-not-exist.invalid"}, (False, False, "address")),
        ({"url": "https://169.254.169.254"}, (False, False, "address")),
        ({"url": "http://10.0.0.1"}, (False, False, "address")),
    ]
    for change, expected in cases:
        body = {"url": password_registry.url, "username": user, "password": password} | change
        found = catalog.ask("POST", f"/registries/{catalog.new_registry(**body)['id']}/check")
        assert (found["reachable"], found["authenticated"], found["problem"]) == expected, found
    stranger = catalog.ask("POST", f"/registries/{catalog.new_registry(password_registry.url)['id']}/check")
    assert (stranger["authenticated"], stranger["problem"]) == (False, "log-in")
    unchecked = catalog.new_registry(type="unchecked", url=None)
    assert "not checked" in catalog.ask("POST", f"/registries/{unchecked['id']}/check")["detail"].lower()
    assert catalog.problem("GET", f"/registries/{unchecked['id']}/repositories", expect=409) == "registry-unchecked"


def test_a_registry_that_is_away_is_503_and_a_wrong_log_in_a_conflict(catalog: TestCatalog, password_registry: Pusher) -> None:
    away = catalog.new_registry("http://127.0.0.1:1")
    answer = catalog.call("GET", f"/registries/{away['id']}/tags?repository=a")
    assert (answer.status_code, json.loads(answer.data)["code"]) == (503, "registry-unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    wrong = catalog.new_registry(password_registry.url, username="x", password="y")
    assert catalog.problem("GET", f"/registries/{wrong['id']}/tags?repository=a", expect=409) == "registry-login-refused"


def test_a_new_team_has_docker_hub_and_a_deleted_one_nothing(catalog: TestCatalog) -> None:
    created = team_event(catalog.team_id, "created")
    catalog.tell(created, team_event(catalog.team_id, "created"))
    found = catalog.ask("GET", "/registries")["items"]
    assert [(one["name"], one["type"], one["host"]) for one in found] == [("Docker Hub Library", "docker-hub", "docker.io")]
    told = catalog.events("registry.created")
    assert len(told) == 1
    assert (told[0]["team"], told[0]["causation"]) == (str(catalog.team_id), str(created.id))
    version = catalog.new_version()
    image = catalog.ask("POST", f"/versions/{version['id']}/images", {"repository": "nginx:1.27"}, expect=201)
    assert image["reference"] == "docker.io/library/nginx:1.27"
    other = catalog.ask("POST", "/projects", {"name": "stays"}, expect=201, team=clock.new_id())
    catalog.ask("POST", f"/versions/{version['id']}/increase", {"name": "2.0.0"}, expect=201)
    catalog.tell(team_event(catalog.team_id, "deleted"))
    assert catalog.ask("GET", "/registries")["items"] == []
    assert catalog.ask("GET", "/projects")["items"] == []
    assert other["name"] == "stays"


def test_config_bundles_are_kept_and_not_deleted_while_a_deployment_uses_them(catalog: TestCatalog) -> None:
    bundle = catalog.ask("POST", "/config-bundles", {"name": "proxy", "config": {"environment": {"P": "1", "Q": None}}}, expect=201)
    assert bundle["config"] == {"environment": {"P": "1", "Q": None}}
    changed = catalog.call("PATCH", f"/config-bundles/{bundle['id']}", {"config": {"environment": {"R": "2"}}}, If_Match='"1"')
    assert json.loads(changed.data)["config"]["environment"] == {"P": "1", "Q": None, "R": "2"}
    assert catalog.call("PATCH", f"/config-bundles/{bundle['id']}", {"name": "x"}, If_Match='"1"').status_code == 412
    deployment = clock.new_id()
    version = catalog.new_version()
    catalog.tell_deployment(version, "preparing", deployment_id=deployment, revision=1, bundles=[bundle["id"]])
    assert catalog.problem("DELETE", f"/config-bundles/{bundle['id']}", expect=409) == "config-bundle-in-use"
    catalog.tell_deployment(version, "preparing", deployment_id=deployment, revision=2, bundles=[])
    catalog.ask("DELETE", f"/config-bundles/{bundle['id']}", expect=204)


def test_a_new_key_encrypts_the_passwords_anew_and_a_lost_one_is_told(catalog: TestCatalog) -> None:
    kept = catalog.new_registry(username="robot", password="kept")
    lost = catalog.new_registry(username="robot", password="lost")
    with catalog.db.system() as session:
        session.execute(text("UPDATE registries SET password_sealed = 'v1.gone.AAAA' WHERE id = :id"), {"id": lost["id"]})
    both = Vault(KeyRing({"n_w": bytes(range(1, 33)), "test": bytes(range(32))}))
    assert registries.reseal(catalog.db, both) == 1
    assert registries.reseal(catalog.db, both) == 0
    with catalog.db.system() as session:
        sealed = session.execute(text("SELECT password_sealed FROM registries WHERE id = :id"), {"id": kept["id"]}).scalar_one()
    assert sealed.startswith("v1.n_w.")
    assert catalog.problem("POST", f"/registries/{lost['id']}/check", expect=409) == "registry-password-unreadable"
    catalog.ask("PATCH", f"/registries/{lost['id']}", {"password": "given again"})
