"""A database brought to the newest schema. Alembic takes long to import, so this module is only when it is needed."""

from __future__ import annotations

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from bridge.errors import ConfigError
from bridge.store.engine import MIGRATIONS


def upgrade(connection: Connection, current: str | None) -> None:
    """From the migration it is at (None: it is empty) to the last one.

    Raises:
        ConfigError: it was made by a newer version.
    """
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise ConfigError("the database was made by a newer version of the bridge; upgrade the program")
    if not connection.dialect.name.startswith("sqlite"):
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(724365)")  # two daemons starting at once
    command.upgrade(config, "head")
    connection.commit()
