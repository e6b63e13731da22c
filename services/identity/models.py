"""Tables of identity.

Tables about people (users, sessions, tokens of people, keys, throttles) belong to no team: they are reached through
`db.system()` by identity's own use cases only. Tables of teams have row-level security.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from kernel.db import new_base

if TYPE_CHECKING:
    # mypy takes no base class that a function returns.
    from sqlalchemy.orm import DeclarativeBase as Base
else:
    Base = new_base()

_NOW = func.now()


class User(Base):
    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    password_hash: Mapped[str | None] = mapped_column(Text)
    email_verified_at: Mapped[datetime | None]
    # Encrypted; a secret without `totp_enabled_at` waits for its first code.
    totp_sealed: Mapped[str | None] = mapped_column(Text)
    totp_enabled_at: Mapped[datetime | None]
    # The last 30-second step that was used: a code works once.
    totp_step: Mapped[int | None] = mapped_column(BigInteger)
    last_login_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    revision: Mapped[int] = mapped_column(server_default=text("1"))


class RecoveryCode(Base):
    __tablename__ = "recovery_codes"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)


class ExternalIdentity(Base):
    """A person as an OpenID Connect issuer knows them: bound by issuer and subject, never by e-mail."""

    __tablename__ = "external_identities"

    issuer: Mapped[str] = mapped_column(Text, primary_key=True)
    subject: Mapped[str] = mapped_column(Text, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class OidcFlow(Base):
    """A log-in through a provider that has begun: bound to whoever began it, and good once."""

    __tablename__ = "oidc_flows"

    state_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    flow_hash: Mapped[bytes] = mapped_column(LargeBinary)
    sealed: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class UserSession(Base):
    """A log-in on one device; its refresh tokens are one family."""

    __tablename__ = "sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    method: Mapped[str] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(Text)
    user_agent: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    last_used_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_why: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        Index("ix_sessions_user_id_live", "user_id", postgresql_where=text("ended_at IS NULL")),
        Index("ix_sessions_expires_at", "expires_at"),
    )


class RefreshToken(Base):
    __tablename__ = "refresh_tokens"

    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class KnownPlace(Base):
    """Where a person has signed in before: strangers elsewhere cannot use up what is allowed there."""

    __tablename__ = "known_places"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    place: Mapped[str] = mapped_column(Text, primary_key=True)
    seen_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class Throttle(Base):
    """What was drawn on a limit: `full_at` is when all of it is back."""

    __tablename__ = "throttles"

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    full_at: Mapped[datetime] = mapped_column(index=True)


class EmailToken(Base):
    """A link that was mailed: proves the mailbox, once."""

    __tablename__ = "email_tokens"

    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    purpose: Mapped[str] = mapped_column(Text)
    email: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Mail(Base):
    """A mail that the worker shall send. It holds no secret: the link's token is made when the mail is."""

    __tablename__ = "mails"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    recipient: Mapped[str] = mapped_column(Text)
    invitation_id: Mapped[UUID | None]
    user_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    not_before: Mapped[datetime] = mapped_column(server_default=_NOW, index=True)
    attempts: Mapped[int] = mapped_column(server_default=text("0"))


class PersonalToken(Base):
    __tablename__ = "personal_tokens"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(Text)
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    last_address: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class SigningKey(Base):
    """A key that signs access and internal tokens; its private half is encrypted with the key ring."""

    __tablename__ = "signing_keys"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    public: Mapped[str] = mapped_column(Text)
    private_sealed: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    signs_from: Mapped[datetime]
    # From here on nothing that it signed counts any more.
    ends_at: Mapped[datetime | None]


class Team(Base):
    __tablename__ = "teams"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    slug: Mapped[str] = mapped_column(Text, unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    revision: Mapped[int] = mapped_column(server_default=text("1"))


_ROLES = "role IN ('viewer', 'member', 'admin', 'owner')"


class Membership(Base):
    __tablename__ = "memberships"

    team_id: Mapped[UUID] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True)
    role: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    revision: Mapped[int] = mapped_column(server_default=text("1"))

    __table_args__ = (CheckConstraint(_ROLES, name="role"),)


class Invitation(Base):
    __tablename__ = "invitations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    team_id: Mapped[UUID] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"))
    email: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, server_default=text("'pending'"))
    # None until its mail is made; each mail has a link of its own and voids the one before.
    token_hash: Mapped[bytes | None] = mapped_column(LargeBinary, unique=True)
    invited_by: Mapped[str] = mapped_column(Text)
    invited_by_name: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    sent_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    accepted_by: Mapped[UUID | None]

    __table_args__ = (
        CheckConstraint(_ROLES, name="role"),
        CheckConstraint("state IN ('pending', 'accepted', 'declined', 'revoked')", name="state"),
        Index("uq_invitations_pending", "team_id", "email", unique=True, postgresql_where=text("state = 'pending'")),
        Index("ix_invitations_email", "email", postgresql_where=text("state = 'pending'")),
    )


class TeamToken(Base):
    __tablename__ = "team_tokens"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    team_id: Mapped[UUID] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_by: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    last_address: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)

    __table_args__ = (CheckConstraint("role IN ('viewer', 'member', 'admin')", name="role"),)


__all__ = [
    "Base", "EmailToken", "ExternalIdentity", "Invitation", "KnownPlace", "Mail", "Membership", "OidcFlow", "PersonalToken",
    "RecoveryCode", "RefreshToken", "SigningKey", "Team", "TeamToken", "Throttle", "User", "UserSession",
]  # fmt: skip
