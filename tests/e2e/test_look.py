"""``bridge check`` changes nothing: above all it leaves no database behind where there was none."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.amocrm.fake import AmoCrm
from bridge.sim.clock import SharedClock
from tests.e2e.kit import NOW, TableRow, call, served, tenant, write_config, write_table


def _databases(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.db*"))


def test_a_look_leaves_no_database(tmp_path: Path) -> None:
    """Neither the file nor a lock beside it; the first command that works makes them."""
    (tmp_path / "state").mkdir()
    write_config(tmp_path, database="sqlite:///state/bridge.db")
    write_table(tmp_path, [TableRow("A1")])
    before = sorted(tmp_path.rglob("*"))
    assert call(tmp_path, "check").status == 0
    assert sorted(tmp_path.rglob("*")) == before
    assert call(tmp_path, "sync").status == 0
    assert "bridge.db" in _databases(tmp_path)
    assert call(tmp_path, "check").status == 0


@pytest.mark.parametrize("place", ["leads.csv/bridge.db", "leads.csv/state/bridge.db", "state/bridge.db"])
def test_a_look_tells_of_a_database_that_could_not_be_made(place: str, tmp_path: Path) -> None:
    """What would stop the daemon is said beforehand, with the setting to look at."""
    write_config(tmp_path, database=f"sqlite:///{place}")
    write_table(tmp_path, [TableRow("A1")])
    said = call(tmp_path, "check")
    assert said.status == 2
    assert "database.url" in said.err
    assert not (tmp_path / "state").exists()


def test_a_token_that_a_look_has_to_renew_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refresh token works once: renewed by ``check``, its successor is in the real database for the next command."""
    clock = SharedClock(tmp_path / "clock")
    clock.set(NOW)
    sim = AmoCrm(clock, auth="oauth", is_limited=False)
    with served(sim):
        for name, value in sim.secrets().items():
            monkeypatch.setenv(name, value)
        write_config(tmp_path, okna=tenant(sources={"crm": sim.settings()}))
        write_table(tmp_path, [TableRow("A1")])
        assert _databases(tmp_path) == []
        assert call(tmp_path, "check").status < 2
        assert "bridge.db" in _databases(tmp_path)
        assert call(tmp_path, "sync", "--json").json["problems"] == []
        assert sim.requests["POST /oauth2/access_token"] == 1
