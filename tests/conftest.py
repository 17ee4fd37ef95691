"""Shared fixtures: the databases the product runs on."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from bridge.store import Store
from tests.postgres import Server, server

# How fast examples are made says nothing about us, only about a busy machine.
settings.register_profile("bridge", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("bridge")

# A job in the background of a script is started with Ctrl-C ignored, and so would be all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

DATABASES = ("sqlite", "postgresql")
NewDatabase = Callable[[], str]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One real PostgreSQL for the session (for each worker, when there are several)."""
    with server() as running:
        yield running


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> str:
    """The kind of database a test runs on: every test that asks runs on each."""
    kind: str = request.param
    return kind


@pytest.fixture
def new_database(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewDatabase]:
    """Makes new, empty databases; returns the URL of each, as ``database.url`` takes it."""
    if database == "sqlite":
        numbers = count()
        yield lambda: f"sqlite:///{tmp_path / f'bridge_{next(numbers)}.db'}"
        return
    running: Server = request.getfixturevalue("postgres")
    made: list[str] = []

    def make() -> str:
        made.append(running.database())
        return made[-1]

    yield make
    for url in made:
        running.drop(url)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database that is up to date and empty, to be copied: making one takes longer than most tests."""
    path = tmp_path_factory.mktemp("migrated") / "bridge.db"

    async def make() -> None:
        await (await Store.open(f"sqlite:///{path}")).close()

    asyncio.run(make())
    return path


@pytest.fixture
def database_url(new_database: NewDatabase) -> str:
    """One new, empty database."""
    return new_database()
