"""Proof for each row: the client looks for it in the simulator's reports and raw visits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from adapters.yandex_metrica.destination import Metrica
from adapters.yandex_metrica.fake import Metrica as Simulator
from bridge.errors import AuthError, Throttled
from bridge.model import IdKind, Outgoing
from bridge.ports import Accepted, Answer, Level, Seen
from bridge.sim.clock import ManualClock
from tests.adapters.yandex_metrica.helpers import DAY, HOUR, click, client_at, client_of, row, sealed, settle
from tests.support import START

BASE = "https://metrica.example"
TARGETS = {"qualified": "qualified_lead"}


def _yclid(number: int) -> str:
    return str(12345000000000000000 + number)


def _client_id(number: int) -> str:
    return str(1712345678000000000 + number)


def by_client(number: int, **changes: Any) -> Outgoing:
    """A row of a visitor whose ClientID alone is known."""
    return row((IdKind.CLIENT_ID, _client_id(number)), number=number, **changes)


def by_click(number: int, **changes: Any) -> Outgoing:
    """A row of a click of which only the yclid is known."""
    return row((IdKind.YCLID, _yclid(number)), number=number, **changes)


def by_both(number: int, **changes: Any) -> Outgoing:
    """A row of a click and a visitor; it is sent by the click."""
    return row((IdKind.CLIENT_ID, _client_id(number)), (IdKind.YCLID, _yclid(number)), number=number, **changes)


@dataclass(slots=True)
class Counter:
    """A client at its simulator."""

    clock: ManualClock
    simulator: Simulator
    client: Metrica

    def knows(self, *numbers: int, at: datetime = START - 2 * HOUR) -> None:
        """Clicks on ads, with yclid and ClientID, by visitors of these numbers."""
        for number in numbers:
            self.simulator.know(click(number, at, yclid=_yclid(number), client_id=_client_id(number)))

    async def send(self, *rows: Outgoing) -> Answer:
        return await self.client.send(sealed(rows))

    async def verdicts(self, *rows: Outgoing) -> dict[int, tuple[str, str]]:
        """How each row ends, by its number: (seen, code)."""
        found = await settle(self.client, self.clock, await self.send(*rows), rows, every=HOUR)
        return {int(verdict.delivery, 16): (str(verdict.seen), verdict.code) for verdict in found}

    async def ask(self, answer: Answer, rows: Sequence[Outgoing], answered_at: datetime) -> list[tuple[str, str]]:
        verdicts = await self.client.verify(Accepted(answer.receipt, tuple(rows), answered_at))
        return [(str(verdict.seen), verdict.code) for verdict in verdicts or ()]


@asynccontextmanager
async def counter(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> AsyncIterator[Counter]:
    clock = ManualClock(START)
    simulator = Simulator(clock)
    async with client_of(simulator, clock, folder, monkeypatch, **settings) as client:
        yield Counter(clock, simulator, client)


@pytest.fixture
async def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Counter]:
    """Reading reports, as by default."""
    async with counter(tmp_path, monkeypatch) as ready:
        yield ready


@pytest.fixture
async def logging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Counter]:
    """Reading raw visits, too."""
    async with counter(tmp_path, monkeypatch, read_back="logs") as ready:
        yield ready


# --- reports -----------------------------------------------------------------------------------------------------


async def test_each_row_of_one_file_gets_its_own_verdict(here: Counter) -> None:
    """One match among many makes the file PROCESSED; the reports tell who it was, and of the others why not."""
    here.knows(1, 2)
    here.knows(3, at=START - 25 * DAY)
    here.knows(4, at=START + 20 * HOUR)
    rows = [by_client(1), by_both(2), by_client(3), by_client(4), by_client(5), by_client(6, target="no_such_goal")]
    here.knows(6)
    assert await here.verdicts(*rows) == {
        1: ("verified", "goal_reach"),
        2: ("verified", "goal_reach"),
        3: ("unlinked", "visit_too_old"),
        4: ("unlinked", "visit_after_conversion"),
        5: ("unlinked", "unknown_id"),
        6: ("unlinked", "goal_missing"),
    }


async def test_a_visit_of_the_same_day_gives_no_reason(here: Counter) -> None:
    """Reports tell days, not hours: whether it came before the conversion nobody knows."""
    here.knows(1)
    here.knows(2, at=START + HOUR)
    assert await here.verdicts(by_client(1), by_client(2)) == {
        1: ("verified", "goal_reach"),
        2: ("unlinked", "not_seen"),
    }


async def test_absence_is_no_verdict_before_its_time(here: Counter) -> None:
    """What shows is verified as soon as it shows; what does not is "later" until the vendor has had a day."""
    here.knows(1)
    rows = (by_client(1), by_client(2))
    answer = await here.send(*rows)
    here.clock.advance(HOUR)  # processed after 40 minutes, shown half an hour later
    assert await here.ask(answer, rows, START) == [("later", ""), ("later", "")]
    here.clock.advance(HOUR)
    assert await here.ask(answer, rows, START) == [("verified", "goal_reach"), ("later", "")]
    here.clock.advance(21 * HOUR)
    assert await here.ask(answer, rows[1:], START) == [("later", "")]
    here.clock.advance(HOUR)
    assert await here.ask(answer, rows[1:], START) == [("unlinked", "unknown_id")]


async def test_a_file_without_any_match_settles_all_rows_at_once(here: Counter) -> None:
    """LINKAGE_FAILURE leaves nothing to look for."""
    assert await here.verdicts(by_client(1), by_click(2)) == {
        1: ("unlinked", "linkage_failure"),
        2: ("unlinked", "linkage_failure"),
    }
    assert here.simulator.requests["GET data"] == 0


async def test_a_row_known_by_its_click_alone_rests_on_the_file(here: Counter) -> None:
    """The reports know no yclid: the code says that no more than the file's processing was seen."""
    here.knows(1)
    assert await here.verdicts(by_click(1), by_click(2)) == {
        1: ("verified", "file_processed"),
        2: ("verified", "file_processed"),
    }


