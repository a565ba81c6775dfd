"""What is known of each chat, more of each followed run, and what GPUs did in the last hours."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chats",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("language", sa.String(length=10), nullable=False),
        sa.Column("blocked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("all_photos", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("told_until", sa.Integer(), nullable=True),
        sa.Column("thread", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chats")),
    )
    op.create_table(
        "gpu_samples",
        sa.Column("host", sa.String(length=100), nullable=False),
        sa.Column("gpu", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("utilisation", sa.Integer(), nullable=True),
        sa.Column("memory_used", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("host", "gpu", "at", name=op.f("pk_gpu_samples")),
    )
    with op.batch_alter_table("followed_runs") as table:
        table.alter_column("message", existing_type=sa.BigInteger(), nullable=True)
        table.add_column(sa.Column("thread", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("language", sa.String(length=10), server_default="en", nullable=False))
        table.add_column(sa.Column("offer", sa.Integer(), nullable=True))
        table.add_column(sa.Column("edited", sa.Boolean(), server_default=sa.false(), nullable=False))
