"""The deployer's HTTP application: puts the parts together."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask

from kernel import signing, telemetry
from kernel.contracts.envelope import Envelope
from kernel.contracts.recorded import Recorded
from kernel.db import Database
from kernel.http import HttpService, Principal, TokenVerifier, create_http_app
from kernel.http.client import ServiceClient
from kernel.outbox import put_event
from kernel.settings import load
from services.deployer.routes import BLUEPRINTS
from services.deployer.settings import Settings


def create_app(settings: Settings | None = None, **replacements: Any) -> Flask:
    """The application. Any: tests replace parts (db, verifier, catalog, signing_key) by their own."""
    settings = settings or load(Settings, os.environ)
    telemetry.configure_logging("deployer.web", form=settings.log_format, level=settings.log_level)
    db: Database = replacements.get("db") or Database(settings.database_url, name="deployer.web")
    return create_http_app(
        HttpService(
            name="deployer",
            title="Fairlead deployer",
            blueprints=BLUEPRINTS,
            db=db,
            verifier=replacements.get("verifier") or TokenVerifier(f"{settings.identity_url}/api/v1/.well-known/jwks.json"),
            record_refusal=lambda who, tried, code: record_refusal(db, who, tried, code),
            extensions={
                "settings": settings,
                # Read at the start: a file that is not there must not be found out by an agent whose token is used up.
                "broker_authority": settings.agent_broker_authority_file and settings.agent_broker_authority_file.read_text(),
                "catalog": replacements.get("catalog") or ServiceClient(settings.catalog_url, "catalog"),
                "signing_key": replacements.get("signing_key") or signing.load_signing_key(settings.signing_key_file),
            },
        )
    )


def record_refusal(db: Database, who: Principal, tried: str, code: str) -> None:
    """Put what was refused into the outbox, for the audit log."""
    if who.team_id is None:
        return
    refused = Recorded(resource_type="request", resource_id=tried[:256], resource_name=tried[:512], outcome="refused", reason=code)
    with db.team(who.team_id) as session:
        put_event(
            session,
            "deployer",
            Envelope(
                type="deployer.request.refused.v1",
                source="deployer",
                subject=tried[:256],
                data=refused,
                **who.envelope_facts(),
            ),
        )
