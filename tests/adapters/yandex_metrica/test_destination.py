"""The client on the wire: exact requests, strange answers, and the search for a label."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import msgspec
import pytest
import respx

from adapters.yandex_metrica import SPEC
from adapters.yandex_metrica.destination import PAGE, Metrica
from bridge.errors import Ambiguous, AuthError, Drift, Refused, Throttled
from bridge.ports import Accepted, Fate, Level, RowVerdict, Seen
from bridge.sim.clock import ManualClock
from tests.adapters.yandex_metrica.helpers import LABEL, client_at, opaque, row, sample, sealed
from tests.support import START

BASE = "https://metrica.example"
ROOT = "/management/v1/counter/90000001"
UPLOAD = f"{BASE}{ROOT}/offline_conversions/upload"
LIST = f"{BASE}{ROOT}/offline_conversions/uploadings"
ONE = f"{BASE}{ROOT}/offline_conversions/uploading/500000001"
OTHER = "fedcba9876543210fedcba9876543210"
TAKEN = Accepted({"uploading_id": "500000001"}, (row(),), START)


@pytest.fixture
def vendor() -> Iterator[respx.MockRouter]:
    with respx.mock(using="httpx", assert_all_called=False) as router:
        yield router


@pytest.fixture
async def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Metrica]:
    async with client_at(BASE, ManualClock(START), tmp_path, monkeypatch, read_back="off") as metrica:
        yield metrica


# --- requests ----------------------------------------------------------------------------------------------------


async def test_an_upload_is_one_labelled_multipart_request(vendor: respx.MockRouter, client: Metrica) -> None:
    """Address, query, headers and body are exactly the contract's (2.1); the bytes are the sealed ones."""
    route = vendor.post(UPLOAD).respond(200, content=sample("uploading.json"))
    batch = sealed([row(number=number) for number in range(4)])
    answer = await client.send(batch)
    (call,) = route.calls
    assert str(call.request.url) == f"{UPLOAD}?type=BASIC&comment={LABEL}"
    assert call.request.headers["authorization"] == "OAuth y0_SAMPLE"
    assert call.request.headers["content-type"] == f"multipart/form-data; boundary=bridge-{LABEL}"
    assert call.request.content == batch.payload.body
    assert {outcome.fate for outcome in answer.outcomes} == {Fate.ACCEPTED}
    assert tuple(outcome.delivery for outcome in answer.outcomes) == batch.rows
    assert answer.receipt == {"uploading_id": "500000001"}


async def test_the_check_reads_the_counter_and_its_live_goals(vendor: respx.MockRouter, client: Metrica) -> None:
    """Two reads, no write."""
    vendor.get(f"{BASE}{ROOT}").respond(200, content=sample("counter.json"))
    goals = vendor.get(f"{BASE}{ROOT}/goals").respond(200, content=sample("goals.json"))
    findings = await client.check({"qualified": "qualified_lead", "sale": "deal_lost"})
    assert [finding.level for finding in findings] == [Level.OK, Level.OK, Level.ERROR]
    assert dict(goals.calls[0].request.url.params) == {"useDeleted": "false"}


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (403, b'{"errors":[{"error_type":"access_denied"}]}', "edit access"),
        (404, b'{"errors":[{"error_type":"not_found"}]}', "check counter_id"),
        (400, b'{"errors":[{"error_type":"invalid_parameter"}]}', "invalid_parameter"),
        (200, b"<html>", "cannot be asked now"),
        (500, b"<html>", "cannot be asked now"),
    ],
)
async def test_a_check_that_fails_is_a_finding_and_no_exception(
    vendor: respx.MockRouter, client: Metrica, status: int, body: bytes, text: str
) -> None:
    """``bridge check`` goes on with the next destination."""
    vendor.get(f"{BASE}{ROOT}").respond(status, content=body)
    (finding,) = await client.check({"qualified": "qualified_lead"})
    assert finding.level is Level.ERROR
    assert text in finding.message
    assert "y0_SAMPLE" not in finding.message


def test_batches_are_as_large_as_configured_and_take_all_goals(client: Metrica) -> None:
    """One file holds every target and kind of identifier."""
    assert (client.batch_size(5), client.batch_size(50_000)) == (5, 10_000)
    assert client.batch_key(row()) == client.batch_key(row(target="deal_won"))
    assert SPEC.destination is not None
    assert client.traits.accepts == SPEC.destination.traits.accepts


# --- answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"<html>ok</html>", sample("uploading.json")[:60], b'{"uploading":{}}', b"{}", b"[]", b'{"uploading":{"id":"x"}}'],
)
async def test_a_good_status_with_an_unreadable_body_is_a_lost_answer(
    vendor: respx.MockRouter, client: Metrica, body: bytes
) -> None:
    """The file may have been taken, so only the lookup may decide; and it is sent once only."""
    route = vendor.post(UPLOAD).respond(200, content=body)
    with pytest.raises(Ambiguous):
        await client.send(opaque())
    assert route.call_count == 1


