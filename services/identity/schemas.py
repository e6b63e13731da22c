"""What comes in and goes out over HTTP."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, post_load, validate

from kernel.permissions import Role, is_scope
from services.identity.domain import people, teams, tokens

_ROLES = [str(role) for role in Role]
_TOKEN_ROLES = [str(role) for role in Role if role is not Role.OWNER]


class Incoming(Schema):
    """Unknown fields are an error."""

    class Meta:
        unknown = RAISE


class Moment(fields.AwareDateTime):
    """RFC 3339 in UTC, both ways."""

    def __init__(self, **more: Any) -> None:
        super().__init__(format="iso", default_timezone=UTC, **more)


def _email(**more: Any) -> fields.String:
    def check(text: str) -> None:
        if not people.is_email(people.normal_email(text)):
            raise ValidationError("Not an e-mail address.")

    return fields.String(
        validate=[validate.Length(max=people.LONGEST_EMAIL), check], metadata={"format": "email", "maxLength": 254}, **more
    )


def _name(**more: Any) -> fields.String:
    def check(text: str) -> None:
        if not people.is_name(text):
            raise ValidationError("Must be one line with something to see, of 100 characters at most.")

    return fields.String(validate=check, metadata={"minLength": 1, "maxLength": 100}, **more)


def _text(longest: int, **more: Any) -> fields.String:
    return fields.String(validate=validate.Length(1, longest), **more)


def _slug(**more: Any) -> fields.String:
    message = "Small letters, digits and hyphens, at most 63."
    return fields.String(validate=validate.Regexp(teams.SLUG, error=message), metadata={"maxLength": 63}, **more)


def _new_password(**more: Any) -> fields.String:
    limits = {"minLength": people.SHORTEST_PASSWORD, "maxLength": people.LONGEST_PASSWORD, "format": "password"}

    def check(text: str) -> None:
        fault = people.password_fault(text)
        if fault:
            raise ValidationError(fault)

    return fields.String(validate=check, metadata=limits, **more)


class RegisterSchema(Incoming):
    email = _email(required=True)
    password = _new_password(required=True)
    name = _name(required=True)
    invitation_token = _text(200, load_default=None, allow_none=True)
    setup_token = _text(200, load_default=None, allow_none=True)


class LoginSchema(Incoming):
    email = _text(people.LONGEST_EMAIL, required=True)
    password = _text(people.LONGEST_PASSWORD, required=True)
    code = _text(64, load_default=None, allow_none=True)


class RefreshSchema(Incoming):
    refresh_token = _text(200, required=True)


class LogoutSchema(Incoming):
    refresh_token = _text(200, load_default=None, allow_none=True)


class GrantSchema(Schema):
    access_token = fields.String(required=True)
    token_type = fields.String(required=True, validate=validate.Equal("Bearer"))
    expires_in = fields.Integer(required=True)
    refresh_token = fields.String(required=True)


class EmailSchema(Incoming):
    email = _email(required=True)


class ChangeEmailSchema(Incoming):
    email = _email(required=True)
    password = _text(people.LONGEST_PASSWORD, required=True)


class LinkTokenSchema(Incoming):
    token = _text(200, required=True)


class ResetPasswordSchema(Incoming):
    token = _text(200, required=True)
    password = _new_password(required=True)


class ChangePasswordSchema(Incoming):
    current_password = _text(people.LONGEST_PASSWORD, required=True)
    new_password = _new_password(required=True)


class PasswordSchema(Incoming):
    password = _text(people.LONGEST_PASSWORD, required=True)


class CodeSchema(Incoming):
    code = _text(64, required=True)


class PasswordAndCodeSchema(Incoming):
    password = _text(people.LONGEST_PASSWORD, required=True)
    code = _text(64, required=True)


class SecondFactorSchema(Schema):
    secret = fields.String(required=True)
    uri = fields.String(required=True)


class RecoveryCodesSchema(Schema):
    recovery_codes = fields.List(fields.String(), required=True)


class UserSchema(Schema):
    id = fields.UUID(required=True)
    email = fields.String(required=True)
    name = fields.String(required=True)
    email_verified = fields.Function(lambda user: user.email_verified_at is not None, metadata={"type": "boolean"})
    created_at = Moment(required=True)


class TeamSchema(Schema):
    id = fields.UUID(required=True)
    name = fields.String(required=True)
    slug = fields.String(required=True)
    role = fields.String(required=True, allow_none=True, validate=validate.OneOf([*_ROLES, None]))
    created_at = Moment(required=True)
    updated_at = Moment(required=True)


class InvitationToSchema(Schema):
    id = fields.UUID(required=True)
    team_id = fields.UUID(required=True)
    team_name = fields.String(required=True)
    role = fields.String(required=True)
    invited_by = fields.String(required=True)
    created_at = Moment(required=True)
    expires_at = Moment(required=True)


class MeSchema(Schema):
    id = fields.UUID(required=True)
    email = fields.String(required=True)
    name = fields.String(required=True)
    email_verified = fields.Boolean(required=True)
    has_password = fields.Boolean(required=True)
    second_factor = fields.Boolean(required=True)
    recovery_codes_left = fields.Integer(required=True)
    providers = fields.List(fields.String(), required=True)
    created_at = Moment(required=True)
    updated_at = Moment(required=True)
    last_login_at = Moment(required=True, allow_none=True)
    teams = fields.List(fields.Nested(TeamSchema), required=True)
    invitations = fields.List(fields.Nested(InvitationToSchema), required=True)


class ChangeMeSchema(Incoming):
    name = _name()


class SessionSchema(Schema):
    id = fields.UUID(required=True)
    method = fields.String(required=True)
    address = fields.String(required=True, allow_none=True)
    user_agent = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)
    last_used_at = Moment(required=True)
    expires_at = Moment(required=True)
    is_current = fields.Boolean(required=True)


class CreateTeamSchema(Incoming):
    name = _name(required=True)
    slug = _slug(load_default=None, allow_none=True)


class ChangeTeamSchema(Incoming):
    name = _name()
    slug = _slug()


class ConfirmQuerySchema(Incoming):
    confirm = fields.String(load_default=None, validate=validate.Length(max=200))


class MemberSchema(Schema):
    user_id = fields.UUID(required=True)
    name = fields.String(required=True)
    email = fields.String(required=True)
    role = fields.String(required=True, validate=validate.OneOf(_ROLES))
    has_second_factor = fields.Boolean(required=True)
    joined_at = Moment(required=True)


class RoleSchema(Incoming):
    role = fields.Enum(Role, by_value=True, required=True)


class InviteSchema(Incoming):
    email = _email(required=True)
    role = fields.Enum(Role, by_value=True, load_default=Role.MEMBER)


class AcceptSchema(Incoming):
    token = _text(200, load_default=None, allow_none=True)


class InvitationSchema(Schema):
    id = fields.UUID(required=True)
    email = fields.String(required=True)
    role = fields.String(required=True, validate=validate.OneOf(_ROLES))
    state = fields.String(required=True, validate=validate.OneOf([str(state) for state in teams.InvitationState]))
    invited_by = fields.String(required=True)
    created_at = Moment(required=True)
    sent_at = Moment(required=True, allow_none=True)
    expires_at = Moment(required=True)


class NewInvitationSchema(InvitationSchema):
    """`token` and `link` are there when no mail server is set: the inviter hands them over."""

    token = fields.String(required=True, allow_none=True)
    link = fields.String(required=True, allow_none=True)


def _check_scope(scope: str) -> None:
    if not is_scope(scope) or scope.startswith(":"):
        raise ValidationError("Must be read, deploy, write or admin, alone or behind a resource type: deployments:deploy.")


class CreateTokenSchema(Incoming):
    name = _name(required=True)
    scopes = fields.List(
        fields.String(validate=_check_scope),
        required=True,
        validate=validate.Length(1, tokens.MOST_SCOPES),
    )
    expires_at = Moment(load_default=None, allow_none=True)

    @post_load
    def _once_each(self, data: dict[str, Any], **_: object) -> dict[str, Any]:
        data["scopes"] = list(dict.fromkeys(data["scopes"]))
        return data


class CreateTeamTokenSchema(CreateTokenSchema):
    role = fields.Enum(Role, by_value=True, load_default=Role.MEMBER, metadata={"enum": _TOKEN_ROLES})


class TokenSchema(Schema):
    id = fields.UUID(required=True)
    name = fields.String(required=True)
    scopes = fields.List(fields.String(), required=True)
    created_at = Moment(required=True)
    expires_at = Moment(required=True, allow_none=True)
    last_used_at = Moment(required=True, allow_none=True)
    last_address = fields.String(required=True, allow_none=True)


class NewTokenSchema(TokenSchema):
    token = fields.String(required=True)


class TeamTokenSchema(TokenSchema):
    role = fields.String(required=True, validate=validate.OneOf(_TOKEN_ROLES))


class NewTeamTokenSchema(TeamTokenSchema):
    token = fields.String(required=True)


class ExchangeSchema(Incoming):
    token = fields.String(required=True, validate=validate.Length(max=8192))
    team_id = fields.UUID(load_default=None, allow_none=True)
    address = fields.String(load_default=None, allow_none=True, validate=validate.Length(max=64))


class InternalTokenSchema(Schema):
    token = fields.String(required=True)
    expires_in = fields.Integer(required=True)


class JwksSchema(Schema):
    keys = fields.List(fields.Dict(), required=True)


class OptionsSchema(Schema):
    """What a log-in page offers."""

    registration = fields.String(required=True)
    sends_mail = fields.Boolean(required=True)
    oidc = fields.String(required=True, allow_none=True, metadata={"description": "the provider's name"})


class OidcStartSchema(Schema):
    authorization_url = fields.String(required=True)
    flow = fields.String(required=True)


class OidcFinishSchema(Incoming):
    state = _text(200, required=True)
    code = _text(4096, required=True)
    flow = _text(200, required=True)
