"""The counter as a source of visits that sent a form: its logs, their quirks, and how seldom Metrica is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from adapters.yandex_metrica import visit_log, visits
from adapters.yandex_metrica.fake_visits import Visits
from adapters.yandex_metrica.settings import MetricaVisitSettings
from adapters.yandex_metrica.source import MetricaVisits
from adapters.yandex_metrica.visits import FIELDS, Row, clock_of_goals, rows, touches_of
from bridge.errors import ConfigError, Drift, Unavailable
from bridge.identity import read as identifiers
from bridge.model import DealKind, IdKind
from bridge.ports import BadRecord, Level, Listing, Window
from bridge.sim.clock import ManualClock
from bridge.sim.events import Call, Click
from tests.adapters.yandex_metrica.helpers import CLIENT_ID, DAY, HOUR, YCLID
from tests.support import START, adapter_tools

MINUTE = timedelta(minutes=1)
MOSCOW = ZoneInfo("Europe/Moscow")
GOAL = "611000005"
LANDING = f"https://okna.example/otdelka?yclid={YCLID}"


# --- one line ----------------------------------------------------------------------------------------------------


def line(**cells: str) -> str:
    given = {
        "visitID": "17100001",
        "clientID": CLIENT_ID,
        "dateTime": "2026-03-01 12:00:00",
        "startURL": LANDING,
        "goalsID": f"[611000001,{GOAL}]",
        "goalsDateTime": "['2026-03-01 12:00:10','2026-03-01 12:03:00']",
    }
    return "\t".join({**given, **cells}.values())


def part(*lines: str, header: str = "\t".join(FIELDS)) -> bytes:
    return "\n".join((header, *lines, "")).encode()


def parsed(*lines: str) -> list[Row | BadRecord]:
    return list(rows(part(*lines), frozenset((GOAL,))))


@pytest.mark.parametrize("quote", ["'", "\\'", ""], ids=["quoted", "escaped", "bare"])
def test_a_visit_that_reached_a_form_goal_is_a_touch_of_that_moment(quote: str) -> None:
    """With its ClientID and the click in its address, however the list of times is quoted."""
    times = f"[{quote}2026-03-01 12:00:10{quote},{quote}2026-03-01 12:03:00{quote}]"
    (row,) = parsed(line(goalsDateTime=times))
    assert isinstance(row, Row)
    (touch,) = touches_of(row, MOSCOW)
    assert (touch.kind, touch.key) == (DealKind.VISIT, "visit:17100001")
    assert touch.created_at == datetime(2026, 3, 1, 9, 3, tzinfo=UTC)
    assert dict(touch.fields) == {"form_goal": (GOAL,)}
    found = {item.kind: item.value for item in identifiers(touch).identifiers}
    assert found == {IdKind.CLIENT_ID: CLIENT_ID, IdKind.YCLID: YCLID}


def test_visits_without_a_form_are_dropped() -> None:
    """Other goals, no goal, or a goal whose number only contains the form's: nothing is kept of them."""
    assert (
        parsed(
            line(goalsID="[611000001]", goalsDateTime="['2026-03-01 12:00:10']"),
            line(goalsID="[]", goalsDateTime="[]"),
            line(goalsID=f"[{GOAL}0]", goalsDateTime="['2026-03-01 12:00:10']"),
        )
        == []
    )


def test_several_forms_of_a_visit_are_touches_of_their_own_and_few() -> None:
    """Two goals of one form at one moment are one; beyond five nobody is a customer."""
    times = [f"2026-03-01 12:0{minute}:00" for minute in (2, 2, 1, 3, 4, 5, 6, 7)]
    ids, clocks = f"[{','.join([GOAL] * len(times))}]", f"[{','.join(repr(at) for at in times)}]"
    (row,) = parsed(line(goalsID=ids, goalsDateTime=clocks))
    assert isinstance(row, Row)
    made = list(touches_of(row, MOSCOW))
    assert [touch.key for touch in made] == ["visit:17100001", *(f"visit:17100001-{n}" for n in (2, 3, 4, 5))]
    assert [touch.created_at.minute for touch in made] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("cells", "field"),
    [
        ({"goalsDateTime": "['2026-03-01 12:00:10']"}, "ym:s:goalsDateTime"),
        ({"goalsDateTime": "['2026-03-01 12:00:10','2026-13-01 12:03:00']"}, "ym:s:dateTime"),
        ({"dateTime": "yesterday"}, "ym:s:dateTime"),
        ({"visitID": "x"}, "ym:s:visitID"),
    ],
)
def test_a_visit_that_cannot_be_read_is_set_aside_and_the_others_are_read(cells: dict[str, str], field: str) -> None:
    """What is told of it names the field, and nothing of its content."""
    bad, good = parsed(line(**cells), line(visitID="17100002"))
    assert isinstance(good, Row)
    assert isinstance(bad, BadRecord)
    assert field in bad.message
    assert CLIENT_ID not in repr(bad)
    assert YCLID not in repr(bad)


