"""Alembic's environment: the store hands over its connection, inside its transaction."""

from alembic import context

from modelyard_hub.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,  # the store's own transaction is around all of it
)
context.run_migrations()
