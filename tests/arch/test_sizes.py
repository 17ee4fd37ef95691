"""Sizes stay inside the budget: functions, files and parameter lists."""

from __future__ import annotations

import ast
import statistics

from tests.arch.source import CODE, Function, functions, name_of, python_files

BODY_CAP, BODY_P95, BODY_MEDIAN = 70, 35, 8
FILE_CAP, FILE_MEDIAN = 500, 200
PARAMETERS = 5

# A migration is a listing of one moment's schema, written once: its length says nothing about how hard it is to read.
FROZEN = "bridge/store/migrations/"
# "path name": why more parameters than the budget are right there.
MANY_PARAMETERS = {
    "bridge/identity.py conversion_id": "an id is the digest of exactly these facts, all of them plain texts",
}


def test_no_function_is_longer_than_the_cap() -> None:
    """A function of more than 70 lines does more than one thing."""
    found = [f for f in functions(*CODE, "tests") if not f.path.startswith(FROZEN)]
    assert [f"{f}: {f.lines} lines" for f in found if f.lines > BODY_CAP] == []


def test_most_functions_are_short() -> None:
    """Half of the bodies have at most 8 lines, 95 % at most 35."""
    lines = sorted(f.lines for f in functions(*CODE))
    assert statistics.median(lines) <= BODY_MEDIAN
    assert lines[int(len(lines) * 0.95)] <= BODY_P95


def test_no_file_is_longer_than_the_cap() -> None:
    """A file of more than 500 lines hides a second module."""
    sizes = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files(*CODE, "tests")}
    assert {name: size for name, size in sizes.items() if size > FILE_CAP} == {}
    core = [size for name, size in sizes.items() if not name.startswith("tests/") and size]
    assert statistics.median(core) <= FILE_MEDIAN


def _parameters(function: Function) -> int:
    given = function.node.args
    count = len(given.posonlyargs) + len(given.args)
    if not _is_simulator(function):
        count += len(given.kwonlyargs)
    first = (given.posonlyargs + given.args)[:1]
    return count - (bool(first) and first[0].arg in ("self", "cls"))


def _is_simulator(function: Function) -> bool:
    """A simulator's constructor: its own options are given by name, one or two at a time, each with a default."""
    name, _, method = function.name.rpartition(".")
    options = function.node.args
    is_fake = function.path.startswith("adapters/") and "/fake" in function.path
    return is_fake and bool(name) and method == "__init__" and None not in options.kw_defaults


def _is_command(function: Function) -> bool:
    """A typer command's parameters are the options of the command line."""
    called = [d.func for d in function.node.decorator_list if isinstance(d, ast.Call)]
    return any(isinstance(f, ast.Attribute) and f.attr in ("command", "callback") for f in called)


def test_functions_take_few_parameters() -> None:
    """More than five parameters are a dataclass in disguise; exceptions are listed with a reason."""
    many = {f"{f.path} {f.name}": _parameters(f) for f in functions(*CODE) if not _is_command(f)}
    over = {name: count for name, count in many.items() if count > PARAMETERS}
    assert {name: count for name, count in over.items() if name not in MANY_PARAMETERS} == {}
    assert set(MANY_PARAMETERS) <= set(over), "an exception that is no longer needed"
    assert all(len(reason) > 10 for reason in MANY_PARAMETERS.values())
