"""The audit service's HTTP application: puts the parts together."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask

from kernel import signing, telemetry
from kernel.db import Database
from kernel.http import HttpService, TokenVerifier, create_http_app
from kernel.settings import load
from services.audit import routes, usecases
from services.audit.settings import Settings


def create_app(settings: Settings | None = None, **replacements: Any) -> Flask:
    """The application. Any: tests replace parts (db, verifier, signing_key) by their own."""
    settings = settings or load(Settings, os.environ)
    telemetry.configure_logging("audit.web", form=settings.log_format, level=settings.log_level)
    db: Database = replacements.get("db") or Database(settings.database_url, pool_size=5, name="audit.web")
    verifier = replacements.get("verifier") or TokenVerifier(f"{settings.identity_url}/api/v1/.well-known/jwks.json")
    return create_http_app(
        HttpService(
            name="audit",
            title="Fairlead audit",
            blueprints=[routes.blueprint],
            db=db,
            verifier=verifier,
            record_refusal=lambda who, tried, code: usecases.record_refusal(db, who, tried, code),
            extensions={"signing_key": replacements.get("signing_key") or signing.load_signing_key(settings.signing_key_file)},
        )
    )
