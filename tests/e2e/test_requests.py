"""Work that a command asks for by a row: carried out alone, interrupted by Ctrl-C, told of by ``status``."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bridge.compose import Installation, load_config
from bridge.errors import ConfigError
from bridge.following import see_through
from bridge.sim.clock import SharedClock
from tests.e2e.kit import (
    ROOT,
    SOURCE,
    TENANT,
    Scripted,
    TableRow,
    arguments,
    call,
    served,
    tenant,
    uploaded,
    write_config,
    write_table,
)
from tests.e2e.test_backfill import backfill, tables, young

PERIOD = {"since": "2026-03-01T00:00:00+03:00", "until": "2026-03-20T12:00:00+03:00", "source": None, "dry_run": False}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two leads that reached their goals before the bridge began, read once."""
    write_config(tmp_path, okna=young())
    write_table(tmp_path, [TableRow("A1"), TableRow("A2", "Оплачен", "1000")])
    assert call(tmp_path, "sync").status == 0
    return tmp_path


def opened(folder: Path, work: Callable[[Installation], Coroutine[Any, Any, Any]]) -> Any:
    """What this does with the folder's installation."""

    async def done() -> Any:
        config = load_config(folder / "config.toml")
        installation = await Installation.open(config, SharedClock(folder / "clock"))
        try:
            return await work(installation)
        finally:
            await installation.close()

    return asyncio.run(done())


def left_open(folder: Path, state: str = "running") -> int:
    """A backfill whose process was killed: ``running``, or ``waiting`` where it had not begun."""

    async def ask(installation: Installation) -> int:
        key = await installation.requests.add(TENANT, "backfill", PERIOD)
        await installation.requests.update(key, state, {"share": 0.43})
        return key

    found: int = opened(folder, ask)
    return found


def rows(folder: Path) -> dict[int, tuple[str, str | None]]:
    """Of each request its state and error."""
    with sqlite3.connect(folder / "bridge.db") as connection:
        return {key: (state, error) for key, state, error in connection.execute("SELECT id, state, error FROM request")}


# --- one's own alone ---------------------------------------------------------------------------------------------


def test_a_dry_run_carries_out_nothing_but_itself(folder: Path) -> None:
    """An interrupted real backfill is told of, with what goes on with it, and stays as it is."""
    older = left_open(folder)
    before = tables(folder)
    said = backfill(folder, "--since", "2026-03-18", "--dry-run")
    assert (said.status, said.json["counts"]["planned"]) == (0, 2)
    assert (tables(folder), uploaded(folder), rows(folder)[older]) == (before, [], ("running", None))
    (line,) = [line for line in said.err.splitlines() if f"backfill {older}" in line]
    assert f"backfill {older} since 2026-03-01 was interrupted" in line
    assert f'bridge run -c {folder / "config.toml"}"' in line
    assert f'--tenant {TENANT} --since 2026-03-01 --until 2026-03-20T12:00"' in line


@pytest.mark.parametrize(
    "words", [("backfill", "--since", "2026-03-20"), ("plan", "--apply", "--yes"), ("plan", "--leave")]
)
def test_no_command_carries_out_what_another_asked_for(words: tuple[str, ...], folder: Path) -> None:
    """One that waits is its own command's, or the daemon's; it is neither lost nor done by the way."""
    older = left_open(folder, "waiting")
    said = call(folder, *words, "--tenant", TENANT)
    assert said.status == 0
    assert rows(folder)[older] == ("waiting", None)
    assert f"backfill {older} since 2026-03-01 waits" in said.err.replace("\n", " ")


def test_the_same_command_goes_on_where_it_was_interrupted(folder: Path) -> None:
    """The older request is closed, and says which one took its place; nothing is sent twice."""
    first = backfill(folder, "--since", "2026-03-18").json["request"]
    with sqlite3.connect(folder / "bridge.db") as connection:
        connection.execute("UPDATE request SET state = 'running', progress = NULL")
    said = backfill(folder, "--since", "2026-03-18")
    second = said.json["request"]
    assert said.status == 0
    assert f"goes on with backfill {first}" in said.err
    assert rows(folder) == {first: ("failed", f"goes on as request {second}"), second: ("done", None)}
    assert len(uploaded(folder)) == 2


# --- Ctrl-C ------------------------------------------------------------------------------------------------------


class Silent(Scripted):
    """A server that never answers."""

    async def _always(self, request: web.Request) -> web.Response:
        await asyncio.sleep(3600)
        return await super()._always(request)


