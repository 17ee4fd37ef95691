"""The destination before the simulator: upload, verify, over real sockets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import respx

from adapters.google_ads import SPEC
from adapters.google_ads import destination as client
from adapters.google_ads.fake import GoogleAds
from adapters.google_ads.fake_ads import ACTIONS
from bridge import log
from bridge.errors import Ambiguous, AuthError, BridgeError, ConfigError, Drift, Refused, Throttled
from bridge.frozen import replace
from bridge.model import Consent, ConversionKind, IdKind, Money, Outgoing
from bridge.ports import Accepted, Fate, Proof, Seen
from bridge.sim.clock import ManualClock
from bridge.sim.faults import Fault, FaultPlan
from tests.adapters.google_ads.kit import (
    ACTION,
    DAY,
    EMAIL,
    GCLID,
    GRANTED,
    HOUR,
    LABEL,
    OTHER,
    PERSON,
    PHONE,
    Bench,
    bench,
    click,
    fates,
    row,
    sample,
    settings,
)
from tests.support import START, adapter_tools


def _own(number: int, **changes: object) -> Outgoing:
    """A row with a click of its own."""
    return row(number, identifiers=click(IdKind.GCLID, f"{GCLID}{number}"), **changes)


def _taken(receipt: Mapping[str, str], *rows: Outgoing) -> Accepted:
    """What ``verify`` is handed of an accepted request."""
    return Accepted(receipt, rows, START)


async def _verdict(here: Bench, clock: ManualClock, item: Outgoing) -> tuple[Seen, str]:
    """Upload alone, wait, ask."""
    answer = await here.send(item)
    assert fates(answer) == [("accepted", "")]
    clock.advance(HOUR)
    verdicts = await here.port.verify(_taken(answer.receipt, item))
    assert verdicts is not None
    return verdicts[0].seen, verdicts[0].code


# --- the whole way -----------------------------------------------------------------------------------------------


async def test_a_conversion_of_a_known_click_is_counted_and_verified(here: Bench, clock: ManualClock) -> None:
    """Accepted at once, silent while Google works, verified when it has settled."""
    here.know(row())
    answer = await here.send(row())
    assert await here.port.verify(_taken(answer.receipt, row())) is None
    clock.advance(HOUR)
    (verdict,) = await here.port.verify(_taken(answer.receipt, row())) or []
    assert verdict.seen is Seen.VERIFIED
    (counted,) = here.fake.applied()
    assert (counted.target, counted.at, counted.order_key) == (ACTION, row().occurred_at, row().order_key)
    assert (str(counted.value), counted.identifiers, counted.is_linked) == ("1500.50", (GCLID,), True)


async def test_an_unknown_click_is_unlinked(here: Bench, clock: ManualClock) -> None:
    """Normal for a part of the leads."""
    assert await _verdict(here, clock, row()) == (Seen.UNLINKED, "CLICK_NOT_FOUND")
    assert [item.is_linked for item in here.fake.applied()] == [False]


async def test_a_person_known_to_google_links_a_lead_without_a_click(here: Bench, clock: ManualClock) -> None:
    """Enhanced conversions for leads: the digest alone is enough."""
    here.fake.know_id(EMAIL, START - 3 * DAY)
    lone = row(identifiers=(), persons=(PERSON,))
    assert await _verdict(here, clock, lone) == (Seen.VERIFIED, "")
    assert here.fake.applied()[0].identifiers == (EMAIL,)


async def test_the_same_bytes_sent_twice_count_once(here: Bench, clock: ManualClock) -> None:
    """Proof ROW: after a lost answer the ledger may send again."""
    here.know(row())
    await here.send(row())
    assert await _verdict(here, clock, row()) == (Seen.VERIFIED, "DUPLICATE_TRANSACTION_ID")
    assert [item.reaches for item in here.fake.applied()] == [1]


async def test_a_restatement_replaces_the_value_and_adds_no_count(here: Bench, clock: ManualClock) -> None:
    """Same transaction id, same action; zero is a value, too."""
    here.know(row())
    await here.send(row())
    for minor in (70_000, 0):
        restated = row(2, order_key=row().order_key, kind=ConversionKind.RESTATEMENT, value=Money(minor, "RUB"))
        assert await _verdict(here, clock, restated) == (Seen.VERIFIED, "")
        assert [item.value for item in here.fake.applied()] == [Money(minor, "RUB").amount]


async def test_one_conversion_under_two_ids_is_seen_as_doubled(here: Bench, clock: ManualClock) -> None:
    """The oracle must be able to catch an unstable order key: two items, and Google's own DUPLICATE_GCLID."""
    here.know(row())
    await here.send(row())
    assert await _verdict(here, clock, row(2)) == (Seen.VERIFIED, "DUPLICATE_GCLID")
    assert len(here.fake.applied()) == 2


