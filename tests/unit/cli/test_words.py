"""Names, values and what is shown of them."""

from __future__ import annotations

import base64

import pytest
from nacl.public import PrivateKey

from cli.names import deployment_names, is_id, pick, pick_called
from cli.problems import CommandError
from cli.screen import plain, value_at
from cli.sealing import LARGEST_VALUE_BYTES, fingerprint, seal
from kernel import clock, signing

NODES = [{"id": "1", "name": "web-1"}, {"id": "2", "name": "web-2"}, {"id": "3", "name": "web-2"}]


def test_a_thing_is_found_by_its_one_name() -> None:
    assert pick(NODES, "web-1", "node")["id"] == "1"


@pytest.mark.parametrize(("name", "code", "said"), [("web-2", "name-ambiguous", r"\(2\).*\(3\)"), ("web", "not-found", "web-1, web-2")])
def test_what_is_not_one_thing_is_refused_with_what_there_is(name: str, code: str, said: str) -> None:
    with pytest.raises(CommandError, match=said) as refused:
        pick(NODES, name, "node")
    assert refused.value.code == code


def test_a_deployment_is_called_by_as_much_as_makes_it_one() -> None:
    shops = [{"id": str(n), "node_name": "web-1", "prefix": "shop", "version_name": f"1.{n}"} for n in range(2)]
    assert pick_called(shops, "shop@1.1", "deployment", deployment_names)["id"] == "1"
    assert pick_called(shops, "web-1/shop@1.0", "deployment", deployment_names)["id"] == "0"
    with pytest.raises(CommandError, match=r"web-1/shop@1\.0"):
        pick_called(shops, "shop", "deployment", deployment_names)


def test_ids_are_told_from_names() -> None:
    assert is_id(str(clock.new_id()))
    assert not is_id("web-1")


def test_what_is_shown_moves_no_cursor() -> None:
    assert plain("a\x1b[31mb\nc\u202ed") == "a [31mb c d"
    thing = {"sync": {"state": "drifted"}, "protected": True, "seen_at": "2026-11-22T10:00:00.123456Z", "none": None}
    assert [value_at(thing, path) for path in ("sync.state", "protected", "seen_at", "none", "no.such")] == [
        "drifted",
        "yes",
        "2026-11-22 10:00:00Z",
        "",
        "",
    ]


def test_a_sealed_value_opens_for_its_node_only_as_what_it_is() -> None:
    private = PrivateKey.generate()
    key = signing.to_text(private.public_key)
    box = seal(key, team="t", node="n", name="API_KEY", value="swordfish")
    assert b"swordfish" not in base64.b64decode(box)
    assert signing.open_sealed(private, box, team="t", node="n", name="API_KEY") == "swordfish"


def test_a_fingerprint_is_that_of_ssh() -> None:
    # sha256sum of the 32 bytes, by coreutils.
    assert fingerprint(base64.b64encode(bytes([9, *[0] * 31])).decode()) == "SHA256:NOyB29r5FIVn3EJU+ThS00+W543dS9BMHIoWQaCIOys"


@pytest.mark.parametrize("value", ["x" * (LARGEST_VALUE_BYTES + 1), "a\0b"])
def test_what_no_container_could_take_is_not_sealed(value: str) -> None:
    key = signing.to_text(PrivateKey.generate().public_key)
    with pytest.raises(CommandError, match="API_KEY"):
        seal(key, team="t", node="n", name="API_KEY", value=value)