@pytest.mark.parametrize("is_dry", [True, False])
def test_ctrl_c_says_what_becomes_of_the_request(is_dry: bool, tmp_path: Path) -> None:
    """A dry run is over; a real one stays open, and is said to go on with the daemon or the same command."""
    (tmp_path / "token").write_text("secret", encoding="utf-8")
    auth = {"token": {"file": "token"}}
    with served(silent := Silent(200, "text/html", b"")):
        source = {"kind": "amocrm", "base_url": silent.base_url, "auth": auth, "start_from": "1h"}
        write_config(tmp_path, okna=tenant(sources={SOURCE: source}))
        words = ["backfill", "--tenant", TENANT, "--since", "2026-03-18", *(["--dry-run"] if is_dry else [])]
        command = [sys.executable, "-m", "bridge", *arguments(tmp_path, words)]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
            while not has_begun(tmp_path):
                time.sleep(0.05)
            started.send_signal(signal.SIGINT)
            out, err = started.communicate(timeout=30)
    assert (started.returncode, out) == (130, "")
    assert "Traceback" not in err
    if is_dry:
        assert rows(tmp_path) == {1: ("failed", "interrupted")}
        assert "bridge run" not in err
    else:
        assert rows(tmp_path) == {1: ("running", None)}
        assert "backfill 1 since 2026-03-18 was interrupted and goes on with" in err
        assert f'--tenant {TENANT} --since 2026-03-18"' in err


def has_begun(folder: Path) -> bool:
    try:
        return rows(folder)[1][0] == "running"
    except (sqlite3.OperationalError, KeyError):  # no table yet, no row yet
        return False


@pytest.mark.parametrize(
    ("state", "after", "told"),
    [
        ("waiting", ("failed", "interrupted"), "had not begun and is withdrawn"),
        ("running", ("running", None), "goes on without this command"),
    ],
)
def test_ctrl_c_while_another_process_has_the_tenant(
    state: str, after: tuple[str, str | None], told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What has not begun is withdrawn, for good; what the daemon is at goes on, and is said to."""
    key = left_open(folder, state)

    async def interrupted(installation: Installation) -> None:
        other = await Installation.open(installation.config, installation.clock)
        async with other.store.tenant_lock(TENANT):
            following = asyncio.create_task(see_through(installation, key, "backfill", True))
            await asyncio.sleep(0.3)
            following.cancel()
            with pytest.raises(asyncio.CancelledError):
                await following
        await other.close()

    opened(folder, interrupted)
    assert rows(folder)[key] == after
    assert f"backfill {key} since 2026-03-01 {told}" in capsys.readouterr().err.replace("\n", " ")


def test_ctrl_c_while_modules_are_loaded_says_nothing(tmp_path: Path) -> None:
    """No traceback: the program ends as after any other Ctrl-C."""
    text = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n"
    (tmp_path / "typer.py").write_text(text, encoding="utf-8")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from bridge.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


# --- told --------------------------------------------------------------------------------------------------------


def test_status_shows_what_is_not_finished(folder: Path) -> None:
    """One line each, and the same as data; a finished one is not shown."""
    backfill(folder, "--since", "2026-03-20")
    begun, waiting = left_open(folder), left_open(folder, "waiting")
    (first, second) = call(folder, "status", "--json").json["tenants"][TENANT]["requests"]
    assert (first["request"], first["kind"], first["state"], first["share"]) == (begun, "backfill", "running", 0.43)
    assert (first["since"], first["until"], first["dry_run"]) == (PERIOD["since"], PERIOD["until"], False)
    assert (second["request"], second["state"]) == (waiting, "waiting")
    shown = call(folder, "status").out
    assert f"{TENANT}: backfill {begun} since 2026-03-01: begun, 43 %" in shown
    assert f"{TENANT}: backfill {waiting} since 2026-03-01: waits" in shown


@pytest.mark.parametrize(("error", "kind"), [("ConfigError: no secret", 2), ("Throttled: wait", 1)])
def test_an_error_of_the_request_is_told_in_its_own_words(error: str, kind: int, folder: Path) -> None:
    """Without the name of a class; a wrong configuration is told apart, for the exit status."""
    key = left_open(folder)

    async def fail(installation: Installation) -> None:
        await installation.requests.update(key, "failed", error=error)
        with pytest.raises(Exception, match=f"^{error.partition(': ')[2]}$") as raised:
            await see_through(installation, key, "backfill", True)
        assert isinstance(raised.value, ConfigError) is (kind == 2)

    opened(folder, fail)
