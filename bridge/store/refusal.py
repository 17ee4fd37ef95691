"""What goes wrong with a database, told without what was in the statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from bridge.errors import StoreError

# OSError comes bare from making a connection, SQLite's own and OverflowError (of a number) from its driver.
REFUSALS = (SQLAlchemyError, OSError, sqlite3.Error, OverflowError)


@contextmanager
def told_as(label: str) -> Iterator[None]:
    """What the database refuses in the block is told as an error of ours: what was done, and the driver's words.

    Raises:
        StoreError: the database refused.
    """
    try:
        yield
    except REFUSALS as error:
        raise StoreError(f"{label}: {type(error).__name__}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """The driver's own words without parameters (they may hold personal data)."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    cause = getattr(error, "orig", None)
    return str(cause or error).split("\n", 1)[0][:200]
