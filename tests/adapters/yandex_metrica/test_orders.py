"""The client of CRM orders before the simulator, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.yandex_metrica import SPEC
from adapters.yandex_metrica.fake import Metrica as Simulator
from adapters.yandex_metrica.orders import Orders
from adapters.yandex_metrica.settings import MetricaSettings
from bridge.errors import Ambiguous, AuthError, BridgeError, Refused, Throttled
from bridge.model import ConversionKind, IdKind, Outgoing, Person
from bridge.ports import Accepted, Answer, Fate, Level, Proof, RowVerdict, Sealed, Seen, SharesGoals
from bridge.sim.clock import ManualClock
from bridge.sim.faults import Fault, FaultPlan
from tests.adapters.yandex_metrica.helpers import CLIENT_ID, HOUR, LABEL, roubles, row
from tests.support import START, simulated

PERSON = Person(phone_md5=("f09f2c3d48f31e2a802944ade2e5aec5",))


@dataclass(slots=True)
class Shop:
    """A counter that keeps orders, and its client."""

    fake: Simulator
    client: Orders
    clock: ManualClock

    async def send(self, *rows: Outgoing, label: str = LABEL) -> Answer:
        return await self.client.send(self.sealed(rows, label))

    def sealed(self, rows: Sequence[Outgoing], label: str = LABEL) -> Sealed:
        return Sealed(label, self.client.render(rows, label), tuple(one.delivery for one in rows))

    async def verify(self, answer: Answer, *rows: Outgoing) -> list[RowVerdict] | None:
        return await self.client.verify(Accepted(answer.receipt, rows, self.clock.now()))

    def states(self) -> list[tuple[str, Decimal | None]]:
        """What the only order went through."""
        (order,) = self.fake.orders.orders.values()
        return [(state.status, state.revenue) for state in order.states]


def order(number: int = 1, **changes: Any) -> Outgoing:
    changes = {"target": "IN_PROGRESS", "rank": 0, "order_key": f"{number:032x}", **changes}
    return row((IdKind.CLIENT_ID, CLIENT_ID), number=number, **changes)


@asynccontextmanager
async def opened(folder: Path, **settings: Any) -> AsyncIterator[Shop]:
    clock = ManualClock(START)
    fake = Simulator(clock, is_limited=False)
    fake.keep_orders()
    fake.visit("ClientId", CLIENT_ID, START - 2 * HOUR)
    async with simulated(fake, folder) as tools:
        section = MetricaSettings.model_validate({**fake.settings(), **settings})
        assert SPEC.destination is not None
        client = SPEC.destination.build("orders", section, tools)
        assert isinstance(client, Orders)
        assert client.traits.deal_orders == SPEC.destination.traits_for(section).deal_orders
        yield Shop(fake, client, clock)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with opened(tmp_path) as made:
        yield made


async def test_an_order_lives_from_its_creation_to_the_sale_and_the_refund(shop: Shop) -> None:
    """Each row is the order's whole state; the goals add up in the visit before its creation."""
    life = [
        order(),
        order(target="qualified_lead", rank=1),
        order(target="PAID", rank=2, value=roubles("1500.50")),
        order(target="PAID", rank=2, value=roubles("900"), kind=ConversionKind.RESTATEMENT),
        order(target="PAID", rank=2, value=roubles("0"), kind=ConversionKind.RESTATEMENT),
    ]
    for one in life:
        answer = await shop.send(one)
        assert [outcome.fate for outcome in answer.outcomes] == [Fate.ACCEPTED]
    assert shop.states() == [
        ("IN_PROGRESS", None),
        ("qualified_lead", None),
        ("PAID", Decimal("1500.50")),
        ("PAID", Decimal("900.00")),
        ("CANCELLED", Decimal("0.00")),
    ]
    (made,) = shop.fake.orders.orders.values()
    assert made.visit == int((START - 2 * HOUR).timestamp())
    assert list(made.reached) == ["cdp_order_in_progress", "qualified_lead", "cdp_order_paid", "cdp_order_cancelled"]


async def test_a_row_sent_again_changes_nothing(shop: Shop) -> None:
    """That is the proof by row: same order, same state."""
    assert shop.client.traits.proof is Proof.ROW
    for _ in range(2):
        await shop.send(order(target="PAID", value=roubles("10")))
    assert set(shop.states()) == {("PAID", Decimal("10.00"))}
    (made,) = shop.fake.orders.orders.values()
    assert len(made.reached) == 2


async def test_a_phone_alone_links_an_order(shop: Shop) -> None:
    """By its MD5, to the visitor whom the counter knows by that phone."""
    shop.fake.orders.contacts[PERSON.phone_md5[0]] = CLIENT_ID
    await shop.send(order(identifiers=(), persons=(PERSON,)))
    (made,) = shop.fake.orders.orders.values()
    assert made.client_id == CLIENT_ID


async def test_the_upload_is_found_in_the_list_of_uploads(shop: Shop) -> None:
    """Among a thousand later ones it is found by its time; without reports, passed is all there is to say."""
    shop.fake.orders.uploads += [{"uploading_id": f"old {n}", "datetime": "2026-01-01 00:00:00"} for n in range(3)]
    answer = await shop.send(order())
    later = {"datetime": "2026-03-02 12:00:01", "api_validation_status": "PASSED"}
    shop.fake.orders.uploads += [{"uploading_id": f"later {n}", **later} for n in range(1200)]
    shop.fake.statistics.is_allowed = False
    assert await shop.verify(answer, order()) == [RowVerdict(order().delivery, Seen.VERIFIED, "upload_passed")]