async def test_two_actions_of_one_account_count_apart(here: Bench) -> None:
    """The target is part of the key; rows of different targets never share a batch."""
    here.know(row())
    both = (row(), row(2, target=OTHER, order_key=row().order_key))
    for item in both:
        await here.send(item)
    assert sorted(item.target for item in here.fake.applied()) == [ACTION, OTHER]
    assert len({here.port.batch_key(item) for item in both}) == 2


async def test_a_window_closed_at_google_is_told_with_its_reason(here: Bench, clock: ManualClock) -> None:
    """What our bounds could not know: the click was younger, older or later than thought."""
    here.know(_own(1), at=START - HOUR)
    here.know(_own(2), at=START - 91 * DAY)
    here.know(_own(3), at=START - HOUR)
    young, old = _own(1, occurred_at=START - timedelta(minutes=5)), _own(2)
    assert await _verdict(here, clock, young) == (Seen.AGAIN, "TOO_RECENT_CLICK")
    assert await _verdict(here, clock, old) == (Seen.UNLINKED, "EVENT_TOO_OLD")
    assert await _verdict(here, clock, _own(3)) == (Seen.UNLINKED, "CONVERSION_PRECEDES_CLICK")


@pytest.mark.parametrize(
    ("own", "consent", "expected"),
    [
        (None, {}, (Seen.REJECTED, "NO_CONSENT")),
        (None, GRANTED, (Seen.VERIFIED, "")),
        (Consent(True, True), {}, (Seen.VERIFIED, "")),
        (Consent(False, False), GRANTED, (Seen.REJECTED, "DENIED_CONSENT")),
    ],
)
async def test_google_drops_what_comes_from_europe_without_consent(
    own: Consent | None,
    consent: dict[str, str],
    expected: tuple[Seen, str],
    clock: ManualClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The event's own consent wins over the request's; that is why such deals are withheld before."""
    async with bench(GoogleAds(clock), clock, tmp_path, monkeypatch, consent=consent) as here:
        here.fake.rules.asks_consent = True
        here.know(row())
        assert await _verdict(here, clock, row(consent=own)) == expected


@pytest.mark.parametrize("kind", [IdKind.GBRAID, IdKind.WBRAID])
async def test_a_braid_is_refused_where_an_action_counts_once_per_click(
    kind: IdKind, here: Bench, clock: ManualClock
) -> None:
    """Check warns of it (contract google 2.5); a gclid beside it goes alone, and is taken."""
    here.fake.rules.listed = (replace(ACTIONS[0], counting="ONE_PER_CLICK"),)
    braid, both = row(1, identifiers=click(kind, "b1")), row(2, identifiers=(*click(kind, "b2"), *row().identifiers))
    here.know(braid, both)
    code = "ONE_PER_CLICK_CONVERSION_ACTION_NOT_PERMITTED_WITH_BRAID"
    assert await _verdict(here, clock, braid) == (Seen.REJECTED, code)
    assert await _verdict(here, clock, both) == (Seen.VERIFIED, "")


async def test_many_rows_in_one_request_share_a_tally(here: Bench, clock: ManualClock) -> None:
    """Three of forty fail: Google does not say which, so they go again, with the count for a reason."""
    rows = [_own(number) for number in range(40)]
    here.know(*rows[3:])
    answer = await here.send(*rows)
    clock.advance(HOUR)
    verdicts = await here.port.verify(_taken(answer.receipt, *rows))
    assert {(v.seen, v.code) for v in verdicts or []} == {(Seen.AGAIN, "3_of_40:CLICK_NOT_FOUND")}


async def test_a_status_kept_too_long_is_unknown(here: Bench, clock: ManualClock) -> None:
    """Google forgets after 50 days; an id it never had is unknown as well."""
    answer = await here.send(row())
    clock.advance(51 * DAY)
    for receipt, code in ((answer.receipt, "REQUEST_TOO_OLD"), ({"request_id": "t-no"}, "INVALID_REQUEST_ID")):
        (verdict,) = await here.port.verify(_taken(receipt, row())) or []
        assert (verdict.seen, verdict.code) == (Seen.UNKNOWN, code)


# --- refusals ----------------------------------------------------------------------------------------------------


async def test_one_bad_row_among_two_thousand_is_set_aside_and_the_rest_goes(here: Bench) -> None:
    """The loop the ledger runs: named rows are rejected, the others go again, until nothing is left."""
    rows = [_own(number) for number in range(2000)]
    rows[1234] = _own(1234, value=Money(100, "R1B"))
    here.know(*rows)
    pending, rejected, rounds = rows, [], 0
    while pending:
        rounds += 1
        answer = await here.send(*pending)
        rejected += [o.delivery for o in answer.outcomes if o.fate is Fate.REJECTED]
        again = {o.delivery for o in answer.outcomes if o.fate is Fate.AGAIN}
        pending = [item for item in pending if item.delivery in again]
    assert (rounds, rejected) == (2, [rows[1234].delivery])
    assert len(here.fake.applied()) == 1999


async def test_a_whole_refusal_stores_nothing(here: Bench) -> None:
    """One bad row: not even the good ones count until they are sent again."""
    here.know(row())
    answer = await here.send(row(), row(2, value=Money(1, "??")))
    assert fates(answer) == [("again", "beside_a_bad_row"), ("rejected", "INVALID_CURRENCY_CODE")]
    assert here.fake.applied() == []


async def test_too_many_events_are_halved(here: Bench) -> None:
    """2,001 rows in one request name no row."""
    answer = await here.send(*(_own(number) for number in range(2001)))
    assert {outcome.fate for outcome in answer.outcomes} == {Fate.SPLIT}


async def test_a_missing_action_is_the_operators_business(here: Bench) -> None:
    """No row is rejected for it."""
    here.fake.rules.actions = {OTHER: START - DAY}
    with pytest.raises(Refused) as caught:
        await here.send(row())
    assert caught.value.code == "INVALID_CONVERSION_ACTION_ID"


async def test_a_new_action_delays_its_rows(here: Bench, clock: ManualClock) -> None:
    """Created an hour ago: six hours later it works."""
    here.fake.rules.actions = {ACTION: START - HOUR}
    answer = await here.send(row())
    assert answer.outcomes[0].not_before == START + 6 * HOUR
    clock.set(START + 6 * HOUR)
    assert fates(await here.send(row())) == [("accepted", "")]


async def test_user_data_without_the_accounts_terms_is_the_operators_business(here: Bench) -> None:
    """The path points at a row, the reason at the account."""
    here.fake.rules.takes_persons = False
    with pytest.raises(Refused, match="send_persons = false"):
        await here.send(row(persons=(PERSON,)))


@pytest.mark.parametrize(
    ("switch", "hint"), [("is_enabled", "SERVICE_DISABLED"), ("accounts", "PERMISSION_DENIED")], ids=["api", "account"]
)
async def test_a_closed_door_stops_the_account_with_advice(here: Bench, switch: str, hint: str) -> None:
    """403 is final: one request, then silence until a human has acted."""
    setattr(here.fake.rules, switch, False if switch == "is_enabled" else frozenset({"5555555555"}))
    for _ in range(3):
        with pytest.raises(AuthError, match=hint):
            await here.send(row())
    assert here.fake.requests["POST /v1/events:ingest"] <= 2


async def test_a_manager_without_membership_is_forbidden(
    clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``login_customer_id`` of a foreign manager (contract google 10.8); of our own it is fine."""
    fake = GoogleAds(clock)
    async with bench(fake, clock, tmp_path, monkeypatch, login_customer_id="111-111-1111") as here:
        with pytest.raises(AuthError, match="login_customer_id"):
            await here.send(row())
    async with bench(GoogleAds(clock), clock, tmp_path, monkeypatch, login_customer_id="987-654-3210") as here:
        assert fates(await here.send(row())) == [("accepted", "")]


async def test_a_used_up_quota_throttles_and_nothing_is_counted(here: Bench) -> None:
    """300 calls a minute in truth; here 3. After short repeats the ledger waits."""
    here.fake.rules.per_minute = 3
    here.know(*(_own(number) for number in range(5)))
    for number in range(3):
        await here.send(_own(number))
    with pytest.raises(Throttled):
        await here.send(_own(3))
    assert len(here.fake.applied()) == 3


async def test_a_used_up_day_is_left_alone_for_an_hour(here: Bench) -> None:
    """A daily quota: no repeats within seconds."""
    here.fake.rules.per_day = 1
    await here.send(_own(1))
    with pytest.raises(Throttled) as caught:
        await here.send(_own(2))
    assert caught.value.retry_after == pytest.approx(3600)
    assert here.fake.requests["POST /v1/events:ingest"] == 2


# --- lost answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.ERROR_AFTER, Fault.ERROR_BEFORE, Fault.LOST_ANSWER, Fault.CUT_BODY])
async def test_an_answer_that_does_not_come_leaves_the_upload_in_doubt(
    fault: Fault, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored or not, the client cannot know: in doubt, sent once. The same bytes again settle it, counted once."""
    faults = FaultPlan.calm()
    async with bench(GoogleAds(clock, faults), clock, tmp_path, monkeypatch) as here:
        here.know(row())
        await here.port.check({})  # a token first, so that the fault meets the upload
        faults.rates = {fault: 1.0}
        with pytest.raises((Ambiguous, Drift)):
            await here.send(row())
        faults.stop()
        assert here.fake.requests["POST /v1/events:ingest"] == 1
        assert fates(await here.send(row())) == [("accepted", "")]
        assert [item.reaches for item in here.fake.applied()] == [1]


async def test_harsh_weather_loses_and_doubles_nothing(
    clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every kind of fault, each often: sent until answered, every conversion is counted exactly once."""
    faults = FaultPlan(7, dict.fromkeys(Fault, 0.06))
    fake = GoogleAds(clock, faults, is_limited=False)
    async with bench(fake, clock, tmp_path, monkeypatch) as here:
        rows = [_own(number) for number in range(200)]
        here.know(*rows)
        for item in rows:
            while not await _accepted(here, clock, item):
                pass
        counted = fake.applied()
    assert sorted(item.order_key for item in counted) == sorted(item.order_key for item in rows)
    assert all(item.is_linked and item.reaches == 1 for item in counted)
    assert set(faults.drawn) == set(Fault)


async def _accepted(here: Bench, clock: ManualClock, item: Outgoing) -> bool:
    try:
        return fates(await here.send(item)) == [("accepted", "")]
    except BridgeError:
        clock.advance(timedelta(minutes=20))
        return False


# --- sizes and traits --------------------------------------------------------------------------------------------


async def test_few_rows_go_one_by_one_and_many_go_together(here: Bench) -> None:
    """One event per request makes the status a verdict on the lead; more than five minutes' worth go together."""
    assert [here.port.batch_size(due) for due in (1, 1440, 1441, 50_000)] == [1, 1, 2000, 2000]


async def test_a_used_up_day_makes_rows_go_together(
    clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uploads and looks are counted as they are made; the next day begins anew."""
    async with bench(GoogleAds(clock), clock, tmp_path, monkeypatch, requests_per_day=10) as here:
        assert here.port.batch_size(3) == 1
        answer = await here.send(_own(1))
        assert here.port.batch_size(3) == 1
        await here.port.verify(_taken(answer.receipt, _own(1)))
        assert here.port.batch_size(3) == 2000
        clock.advance(2 * DAY)
        assert here.port.batch_size(3) == 1


async def test_a_batch_that_failed_in_part_is_asked_for_again_in_smaller_ones(here: Bench, clock: ManualClock) -> None:
    """Until each failure stands alone: every lead has its verdict, and nothing is counted twice."""
    rows = [_own(number) for number in range(30)]
    here.know(*rows[:28])
    parts, rounds = [rows], 0
    verdicts: dict[str, Seen] = {}
    while parts:
        rounds += 1
        answers = [(part, await here.send(*part)) for part in parts]
        clock.advance(HOUR)
        parts = []
        for part, answer in answers:
            found = await here.port.verify(_taken(answer.receipt, *part)) or []
            again = [row for row, one in zip(part, found, strict=True) if one.seen is Seen.AGAIN]
            verdicts |= {one.delivery: one.seen for one in found if one.seen is not Seen.AGAIN}
            size = found[0].max_rows or 1
            parts += [again[start : start + size] for start in range(0, len(again), size)]
    assert [verdicts[row.delivery] for row in rows] == [Seen.VERIFIED] * 28 + [Seen.UNLINKED] * 2
    assert sorted(item.order_key for item in here.fake.applied()) == sorted(row.order_key for row in rows)
    assert rounds <= 5


def test_the_default_rate_stays_below_googles_quota_in_any_minute() -> None:
    """A leaky bucket lets out its burst and a minute's drops: at most 300 (contract google 2.8)."""
    assert client.BURST + 60 * settings().requests_per_second <= 300


def test_the_announced_traits_fit_the_api() -> None:
    """``bridge adapters`` prints these."""
    assert SPEC.destination is not None
    traits = SPEC.destination.traits
    assert (traits.proof, traits.adjusts, traits.accepts_persons, traits.persons_suffice) == (
        Proof.ROW,
        True,
        True,
        False,
    )
    assert traits.accepts == (IdKind.GCLID, IdKind.GBRAID, IdKind.WBRAID)


async def test_persons_are_asked_for_only_if_they_may_go(
    clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core plans no digests for a destination that may not send them."""
    for changes, expected in (
        ({}, (True, False)),
        ({"persons_alone": True}, (True, True)),
        ({"consent": {}}, (False, False)),
    ):
        async with bench(GoogleAds(clock), clock, tmp_path, monkeypatch, **changes) as here:
            assert (here.port.traits.accepts_persons, here.port.traits.persons_suffice) == expected


async def test_there_is_nothing_to_look_up(here: Bench) -> None:
    """Requests carry no label."""
    assert await here.port.lookup(here.sealed([row()]), START) is None
    assert LABEL.encode() not in here.sealed([row()]).payload.body
    await here.port.close()


async def test_missing_credentials_are_a_configuration_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told when the destination is built, with the variable's name."""
    monkeypatch.delenv("X", raising=False)
    async with adapter_tools(ManualClock(START), tmp_path) as tools:
        with pytest.raises(ConfigError, match="X"):
            client.build("google", settings(), tools)


# --- logs --------------------------------------------------------------------------------------------------------


@contextmanager
def _logs() -> Iterator[io.StringIO]:
    out = io.StringIO()
    log.setup("debug", "json", out, strict_events=True)
    try:
        yield out
    finally:
        log.setup("warning", "json", None)
        logging.captureWarnings(False)


async def test_field_warnings_are_logged_by_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accepted all the same; the operator learns what Google left out."""
    monkeypatch.setenv("X", GoogleAds(ManualClock(START), credentials="authorized_user").credentials_json())
    with _logs() as out, respx.mock(using="httpx") as mock:
        mock.post("https://oauth2.googleapis.com/token").mock(httpx.Response(200, content=sample("token")))
        mock.post(url__regex=".*:ingest").mock(httpx.Response(200, content=sample("ingest_response")))
        async with adapter_tools(ManualClock(START), tmp_path) as tools:
            port = client.build("google", settings(consent=GRANTED), tools)
            here = Bench(GoogleAds(tools.clock), port, None)
            assert fates(await here.send(row())) == [("accepted", "")]
    (line,) = [json.loads(text) for text in out.getvalue().splitlines() if "quirk" in text]
    assert line["reasons"] == {"WARNING_REASON_CUSTOM_VARIABLE_NOT_ENABLED": 1}


async def test_no_digest_token_or_click_appears_in_a_log_or_an_error(
    clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens on the way."""
    with _logs() as out:
        fake = GoogleAds(clock, FaultPlan.harsh(3), is_limited=False)
        async with bench(fake, clock, tmp_path, monkeypatch) as here:
            texts = [repr(here.sealed([row(persons=(PERSON,))]))]
            for number in range(40):
                try:
                    await here.send(row(number, persons=(PERSON,), value=Money(1, "R?B" if number % 5 == 0 else "RUB")))
                except BridgeError as error:
                    texts.append(f"{error!r} {error}")
                    clock.advance(HOUR)
            texts.append(out.getvalue())
    told = "\n".join(texts)
    private = json.loads(fake.credentials_json())["private_key"]
    assert not any(secret in told for secret in (EMAIL, PHONE, "ya29.", private[40:80], GCLID))
