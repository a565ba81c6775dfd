"""Cancelling of runs; slots of the schedule and what was decided for each."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE runs ADD COLUMN cancelled_by VARCHAR(100)")
    op.create_table(
        "slots",
        sa.Column("key", sa.String(length=100), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name=op.f("fk_slots_run")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_slots")),
    )
    op.create_index(op.f("ix_slots_due_at"), "slots", ["due_at"], unique=False)
