"""Boxes that a client has sealed by itself: whatever is in them, the agent answers with a code."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from nacl.public import SealedBox
from nacl.signing import SigningKey

from agent.identity import Keys, Node, load_or_make_keys
from agent.outcomes import Refused
from agent.secrets import open_credentials, open_secrets
from kernel.contracts.spec import ContainerSpec, SealedSecret
from tests.integration.agent.ground import prepare_directory

SPLIT = "before \ud800 after"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return load_or_make_keys(tmp_path)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return prepare_directory(tmp_path, SigningKey.generate())


def sealed(keys: Keys, plain: str) -> str:
    return base64.b64encode(SealedBox(keys.unseal.public_key).encrypt(plain.encode())).decode()


def box(keys: Keys, node: Node, name: str, **more: object) -> str:
    return sealed(keys, json.dumps({"team": str(node.team_id), "node": str(node.node_id), "name": name} | more))


def container(text: str, kind: str) -> ContainerSpec:
    secret = SealedSecret(sealed=text, as_=kind)
    return ContainerSpec(instance_id=None, name="web", image="registry.test/web:1", config={}, secrets={"KEY": secret})  # type: ignore[arg-type]  # no instance is needed


@pytest.mark.parametrize("kind", ["env", "file"])
@pytest.mark.parametrize("value", [SPLIT, "\udfff", 5, None, ["a"], {"a": "b"}, True])
def test_a_value_that_is_no_text_or_half_a_character_is_refused(keys: Keys, node: Node, kind: str, value: object) -> None:
    with pytest.raises(Refused) as refused:
        open_secrets(container(box(keys, node, "KEY", value=value), kind), keys, node)
    assert refused.value.code == "secret-unreadable"
    refused.value.detail.encode()


def test_a_box_without_a_value_is_refused(keys: Keys, node: Node) -> None:
    with pytest.raises(Refused) as refused:
        open_secrets(container(box(keys, node, "KEY"), "env"), keys, node)
    assert refused.value.code == "secret-unreadable"


@pytest.mark.parametrize("plain", ["[" * 50_000, "{", "7", "[]", '"text"', "1" * 5000])
def test_a_box_that_holds_something_else_is_refused(keys: Keys, node: Node, plain: str) -> None:
    with pytest.raises(Refused) as refused:
        open_secrets(container(sealed(keys, plain), "env"), keys, node)
    assert refused.value.code in ("secret-unreadable", "secret-swapped")


@pytest.mark.parametrize("kind", ["env", "file"])
@pytest.mark.parametrize("value", ["", "plain", "\ud83d\ude80 whole, written as a pair", "line\nline", "\U0001f680"])
def test_text_is_opened_as_it_is(keys: Keys, node: Node, kind: str, value: str) -> None:
    whole = json.loads(json.dumps(value))
    opened = open_secrets(container(box(keys, node, "KEY", value=value), kind), keys, node)
    assert (opened.files if kind == "file" else opened.environment) == {"KEY": whole}


@pytest.mark.parametrize("login", [{"username": "u", "password": SPLIT}, {"username": "\udc00", "password": "p"}])
def test_a_log_in_with_half_a_character_is_refused(keys: Keys, node: Node, login: dict[str, str]) -> None:
    boxes = {"registry.test": box(keys, node, "registry:registry.test", value=json.dumps(login))}
    with pytest.raises(Refused) as refused:
        open_credentials(boxes, keys, node)
    assert refused.value.code == "secret-unreadable"


def test_a_log_in_that_is_nested_too_deeply_is_refused(keys: Keys, node: Node) -> None:
    boxes = {"registry.test": box(keys, node, "registry:registry.test", value="[" * 20_000)}
    with pytest.raises(Refused) as refused:
        open_credentials(boxes, keys, node)
    assert refused.value.code == "secret-unreadable"
