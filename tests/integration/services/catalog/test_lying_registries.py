"""Registries that lie, dawdle or lead elsewhere: nothing is believed, nothing hangs, no password leaves."""

from __future__ import annotations

import hashlib
import json
import socket
import threading

import pytest

from kernel import clock
from services.catalog.remote.addresses import parse_networks
from services.catalog.remote.egress import GuardedEgress, Trust
from services.catalog.remote.faults import Fault, RemoteError
from tests.fixtures.catalog import TestCatalog
from tests.fixtures.image_registry import StandIn, stand_in

_LOOPBACK = parse_networks(["127.0.0.0/8"])
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def _fault(url: str, *, seconds: float = 5.0, elsewhere: bool = False, largest: int = 100_000, **headers: str) -> Fault:
    with pytest.raises(RemoteError) as refused:
        GuardedEgress(_LOOPBACK).fetch(
            "GET", url, headers=headers, trust=Trust(), seconds=seconds, redirect_elsewhere=elsewhere, largest_bytes=largest
        )
    return refused.value.fault


def test_a_manifest_that_does_not_have_its_digest_is_not_believed(catalog: TestCatalog) -> None:
    def lie(request: StandIn) -> None:
        request.answer(200, b"{}", Content_Type=_MANIFEST, Docker_Content_Digest="sha256:" + "0" * 64)

    with stand_in(lie) as url:
        registry = catalog.new_registry(url)
        path = f"/registries/{registry['id']}/manifest?repository=a&reference=1"
        assert catalog.problem("GET", path, expect=409) == "registry-answer-wrong"