@pytest.mark.parametrize("failure", [httpx.ReadTimeout("late"), httpx.RemoteProtocolError("gone")])
async def test_a_broken_connection_after_sending_is_a_lost_answer(
    vendor: respx.MockRouter, client: Metrica, failure: Exception
) -> None:
    """Never sent a second time without proof."""
    route = vendor.post(UPLOAD).mock(side_effect=failure)
    with pytest.raises(Ambiguous):
        await client.send(opaque())
    assert route.call_count == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_any_5xx_to_an_upload_is_a_lost_answer(vendor: respx.MockRouter, client: Metrica, status: int) -> None:
    """Nobody promises that a 503 comes before the file is taken."""
    route = vendor.post(UPLOAD).respond(status, content=b"<html>")
    with pytest.raises(Ambiguous):
        await client.send(opaque())
    assert route.call_count == 1


@pytest.mark.parametrize(("count", "fate"), [(2, Fate.SPLIT), (1, Fate.REJECTED)])
async def test_a_refused_file_is_halved_down_to_one_row(
    vendor: respx.MockRouter, client: Metrica, count: int, fate: Fate
) -> None:
    """400 ``invalid_uploading`` does not name the row."""
    vendor.post(UPLOAD).respond(400, content=b'{"errors":[{"error_type":"invalid_uploading"}],"code":400}')
    answer = await client.send(opaque(count))
    assert {(outcome.fate, outcome.code) for outcome in answer.outcomes} == {(fate, "invalid_uploading")}


async def test_a_refusal_of_the_request_itself_blames_no_row(vendor: respx.MockRouter, client: Metrica) -> None:
    """A deleted counter must not reject every conversion for good."""
    vendor.post(UPLOAD).respond(404, content=b'{"errors":[{"error_type":"not_found"}],"code":404}')
    with pytest.raises(Refused) as raised:
        await client.send(opaque(2))
    assert raised.value.code == "not_found"


async def test_a_used_up_day_waits_for_an_hour_without_asking_again(vendor: respx.MockRouter, client: Metrica) -> None:
    """5000 requests a day: every further one is answered at home."""
    body = sample("error.json").replace(b"by_ip", b"by_uid")
    route = vendor.post(UPLOAD).respond(429, content=body)
    for _ in range(2):
        with pytest.raises(Throttled) as raised:
            await client.send(opaque())
        assert raised.value.retry_after == 3600
    assert route.call_count == 1


async def test_a_dead_token_stops_the_account(vendor: respx.MockRouter, client: Metrica) -> None:
    """No refresh exists: one refusal, then silence, and a text that says what to do."""
    route = vendor.get(ONE).respond(403, content=b'{"errors":[{"error_type":"invalid_token"}],"code":403}')
    for _ in range(2):
        with pytest.raises(AuthError, match="issue a new token") as raised:
            await client.verify(TAKEN)
        assert raised.value.is_final
        assert "y0_SAMPLE" not in str(raised.value)
    assert route.call_count == 1


async def test_an_upload_metrica_does_not_know_is_asked_for_again(vendor: respx.MockRouter, client: Metrica) -> None:
    """It had been accepted: a 404 is a lag or a purge, and no verdict on rows."""
    vendor.get(ONE).respond(404, content=b'{"errors":[{"error_type":"not_found"}],"code":404}')
    assert await client.verify(TAKEN) is None


@pytest.mark.parametrize("status", ["UPLOADED", "PREPARED", "EXPORTED", "MATCHED", "SOMETHING_NEW", None])
async def test_an_unfinished_or_unknown_status_keeps_the_polling_going(
    vendor: respx.MockRouter, client: Metrica, status: str | None
) -> None:
    """Only two statuses are final."""
    vendor.get(ONE).respond(200, json={"uploading": {"id": 500000001, "status": status}})
    assert await client.verify(TAKEN) is None


@pytest.mark.parametrize(
    ("status", "seen", "code"),
    [("PROCESSED", Seen.VERIFIED, "file_processed"), ("LINKAGE_FAILURE", Seen.UNLINKED, "linkage_failure")],
)
async def test_without_reading_back_a_final_status_holds_for_every_row(
    vendor: respx.MockRouter, client: Metrica, status: str, seen: Seen, code: str
) -> None:
    """Metrica speaks of files, not of rows: the code says what the verdict rests on, and nothing else is asked."""
    vendor.get(ONE).respond(200, json={"uploading": {"id": 500000001, "status": status}})
    rows = (row(number=1), row(number=2))
    verdicts = await client.verify(Accepted(TAKEN.receipt, rows, START))
    assert verdicts == [RowVerdict(item.delivery, seen, code) for item in rows]
    assert len(vendor.calls) == 1


