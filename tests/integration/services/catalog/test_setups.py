"""The real docker-registry in its set-ups: open, behind a password over TLS, behind a token server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.certificates import Certified
from deploy.native import ports
from tests.fixtures.catalog import TestCatalog
from tests.fixtures.certificates import authority, issue
from tests.fixtures.image_registry import password_file, running_registry
from tests.fixtures.registry_images import Pusher
from tests.fixtures.token_server import ISSUER, SERVICE, TokenServer


@pytest.fixture(scope="module")
def open_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pusher]:
    with running_registry(tmp_path_factory.mktemp("open")) as port:
        yield Pusher(f"http://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def secure_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pusher, Certified]]:
    directory = tmp_path_factory.mktemp("secure")
    root = authority()
    certificate, key = issue(root, "registry.test").write(directory, "registry")
    root.write(directory, "authority")
    http = {"tls": {"certificate": str(certificate), "key": str(key)}}
    auth = {"htpasswd": {"realm": "test", "path": str(password_file(directory, "robot", "secret"))}}
    with running_registry(directory, http=http, auth=auth) as port:
        yield Pusher(f"https://127.0.0.1:{port}", ("robot", "secret"), verify=str(directory / "authority.crt")), root


@pytest.fixture(scope="module")
def token_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, TokenServer]]:
    directory = tmp_path_factory.mktemp("token")
    root = authority()
    bundle, _ = root.write(directory, "authority")
    port = ports.free_port()
    with TokenServer(issue(root, "signer", address=None), "robot", "secret").running(port) as tokens:
        auth = {"token": {"realm": tokens.url, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(bundle)}}
        with running_registry(directory, auth=auth) as registry_port:
            yield f"http://127.0.0.1:{registry_port}", tokens


def test_a_thousand_tags_and_a_multi_platform_index_in_an_open_registry(catalog: TestCatalog, open_registry: Pusher) -> None:
    open_registry.image("many/tags", "1.0.0")
    open_registry.again("many/tags", "1.0.0", [f"1.0.{number}" for number in range(1, 1000)])
    registry = catalog.new_registry(open_registry.url)
    page = catalog.ask("GET", f"/registries/{registry['id']}/tags?repository=many/tags&limit=200")
    assert page["total"] == 1000
    assert page["items"][0]["name"] == "1.0.999"
    seen = [one["name"] for one in page["items"]]
    while page["next_cursor"]:
        page = catalog.ask("GET", f"/registries/{registry['id']}/tags?repository=many/tags&limit=200&cursor={page['next_cursor']}")
        seen += [one["name"] for one in page["items"]]
    assert seen == [f"1.0.{number}" for number in range(999, -1, -1)]
    digest = open_registry.index("multi/arch", "2", ["arm64", "amd64"], labels={"dev.fairlead.env.A": "string"})
    shown = catalog.ask("GET", f"/registries/{registry['id']}/manifest?repository=multi/arch&reference=2")
    assert shown["digest"] == digest
    assert sorted(one["architecture"] for one in shown["platforms"]) == ["amd64", "arm64"]
    assert shown["labels"] == {"dev.fairlead.env.A": "string"}
    version = catalog.new_version()
    catalog.add_image(version, registry, "multi/arch", tag="2")
    assert catalog.pin(version)["images"][0]["digest"] == digest
    checked = catalog.ask("POST", f"/registries/{registry['id']}/check")
    assert (checked["reachable"], checked["authenticated"], checked["problem"]) == (True, False, None)


def test_docker_media_types_are_read_as_well(catalog: TestCatalog, open_registry: Pusher) -> None:
    digest = open_registry.image("docker/types", "1", docker=True, labels={"a": "b"})
    registry = catalog.new_registry(open_registry.url)
    shown = catalog.ask("GET", f"/registries/{registry['id']}/manifest?repository=docker/types&reference=1")
    assert (shown["digest"], shown["labels"]) == (digest, {"a": "b"})
    by_digest = catalog.ask("GET", f"/registries/{registry['id']}/manifest?repository=docker/types&reference={digest}")
    assert by_digest["digest"] == digest


def test_a_deleted_tag_is_missed_at_the_pin(catalog: TestCatalog, open_registry: Pusher) -> None:
    digest = open_registry.image("gone/soon", "1")
    registry = catalog.new_registry(open_registry.url)
    version = catalog.new_version()
    catalog.add_image(version, registry, "gone/soon", tag="1")
    catalog.pin(version)
    open_registry.delete("gone/soon", digest)
    answer = catalog.pin(version, expect=422)
    assert [error["field"] for error in answer["errors"]] == ["images.0.tag"]


def test_an_own_authority_is_trusted_and_a_strange_one_is_told(catalog: TestCatalog, secure_registry: tuple[Pusher, Certified]) -> None:
    pusher, root = secure_registry
    digest = pusher.image("secure/app", "1")

    def checked(**more: Any) -> Any:
        registry = catalog.new_registry(pusher.url, username="robot", password="secret", **more)
        return registry, catalog.ask("POST", f"/registries/{registry['id']}/check")

    good, found = checked(ca_certificate=root.pem)
    assert (found["authenticated"], found["problem"], found["warnings"]) == (True, None, [])
    shown = catalog.ask("GET", f"/registries/{good['id']}/manifest?repository=secure/app&reference=1")
    assert shown["digest"] == digest
    for strange in (None, authority("Somebody Else").pem):
        assert checked(ca_certificate=strange)[1]["problem"] == "certificate"
    loose, found = checked(verify_tls=False)
    assert (found["authenticated"], found["problem"]) == (True, None)
    assert "not checked" in found["warnings"][0]
    assert loose["warnings"] == found["warnings"]


def test_a_certificate_for_another_name_is_not_accepted(catalog: TestCatalog, tmp_path: Path) -> None:
    root = authority()
    certificate, key = issue(root, "other.test", address=None).write(tmp_path, "registry")
    with running_registry(tmp_path, http={"tls": {"certificate": str(certificate), "key": str(key)}}) as port:
        registry = catalog.new_registry(f"https://127.0.0.1:{port}", ca_certificate=root.pem)
        assert catalog.ask("POST", f"/registries/{registry['id']}/check")["problem"] == "certificate"


def test_a_token_server_is_asked_for_each_scope_and_not_again_before_it_ends(
    catalog: TestCatalog, token_registry: tuple[str, TokenServer]
) -> None:
    url, tokens = token_registry
    push = Pusher(url, headers={"Authorization": f"Bearer {tokens.token('repository:token/app:pull,push')}"})
    digest = push.image("token/app", "1")
    registry = catalog.new_registry(url, username="robot", password="secret")
    tokens.asked.clear()
    shown = catalog.ask("GET", f"/registries/{registry['id']}/manifest?repository=token/app&reference=1")
    assert shown["digest"] == digest
    version = catalog.new_version()
    catalog.add_image(version, registry, "token/app", tag="1")
    assert catalog.pin(version)["images"][0]["digest"] == digest
    assert tokens.asked == ["repository:token/app:pull"]
    listed = catalog.ask("GET", f"/registries/{registry['id']}/repositories")["items"]
    assert [one for one in listed if one["name"].startswith("token/")] == [{"name": "token/app"}]
    assert tokens.asked == ["repository:token/app:pull", "registry:catalog:*"]
    wrong = catalog.new_registry(url, username="robot", password="wrong")
    assert catalog.ask("POST", f"/registries/{wrong['id']}/check")["problem"] == "log-in"


def test_a_token_that_ended_is_fetched_anew(catalog: TestCatalog, token_registry: tuple[str, TokenServer]) -> None:
    url, tokens = token_registry
    push = Pusher(url, headers={"Authorization": f"Bearer {tokens.token('repository:short/app:pull,push')}"})
    push.image("short/app", "1")
    registry = catalog.new_registry(url, username="robot", password="secret")
    version = catalog.new_version()
    catalog.add_image(version, registry, "short/app", tag="1")
    tokens.life_seconds = 1
    try:
        other = catalog.new_registry(url, username="robot", password="secret")
        catalog.ask("PATCH", f"/images/{catalog.ask('GET', '/versions/' + version['id'])['images'][0]['id']}", {"registry_id": other["id"]})
        tokens.asked.clear()
        catalog.pin(version)
        catalog.pin(version)
        assert tokens.asked == ["repository:short/app:pull"] * 2
    finally:
        tokens.life_seconds = 300
