"""Opening a database: it is made, brought up to date, kept private, and refused when it cannot be right."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, event, text

from bridge.errors import ConfigError
from bridge.store import Store, schema
from bridge.store.engine import MIGRATIONS, head
from tests.postgres import Server
from tests.store import kit
from tests.store.child import child

NEWER = "UPDATE alembic_version SET version_num = '9999'"


async def test_migrations_lead_to_exactly_the_schema_in_the_code(store: Store) -> None:
    """An empty database, upgraded, differs in nothing from the tables the code works with."""

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, schema.metadata))

    async with store.read() as connection:
        assert await connection.run_sync(differences) == []


async def test_opening_again_changes_nothing(store: Store, database_url: str) -> None:
    """A database that is up to date is left as it is, rows and all."""
    await kit.plan(store, kit.conversion(1))
    before = await kit.everything(store)
    again = await Store.open(database_url)
    await again.close()
    assert await kit.everything(store) == before


async def test_a_database_that_is_up_to_date_is_opened_without_alembic(store: Store, database_url: str) -> None:
    """Which takes a sixth of a second to import, at every start of every command; the same for CEL."""
    program = (
        "import asyncio, sys\n"
        "import bridge.cli\n"
        "from bridge.store import Store\n"
        "async def look():\n"
        "    await (await Store.open(sys.argv[1])).close()\n"
        "asyncio.run(look())\n"
        "print(sorted({'alembic', 'cel', 'prompt_toolkit'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", program, database_url]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_last_migration_is_the_one_alembic_takes_for_it() -> None:
    """Known by the number of its file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert head() == ScriptDirectory.from_config(config).get_current_head()


async def test_several_may_open_an_empty_database_at_once(database_url: str) -> None:
    """Daemons that start together migrate once; none waits for another one's end."""
    async with AsyncExitStack() as stack:
        children = [await stack.enter_async_context(child(database_url)) for _ in range(3)]
        for one in children:
            one.say("open")
        assert [await one.answer() for one in children] == ["opened"] * 3


async def test_all_migrations_are_one_transaction(database_url: str) -> None:
    """No other process comes between two of them, nor an end of this one."""
    ends: list[Any] = []

    def ended(connection: Connection) -> None:
        ends.append(connection)

    event.listen(Engine, "commit", ended)
    try:
        await (await Store.open(database_url)).close()
    finally:
        event.remove(Engine, "commit", ended)
    assert len(ends) == 1


async def test_a_database_of_a_newer_version_is_refused(store: Store, database_url: str) -> None:
    """An old program does not touch what a newer one made, and says what to do."""
    async with store.write("test") as connection:
        await connection.execute(text(NEWER))
    with pytest.raises(ConfigError, match="newer version"):
        await Store.open(database_url)


async def test_a_refused_database_does_not_keep_the_process_alive(store: Store, database_url: str) -> None:
    """After the refusal nothing runs on: the command ends by itself, at once."""
    async with store.write("test") as connection:
        await connection.execute(text(NEWER))
    code = "import asyncio, sys\nfrom bridge.store import Store\nasyncio.run(Store.open(sys.argv[1]))"
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code, database_url], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "newer version" in done.stderr


@pytest.mark.parametrize("url", ["mysql://root@localhost/bridge", "bridge.db", "sqlite:bridge.db"])
async def test_a_url_of_another_kind_is_a_configuration_error(url: str) -> None:
    """The message says how a URL must begin."""
    with pytest.raises(ConfigError, match=r"database\.url must begin"):
        await Store.open(url)


async def test_a_database_that_does_not_exist_is_a_configuration_error(postgres: Server) -> None:
    """The server is there, the database is not."""
    with pytest.raises(ConfigError, match=r"database\.url"):
        await Store.open(f"postgresql://postgres@/nowhere?host={postgres.folder}")


async def test_a_file_that_is_no_database_is_a_configuration_error(tmp_path: Path) -> None:
    """Another program's file is neither migrated nor harmed."""
    file = tmp_path / "letter.txt"
    file.write_text("Dear reader, this is no database. " * 50, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"database\.url"):
        await Store.open(f"sqlite:///{file}")
    assert file.read_text(encoding="utf-8").startswith("Dear reader")


async def test_a_folder_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "taken").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"database\.url"):
        await Store.open(f"sqlite:///{tmp_path / 'taken' / 'bridge.db'}")


async def test_a_mistyped_folder_is_not_made(tmp_path: Path) -> None:
    """An empty database in a new place would look like a fresh start."""
    with pytest.raises(ConfigError, match=r"there is no folder .*brigde; make it, or correct database\.url"):
        await Store.open(f"sqlite:///{tmp_path / 'brigde' / 'bridge.db'}")
    assert os.listdir(tmp_path) == []


async def test_the_file_and_its_companions_are_private(tmp_path: Path) -> None:
    """Tokens lie in the database: nobody but its owner may read any of its files, whatever the umask."""
    (tmp_path / "new").mkdir()
    before = os.umask(0)
    try:
        store = await Store.open(f"sqlite:///{tmp_path / 'new' / 'bridge.db'}")
        async with store.tenant_lock(kit.TENANT):
            await kit.plan(store, kit.conversion(1))
            files = list((tmp_path / "new").iterdir())
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in files}
        await store.close()
    finally:
        os.umask(before)
    assert len(modes) == 4, "database, write-ahead log, shared memory, lock"
    assert set(modes.values()) == {0o600}
