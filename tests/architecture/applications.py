"""Each application as it is, put together without any server: nothing connects before the first request."""

from __future__ import annotations

import base64
import importlib
import re
from pathlib import Path

from flask import Flask

from kernel import settings

SERVICES = ("identity", "catalog", "deployer", "audit")
_SECRET = "n0-placeholder-9Qx"


def environment(folder: Path) -> dict[str, str]:
    """Values for every variable that some application demands; key files lie in `folder`."""
    ring, seed = folder / "ring", folder / "seed"
    ring.write_text(f"test:{base64.b64encode(bytes(range(32))).decode()}\n")
    seed.write_text(base64.b64encode(bytes(range(32))).decode())
    internal = {f"FAIRLEAD_{name.upper()}_URL": "http://127.0.0.1:9" for name in SERVICES}
    return internal | {
        "FAIRLEAD_DATABASE_URL": f"postgresql+psycopg://nobody:{_SECRET}@127.0.0.1:9/none",
        "FAIRLEAD_BROKER_CORE_URL": f"amqp://nobody:{_SECRET}@127.0.0.1:9/core",
        "FAIRLEAD_BROKER_AGENTS_URL": f"amqp://nobody:{_SECRET}@127.0.0.1:9/agents",
        "FAIRLEAD_BROKER_MANAGEMENT_URL": f"http://nobody:{_SECRET}@127.0.0.1:9",
        "FAIRLEAD_AGENT_BROKER_URL": "amqp://127.0.0.1:9/agents",
        "FAIRLEAD_PUBLIC_URL": "http://127.0.0.1:9",
        "FAIRLEAD_ENCRYPTION_KEYS_FILE": str(ring),
        "FAIRLEAD_SIGNING_KEY_FILE": str(seed),
    }


def make(service: str, folder: Path) -> Flask:
    """The web application of a service, or the gateway."""
    package = "gateway" if service == "gateway" else f"services.{service}"
    kind = importlib.import_module(f"{package}.settings").Settings
    made: Flask = importlib.import_module(f"{package}.app").create_app(settings.load(kind, environment(folder)))
    return made


def routes(app: Flask) -> set[tuple[str, str]]:
    """(method, path) of every route of the application."""
    return {
        (method, bare(rule.rule)) for rule in app.url_map.iter_rules() for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }  # fmt: skip


def bare(rule: str) -> str:
    """A rule without the names of its parameters: `/teams/<uuid:team_id>/nodes` is `/teams/{}/nodes`."""
    return re.sub(r"<[^>]+>", "{}", rule)