def test_another_table_than_was_ordered_is_drift() -> None:
    """Other columns, or a line that is cut."""
    for body in (part(line(), header="ym:s:visitID"), part("17100001\t1")):
        with pytest.raises(Drift):
            list(rows(body, frozenset((GOAL,))))


@pytest.mark.parametrize(
    ("counter", "shown"),
    [
        (MOSCOW, MOSCOW),
        (MOSCOW, UTC),
        (ZoneInfo("Asia/Yekaterinburg"), ZoneInfo("Asia/Yekaterinburg")),
        (ZoneInfo("Asia/Yekaterinburg"), timezone(3 * HOUR)),
        (ZoneInfo("Asia/Yekaterinburg"), UTC),
        (UTC, timezone(3 * HOUR)),
    ],
)
def test_the_log_itself_tells_whose_clock_its_goals_have(counter: Any, shown: Any) -> None:
    """No contract does: of the counter's clock, UTC+3 and UTC the one under which goals come soonest after visits
    begin, and not before. A single odd visit does not decide.
    """
    found = []
    for number, wait in enumerate((10, 240, 1800, 30)):
        began = START + number * HOUR
        sent = began + timedelta(seconds=wait)
        wall = [at.astimezone(zone).replace(tzinfo=None) for at, zone in ((began, counter), (sent, shown))]
        found.append(Row(str(number), CLIENT_ID, wall[0], LANDING, ((wall[1], GOAL),)))
    zone = clock_of_goals(found, counter)
    assert [touch.created_at for row in found[:1] for touch in touches_of(row, zone)] == [START + timedelta(seconds=10)]
    odd = Row("9", CLIENT_ID, found[0].began, LANDING, ((found[0].began + 5 * HOUR, GOAL),))
    bare = START.replace(tzinfo=None)
    assert (
        bare.replace(tzinfo=clock_of_goals([*found, odd], counter)).utcoffset() == bare.replace(tzinfo=zone).utcoffset()
    )


# --- logs --------------------------------------------------------------------------------------------------------


def form(number: int, at: datetime) -> Call:
    click = Click(number, at, number, LANDING, "", yclid=YCLID, client_id=f"{CLIENT_ID[:-3]}{number:03d}")
    return Call(number, at, number, "79160000000", click, is_form=True)


class Bench:
    """A source before its simulator, whose logs take their time."""

    def __init__(self, fake: Visits, clock: ManualClock, source: MetricaVisits) -> None:
        self.fake, self.clock, self.source = fake, clock, source
        self.marks = ""

    async def poll(self) -> list[str]:
        """Keys of what one poll brings."""
        found = []
        async for listing in self.source.scan(Window(START - 30 * DAY, self.clock.now(), self.marks)):
            found += [head.key for head in listing.heads]
            self.marks = listing.marks or self.marks
        return found

    @property
    def statuses(self) -> list[str]:
        statistics = self.fake.statistics
        return [statistics._status(order) for order in statistics.orders.values()]

    @property
    def asked(self) -> int:
        return sum(self.fake.requests.values())


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    clock = ManualClock(START)
    fake = Visits(clock, is_limited=False)
    fake.statistics.making = 20 * MINUTE
    await fake.start()
    for name, secret in fake.secrets().items():
        monkeypatch.setenv(name, secret)
    async with adapter_tools(clock, tmp_path) as tools:
        settings = MetricaVisitSettings.model_validate(fake.settings())
        yield Bench(fake, clock, MetricaVisits("visits", settings, tools))
    await fake.stop()


async def test_a_log_is_ordered_waited_for_read_and_cleaned_once_a_day(bench: Bench) -> None:
    """Between two days nothing is asked at all; the last days are read again with each."""
    forms = [form(number, START + number * HOUR) for number in range(3)]
    for one in forms:
        bench.fake.send(one)
    bench.clock.set(START + DAY)
    assert await bench.poll() == []
    assert await bench.poll() == []
    assert bench.statuses == ["created"]
    bench.clock.advance(21 * MINUTE)
    assert await bench.poll() == [bench.fake.visit_key(one) for one in forms]
    assert bench.statuses == ["cleaned_by_user"]
    asked = bench.asked
    for _ in range(4):
        bench.clock.advance(HOUR)
        assert await bench.poll() == []
    assert bench.asked == asked
    bench.clock.advance(DAY)
    await bench.poll()
    bench.clock.advance(21 * MINUTE)
    assert len(await bench.poll()) == 3
    days = [(order.date1, order.date2) for order in bench.fake.statistics.orders.values()]
    assert days[1][0] == days[0][1] - 3 * DAY
    assert days[1][1] == days[0][1] + DAY


