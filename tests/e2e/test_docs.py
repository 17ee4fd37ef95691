"""What the documentation says is so: commands parse and run, snippets load, links lead somewhere, tables are whole."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel
from typer.testing import CliRunner

from bridge import log, registry
from bridge.cli import app
from bridge.clues import Garbage, read_clue
from bridge.collector.settings import CollectorSettings
from bridge.compose import load_config
from bridge.config import (
    DestinationSettings,
    Goal,
    RootSettings,
    SecretRef,
    SourceSettings,
    TenantSettings,
    TrackerSettings,
    When,
    parse_duration,
)
from bridge.model import Clue, IdKind
from bridge.rules.coverage import leads_needed
from bridge.scoring import DatedField, Score, ScoreRule
from bridge.sim import demo
from bridge.states import DeliveryState
from bridge.valuing import ValueOf
from bridge.visits import VisitSettings
from bridge.web.metrics import exposition
from tests.e2e import pages
from tests.e2e.pages import ENGLISH, PAGES, ROOT, RUSSIAN

DOCS = ROOT / "docs"
COMMAND = typer.main.get_command(app)
every_page = pytest.mark.parametrize("page", PAGES, ids=pages.name_of)


# --- commands ----------------------------------------------------------------------------------------------------


def _leaf(args: list[str]) -> tuple[Any, list[str]]:
    """The command that these arguments name, and what is left for it."""
    command: Any = COMMAND
    while args and args[0] in getattr(command, "commands", {}):
        command, args = command.commands[args[0]], args[1:]
    return command, args


def _leaves(command: Any = COMMAND, path: tuple[str, ...] = ("bridge",)) -> Iterator[tuple[str, Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from _leaves(inner, (*path, name))
    if not hasattr(command, "commands"):
        yield " ".join(path), command


def _options(command: Any) -> set[str]:
    """Its visible options, by their long names."""
    visible = [param for param in command.params if not getattr(param, "hidden", False)]
    return {name for param in visible for name in param.opts if name.startswith("--")}


CALLS = [(block.page, args) for block in pages.all_blocks("sh") for args in pages.calls(block)]


@pytest.mark.parametrize(("page", "args"), CALLS, ids=[f"{page}: {' '.join(args)}" for page, args in CALLS])
def test_every_command_in_a_shell_block_parses(page: str, args: list[str]) -> None:
    """Known subcommand, known options, nothing required left out."""
    command, rest = _leaf(args)
    if hasattr(command, "commands"):
        assert rest, page
        assert set(rest) <= _options(command), page
    else:
        command.make_context("bridge", list(rest))


@every_page
def test_every_command_named_in_the_prose_exists(page: Path) -> None:
    """`bridge held list` in a sentence is a command, and so are its options."""
    for args in pages.spans(page):
        command, rest = _leaf(args)
        if args[0] != "COMMAND":
            assert command is not COMMAND or set(rest) <= _options(command), args
            assert {word for word in rest if word.startswith("--")} <= _options(command) | {"--help"}, args


@pytest.mark.parametrize(
    ("name", "command"), list(_leaves()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_reference_of_a_command_names_each_of_its_options(name: str, command: Any) -> None:
    """No more and no fewer; and every command is in the README's table."""
    text = pages.section(pages.text_of(DOCS / "reference" / "commands.md"), f"## `{name}`")
    assert set(re.findall(r"--[a-z][a-z-]*", text)) == _options(command) - {"--help"}
    readme = "\n".join(row[0] for row in pages.rows(pages.section(pages.text_of(ENGLISH), "## Commands")))
    assert " ".join(name.split()[:2]) in readme


