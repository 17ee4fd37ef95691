"""What is read from a webhook: ids, if the app signed it for this address a moment ago. What the simulator posts."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hubspot.utils.signature import Signature  # type: ignore[import-untyped]  # ships no types
from hypothesis import given
from hypothesis import strategies as st

from adapters.hubspot import hooks
from adapters.hubspot.entities import CONTACT, DEAL
from adapters.hubspot.fake_hooks import PORTAL_ID
from adapters.hubspot.fake_schema import CONTACTS, DEALS
from adapters.hubspot.hooks import Reader
from adapters.hubspot.settings import HubSpotSettings
from bridge.errors import Refused
from bridge.hints import Hook
from tests.adapters.hubspot.kit import HOUR, WON, running
from tests.support import START, served

SECRET = "7c1e5d0a-app-secret"
URL = "https://bridge.example/hooks/school/hub/0123456789abcdef0123"
READER = Reader(SECRET.encode(), "", [CONTACT, DEAL])
NOW = str(int(START.timestamp() * 1000))


def signed(body: bytes, told: str = NOW, url: str = URL) -> dict[str, str]:
    """Headers as the vendor's own library signs them."""
    signature = Signature.get_signature(SECRET, body.decode(), "v3", http_uri=url, http_method="POST", timestamp=told)
    return {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": told}


def named(*events: Mapping[str, Any], reader: Reader = READER) -> tuple[str, ...]:
    body = json.dumps(events).encode()
    return hooks.records_of(Hook(URL, signed(body), body, START), reader=reader)


def event(kind: str, **more: Any) -> dict[str, Any]:
    return {"eventId": 1, "portalId": PORTAL_ID, "subscriptionType": kind, "occurredAt": 1, "attemptNumber": 0, **more}


# --- events ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "keys"),
    [
        (event("deal.propertyChange", objectId=501, propertyName="dealstage", propertyValue="closedwon"), ["deal:501"]),
        (event("deal.creation", objectId="502"), ["deal:502"]),
        (event("contact.propertyChange", objectId=301, propertyName="lifecyclestage"), ["lead:301"]),
        *[
            (event(f"contact.{name}", objectId=301), ["lead:301"])
            for name in ("deletion", "restore", "privacyDeletion")
        ],
        (event("object.propertyChange", objectId=5, objectTypeId="0-3"), ["deal:5"]),
        (event("object.creation", objectId=5, objectTypeId="0-1"), ["lead:5"]),
        (event("object.creation", objectId=5, objectTypeId="2-77"), []),
        (
            event("contact.merge", objectId=1, primaryObjectId=1, mergedObjectIds=[2, "3"], newObjectId=4),
            ["lead:1", "lead:4", "lead:2", "lead:3"],
        ),
        (
            event("deal.associationChange", associationType="DEAL_TO_CONTACT", fromObjectId=501, toObjectId=301),
            ["deal:501", "lead:301"],
        ),
        (
            event("contact.associationChange", associationType="CONTACT_TO_DEAL", fromObjectId=301, toObjectId=501),
            ["lead:301", "deal:501"],
        ),
        (event("deal.associationChange", associationType="DEAL_TO_COMPANY", fromObjectId=5, toObjectId=9), ["deal:5"]),
        (event("company.creation", objectId=5), []),
        (event("ticket.propertyChange", objectId=5), []),
        (event("unheard.of"), []),
        ({}, []),
        *[(event("deal.creation", objectId=bad), []) for bad in ("", "0", "-1", "x", "٥", "9" * 30, -5, 0, None)],
    ],
)
def test_an_event_names_its_records(told: dict[str, Any], keys: list[str]) -> None:
    """Contract 7, merges and associations included; whatever we do not read is no hint and no error."""
    assert list(named(told)) == keys


def test_doubled_and_shuffled_events_name_each_record_once() -> None:
    """At least once, in no order, under event ids that repeat: only records count."""
    events = [event("deal.creation", objectId=number % 7 + 1) for number in range(100)]
    random.Random(1).shuffle(events)
    assert sorted(named(*events)) == [f"deal:{number}" for number in range(1, 8)]
    assert named() == ()


