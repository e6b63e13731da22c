"""A place remembers that it is wanted empty and what took it last; a node, that two machines carry its identity."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SQL = """
ALTER TABLE places
  ADD COLUMN taken_generation BIGINT DEFAULT 0 NOT NULL,
  ADD COLUMN removal_generation BIGINT,
  ADD COLUMN removal_volumes BOOLEAN DEFAULT false NOT NULL,
  ADD COLUMN removal_by TEXT,
  ADD COLUMN removal_by_name TEXT,
  ADD COLUMN removal_correlation TEXT,
  ADD COLUMN removal_asked_at TIMESTAMP WITH TIME ZONE,
  ADD COLUMN removal_due_at TIMESTAMP WITH TIME ZONE,
  ADD COLUMN removal_tries INTEGER DEFAULT 0 NOT NULL;
ALTER TABLE nodes
  ADD COLUMN greeted_at TIMESTAMP WITH TIME ZONE,
  ADD COLUMN duplicate_seen_at TIMESTAMP WITH TIME ZONE;
CREATE INDEX ix_places_removal_due_at ON places (removal_due_at) WHERE removal_generation IS NOT NULL;
-- Row-level security holds for the owner too.
SELECT set_config('app.scope', 'system', true);
UPDATE places p SET taken_generation = a.generation
FROM (SELECT node_id, prefix, max(generation) AS generation FROM attempts WHERE outcome = 'succeeded' GROUP BY node_id, prefix) a
WHERE a.node_id = p.node_id AND a.prefix = p.prefix;
SELECT set_config('app.scope', '', true);
"""


def upgrade() -> None:
    for statement in SQL.split(";\n"):
        if statement.strip():
            op.execute(statement)