@pytest.mark.parametrize("body", [b"<html>", sample("uploading.json")[:70], b'{"uploading":null}'])
async def test_an_unreadable_status_is_drift(vendor: respx.MockRouter, client: Metrica, body: bytes) -> None:
    """Never a parse error, never a verdict."""
    vendor.get(ONE).respond(200, content=body)
    with pytest.raises(Drift):
        await client.verify(TAKEN)


# --- lookup ------------------------------------------------------------------------------------------------------


def _listed(*ids: int, at: str = "2026-03-02T08:00:00Z", comment: str = OTHER) -> list[dict[str, object]]:
    return [{"id": n, "create_time": at, "line_quantity": 1, "comment": comment} for n in ids]


def _pages(vendor: respx.MockRouter, uploadings: list[dict[str, object]]) -> respx.Route:
    def page(request: httpx.Request) -> httpx.Response:
        limit, offset = (int(request.url.params[name]) for name in ("limit", "offset"))
        return httpx.Response(200, content=msgspec.json.encode({"uploadings": uploadings[offset : offset + limit]}))

    return vendor.get(LIST).mock(side_effect=page)


async def test_the_lookup_gives_the_answer_that_was_lost(vendor: respx.MockRouter, client: Metrica) -> None:
    """What the list says of a label is what the upload would have said."""
    vendor.post(UPLOAD).respond(200, content=sample("uploading.json"))
    vendor.get(LIST).respond(200, content=sample("uploadings.json"))
    batch = sealed([row(number=number) for number in range(4)])
    assert await client.lookup(batch, START) == await client.send(batch)


@pytest.mark.parametrize("body", [b'{"uploadings":[]}', b'{"uploadings":[{"id":1}]}'])
async def test_a_label_that_is_not_there_is_none(vendor: respx.MockRouter, client: Metrica, body: bytes) -> None:
    """A record without a comment is nobody's."""
    route = vendor.get(LIST).respond(200, content=body)
    assert await client.lookup(opaque(), START) is None
    assert dict(route.calls[0].request.url.params) == {"limit": "10000", "offset": "0"}


async def test_a_label_uploaded_twice_is_answered_by_the_newest(vendor: respx.MockRouter, client: Metrica) -> None:
    """Sent again after a wrong "absent": both hold the same rows."""
    _pages(vendor, _listed(7, 9, 8, comment=LABEL))
    answer = await client.lookup(opaque(), START)
    assert answer is not None
    assert answer.receipt == {"uploading_id": "9"}


async def test_a_list_that_runs_oldest_first_is_read_to_its_end(vendor: respx.MockRouter, client: Metrica) -> None:
    """The order is not documented: the label may stand on the last page."""
    route = _pages(vendor, [*_listed(*range(PAGE), at="2025-01-01T00:00:00Z"), *_listed(PAGE, comment=LABEL)])
    answer = await client.lookup(opaque(), START)
    assert answer is not None
    assert route.call_count == 2


@pytest.mark.parametrize(
    ("age", "requests"), [(timedelta(days=2), 1), (timedelta(hours=2), 2)], ids=["long before", "the same day"]
)
async def test_a_list_that_runs_newest_first_is_left_once_it_is_past_the_sending(
    vendor: respx.MockRouter, client: Metrica, age: timedelta, requests: int
) -> None:
    """With a day to spare for time zones: a counter with years of uploads costs one request."""
    at = (START - age).strftime("%Y-%m-%dT%H:%M:%SZ")
    route = _pages(vendor, _listed(*range(PAGE + 5, 0, -1), at=at))
    assert await client.lookup(opaque(), START) is None
    assert route.call_count == requests


@pytest.mark.parametrize("at", ["", "yesterday", "2026-02-01T00:00:00"])
async def test_a_strange_or_zoneless_time_in_the_list_does_not_crash(
    vendor: respx.MockRouter, client: Metrica, at: str
) -> None:
    """The schema says "date-time" and nothing more."""
    _pages(vendor, _listed(*range(PAGE, 0, -1), at=at))
    assert await client.lookup(opaque(), START) is None


async def test_a_list_that_repeats_its_page_is_drift(vendor: respx.MockRouter, client: Metrica) -> None:
    """An ignored ``offset`` must end neither in a circle nor in a false "absent"."""
    body = msgspec.json.encode({"uploadings": _listed(*range(PAGE))})
    route = vendor.get(LIST).respond(200, content=body)
    with pytest.raises(Drift, match="repeats"):
        await asyncio.wait_for(client.lookup(opaque(), START), 10)
    assert route.call_count == 2