def test_what_is_not_read_is_no_hint() -> None:
    """A source of deals is not asked for contacts; another account's events are passed over where one is named."""
    events = [event("contact.creation", objectId=301), event("deal.creation", objectId=501)]
    assert named(*events, reader=Reader(SECRET.encode(), "", [DEAL])) == ("deal:501",)
    assert named(*events, reader=Reader(SECRET.encode(), "1", [CONTACT, DEAL])) == ()
    assert len(named(*events, reader=Reader(SECRET.encode(), str(PORTAL_ID), [CONTACT, DEAL]))) == 2


# --- signatures --------------------------------------------------------------------------------------------------


def code(hook: Hook) -> str:
    with pytest.raises(Refused) as refused:
        hooks.records_of(hook, reader=READER)
    assert SECRET not in str(refused.value)
    return refused.value.code


def test_what_the_app_did_not_sign_is_refused() -> None:
    """Another body, address, time or secret; no signature, or something else in its place; an older version's."""
    body = json.dumps([event("deal.creation", objectId=501)]).encode()
    good = signed(body)
    assert hooks.records_of(Hook(URL, good, body, START), reader=READER) == ("deal:501",)
    wrong = {
        "body": Hook(URL, good, body.replace(b"501", b"502"), START),
        "address": Hook(f"{URL}4", good, body, START),
        "time": Hook(URL, {**good, "x-hubspot-request-timestamp": str(int(NOW) + 1)}, body, START),
        "none": Hook(URL, {"x-hubspot-request-timestamp": NOW}, body, START),
        "odd": Hook(URL, {**good, "x-hubspot-signature-v3": "я"}, body, START),
        "cut": Hook(URL, {**good, "x-hubspot-signature-v3": good["x-hubspot-signature-v3"][:-4]}, body, START),
        "v2": Hook(
            URL,
            {
                "x-hubspot-request-timestamp": NOW,
                "x-hubspot-signature": Signature.get_signature(SECRET, body.decode(), "v2", http_uri=URL),
            },
            body,
            START,
        ),
    }
    assert {name: code(hook) for name, hook in wrong.items()} == dict.fromkeys(wrong, "wrong_signature")
    other = Reader(b"another secret", "", [DEAL])
    with pytest.raises(Refused, match="did not sign"):
        hooks.records_of(Hook(URL, good, body, START), reader=other)


@pytest.mark.parametrize(
    ("seconds", "is_taken"), [(0, True), (299, True), (300, True), (301, False), (-300, True), (-301, False)]
)
def test_a_signature_is_good_for_five_minutes(seconds: int, is_taken: bool) -> None:
    """Either way: nobody can keep one and send it again."""
    hook = Hook(URL, signed(b"[]"), b"[]", START + timedelta(seconds=seconds))
    if is_taken:
        assert hooks.records_of(hook, reader=READER) == ()
    else:
        assert code(hook) == "wrong_time"


@pytest.mark.parametrize("told", ["", "x", "-1", "1e9", "٥", "9" * 16, "9" * 400, "1.5"])
def test_a_time_that_is_none_is_refused(told: str) -> None:
    """Whatever stands there."""
    assert code(Hook(URL, {**signed(b"[]"), "x-hubspot-request-timestamp": told}, b"[]", START)) == "wrong_time"


def test_without_a_public_address_nothing_can_be_checked() -> None:
    """The message says what to set."""
    hook = Hook("", signed(b"[]"), b"[]", START)
    assert code(hook) == "no_public_url"


def test_an_escaped_address_is_signed_as_it_reads() -> None:
    """Of the escaped characters those that the vendor decodes (contract 7); others stay escaped."""
    escaped, plain = "https://bridge.example/a%3Ab%2Fc%20d", "https://bridge.example/a:b/c%20d"
    headers = signed(b"[]", url=plain)
    assert hooks.records_of(Hook(escaped, headers, b"[]", START), reader=READER) == ()


@pytest.mark.parametrize("body", [b"", b"{}", b'{"objectId":501}', b"[1]", b"[[]]", b'[{"objectId":{}}]', b"[{"])
def test_a_signed_body_that_is_no_list_of_events_is_refused(body: bytes) -> None:
    """It cannot be understood, so it is not answered as if it were."""
    assert code(Hook(URL, signed(body), body, START)) == "not_events"


