"""Calls between services over real HTTP: an error comes back as it was raised there, and silence is Unavailable."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from flask import Flask, Response, jsonify, redirect, request
from werkzeug.serving import make_server

from kernel import errors, telemetry
from kernel.errors import FairleadError, FieldError, Invalid, Unavailable
from kernel.http import problems
from kernel.http.client import ServiceClient

RAISED: dict[str, FairleadError] = {
    "invalid": Invalid([FieldError("images.0.tag", "is not there"), FieldError("prefix", "is taken")], code="tags-missing", detail="Two."),
    "missing": errors.NotFound("version"),
    "conflict": errors.Conflict("place-busy", "Another attempt is running."),
    "precondition": errors.PreconditionFailed("Somebody was quicker."),
    "forbidden": errors.Forbidden("Not you.", code="owner-only"),
    "unauthenticated": errors.Unauthenticated("Sign in."),
    "away": errors.Unavailable("The registry does not answer.", code="registry-unavailable"),
}


def service() -> Flask:
    """A service that answers as told."""
    app = Flask("other")
    app.register_error_handler(FairleadError, problems.from_error)
    release = threading.Event()
    app.extensions["release"] = release

    @app.route("/raise/<name>")
    def fail(name: str) -> Response:
        raise RAISED[name]

    @app.route("/echo", methods=["GET", "POST"])
    def echo() -> Response:
        headers = {name: request.headers.get(name) for name in ("Authorization", "X-Correlation-ID")}
        return jsonify(headers | {"method": request.method, "json": request.get_json(silent=True)})

    @app.route("/nothing", methods=["DELETE"])
    def nothing() -> Response:
        return Response(status=204)

    @app.route("/page")
    def page() -> Response:
        return Response("<html>", status=502, content_type="text/html")

    @app.route("/odd/<int:status>")
    def odd(status: int) -> Response:
        return Response('{"code": "odd", "detail": "x"}', status=status, content_type="application/json")

    @app.route("/list")
    def listed() -> Response:
        return Response("[1]", status=500, content_type="application/json")

    @app.route("/elsewhere")
    def elsewhere() -> Response:
        return Response(response=redirect("/echo").get_data(), status=302, headers={"Location": "/echo"})

    @app.route("/slow")
    def slow() -> Response:
        release.wait(20)
        return jsonify({})

    return app


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    app = service()
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    app.extensions["release"].set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(address: str) -> ServiceClient:
    return ServiceClient(f"{address}/", "catalog")


@pytest.mark.parametrize("name", RAISED)
def test_an_error_comes_back_as_it_was_raised_there(client: ServiceClient, name: str) -> None:
    raised = RAISED[name]
    with pytest.raises(FairleadError) as caught:
        client.call("GET", f"/raise/{name}")
    assert type(caught.value) is type(raised)
    assert caught.value.code == raised.code
    assert raised.detail in caught.value.detail
    if isinstance(raised, Invalid) and isinstance(caught.value, Invalid):
        assert caught.value.errors == raised.errors


def test_the_callers_token_and_correlation_are_handed_on(client: ServiceClient) -> None:
    reset = telemetry.correlation.set("corr-1")
    try:
        told = client.call("POST", "/echo", token="internal", json={"a": [1]})
    finally:
        telemetry.correlation.reset(reset)
    assert told == {"Authorization": "Bearer internal", "X-Correlation-ID": "corr-1", "method": "POST", "json": {"a": [1]}}
    assert client.call("GET", "/echo")["Authorization"] is None


def test_an_empty_answer_is_none(client: ServiceClient) -> None:
    assert client.call("DELETE", "/nothing") is None


@pytest.mark.parametrize("path", ["/page", "/odd/500", "/odd/502", "/odd/418", "/elsewhere", "/odd/302", "/list"])
def test_what_no_service_of_ours_answers_is_unavailable(client: ServiceClient, path: str) -> None:
    with pytest.raises(Unavailable) as caught:
        client.call("GET", path)
    assert caught.value.code == "catalog-unavailable"


def test_a_service_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable) as caught:
        ServiceClient("http://127.0.0.1:9", "catalog").call("GET", "/echo")
    assert caught.value.code == "catalog-unavailable"


def test_a_service_that_is_silent_is_unavailable_after_its_time(client: ServiceClient) -> None:
    with pytest.raises(Unavailable):
        client.call("GET", "/slow", timeout_seconds=0.2)


def test_a_proxy_of_the_environment_is_not_asked(client: ServiceClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert client.call("GET", "/echo")["method"] == "GET"


def test_each_thread_has_a_connection_of_its_own(client: ServiceClient) -> None:
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(client.call("GET", "/echo")["method"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["GET"] * 8
