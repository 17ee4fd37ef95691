"""Messages to people: what they say, and when nobody is told."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bridge.frozen import replace
from bridge.model import Identifier, IdKind, Money
from bridge.notices import NoticeSettings, admit, quiet_until, text_of
from bridge.ports import Pass
from tests.support import NOTICE, START

MOSCOW = ZoneInfo("Europe/Moscow")
TIMES = st.times().map(lambda moment: moment.replace(microsecond=0, second=0))
ROW = replace(
    NOTICE,
    value=Money.of("1500.50", "RUB"),
    identifiers=(Identifier(IdKind.YCLID, "1"), Identifier(IdKind.YCLID, "2"), Identifier(IdKind.CLIENT_ID, "3")),
)


def settings(**changes: Any) -> NoticeSettings:
    return NoticeSettings.model_validate({"kind": "telegram", **changes})


def test_every_place_is_filled_in_the_tenants_time() -> None:
    """Deal, value and times as people of this tenant read them; kinds of identifiers, never their values."""
    template = "{goal}|{to}|{deal}|{source}|{kind}|{id}|{value}|{at}|{created}|{click}|{{}}"
    expected = (
        "qualified|sales|lead:5123|crm|lead|5123|1500.50 RUB|2026-03-02 12:00|2026-03-02 11:00|yclid, client_id|{}"
    )
    assert text_of(ROW, settings(template=template), "Europe/Moscow") == expected


def test_what_is_not_known_is_a_dash() -> None:
    """A goal without a value, a deal without a click."""
    bare = replace(ROW, value=None, identifiers=())
    assert text_of(bare, settings(template="{value} {click}"), "Europe/Moscow") == "- -"


def test_a_goal_may_have_words_of_its_own() -> None:
    """Others get the common ones."""
    told = settings(template="common", templates={"sale": "sold for {value}"})
    assert text_of(replace(ROW, goal="sale"), told, "UTC") == "sold for 1500.50 RUB"
    assert text_of(ROW, told, "UTC") == "common"


@pytest.mark.parametrize("template", ["{phone}", "{id.real}", "{id!r}", "{id:>9}", "{0}", "{", "}", "{}", ""])
def test_a_template_with_anything_but_plain_places_is_refused(template: str) -> None:
    """A wrong place is found when the configuration is read, not at the first lead; attributes are out of reach."""
    with pytest.raises(ValidationError):
        settings(template=template)


@pytest.mark.parametrize("hours", ["22:00", "22:00-", "25:00-09:00", "09:00-09:00", "night"])
def test_hours_that_are_none_are_refused(hours: str) -> None:
    """And the message shows how to write them."""
    with pytest.raises(ValidationError, match="22:00-09:00"):
        settings(quiet=hours)


def test_nobody_is_told_of_last_week_nor_of_tomorrow() -> None:
    """A backfill does not empty itself into a chat."""
    told = settings()
    assert admit(ROW, START + timedelta(hours=24), told, "UTC").verdict is Pass.SEND
    assert admit(ROW, START + timedelta(hours=24, seconds=1), told, "UTC").verdict is Pass.EXPIRED
    early = admit(ROW, START - timedelta(minutes=1), told, "UTC")
    assert (early.verdict, early.until) == (Pass.WAIT, START)


def test_a_message_of_the_night_goes_out_in_the_morning() -> None:
    """Twenty past midnight in Moscow waits until nine there."""
    night = datetime(2026, 3, 2, 21, 20, tzinfo=UTC)
    waiting = admit(replace(ROW, occurred_at=night), night, settings(quiet="22:00-09:00"), "Europe/Moscow")
    morning = datetime(2026, 3, 3, 6, 0, tzinfo=UTC)
    assert (waiting.verdict, waiting.code, waiting.until) == (Pass.WAIT, "quiet_hours", morning)
    assert (
        admit(replace(ROW, occurred_at=night), morning, settings(quiet="22:00-09:00"), "Europe/Moscow").verdict
        is Pass.SEND
    )


@given(st.integers(0, 400 * 1440).map(lambda minutes: START + timedelta(minutes=minutes)), TIMES, TIMES)
def test_quiet_hours_end_and_are_over_then(now: datetime, begin: time, end: time) -> None:
    """Within a day, at the end that was said; and at that moment it is not quiet any more."""
    if begin == end:
        return
    until = quiet_until(now, (begin, end), MOSCOW)
    if until is None:
        return
    assert timedelta(0) < until - now <= timedelta(days=1)
    assert until.astimezone(MOSCOW).time() == end
    assert quiet_until(until, (begin, end), MOSCOW) is None
