"""All tables of the audit service."""

from __future__ import annotations

from alembic import op

from kernel.migrate import kernel_tables, team_table

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE entries (
  team_id uuid NOT NULL,
  number bigint NOT NULL,
  id uuid NOT NULL,
  at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL,
  action text NOT NULL,
  actor_kind text NOT NULL,
  actor_id text NOT NULL,
  actor_name text,
  address text,
  resource_type text NOT NULL,
  resource_id text NOT NULL,
  resource_name text NOT NULL,
  outcome text NOT NULL,
  before json,
  after json,
  reason text,
  correlation text,
  source text NOT NULL,
  data json NOT NULL,
  prev_hash text NOT NULL,
  hash text NOT NULL,
  CONSTRAINT pk_entries PRIMARY KEY (team_id, number),
  CONSTRAINT uq_entries_id UNIQUE (team_id, id),
  CONSTRAINT ck_entries_number CHECK (number > 0),
  CONSTRAINT ck_entries_outcome CHECK (outcome IN ('allowed', 'refused'))
);
CREATE INDEX ix_entries_at ON entries (team_id, at);
CREATE INDEX ix_entries_actor ON entries (team_id, actor_id, number);
CREATE INDEX ix_entries_action ON entries (team_id, action text_pattern_ops, number);
CREATE INDEX ix_entries_resource ON entries (team_id, resource_type, resource_id, number);
CREATE INDEX ix_entries_refused ON entries (team_id, number) WHERE outcome = 'refused';

CREATE TABLE checkpoints (
  team_id uuid NOT NULL,
  sequence bigint NOT NULL,
  number bigint NOT NULL,
  hash text NOT NULL,
  at timestamptz NOT NULL,
  previous text NOT NULL,
  key text NOT NULL,
  signature text NOT NULL,
  CONSTRAINT pk_checkpoints PRIMARY KEY (team_id, sequence)
);

CREATE TABLE node_keys (
  node_id uuid NOT NULL,
  verify_key text NOT NULL,
  team_id uuid NOT NULL,
  CONSTRAINT pk_node_keys PRIMARY KEY (node_id, verify_key)
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit log is append-only: % on % is refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
"""


def upgrade() -> None:
    kernel_tables(op)
    op.execute(TABLES)
    for table in ("entries", "checkpoints"):
        # The application may not change what is recorded; the trigger holds for the owner and for replication roles too.
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only")
    for table in ("entries", "checkpoints", "node_keys"):
        team_table(op, table, rights="SELECT, INSERT")
