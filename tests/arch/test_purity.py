"""Judgement and mapping are pure: no clock, no chance, no environment, no files, no logging."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.arch.source import ROOT, name_of, tree

PURE = sorted(
    [
        *(ROOT / "bridge" / "rules").rglob("*.py"),
        *(ROOT / "adapters").glob("*/mapping.py"),
        *(ROOT / "bridge" / name for name in ("model.py", "states.py", "identity.py", "channels.py")),
        *(ROOT / "bridge" / name for name in ("clues.py", "frozen.py", "persons.py", "products.py", "signs.py")),
        *(ROOT / "bridge" / name for name in ("forms.py", "survey.py", "init/suggest.py", "init/draft.py")),
    ]
)
SYSTEM = {"asyncio", "io", "os", "shutil", "socket", "subprocess", "tempfile"}
MODULES = SYSTEM | {"logging", "random", "secrets", "structlog", "time"}
NAMES = {"input", "open", "print"}
CLOCKS = {"now", "today", "utcnow", "uuid1", "uuid4"}
METHODS = CLOCKS | {"environ", "getenv", "read_text", "read_bytes", "write_text", "write_bytes"}


def _impure(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        line = f"line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            yield from (f"{line}: import {n.name}" for n in node.names if n.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            yield f"{line}: from {node.module} import"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NAMES:
            yield f"{line}: {node.func.id}()"
        elif isinstance(node, ast.Attribute) and node.attr in METHODS:
            yield f"{line}: .{node.attr}"


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_pure_modules_touch_nothing_but_their_arguments(path: Path) -> None:
    """The same facts give the same judgement, today and in a replay next year."""
    assert list(_impure(path)) == []


def test_the_check_itself_sees_what_it_forbids(tmp_path: Path) -> None:
    """Each forbidden form is recognised."""
    sample = tmp_path / "sample.py"
    sample.write_text("import time\nfrom os import environ\nx = datetime.now(UTC)\nopen('f')\nprint(random.random())\n")
    assert len(list(_impure(sample))) == 5


def test_the_domain_model_uses_the_standard_library_only() -> None:
    """``model.py`` with what it is made of, and ``errors.py``, can be read, and imported, without anything else but
    the library that makes values.
    """
    own = {"bridge.frozen", "bridge.products"}
    for name in ("model.py", "errors.py", "frozen.py", "products.py"):
        for node in ast.walk(tree(ROOT / "bridge" / name)):
            modules = [n.name for n in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {m.partition(".")[0] for m in modules if m not in own} - {"msgspec"} <= sys.stdlib_module_names
