"""Images that no version lists, those of init containers, by digest: at a real registry."""

from __future__ import annotations

import json
from typing import Any

from kernel import clock, signing
from tests.fixtures.catalog import NODE_ID, NODE_KEY, TestCatalog
from tests.fixtures.registry_images import Pusher


def order(*references: str, hold: bool = False) -> dict[str, Any]:
    key = signing.to_text(NODE_KEY.public_key)
    return {"node_id": str(NODE_ID), "node_seal_key": key, "references": list(references), "hold": hold}


def ask(catalog: TestCatalog, *references: str, hold: bool = False) -> Any:
    path = f"/versions/{catalog.new_version()['id']}/digests"
    return catalog.ask("POST", path, order(*references, hold=hold), base="/internal")


def test_names_are_found_by_digest_where_the_team_has_their_registry(catalog: TestCatalog, password_registry: Pusher) -> None:
    digest = password_registry.image("tools/migrate", "2")
    user, password = password_registry.auth or ("", "")
    host = catalog.new_registry(password_registry.url, username=user, password=password)["host"]
    exact = f"{host}/tools/migrate@{digest}"
    names = (f"{host}/tools/migrate:2", exact, f"{host}/tools/migrate:gone", "registry.elsewhere.example/wait:1", "built-here:dev")
    found = ask(catalog, *names)
    assert found == {"references": {names[0]: exact}, "credentials": {}}
    held = ask(catalog, *names, hold=True)
    assert held["references"] == found["references"]
    opened = signing.open_sealed(NODE_KEY, held["credentials"][host], team=str(catalog.team_id), node=str(NODE_ID), name=f"registry:{host}")
    assert json.loads(opened) == {"username": user, "password": password}


def test_a_registry_that_is_away_and_a_name_that_is_none_are_told(catalog: TestCatalog) -> None:
    host = catalog.new_registry("http://127.0.0.1:1")["host"]
    path = f"/versions/{catalog.new_version()['id']}/digests"
    assert catalog.problem("POST", path, order(f"{host}/tool:1"), base="/internal", expect=503) == "registry-unavailable"
    assert list(catalog.problem("POST", path, order("good:1", "Not A Name"), base="/internal", expect=422)) == ["references.1"]
    assert catalog.ask("POST", f"/versions/{clock.new_id()}/digests", order("a:1"), base="/internal", expect=404)["code"] == "not-found"


def test_only_who_may_deploy_gets_log_ins(catalog: TestCatalog, password_registry: Pusher) -> None:
    path = f"/versions/{catalog.new_version()['id']}/digests"
    assert catalog.call("POST", path, order("a:1"), base="/internal", role="viewer").status_code == 200
    assert catalog.call("POST", path, order("a:1", hold=True), base="/internal", role="viewer").status_code == 403
