"""The real services' descriptions, merged; and every public route of theirs is reached through the gateway, no other."""

from __future__ import annotations

import base64
import os
from importlib import import_module

import pytest
from flask import Flask
from openapi_spec_validator import validate
from werkzeug.exceptions import NotFound
from werkzeug.routing import Rule

from gateway.app import create_app
from gateway.openapi import Document, merge
from gateway.settings import Settings
from kernel.settings import load

SERVICES = ("identity", "catalog", "deployer", "audit")

_VALUES = {"uuid": "01900000-0000-7000-8000-000000000001", "int": "1"}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Flask]:
    """All four applications; nothing is asked of them that needs a database."""
    keys = tmp_path_factory.mktemp("keys")
    secret = base64.b64encode(os.urandom(32)).decode()
    (keys / "ring").write_text(f"k1:{secret}\n")
    (keys / "seed").write_text(f"{secret}\n")
    environment = {
        "FAIRLEAD_DATABASE_URL": "postgresql+psycopg://nobody:nothing@127.0.0.1:1/none",
        "FAIRLEAD_ENCRYPTION_KEYS_FILE": str(keys / "ring"),
        "FAIRLEAD_SIGNING_KEY_FILE": str(keys / "seed"),
        "FAIRLEAD_PUBLIC_URL": "http://127.0.0.1:8080",
        "FAIRLEAD_AGENT_BROKER_URL": "amqp://127.0.0.1:1/agents",
        "FAIRLEAD_BROKER_MANAGEMENT_URL": "http://provisioner:nothing@127.0.0.1:1",
        **{f"FAIRLEAD_{name.upper()}_URL": "http://127.0.0.1:1" for name in SERVICES},
        "FAIRLEAD_LOG_LEVEL": "error",
    }
    return {
        name: import_module(f"services.{name}.app").create_app(load(import_module(f"services.{name}.settings").Settings, environment))
        for name in SERVICES
    }


@pytest.fixture(scope="module")
def merged(services: dict[str, Flask]) -> Document:
    return merge({name: app.test_client().get("/openapi.json").get_json() for name, app in services.items()}, "http://127.0.0.1:8080")


@pytest.fixture(scope="module")
def gateway() -> Flask:
    environment = {f"FAIRLEAD_{name.upper()}_URL": f"http://{name}.invalid" for name in SERVICES} | {
        "FAIRLEAD_BROKER_CORE_URL": "amqp://x:y@127.0.0.1:1/core",
        "FAIRLEAD_PUBLIC_URL": "http://127.0.0.1:8080",
        "FAIRLEAD_LOG_LEVEL": "error",
    }
    settings = load(Settings, environment)
    return create_app(settings)


def sample(rule: Rule) -> str:
    """A path that fits the rule."""
    return "".join(text if not is_dynamic else _VALUES.get(type(rule._converters[text]).__name__.removesuffix("Converter").lower(), "thing")
                   for is_dynamic, text in rule._trace if text != "|")  # fmt: skip


def test_the_merged_description_is_valid(merged: Document) -> None:
    validate(merged)
    assert len(merged["paths"]) > 50


def test_nothing_internal_is_described(merged: Document) -> None:
    assert not [path for path in merged["paths"] if "internal" in path]


@pytest.mark.parametrize("service", SERVICES)
def test_every_public_route_of_a_service_is_reached_through_the_gateway(services: dict[str, Flask], gateway: Flask, service: str) -> None:
    rules = [rule for rule in services[service].url_map.iter_rules() if rule.rule.startswith("/api/")]
    assert rules
    asked = gateway.url_map.bind("x")
    for rule in rules:
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            endpoint, _ = asked.match(sample(rule), method)
            permission = getattr(gateway.view_functions[endpoint], "permission", "")
            assert permission.startswith(f"proxied to {service},"), f"{method} {rule.rule} goes to {permission}"


@pytest.mark.parametrize("service", SERVICES)
def test_no_other_route_of_a_service_is_reached(services: dict[str, Flask], gateway: Flask, service: str) -> None:
    own = {"/healthz", "/readyz", "/metrics", "/api/v1/openapi.json"}
    asked = gateway.url_map.bind("x")
    for rule in services[service].url_map.iter_rules():
        if not rule.rule.startswith("/api/") and rule.rule not in own:
            with pytest.raises(NotFound):
                asked.match(sample(rule), "GET")


def test_every_route_of_the_gateway_names_its_permission(gateway: Flask) -> None:
    nameless = [
        rule.rule for rule in gateway.url_map.iter_rules() if not getattr(gateway.view_functions[rule.endpoint], "permission", None)
    ]
    assert nameless == []
