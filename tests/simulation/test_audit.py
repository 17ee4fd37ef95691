"""Our counts beside the vendor's: a row that the vendor loses is found, on its goal and its day."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from adapters.google_ads.fake import GoogleAds
from adapters.yandex_metrica.evidence import client_ids, sent_as
from adapters.yandex_metrica.fake import Metrica
from bridge.audits import DayCount
from bridge.loops import audit
from bridge.model import IdKind, Outgoing
from bridge.rules.audit import ALARMS, Standing, standing
from bridge.sim.events import Click
from bridge.sim.stage import GOOGLE, METRICA, Cast, Scene
from bridge.store import codec, schema
from bridge.tenant import Tenant
from bridge.web.status import attention, status
from tests.simulation.kit import START, Play, captured_logs, events, know, play, rows, staged

Audited = tuple[Play, Scene, Tenant, io.StringIO]
STRANGER = "17751100000000000001"
MOSCOW = ZoneInfo("Europe/Moscow")  # the simulated counter's time zone


@pytest.fixture
async def played(tmp_path: Path) -> AsyncIterator[Audited]:
    """Some quiet days of one advertiser, audited every day; the last time when all that was sent had to be counted.

    So the last comparison knows the day of each row, and which one is gone afterwards is certain.
    """
    stage = staged(Cast(16, START, days=4, leads=24, kinds=("amocrm",)))
    with captured_logs() as logs:
        async with play(tmp_path, stage) as made:
            await made.live(timedelta(hours=12), timedelta(days=3))
            made.stage.advance(made.stage.told_until + timedelta(days=1))
            await audit.once(await made.installation.tenant(stage.scenes[0].tenant))
            assert not events(logs, "audit_lost", "audit_extra", "audit_failed", "audit_untold")
            yield made, stage.scenes[0], await made.installation.tenant(stage.scenes[0].tenant), logs


async def _verified(made: Play, kind: IdKind) -> list[Outgoing]:
    """What stands verified at Metrica, sent by this kind of identifier."""
    table = schema.delivery
    found = await rows(made.installation.store, table, table.c.destination == METRICA, table.c.state == "verified")
    contents = [codec.outgoing(row["content"]) for row in found]
    return [row for row in contents if sent_as(row)[0] is kind]


async def _alarms(tenant: Tenant) -> list[DayCount]:
    report = await tenant.audits.report(METRICA)
    return [one for one in report.days if standing(one) in ALARMS]


async def test_a_row_that_the_vendor_loses_is_an_alarm_on_its_goal_and_day(
    played: Audited,
) -> None:
    """Nothing is wrong; then a reach is gone from the counter: told once, shown by status, over when it is back."""
    made, scene, tenant, logs = played
    metrica = scene.ads[METRICA]
    assert isinstance(metrica, Metrica)
    before = await tenant.audits.report(METRICA)
    assert sum(one.ours for one in before.days) >= 5
    assert {standing(one) for one in before.days} == {Standing.EQUAL}
    lost = _alone(await _verified(made, IdKind.YCLID))
    before_loss = dict(metrica._reaches)
    day = _day_shown(metrica, lost)
    assert metrica.lose(sent_as(lost)[1], lost.target) == 1
    made.stage.advance(made.stage.told_until + timedelta(days=1))
    progress = await audit.once(tenant)
    await audit.once(tenant, force=True)
    (told,) = events(logs, "audit_lost")
    assert (told["goal"], told["day"], told["conversions"]) == (lost.target, str(day), 1)
    assert len(progress.problems) == 1
    (found,) = await _alarms(tenant)
    assert (found.target, found.day, found.ours - found.theirs) == (lost.target, day, 1)
    now = made.stage.clock.now()
    report = await status(made.installation.reports, made.config, [scene.tenant], now)
    assert report["tenants"][scene.tenant]["destinations"][METRICA]["audit"]["lost"] == 1
    assert any(f"{lost.target} on {day}" in line for line in attention(report, made.config, now))
    metrica._reaches = before_loss
    made.stage.advance(made.stage.told_until + timedelta(days=1))
    await audit.once(tenant)
    assert [line["day"] for line in events(logs, "audit_settled")] == [str(day)]
    assert await _alarms(tenant) == []


def _alone(verified: Sequence[Outgoing]) -> Outgoing:
    """A row whose loss is one reach: the visitor that it was sent by reached the goal once."""
    keys = Counter((sent_as(row), row.target) for row in verified)
    return next(row for row in verified if client_ids(row) and keys[sent_as(row), row.target] == 1)


def _day_shown(metrica: Metrica, row: Outgoing) -> object:
    """The day of the visit that the counter linked a row to."""
    for (column, value, target, at), versions in metrica._reaches.items():
        if (value, target, at) == (sent_as(row)[1], row.target, int(row.occurred_at.timestamp())):
            visit = metrica._visit_of(column, value, at, versions[0])
            assert visit is not None
            return codec.moment(visit.at * 1_000_000).astimezone(MOSCOW).date()
    raise AssertionError("Metrica does not have it")


async def test_reaches_of_others_are_no_alarm(played: Audited) -> None:
    """A visitor reaches the same goal on the site itself, on a day of which no row of ours can be: said quietly."""
    made, scene, tenant, _ = played
    metrica = scene.ads[METRICA]
    assert isinstance(metrica, Metrica)
    click = Click(1, made.stage.told_until + timedelta(days=1), 1, "https://okna.example/", "", None, None, STRANGER)
    know(scene, click)
    made.stage.advance(made.stage.told_until + timedelta(days=2))
    versions = next(iter(metrica._reaches.values()))
    metrica._reaches["ClientId", STRANGER, "qualified_lead", int(click.at.timestamp()) + 60] = versions
    await audit.once(tenant, force=True)
    report = await tenant.audits.report(METRICA)
    day = click.at.astimezone(MOSCOW).date()
    assert [one.day for one in report.days if standing(one) is Standing.MORE and one.theirs > one.ours] == [day]
    assert await _alarms(tenant) == []


async def test_a_goal_that_is_gone_has_lost_everything(played: Audited) -> None:
    """Somebody deleted it in the counter: an alarm on each of its days. A sampled report is none, and settles none."""
    made, scene, tenant, logs = played
    metrica = scene.ads[METRICA]
    assert isinstance(metrica, Metrica)
    before = await tenant.audits.report(METRICA)
    goals = metrica.goals
    metrica.goals = [goal for goal in goals if goal["conditions"][0]["url"] != "spam_lead"]
    made.stage.advance(made.stage.told_until + timedelta(days=1))
    await audit.once(tenant)
    days = {one.day for one in before.days if one.target == "spam_lead" and one.ours}
    assert days
    assert {one.day for one in await _alarms(tenant)} == days
    metrica.statistics.is_sampled = True
    made.stage.advance(made.stage.told_until + timedelta(days=1))
    await audit.once(tenant)
    assert {one.day for one in await _alarms(tenant)} == days
    assert not events(logs, "audit_settled")
    assert (await tenant.audits.report(METRICA)).error


async def test_a_conversion_that_google_loses_is_an_alarm_on_its_action_and_day(played: Audited) -> None:
    """Its reports agree with the ledger, day by day; then one conversion is gone from them."""
    made, scene, tenant, logs = played
    google = scene.ads[GOOGLE]
    assert isinstance(google, GoogleAds)
    before = await tenant.audits.report(GOOGLE)
    assert sum(one.ours for one in before.days) >= 1
    assert {standing(one) for one in before.days} == {Standing.EQUAL}
    table = schema.delivery
    found = await rows(made.installation.store, table, table.c.destination == GOOGLE, table.c.state == "verified")
    lost = next(one for one in map(codec.outgoing, (item["content"] for item in found)) if one.first(IdKind.GCLID))
    google.lose(lost.order_key, lost.target)
    made.stage.advance(made.stage.told_until + timedelta(days=1))
    await audit.once(tenant)
    (told,) = events(logs, "audit_lost")
    day = str(lost.occurred_at.astimezone(MOSCOW).date())
    assert (told["destination"], told["goal"], told["day"], told["conversions"]) == (GOOGLE, lost.target, day, 1)
