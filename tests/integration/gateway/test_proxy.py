"""The gateway as a proxy: what passes, what does not, and what it does to tokens and headers."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import pytest
import requests
from flask import Response

from kernel import clock
from kernel.messaging.publisher import Confirm, Outgoing, Publisher
from tests.fixtures.servers import TestBroker
from tests.fixtures.waiting import eventually
from tests.integration.gateway.conftest import TEAM, Gateway, RunGateway, Services

PROJECTS = f"/api/v1/teams/{TEAM}/projects"


def raw(
    gateway: Gateway, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> http.client.HTTPResponse:
    """A request as it is, not tidied up by a library."""
    connection = http.client.HTTPConnection(urlsplit(gateway.url).netloc, timeout=20)
    connection.putrequest(method, path, skip_host="Host" in (headers or {}), skip_accept_encoding=True)
    for name, value in (headers or {}).items():
        connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/me",
        "/api/v1/teams",
        f"/api/v1/teams/{TEAM}",
        f"/api/v1/teams/{TEAM}/members",
        f"{PROJECTS}/1/versions?limit=2",
        f"/api/v1/teams/{TEAM}/deployments/1/start",
        f"/api/v1/teams/{TEAM}/audit/export?format=csv",
    ],
)
def test_a_service_gets_its_requests_with_an_internal_token(gateway: Gateway, services: Services, path: str) -> None:
    assert gateway.call(path).status_code == 200
    team = TEAM if "teams/" in path else None
    assert (services.last()["path"], services.last()["headers"]["Authorization"]) == (path, f"Bearer internal-for-{team}")
    assert services.exchanges == [{"token": gateway.token, "team_id": team, "address": "127.0.0.1"}]


@pytest.mark.parametrize(
    "path",
    [
        "/internal/exchange",
        f"/internal/teams/{TEAM}/versions/1",
        "/api/v1/internal",
        "/api/v1/teams/not-an-id",
        f"/api/v1/teams/{TEAM}/unknown",
        "/openapi.json",
        "/api/v2/me",
        "/api/v1/metrics",
    ],
)
def test_whatever_is_not_in_the_table_does_not_exist(gateway: Gateway, services: Services, path: str) -> None:
    answer = gateway.call(path)
    assert (answer.status_code, answer.headers["Content-Type"], answer.json()["code"]) == (404, "application/problem+json", "not-found")
    assert services.seen == []


@pytest.mark.parametrize(
    "path",
    [
        "//internal/exchange",
        "/api/v1/me/../../../internal/exchange",
        "/api/v1/auth/%2e%2e/%2e%2e/internal",
        "/api/v1/me%2f..",
        "/api/v1//me",
    ],
)
def test_a_crooked_path_never_reaches_a_service(gateway: Gateway, services: Services, path: str) -> None:
    assert raw(gateway, "GET", path).status in (400, 404, 422)
    assert services.seen == []


def test_a_stranger_cannot_pretend_to_come_from_elsewhere(gateway: Gateway, services: Services) -> None:
    spoofed = {"X-Forwarded-For": "203.0.113.1", "Forwarded": "for=203.0.113.1", "X-Forwarded-Host": "evil", "X-Real-IP": "203.0.113.1"}
    headers = {
        "Host": "evil",
        "Connection": "Authorization, X-Own",
        "X-Own": "1",
        "If-Match": '"3"',
        "Authorization": f"Bearer {gateway.token}",
    }
    assert raw(gateway, "GET", PROJECTS, spoofed | headers).status == 200
    seen = services.last()["headers"]
    assert (seen["X-Forwarded-For"], seen["Host"], seen["If-Match"]) == ("127.0.0.1", urlsplit(services.url).netloc, '"3"')
    assert not {"Forwarded", "X-Forwarded-Host", "X-Real-Ip", "X-Own"} & set(seen)
    assert seen["Authorization"] == f"Bearer internal-for-{TEAM}"


def test_a_trusted_proxy_tells_the_address(run_gateway: RunGateway, services: Services) -> None:
    gateway = run_gateway(FAIRLEAD_GATEWAY_TRUSTED_PROXIES="127.0.0.0/8")
    gateway.call("/api/v1/me", headers={"X-Forwarded-For": "192.0.2.66, 203.0.113.1"})
    assert (services.last()["headers"]["X-Forwarded-For"], services.exchanges[0]["address"]) == ("203.0.113.1", "203.0.113.1")


def test_an_answer_comes_back_whole_but_for_its_hop(gateway: Gateway) -> None:
    answer = gateway.call(PROJECTS, headers={"X-Correlation-ID": "mine-1"})
    assert (answer.headers["ETag"], answer.headers["X-Correlation-ID"]) == ('"7"', "mine-1")
    assert not {"X-Secret-Hop"} & set(answer.headers)
    assert answer.headers.get("Keep-Alive") is None


def test_a_correlation_id_that_no_service_takes_is_not_taken_here(gateway: Gateway, services: Services) -> None:
    answer = raw(gateway, "GET", PROJECTS, {"Authorization": f"Bearer {gateway.token}", "X-Correlation-ID": "\xe9"})
    assert answer.headers["X-Correlation-ID"].isascii()
    assert services.last()["headers"]["X-Correlation-Id"] == answer.headers["X-Correlation-ID"]


def test_a_token_is_exchanged_once_for_a_while(gateway: Gateway, services: Services) -> None:
    began = clock.monotonic()
    for _ in range(5):
        assert gateway.call(PROJECTS).status_code == 200
    assert len(services.exchanges) <= 1 + (clock.monotonic() - began) // 5, "an answer is kept for five seconds"


def test_a_bad_token_is_told_at_once(gateway: Gateway, services: Services) -> None:
    answer = gateway.call(PROJECTS, token="wrong")
    assert (answer.status_code, answer.json()["code"], answer.headers["WWW-Authenticate"]) == (401, "unauthenticated", "Bearer")
    assert gateway.call(PROJECTS, token=None, headers={"Authorization": "Basic eDp5"}).status_code == 401
    assert services.seen == []


def test_another_team_is_not_there(gateway: Gateway) -> None:
    answer = gateway.call(f"/api/v1/teams/{clock.new_id()}/projects")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


def test_without_a_token_the_service_decides(gateway: Gateway, services: Services) -> None:
    gateway.call(PROJECTS, token=None)
    assert "Authorization" not in services.last()["headers"]
    assert services.exchanges == []


def test_log_in_is_never_exchanged(gateway: Gateway, services: Services) -> None:
    gateway.call("/api/v1/auth/logout", "POST", json={})
    assert services.last()["headers"]["Authorization"] == f"Bearer {gateway.token}"
    assert services.exchanges == []


@pytest.mark.parametrize(("path", "token"), [("/api/v1/agent/enroll", "fl_enr_x"), ("/api/v1/hooks/start", "fl_trg_y")])
def test_a_token_for_one_thing_is_passed_on_there_and_nowhere_else(gateway: Gateway, services: Services, path: str, token: str) -> None:
    gateway.call(path, "POST", token=token, json={})
    assert services.last()["headers"]["Authorization"] == f"Bearer {token}"
    assert gateway.call(PROJECTS, token=token).status_code == 401
    assert services.exchanges == []


def test_an_internal_token_is_worth_nothing_outside(gateway: Gateway) -> None:
    assert gateway.call(PROJECTS, token=f"internal-for-{TEAM}").status_code == 401
    assert gateway.call("/api/v1/hooks/start", "POST", token=f"internal-for-{TEAM}", json={}).status_code == 401


@pytest.mark.parametrize("size", [0, 10, 1_000_000])
def test_a_body_passes_whole_with_and_without_its_length(gateway: Gateway, services: Services, size: int) -> None:
    assert gateway.call(PROJECTS, "POST", data=b"x" * size, headers={"Content-Type": "application/json"}).status_code == 200
    assert services.last()["size"] == size
    gateway.call(PROJECTS, "POST", data=iter([b"y" * 1000] * (size // 1000)), headers={"Content-Type": "application/json"})
    assert services.last()["size"] == size // 1000 * 1000


def test_a_body_that_is_too_long_is_refused_before_it_came(gateway: Gateway) -> None:
    answer = gateway.call(PROJECTS, "POST", data=b"x" * 3_000_000)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    answer = gateway.call(PROJECTS, "POST", data=iter([b"x" * 100_000] * 30))
    assert answer.status_code == 413


def test_a_long_answer_is_streamed(gateway: Gateway, services: Services) -> None:
    services.answers[PROJECTS] = lambda: Response((b"x" * 65536 for _ in range(200)), content_type="text/plain")
    assert len(gateway.call(PROJECTS).content) == 200 * 65536


def test_half_an_answer_does_not_look_whole(gateway: Gateway, services: Services) -> None:
    def breaking() -> Response:
        def pieces() -> object:
            yield b"x" * 300_000
            raise RuntimeError("broken off on purpose")

        return Response(pieces(), headers={"Content-Length": "600000"})  # type: ignore[arg-type]  # a generator of bytes

    services.answers[PROJECTS] = breaking
    with pytest.raises(requests.RequestException):
        gateway.call(PROJECTS)


@pytest.mark.parametrize("status", [204, 304, 404, 409, 503])
def test_a_status_is_passed_on(gateway: Gateway, services: Services, status: int) -> None:
    services.answers[PROJECTS] = lambda: Response(status=status, headers={"Retry-After": "9", "Content-Disposition": "attachment"})
    answer = gateway.call(PROJECTS)
    assert (answer.status_code, answer.headers["Retry-After"], answer.headers["Content-Disposition"]) == (status, "9", "attachment")


def test_a_head_has_no_body(gateway: Gateway) -> None:
    answer = gateway.call(PROJECTS, "HEAD")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_service_that_is_away_is_a_problem_with_its_name(run_gateway: RunGateway) -> None:
    gateway = run_gateway(FAIRLEAD_CATALOG_URL="http://127.0.0.1:1", FAIRLEAD_DEPLOYER_URL="http://127.0.0.1:1")
    answer = gateway.call(PROJECTS)
    assert (answer.status_code, answer.json()["code"]) == (503, "catalog-unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert gateway.call("/api/v1/me").status_code == 200


def test_without_identity_nobody_gets_in(run_gateway: RunGateway, services: Services) -> None:
    answer = run_gateway(FAIRLEAD_IDENTITY_URL="http://127.0.0.1:1").call(PROJECTS)
    assert (answer.status_code, answer.json()["code"]) == (503, "identity-unavailable")
    assert services.seen == []


def test_too_many_log_ins_from_one_address_must_wait(run_gateway: RunGateway, services: Services) -> None:
    gateway = run_gateway(FAIRLEAD_LIMIT_LOGIN="3/minute", FAIRLEAD_GATEWAY_TRUSTED_PROXIES="127.0.0.0/8")

    def log_in(address: str) -> requests.Response:
        return gateway.call("/api/v1/auth/login", "POST", token=None, json={}, headers={"X-Forwarded-For": address})

    assert [log_in("192.0.2.1").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    refused = log_in("192.0.2.1")
    assert (refused.json()["code"], 1 <= int(refused.headers["Retry-After"]) <= 60) == ("rate-limited", True)
    assert log_in("192.0.2.2").status_code == 200
    assert gateway.call("/api/v1/me", headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 200


def test_metrics_are_for_this_machine(gateway: Gateway) -> None:
    assert "fairlead_gateway_requests_total" in gateway.call("/metrics").text
    assert gateway.call("/metrics", headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 404


def test_readiness_names_each_part_with_its_reason(run_gateway: RunGateway) -> None:
    gateway = run_gateway(FAIRLEAD_CATALOG_URL="http://127.0.0.1:1")
    answer = gateway.call("/readyz", token=None)
    parts = answer.json()["parts"]
    assert answer.status_code == 503
    assert {name: part["ready"] for name, part in parts.items()} == {
        "identity": True, "catalog": False, "deployer": True, "audit": True, "broker": False,
    }  # fmt: skip
    assert parts["catalog"]["reason"]
    assert gateway.call("/api/v1/status", token=None).json()["parts"]["audit"] == {"version": "9.9.9", "reachable": True}


def test_all_parts_ready_is_ready(live_gateway: Gateway) -> None:
    eventually(lambda: live_gateway.call("/readyz", token=None).json()["status"] == "ready")


def test_parked_messages_are_a_warning_and_no_fault(run_gateway: RunGateway, broker: TestBroker) -> None:
    for url, queue in ((broker.core_url("audit"), "audit.inbox"), (broker.agents_url("audit"), "audit.reports")):
        publisher = Publisher(url, "test")
        assert publisher.publish([Outgoing("dead-letters", queue, b"{", "a")]) == [Confirm.CONFIRMED]
        publisher.close()
    hosts = {"FAIRLEAD_BROKER_CORE_URL": broker.core_url("gateway"), "FAIRLEAD_BROKER_AGENTS_URL": broker.agents_url("gateway")}
    gateway = run_gateway(**hosts)

    def told() -> tuple[int, list[str]]:
        answer = gateway.call("/readyz", token=None)
        return answer.status_code, [warning.split(":")[0] for warning in answer.json().get("warnings", [])]

    # A broker that did not answer in three seconds is asked again half a minute later.
    eventually(lambda: told() == (200, ["1 parked messages of audit.inbox", "1 parked messages of audit.reports"]))


def test_the_install_script_carries_its_token_and_nothing_else(gateway: Gateway) -> None:
    answer = gateway.call("/install/fl_enr_abc-DEF_123", token=None)
    assert answer.headers["Content-Type"].startswith("text/x-shellscript")
    assert answer.text == f'#!/bin/sh\nURL="{gateway.url}"\nTOKEN="fl_enr_abc-DEF_123"\n'
    for token in ("x", "fl_enr_$(id)aaaaaaaa", 'fl_enr_aaaaaaaa"', "fl_pat_aaaaaaaaaa"):
        assert gateway.call(f"/install/{token}", token=None).status_code == 404


def test_the_wheel_comes_under_its_real_name(gateway: Gateway) -> None:
    answer = gateway.call("/install/agent/fairlead.whl", token=None)
    assert (answer.content, answer.headers["Content-Disposition"]) == (b"PK wheel", "attachment; filename=fairlead-0.1.0-py3-none-any.whl")
    assert "--hash" in gateway.call("/install/agent/requirements.lock", token=None).text


@pytest.mark.parametrize("path", ["/", "/api/docs"])
def test_a_page_loads_nothing_from_elsewhere(gateway: Gateway, path: str) -> None:
    answer = gateway.call(path, token=None)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "http://" not in answer.text
    assert "https://" not in answer.text


def test_a_service_that_came_back_is_found_again(gateway: Gateway, services: Services) -> None:
    """Connections that died in the pool are not handed to the next request."""
    services.answers[PROJECTS] = lambda: Response(json.dumps({}), headers={"Connection": "close"})
    assert [gateway.call(PROJECTS).status_code for _ in range(5)] == [200] * 5
