"""The simulator's statistics refuse what Metrica refuses, and come in its shapes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from adapters.yandex_metrica.fake import Metrica
from bridge.sim.clock import ManualClock
from tests.adapters.yandex_metrica.helpers import CLIENT_ID, DAY, HOUR, YCLID, click
from tests.support import START

LOGS = "/management/v1/counter/90000001/logrequests"
REPORT = {"ids": "90000001", "metrics": "ym:s:visits", "dimensions": "ym:s:clientID", "accuracy": "full"}
LOG = {"source": "visits", "fields": "ym:s:startURL,ym:s:goalsID", "date1": "2026-03-01", "date2": "2026-03-01"}


@pytest.fixture
async def vendor() -> AsyncIterator[Metrica]:
    """A counter with one visit, two hours old."""
    made = Metrica(ManualClock(START), is_limited=False)
    made.know(click(1, yclid=YCLID, client_id=CLIENT_ID))
    await made.start()
    yield made
    await made.stop()


async def ask(vendor: Metrica, method: str, path: str, params: dict[str, Any] | None = None) -> httpx.Response:
    async with httpx.AsyncClient(base_url=vendor.base_url) as client:
        headers = {"Authorization": f"OAuth {vendor.token}"}
        return await client.request(method, path, params=params, headers=headers)


def kind(response: httpx.Response) -> str:
    return str(response.json()["errors"][0]["error_type"])


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"metrics": None}, 400, "missing_parameter"),
        ({"ids": None}, 400, "missing_parameter"),
        ({"ids": "1"}, 403, "access_denied"),
        ({"metrics": "ym:s:goal1reaches"}, 400, "invalid_parameter"),
        ({"metrics": "ym:pv:visits"}, 400, "invalid_parameter"),
        ({"metrics": ",".join(["ym:s:visits"] * 21)}, 400, "invalid_parameter"),
        ({"dimensions": "ym:s:yclid"}, 400, "invalid_parameter"),
        ({"limit": "100001"}, 400, "invalid_parameter"),
        ({"offset": "0"}, 400, "invalid_parameter"),
        ({"date1": "last week"}, 400, "invalid_parameter"),
        ({"filters": "ym:s:clientID is nobody"}, 400, "invalid_parameter"),
        ({"filters": "ym:s:goal611000001reaches>0"}, 400, "invalid_parameter"),
        ({"filters": "ym:s:clientID=.(" + ",".join(["'1'"] * 101) + ")"}, 400, "filter_limits"),
    ],
)
async def test_a_wrong_report_is_refused(vendor: Metrica, change: dict[str, Any], status: int, error: str) -> None:
    """Names, limits and paging as documented (contract yandex 9.1); a metric that is filtered by must be asked for."""
    wanted = {name: value for name, value in {**REPORT, **change}.items() if value is not None}
    response = await ask(vendor, "GET", "/stat/v1/data", wanted)
    assert (response.status_code, kind(response)) == (status, error)


async def test_a_report_leaves_out_what_is_zero_and_samples_unless_told_not_to(vendor: Metrica) -> None:
    """An anchor metric would be needed to see those who reached nothing; accuracy is medium by default."""
    goal = {**REPORT, "metrics": "ym:s:goal611000001reaches"}
    assert (await ask(vendor, "GET", "/stat/v1/data", goal)).json()["data"] == []
    rows = (await ask(vendor, "GET", "/stat/v1/data", REPORT)).json()
    assert rows["data"] == [{"dimensions": [{"name": CLIENT_ID}], "metrics": [1.0]}]
    assert rows["sampled"] is False
    rough = await ask(vendor, "GET", "/stat/v1/data", {**REPORT, "accuracy": "medium"})
    assert rough.json()["sampled"] is True


async def test_reports_end_after_two_hundred_in_five_minutes(vendor: Metrica) -> None:
    """By the vendor's clock; other requests go on."""
    vendor.is_limited = True
    for _ in range(199):
        vendor._limits.report()
    assert (await ask(vendor, "GET", "/stat/v1/data", REPORT)).status_code == 200
    assert (await ask(vendor, "GET", "/stat/v1/data", REPORT)).status_code == 429
    assert (await ask(vendor, "GET", "/management/v1/counter/90000001")).status_code == 200
    vendor.clock.advance(HOUR)  # type: ignore[attr-defined]  # the clock of this test
    assert (await ask(vendor, "GET", "/stat/v1/data", REPORT)).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"date2": "2026-03-02"},
        {"date1": "2026-03-02"},
        {"date1": "2025-01-01"},
        {"source": "hits"},
        {"fields": "ym:s:yclid"},
        {"fields": "ym:s:isRobotPro"},
    ],
)
async def test_a_wrong_log_is_refused(vendor: Metrica, change: dict[str, str]) -> None:
    """Not the current day, not more than a year, no field that does not exist: there is none for yclid."""
    response = await ask(vendor, "POST", LOGS, {**LOG, **change})
    assert (response.status_code, kind(response)) == (400, "invalid_parameter")


