"""Which of a client's headers reach a service."""

from __future__ import annotations

import pytest

from gateway.proxy import outgoing_headers


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "x-forwarded-proto",
        "Forwarded",
        "X-Real-IP",
        "Transfer-Encoding",
        "Upgrade",
        "TE",
        "Cookie",
        "Authorization",
        "Host",
        "Proxy-Authorization",
        "X_Forwarded_For",
    ],
)
def test_what_could_fool_a_service_is_stripped(name: str) -> None:
    assert outgoing_headers([(name, "x")], "") == {}


@pytest.mark.parametrize("name", ["If-Match", "Idempotency-Key", "Content-Type", "Accept", "User-Agent", "Range"])
def test_what_a_service_needs_is_kept(name: str) -> None:
    assert outgoing_headers([(name, "x")], "") == {name: "x"}


def test_what_connection_names_is_stripped() -> None:
    assert outgoing_headers([("Connection", "X-Secret, close"), ("X-Secret", "1"), ("Accept", "*/*")], "X-Secret, close") == {
        "Accept": "*/*"
    }
