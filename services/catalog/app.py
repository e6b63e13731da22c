"""The catalog's HTTP application: puts the parts together."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask

from kernel import telemetry
from kernel.contracts.recorded import Recorded
from kernel.db import Database
from kernel.http import HttpService, Principal, TokenVerifier, create_http_app
from kernel.keyring import KeyRing
from kernel.settings import load
from services.catalog.remote.addresses import parse_networks
from services.catalog.remote.browser import Browser
from services.catalog.remote.egress import GuardedEgress
from services.catalog.routes import BLUEPRINTS
from services.catalog.settings import Settings
from services.catalog.usecases.events import tell
from services.catalog.usecases.registries import Vault


def create_app(settings: Settings | None = None, **replacements: Any) -> Flask:
    """The application. Any: tests replace parts (db, verifier, keyring, egress) by their own."""
    settings = settings or load(Settings, os.environ)
    telemetry.configure_logging("catalog.web", form=settings.log_format, level=settings.log_level)
    db: Database = replacements.get("db") or Database(settings.database_url, name="catalog.web")
    egress = replacements.get("egress") or GuardedEgress(parse_networks(settings.egress_allowed_networks))
    keyring = replacements.get("keyring") or KeyRing.load(settings.encryption_keys_file)
    verifier = replacements.get("verifier") or TokenVerifier(f"{settings.identity_url}/api/v1/.well-known/jwks.json")
    return create_http_app(
        HttpService(
            name="catalog",
            title="Fairlead catalog",
            blueprints=BLUEPRINTS,
            db=db,
            verifier=verifier,
            record_refusal=lambda who, tried, code: record_refusal(db, who, tried, code),
            extensions={"vault": Vault(keyring), "browser": Browser(egress)},
        )
    )


def record_refusal(db: Database, who: Principal, tried: str, code: str) -> None:
    """Put what was refused into the outbox, for the audit log."""
    if who.team_id is None:
        return
    refused = Recorded(resource_type="request", resource_id=tried[:256], resource_name=tried[:512], outcome="refused", reason=code)
    with db.team(who.team_id) as session:
        tell(session, who.envelope_facts(), "request.refused", refused)
