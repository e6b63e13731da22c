"""Addresses and paths, with values."""

from __future__ import annotations

import pytest

from gateway.addresses import client_address, is_loopback, limit_key, networks, raw_path
from kernel.errors import Invalid

PROXIES = networks(["10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.9", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "127.0.0.1, 198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "127.0.0.1, 198.51.100.9, 10.0.0.2", "198.51.100.9"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("::ffff:192.0.2.1", "", "192.0.2.1"),
        ("fd00::1", "2001:db8::5", "2001:db8::5"),
        (None, "198.51.100.9", "unknown"),
    ],
)
def test_only_our_own_proxies_are_believed(peer: str | None, forwarded: str, address: str) -> None:
    assert client_address(peer, forwarded, PROXIES) == address


@pytest.mark.parametrize(
    "path",
    [
        "/api//v1",
        "/api/../internal",
        "/api/./v1",
        "/api/%2e%2e/internal",
        "/api/v1%2Fme",
        "/api/v1%5cme",
        "/a\\b",
        "/api/v1/..",
        "/%00",
        "/%252e",
        "http://evil/",
        "/ä",
    ],
)
def test_a_crooked_path_is_refused(path: str) -> None:
    with pytest.raises(Invalid, match="path-invalid"):
        raw_path({"RAW_URI": path})


def test_a_plain_path_stays_as_it_was_written() -> None:
    assert raw_path({"RAW_URI": "/api/v1/teams/a%20b/x.y..z?q=//%2f"}) == "/api/v1/teams/a%20b/x.y..z"


def test_an_ipv6_customer_is_counted_as_one() -> None:
    assert limit_key("2001:db8:1:2:3::4") == limit_key("2001:db8:1:2::9") != limit_key("2001:db8:1:3::9")
    assert limit_key("192.0.2.1") == "192.0.2.1"


def test_loopback_is_this_machine() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("192.0.2.1")
    assert not is_loopback("unknown")