async def test_a_log_is_made_downloaded_and_cleaned(vendor: Metrica) -> None:
    """Created, processed, a table by parts from 0, then gone; in the vendor's words when it is too early or gone."""
    vendor.clock.advance(DAY)  # type: ignore[attr-defined]  # the clock of this test
    made = (await ask(vendor, "POST", LOGS, {**LOG, "date2": "2026-03-02"})).json()["log_request"]
    assert made["status"] == "created"
    one = f"/management/v1/counter/90000001/logrequest/{made['request_id']}"
    early = await ask(vendor, "GET", f"{one}/part/0/download")
    assert early.json()["message"] == "Only log of requests in status 'processed' can be downloaded"
    vendor.clock.advance(HOUR)  # type: ignore[attr-defined]  # the clock of this test
    (listed,) = (await ask(vendor, "GET", LOGS)).json()["requests"]
    assert (listed["status"], [part["part_number"] for part in listed["parts"]]) == ("processed", [0])
    table = await ask(vendor, "GET", f"{one}/part/0/download")
    assert table.text == f"ym:s:startURL\tym:s:goalsID\nhttps://okna.example/?yclid={YCLID}\t[]\n"
    assert (await ask(vendor, "GET", f"{one}/part/1/download")).json()["message"] == "Incorrect part number"
    assert (await ask(vendor, "POST", f"{one}/clean")).json()["log_request"]["status"] == "cleaned_by_user"
    assert (await ask(vendor, "GET", f"{one}/part/0/download")).status_code == 400


async def test_statistics_need_their_own_right(vendor: Metrica) -> None:
    """The same refusal as a counter without access, and nothing else is refused."""
    vendor.statistics.is_allowed = False
    for method, path, params in (("GET", "/stat/v1/data", REPORT), ("GET", LOGS, {}), ("POST", LOGS, LOG)):
        response = await ask(vendor, method, path, params)
        assert (response.status_code, kind(response)) == (403, "access_denied")
    assert (await ask(vendor, "GET", "/management/v1/counter/90000001")).status_code == 200


async def test_a_form_shows_in_the_log_with_its_moment_once_it_is_sent(vendor: Metrica) -> None:
    """Beside the goals of uploads, by a clock that need not be the counter's; reports count it as well."""
    began = START - 3 * HOUR
    visit = vendor.fill_in(CLIENT_ID, began, began + HOUR / 2, "https://okna.example/a", "lead_form")
    vendor.statistics.making = 0 * HOUR
    vendor.statistics.goals_zone = 0 * HOUR
    vendor.statistics.escape = ""
    vendor.clock.set(START + DAY)  # type: ignore[attr-defined]  # the test's own clock
    names, day = "ym:s:visitID,ym:s:goalsID,ym:s:goalsDateTime", (began + 3 * HOUR).date().isoformat()
    answer = await ask(vendor, "POST", LOGS, {**LOG, "fields": names, "date1": day, "date2": day})
    number = answer.json()["log_request"]["request_id"]
    body = (await ask(vendor, "GET", f"{LOGS[:-1]}/{number}/part/0/download")).text
    lines = {line.split("\t")[0]: line.split("\t")[1:] for line in body.splitlines()}
    goal = next(one["id"] for one in vendor.goals if one["conditions"][0]["url"] == "lead_form")
    shown = (began + HOUR / 2).strftime("%Y-%m-%d %H:%M:%S")
    assert lines[visit.number] == [f"[{goal}]", f"['{shown}']"]
    assert list(lines.values()).count(["[]", "[]"]) == 1
    report = await ask(
        vendor, "GET", "/stat/v1/data", {**REPORT, "metrics": f"ym:s:goal{goal}reaches", "date1": "7daysAgo"}
    )
    assert [row["metrics"] for row in report.json()["data"]] == [[1.0]]
