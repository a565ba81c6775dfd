"""Pinned and removed versions; what the bot did to the served pointer by itself, and what it says of its serving."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("versions", sa.Column("pinned", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("versions", sa.Column("removed_at", sa.DateTime(timezone=True)))
    op.add_column("served", sa.Column("told", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.create_table(
        "servings",
        sa.Column("host", sa.String(length=100), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_servings")),
    )
