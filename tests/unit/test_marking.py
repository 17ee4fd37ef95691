"""Settings of write-back: what is refused before it can do harm."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bridge.config import TenantSettings
from bridge.marking import MarkedSettings, WriteBackSettings


def tenant(when: dict[str, Any], **write_back: str) -> TenantSettings:
    source = MarkedSettings(kind="crm", write_back=WriteBackSettings(**write_back)) if write_back else None
    goal = {"name": "sale", "when": when}
    return TenantSettings.model_validate({"sources": {"crm": source or MarkedSettings(kind="crm")}, "goals": [goal]})


@pytest.mark.parametrize(
    ("when", "write_back"),
    [
        ({"tag": ["VIP", "Sent"]}, {"tag": "sent"}),
        ({"outcome": "won", "field": {"Mark": "x"}}, {"field": "MARK"}),
        ({"field": {"780030": "x"}}, {"field": "780030", "tag": "sent"}),
    ],
)
def test_a_goal_that_looks_at_marks_is_refused(when: dict[str, Any], write_back: dict[str, str]) -> None:
    """It would be reached by what we write, and go round in circles."""
    with pytest.raises(
        ValidationError, match=r'goal "sale" looks at the (tag|field) .* that write_back of "crm" writes'
    ):
        tenant(when, **write_back)
    assert tenant(when).goals[0].name == "sale"


@pytest.mark.parametrize("owner", ["goal", "score"])
def test_neither_criteria_nor_scores_look_at_marks(owner: str) -> None:
    """However deep the condition stands; it is said whose it is."""
    deep = {"at_least": 1, "of": [{"outcome": "won"}, {"at_least": 1, "of": [{"tag": "sent"}]}]}
    source = MarkedSettings(kind="crm", write_back=WriteBackSettings(tag="sent"))
    parts: dict[str, dict[str, Any]] = {
        "goal": {"goals": [{"name": "sale", "when": deep}]},
        "score": {"scores": {"sale": {"rules": [{"points": 5, "when": deep}]}}},
    }
    with pytest.raises(ValidationError, match=f'{owner} "sale" looks at the tag "sent"'):
        TenantSettings.model_validate({"sources": {"crm": source}, **parts[owner]})


def test_other_tags_and_fields_are_free() -> None:
    """Only the mark's own are taken."""
    assert tenant({"tag": ["VIP"], "field": {"Order": 5}}, tag="sent", field="Mark").goals[0].name == "sale"


@pytest.mark.parametrize("wrong", [{}, {"field": ""}, {"tag": "a,b"}, {"tag": "x" * 51}, {"note": True}])
def test_what_cannot_be_written_is_refused(wrong: dict[str, Any]) -> None:
    """Nothing at all, an empty name, a tag that would be two, a long one, and what there is not."""
    with pytest.raises(ValidationError):
        WriteBackSettings.model_validate(wrong)


def test_a_number_is_the_id_of_a_field() -> None:
    """Written as one in TOML."""
    assert WriteBackSettings.model_validate({"field": 780030}).field == "780030"