async def test_a_log_that_was_ordered_before_midnight_is_read_after_it(bench: Bench) -> None:
    """It is not ordered twice; the day that has ended meanwhile comes with the next."""
    bench.clock.set(START + DAY)
    bench.marks = (START - DAY).date().isoformat()
    await bench.poll()
    bench.clock.advance(DAY)
    await bench.poll()
    assert bench.statuses == ["cleaned_by_user"]
    assert bench.marks == bench.fake.statistics.orders[7001].date2.isoformat()
    await bench.poll()
    assert len(bench.statuses) == 2


async def test_a_log_that_metrica_does_not_make_is_told_and_ordered_anew_the_next_day(bench: Bench) -> None:
    """Neither ordered again and again, nor waited for for ever; a status that no contract has is being made."""
    bench.clock.set(START + DAY)
    bench.marks = (START - DAY).date().isoformat()
    await bench.poll()
    bench.fake.statistics.failed.add(7001)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await bench.poll()
    bench.clock.advance(DAY)
    await bench.poll()
    assert len(bench.statuses) == 2
    bench.fake.statistics.making = 10 * DAY
    for _ in range(3):
        bench.clock.advance(DAY)
        await bench.poll()
    assert 3 <= len(bench.statuses) <= 4


async def test_whoever_reads_a_period_is_told_to_come_again(bench: Bench) -> None:
    """A backfill cannot wait inside; the second time it finds what it had ordered, and only visits of its window."""
    for number in range(3):
        bench.fake.send(form(number, START + number * HOUR))
    bench.clock.set(START + 2 * DAY)
    window = Window(START, START + 90 * MINUTE)

    async def read() -> list[Listing]:
        return [listing async for listing in bench.source.scan(window)]

    for _ in range(2):
        with pytest.raises(Unavailable, match="half an hour"):
            await read()
    assert len(bench.statuses) == 1
    bench.clock.advance(21 * MINUTE)
    assert sum(len(listing.heads) for listing in await read()) == 2


async def test_a_form_goal_is_named_by_its_number_identifier_or_title(bench: Bench, tmp_path: Path) -> None:
    """One that does not exist is an error of ``check``, and stops the source rather than losing visits."""
    for name in ("lead_form", GOAL, "Goal lead_form", 611000005, "no_such_form"):
        settings = MetricaVisitSettings.model_validate({**bench.fake.settings(), "form_goals": name})
        async with adapter_tools(bench.clock, tmp_path) as tools:
            source = MetricaVisits("visits", settings, tools)
            errors = [one for one in await source.check() if one.level is Level.ERROR]
            if name != "no_such_form":
                assert await source._goals() == {GOAL}
                assert errors == []
                continue
            with pytest.raises(ConfigError, match="no_such_form"):
                await source._goals()
            assert ["no_such_form" in one.message for one in errors] == [True]


async def test_a_counter_that_is_too_large_for_logs_is_told(bench: Bench) -> None:
    """With what it allows; and a token without access is an error, not a crash."""
    bench.fake.statistics.log_days = 5
    errors = [one.message for one in await bench.source.check() if one.level is Level.ERROR]
    assert len(errors) == 1
    assert "5 days" in errors[0]
    bench.fake.statistics.is_allowed = False
    assert [one.subject for one in await bench.source.check() if one.level is Level.ERROR] == ["visits"]


def test_settings_that_would_join_strangers_are_refused() -> None:
    """More than a quarter of an hour, or nothing at all."""
    section = {"kind": "yandex_metrica", "counter_id": 1, "token": {"env": "X"}, "form_goals": ["a"]}
    assert MetricaVisitSettings.model_validate(section).within == 5 * MINUTE
    wrongs: list[dict[str, Any]] = [{"within": "16m"}, {"within": "0s"}, {"reread": "1h"}, {"form_goals": []}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            MetricaVisitSettings.model_validate({**section, **wrong})


def test_fields_of_this_log_are_not_those_of_the_read_back() -> None:
    """Each finds its own orders by them."""
    assert list(visits.FIELDS) != list(visit_log.FIELDS)
    assert len(",".join(FIELDS)) < 3000
