"""Pinned and removed versions; what the bot did to the served pointer by itself, and what it says of its serving."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE versions ADD COLUMN pinned BOOLEAN NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE versions ADD COLUMN removed_at DATETIME")
    op.execute("ALTER TABLE served ADD COLUMN told BOOLEAN NOT NULL DEFAULT 1")
    op.create_table(
        "servings",
        sa.Column("host", sa.String(length=100), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_servings")),
    )
