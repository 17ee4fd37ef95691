"""Dependencies are declared once, locked with hashes, and the same everywhere."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from bridge import __version__
from tests.arch.source import CODE, ROOT, python_files, tree

LOCKS = ("requirements.lock", "requirements-install.lock", "requirements-dev.lock", "requirements-bench.lock")
# Needed at run time without an import of ours.
NOT_IMPORTED = {
    "asyncpg": "SQLAlchemy imports it by the database URL",
    "tzdata": "zoneinfo reads it where the machine has no time zones",
}
TARGETS = ("install", "demo", "test", "lint", "bench", "build", "lock")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _declared(requirements: list[str]) -> set[str]:
    return {_canonical(re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0]) for line in requirements}


def _locked(lock: str) -> dict[str, str]:
    text = (ROOT / lock).read_text(encoding="utf-8")
    return {_canonical(m[1]): m[2] for m in re.finditer(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE)}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_a_version_and_hashes(lock: str) -> None:
    """``pip --require-hashes`` can install the file, from whatever index the machine uses."""
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert lines
    assert [line.split()[0] for line in lines if not re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)] == []
    assert "://" not in text


def test_every_declared_dependency_is_locked() -> None:
    """After a change of pyproject.toml somebody has to run ``make lock``."""
    groups = PROJECT["dependency-groups"]
    runtime = _declared(PROJECT["project"]["dependencies"])
    install, dev, bench = (_declared(groups[name]) for name in ("install", "dev", "bench"))
    wanted = (runtime, runtime | install, runtime | install | dev, runtime | install | dev | bench)
    assert [packages - set(_locked(lock)) for packages, lock in zip(wanted, LOCKS, strict=True)] == [set()] * 4


def test_every_imported_library_is_declared_and_every_declared_one_is_imported() -> None:
    """Nothing works only because another library happens to bring it along, and nothing is installed for nothing."""
    owners = packages_distributions()
    imported = {name for path in python_files(*CODE) for name in _imports(path)} - set(sys.stdlib_module_names)
    providers = {name: set(map(_canonical, owners[name])) for name in imported - {"bridge", "adapters"}}
    declared = _declared(PROJECT["project"]["dependencies"])
    assert [name for name, owners_of in providers.items() if not owners_of & declared] == []
    assert declared - set().union(*providers.values()) == set(NOT_IMPORTED)


def _imports(path: Path) -> set[str]:
    found = set[str]()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def test_what_is_tested_is_what_runs() -> None:
    """A package has the same version in all locks."""
    runtime, install, dev, bench = (_locked(lock).items() for lock in LOCKS)
    assert runtime <= install <= dev <= bench


def test_the_demo_and_the_daemon_need_nothing_of_the_tests() -> None:
    """Whoever tries the demo or installs a server waits for no type checker and no PostgreSQL."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    rules = dict(re.findall(r"^([a-z]+|\$\([A-Z_]+\)):([^#\n]*)", makefile, re.MULTILINE))
    assert rules["demo"].strip() == rules["install"].strip() == "$(STAMP)"
    assert rules["$(STAMP)"].split() == [LOCKS[1], "pyproject.toml"]
    brought = set(_locked(LOCKS[1])) - set(_locked(LOCKS[0]))
    assert "hatchling" in brought
    assert not brought & _declared([name for name in PROJECT["dependency-groups"]["dev"] if "hatchling" not in name])


def test_the_makefile_has_the_documented_targets() -> None:
    """Each target that the README and CI name exists and installs by itself what it needs."""
    rules = dict(re.findall(r"^([a-z]+):([^#\n]*)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert [name for name in TARGETS if "STAMP)" not in rules.get(name, "")] == []


def test_the_version_is_in_the_changelog_or_still_unreleased() -> None:
    """Whoever upgrades finds what changed."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{__version__}]" in text or "## [Unreleased]" in text


def test_the_license_is_the_one_declared() -> None:
    """The full text of the licence is in the repository."""
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text(encoding="utf-8")
