"""The only importer of SQLAlchemy: schema, engine, migrations, the ledger (writes), reports (reads), tokens."""

from bridge.store.engine import Store

__all__ = ["Store"]