@given(st.binary(max_size=200), st.text(max_size=40), st.text(max_size=20))
def test_garbage_is_refused(body: bytes, signature: str, told: str) -> None:
    """Nothing else is raised."""
    headers = {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": told}
    with pytest.raises(Refused):
        hooks.records_of(Hook(URL, headers, body, START), reader=READER)


# --- settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["private", "oauth", "own"])
def test_the_client_secret_is_the_apps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Given with a private app; a public app's own serves unless another is given."""
    for name in ("TOKEN", "HOOK", "OTHER"):
        monkeypatch.setenv(name, "0123456789abcdef0123")
    monkeypatch.setenv("APP", SECRET)
    own = {"client_secret": {"env": "APP"}}
    oauth = {"client_id": "x", "redirect_uri": "https://x.example/", "client_secret": {"env": "APP"}}
    auth, hook = {
        "private": ({"token": {"env": "TOKEN"}}, own),
        "oauth": (oauth, {}),
        "own": ({**oauth, "client_secret": {"env": "OTHER"}}, own),
    }[way]
    section = {"auth": auth, "entities": ["deal"], "hook": {"secret": {"env": "HOOK"}, "portal_id": PORTAL_ID, **hook}}
    parse = hooks.reader(HubSpotSettings.model_validate(section), tmp_path)
    body = json.dumps([event("deal.creation", objectId=3), event("contact.creation", objectId=3)]).encode()
    assert parse(Hook(URL, signed(body), body, START)) == ("deal:3",)


# --- the simulator -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def handled(statuses: list[int]) -> AsyncIterator[tuple[str, list[Hook]]]:
    """A server that webhooks are posted to: its address, and what came. It answers by the list, then 200."""
    taken: list[Hook] = []

    async def take(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        taken.append(Hook(str(request.url), headers, await request.read(), START))
        return web.Response(status=statuses.pop(0) if statuses else 200)

    async with served(take, "/hooks/x") as address:
        yield address, taken


async def test_what_the_simulator_posts_is_read(tmp_path: Path) -> None:
    """Signed lists of a hundred events at most, of what was subscribed to alone."""
    async with running(tmp_path) as rig, handled([]) as (address, taken):
        desk = rig.portal.hooks
        desk.target = address
        desk.subscriptions = ("deal.creation", "deal.propertyChange:dealstage", "contact.merge", "deal.deletion")
        for _ in range(130):
            rig.deal(amount="5")
        rig.contact()
        rig.contact()
        rig.portal.data.merge(CONTACTS, 302, 301, START + HOUR)
        rig.portal.data.archive(DEALS, 501, START + HOUR)
        assert await desk.deliver() == [200, 200, 200]
        reader = Reader(desk.secret.encode(), str(PORTAL_ID), [CONTACT, DEAL])
        found = [hooks.records_of(Hook(h.url, h.headers, h.body, rig.clock.now()), reader=reader) for h in taken]
        assert {key for keys in found for key in keys} == {
            *(f"deal:{501 + number}" for number in range(130)),
            "lead:301",
            "lead:302",
        }
        assert max(len(json.loads(hook.body)) for hook in taken) == 100


async def test_what_is_not_taken_is_posted_again(tmp_path: Path) -> None:
    """Up to ten times, with the number of the attempt; then it is lost."""
    async with running(tmp_path) as rig, handled([503, 404]) as (address, taken):
        desk = rig.portal.hooks
        desk.target, desk.subscriptions = address, ("deal.propertyChange:dealstage",)
        number = rig.deal()
        rig.change(f"deal:{number}", START + HOUR, dealstage=WON)
        assert [(await desk.deliver())[0] for _ in range(3)] == [503, 404, 200]
        assert await desk.deliver() == []
        assert [json.loads(hook.body)[0]["attemptNumber"] for hook in taken] == [0, 1, 2]
        desk.target = "http://127.0.0.1:9/"
        rig.change(f"deal:{number}", START + HOUR, dealstage="closedlost")
        assert [await desk.deliver() for _ in range(12)] == [[None]] * 11 + [[]]
