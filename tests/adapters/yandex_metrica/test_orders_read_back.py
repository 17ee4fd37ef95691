"""Each CRM order is looked for in the counter's reports, over real sockets: what shows it, and why one does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.model import ConversionKind, IdKind, Outgoing
from bridge.ports import Accepted, Answer, Level
from tests.adapters.yandex_metrica.helpers import CLIENT_ID, DAY, HOUR, roubles, row
from tests.adapters.yandex_metrica.test_orders import PERSON, Shop, opened, order
from tests.support import START

OTHER, STRANGER = "1712345678999999999", "1712345678000000001"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with opened(tmp_path) as made:
        yield made


async def told(shop: Shop, answer: Answer, *rows: Outgoing, after: timedelta = 4 * HOUR) -> list[tuple[str, str]]:
    """The verdicts, so long after the upload."""
    accepted = Accepted(answer.receipt, rows, shop.clock.now())
    shop.clock.advance(after)
    verdicts = await shop.client.verify(accepted)
    assert verdicts is not None
    return [(verdict.seen.value, verdict.code) for verdict in verdicts]


def of(client_id: str, number: int, **changes: Any) -> Outgoing:
    changes = {"target": "PAID", "rank": 2, "order_key": f"{number:032x}", **changes}
    return row((IdKind.CLIENT_ID, client_id), number=number, **changes)


@pytest.mark.parametrize(
    "made",
    [
        order(),
        order(target="qualified_lead", rank=1),
        order(target="PAID", rank=2, value=roubles("10")),
        order(target="PAID", rank=2, value=roubles("0"), kind=ConversionKind.RESTATEMENT),
        order(target="SPAM", rank=2),
    ],
)
async def test_a_linked_order_is_seen_at_the_goal_of_its_state(shop: Shop, made: Outgoing) -> None:
    """In progress, a goal of one's own, paid, refunded, spam: each by its own goal; until it shows, later."""
    answer = await shop.send(made)
    assert await told(shop, answer, made, after=timedelta(0)) == [("later", "")]
    assert await told(shop, answer, made) == [("verified", "order_goal")]


async def test_an_order_that_is_not_linked_is_named_with_the_likeliest_reason(shop: Shop) -> None:
    """Beside one that is: a ClientID that never visited, one that came the day after, one whose goal is not there."""
    shop.fake.visit("ClientId", OTHER, START + DAY)
    late = of(CLIENT_ID, 3, deal_created_at=START - 22 * DAY, occurred_at=START - HOUR)
    rows = [of(CLIENT_ID, 1), of(STRANGER, 2), late, of(OTHER, 4)]
    answer = await shop.send(*rows)
    assert await told(shop, answer, *rows) == [("verified", "order_goal"), *[("later", "")] * 3]
    assert await told(shop, answer, *rows, after=2 * DAY) == [
        ("verified", "order_goal"),
        ("unlinked", "unknown_id"),
        ("unlinked", "visit_after_order"),
        ("unlinked", "visit_after_order"),
    ]


async def test_contacts_may_have_found_another_visitor(shop: Shop) -> None:
    """A ClientID that nobody has proves nothing about an order that phones went along with."""
    made = of(STRANGER, 1, persons=(PERSON,))
    assert await told(shop, await shop.send(made), made, after=2 * DAY) == [("unknown", "unknown_id")]


async def test_of_two_orders_of_one_visitor_one_reach_proves_neither(shop: Shop) -> None:
    """Which of them is linked nobody can tell."""
    rows = (of(CLIENT_ID, 1), of(CLIENT_ID, 2))
    answer = await shop.send(*rows)
    shop.fake.orders.orders[rows[0].order_key].visit = None
    assert set(await told(shop, answer, *rows, after=2 * DAY)) == {("unknown", "partly_seen")}


@pytest.mark.parametrize(
    "made", [order(identifiers=(), persons=(PERSON,)), of(CLIENT_ID, 1, target="CANCELLED")], ids=["blind", "no goal"]
)
async def test_what_no_report_shows_is_as_good_as_its_file(shop: Shop, made: Outgoing) -> None:
    """Nobody to look for, or no goal of that state in an older counter: only that the file was valid."""
    shop.fake.goals = [goal for goal in shop.fake.goals if goal["type"] != "cdp_order_cancelled"]
    assert await told(shop, await shop.send(made), made) == [("verified", "upload_passed")]


async def test_check_reads_the_reports_it_will_need(shop: Shop) -> None:
    """A token that may not is told so, with what to do."""
    findings = await shop.client.check({"won": "PAID"})
    assert [one.level for one in findings if one.subject == "read-back"] == [Level.OK]
    shop.fake.statistics.is_allowed = False
    (found,) = [one for one in await shop.client.check({"won": "PAID"}) if one.subject == "read-back"]
    assert found.level is Level.WARNING
    assert "metrika:read" in found.message


async def test_many_uploads_are_judged_by_one_report(shop: Shop) -> None:
    """A login has 200 reports in five minutes (contract yandex 10)."""
    answers = [(made, await shop.send(made)) for made in (of(CLIENT_ID, number) for number in range(8))]
    shop.clock.advance(4 * HOUR)
    before = shop.fake.requests.copy()
    for made, answer in answers:
        await shop.client.verify(Accepted(answer.receipt, (made,), START))
    asked = shop.fake.requests - before
    assert sum(count for name, count in asked.items() if name == "GET data") == 1
