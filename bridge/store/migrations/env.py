"""Alembic environment: always runs on the connection handed over by ``engine._migrate``."""

from alembic import context

from bridge.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
    transactional_ddl=True,  # all migrations in one, on SQLite, too: else another process comes between two of them
)
with context.begin_transaction():
    context.run_migrations()
