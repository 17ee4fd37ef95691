"""The text of a configuration: what it means is what was decided, whatever the accounts call their things."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import registry
from bridge.config import tenant_settings
from bridge.forms import Ask, Form
from bridge.init.draft import Draft, suggestion, text_of
from bridge.init.suggest import FieldView, GoalPlan, Send
from bridge.init.wanted import SIDES, Section, sections, value_of
from bridge.model import IdKind
from bridge.survey import FieldSample, Guess, Target

SPECS = registry.adapters()
BOTH = [(side, kind) for side, word in SIDES.items() for kind, spec in SPECS.items() if getattr(spec, word)]
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
_EXAMPLES = {
    "sender": "leads@okna.example",
    "to.sales": "sales@okna.example",
    "chats.sales": "@okna_leads",
    "site_id": "40117",
    "project": "40001",
    "base_url": "https://okna.amocrm.ru",
    "counter_id": "90000001",
    "customer_id": "1234567890",
    "dataset_id": "123456789012345",
    "measurement_id": "G-AB12CD34EF",
    "path": "leads.csv",
    "pixel_id": "1234567",
    "spreadsheet": "1sImUlAtEdSpReAdShEeT-0123456789",
    "url": "https://okna.example/conversions",
}


def _form(side: str, kind: str) -> Form:
    form: Form = getattr(SPECS[kind], SIDES[side]).form
    return form


def _filled(side: str, kind: str, way: str = "") -> Section:
    """A section with an answer to everything its form asks."""
    section = sections(side, [kind])[0]
    section.way = way
    for ask in section.asks:
        section.values[ask.key] = _answer(section, ask)
    return section


def _answer(section: Section, ask: Ask) -> Any:
    if ask.is_secret:
        return {"env": "SECRET"}
    example = ask.choices[0] if ask.choices else ask.default or _EXAMPLES.get(ask.key, "x")
    return value_of(section, ask.key, example)


def _tenant(text: str) -> Any:
    return tenant_settings("okna", tomllib.loads(text)["tenants"]["okna"], registry.settings_of)


def _draft(*parts: Section, **more: Any) -> Draft:
    return Draft("okna", "Окна", "Europe/Moscow", "RUB", parts, **more)


# --- forms of the adapters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "kind"), BOTH)
def test_every_adapter_has_a_form(side: str, kind: str) -> None:
    """Whatever can be configured can be configured by ``bridge init``."""
    form = _form(side, kind)
    assert form.name
    assert form.asks or form.ways


@pytest.mark.parametrize(("side", "kind"), BOTH)
def test_a_form_asks_for_all_that_is_required(side: str, kind: str) -> None:
    """Each way of logging in, answered, is a valid section; without any of the answers it is not."""
    for way in [way.name for way in _form(side, kind).ways] or [""]:
        section = _filled(side, kind, way)
        settings = registry.settings_of(side, kind)
        settings.model_validate(section.nested())
        for ask in section.asks:
            assert "." in ask.key or ask.key in settings.model_fields


@pytest.mark.parametrize(("side", "kind"), BOTH)
def test_the_comments_of_a_section_are_settings_to_use(side: str, kind: str) -> None:
    """Every line "# key = value" is valid as soon as its "#" is removed."""
    section = _filled(side, kind, next((way.name for way in _form(side, kind).ways), ""))
    text = text_of(_draft(section), with_installation=False)
    head, _, rest = text.partition("kind =")
    body, _, _ = rest.partition("# --- Goals")
    opened = re.sub(r"^# (?=[a-z_]+ = )", "", body, flags=re.MULTILINE)
    assert opened.count(" = ") >= len(section.form.spares)
    _tenant(f"{head}kind ={opened}")


# --- any name ----------------------------------------------------------------------------------------------------


@given(NAMES, NAMES, NAMES, NAMES)
def test_names_of_every_sort_survive_and_never_break_out(title: str, stage: str, target: str, field: str) -> None:
    """Quotes, line breaks, control characters: in values to the letter, in comments harmless."""
    view = FieldView(FieldSample("x", (field, "x")), Guess(IdKind.YCLID, False, field))
    shown = Target(target, field, stage)
    plans = [
        GoalPlan("sale", {"stage": [stage]}, field, True, "deal", {"file": Send(target, True, stage)}),
        GoalPlan("spam", {"stage": [stage]}, field, False, "", {"file": Send("", False, stage, (shown,))}),
    ]
    source, destination = _filled("sources", "table", "file"), _filled("destinations", "table")
    draft = _draft(source, destination, goals=plans, views={source.own: [view]})
    draft.title = title
    draft.fields = {source.own: {IdKind.GCLID: [field]}}
    text = text_of(draft, with_installation=True)
    assert _tenant(text) == tenant_settings("okna", draft.data(), registry.settings_of)
    assert _tenant(text).title == title
    assert _tenant(text).sources[source.own].fields == {IdKind.GCLID: [field]}
    assert [goal.name for goal in _tenant(text).goals] == ["sale"]


@given(NAMES, NAMES)
def test_a_suggestion_is_text_that_can_be_copied(stage: str, field: str) -> None:
    """Also what is only a guess: without its "#" it is a goal like any other."""
    plan = GoalPlan("qualified", {"stage": [stage]}, field, False, "", {"file": Send("", False, field)})
    text = suggestion(_draft(goals=[plan]))
    opened = re.sub(r"^# (?=\[|[a-z_]+ = )", "", text, flags=re.MULTILINE)
    goals = tomllib.loads(opened)["tenants"]["okna"]["goals"]
    assert goals == [{"name": "qualified", "when": {"stage": [stage]}, "send": {"file": "ITS GOAL"}}]
