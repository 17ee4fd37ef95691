"""Hits on a pixel: their letters, what the answers mean, and that none is ever sent twice by itself."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.vk_ads import mapping, wire
from adapters.vk_ads.destination import VkAds
from adapters.vk_ads.fake import Pixel
from adapters.vk_ads.settings import VkAdsSettings
from bridge.errors import Ambiguous, BridgeError, Refused, RowRejected, Throttled
from bridge.frozen import replace
from bridge.model import Identifier, IdKind, Money, Outgoing
from bridge.ports import Fate, Level, Pass, Sealed
from bridge.sim.clock import ManualClock
from bridge.sim.faults import Fault, FaultPlan
from bridge.tools import Request, Response
from tests.support import START, simulated

SETTINGS = VkAdsSettings(kind="vk_ads", pixel_id="1234567")
CLICK = Identifier(IdKind.RB_CLICKID, "AbCdEf0123")
SAMPLE = Path(__file__).parents[3] / "adapters" / "vk_ads" / "samples" / "hit.txt"


def row(**changes: Any) -> Outgoing:
    """A qualified lead with a click of VK."""
    made = Outgoing(
        delivery=f"{1:032x}",
        order_key=f"{1001:032x}",
        target="qualified_lead",
        goal="qualified",
        occurred_at=START - timedelta(minutes=30),
        deal_created_at=START - timedelta(hours=1),
        value=Money.of(1500, "RUB"),
        identifiers=(CLICK,),
        touched_at=START - timedelta(hours=1),
    )
    return replace(made, **changes)


def sealed(one: Outgoing) -> Sealed:
    return Sealed("ab" * 16, mapping.render(one, SETTINGS.pixel_id), (one.delivery,))


@asynccontextmanager
async def client(folder: Path) -> AsyncIterator[tuple[VkAds, Pixel]]:
    """A destination on a simulated pixel."""
    pixel = Pixel(ManualClock(START))
    async with simulated(pixel, folder) as tools:
        yield VkAds("vk", VkAdsSettings.model_validate(pixel.settings()), tools), pixel


# --- the hit -----------------------------------------------------------------------------------------------------


def test_a_hit_is_the_contracts_letter_by_letter() -> None:
    """Semicolons, an encoded colon, a plain slash."""
    address = f"{SETTINGS.base_url}{wire.PATH}?{mapping.render(row(), SETTINGS.pixel_id).body.decode()}"
    assert address == SAMPLE.read_text(encoding="utf-8").strip()


@given(st.text(min_size=1, max_size=30), st.integers(0, 10**9), st.text(min_size=1, max_size=60))
def test_no_name_of_a_goal_can_break_out_of_its_parameter(goal: str, value: int, click: str) -> None:
    """Whatever is in them: three parameters, one slash, nothing but letters that an address may hold."""
    query = wire.encode("7", value, goal.encode("utf-8", "ignore").decode(), click.encode("utf-8", "ignore").decode())
    parts = query.decode("ascii").split(";")
    assert [part.partition("=")[0] for part in parts] == ["id", "e", "rb_clickid"]
    assert parts[1].count("/") == 1
    assert not set(query.decode()) & set(" &?#\r\n\"'<>")


@pytest.mark.parametrize(
    ("value", "told"), [(None, "0"), (Money.of("1500.49", "RUB"), "1500"), (Money.of("1500.50", "RUB"), "1501")]
)
def test_values_are_whole_units(value: Money | None, told: str) -> None:
    """Fractions are not documented; a goal without a value is worth nothing, and still counts."""
    assert f"e=RG%3A{told}/" in mapping.render(row(value=value), SETTINGS.pixel_id).body.decode()


def test_a_row_without_a_click_cannot_be_rendered() -> None:
    """Rejected by name, so that the others go on."""
    with pytest.raises(RowRejected):
        mapping.render(row(identifiers=()), SETTINGS.pixel_id)


# --- admission ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "verdict", "code"),
    [
        ({}, Pass.SEND, ""),
        ({"value": None}, Pass.SEND, ""),
        ({"identifiers": (Identifier(IdKind.YCLID, "12345000000000000001"),)}, Pass.REFUSED, "no_identifier"),
        ({"value": Money(-1, "RUB")}, Pass.REFUSED, "negative_value"),
        ({"value": Money.of(10, "KZT")}, Pass.REFUSED, "currency"),
        ({"occurred_at": START + timedelta(minutes=1)}, Pass.WAIT, "future"),
        ({"occurred_at": START - timedelta(days=3)}, Pass.SEND, ""),
        ({"occurred_at": START - timedelta(days=3, seconds=1)}, Pass.EXPIRED, "window_event"),
        ({"touched_at": START - timedelta(days=90, seconds=1)}, Pass.EXPIRED, "window_click"),
    ],
)
def test_each_row_is_admitted_by_what_a_hit_can_say(changes: dict[str, Any], verdict: Pass, code: str) -> None:
    """It names neither time nor currency, so what would be counted wrongly does not go."""
    admission = mapping.admit(row(**changes), START, SETTINGS)
    assert (admission.verdict, admission.code) == (verdict, code)


# --- answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, Throttled),
        *((status, Ambiguous) for status in (408, 500, 502, 503, 504)),
        *((status, Refused) for status in (400, 403, 404, 410)),
    ],
)
def test_only_a_clear_no_counts_as_not_counted(status: int, error: type[BridgeError]) -> None:
    """Every status means one recovery."""
    with pytest.raises(error):
        mapping.judge(Request("GET", wire.PATH), Response(status, {}, b""))


@pytest.mark.parametrize("status", [200, 204, 302])
async def test_a_picture_or_a_redirect_means_counted(tmp_path: Path, status: int) -> None:
    """What a pixel answers is not documented; the hit was made, and a redirect is not followed."""
    async with client(tmp_path) as (port, pixel):
        pixel.answers = status
        (outcome,) = (await port.send(sealed(row()))).outcomes
    assert outcome.fate is Fate.ACCEPTED
    assert pixel.strays == []
    assert [(item.target, item.value, item.reaches) for item in pixel.applied()] == [
        ("qualified_lead", Decimal(1500), 1)
    ]


@pytest.mark.parametrize(("status", "fate"), [(400, Fate.REJECTED), (404, None)])
async def test_a_wrong_address_blames_no_row(tmp_path: Path, status: int, fate: Fate | None) -> None:
    """400 can only be about the hit itself; anything else is the destination's trouble, and conversions wait."""
    async with client(tmp_path) as (port, pixel):
        pixel.answers = status
        if fate is None:
            with pytest.raises(Refused):
                await port.send(sealed(row()))
        else:
            (outcome,) = (await port.send(sealed(row()))).outcomes
            assert (outcome.fate, outcome.code) == (fate, "http_400")


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.ERROR_AFTER])
async def test_a_lost_answer_never_becomes_a_second_hit(tmp_path: Path, fault: Fault) -> None:
    """Although it is a GET, which HTTP clients repeat by themselves."""
    async with client(tmp_path) as (port, pixel):
        pixel.faults = FaultPlan(1, {fault: 1.0})
        with pytest.raises(Ambiguous):
            await port.send(sealed(row()))
        assert sum(pixel.requests.values()) == 1
    assert [item.reaches for item in pixel.applied()] == [1]


async def test_the_click_is_in_no_log_and_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole hit is an address, and addresses get everywhere. (``log.setup`` lets libraries warn, not chat.)"""
    caplog.set_level(logging.WARNING)
    async with client(tmp_path) as (port, pixel):
        pixel.answers = 404
        with pytest.raises(Refused) as caught:
            await port.send(sealed(row()))
    assert CLICK.value not in f"{caught.value} {caplog.text} {capsys.readouterr().out}"


async def test_check_asks_nothing_and_says_what_to_compare(tmp_path: Path) -> None:
    """Any hit would change the pixel."""
    async with client(tmp_path) as (port, pixel):
        (finding,) = await port.check({"qualified": "qualified_lead"})
        assert pixel.requests.total() == 0
    assert finding.level is Level.WARNING
    assert "1234567" in finding.message
    assert "qualified_lead" in finding.message
