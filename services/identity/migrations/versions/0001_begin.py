"""Begin: people, sessions, tokens, keys, teams.

Tables about people belong to no team, so no policy could name theirs: users, sessions, refresh and personal tokens,
throttles, mails and signing keys are reached by identity's own use cases through `db.system()`. What belongs to a team
(the team itself, memberships, invitations, its tokens) has row-level security.
"""

from __future__ import annotations

from alembic import op

from kernel.migrate import TEAM_POLICY, grant, kernel_tables, team_table

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_PEOPLE = """
CREATE TABLE users (
  id uuid NOT NULL, email text NOT NULL, name text NOT NULL, password_hash text, email_verified_at timestamptz,
  totp_sealed text, totp_enabled_at timestamptz, totp_step bigint, last_login_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(), revision integer NOT NULL DEFAULT 1,
  CONSTRAINT pk_users PRIMARY KEY (id), CONSTRAINT uq_users_email UNIQUE (email));
CREATE TABLE recovery_codes (
  user_id uuid NOT NULL, code_hash bytea NOT NULL,
  CONSTRAINT pk_recovery_codes PRIMARY KEY (user_id, code_hash),
  CONSTRAINT fk_recovery_codes_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE);
CREATE TABLE external_identities (
  issuer text NOT NULL, subject text NOT NULL, user_id uuid NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_external_identities PRIMARY KEY (issuer, subject),
  CONSTRAINT fk_external_identities_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE);
CREATE INDEX ix_external_identities_user_id ON external_identities (user_id);
CREATE TABLE oidc_flows (
  state_hash bytea NOT NULL, flow_hash bytea NOT NULL, sealed text NOT NULL, expires_at timestamptz NOT NULL,
  CONSTRAINT pk_oidc_flows PRIMARY KEY (state_hash));
CREATE INDEX ix_oidc_flows_expires_at ON oidc_flows (expires_at);
CREATE TABLE known_places (
  user_id uuid NOT NULL, place text NOT NULL, seen_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_known_places PRIMARY KEY (user_id, place),
  CONSTRAINT fk_known_places_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE);
"""

_SESSIONS = """
CREATE TABLE sessions (
  id uuid NOT NULL, user_id uuid NOT NULL, method text NOT NULL, address text, user_agent text,
  created_at timestamptz NOT NULL DEFAULT now(), last_used_at timestamptz NOT NULL DEFAULT now(), expires_at timestamptz NOT NULL,
  ended_at timestamptz, ended_why text,
  CONSTRAINT pk_sessions PRIMARY KEY (id),
  CONSTRAINT fk_sessions_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE);
CREATE INDEX ix_sessions_user_id_live ON sessions (user_id) WHERE ended_at IS NULL;
CREATE INDEX ix_sessions_expires_at ON sessions (expires_at);
CREATE TABLE refresh_tokens (
  token_hash bytea NOT NULL, session_id uuid NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL, used_at timestamptz,
  CONSTRAINT pk_refresh_tokens PRIMARY KEY (token_hash),
  CONSTRAINT fk_refresh_tokens_session_id FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE);
CREATE INDEX ix_refresh_tokens_session_id ON refresh_tokens (session_id);
CREATE TABLE personal_tokens (
  id uuid NOT NULL, user_id uuid NOT NULL, name text NOT NULL, secret_hash bytea NOT NULL, scopes text[] NOT NULL,
  expires_at timestamptz, last_used_at timestamptz, last_address text, created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_personal_tokens PRIMARY KEY (id),
  CONSTRAINT fk_personal_tokens_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE);
CREATE INDEX ix_personal_tokens_user_id ON personal_tokens (user_id);
CREATE TABLE throttles (
  key text NOT NULL, full_at timestamptz NOT NULL, CONSTRAINT pk_throttles PRIMARY KEY (key));
CREATE INDEX ix_throttles_full_at ON throttles (full_at);
CREATE TABLE email_tokens (
  token_hash bytea NOT NULL, user_id uuid NOT NULL, purpose text NOT NULL, email text NOT NULL, expires_at timestamptz NOT NULL,
  CONSTRAINT pk_email_tokens PRIMARY KEY (token_hash),
  CONSTRAINT fk_email_tokens_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE);
CREATE INDEX ix_email_tokens_user_id ON email_tokens (user_id);
CREATE INDEX ix_email_tokens_expires_at ON email_tokens (expires_at);
CREATE TABLE mails (
  id uuid NOT NULL, kind text NOT NULL, recipient text NOT NULL, invitation_id uuid, user_id uuid,
  created_at timestamptz NOT NULL DEFAULT now(), not_before timestamptz NOT NULL DEFAULT now(), attempts integer NOT NULL DEFAULT 0,
  CONSTRAINT pk_mails PRIMARY KEY (id));
CREATE INDEX ix_mails_not_before ON mails (not_before);
CREATE TABLE signing_keys (
  id text NOT NULL, public text NOT NULL, private_sealed text NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
  signs_from timestamptz NOT NULL, ends_at timestamptz, CONSTRAINT pk_signing_keys PRIMARY KEY (id));
"""

