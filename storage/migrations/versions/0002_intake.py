"""The inbox, albums, offers and people; acts and undo; fingerprints; photos without a split until they are labelled."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _make_split_optional()
    _make_acts()
    _make_inbox()
    _make_people()


def _make_split_optional() -> None:
    # SQLite can change a column only by making the table anew, which the keys that point to it forbid.
    op.drop_index("ix_photos_class_split", "photos")
    op.execute("ALTER TABLE photos ADD COLUMN part VARCHAR(10)")
    op.execute("UPDATE photos SET part = split")
    op.execute("ALTER TABLE photos DROP COLUMN split")
    op.execute("ALTER TABLE photos RENAME COLUMN part TO split")
    op.create_index("ix_photos_class_split", "photos", ["class_id", "split", "duplicates"], unique=False)
    op.create_table(
        "fingerprints",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("photo", sa.String(length=64), nullable=False),
        sa.Column("bits", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["photo"], ["photos.sha256"], name=op.f("fk_fingerprints_photo")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fingerprints")),
        sa.UniqueConstraint("photo", name=op.f("uq_fingerprints_photo")),
    )


def _make_acts() -> None:
    op.create_table(
        "acts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.String(length=100), nullable=False),
        sa.Column("what", sa.String(length=20), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acts")),
        sa.UniqueConstraint("key", name=op.f("uq_acts_key")),
    )
    op.create_index("ix_acts_by", "acts", ["by", "id"], unique=False)
    op.execute("ALTER TABLE changes ADD COLUMN act INTEGER CONSTRAINT fk_changes_act REFERENCES acts (id)")
    op.add_column("changes", sa.Column("made", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.execute("ALTER TABLE changes ADD COLUMN undoes INTEGER CONSTRAINT fk_changes_undoes REFERENCES changes (id)")
    op.create_index(op.f("ix_changes_act"), "changes", ["act"], unique=False)
    op.create_index(op.f("ix_changes_undoes"), "changes", ["undoes"], unique=False)
    op.create_table(
        "renames",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("act", sa.Integer(), nullable=False),
        sa.Column("class_id", sa.Integer(), nullable=False),
        sa.Column("before", sa.String(length=64), nullable=False),
        sa.Column("after", sa.String(length=64), nullable=False),
        sa.Column("undoes", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["act"], ["acts.id"], name=op.f("fk_renames_act")),
        sa.ForeignKeyConstraint(["class_id"], ["classes.id"], name=op.f("fk_renames_class_id")),
        sa.ForeignKeyConstraint(["undoes"], ["renames.id"], name=op.f("fk_renames_undoes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_renames")),
    )
    for column in ("act", "class_id", "undoes"):
        op.create_index(op.f(f"ix_renames_{column}"), "renames", [column], unique=False)


def _make_inbox() -> None:
    op.create_table(
        "inbox",
        sa.Column("bot", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("update_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("chat", sa.BigInteger(), nullable=False),
        sa.Column("lane", sa.String(length=10), nullable=False),
        sa.Column("album", sa.String(length=64), nullable=True),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("bot", "update_id", name=op.f("pk_inbox")),
    )
    op.create_index("ix_inbox_waiting", "inbox", ["bot", "done_at", "due_at"], unique=False)
    op.create_index("ix_inbox_album", "inbox", ["bot", "chat", "album"], unique=False)
    op.create_table(
        "received",
        sa.Column("bot", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("chat", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("message", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("person", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("album", sa.String(length=64), nullable=True),
        sa.Column("file_unique_id", sa.String(length=100), nullable=False),
        sa.Column("photo", sa.String(length=64), nullable=True),
        sa.Column("refused", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["photo"], ["photos.sha256"], name=op.f("fk_received_photo")),
        sa.PrimaryKeyConstraint("bot", "chat", "message", name=op.f("pk_received")),
    )
    op.create_index("ix_received_album", "received", ["bot", "chat", "album"], unique=False)
    op.create_index("ix_received_person", "received", ["person", "at"], unique=False)
    op.create_index(op.f("ix_received_file_unique_id"), "received", ["file_unique_id"], unique=False)
    op.create_table(
        "albums",
        sa.Column("bot", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("chat", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("album", sa.String(length=64), nullable=False),
        sa.Column("class_name", sa.String(length=64), nullable=True),
        sa.Column("reply", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("bot", "chat", "album", name=op.f("pk_albums")),
    )
    op.create_table(
        "subjects",
        sa.Column("bot", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("chat", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("message", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("photos", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("bot", "chat", "message", name=op.f("pk_subjects")),
    )
    op.create_table(
        "offers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("chat", sa.BigInteger(), nullable=False),
        sa.Column("what", sa.String(length=20), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_by", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_offers")),
    )


def _make_people() -> None:
    op.create_table(
        "people",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("added_by", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
    )
    op.create_table(
        "groups",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("added_by", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
    )
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secrets")),
    )