def test_the_reference_names_every_source_that_is_granted_by_a_code() -> None:
    """And `--auth` of init every source with more than one way of logging in."""
    text = pages.text_of(DOCS / "reference" / "commands.md")
    sources = {kind: spec.source for kind, spec in registry.adapters().items() if spec.source is not None}
    granting, choosing = pages.section(text, "## `bridge auth`"), pages.section(text, "## `bridge init`")
    assert [kind for kind, part in sources.items() if part.authorize and f"`{kind}`" not in granting] == []
    (row,) = [line.lower() for line in choosing.splitlines() if line.startswith("| `--auth`")]
    assert [kind for kind, part in sources.items() if len(part.form.ways) > 1 and kind not in row] == []


def test_every_make_target_named_exists() -> None:
    """In shell blocks and in sentences."""
    makefile = pages.text_of(ROOT / "Makefile")
    texts = [block.text for block in pages.all_blocks("sh")]
    texts += [text for page in PAGES for text in pages.code(pages.prose(page))]
    named = {name for text in texts for name in re.findall(r"^(?:sudo )?make (?:-C \S+ )?([a-z]+)", text, re.MULTILINE)}
    assert {"demo", "test", "install"} <= named
    assert sorted(name for name in named if not re.search(rf"^{name}:", makefile, re.MULTILINE)) == []


# --- snippets ----------------------------------------------------------------------------------------------------

SNIPPETS = pages.all_blocks("toml")


@pytest.mark.parametrize("block", SNIPPETS, ids=[f"{block.page} {n}" for n, block in enumerate(SNIPPETS)])
def test_every_configuration_snippet_loads(block: pages.Block, tmp_path: Path) -> None:
    """Whoever pastes it gets a configuration without unknown keys."""
    path = tmp_path / "config.toml"
    path.write_text(block.text, encoding="utf-8")
    assert dict(load_config(path).broken) == {}