_TEAMS = """
CREATE TABLE teams (
  id uuid NOT NULL, name text NOT NULL, slug text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(), revision integer NOT NULL DEFAULT 1,
  CONSTRAINT pk_teams PRIMARY KEY (id), CONSTRAINT uq_teams_slug UNIQUE (slug));
CREATE TABLE memberships (
  team_id uuid NOT NULL, user_id uuid NOT NULL, role text NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
  revision integer NOT NULL DEFAULT 1,
  CONSTRAINT pk_memberships PRIMARY KEY (team_id, user_id),
  CONSTRAINT fk_memberships_team_id FOREIGN KEY (team_id) REFERENCES teams (id) ON DELETE CASCADE,
  CONSTRAINT fk_memberships_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
  CONSTRAINT ck_memberships_role CHECK (role IN ('viewer', 'member', 'admin', 'owner')));
CREATE INDEX ix_memberships_user_id ON memberships (user_id);
CREATE TABLE invitations (
  id uuid NOT NULL, team_id uuid NOT NULL, email text NOT NULL, role text NOT NULL, state text NOT NULL DEFAULT 'pending',
  token_hash bytea, invited_by text NOT NULL, invited_by_name text NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
  sent_at timestamptz, expires_at timestamptz NOT NULL, closed_at timestamptz, accepted_by uuid,
  CONSTRAINT pk_invitations PRIMARY KEY (id), CONSTRAINT uq_invitations_token_hash UNIQUE (token_hash),
  CONSTRAINT fk_invitations_team_id FOREIGN KEY (team_id) REFERENCES teams (id) ON DELETE CASCADE,
  CONSTRAINT ck_invitations_role CHECK (role IN ('viewer', 'member', 'admin', 'owner')),
  CONSTRAINT ck_invitations_state CHECK (state IN ('pending', 'accepted', 'declined', 'revoked')));
CREATE UNIQUE INDEX uq_invitations_pending ON invitations (team_id, email) WHERE state = 'pending';
CREATE INDEX ix_invitations_email ON invitations (email) WHERE state = 'pending';
CREATE TABLE team_tokens (
  id uuid NOT NULL, team_id uuid NOT NULL, name text NOT NULL, role text NOT NULL, secret_hash bytea NOT NULL,
  scopes text[] NOT NULL, created_by text NOT NULL, expires_at timestamptz, last_used_at timestamptz, last_address text,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_team_tokens PRIMARY KEY (id),
  CONSTRAINT fk_team_tokens_team_id FOREIGN KEY (team_id) REFERENCES teams (id) ON DELETE CASCADE,
  CONSTRAINT ck_team_tokens_role CHECK (role IN ('viewer', 'member', 'admin')));
CREATE INDEX ix_team_tokens_team_id ON team_tokens (team_id);
"""

_OF_PEOPLE = (
    "users", "recovery_codes", "external_identities", "oidc_flows", "known_places", "sessions", "refresh_tokens",
    "personal_tokens", "throttles", "email_tokens", "mails", "signing_keys",
)  # fmt: skip


def upgrade() -> None:
    kernel_tables(op)
    op.execute(_PEOPLE)
    op.execute(_SESSIONS)
    op.execute(_TEAMS)
    for table in _OF_PEOPLE:
        grant(op, table)
    for table in ("memberships", "invitations", "team_tokens"):
        team_table(op, table)
    _protect_teams()


def _protect_teams() -> None:
    """A team's own row is its team's: the same policy, on its id."""
    policy = TEAM_POLICY.replace("team_id =", "id =", 1)
    grant(op, "teams")
    op.execute("ALTER TABLE teams ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE teams FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY team ON teams USING ({policy}) WITH CHECK ({policy})")
