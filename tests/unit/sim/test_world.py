"""The imaginary business is reproducible, realistic, and keeps the promises which simulators and oracle rely on."""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta

import pytest

from bridge.identity import google_email, phone_e164
from bridge.sim.events import LOSS_REASONS, Carrier, Lead, StageName
from bridge.sim.world import World
from tests.support import START

LEADS = 4000
WITHOUT = (Carrier.CONTACT, Carrier.GARBAGE, Carrier.NONE)


@pytest.fixture(scope="module")
def world() -> World:
    return World.make(11, LEADS, start=START)


def stages(lead: Lead) -> list[StageName]:
    """The stages a lead enters; value edits left out."""
    entered = [lead.steps[0].stage]
    for step in lead.steps[1:]:
        if step.stage is not entered[-1]:
            entered.append(step.stage)
    return entered


def share(world: World, *wanted: StageName) -> float:
    return sum(any(step.stage in wanted for step in lead.steps) for lead in world.leads) / LEADS


def test_equal_seeds_give_equal_worlds_and_other_seeds_share_no_identifier() -> None:
    """A failed run can be repeated from its seed; two tenants' worlds cannot be mistaken for each other."""
    first, again, other = (World.make(seed, 300, start=START) for seed in (5, 5, 6))
    assert first == again
    assert first.happenings() == again.happenings()
    ids = [
        {value for click in w.clicks for value in (click.yclid, click.gclid, click.client_id)} for w in (first, other)
    ]
    assert ids[0] & ids[1] == {None}


def test_carriers_come_in_their_shares(world: World) -> None:
    """Each way of carrying an identifier is as frequent as promised, within two percent of all leads."""
    counted = Counter(lead.carrier for lead in world.leads)
    wanted = dict(zip(Carrier, (0.55, 0.12, 0.06, 0.06, 0.08, 0.05, 0.08), strict=True))
    assert all(abs(counted[carrier] / LEADS - part) < 0.02 for carrier, part in wanted.items())


def test_most_leads_are_junk(world: World) -> None:
    """About a quarter is ever qualified, about eight percent buy."""
    assert 0.22 < share(world, StageName.QUALIFIED) < 0.29
    assert 0.06 < share(world, StageName.WON) < 0.10
    assert 0.5 < share(world, StageName.LOST) < 0.9


def test_identifiers_are_unique_text_of_the_vendors_shape(world: World) -> None:
    """No two clicks share a yclid or gclid; yclids have 18-20 digits, ClientIDs 17-19."""
    yclids = [click.yclid for click in world.clicks if click.yclid]
    gclids = [click.gclid for click in world.clicks if click.gclid]
    assert len(set(yclids)) == len(yclids)
    assert len(set(gclids)) == len(gclids)
    assert all(re.fullmatch(r"[1-9]\d{17,19}", yclid) for yclid in yclids)
    assert all(re.fullmatch(r"\d{17,19}", click.client_id) for click in world.clicks if click.client_id)
    assert all((click.yclid or "") in click.landing and (click.gclid or "") in click.landing for click in world.clicks)


def test_direct_clicks_have_a_client_id_and_utm_carriers_a_yclid(world: World) -> None:
    """A click belongs to one ad system; what a fake must write somewhere exists."""
    for click in world.clicks:
        assert (click.yclid is None) != (click.gclid is None)
        assert click.gclid or click.client_id
    assert all(lead.click and lead.click.yclid for lead in world.leads if lead.carrier is Carrier.UTM)


def test_a_click_precedes_its_lead_by_at_most_ten_days(world: World) -> None:
    """Clicks lie before the request they lead to, some of them days before the world's start; a few lead to nothing."""
    clicked = [lead for lead in world.leads if lead.click is not None]
    lags = [lead.created_at - lead.click.at for lead in clicked if lead.click]
    assert all(timedelta(0) < lag <= timedelta(days=10, seconds=4) for lag in lags)
    assert any(click.at < START for click in world.clicks)
    assert len(world.clicks) > len(clicked)


def test_only_carriers_with_identifiers_have_a_click(world: World) -> None:
    """What the CRM does not show is not in the lead, so that no fake can leak it."""
    assert all((lead.click is None) == (lead.carrier in WITHOUT) for lead in world.leads)
    assert all(bool(lead.garbage) == (lead.carrier is Carrier.GARBAGE) for lead in world.leads)


def test_a_contact_carrier_has_an_earlier_field_lead_of_the_same_person(world: World) -> None:
    """Whoever comes back without identifiers came before with them, at least an hour and at most nine days earlier."""
    shown = {(lead.person, lead.created_at) for lead in world.leads if lead.carrier is Carrier.FIELD}
    for lead in world.leads:
        if lead.carrier is Carrier.CONTACT:
            gaps = [lead.created_at - at for person, at in shown if person == lead.person]
            assert any(timedelta(minutes=59) < gap < timedelta(days=9, seconds=9) for gap in gaps)


