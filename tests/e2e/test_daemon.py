"""``bridge run`` as a process: it serves, it stops when told, and there is only one of it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.e2e.kit import (
    TENANT,
    TableRow,
    call,
    daemon,
    eventually,
    free_port,
    process,
    tenant,
    uploaded,
    write_config,
    write_table,
)


def fetch(port: int, path: str) -> str:
    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        assert answer.status == 200
        text: str = answer.read().decode()
        return text


def test_a_daemon_serves_works_and_stops_gracefully(tmp_path: Path) -> None:
    """It sends what the table brings, before and after the table changes; ``/healthz`` and ``/metrics`` tell of it; a
    broken tenant beside it is named there; SIGTERM ends it with status 0 and nothing half done."""
    port = free_port()
    write_config(tmp_path, listen=f"127.0.0.1:{port}", okna=tenant(), sad=tenant(timezone="Mars/Olympus"))
    write_table(tmp_path, [TableRow("A1")])
    with daemon(tmp_path) as running:
        eventually(tmp_path, lambda: len(uploaded(tmp_path)) == 1, "the first lead")
        write_table(tmp_path, [TableRow("A1"), TableRow("A2", "Оплачен", "1000")])
        eventually(tmp_path, lambda: len(uploaded(tmp_path)) == 2, "the second lead")
        health = json.loads(fetch(port, "/healthz"))
        assert health["status"] == "attention"
        assert ["tenants.sad.timezone" in line for line in health["attention"]] == [True]
        wanted = 'bridge_deliveries{destination="metrica",state="accepted",tenant="okna"} 2.0'
        eventually(tmp_path, lambda: wanted in fetch(port, "/metrics"), wanted)
        assert 'bridge_deals{source="leads",tenant="okna"} 2.0' in fetch(port, "/metrics")
        assert running.stop() == 0
        assert "daemon_stopped" in running.log
        assert "Traceback" not in running.log
    status = call(tmp_path, "status", "--json").json["tenants"][TENANT]["destinations"]["metrica"]
    assert (status["accepted"], status["pending"], status["sealed"]) == (2, 0, 0)


def test_a_second_daemon_waits_for_the_first(tmp_path: Path) -> None:
    """It says so and touches nothing; when the first one dies without a word, it takes over and goes on."""
    write_config(tmp_path)
    write_table(tmp_path, [TableRow("A1")])
    with daemon(tmp_path) as first:
        eventually(tmp_path, lambda: len(uploaded(tmp_path)) == 1, "the first daemon works")
        with daemon(tmp_path) as second:
            eventually(tmp_path, lambda: "lock_waiting" in second.log, "the second one waits")
            assert "lock_taken" not in second.log
            first.process.send_signal(signal.SIGKILL)
            first.process.wait()
            write_table(tmp_path, [TableRow("A1"), TableRow("A2")])
            eventually(tmp_path, lambda: len(uploaded(tmp_path)) == 2, "the second one goes on")
            assert second.stop() == 0


@pytest.mark.parametrize("command", ["run", "check", "status"])
def test_an_address_that_is_none_is_named_by_every_command(command: str, tmp_path: Path) -> None:
    """Exit status 2 and the key; the daemon does not start half."""
    write_config(tmp_path, listen="127.0.0.1:99999")
    said = call(tmp_path, command)
    assert said.status == 2
    assert "config.toml: web.listen: " in said.err
    assert "a port from 1 to 65535" in said.err


def test_a_daemon_without_a_sound_tenant_does_not_pretend(tmp_path: Path) -> None:
    """Asked for a tenant that is broken it ends at once with status 2 and says what is wrong."""
    write_config(tmp_path, okna=tenant(timezone="Mars/Olympus"))
    said = process(tmp_path, "run", "--tenant", TENANT)
    assert said.status == 2
    assert "tenants.okna.timezone" in said.err


def test_a_database_that_is_away_is_no_mistake_of_the_configuration(tmp_path: Path) -> None:
    """Exit status 1: a service manager starts the daemon again, as it does not after 2."""
    write_config(tmp_path, database=f"postgresql://bridge@/bridge?host={tmp_path}")
    said = call(tmp_path, "run")
    assert said.status == 1
    assert "does not answer" in said.err
    assert "is it running" in said.err
