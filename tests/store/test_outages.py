"""A database that cannot be opened: what may pass by itself is tried again, what will not is the operator's."""

from __future__ import annotations

import errno
import os
import socket
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from bridge.errors import BridgeError, ConfigError, StoreError
from bridge.store import Store, engine
from bridge.store.refusal import of_opening
from tests.postgres import Server

_ROLES = (
    "CREATE ROLE outage_crowd LOGIN CONNECTION LIMIT 0",
    "CREATE ROLE outage_barred NOLOGIN",
    "CREATE ROLE outage_weak LOGIN",
    "CREATE ROLE outage_standby LOGIN",
    "ALTER ROLE outage_standby SET default_transaction_read_only = on",
)


async def refusal(url: str) -> BridgeError:
    """What opening ends with; the exact class decides the exit status."""
    with pytest.raises(BridgeError) as caught:
        await Store.open(url)
    assert type(caught.value) in (ConfigError, StoreError)
    return caught.value


@pytest.fixture
async def crowded(postgres: Server) -> AsyncIterator[str]:
    """An empty database, and roles that are refused for one reason each."""
    main, empty = postgres.database(), postgres.database()
    store = await Store.open(main)
    async with store.write("test") as connection:
        for statement in _ROLES:
            await connection.execute(text(statement))
    yield empty
    async with store.write("test") as connection:
        for statement in _ROLES[:-1]:
            await connection.execute(text(f"DROP ROLE {statement.split()[2]}"))
    await store.close()
    for url in (main, empty):
        postgres.drop(url)


async def test_a_server_is_asked_again_unless_it_will_never_answer(crowded: str) -> None:
    """What it refuses today only is no mistake in the configuration."""
    for role, kind, told in (
        ("outage_crowd", StoreError, "too many connections.*max_connections"),
        ("outage_standby", StoreError, "read-only transaction; it takes no writes"),
        ("outage_barred", ConfigError, "not permitted to log in; check database.url"),
        ("outage_weak", ConfigError, "permission denied"),
        ("outage_nobody", ConfigError, "does not exist; check database.url"),
    ):
        error = await refusal(crowded.replace("postgres@", f"{role}:geheim@"))
        assert type(error) is kind
        with pytest.raises(kind, match=told):
            raise error
        assert "geheim" not in str(error)


async def test_a_server_that_is_not_there_may_come(tmp_path: Path) -> None:
    """It starts later than we do, or again: its socket is not there yet, or nobody takes the connection."""
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    for place in (f"/bridge?host={tmp_path}", f"127.0.0.1:{closed.getsockname()[1]}/bridge", "nowhere.invalid/bridge"):
        error = await refusal(f"postgresql://bridge:geheim@{place}")
        assert type(error) is StoreError
        assert "does not answer: " in str(error)
        assert "is it running, and is database.url right?" in str(error)
        assert "geheim" not in str(error)
    closed.close()


async def test_a_server_that_stays_silent_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection and says nothing: a service manager would wait for us in vain."""
    monkeypatch.setattr(engine, "CONNECT_LIMIT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        error = await refusal(f"postgresql://bridge@127.0.0.1:{silent.getsockname()[1]}/bridge")
    assert type(error) is StoreError
    assert "does not answer: no word in time; is it running" in str(error)


@pytest.mark.parametrize(
    "rest",
    ["localhost:port/bridge", "localhost/bridge?sslmode=require", f"{'a' * 70}.ru/bridge"],
    ids=["port", "option", "host"],
)
async def test_a_url_that_is_none_is_a_configuration_error(rest: str) -> None:
    """The driver's own words about it, without the password."""
    error = await refusal(f"postgresql://bridge:geheim@{rest}")
    assert type(error) is ConfigError
    assert "database.url" in str(error)
    assert "geheim" not in str(error)


@pytest.mark.parametrize(
    ("pragma", "told"),
    [
        ("PRAGMA max_page_count=3", "disk is full; make room"),
        ("PRAGMA query_only=1", "readonly database; .*writable"),
    ],
)
async def test_a_disk_may_have_room_again(
    pragma: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full, or mounted for reading only: somebody repairs it, and we are started again."""
    monkeypatch.setattr(engine, "_PRAGMAS", (*engine._PRAGMAS, pragma))
    with pytest.raises(StoreError, match=told):
        await Store.open(f"sqlite:///{tmp_path}/bridge.db")


async def test_a_file_that_another_process_holds_becomes_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy being made, say."""
    patience = [item.replace("30000", "50") for item in engine._PRAGMAS]
    monkeypatch.setattr(engine, "_PRAGMAS", ("PRAGMA busy_timeout=50", *patience))
    path = tmp_path / "bridge.db"
    with sqlite3.connect(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        other.execute("CREATE TABLE held (x)")
        with pytest.raises(StoreError, match="locked; another process has it"):
            await Store.open(f"sqlite:///{path}")
    other.close()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EROFS, StoreError),
        (errno.ENOSPC, StoreError),
        (errno.EMFILE, StoreError),
        (errno.EIO, StoreError),
        (errno.EACCES, ConfigError),
        (errno.EISDIR, ConfigError),
    ],
)
async def test_why_a_file_cannot_be_had_decides(
    number: int, kind: type[BridgeError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk may come back; a right that is missing has to be given."""

    def refused(url: str) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(engine, "_private_file", refused)
    error = await refusal(f"sqlite:///{tmp_path}/bridge.db")
    assert type(error) is kind
    assert os.strerror(number) in str(error)


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("57P03", StoreError),  # starting up
        ("57P01", StoreError),  # shutting down
        ("57P04", ConfigError),  # dropped
        ("08006", StoreError),
        ("53100", StoreError),  # its disk is full
        ("55P03", StoreError),
        ("40P01", StoreError),  # a deadlock with somebody else's migration
        ("58030", StoreError),
        ("28P01", ConfigError),  # a wrong password
        ("3D000", ConfigError),
        ("42501", ConfigError),
        ("42601", ConfigError),
    ],
)
def test_a_state_that_a_server_names_decides(state: str, kind: type[BridgeError]) -> None:
    """The states of the SQL standard and of PostgreSQL."""

    class Said(Exception):
        sqlstate = state

    assert type(of_opening("there", DBAPIError(None, None, Said("words")), is_file=False)) is kind
