"""Alembic's entry: runs on the connection that `listlens.store.migrate` hands over."""

from __future__ import annotations

from alembic import context

from listlens.store.schema import metadata

if hasattr(context, "config"):  # only while migrating; merely imported, there is nothing to do
    context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
