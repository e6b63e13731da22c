"""The catalog's first tables."""

from __future__ import annotations

from alembic import op

from kernel.migrate import kernel_tables, team_table

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TIMES = "created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(), revision int NOT NULL DEFAULT 1"


def upgrade() -> None:
    kernel_tables(op)
    _registries_and_bundles()
    _projects_and_versions()
    _images()
    _deployments()
    for table in ("registries", "projects", "versions", "images", "config_bundles", "version_pins", "version_deployments"):
        team_table(op, table)


def _registries_and_bundles() -> None:
    op.execute(f"""
        CREATE TABLE registries (
          id uuid CONSTRAINT pk_registries PRIMARY KEY, team_id uuid NOT NULL, name text NOT NULL, type text NOT NULL,
          description text NOT NULL DEFAULT '', url text, api_url text, token_host text, namespace text, username text,
          password_sealed text,
          verify_tls boolean NOT NULL DEFAULT true, ca_certificate text, {_TIMES},
          CONSTRAINT uq_registries_name UNIQUE (team_id, name), CONSTRAINT uq_registries_team UNIQUE (team_id, id),
          CONSTRAINT ck_registries_credentials CHECK ((username IS NULL) = (password_sealed IS NULL)))""")
    op.execute(f"""
        CREATE TABLE config_bundles (
          id uuid CONSTRAINT pk_config_bundles PRIMARY KEY, team_id uuid NOT NULL, name text NOT NULL,
          description text NOT NULL DEFAULT '', config jsonb NOT NULL DEFAULT '{{}}', {_TIMES},
          CONSTRAINT uq_config_bundles_name UNIQUE (team_id, name))""")


def _projects_and_versions() -> None:
    op.execute(f"""
        CREATE TABLE projects (
          id uuid CONSTRAINT pk_projects PRIMARY KEY, team_id uuid NOT NULL, name text NOT NULL, type text NOT NULL,
          description text NOT NULL DEFAULT '', last_seq int NOT NULL DEFAULT 0, {_TIMES},
          CONSTRAINT uq_projects_name UNIQUE (team_id, name), CONSTRAINT uq_projects_team UNIQUE (team_id, id),
          CONSTRAINT ck_projects_type CHECK (type IN ('versioned', 'versionless')))""")
    op.execute(f"""
        CREATE TABLE versions (
          id uuid CONSTRAINT pk_versions PRIMARY KEY, team_id uuid NOT NULL, project_id uuid NOT NULL, name text NOT NULL,
          type text NOT NULL, seq int NOT NULL, changelog text NOT NULL DEFAULT '', is_default boolean NOT NULL DEFAULT false,
          auto_copy_deployments boolean NOT NULL DEFAULT false, parent_id uuid, chain_id uuid,
          created_by text NOT NULL DEFAULT '', created_by_name text NOT NULL DEFAULT '', {_TIMES},
          CONSTRAINT uq_versions_name UNIQUE (project_id, name), CONSTRAINT uq_versions_seq UNIQUE (project_id, seq),
          CONSTRAINT uq_versions_team UNIQUE (team_id, id), CONSTRAINT uq_versions_parent UNIQUE (parent_id),
          CONSTRAINT fk_versions_project FOREIGN KEY (team_id, project_id) REFERENCES projects (team_id, id) ON DELETE CASCADE,
          CONSTRAINT fk_versions_parent FOREIGN KEY (team_id, parent_id) REFERENCES versions (team_id, id),
          CONSTRAINT ck_versions_type CHECK (type IN ('rolling', 'incremental')))""")
    op.execute("CREATE UNIQUE INDEX uq_versions_default ON versions (project_id) WHERE is_default")


def _images() -> None:
    op.execute(f"""
        CREATE TABLE images (
          id uuid CONSTRAINT pk_images PRIMARY KEY, team_id uuid NOT NULL, version_id uuid NOT NULL, registry_id uuid NOT NULL,
          repository text NOT NULL, tag text, digest text, position int NOT NULL,
          config jsonb NOT NULL DEFAULT '{{}}', labels jsonb NOT NULL DEFAULT '{{}}', {_TIMES},
          CONSTRAINT uq_images_position UNIQUE (version_id, position) DEFERRABLE INITIALLY DEFERRED,
          CONSTRAINT fk_images_version FOREIGN KEY (team_id, version_id) REFERENCES versions (team_id, id) ON DELETE CASCADE,
          CONSTRAINT fk_images_registry FOREIGN KEY (team_id, registry_id) REFERENCES registries (team_id, id))""")
    op.execute("CREATE INDEX ix_images_registry ON images (registry_id)")


def _deployments() -> None:
    op.execute("""
        CREATE TABLE version_pins (
          version_id uuid NOT NULL, deployment_id uuid NOT NULL, team_id uuid NOT NULL, node_id uuid NOT NULL,
          taken_at timestamptz NOT NULL, expires_at timestamptz NOT NULL,
          CONSTRAINT pk_version_pins PRIMARY KEY (version_id, deployment_id),
          CONSTRAINT fk_version_pins_version FOREIGN KEY (team_id, version_id) REFERENCES versions (team_id, id) ON DELETE CASCADE)""")
    op.execute("CREATE INDEX ix_version_pins_expires_at ON version_pins (expires_at)")
    op.execute("""
        CREATE TABLE version_deployments (
          deployment_id uuid CONSTRAINT pk_version_deployments PRIMARY KEY, team_id uuid NOT NULL, version_id uuid NOT NULL,
          project_id uuid NOT NULL, status text NOT NULL, revision bigint NOT NULL, config_bundle_ids uuid[] NOT NULL DEFAULT '{}',
          updated_at timestamptz NOT NULL DEFAULT now())""")
    op.execute("CREATE INDEX ix_version_deployments_version_id ON version_deployments (version_id)")