def test_the_table_of_the_first_tenant_page_works_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configuration and commands of its last part, on the sample, one after the other."""
    blocks = pages.blocks(DOCS / "howto" / "first-tenant.md")
    place = next(number for number, block in enumerate(blocks) if block.word == "table")
    (tmp_path / "config.toml").write_text(blocks[place - 1].text, encoding="utf-8")
    shutil.copy(DOCS / "leads.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    done = {" ".join(args): CliRunner().invoke(app, args) for args in pages.calls(blocks[place])}
    assert [name for name, result in done.items() if result.exit_code not in (0, 1)] == []
    assert [name for name, result in done.items() if not isinstance(result.exception, SystemExit | None)] == []
    explained = next(result.stdout for name, result in done.items() if name.startswith("explain"))
    assert "sale -> file (deal_won), 65,800.00 RUB: expired" in explained
    assert "2 warnings" in done["check"].stdout  # a bad date, a destroyed identifier


def test_the_table_of_the_first_tenant_page_is_what_the_printed_init_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal, on the sample: whatever the page shows stands in the file, and the goals are the same."""
    blocks = pages.blocks(DOCS / "howto" / "first-tenant.md")
    place = next(number for number, block in enumerate(blocks) if block.word == "table")
    shutil.copy(DOCS / "leads.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    (args,) = pages.calls(blocks[place - 2])
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    shown = tomllib.loads(blocks[place - 1].text)["tenants"]["shop"]
    written = tomllib.loads(Path("config.toml").read_text(encoding="utf-8"))["tenants"]["shop"]
    for side in ("sources", "destinations"):
        assert {own: {**written[side][own], **item} for own, item in shown[side].items()} == written[side]
    assert [goal for goal in written["goals"] if goal["name"] == "sale"] == shown["goals"]


def test_what_the_demo_invites_to_works_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A short demo; then its three commands, and those of the README, on what it left."""
    monkeypatch.setattr(demo, "DAYS", 4)
    monkeypatch.setattr(demo, "LEADS", 30)
    monkeypatch.chdir(tmp_path)
    assert demo.run_demo(Path("demo"), 7, None) == 0
    told = capsys.readouterr().out
    assert "missing 0, doubled 0" in told
    invited = [shlex.split(line)[1:] for line in told.splitlines() if " --config demo" in line]
    assert [args[0] for args in invited] == ["explain", "status", "held"]
    for args in [*invited, ["explain", invited[0][1], *invited[0][2:], "--json"], ["adapters"], ["adapters", "--json"]]:
        result = CliRunner().invoke(app, args)
        assert result.exit_code == 0, (args, result.output)
        assert result.stdout.strip()
    _is_over(Path("demo/config.toml"))


def _is_over(config: Path) -> None:
    """What would need the simulators says plainly that they are gone, and leaves no trouble behind."""
    given = ["--config", str(config)]
    period = ["backfill", "--tenant", "okna", "--since", "2026-01-01"]
    for args in (["check"], ["sync"], ["run"], period):
        result = CliRunner().invoke(app, [*args, *given])
        assert result.exit_code == 2, args
        assert "its simulators" in result.stderr
        assert f"bridge status -c {config}" in result.stderr
        assert f"bridge explain -c {config} DEAL --tenant TENANT" in result.stderr
    assert json.loads(CliRunner().invoke(app, ["status", *given, "--json"]).stdout)["attention"] == []
    assert CliRunner().invoke(app, ["check", "--config", "demo/table.toml"]).exit_code < 2  # it needs no simulator


def test_the_code_that_the_destination_page_shows_is_the_adapters_own() -> None:
    """Letter by letter: a walk-through of code that has moved on leads astray."""
    folder = ROOT / "adapters" / "vk_ads"
    code = "\n".join(pages.text_of(path) for path in folder.glob("*.py"))
    shown = [
        block.text for block in pages.blocks(DOCS / "howto" / "add-a-destination.md") if block.language == "python"
    ]
    assert len(shown) >= 6
    assert [text for text in shown if text.strip("\n") not in code] == []


# --- pages -------------------------------------------------------------------------------------------------------


@every_page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    """Files and folders of the repository that exist."""
    assert [target for target in pages.links(page) if not (page.parent / target).exists()] == []


def test_every_page_of_the_docs_is_in_their_index() -> None:
    """What nobody finds is not documentation."""
    index = {(DOCS / target).resolve() for target in pages.links(DOCS / "README.md")}
    assert [pages.name_of(page) for page in DOCS.rglob("*.md") if page.name != "README.md" and page not in index] == []


def test_both_readmes_say_the_same() -> None:
    """The same headings, the same tables, the same links, the same blocks but for comments and one drawing."""
    english, russian = pages.text_of(ENGLISH), pages.text_of(RUSSIAN)

    def levels(text: str) -> list[str]:
        return re.findall(r"^(#+|\|[-|]+\|$)", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.MULTILINE)

    def links(page: Path) -> list[str]:
        return sorted(target for target in pages.links(page) if not target.startswith("README"))

    def told(page: Path) -> list[Any]:
        return [
            (block.language, [] if "CRM ->" in block.text else pages.without_comments(block.text))
            for block in pages.blocks(page)
        ]

    assert levels(english) == levels(russian)
    assert links(ENGLISH) == links(RUSSIAN)
    assert told(ENGLISH) == told(RUSSIAN)
    assert set(re.findall(r"`(bridge[^`]*)`", english)) == set(re.findall(r"`(bridge[^`]*)`", russian))


def test_the_readmes_are_short() -> None:
    """Dense pages are read, long ones are not."""
    assert len(pages.text_of(ENGLISH).splitlines()) <= 210
    assert len(pages.text_of(RUSSIAN).splitlines()) <= 215


# --- reference ---------------------------------------------------------------------------------------------------

_CORE: dict[str, type[BaseModel]] = {
    "root": RootSettings,
    "tenant": TenantSettings,
    "goal": Goal,
    "when": When,
    "score": Score,
    "score rule": ScoreRule,
    "source": SourceSettings,
    "tracker": TrackerSettings,
    "visits": VisitSettings,
    "collector": CollectorSettings,
    "destination": DestinationSettings,
}
_SIDES: dict[str, type[BaseModel]] = {
    f"{kind} {name}": side.settings
    for kind, spec in registry.adapters().items()
    for name, side in (("source", spec.source), ("destination", spec.destination))
    if side is not None
}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections a setting consists of; references, conditions and lists of sections are values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation not in (SecretRef, When, DatedField, ValueOf):
            yield annotation
    elif getattr(annotation, "__origin__", None) not in (list, dict):
        for part in get_args(annotation):
            yield from _models(part)


def _settings(model: type[BaseModel], without: frozenset[str] = frozenset()) -> Iterator[tuple[str, Any]]:
    """(dotted key, default) of each setting; ``...`` where it is required."""
    for name, field in model.model_fields.items():
        inner = list(_models(field.annotation))
        if name not in without and inner:
            for part in inner:
                yield from ((f"{name}.{key}", default) for key, default in _settings(part))
        elif name not in without:
            yield name, ... if field.is_required() else field.get_default(call_default_factory=True)


def _documented() -> dict[str, dict[str, str]]:
    """Marker -> key -> the default as it is printed."""
    text = pages.text_of(DOCS / "reference" / "configuration.md")
    parts = re.split(r"<!-- model: ([a-z0-9_ ]+) -->", text)
    return {
        name: {pages.code(row[0])[0]: row[1] for row in pages.rows(part)}
        for name, part in zip(parts[1::2], parts[2::2], strict=True)
    }


def _is_told(default: Any, cell: str) -> bool:
    if default is ... or default is None:
        return cell == ("required" if default is ... else "none")
    if not pages.code(cell):
        return cell.startswith("[words](") and isinstance(default, list)
    value = tomllib.loads(f"x = {pages.code(cell)[0]}")["x"]
    if isinstance(default, timedelta):
        return bool(default == parse_duration(value))
    return bool(default == (tuple(value) if isinstance(default, tuple) else value))


def test_the_configuration_reference_has_a_table_for_every_section() -> None:
    """The installation, tenant, goal, conditions, and both sides of every adapter."""
    assert set(_documented()) == set(_CORE) | set(_SIDES)


@pytest.mark.parametrize("name", [*_CORE, *_SIDES])
def test_the_configuration_reference_has_every_key_with_its_default(name: str) -> None:
    """Compared with the models themselves."""
    expected = dict(_settings({**_CORE, **_SIDES}[name], _told_elsewhere(name)))
    told = _documented()[name]
    assert sorted(told) == sorted(expected)
    assert [key for key, default in expected.items() if not _is_told(default, told[key])] == []


def _told_elsewhere(name: str) -> frozenset[str]:
    """Settings that the table of all sources, trackers or destinations tells of already."""
    if name == "collector":
        return frozenset(("kind", "fields", "sweep_every"))  # of no use to it
    if name in ("tracker", "visits"):
        own = _defaults(_CORE[name])
        return frozenset(key for key, default in _defaults(SourceSettings).items() if own[key] == default)
    if name not in _SIDES:
        return frozenset()
    kinds = {"tracker": TrackerSettings, "visits": VisitSettings}
    common = next((kind for kind, model in kinds.items() if issubclass(_SIDES[name], model)), name.rpartition(" ")[2])
    return frozenset(_CORE[common].model_fields)


def _defaults(model: type[BaseModel]) -> dict[str, Any]:
    return dict(_settings(model))


def test_the_metrics_reference_is_what_is_served() -> None:
    """Names and labels; the README and the alerts name only such."""
    text = pages.text_of(DOCS / "reference" / "metrics.md")
    told = {pages.code(row[0])[0]: set(row[1].split(", ")) for row in pages.rows(text)}
    assert told == _served()
    for page in (ENGLISH, RUSSIAN, DOCS / "howto" / "operate.md"):
        named = set(re.findall(r"\bbridge_(?!as\b)[a-z_]+", pages.prose(page)))
        assert named <= set(told), page.name


def _served() -> dict[str, set[str]]:
    source: dict[str, Any] = {
        "deals": 1,
        "unmatched": 0,
        "quarantined": 0,
        "quarantine_codes": [],
        "last_error": None,
        "lag_s": 1,
    }
    source |= {"methods": {"field": 1}, "credential_expires_at": "2026-03-20T09:00:00+00:00"}
    windows = {"day": {"all": {"leads": 1, "own": 1, "joined": 0}}}
    source["coverage"] = {"windows": windows, "fallen": [], "silence": None}
    source |= {"sweep_age_s": 1, "sweep_missed": 0, "sweep_gone": 0, "sweep_aside": 0}
    source |= {"hook": True, "hook_age_s": 1, "hook_trouble": None, "hints_waiting": 0, "oldest_hint_s": None}
    source |= {"write_back": True, "marks_waiting": 0, "marks_failing": 0, "oldest_mark_s": None}
    destination: dict[str, Any] = {state.value: 0 for state in DeliveryState}
    destination |= {"in_doubt": 0, "oldest_pending_s": 0}
    closing: dict[str, Any] = {"count": 1, "overdue": 0, "first": "2026-03-20T09:00:00+00:00", "goals": {}}
    compared = {"audited_at": "2026-03-20T09:00:00+00:00", "error": None, "lost": 0, "extra": 0, "message": None}
    destination |= {"expired_reasons": {"window_21d": 1}, "closing": closing, "audit": compared}
    parts = {
        "sources": {"crm": source},
        "destinations": {"metrica": {**destination, "last_error": None}},
        "goals": {"sale": {"reached": 1}},
        "collector": {"taken": 1, "taken_at": None, "refused": {}},
        "accounts": {"crm": {"apis": [{"api": "v4", "days": 1}], "drift": [{"what": "status", "count": 1}]}},
    }
    lines = exposition({"tenants": {"okna": parts}}).decode().splitlines()
    samples = [re.match(r"([a-z_]+)\{(.*)\}", line) for line in lines if not line.startswith("#")]
    return {found[1]: set(re.findall(r"([a-z]+)=", found[2])) for found in samples if found}


def test_the_events_reference_is_the_closed_list_and_each_is_logged_somewhere() -> None:
    """No event without an explanation, none that never happens."""
    table = pages.rows(pages.text_of(DOCS / "reference" / "events.md"))
    assert {name for row in table for name in pages.code(row[0])} == log.EVENTS
    sources = [path for top in ("bridge", "adapters") for path in (ROOT / top).rglob("*.py") if path.name != "log.py"]
    text = "\n".join(pages.text_of(path) for path in sources)
    assert sorted(name for name in log.EVENTS if f'"{name}"' not in text) == []


def test_the_states_of_a_delivery_are_all_explained() -> None:
    """In the order of their lives."""
    text = pages.section(pages.text_of(DOCS / "explanation" / "exactly-once.md"), "## States of a delivery")
    assert [pages.code(row[0])[0] for row in pages.rows(text)] == [state.value for state in DeliveryState]


def test_every_example_of_garbage_is_refused_for_the_reason_given() -> None:
    """The table of the matching page, tried out."""
    text = pages.section(pages.text_of(DOCS / "explanation" / "matching.md"), "## Garbage")
    for cells in pages.rows(text):
        reason, kind, example = (pages.code(cell)[0] for cell in cells[:3])
        assert read_clue(Clue("field", example, IdKind(kind))) == [Garbage("field", reason)], example


def test_the_numbers_of_leads_that_let_a_broken_form_be_noticed_are_true() -> None:
    """The table of the coverage page, computed."""
    text = pages.section(pages.text_of(DOCS / "explanation" / "coverage.md"), "## When a share has fallen")
    told = {int(share.removesuffix(" %")): int(leads) for share, leads in pages.rows(text)}
    assert told == {share: leads_needed(share / 100) for share in told}
    assert len(told) >= 5
