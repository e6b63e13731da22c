"""Finds deleted deployments that may be forgotten."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX ix_version_deployments_deleted ON version_deployments (updated_at) WHERE status = 'deleted'")