async def test_an_upload_that_turns_out_to_have_failed_refutes_its_rows(shop: Shop) -> None:
    """Whatever the answer said."""
    answer = await shop.send(order())
    shop.fake.orders.uploads[-1] |= {"api_validation_status": "FAILED"}
    verdicts = await shop.verify(answer, order())
    assert verdicts is not None
    assert (verdicts[0].seen, verdicts[0].code) == (Seen.REJECTED, "validation_failed")


async def test_an_upload_that_is_not_listed_yet_is_asked_about_again(shop: Shop) -> None:
    """A list may lag."""
    answer = await shop.send(order())
    shop.fake.orders.uploads.clear()
    assert await shop.verify(answer, order()) is None


@pytest.mark.parametrize("fails_whole", [False, True])
async def test_a_bad_row_is_found_by_halving(shop: Shop, fails_whole: bool) -> None:
    """Whether Metrica leaves it out or fails the file: FAILED comes with HTTP 200."""
    shop.fake.orders.fails_whole = fails_whole
    shop.fake.orders.bad_ids.add(order(2).order_key)
    both = await shop.send(order(1), order(2))
    assert {outcome.fate for outcome in both.outcomes} == {Fate.SPLIT}
    assert (await shop.send(order(1))).outcomes[0].fate is Fate.ACCEPTED
    assert (await shop.send(order(2))).outcomes[0].fate is Fate.REJECTED


async def test_an_unknown_status_is_refused_by_itself(shop: Shop) -> None:
    """No goal of that name, no mapping."""
    outcome = (await shop.send(order(target="no_such_goal"))).outcomes[0]
    assert (outcome.fate, outcome.code) == (Fate.REJECTED, "validation_failed")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.LOST_ANSWER, Ambiguous),
        (Fault.ERROR_AFTER, Ambiguous),
        (Fault.ERROR_BEFORE, Ambiguous),
        (Fault.CUT_BODY, Ambiguous),
        (Fault.THROTTLE, Throttled),
    ],
)
async def test_a_lost_answer_is_never_taken_for_a_refusal(shop: Shop, fault: Fault, error: type[BridgeError]) -> None:
    """The rows stay in doubt and go again as they are, so that nothing later comes between."""
    await shop.send(order(9))
    shop.fake.faults = FaultPlan(1, {fault: 1.0})
    with pytest.raises(error):
        await shop.send(order())
    shop.fake.faults = FaultPlan.calm()
    await shop.send(order())
    assert len(shop.fake.orders.orders) == 2


async def test_nothing_is_sent_to_a_counter_in_another_time_zone(shop: Shop) -> None:
    """Its orders would be dated wrongly, for good; asked again an hour later it may have been put right."""
    shop.fake.zone = "Asia/Yekaterinburg"
    with pytest.raises(Refused, match="Asia/Yekaterinburg"):
        await shop.send(order())
    assert shop.fake.orders.orders == {}
    shop.fake.zone = "Europe/Moscow"
    await shop.send(order())
    shop.fake.zone = "Asia/Yekaterinburg"
    await shop.send(order(2))
    shop.clock.advance(timedelta(hours=1))
    with pytest.raises(Refused):
        await shop.send(order(3))


async def test_the_counters_time_zone_can_be_set(tmp_path: Path) -> None:
    """Where it is not the tenant's."""
    async with opened(tmp_path, timezone="Asia/Yekaterinburg") as shop:
        shop.fake.zone = "Asia/Yekaterinburg"
        assert b"2026-03-02 13:00:00" in shop.sealed([order()]).payload.body


async def test_check_looks_at_the_counter_its_time_and_the_statuses(shop: Shop) -> None:
    """A sound one has no errors; a wrong time zone is one."""
    targets = {"created": "IN_PROGRESS", "qualified": "qualified_lead", "sale": "PAID"}
    assert {finding.level for finding in await shop.client.check(targets)} == {Level.OK}
    shop.fake.zone = "Asia/Yekaterinburg"
    errors = [finding for finding in await shop.client.check(targets) if finding.level is Level.ERROR]
    assert [finding.subject for finding in errors] == ["time zone"]


async def test_check_tells_a_wrong_token_and_a_wrong_counter(tmp_path: Path) -> None:
    """Findings, not crashes."""
    async with opened(tmp_path, counter_id=90000002) as shop:
        (finding,) = await shop.client.check({})
        assert (finding.level, finding.message) == (Level.ERROR, "no such counter; check counter_id")
    async with opened(tmp_path) as shop:
        shop.fake.token = "another"
        (finding,) = await shop.client.check({})
        assert finding.level is Level.ERROR
        with pytest.raises(AuthError):
            await shop.send(order())


async def test_what_offline_conversions_may_reach_as_well_is_named(shop: Shop) -> None:
    """Goals of one's own; Metrica's own goals of orders nothing else reaches."""
    assert isinstance(shop.client, SharesGoals)
    assert shop.client.shared_goal("PAID") == ""
    assert shop.client.shared_goal("qualified_lead") == 'goal "qualified_lead" of counter 90000001'