async def test_a_click_whose_visitor_is_never_seen_stays_accepted(here: Counter) -> None:
    """The ClientID may be wrong while the yclid matched: neither is claimed, unless that visitor came."""
    here.knows(1)
    here.simulator.visit("ClientId", _client_id(3), START - 2 * HOUR)
    assert await here.verdicts(by_client(1), by_both(2), by_both(3)) == {
        1: ("verified", "goal_reach"),
        2: ("unknown", "not_seen"),
        3: ("unlinked", "not_seen"),
    }


async def test_two_conversions_of_one_visitor_need_two_reaches(here: Counter) -> None:
    """Of two of which one counts nobody can tell which: both stay accepted. Equal rows are one conversion."""
    here.knows(1, 2)
    early = {"occurred_at": START - 3 * HOUR, "delivery": f"{7:032x}"}  # before the visit of that day
    twice = [by_client(1), by_client(1, **early)]
    same = [by_client(2), by_client(2, delivery=f"{8:032x}")]
    assert await here.verdicts(*twice, *same) == {
        1: ("unknown", "partly_seen"),
        2: ("verified", "goal_reach"),
        7: ("unknown", "partly_seen"),
        8: ("verified", "goal_reach"),
    }


async def test_a_reach_in_another_visit_is_no_proof(here: Counter) -> None:
    """An earlier conversion of the same visitor and goal, linked to a visit that is too old for this one, is not it."""
    here.knows(1, at=START - 20 * DAY)
    here.knows(9)
    assert await here.verdicts(by_client(1, occurred_at=START - 19 * DAY)) == {1: ("verified", "goal_reach")}
    here.clock.advance(2 * DAY)
    second = by_client(1, occurred_at=here.clock.now() - HOUR, delivery=f"{2:032x}", touched_at=None)
    assert await here.verdicts(second, by_client(9)) == {
        2: ("unlinked", "visit_too_old"),
        9: ("verified", "goal_reach"),
    }


async def test_a_sampled_report_proves_no_absence(here: Counter) -> None:
    """Who is left out of a sample may be there."""
    here.knows(1)
    here.simulator.statistics.is_sampled = True
    assert await here.verdicts(by_client(1), by_client(2)) == {
        1: ("verified", "goal_reach"),
        2: ("unknown", "sampled"),
    }


