"""Identity's HTTP application: puts the parts together."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask

from kernel import telemetry
from kernel.http import HttpService, create_http_app
from kernel.settings import load
from services.identity.routes import BLUEPRINTS
from services.identity.settings import Settings
from services.identity.usecases.parts import Parts, make_parts
from services.identity.usecases.refusals import record_refusal


def create_app(settings: Settings | None = None, **replacements: Any) -> Flask:
    """The application. Any: tests replace `parts` or `verifier` by their own."""
    settings = settings or load(Settings, os.environ)
    telemetry.configure_logging("identity.web", form=settings.log_format, level=settings.log_level)
    parts: Parts = replacements.get("parts") or make_parts(settings, "identity.web")
    return create_http_app(
        HttpService(
            name="identity",
            title="Fairlead identity",
            blueprints=BLUEPRINTS,
            db=parts.db,
            verifier=replacements.get("verifier") or parts.signer,
            record_refusal=lambda who, tried, code: record_refusal(parts, who, tried, code),
            extensions={"parts": parts},
        )
    )
