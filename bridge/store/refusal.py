"""What goes wrong with a database, told without what was in the statement."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from bridge.errors import BridgeError, ConfigError, StoreError

# OSError comes bare from making a connection, SQLite's own and OverflowError (of a number) from its driver.
REFUSALS = (SQLAlchemyError, OSError, sqlite3.Error, OverflowError)

# What may pass by itself, and what to look at meanwhile.
_ABSENT = "is it running, and is database.url right?"
_BUSY = "another process has it; end that one, or try again"
_FULL = "make room on its disk"
_DISK = "look at its disk"
_READ_ONLY = "it takes no writes; its file system must be writable"

# By the beginning of the SQLSTATE; the longest one counts. "" is what will not pass.
_STATES = {
    "08": _ABSENT,
    "25006": "it takes no writes; is it a standby?",
    "40": _BUSY,  # a deadlock, say: it was undone, and may be done again
    "53": "look at the server's memory and limits",
    "53100": _FULL,
    "53300": "end some of its clients, or raise max_connections",
    "55006": _BUSY,
    "55P03": _BUSY,
    "57": "look at the server's log",
    "57P01": "wait until it has started",
    "57P02": "wait until it has started",
    "57P03": "wait until it has started",
    "57P04": "",  # the database was dropped
    "58": "look at the server's log and its disk",
}
_CODES = {
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_PROTOCOL: _BUSY,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR: _DISK,
    sqlite3.SQLITE_NOMEM: "look at the machine's memory",
    sqlite3.SQLITE_READONLY: _READ_ONLY,
}
_FILES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open",
    errno.ENOMEM: "look at the machine's memory",
    **dict.fromkeys((errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT), _DISK),
}


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


def of_opening(place: str, error: Exception, *, is_file: bool) -> BridgeError:
    """Why a database cannot be opened: a StoreError if that may pass by itself, so that whoever started us tries again.

    ``place``: its address without a password. ``is_file``: SQLite.
    """
    words, hint = first_line(error), _hint(error, is_file=is_file)
    if not hint:
        return ConfigError(f"database {place} cannot be opened: {words}; check database.url")
    if hint is _ABSENT:
        words = "no word in time" if isinstance(error, TimeoutError) and not error.strerror else words
        return StoreError(f"database {place} does not answer: {words}; {hint}")
    return StoreError(f"database {place} cannot be opened now: {words}; {hint}")


def _hint(error: Exception, *, is_file: bool) -> str:
    """What to look at until it passes; "" for what will not."""
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, OSError):
        if is_file:
            return _FILES.get(cause.errno or 0, "")
        return "" if isinstance(cause, PermissionError) else _ABSENT
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        return _CODES.get(code & 0xFF, "")  # the rest of it says more than we ask
    state = getattr(cause, "sqlstate", None)
    if state is None:
        return _ABSENT if getattr(error, "connection_invalidated", False) else ""
    return next((_STATES[state[:length]] for length in (5, 2) if state[:length] in _STATES), "")


def first_line(error: Exception) -> str:
    """The driver's own words without parameters (they may hold personal data)."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    cause = getattr(error, "orig", None)
    return str(cause or error).split("\n", 1)[0][:200]
