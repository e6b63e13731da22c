"""For the gateway only: it never proxies what lies below /internal."""

from __future__ import annotations

from typing import Any

from flask.views import MethodView
from flask_smorest import Blueprint

from kernel.http import public
from services.identity import schemas
from services.identity.routes.request import parts
from services.identity.usecases import exchange
from services.identity.usecases.parts import Origin

internal = Blueprint("internal", __name__, url_prefix="/internal")


@internal.route("/exchange")
class Exchange(MethodView):
    """A token that somebody sent, for an internal one."""

    @public("the token in the body is what is checked, and only the gateway reaches this path")
    @internal.arguments(schemas.ExchangeSchema)
    @internal.response(200, schemas.InternalTokenSchema)
    def post(self, given: dict[str, Any]) -> dict[str, object]:  # Any: fields of the schema
        token, seconds = exchange.exchange(parts(), given["token"], given["team_id"], Origin(given["address"]))
        return {"token": token, "expires_in": seconds}
