"""Routes for one's own account."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask.views import MethodView
from flask_smorest import Blueprint

from kernel.http import Page, PageArguments, decode_cursor, page_of, page_schema, principal, set_etag, signed_in
from kernel.http.etag import if_match_check
from kernel.permissions import Action
from services.identity import schemas
from services.identity.routes.request import parts, session_id
from services.identity.store.teams import TeamOf
from services.identity.usecases import api_tokens, invitations, oidc, profile, second_factor, sessions
from services.identity.usecases.api_tokens import Made, Wanted
from services.identity.usecases.profile import Me
from services.identity.usecases.second_factor import Setup
from services.identity.usecases.teams import check_is_person

me = Blueprint("me", __name__, url_prefix="/api/v1/me", description="One's own account")
invitations_of_mine = Blueprint("invitations of mine", __name__, url_prefix="/api/v1/invitations", description="Invitations to oneself")

Given = dict[str, Any]  # what marshmallow has read by the route's schema


def _after(given: Given) -> UUID | None:
    key = decode_cursor(given["cursor"], UUID)
    return key[0] if key else None


@me.route("")
class Mine(MethodView):
    """Profile, teams with roles, open invitations."""

    @signed_in("account")
    @me.response(200, schemas.MeSchema)
    def get(self) -> Me:
        found = profile.get_me(parts(), principal())
        set_etag(found.revision)
        return found

    @signed_in("account", Action.WRITE)
    @me.arguments(schemas.ChangeMeSchema)
    @me.response(200, schemas.MeSchema)
    def patch(self, given: Given) -> Me:
        found = profile.change_me(parts(), principal(), given.get("name"), if_match_check())
        set_etag(found.revision)
        return found


@me.route("/password")
class Password(MethodView):
    """Change the password; other sessions end. `If-Match` takes the ETag of one's profile."""

    @signed_in("account", Action.ADMIN)
    @me.arguments(schemas.ChangePasswordSchema)
    @me.response(204)
    def put(self, given: Given) -> None:
        present, wanted = given["current_password"], given["new_password"]
        profile.change_password(parts(), principal(), present, wanted, session_id(), if_match_check())


@me.route("/email")
class Email(MethodView):
    """Change the address: with a mail server, once the link mailed to the new one is used. `If-Match` takes the ETag of one's profile."""

    @signed_in("account", Action.ADMIN)
    @me.arguments(schemas.ChangeEmailSchema)
    @me.response(202)
    def put(self, given: Given) -> None:
        profile.change_email(parts(), principal(), given["email"], given["password"], if_match_check())


@me.route("/email/verification")
class Verification(MethodView):
    """Have the link mailed again that verifies the address."""

    @signed_in("account", Action.WRITE)
    @me.response(202)
    def post(self) -> None:
        profile.ask_for_verification(parts(), principal())


@me.route("/second-factor")
class SecondFactor(MethodView):
    """Begin setting up a second factor (TOTP)."""

    @signed_in("account", Action.ADMIN)
    @me.arguments(schemas.PasswordSchema)
    @me.response(201, schemas.SecondFactorSchema)
    def post(self, given: Given) -> Setup:
        check_is_person(principal())
        return second_factor.start(parts(), principal(), given["password"])


@me.route("/second-factor/confirm")
class ConfirmSecondFactor(MethodView):
    """Switch it on with a first code; the recovery codes are shown once."""

    @signed_in("account", Action.ADMIN)
    @me.arguments(schemas.CodeSchema)
    @me.response(200, schemas.RecoveryCodesSchema)
    def post(self, given: Given) -> Given:
        check_is_person(principal())
        return {"recovery_codes": second_factor.confirm(parts(), principal(), given["code"])}


@me.route("/second-factor/recovery-codes")
class RecoveryCodes(MethodView):
    """New recovery codes; the old ones are void."""

    @signed_in("account", Action.ADMIN)
    @me.arguments(schemas.PasswordSchema)
    @me.response(201, schemas.RecoveryCodesSchema)
    def post(self, given: Given) -> Given:
        check_is_person(principal())
        return {"recovery_codes": second_factor.renew_recovery_codes(parts(), principal(), given["password"])}


@me.route("/second-factor/disable")
class DisableSecondFactor(MethodView):
    """Switch it off."""

    @signed_in("account", Action.ADMIN)
    @me.arguments(schemas.PasswordAndCodeSchema)
    @me.response(204)
    def post(self, given: Given) -> None:
        check_is_person(principal())
        second_factor.disable(parts(), principal(), given["password"], given["code"])


