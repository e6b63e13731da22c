"""Where a user's URL may lead: the public internet, and what an operator allowed, however the address is written."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.remote.addresses import is_allowed, is_public, parse_networks


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1",
        "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
        "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::a9fe:a9fe",
        "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:a9fe:a9fe::", "2001:0:5db8:d822::8000:fefe",
        "fc00::1", "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1", "100::1", "2001:2::1", "4000::1",
    ],
)  # fmt: skip
def test_a_private_or_special_address_is_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_an_address_of_the_internet_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize("text", ["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"])
def test_an_allowed_network_is_allowed_in_every_way_of_writing_it(text: str) -> None:
    assert is_allowed(ip_address(text), parse_networks(["127.0.0.0/8"]))
    assert not is_allowed(ip_address(text), parse_networks(["10.0.0.0/8", "fd00::/8"]))


@given(st.integers(0, 2**32 - 1))
def test_an_address_inside_another_is_as_public_as_the_one_inside(value: int) -> None:
    plain = IPv4Address(value)
    wrapped = [
        IPv6Address(0xFFFF << 32 | value),
        IPv6Address(int(IPv6Address("64:ff9b::")) | value),
        IPv6Address(0x2002 << 112 | value << 80),
    ]
    assert {is_public(one) for one in wrapped} == {is_public(plain)}


@given(st.ip_addresses(v=4))
def test_what_the_standard_library_calls_private_is_never_public(address: IPv4Address) -> None:
    if address.is_private or address.is_multicast or address.is_reserved or address.is_link_local:
        assert not is_public(address)
