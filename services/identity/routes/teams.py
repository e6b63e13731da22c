"""Routes for teams, their members, invitations and tokens."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import request
from flask.views import MethodView
from flask_smorest import Blueprint

from kernel.errors import Forbidden
from kernel.http import Page, PageArguments, decode_cursor, needs, page_of, page_schema, principal, set_etag, signed_in
from kernel.http.etag import if_match_check
from kernel.permissions import Action, scope_covers
from services.identity import schemas
from services.identity.routes.request import parts
from services.identity.store.teams import Member, TeamOf
from services.identity.usecases import api_tokens, teams
from services.identity.usecases import invitations as inviting
from services.identity.usecases.api_tokens import Made, Wanted
from services.identity.usecases.invitations import InvitationView

_TEAM = "/api/v1/teams/<uuid:team_id>"

all_teams = Blueprint("teams", __name__, url_prefix="/api/v1/teams", description="Teams")
one_team = Blueprint("team", __name__, url_prefix=_TEAM, description="One team")
members = Blueprint("members", __name__, url_prefix=f"{_TEAM}/members", description="Members of a team")
invitations = Blueprint("invitations", __name__, url_prefix=f"{_TEAM}/invitations", description="Invitations to a team")
team_tokens = Blueprint("team tokens", __name__, url_prefix=f"{_TEAM}/tokens", description="Tokens of a team, for CI")

Given = dict[str, Any]  # what marshmallow has read by the route's schema


def _after(given: Given) -> UUID | None:
    key = decode_cursor(given["cursor"], UUID)
    return key[0] if key else None


@all_teams.route("")
class Teams(MethodView):
    """One's teams."""

    @signed_in("teams")
    @all_teams.arguments(PageArguments, location="query")
    @all_teams.response(200, page_schema(schemas.TeamSchema))
    def get(self, given: Given) -> Page:
        found = teams.list_teams(parts(), principal(), given["limit"] + 1, _after(given))
        return page_of(found, given["limit"], lambda one: (one.id,))

    @signed_in("teams", Action.WRITE)
    @all_teams.arguments(schemas.CreateTeamSchema)
    @all_teams.response(201, schemas.TeamSchema)
    def post(self, given: Given) -> tuple[TeamOf, dict[str, str]]:
        made = teams.create_team(parts(), principal(), given["name"], given["slug"])
        set_etag(made.revision)
        return made, {"Location": f"/api/v1/teams/{made.id}"}


@one_team.route("")
class Team(MethodView):
    @needs("teams", Action.READ)
    @one_team.response(200, schemas.TeamSchema)
    def get(self, team_id: UUID) -> TeamOf:
        return _tagged(teams.get_team(parts(), principal()))

    @needs("teams", Action.ADMIN)
    @one_team.arguments(schemas.ChangeTeamSchema)
    @one_team.response(200, schemas.TeamSchema)
    def patch(self, given: Given, team_id: UUID) -> TeamOf:
        return _tagged(teams.change_team(parts(), principal(), given, if_match_check()))

    @needs("teams", Action.OWNER)
    @one_team.arguments(schemas.ConfirmQuerySchema, location="query")
    @one_team.response(204)
    def delete(self, given: Given, team_id: UUID) -> None:
        """Delete the team for good: `?confirm=` takes its slug (or name); a body `{"confirm": …}` does too."""
        teams.delete_team(parts(), principal(), given["confirm"] or _confirmed_in_body(), if_match_check())


def _confirmed_in_body() -> str | None:
    body = request.get_json(silent=True) if request.content_length else None
    typed = body.get("confirm") if isinstance(body, dict) else None
    return typed if isinstance(typed, str) else None


def _tagged(team: TeamOf) -> TeamOf:
    set_etag(team.revision)
    return team


def _tagged_member(member: Member) -> Member:
    set_etag(member.revision)
    return member


@members.route("")
class Members(MethodView):
    @needs("members", Action.READ)
    @members.arguments(PageArguments, location="query")
    @members.response(200, page_schema(schemas.MemberSchema))
    def get(self, given: Given, team_id: UUID) -> Page:
        found = teams.list_members(parts(), principal(), given["limit"] + 1, _after(given))
        return page_of(found, given["limit"], lambda one: (one.user_id,))


