"""The systemd units start the daemon as documented and stay locked down."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.arch.source import ROOT

UNITS = sorted((ROOT / "systemd").glob("*.service"))
DIRECTIVES = {
    "Type": "notify",
    "NotifyAccess": "main",
    "WatchdogSec": "120",
    "DynamicUser": "yes",
    "StateDirectory": "bridge",
    "Restart": "always",
    "RestartPreventExitStatus": "2",
    "ProtectSystem": "strict",
    "NoNewPrivileges": "yes",
}
EXPOSURE_CAP = 2.0
every_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)


def _directives(unit: Path) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z]+)=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE))


def test_there_is_one_unit_for_all_tenants_and_one_per_tenant() -> None:
    """Both ways to run are there."""
    assert [unit.name for unit in UNITS] == ["bridge.service", "bridge@.service"]


@every_unit
def test_the_unit_has_readiness_watchdog_state_and_an_own_user(unit: Path) -> None:
    """What the daemon relies on: sd_notify, a place to write, a restart that does not loop on a wrong configuration."""
    found = _directives(unit)
    assert {name: found.get(name) for name in DIRECTIVES} == DIRECTIVES
    command = "/opt/bridge/.venv/bin/bridge run --config /etc/bridge/config.toml"
    assert found["ExecStart"] == command + (" --tenant %i" if "@" in unit.name else "")
    assert "LoadCredential=" in unit.read_text(encoding="utf-8")


@every_unit
def test_the_exposure_is_at_most_two(unit: Path) -> None:
    """systemd's own judgement of the hardening, 0 (locked) to 10 (open)."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed here")
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(unit)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", answer.stdout)
    assert exposure is not None
    assert float(exposure[1]) <= EXPOSURE_CAP