@me.route("/oidc")
class Link(MethodView):
    """Link one's account to what the provider knows one by: begun as a log-in, ended here."""

    @signed_in("account", Action.ADMIN)
    @me.arguments(schemas.OidcFinishSchema)
    @me.response(204)
    def post(self, given: Given) -> None:
        check_is_person(principal())
        oidc.link(parts(), principal(), oidc.Returned(**given))


@me.route("/sessions")
class Sessions(MethodView):
    """One's live sessions, newest first."""

    @signed_in("account")
    @me.arguments(PageArguments, location="query")
    @me.response(200, page_schema(schemas.SessionSchema))
    def get(self, given: Given) -> Page:
        check_is_person(principal())
        present = session_id()
        found = sessions.list_sessions(parts(), principal(), given["limit"] + 1, _after(given))
        page = page_of(found, given["limit"], lambda one: (one.id,))
        return Page([_shown(one, present) for one in page.items], page.next_cursor)


def _shown(one: Any, present: UUID | None) -> Given:  # Any: a row
    names = ("id", "method", "address", "user_agent", "created_at", "last_used_at", "expires_at")
    return {name: getattr(one, name) for name in names} | {"is_current": one.id == present}


@me.route("/sessions/<uuid:session_id>")
class Session(MethodView):
    @signed_in("account", Action.ADMIN)
    @me.response(204)
    def delete(self, session_id: UUID) -> None:
        check_is_person(principal())
        sessions.end_session(parts(), principal(), session_id)


@me.route("/tokens")
class Tokens(MethodView):
    """Personal API tokens."""

    @signed_in("tokens")
    @me.arguments(PageArguments, location="query")
    @me.response(200, page_schema(schemas.TokenSchema))
    def get(self, given: Given) -> Page:
        found = api_tokens.list_personal(parts(), principal(), given["limit"] + 1, _after(given))
        return page_of(found, given["limit"], lambda one: (one.id,))

    @signed_in("tokens", Action.ADMIN)
    @me.arguments(schemas.CreateTokenSchema)
    @me.response(201, schemas.NewTokenSchema)
    def post(self, given: Given) -> tuple[Made, dict[str, str]]:
        made = api_tokens.create_personal(parts(), principal(), Wanted(**given))
        return made, {"Location": f"/api/v1/me/tokens/{made.id}"}


@me.route("/tokens/<uuid:token_id>")
class Token(MethodView):
    @signed_in("tokens")
    @me.response(200, schemas.TokenSchema)
    def get(self, token_id: UUID) -> Any:  # a row, rendered by the schema
        """One token; its text is never shown again."""
        return api_tokens.get_personal(parts(), principal(), token_id)

    @signed_in("tokens", Action.ADMIN)
    @me.response(204)
    def delete(self, token_id: UUID) -> None:
        api_tokens.revoke_personal(parts(), principal(), token_id)


@me.route("/invitations")
class Invitations(MethodView):
    """Invitations that one may still accept."""

    @signed_in("invitations")
    @me.arguments(PageArguments, location="query")
    @me.response(200, page_schema(schemas.InvitationToSchema))
    def get(self, given: Given) -> Page:
        found = invitations.my_invitations(parts(), principal(), given["limit"] + 1, _after(given))
        return page_of(found, given["limit"], lambda one: (one.id,))


@invitations_of_mine.route("/<uuid:invitation_id>/accept")
class Accept(MethodView):
    """Join the team; the link's `token` stands in for an address that is not verified yet."""

    @signed_in("invitations", Action.WRITE)
    @invitations_of_mine.arguments(schemas.AcceptSchema)
    @invitations_of_mine.response(200, schemas.TeamSchema)
    def post(self, given: Given, invitation_id: UUID) -> TeamOf:
        return invitations.accept(parts(), principal(), invitation_id, given["token"])


@invitations_of_mine.route("/<uuid:invitation_id>/decline")
class Decline(MethodView):
    @signed_in("invitations", Action.WRITE)
    @invitations_of_mine.response(204)
    def post(self, invitation_id: UUID) -> None:
        invitations.decline(parts(), principal(), invitation_id)


__all__ = ["invitations_of_mine", "me"]
