"""Alembic's entry point; it runs inside the transaction that storage.database opened."""

from alembic import context

from storage.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    transaction_per_migration=False,
    render_as_batch=True,
)
context.run_migrations()
