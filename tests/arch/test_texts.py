"""What stands in the files: docstrings, reasoned suppressions, nothing that belongs to one machine."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.arch.source import CODE, ROOT, name_of, python_files, tree

TOPS = (".ci", "adapters", "bridge", "docs", "systemd", "tests")
# Written in pieces, so that this file passes its own test.
FORBIDDEN = (
    "py" "pi.org", "python" "hosted", "npm" "js.", "deb" ".debian", "crates" ".io", "/wo" "rk/", "/tm" "p/w",
    "/ro" "ot/", "/ho" "me/", "TO" "DO", "FIX" "ME",
)  # fmt: skip
REASONED = {
    "type: ignore": re.compile(r"# type: ignore\[[a-z, -]+\]\s+(#|-|—)\s*\S.{9,}"),
    "noqa": re.compile(r"# noqa: [A-Z]+[0-9]+(, ?[A-Z]+[0-9]+)*\s+(#|-|—)\s*\S.{9,}"),
    "pragma: no": re.compile(r"# pragma: no [a-z]+\s+(#|-|—)\s*\S.{9,}"),
    "mypy:": re.compile(r"(?!)"),  # a whole file is never let off
    "ruff:": re.compile(r"(?!)"),
}


def _texts() -> Iterator[tuple[str, str]]:
    """Every text file of the repository that is written by hand."""
    files = [path for path in ROOT.iterdir() if path.is_file() and path.suffix != ".db" and path.name != ".venv.lock"]
    files += [path for top in TOPS for path in (ROOT / top).rglob("*") if path.is_file()]
    for path in files:
        if "__pycache__" not in path.parts:
            yield name_of(path), path.read_bytes().decode("utf-8", "replace")


def _comments(path: Path) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def test_nothing_in_the_repository_belongs_to_one_machine() -> None:
    """No registry hosts, no paths of somebody's machine, no notes to oneself."""
    found = [f"{name}: {word}" for name, text in _texts() for word in FORBIDDEN if word in text]
    assert found == []


def test_every_suppression_has_a_code_and_a_reason() -> None:
    """Whoever silences a checker says which rule and why."""
    bare = []
    for path in python_files(*CODE, "tests"):
        for line, comment in _comments(path):
            marks = [good for mark, good in REASONED.items() if re.match(rf"#\s*{mark}", comment)]
            if not all(good.match(comment) for good in marks):
                bare.append(f"{name_of(path)}:{line} {comment}")
    assert bare == []


def test_the_check_for_suppressions_sees_bare_ones() -> None:
    """A code without a reason, and a reason without a code, are both refused."""
    good = REASONED["type: ignore"]
    assert good.match("# type: ignore[misc]  # the library has no types")
    assert not good.match("# type: ignore[misc]")
    assert not good.match("# type: ignore  # the library has no types")
    assert not REASONED["noqa"].match("# noqa")


def test_every_module_says_what_it_is() -> None:
    """A module with code but without a docstring has not been thought through."""
    silent = [path for path in python_files(*CODE, "tests") if tree(path).body and not ast.get_docstring(tree(path))]
    assert [name_of(path) for path in silent] == []
