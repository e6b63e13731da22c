"""All tables of the deployer."""

# ruff: noqa: E501 - the statements as PostgreSQL gets them

from __future__ import annotations

from alembic import op

from kernel.migrate import kernel_tables, team_table

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "nodes",
    "deployments",
    "enrollments",
    "node_events",
    "places",
    "attempts",
    "deployment_events",
    "instances",
    "secrets",
)

SQL = """
CREATE TABLE nodes (
  id UUID NOT NULL,
  team_id UUID NOT NULL,
  name TEXT NOT NULL,
  description TEXT DEFAULT '' NOT NULL,
  icon TEXT,
  created_at TIMESTAMP WITH TIME ZONE NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
  revision INTEGER DEFAULT 1 NOT NULL,
  event_count INTEGER DEFAULT 0 NOT NULL,
  enrolled_at TIMESTAMP WITH TIME ZONE,
  revoked_at TIMESTAMP WITH TIME ZONE,
  verify_key TEXT,
  seal_key TEXT,
  epoch INTEGER DEFAULT 0 NOT NULL,
  boot_id UUID,
  agent_version TEXT,
  facts JSONB DEFAULT '{}'::jsonb NOT NULL,
  credential_number INTEGER DEFAULT 0 NOT NULL,
  credential_hash TEXT,
  last_seen_at TIMESTAMP WITH TIME ZONE,
  last_sequence BIGINT DEFAULT 0 NOT NULL,
  observed_sequence BIGINT DEFAULT 0 NOT NULL,
  observed_at TIMESTAMP WITH TIME ZONE,
  containers JSONB,
  engine TEXT,
  CONSTRAINT pk_nodes PRIMARY KEY (id),
  CONSTRAINT uq_nodes_team_id_id UNIQUE (team_id, id),
  CONSTRAINT uq_nodes_team_id_name UNIQUE (team_id, name)
);
CREATE TABLE deployments (
  id UUID NOT NULL,
  team_id UUID NOT NULL,
  node_id UUID NOT NULL,
  prefix TEXT NOT NULL,
  version_id UUID NOT NULL,
  project_id UUID NOT NULL,
  project_name TEXT NOT NULL,
  version_name TEXT NOT NULL,
  version_type TEXT NOT NULL,
  version_seq INTEGER NOT NULL,
  note TEXT DEFAULT '' NOT NULL,
  protected BOOLEAN DEFAULT false NOT NULL,
  status TEXT NOT NULL,
  config JSONB DEFAULT '{}'::jsonb NOT NULL,
  config_bundle_ids UUID[] DEFAULT '{}' NOT NULL,
  revision INTEGER DEFAULT 1 NOT NULL,
  event_count INTEGER DEFAULT 0 NOT NULL,
  attempt_count INTEGER DEFAULT 0 NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
  created_by TEXT NOT NULL,
  last_attempt_id UUID,
  successful_attempt_id UUID,
  CONSTRAINT pk_deployments PRIMARY KEY (id),
  CONSTRAINT fk_deployments_team_id_node_id FOREIGN KEY(team_id, node_id) REFERENCES nodes (team_id, id) ON DELETE RESTRICT,
  CONSTRAINT uq_deployments_team_id_id UNIQUE (team_id, id),
  CONSTRAINT ck_deployments_status CHECK (status IN ('preparing', 'in-progress', 'successful', 'failed', 'obsolete', 'downgraded')),
  CONSTRAINT ck_deployments_version_type CHECK (version_type IN ('rolling', 'incremental')),
  CONSTRAINT ck_deployments_prefix CHECK (prefix ~ '^[a-z0-9]{1,32}$')
);
CREATE INDEX ix_deployments_node_id_prefix ON deployments (node_id, prefix);
CREATE INDEX ix_deployments_version_id ON deployments (version_id);
CREATE UNIQUE INDEX uq_deployments_preparing ON deployments (version_id, node_id, prefix) WHERE version_type = 'incremental' AND status = 'preparing';
CREATE UNIQUE INDEX uq_deployments_rolling ON deployments (version_id, node_id) WHERE version_type = 'rolling';
CREATE TABLE enrollments (
  id UUID NOT NULL,
  team_id UUID NOT NULL,
  node_id UUID NOT NULL,
  token_hash TEXT NOT NULL,
  expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
  used_at TIMESTAMP WITH TIME ZONE,
  used_by_key TEXT,
  created_at TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pk_enrollments PRIMARY KEY (id),
  CONSTRAINT fk_enrollments_team_id_node_id FOREIGN KEY(team_id, node_id) REFERENCES nodes (team_id, id) ON DELETE CASCADE,
  CONSTRAINT uq_enrollments_token_hash UNIQUE (token_hash)
);
CREATE INDEX ix_enrollments_team_id_node_id ON enrollments (team_id, node_id);
CREATE TABLE node_events (
  node_id UUID NOT NULL,
  number INTEGER NOT NULL,
  team_id UUID NOT NULL,
  at TIMESTAMP WITH TIME ZONE NOT NULL,
  kind TEXT NOT NULL,
  data JSONB DEFAULT '{}'::jsonb NOT NULL,
  CONSTRAINT pk_node_events PRIMARY KEY (node_id, number),
  CONSTRAINT fk_node_events_team_id_node_id FOREIGN KEY(team_id, node_id) REFERENCES nodes (team_id, id) ON DELETE CASCADE
);
CREATE TABLE places (
  node_id UUID NOT NULL,
  prefix TEXT NOT NULL,
  team_id UUID NOT NULL,
  generation BIGINT DEFAULT 0 NOT NULL,
  CONSTRAINT pk_places PRIMARY KEY (node_id, prefix),
  CONSTRAINT fk_places_team_id_node_id FOREIGN KEY(team_id, node_id) REFERENCES nodes (team_id, id) ON DELETE CASCADE
);
CREATE TABLE attempts (
  id UUID NOT NULL,
  team_id UUID NOT NULL,
  deployment_id UUID NOT NULL,
  number INTEGER NOT NULL,
  node_id UUID NOT NULL,
  prefix TEXT NOT NULL,
  generation BIGINT NOT NULL,
  outcome TEXT,
  code TEXT,
  detail TEXT,
  restored BOOLEAN,
  spec JSONB NOT NULL,
  credentials JSONB DEFAULT '{}'::jsonb NOT NULL,
  seal_key TEXT,
  options JSONB DEFAULT '{}'::jsonb NOT NULL,
  started_by TEXT NOT NULL,
  started_by_name TEXT DEFAULT '' NOT NULL,
  started_at TIMESTAMP WITH TIME ZONE NOT NULL,
  deadline_at TIMESTAMP WITH TIME ZONE NOT NULL,
  sent_at TIMESTAMP WITH TIME ZONE,
  finished_at TIMESTAMP WITH TIME ZONE,
  cancel_requested_at TIMESTAMP WITH TIME ZONE,
  containers JSONB DEFAULT '[]'::jsonb NOT NULL,
  seconds JSONB DEFAULT '{}'::jsonb NOT NULL,
  CONSTRAINT pk_attempts PRIMARY KEY (id),
  CONSTRAINT fk_attempts_team_id_deployment_id FOREIGN KEY(team_id, deployment_id) REFERENCES deployments (team_id, id) ON DELETE CASCADE,
  CONSTRAINT uq_attempts_deployment_id_number UNIQUE (deployment_id, number),
  CONSTRAINT ck_attempts_outcome CHECK (outcome IN ('succeeded', 'failed', 'cancelled', 'refused', 'timed-out'))
);
CREATE INDEX ix_attempts_node_id_prefix ON attempts (node_id, prefix, generation);
CREATE INDEX ix_attempts_deadline_at ON attempts (deadline_at) WHERE outcome IS NULL;
CREATE UNIQUE INDEX uq_attempts_live ON attempts (node_id, prefix) WHERE outcome IS NULL;
CREATE TABLE deployment_events (
  deployment_id UUID NOT NULL,
  number INTEGER NOT NULL,
  team_id UUID NOT NULL,
  attempt INTEGER,
  at TIMESTAMP WITH TIME ZONE NOT NULL,
  kind TEXT NOT NULL,
  container TEXT,
  message TEXT DEFAULT '' NOT NULL,
  data JSONB DEFAULT '{}'::jsonb NOT NULL,
  CONSTRAINT pk_deployment_events PRIMARY KEY (deployment_id, number),
  CONSTRAINT fk_deployment_events_team_id_deployment_id FOREIGN KEY(team_id, deployment_id) REFERENCES deployments (team_id, id) ON DELETE CASCADE,
  CONSTRAINT ck_deployment_events_kind CHECK (kind IN ('status', 'step', 'log'))
);
CREATE TABLE instances (
  id UUID NOT NULL,
  team_id UUID NOT NULL,
  deployment_id UUID NOT NULL,
  image_id UUID NOT NULL,
  image_name TEXT NOT NULL,
  position INTEGER NOT NULL,
  config JSONB DEFAULT '{}'::jsonb NOT NULL,
  revision INTEGER DEFAULT 1 NOT NULL,
  CONSTRAINT pk_instances PRIMARY KEY (id),
  CONSTRAINT fk_instances_team_id_deployment_id FOREIGN KEY(team_id, deployment_id) REFERENCES deployments (team_id, id) ON DELETE CASCADE,
  CONSTRAINT uq_instances_deployment_id_image_id UNIQUE (deployment_id, image_id)
);
CREATE TABLE secrets (
  deployment_id UUID NOT NULL,
  name TEXT NOT NULL,
  team_id UUID NOT NULL,
  sealed TEXT NOT NULL,
  seal_key TEXT NOT NULL,
  set_at TIMESTAMP WITH TIME ZONE NOT NULL,
  set_by TEXT NOT NULL,
  CONSTRAINT pk_secrets PRIMARY KEY (deployment_id, name),
  CONSTRAINT fk_secrets_team_id_deployment_id FOREIGN KEY(team_id, deployment_id) REFERENCES deployments (team_id, id) ON DELETE CASCADE
);
"""


def upgrade() -> None:
    kernel_tables(op)
    for statement in SQL.split(";\n"):
        if statement.strip():
            op.execute(statement)
    for table in TABLES:
        team_table(op, table)