async def test_all_batches_of_a_turn_are_judged_by_one_report(here: Counter) -> None:
    """The number of reports follows the clock, not the batches: one for ten goals, once every ten minutes."""
    here.knows(*range(20))
    batches = [[by_client(2 * n), by_client(2 * n + 1)] for n in range(10)]
    answers = [await here.send(*rows) for rows in batches]
    here.clock.advance(3 * HOUR)
    for answer, rows in zip(answers, batches, strict=True):
        assert await here.ask(answer, rows, START) == [("verified", "goal_reach")] * 2
    assert here.simulator.requests["GET data"] == 1
    assert here.simulator.requests["GET goals"] == 1


async def test_many_goals_and_visitors_are_asked_for_in_the_vendors_portions(here: Counter) -> None:
    """Ten attributes and a hundred values in a filter: the simulator refuses more."""
    for number in range(12):
        here.simulator.add_goal(f"extra_{number}")
    here.knows(0)
    rows = [by_client(number, target=f"extra_{number % 12}") for number in range(250)]
    found = await here.verdicts(*rows)
    assert found.pop(0) == ("verified", "goal_reach")
    assert set(found.values()) == {("unlinked", "unknown_id")}


async def test_a_long_report_is_read_page_by_page(here: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages begin at one, and the last row is read."""
    monkeypatch.setattr("adapters.yandex_metrica.reports.PAGE", 7)
    here.knows(*range(23))
    found = await here.verdicts(*map(by_client, range(23)))
    assert set(found.values()) == {("verified", "goal_reach")}


# --- rights and limits -------------------------------------------------------------------------------------------


async def test_without_the_right_to_read_uploads_go_on_and_the_code_says_less(here: Counter) -> None:
    """403 on a report is no reason to stop the account; check tells what to do."""
    here.knows(1)
    here.simulator.statistics.is_allowed = False
    assert await here.verdicts(by_client(1), by_client(2)) == dict.fromkeys((1, 2), ("verified", "file_processed"))
    await here.send(by_client(3))
    findings = await here.client.check(TARGETS)
    (finding,) = [finding for finding in findings if finding.subject == "read-back"]
    assert finding.level is Level.WARNING
    assert "metrika:read" in finding.message
    assert "file_processed" in finding.message
    assert all(other.level is Level.OK for other in findings if other is not finding)


async def test_check_says_that_reading_back_works(here: Counter, tmp_path: Path, monkeypatch: Any) -> None:
    """By the very reports that are read later; nothing at all when it is switched off."""
    assert [f.level for f in await here.client.check(TARGETS) if f.subject == "read-back"] == [Level.OK]
    assert here.simulator.requests["GET data"] == 2
    async with counter(tmp_path, monkeypatch, read_back="off") as quiet:
        assert [f for f in await quiet.client.check(TARGETS) if f.subject == "read-back"] == []
        assert quiet.simulator.requests["GET data"] == 0


async def test_used_up_reports_wait_five_minutes_and_hold_up_no_upload(here: Counter) -> None:
    """200 in five minutes: the account goes on with everything else."""
    here.knows(1)
    answer = await here.send(by_client(1))
    here.clock.advance(3 * HOUR)
    for _ in range(200):
        here.simulator._limits.report()
    with pytest.raises(Throttled) as raised:
        await here.ask(answer, [by_client(1)], START)
    assert raised.value.retry_after == 300
    await here.send(by_client(2))
    here.clock.advance(timedelta(minutes=5))
    assert await here.ask(answer, [by_client(1)], START) == [("verified", "goal_reach")]


@pytest.fixture
def vendor() -> Iterator[respx.MockRouter]:
    with respx.mock(using="httpx", assert_all_called=False) as router:
        yield router


ROOT = f"{BASE}/management/v1/counter/90000001"
GOALS = {"goals": [{"id": 5, "type": "action", "conditions": [{"type": "exact", "url": "qualified_lead"}]}]}
ROWS = (by_client(1), by_client(2))


async def _asked(client: Metrica, hours: int = 30) -> list[tuple[str, str]]:
    answered_at = START - hours * HOUR
    verdicts = await client.verify(Accepted({"uploading_id": "1"}, ROWS, answered_at))
    return [(str(verdict.seen), verdict.code) for verdict in verdicts or ()]


@pytest.mark.parametrize("kind", ["query_error", "too_much_rows", "invalid_parameter"])
async def test_a_report_that_is_refused_may_succeed_later(
    vendor: respx.MockRouter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """ "Query is too complicated" passes another time; when it never does, the file's own status is all there is."""
    vendor.get(f"{ROOT}/offline_conversions/uploading/1").respond(json={"uploading": {"id": 1, "status": "PROCESSED"}})
    vendor.get(f"{ROOT}/goals").respond(json=GOALS)
    vendor.get(f"{BASE}/stat/v1/data").respond(400, json={"errors": [{"error_type": kind}], "code": 400})
    async with client_at(BASE, ManualClock(START), tmp_path, monkeypatch) as client:
        assert await _asked(client, hours=2) == [("later", "")] * 2
        assert await _asked(client, hours=30) == [("verified", "file_processed")] * 2


async def test_a_refused_second_report_leaves_only_the_reason_open(
    vendor: respx.MockRouter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the goal was not reached is known: which visits there were is not."""
    vendor.get(f"{ROOT}/offline_conversions/uploading/1").respond(json={"uploading": {"id": 1, "status": "PROCESSED"}})
    vendor.get(f"{ROOT}/goals").respond(json=GOALS)
    report = vendor.get(f"{BASE}/stat/v1/data")
    report.mock(
        side_effect=lambda request: (
            httpx.Response(200, json={"data": [], "total_rows": 0})
            if "reaches" in request.url.params["metrics"]
            else httpx.Response(400, json={"errors": [{"error_type": "query_error"}], "code": 400})
        )
    )
    async with client_at(BASE, ManualClock(START), tmp_path, monkeypatch) as client:
        assert await _asked(client) == [("unlinked", "not_seen")] * 2


async def test_a_dead_token_stops_the_account_whatever_it_was_asked_for(
    vendor: respx.MockRouter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only ``access_denied`` is about reports alone."""
    vendor.get(f"{ROOT}/offline_conversions/uploading/1").respond(json={"uploading": {"id": 1, "status": "PROCESSED"}})
    vendor.get(f"{ROOT}/goals").respond(json=GOALS)
    vendor.get(f"{BASE}/stat/v1/data").respond(403, json={"errors": [{"error_type": "invalid_token"}], "code": 403})
    async with client_at(BASE, ManualClock(START), tmp_path, monkeypatch) as client:
        with pytest.raises(AuthError):
            await _asked(client)


async def test_a_report_is_asked_for_exactly_as_documented(
    vendor: respx.MockRouter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names, days, filter and paging of the contract (9.1); ClientIDs come back as texts or numbers."""
    status = vendor.get(f"{ROOT}/offline_conversions/uploading/1")
    status.respond(json={"uploading": {"id": 1, "status": "PROCESSED"}})
    vendor.get(f"{ROOT}/goals").respond(json=GOALS)
    rows = [
        {"dimensions": [{"name": _client_id(1)}, {"name": "2026-03-01"}], "metrics": [1.0]},
        {"dimensions": [{"id": int(_client_id(2)), "name": None}, {"name": "2026-03-02"}], "metrics": [2]},
        {"dimensions": [{"id": None, "name": None}, {"id": "2026-03-02"}], "metrics": [3.0]},
    ]
    report = vendor.get(f"{BASE}/stat/v1/data").respond(json={"data": rows, "total_rows": 3, "sampled": False})
    async with client_at(BASE, ManualClock(START), tmp_path, monkeypatch) as client:
        assert await _asked(client, hours=2) == [("verified", "goal_reach")] * 2
        await _asked(client, hours=2)
    assert status.call_count == 2, "a settled upload is forgotten"
    assert dict(report.calls[0].request.url.params) == {
        "ids": "90000001",
        "dimensions": "ym:s:clientID,ym:s:date",
        "metrics": "ym:s:goal5reaches",
        "filters": "ym:s:goal5reaches>0",
        "date1": "2026-02-06",  # a window of 21 days, and the three for which an upload is asked about
        "date2": "today",
        "accuracy": "full",
        "timezone": "+00:00",
        "limit": "100000",
        "offset": "1",
    }


# --- raw visits --------------------------------------------------------------------------------------------------


async def test_raw_visits_prove_clicks_one_by_one(logging: Counter) -> None:
    """The visit of each yclid is found by its first address, with its goals; absence is told with its reason."""
    logging.knows(1, 2)
    logging.knows(3, at=START - 22 * DAY)
    logging.knows(4, at=START + HOUR)
    rows = [by_click(1), by_both(2), by_click(3), by_click(4), by_click(5)]
    assert await logging.verdicts(*rows) == {
        1: ("verified", "visit_log"),
        2: ("verified", "goal_reach"),
        3: ("unlinked", "visit_too_old"),
        4: ("unlinked", "visit_after_conversion"),
        5: ("unlinked", "unknown_id"),
    }


async def test_one_log_serves_all_batches_of_a_day_and_the_next_one_replaces_it(logging: Counter) -> None:
    """A log is ordered once a day, found again after a restart, and cleaned when a newer one is there."""
    logging.knows(1, 2, 3)
    assert await logging.verdicts(by_click(1)) == {1: ("verified", "visit_log")}
    assert await logging.verdicts(by_click(2)) == {2: ("verified", "visit_log")}
    orders = list(logging.simulator.statistics.orders.values())
    assert len(orders) == 2
    assert [order.is_clean for order in orders] == [True, False]
    assert all(order.fields == ["ym:s:startURL", "ym:s:goalsID", "ym:s:dateTime"] for order in orders)
    assert all(order.date2 - order.date1 == timedelta(days=26) for order in orders)


async def test_a_log_that_is_being_made_is_not_ordered_again_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is remembered but at Metrica: a second client finds the order of the first."""
    clock = ManualClock(START)
    simulator = Simulator(clock)
    simulator.know(click(1, yclid=_yclid(1)))
    item = by_click(1)
    async with client_of(simulator, clock, tmp_path, monkeypatch, read_back="logs") as client:
        answer = await client.send(sealed([item]))
        clock.advance(20 * HOUR)
        verdicts = [await client.verify(Accepted(answer.receipt, (item,), START)) for _ in range(2)]
        assert [verdict.seen for found in verdicts for verdict in found or ()] == [Seen.LATER] * 2
    async with client_of(simulator, clock, tmp_path, monkeypatch, read_back="logs") as client:
        clock.advance(HOUR)
        (verdict,) = await client.verify(Accepted(answer.receipt, (item,), START)) or []
    assert (verdict.seen, verdict.code) == (Seen.VERIFIED, "visit_log")
    assert len(simulator.statistics.orders) == 1


async def test_a_log_of_many_parts_is_read_whole(logging: Counter) -> None:
    """Parts are counted from 0; visits without a click are passed over."""
    logging.simulator.statistics.log_part = 3
    logging.knows(*range(10))
    for number in range(20, 30):
        logging.simulator.visit("ClientId", _client_id(number), START - 2 * HOUR)
    found = await logging.verdicts(*map(by_click, range(10)))
    assert set(found.values()) == {("verified", "visit_log")}


async def test_a_visit_after_processing_does_not_pass_for_the_proof(logging: Counter) -> None:
    """A log of a day that ended before the file was processed shows nothing of it: it is not even looked at."""
    logging.knows(1, 2)
    await logging.verdicts(by_click(1))
    answer = await logging.send(by_click(2))
    logging.clock.advance(3 * HOUR)
    now = logging.clock.now() - 3 * HOUR
    assert await logging.ask(answer, [by_click(2)], now) == [("later", "")]


async def test_a_counter_too_large_for_logs_is_told_by_check(logging: Counter) -> None:
    """Its clicks get no verdict of their own: the code says so, and check says what to set."""
    logging.simulator.statistics.log_days = 7
    (finding,) = [f for f in await logging.client.check(TARGETS) if f.subject == "read-back"]
    assert finding.level is Level.WARNING
    assert 'read_back = "reports"' in finding.message
    logging.knows(1)
    assert await logging.verdicts(by_click(1)) == {1: ("verified", "file_processed")}


async def test_logs_that_may_not_be_read_leave_the_files_word(logging: Counter) -> None:
    """As with reports: the code says less, nothing stops."""
    logging.knows(1)
    logging.simulator.statistics.is_allowed = False
    assert await logging.verdicts(by_click(1), by_both(1)) == {1: ("verified", "file_processed")}
