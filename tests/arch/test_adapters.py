"""Every adapter folder is complete and like the others."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from bridge import registry
from bridge.config import DestinationSettings, SourceSettings
from bridge.ports import AdapterSpec
from bridge.sim.server import Simulator
from tests.arch.source import ROOT, adapter_folders, tree

FILES = ("__init__.py", "settings.py", "mapping.py", "README.md")
NETWORK_FILES = ("wire.py", "fake.py")
HEADINGS = {
    "what it reads or writes": r"read|writ",
    "set-up": r"set-?\s?up",
    "settings": r"setting",
    "limits": r"limit",
    "quirks": r"quirk",
    "what is not supported": r"not supported|unsupported",
}
every_adapter = pytest.mark.parametrize("folder", adapter_folders(), ids=lambda folder: folder.name)


def _spec(folder: Path) -> AdapterSpec:
    return registry.spec(folder.name)


def test_the_namespace_has_no_init_so_that_others_can_add_to_it() -> None:
    """Another distribution may bring ``adapters/<vendor>`` of its own."""
    assert not (ROOT / "adapters" / "__init__.py").exists()
    assert adapter_folders()


@every_adapter
def test_the_folder_has_every_file_of_the_design(folder: Path) -> None:
    """Fixed file names: whoever knows one adapter finds the way in all of them."""
    spec = _spec(folder)
    expected = [*FILES, *(NETWORK_FILES if spec.fake else ())]
    expected += ["source.py"] * (spec.source is not None) + ["destination.py"] * (spec.destination is not None)
    assert [name for name in expected if not (folder / name).is_file()] == []
    assert list((folder / "samples").iterdir())
    assert (ROOT / "tests" / "adapters" / folder.name).is_dir()


@every_adapter
def test_only_an_adapter_without_http_may_be_without_a_simulator(folder: Path) -> None:
    """What talks to a vendor can be run against the vendor's simulator."""
    uses_http = any(re.search(r"\.(http|mail)\b", path.read_text(encoding="utf-8")) for path in folder.glob("*.py"))
    assert bool(_spec(folder).fake) == uses_http


@every_adapter
def test_the_spec_has_the_folders_name_a_title_and_a_side(folder: Path) -> None:
    """``kind`` is what the operator writes; it is the folder."""
    spec = _spec(folder)
    assert spec.kind == folder.name
    assert spec.title
    assert spec.source or spec.destination


@every_adapter
def test_settings_derive_from_the_common_ones_and_accept_only_their_kind(folder: Path) -> None:
    """Unknown keys are errors in every adapter, and a section of another kind never passes."""
    spec = _spec(folder)
    sides = ((spec.source, SourceSettings), (spec.destination, DestinationSettings))
    for side, base in ((side, base) for side, base in sides if side):
        assert issubclass(side.settings, base)
        assert side.settings.model_config["extra"] == "forbid"
        assert repr(folder.name) in repr(side.settings.model_fields["kind"].annotation)


@every_adapter
def test_the_simulator_is_importable(folder: Path) -> None:
    """``SPEC.fake`` is a dotted path to a subclass of the simulator base, inside the folder."""
    path = _spec(folder).fake
    if path:
        module, _, name = path.rpartition(".")
        assert module.startswith(f"adapters.{folder.name}.")
        assert issubclass(getattr(importlib.import_module(module), name), Simulator)


@every_adapter
def test_the_readme_answers_the_questions_of_an_operator(folder: Path) -> None:
    """Each README has the same headings."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    headings = "\n".join(re.findall(r"^#+ (.+)$", text, re.MULTILINE)).lower()
    assert [name for name, pattern in HEADINGS.items() if not re.search(pattern, headings)] == []


def _fields(model: type[Any]) -> set[str]:
    own: set[str] = set(model.model_fields)
    common = {**SourceSettings.model_fields, **DestinationSettings.model_fields}
    assert issubclass(model, BaseModel)
    return own - set(common)


@every_adapter
def test_the_readme_names_every_setting(folder: Path) -> None:
    """A setting that is not in the README does not exist for the operator."""
    spec = _spec(folder)
    text = (folder / "README.md").read_text(encoding="utf-8")
    fields = {name for side in (spec.source, spec.destination) if side for name in _fields(side.settings)}
    assert sorted(name for name in fields if f"`{name}" not in text) == []


def _imports(path: Path) -> set[str]:
    """Every module this file imports, dotted."""
    found = set[str]()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


@every_adapter
def test_only_the_simulator_serves_http_or_knows_the_simulation(folder: Path) -> None:
    """What runs in production never imports a simulator, nor what simulators are made of."""
    for path in folder.rglob("*.py"):
        if not path.name.startswith("fake"):
            parts = {(module, part) for module in _imports(path) for part in module.split(".")}
            wrong = {module for module, part in parts if part == "aiohttp" or part.startswith("fake")}
            assert wrong | {module for module, _ in parts if module.startswith("bridge.sim")} == set(), path.name