def test_a_digest_that_is_none_is_not_handed_on(catalog: TestCatalog) -> None:
    def lie(request: StandIn) -> None:
        request.answer(200, b"{}", Docker_Content_Digest="sha256:../../evil")

    with stand_in(lie) as url:
        version = catalog.new_version()
        catalog.add_image(version, catalog.new_registry(url))
        answer = catalog.pin(version, expect=422)
        assert [error["field"] for error in answer["errors"]] == ["images.0.registry"]


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[]", b"null", b'{"tags": 7}', b'{"tags": [1, {"a": 2}, null]}', b"[" * 100_000])
def test_an_answer_that_is_no_registrys_does_no_harm(catalog: TestCatalog, body: bytes) -> None:
    with stand_in(lambda request: request.answer(200, body)) as url:
        registry = catalog.new_registry(url)
        answer = catalog.call("GET", f"/registries/{registry['id']}/tags?repository=a")
        assert answer.status_code in (200, 409)
        checked = catalog.ask("POST", f"/registries/{registry['id']}/check")
        assert checked["detail"]


def test_an_endless_body_is_cut() -> None:
    def pour(request: StandIn) -> None:
        request.send_response(200)
        request.end_headers()
        for _ in range(10_000):
            request.wfile.write(b"x" * 65_536)

    with stand_in(pour) as url:
        assert _fault(url) is Fault.ANSWER


def test_a_server_that_dawdles_is_left_when_the_time_is_over() -> None:
    hanging = threading.Event()

    def dawdle(request: StandIn) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(100):
            request.wfile.write(f"X-{number}: slow\r\n".encode())
            request.wfile.flush()
            hanging.wait(0.1)

    with stand_in(dawdle) as url:
        began = clock.monotonic()
        assert _fault(url, seconds=0.6) is Fault.UNREACHABLE
        assert clock.monotonic() - began < 8
        hanging.set()


def test_a_server_that_never_shakes_hands_is_left_as_well() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = clock.monotonic()
        assert _fault(f"https://127.0.0.1:{silent.getsockname()[1]}", seconds=0.6) is Fault.UNREACHABLE
        assert clock.monotonic() - began < 8


def test_a_redirect_to_a_private_address_is_not_followed() -> None:
    with stand_in(lambda request: request.answer(302, Location="http://169.254.169.254/latest/meta-data")) as url:
        assert _fault(url) is Fault.ADDRESS
        assert _fault(url, elsewhere=True) is Fault.ADDRESS


def test_a_redirect_to_another_host_is_not_followed_and_a_blobs_loses_its_log_in() -> None:
    seen: list[str | None] = []

    def record(request: StandIn) -> None:
        seen.append(request.headers.get("Authorization"))
        request.answer(200, b"blob")

    with stand_in(record, host="127.0.0.2") as target, stand_in(lambda request: request.answer(307, Location=f"{target}/blob")) as url:
        assert _fault(url, Authorization="Basic c2VjcmV0") is Fault.ANSWER
        assert seen == []
        found = GuardedEgress(_LOOPBACK).fetch(
            "GET", url, headers={"Authorization": "Basic c2VjcmV0"}, trust=Trust(), redirect_elsewhere=True
        )
        assert (found.body, seen) == (b"blob", [None])


def test_redirects_in_a_circle_end() -> None:
    with stand_in(lambda request: request.answer(302, Location="/again")) as url:
        assert _fault(url) is Fault.ANSWER


def test_a_realm_on_another_host_is_told_and_gets_nothing(catalog: TestCatalog) -> None:
    asked: list[str] = []

    def steal(request: StandIn) -> None:
        asked.append(request.path)
        request.answer(200, json.dumps({"token": "x"}).encode())

    with stand_in(steal, host="127.0.0.2") as thief:
        challenge = f'Bearer realm="{thief}/token",service="s"'
        with stand_in(lambda request: request.answer(401, WWW_Authenticate=challenge)) as url:
            registry = catalog.new_registry(url, username="robot", password="secret")
            checked = catalog.ask("POST", f"/registries/{registry['id']}/check")
            assert checked["problem"] == "address"
            assert "127.0.0.2" in checked["detail"]
            assert asked == []
            named = catalog.new_registry(url, username="robot", password="secret", token_host="127.0.0.2")
            catalog.ask("POST", f"/registries/{named['id']}/check")
            assert asked != []


def test_a_list_that_goes_on_elsewhere_or_in_a_circle_ends(catalog: TestCatalog) -> None:
    links = {"elsewhere": '<http://127.0.0.2:1/v2/a/tags/list>; rel="next"', "circle": '</v2/a/tags/list?n=1000>; rel="next"'}
    for name, link in links.items():

        def list_tags(request: StandIn, link: str = link) -> None:
            request.answer(200, b'{"name": "a", "tags": ["1"]}', Link=link)

        with stand_in(list_tags) as url:
            registry = catalog.new_registry(url)
            answer = catalog.call("GET", f"/registries/{registry['id']}/tags?repository=a")
            assert answer.status_code == (409 if name == "elsewhere" else 200)


def test_a_name_that_resolves_to_two_addresses_must_be_allowed_at_both() -> None:
    egress = GuardedEgress((), resolver=lambda host, port: ["93.184.216.34", "10.0.0.1"])
    with pytest.raises(RemoteError) as refused:
        egress.fetch("GET", "https://rebinding.example/v2/", headers={}, trust=Trust(), seconds=2)
    assert refused.value.fault is Fault.ADDRESS


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
def test_loopback_is_refused_however_it_is_written(host: str) -> None:
    with pytest.raises(RemoteError) as refused:
        GuardedEgress().fetch("GET", f"http://{host}:5000/v2/", headers={}, trust=Trust(), seconds=2)
    assert refused.value.fault is Fault.ADDRESS


def test_a_public_address_needs_https_and_a_usual_port() -> None:
    egress = GuardedEgress((), resolver=lambda host, port: ["93.184.216.34"])
    for url in (
        "http://registry.example/v2/",
        "https://registry.example:25/v2/",
        "gopher://registry.example/",
        "https:///x",
        "https://a b/",
    ):
        with pytest.raises(RemoteError) as refused:
            egress.fetch("GET", url, headers={}, trust=Trust(), seconds=2)
        assert refused.value.fault is Fault.ADDRESS


def test_a_blob_is_believed_by_its_digest_only(catalog: TestCatalog) -> None:
    config = json.dumps({"os": "linux", "architecture": "amd64", "config": {"Labels": {"a": "b"}}}).encode()
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    manifest = json.dumps({"schemaVersion": 2, "config": {"digest": digest, "size": len(config)}, "layers": []}).encode()
    sent = {"blob": b'{"config": {"Labels": {"evil": "yes"}}}'}

    def serve(request: StandIn) -> None:
        request.answer(200, sent["blob"] if "/blobs/" in request.path else manifest, Content_Type=_MANIFEST)

    with stand_in(serve) as url:
        registry = catalog.new_registry(url)
        path = f"/registries/{registry['id']}/manifest?repository=a&reference=1"
        assert catalog.problem("GET", path, expect=409) == "registry-answer-wrong"
        sent["blob"] = config
        assert catalog.ask("GET", path)["labels"] == {"a": "b"}
