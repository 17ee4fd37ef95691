"""What goes wrong with a database, told without what was in the statement."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import SQLAlchemyError

# OSError comes bare from making a connection, SQLite's own from beginning a transaction.
REFUSALS = (SQLAlchemyError, OSError, sqlite3.Error)


def first_line(error: Exception) -> str:
    """The driver's own words without parameters (they may hold personal data)."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    cause = getattr(error, "orig", None)
    return str(cause or error).split("\n", 1)[0][:200]
