"""What the deployer gets from the catalog: exact images, sealed log-ins, a version held still."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from kernel import clock, signing
from services.catalog.usecases import teams
from tests.fixtures.catalog import NODE_ID, NODE_KEY, TestCatalog
from tests.fixtures.registry_images import Pusher


def test_a_pin_gives_images_by_digest_with_configuration_and_sealed_log_ins(catalog: TestCatalog, password_registry: Pusher) -> None:
    digest = password_registry.image("pin/web", "1.0")
    user, password = password_registry.auth or ("", "")
    registry = catalog.new_registry(password_registry.url, username=user, password=password)
    local = catalog.new_registry(type="unchecked", url=None)
    version = catalog.new_version()
    catalog.add_image(version, registry, "pin/web", config={"environment": {"A": "{{version}}"}})
    catalog.add_image(version, local, "built/here", tag="dev", config={"name": "worker"})
    bundle = catalog.ask("POST", "/config-bundles", {"name": "b", "config": {"user": "1000"}}, expect=201)
    content = catalog.ask("GET", f"/versions/{version['id']}", base="/internal")
    assert [(one["name"], one["repository"], one["tag"]) for one in content["images"]] == [
        ("web", "pin/web", "1.0"),
        ("worker", "built/here", "dev"),
    ]
    found = catalog.pin(version, hold=True, config_bundle_ids=[bundle["id"]])
    assert found["project_type"] == "versioned"
    assert [(one["image"], one["digest"], one["registry"]) for one in found["images"]] == [
        (f"{registry['host']}/pin/web@{digest}", digest, registry["host"]),
        ("built/here:dev", None, None),
    ]
    assert found["images"][0]["config"] == {"environment": {"A": "{{version}}"}}
    assert [(one["id"], one["config"]) for one in found["bundles"]] == [(bundle["id"], {"user": "1000"})]
    name = f"registry:{registry['host']}"
    sealed = found["credentials"][registry["host"]]
    opened = signing.open_sealed(NODE_KEY, sealed, team=str(catalog.team_id), node=str(NODE_ID), name=name)
    assert json.loads(opened) == {"username": user, "password": password}


def test_every_image_that_cannot_be_had_is_named_at_once(catalog: TestCatalog, password_registry: Pusher) -> None:
    password_registry.image("have/it", "1")
    user, password = password_registry.auth or ("", "")
    good = catalog.new_registry(password_registry.url, username=user, password=password)
    wrong = catalog.new_registry(password_registry.url, username=user, password="wrong")
    version = catalog.new_version()
    catalog.add_image(version, good, "have/it", tag="gone")
    catalog.add_image(version, good, "have/it", tag="1")
    catalog.add_image(version, wrong, "have/it", tag="1")
    problem = catalog.problem("POST", f"/versions/{version['id']}/pin", _order(), base="/internal", expect=422)
    assert sorted(problem) == ["images.0.tag", "images.2.registry"]
    rollback = catalog.pin(version, resolve=False)
    assert rollback["images"][0]["image"] == f"{good['host']}/have/it:gone"


def test_a_registry_that_is_away_is_503(catalog: TestCatalog) -> None:
    version = catalog.new_version()
    catalog.add_image(version, catalog.new_registry("http://127.0.0.1:1"))
    assert catalog.problem("POST", f"/versions/{version['id']}/pin", _order(), base="/internal", expect=503) == "registry-unavailable"
    catalog.pin(version, resolve=False)


def test_a_version_without_images_is_not_pinned(catalog: TestCatalog) -> None:
    version = catalog.new_version()
    assert catalog.problem("POST", f"/versions/{version['id']}/pin", _order(), base="/internal", expect=409) == "version-has-no-images"


def test_a_held_version_is_immutable_until_released(catalog: TestCatalog) -> None:
    version = catalog.new_version()
    image = catalog.add_image(version, catalog.new_registry(type="unchecked"))
    order = _order(hold=True)
    catalog.ask("POST", f"/versions/{version['id']}/pin", order, base="/internal")
    assert catalog.problem("PATCH", f"/images/{image['id']}", {"tag": "2"}, expect=409) == "version-immutable"
    release = {"deployment_id": order["deployment_id"]}
    catalog.ask("POST", f"/versions/{version['id']}/release", release, base="/internal", expect=204)
    catalog.ask("POST", f"/versions/{version['id']}/release", release, base="/internal", expect=204)
    catalog.ask("PATCH", f"/images/{image['id']}", {"tag": "2"})
    assert [len(catalog.events(name)) for name in ("version.pinned", "version.released")] == [1, 1]


def test_a_pin_is_made_firm_by_the_start_and_let_go_by_what_follows(catalog: TestCatalog) -> None:
    version = catalog.new_version()
    catalog.add_image(version, catalog.new_registry(type="unchecked"))
    deployment = clock.new_id()
    catalog.pin(version, hold=True, deployment_id=str(deployment))
    catalog.tell_deployment(version, "in-progress", deployment_id=deployment, revision=2)
    assert catalog.ask("GET", f"/versions/{version['id']}")["mutable"] is False
    catalog.tell_deployment(version, "failed", deployment_id=deployment, revision=3)
    assert catalog.ask("GET", f"/versions/{version['id']}")["mutable"] is True


def test_news_of_an_earlier_start_do_not_let_a_newer_pin_go(catalog: TestCatalog) -> None:
    version = catalog.new_version()
    catalog.add_image(version, catalog.new_registry(type="unchecked"))
    deployment = clock.new_id()
    catalog.pin(version, hold=True, deployment_id=str(deployment))
    earlier = clock.now() - timedelta(minutes=5)
    catalog.tell_deployment(version, "in-progress", deployment_id=deployment, revision=2, time=earlier)
    catalog.tell_deployment(version, "failed", deployment_id=deployment, revision=3)
    assert catalog.ask("GET", f"/versions/{version['id']}")["mutable"] is False


def test_a_start_that_never_began_lets_its_version_go_when_the_lease_ends(catalog: TestCatalog) -> None:
    version = catalog.new_version()
    catalog.add_image(version, catalog.new_registry(type="unchecked"))
    catalog.pin(version, hold=True)
    with catalog.db.system() as session:
        session.execute(text("UPDATE version_pins SET expires_at = now() - interval '1 second'"))
    assert catalog.ask("GET", f"/versions/{version['id']}")["mutable"] is True
    teams.forget_expired_pins(catalog.db)
    with catalog.db.system() as session:
        assert session.execute(text("SELECT count(*) FROM version_pins")).scalar_one() == 0


def test_another_team_can_neither_see_nor_pin(catalog: TestCatalog) -> None:
    version = catalog.new_version()
    stranger = clock.new_id()
    catalog.ask("GET", f"/versions/{version['id']}", base="/internal", team=stranger, expect=404)
    catalog.ask("POST", f"/versions/{version['id']}/pin", _order(), base="/internal", team=stranger, expect=404)


def test_whoever_may_not_deploy_gets_no_log_ins_and_holds_nothing(catalog: TestCatalog) -> None:
    version = catalog.new_version()
    registry = catalog.new_registry(type="unchecked", url="https://one.example", username="u", password="never for viewers")
    catalog.add_image(version, registry, "web")
    path = f"/versions/{version['id']}"
    seen = catalog.ask("POST", f"{path}/pin", _order(), base="/internal", role="viewer")
    assert seen["credentials"] == {}
    catalog.problem("POST", f"{path}/pin", _order(hold=True), base="/internal", role="viewer", expect=403)
    catalog.problem("POST", f"{path}/release", {"deployment_id": str(clock.new_id())}, base="/internal", role="viewer", expect=403)


def _order(**more: object) -> dict[str, object]:
    key = signing.to_text(NODE_KEY.public_key)
    return {"deployment_id": str(clock.new_id()), "node_id": str(NODE_ID), "node_seal_key": key} | more


def test_two_registries_on_one_host_hand_over_each_its_log_in(catalog: TestCatalog) -> None:
    version = catalog.new_version()
    for namespace in ("alpha", "beta"):
        registry = catalog.new_registry(
            type="unchecked", url="https://two.example", namespace=namespace, username=namespace, password=f"pw of {namespace}"
        )
        catalog.add_image(version, registry, "web")
    boxes = catalog.pin(version, hold=True)["credentials"]
    opened = {}
    for key, box in boxes.items():
        text_ = signing.open_sealed(NODE_KEY, box, team=str(catalog.team_id), node=str(NODE_ID), name=f"registry:{key}")
        opened[key] = json.loads(text_)["username"]
    assert opened == {"two.example/alpha": "alpha", "two.example/beta": "beta", "two.example": "alpha"}


def test_config_bundles_are_checked_without_a_pin(catalog: TestCatalog) -> None:
    bundle = catalog.ask("POST", "/config-bundles", {"name": "b", "config": {}}, expect=201)["id"]
    nobody = str(clock.new_id())

    def check(*ids: str) -> Any:  # arguments of a request
        return {"method": "POST", "path": "/config-bundles/check", "body": {"config_bundle_ids": list(ids)}, "base": "/internal"}

    catalog.ask(**check(bundle), expect=204, role="viewer")
    catalog.ask(**check(), expect=204)
    assert sorted(catalog.problem(**check(nobody, bundle, nobody), expect=422)) == ["config_bundle_ids.0", "config_bundle_ids.2"]
    assert sorted(catalog.problem(**check(bundle), expect=422, team=clock.new_id())) == ["config_bundle_ids.0"]
