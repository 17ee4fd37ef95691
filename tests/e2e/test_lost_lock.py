"""PostgreSQL ends the connection that holds the tenants' locks: what runs is stopped, and nothing is sent meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e import paper
from tests.e2e.kit import (
    DESTINATION,
    TENANT,
    TableRow,
    call,
    daemon,
    eventually,
    process,
    tenant,
    uploaded,
    write_config,
    write_table,
)
from tests.postgres import Server

COMMANDS = {
    "sync": ("sync", "--json"),
    "backfill": ("backfill", "--tenant", TENANT, "--since", "2026-03-01"),
}


@pytest.fixture
def url(postgres: Server) -> Iterator[str]:
    made = postgres.database()
    yield made
    postgres.drop(made)


def doubts(folder: Path) -> dict[str, int]:
    """Batches in doubt at the destination, and deliveries by state."""
    counts = call(folder, "status", "--json").json["tenants"][TENANT]["destinations"][DESTINATION]
    return {name: counts[name] for name in ("in_doubt", "accepted", "held") if counts[name]}


def prepare(folder: Path, url: str) -> None:
    """A lead on its way to a destination that takes its time."""
    write_config(folder, database=url, okna=tenant(destinations={DESTINATION: {"kind": "paper", "send_every": "1s"}}))
    write_table(folder, [TableRow("A1")])
    (folder / paper.SLEEPS).touch()


def test_a_daemon_stops_what_runs_and_begins_again(plugins: Path, tmp_path: Path, postgres: Server, url: str) -> None:
    """The upload under way is cancelled before its bytes leave; the lock is taken again as at the start, and what the
    upload left is repaired by proof: this destination has none, so it is held."""
    prepare(tmp_path, url)
    with daemon(tmp_path, env={"PYTHONPATH": str(plugins)}) as running:
        eventually(tmp_path, lambda: doubts(tmp_path) == {"in_doubt": 1}, "the upload is under way")
        postgres.end_lock_holders(url)
        eventually(tmp_path, lambda: running.log.count("lock_taken") == 2, "the lock is taken again")
        (tmp_path / paper.SLEEPS).unlink()
        eventually(tmp_path, lambda: doubts(tmp_path) == {"held": 1}, "the repair")
        assert not (tmp_path / paper.FILE).exists()
        assert running.log.count("lock_lost") == 1
        write_table(tmp_path, [TableRow("A1"), TableRow("A2")])
        eventually(tmp_path, lambda: doubts(tmp_path) == {"held": 1, "accepted": 1}, "a new lead")
        assert running.stop() == 0
        assert "Traceback" not in running.log


def test_every_tenant_is_dropped_and_taken_again(tmp_path: Path, postgres: Server, url: str) -> None:
    """Several tenants hang on the one connection; each says that its lock was lost, once, and all go on."""
    write_config(tmp_path, database=url, dom=tenant(), okna=tenant(), sad=tenant())
    write_table(tmp_path, [TableRow("A1")])
    with daemon(tmp_path) as running:
        eventually(tmp_path, lambda: running.log.count("lock_taken") == 3, "the start")
        eventually(tmp_path, lambda: len(uploaded(tmp_path)) == 3, "the first lead")
        postgres.end_lock_holders(url)
        eventually(tmp_path, lambda: running.log.count("lock_taken") == 6, "the second start")
        assert running.log.count("lock_lost") == 3
        write_table(tmp_path, [TableRow("A1"), TableRow("A2")])
        eventually(tmp_path, lambda: len(uploaded(tmp_path)) == 6, "the second lead")
        assert running.stop() == 0
        assert "Traceback" not in running.log


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_command_ends_and_says_why(
    words: tuple[str, ...], plugins: Path, tmp_path: Path, postgres: Server, url: str
) -> None:
    """It stops in the middle of its upload, with status 1 and the reason, and nothing leaves afterwards."""
    prepare(tmp_path, url)
    with ThreadPoolExecutor() as pool:
        running = pool.submit(process, tmp_path, *words, env={"PYTHONPATH": str(plugins)})
        eventually(tmp_path, lambda: doubts(tmp_path) == {"in_doubt": 1}, "the upload is under way")
        postgres.end_lock_holders(url)
        said = running.result(60)
    assert said.status == 1
    assert "the lock of okna was lost" in said.out + said.err
    assert "Traceback" not in said.out + said.err
    assert not (tmp_path / paper.FILE).exists()
