"""Conversion actions by the Google Ads API: what is asked, what answers mean, what the credentials allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import respx

from adapters.google_ads import ads_api
from adapters.google_ads.auth import TOKEN_CALL
from adapters.google_ads.fake import GoogleAds
from adapters.google_ads.fake_ads import ACTIONS, search
from bridge.errors import Ambiguous, AuthError, BridgeError, Drift, Refused, Throttled, Unavailable
from bridge.sim.clock import ManualClock
from bridge.tools import AccountSetup, Rate, Request, Tokens
from tests.adapters.google_ads.kit import bench, response
from tests.support import START, adapter_tools

ADS = "https://googleads.googleapis.com"
URL = f"{ADS}/v26/customers/1234567890/googleAds:search"
ROW = {"conversionAction": {"resourceName": "customers/1/conversionActions/7", "id": "7", "name": "CRM"}}


async def listed(folder: Path, login: str | None = None) -> list[ads_api.Action]:
    """The actions that a client at the real address gets from respx."""
    setup = AccountSetup("okna/google", ADS, ads_api.judge, Rate(100.0), Tokens("ya29.x"))
    async with adapter_tools(ManualClock(START), folder) as tools:
        return await ads_api.actions(tools.http.account(setup), "1234567890", login)


async def test_actions_are_told_by_type_and_category(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports from clicks can be sent to; what they count is read off their category, removed ones are left out."""
    clock = ManualClock(START)
    async with bench(GoogleAds(clock, is_limited=False), clock, tmp_path, monkeypatch) as made:
        survey = await made.port.targets()
    assert [(item.id, item.means, item.is_usable) for item in survey.targets] == [
        ("7012345678", "qualified", True),
        ("7012345679", "sale", True),
        ("7012345680", "", False),
    ]
    assert survey.note == ""


@pytest.mark.parametrize("kind", ["service_account", "authorized_user"])
async def test_a_token_for_one_api_is_never_used_for_the_other(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rights, two tokens, kept apart: uploads go on after a list, whichever of the two works."""
    clock = ManualClock(START)
    fake = GoogleAds(clock, is_limited=False, credentials=kind)
    async with bench(fake, clock, tmp_path, monkeypatch) as made:
        first = await made.port.targets()
        findings = await made.port.check({"sale": "7012345679"})
        again = await made.port.targets()
    assert first == again
    assert bool(first.targets) == (kind == "service_account")
    assert {finding.level.value for finding in findings} == {"ok"}


@pytest.mark.parametrize(
    ("change", "told"),
    [({"has_ads_api": False}, "SERVICE_DISABLED"), ({"accounts": frozenset({"1"})}, "PERMISSION_DENIED")],
)
async def test_what_may_not_be_listed_is_said_with_the_way_round(
    change: dict[str, Any], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note, no error: uploads need none of this."""
    clock = ManualClock(START)
    fake = GoogleAds(clock, is_limited=False)
    async with bench(fake, clock, tmp_path, monkeypatch) as made:
        for name, value in change.items():
            setattr(fake.rules, name, value)
        survey = await made.port.targets()
    assert survey.targets == ()
    assert told in survey.note
    assert "ctId" in survey.note


@respx.mock(using="httpx")
async def test_pages_are_read_to_the_end_through_the_manager(tmp_path: Path, respx_mock: respx.MockRouter) -> None:
    """The token of the next page goes along, and the manager in its header (contract google 3, 4)."""
    pages = [{"results": [ROW], "nextPageToken": "n"}, {"results": [ROW]}]
    route = respx_mock.post(URL).mock(side_effect=[respx.MockResponse(200, json=page) for page in pages])
    found = await listed(tmp_path, login="9876543210")
    assert [action.id for action in found] == ["7", "7"]
    assert {call.request.headers["login-customer-id"] for call in route.calls} == {"9876543210"}
    assert [b"pageToken" in call.request.content for call in route.calls] == [False, True]


@respx.mock(using="httpx")
async def test_a_list_without_an_end_is_given_up(tmp_path: Path, respx_mock: respx.MockRouter) -> None:
    """The same token for ever is drift."""
    respx_mock.post(URL).respond(json={"results": [ROW], "nextPageToken": "n"})
    with pytest.raises(Drift, match="does not end"):
        await listed(tmp_path)


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, AuthError), (403, AuthError), (429, Throttled), (500, Unavailable), (503, Unavailable), (400, Refused)],
)
def test_each_status_is_one_recovery(status: int, error: type[BridgeError]) -> None:
    """Gateway pages too: a body is never needed to know what to do."""
    for body in (b"<html>", b'{"error": {"status": "X", "message": "m", "code": 1}}'):
        with pytest.raises(error):
            ads_api.judge(Request("POST", URL, is_safe=True), response(status, body))


@pytest.mark.parametrize("status", [408, 500, 503])
def test_a_write_without_an_answer_is_in_doubt(status: int) -> None:
    """It may have been carried out."""
    with pytest.raises(Ambiguous):
        ads_api.judge(Request("POST", URL), response(status, b"<html>"))


def test_a_token_request_is_judged_as_one() -> None:
    """The account's judge sees both kinds of request."""
    with pytest.raises(AuthError, match="invalid_grant"):
        ads_api.judge(Request("POST", URL, scope=TOKEN_CALL), response(400, {"error": "invalid_grant"}))


@respx.mock(using="httpx")
async def test_an_answer_in_another_form_is_drift(tmp_path: Path, respx_mock: respx.MockRouter) -> None:
    """An array, HTML, half an object."""
    for body in (b"[]", b"<html>", b'{"results": [{"x": 1}]}'):
        respx_mock.post(URL).respond(200, content=body)
        with pytest.raises(Drift):
            await listed(tmp_path)


def test_the_simulator_takes_only_fields_that_exist() -> None:
    """A query of another table, or with a misspelt field, is refused."""
    assert search(ACTIONS, "SELECT conversion_action.id FROM campaign") is None
    assert search(ACTIONS, "SELECT conversion_action.nam FROM conversion_action") is None
    found = search(ACTIONS, "SELECT conversion_action.id FROM conversion_action")
    assert found is not None
    assert len(found["results"]) == len(ACTIONS)
