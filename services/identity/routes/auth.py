"""Routes for people who are not signed in yet, and the public keys."""

from __future__ import annotations

from typing import Any

from flask import request
from flask.views import MethodView
from flask_smorest import Blueprint

from kernel.errors import Unauthenticated
from kernel.http import public
from services.identity import schemas
from services.identity.models import User
from services.identity.routes.request import origin, parts
from services.identity.usecases import login, oidc, profile, registration, sessions
from services.identity.usecases.login import Credentials
from services.identity.usecases.registration import Application
from services.identity.usecases.sessions import Grant

auth = Blueprint("auth", __name__, url_prefix="/api/v1/auth", description="Register, sign in, stay signed in")
well_known = Blueprint("well-known", __name__, url_prefix="/api/v1/.well-known")

Given = dict[str, Any]  # what marshmallow has read by the route's schema


@well_known.route("/jwks.json")
class Jwks(MethodView):
    @public("public keys")
    @well_known.response(200, schemas.JwksSchema)
    def get(self) -> Given:
        return parts().signer.jwks()


@auth.route("/options")
class Options(MethodView):
    """What a log-in page offers."""

    @public("asked before anybody is signed in; says what is switched on")
    @auth.response(200, schemas.OptionsSchema)
    def get(self) -> Given:
        settings = parts().settings
        return {
            "registration": settings.registration,
            "sends_mail": settings.sends_mail,
            "oidc": settings.oidc_name if settings.has_oidc else None,
        }


@auth.route("/register")
class Register(MethodView):
    @public("nobody has an account before; limited by address, and by the setting FAIRLEAD_REGISTRATION")
    @auth.arguments(schemas.RegisterSchema)
    @auth.response(201, schemas.UserSchema, headers={"Location": {"schema": {"type": "string"}}})
    def post(self, given: Given) -> tuple[User, dict[str, str]]:
        return registration.register(parts(), Application(**given), origin()), {"Location": "/api/v1/me"}


@auth.route("/login")
class Login(MethodView):
    """Sign in; with a second factor, send its `code` too."""

    @public("this is where people sign in; limited by account and address")
    @auth.arguments(schemas.LoginSchema)
    @auth.response(200, schemas.GrantSchema)
    def post(self, given: Given) -> Grant:
        return login.log_in(parts(), Credentials(**given), origin())


@auth.route("/refresh")
class Refresh(MethodView):
    """A new pair of tokens; the refresh token is used up, and using it again ends the session."""

    @public("the refresh token is what is checked")
    @auth.arguments(schemas.RefreshSchema)
    @auth.response(200, schemas.GrantSchema)
    def post(self, given: Given) -> Grant:
        return sessions.refresh(parts(), given["refresh_token"], origin())


@auth.route("/logout")
class Logout(MethodView):
    """End the session of the access token, or of the refresh token in the body."""

    @public("the token that it ends is what is checked")
    @auth.arguments(schemas.LogoutSchema)
    @auth.response(204)
    def post(self, given: Given) -> None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if given["refresh_token"]:
            session_id = sessions.session_of_refresh_token(parts(), given["refresh_token"])
        elif kind.lower() == "bearer":
            session_id = parts().signer.read_access_token(token.strip()).session_id
        else:
            raise Unauthenticated
        sessions.log_out(parts(), session_id, origin())


@auth.route("/email/verify")
class VerifyEmail(MethodView):
    """Take the link that was mailed."""

    @public("the link's token is what is checked")
    @auth.arguments(schemas.LinkTokenSchema)
    @auth.response(204)
    def post(self, given: Given) -> None:
        profile.verify_email(parts(), given["token"], origin())


@auth.route("/password/forgot")
class ForgotPassword(MethodView):
    """Have a link mailed; the answer is the same whoever asks for whom."""

    @public("for people who cannot sign in; limited by address and recipient")
    @auth.arguments(schemas.EmailSchema)
    @auth.response(202)
    def post(self, given: Given) -> None:
        profile.forget_password(parts(), given["email"], origin())


@auth.route("/password/reset")
class ResetPassword(MethodView):
    """Set a password by the link that was mailed; all sessions end."""

    @public("the link's token is what is checked")
    @auth.arguments(schemas.ResetPasswordSchema)
    @auth.response(204)
    def post(self, given: Given) -> None:
        profile.reset_password(parts(), given["token"], given["password"], origin())


@auth.route("/oidc/start")
class StartOidc(MethodView):
    """Begin at the provider: send the browser to `authorization_url`, keep `flow` where only that browser can read it."""

    @public("for people who are not signed in; limited by address")
    @auth.response(200, schemas.OidcStartSchema)
    def post(self) -> oidc.Started:
        return oidc.start(parts(), origin())


@auth.route("/oidc/finish")
class FinishOidc(MethodView):
    """End a log-in with what the provider's redirect brought, and the `flow` of its beginning."""

    @public("the provider's code is what is checked")
    @auth.arguments(schemas.OidcFinishSchema)
    @auth.response(200, schemas.GrantSchema)
    def post(self, given: Given) -> Grant:
        return oidc.finish(parts(), oidc.Returned(**given), origin())