@members.route("/<uuid:user_id>")
class OneMember(MethodView):
    @needs("members", Action.READ)
    @members.response(200, schemas.MemberSchema)
    def get(self, team_id: UUID, user_id: UUID) -> Member:
        return _tagged_member(teams.get_member(parts(), principal(), user_id))

    @needs("members", Action.ADMIN)
    @members.arguments(schemas.RoleSchema)
    @members.response(200, schemas.MemberSchema)
    def patch(self, given: Given, team_id: UUID, user_id: UUID) -> Member:
        return _tagged_member(teams.change_member(parts(), principal(), user_id, given["role"], if_match_check()))

    @needs("members", Action.ADMIN)
    @members.response(204)
    def delete(self, team_id: UUID, user_id: UUID) -> None:
        teams.remove_member(parts(), principal(), user_id, if_match_check())


@members.route("/leave")
class Leave(MethodView):
    """Leave the team, whatever one's role; the last owner cannot."""

    @needs("members", Action.READ)
    @members.response(204)
    def post(self, team_id: UUID) -> None:
        # Every role may leave, but a token must be one that may change things.
        if not scope_covers(principal().scopes, "members", Action.WRITE):
            raise Forbidden
        teams.leave_team(parts(), principal())


@members.route("/<uuid:user_id>/transfer-ownership")
class TransferOwnership(MethodView):
    """Make a member owner, and oneself admin."""

    @needs("members", Action.OWNER)
    @members.response(200, schemas.MemberSchema)
    def post(self, team_id: UUID, user_id: UUID) -> Member:
        return _tagged_member(teams.transfer_ownership(parts(), principal(), user_id))


@invitations.route("")
class Invitations(MethodView):
    @needs("invitations", Action.ADMIN)
    @invitations.arguments(PageArguments, location="query")
    @invitations.response(200, page_schema(schemas.InvitationSchema))
    def get(self, given: Given, team_id: UUID) -> Page:
        found = inviting.list_invitations(parts(), principal(), given["limit"] + 1, _after(given))
        return page_of(found, given["limit"], lambda one: (one.id,))

    @needs("invitations", Action.ADMIN)
    @invitations.arguments(schemas.InviteSchema)
    @invitations.response(201, schemas.NewInvitationSchema)
    def post(self, given: Given, team_id: UUID) -> tuple[InvitationView, dict[str, str]]:
        made = inviting.invite(parts(), principal(), given["email"], given["role"])
        return made, {"Location": f"/api/v1/teams/{team_id}/invitations/{made.id}"}


@invitations.route("/<uuid:invitation_id>")
class OneInvitation(MethodView):
    @needs("invitations", Action.ADMIN)
    @invitations.response(200, schemas.InvitationSchema)
    def get(self, team_id: UUID, invitation_id: UUID) -> InvitationView:
        return inviting.get_invitation(parts(), principal(), invitation_id)

    @needs("invitations", Action.ADMIN)
    @invitations.response(204)
    def delete(self, team_id: UUID, invitation_id: UUID) -> None:
        inviting.revoke_invitation(parts(), principal(), invitation_id)


@invitations.route("/<uuid:invitation_id>/resend")
class Resend(MethodView):
    """Send it again with a new link and a new term."""

    @needs("invitations", Action.ADMIN)
    @invitations.response(200, schemas.NewInvitationSchema)
    def post(self, team_id: UUID, invitation_id: UUID) -> InvitationView:
        return inviting.resend_invitation(parts(), principal(), invitation_id)


@team_tokens.route("")
class TeamTokens(MethodView):
    @needs("tokens", Action.ADMIN)
    @team_tokens.arguments(PageArguments, location="query")
    @team_tokens.response(200, page_schema(schemas.TeamTokenSchema))
    def get(self, given: Given, team_id: UUID) -> Page:
        found = api_tokens.list_of_team(parts(), principal(), given["limit"] + 1, _after(given))
        return page_of(found, given["limit"], lambda one: (one.id,))

    @needs("tokens", Action.ADMIN)
    @team_tokens.arguments(schemas.CreateTeamTokenSchema)
    @team_tokens.response(201, schemas.NewTeamTokenSchema)
    def post(self, given: Given, team_id: UUID) -> tuple[Made, dict[str, str]]:
        made = api_tokens.create_of_team(parts(), principal(), Wanted(**given))
        return made, {"Location": f"/api/v1/teams/{team_id}/tokens/{made.id}"}


@team_tokens.route("/<uuid:token_id>")
class TeamToken(MethodView):
    @needs("tokens", Action.ADMIN)
    @team_tokens.response(200, schemas.TeamTokenSchema)
    def get(self, team_id: UUID, token_id: UUID) -> Any:  # a row, rendered by the schema
        """One token; its text is never shown again."""
        return api_tokens.get_of_team(parts(), principal(), token_id)

    @needs("tokens", Action.ADMIN)
    @team_tokens.response(204)
    def delete(self, team_id: UUID, token_id: UUID) -> None:
        api_tokens.revoke_of_team(parts(), principal(), token_id)
