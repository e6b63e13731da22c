"""Identity's HTTP routes."""

from __future__ import annotations

from services.identity.routes.auth import auth, well_known
from services.identity.routes.internal import internal
from services.identity.routes.me import invitations_of_mine, me
from services.identity.routes.teams import all_teams, invitations, members, one_team, team_tokens

BLUEPRINTS = (auth, well_known, internal, me, invitations_of_mine, all_teams, one_team, members, invitations, team_tokens)

__all__ = ["BLUEPRINTS"]