def test_persons_never_share_a_phone_or_an_email_and_always_agree_with_themselves(world: World) -> None:
    """Joining by normalised phone or e-mail finds exactly the person."""
    owners: dict[str, int] = {}
    for lead in world.leads:
        phones = {phone_e164(phone, "RU") for phone in lead.phones} - {None}
        emails = {google_email(email) for email in lead.emails}
        assert len(phones) == 1
        assert None not in emails
        assert all(owners.setdefault(str(key), lead.person) == lead.person for key in phones | emails)
    assert len([key for key in owners if key.startswith("+")]) == len({lead.person for lead in world.leads})


def test_steps_of_one_person_lie_at_distinct_whole_seconds(world: World) -> None:
    """Metrica knows a conversion by identifier, goal and second: one person's steps never meet there."""
    seen: set[tuple[int, object]] = set()
    for lead in world.leads:
        ats = [step.at for step in lead.steps]
        assert ats == sorted(set(ats))
        assert all(at.microsecond == 0 for at in ats)
        keys = {(lead.person, at) for at in ats}
        assert not keys & seen
        seen |= keys


def test_bulk_edits_put_many_persons_on_one_second(world: World) -> None:
    """A manager closes piles of leads at once."""
    piles = Counter(lead.steps[-1].at for lead in world.leads if lead.steps[-1].stage is StageName.LOST)
    assert max(piles.values()) >= 20


def test_happenings_are_every_step_in_time_order(world: World) -> None:
    """Each step happens once; a lead's first one is its appearance."""
    events = world.happenings()
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert len(events) == sum(len(lead.steps) for lead in world.leads)
    assert [event.lead.id for event in events if event.is_new] == sorted(
        event.lead.id for event in events if event.is_new
    )
    assert sum(event.is_new for event in events) == LEADS


def test_leads_wander(world: World) -> None:
    """Every trap is there: flash losses, re-entries, reopened and edited sales, sales after Metrica's window."""
    paths = [stages(lead) for lead in world.leads]
    assert any(path.count(StageName.WON) == 2 and StageName.MEETING in path for path in paths)
    assert any(path.count(StageName.QUALIFIED) == 2 for path in paths)
    assert any(path[-2:] == [StageName.LOST, StageName.CONTACTED] for path in paths)
    assert any(path.count(StageName.NEW) == 2 for path in paths)
    assert any(
        a.stage is StageName.QUALIFIED and b.stage is StageName.LOST and b.at - a.at < timedelta(minutes=1)
        for lead in world.leads
        for a, b in zip(lead.steps, lead.steps[1:], strict=False)
    )
    sales = [
        (lead, next(s for s in lead.steps if s.stage is StageName.WON)) for lead in world.leads if lead_is_won(lead)
    ]
    waits = [sale.at - lead.created_at for lead, sale in sales]
    assert any(wait > timedelta(days=22) for wait in waits)
    assert not any(timedelta(days=20) < wait < timedelta(days=22) for wait in waits)
    edits = [
        step.value - (sale.value or 0)
        for lead, sale in sales
        for step in lead.steps
        if step.value and step.at > sale.at
    ]
    assert any(edit < 0 for edit in edits)
    assert any(edit > 0 for edit in edits)


def lead_is_won(lead: Lead) -> bool:
    return any(step.stage is StageName.WON for step in lead.steps)


def test_money_is_whole_positive_roubles_and_spam_is_final(world: World) -> None:
    """What amoCRM cannot hold, and what would make a goal's time a matter of opinion, does not occur."""
    for lead in world.leads:
        assert all(step.value is None or (step.value > 0 and step.value == int(step.value)) for step in lead.steps)
        junk = [step for step in lead.steps if step.loss_reason in LOSS_REASONS[:2]]
        assert not junk or junk == [lead.steps[-1]]
        if lead_is_won(lead):
            first = stages(lead).index(StageName.WON)
            assert StageName.QUALIFIED in stages(lead)[:first]


def test_personal_lists_what_no_log_may_show(world: World) -> None:
    """National numbers and plain addresses, whatever form they were typed in."""
    personal = world.personal()
    assert all(re.fullmatch(r"999\d{7}|[a-z.0-9]+@example\.(com|org|net)", text) for text in personal)
    assert len(personal) > LEADS


def test_a_large_world_is_made_in_seconds() -> None:
    """Benchmarks ask for 50,000 leads; a fifth of that is a matter of a second or two."""
    world = World.make(2, 10_000, start=START)
    assert len(world.leads) == 10_000
    assert len({lead.id for lead in world.leads}) == 10_000
