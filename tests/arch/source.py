"""The repository's own files, as the architecture tests read them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bridge.frozen import frozen

ROOT = Path(__file__).resolve().parents[2]
CODE = ("bridge", "adapters")
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@frozen
class Function:
    """A function with its dotted name inside the file and the line count of its body, docstring excluded."""

    path: str
    name: str
    node: FunctionNode
    lines: int

    def __str__(self) -> str:
        return f"{self.path}:{self.node.lineno} {self.name}"


@cache
def python_files(*tops: str) -> tuple[Path, ...]:
    """Python files below these top-level folders, sorted."""
    return tuple(sorted(path for top in tops for path in (ROOT / top).rglob("*.py")))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(*tops: str) -> Iterator[Function]:
    """Every function and method below these folders, nested ones included."""
    for path in python_files(*tops):
        yield from _functions(name_of(path), tree(path), "")


def _functions(path: str, node: ast.AST, prefix: str) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FunctionNode):
            yield Function(path, prefix + child.name, child, _body_lines(child))
        name = getattr(child, "name", None) if isinstance(child, FunctionNode | ast.ClassDef) else None
        yield from _functions(path, child, f"{prefix}{name}." if name else prefix)


def _body_lines(node: FunctionNode) -> int:
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    if not body:
        return 0
    return (body[-1].end_lineno or body[-1].lineno) - body[0].lineno + 1


def adapter_folders() -> list[Path]:
    """The adapters of this repository: package folders below ``adapters``."""
    return sorted(path for path in (ROOT / "adapters").iterdir() if path.is_dir() and path.name != "__pycache__")
