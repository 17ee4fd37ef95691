"""What a deal's person agreed to, and goals that others undo: from the reading of a deal to what is sent and told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from bridge import checking
from bridge.config import Goal
from bridge.consent import ConsentedSettings
from bridge.frozen import replace
from bridge.loops import assess, deliver, poll
from bridge.model import Consent, Deal, DealKind, Outcome, StageChange
from bridge.store import Store, codec
from tests.store.kit import ADS, TENANT
from tests.support import START
from tests.unit.loops.kit import MINUTE, TRAITS, Ads, Crm, Office, office
from tests.unit.loops.test_poll import NAMES, lead

FIELD = "Согласие"
SALE = {"name": "sale", "when": {"outcome": "won"}, "value": 100, "send": {ADS: "deal_won"}}
SPAM = {"name": "spam", "when": {"outcome": "lost"}, "send": {}}


def at_work(store: Store, *goals: dict[str, Any], **consent: Any) -> tuple[Crm, Ads, Office]:
    """A tenant whose destination asks for consent and corrects values."""
    crm, ads = Crm(names=NAMES), Ads(traits=replace(TRAITS, adjusts=True))
    made = office(store, {ADS: ads}, {"crm": crm}, [Goal.model_validate(goal) for goal in goals])
    made.tenant.destinations[ADS].settings = ConsentedSettings.model_validate({"kind": "ads", "consent": consent})
    return crm, ads, made


async def read(made: Office, crm: Crm, deal: Deal) -> dict[str, Any]:
    """Read, judged and sent; what ``explain`` tells then."""
    crm.scans = [[crm.shows(deal)], []]
    made.clock.advance(MINUTE)
    assert (await poll.once(made.tenant, force=True)).problems == []
    await assess.once(made.tenant)
    await deliver.once(made.tenant, force=True)
    return await made.explained(deal.key)


def answered(text: str, version: str) -> Deal:
    return replace(lead(1), version=version, fields={FIELD: (text,), "Телефон отдела": ("x",)})


async def content(made: Office) -> list[Consent | None]:
    """The consent of every delivery as it is stored."""
    return [codec.outgoing(row["content"]).consent for row in (await made.rows()).values()]


async def test_a_deal_without_a_yes_is_withheld_and_explained_until_it_has_one(store: Store) -> None:
    """Nothing is sent meanwhile; then once, with the answer frozen in the row. Other fields are not kept."""
    crm, ads, made = at_work(store, SALE, field=FIELD, required=True)
    for number, text in enumerate(("", "нет")):
        told = await read(made, crm, answered(text, f"v{number}"))
        ((skip,), deliveries) = told["not_promised"], told["deliveries"]
        assert (skip["destination"], skip["reason"][:8], deliveries) == (ADS, "withheld", [])
    assert ads.sent == []
    told = await read(made, crm, answered("да", "v9"))
    assert [item["state"] for item in told["deliveries"]] == ["accepted"]
    assert told["not_promised"] == []
    assert await content(made) == [Consent(True, True)]
    facts = (await made.tenant.records.facts(TENANT, "crm", ["lead:1"]))["lead:1"]
    assert dict(facts.deal.fields) == {FIELD: ("да",)}


async def test_what_an_option_is_stored_by_is_kept_beside_its_label_and_is_no_answer(store: Store) -> None:
    """A goal may name it; consent, comparisons, expressions and amounts read the label."""
    goals = [
        {"name": name, "when": {"outcome": "won", **when}, "value": value, "send": {ADS: name}}
        for name, when, value in (
            ("by_id", {"field": {"Окон": "144"}}, 1),
            ("many", {"field": {"Окон": {">=": 3}}}, 1),
            ("urgent", {"field": {"Срочно": True}}, 1),
            ("said", {"expression": 'deal.fields["Срочно"] == "Нет"'}, 1),
            ("budget", {}, {"field": "Бюджет"}),
        )
    ]
    crm, ads, made = at_work(store, *goals, field=FIELD, required=True)
    labels = {FIELD: "Да", "Окон": "1", "Срочно": "Нет", "Бюджет": "50000", "Город": "Казань"}
    stored = {FIELD: "44", "Окон": "144", "Срочно": "1", "Бюджет": "701", "Город": "9"}
    fields, options = ({name: (text,) for name, text in each.items()} for each in (labels, stored))
    told = await read(made, crm, replace(lead(1), fields=fields, options=options))
    assert {item["goal"]: item["value"] for item in told["deliveries"]} == {
        "by_id": "1.00 RUB",
        "said": "1.00 RUB",
        "budget": "50000.00 RUB",
    }
    assert told["not_promised"] == []
    assert len(ads.sent) == 3
    assert set(await content(made)) == {Consent(True, True)}
    kept = (await made.tenant.records.facts(TENANT, "crm", ["lead:1"]))["lead:1"].deal
    assert {*kept.fields} == {*kept.options} == {*labels} - {"Город"}


async def test_a_yes_taken_back_before_sending_takes_the_promise_back(store: Store) -> None:
    """As if it had never been made; given again, it is promised under the same id."""
    crm, ads, made = at_work(store, SALE, field=FIELD, required=True)
    ads.sends = [RuntimeError("down")]
    crm.scans = [[crm.shows(answered("да", "v1"))], []]
    made.clock.advance(MINUTE)
    await poll.once(made.tenant, force=True)
    crm.scans = [[crm.shows(answered("нет", "v2"))], []]
    made.clock.advance(MINUTE)
    await poll.once(made.tenant, force=True)
    assert {(row["state"], row["code"]) for row in (await made.rows()).values()} == {("cancelled", "consent")}
    crm.scans = [[crm.shows(answered("да", "v3"))], []]
    made.clock.advance(MINUTE)
    await poll.once(made.tenant, force=True)
    assert await made.states() == {"pending": 1}
    assert ads.sent == []


def answered_lead(text: str, version: str = "v1") -> Deal:
    """A lead that is no sale yet; its deal is."""
    return replace(lead(1, stage="10"), version=version, fields={FIELD: (text,)} if text else {})


MADE = replace(lead(7310), kind=DealKind.DEAL, parent="lead:1")


async def told_of(made: Office, crm: Crm, *pages: Sequence[Deal]) -> dict[str, Any]:
    """What ``explain`` tells of the deal that was made from the lead, after these pages."""
    for page in pages:
        crm.scans = [[crm.shows(*page)], []]
        made.clock.advance(MINUTE)
        assert (await poll.once(made.tenant, force=True)).problems == []
        await assess.once(made.tenant)
    return await made.explained(MADE.key)


@pytest.mark.parametrize(
    "pages",
    [
        [(answered_lead("нет"), MADE)],
        [(MADE, answered_lead("нет"))],
        [(answered_lead("нет"),), (MADE,)],
        [(MADE,), (answered_lead("нет"),)],
        [(answered_lead("да"), MADE), (answered_lead("нет", "v2"),)],
    ],
)
async def test_who_refused_on_the_lead_did_not_agree_by_becoming_a_deal(
    store: Store, pages: Sequence[Sequence[Deal]]
) -> None:
    """On one page or two, whichever is read first, and when the lead changes later; ``explain`` says whose no it is."""
    crm, _, made = at_work(store, SALE, field=FIELD, required=True, ad_user_data="granted")
    told = await told_of(made, crm, *pages)
    assert [item["state"] for item in told["deliveries"] if item["state"] != "cancelled"] == []
    (skip,) = told["not_promised"]
    assert f"withheld: no consent: the field {FIELD} of lead:1 does not say yes" in skip["reason"]
    subject = f"consent of {ADS}"
    assert told["learnt"] == [{"fact": subject, "values": ["ad_user_data denied"], "known_from": "lead:1"}]


async def test_a_yes_of_the_lead_is_its_deals_too(store: Store) -> None:
    """Until the deal itself says no; a silent lead says nothing."""
    crm, _, made = at_work(store, SALE, field=FIELD, required=True)
    told = await told_of(made, crm, [answered_lead("")], [MADE])
    assert (told["deliveries"], told["learnt"], len(told["not_promised"])) == ([], [], 1)
    told = await told_of(made, crm, [answered_lead("да", "v2")])
    assert [item["state"] for item in told["deliveries"]] == ["pending"]
    assert await content(made) == [Consent(True, True)]
    told = await told_of(made, crm, [replace(MADE, version="v2", fields={FIELD: ("нет",)})])
    assert [(item["state"], item["reason"]) for item in told["deliveries"]] == [("cancelled", "consent")]


async def test_where_consent_is_not_required_a_no_of_the_lead_goes_along_with_its_deal(store: Store) -> None:
    """And is told by ``explain``."""
    crm, _, made = at_work(store, SALE, field=FIELD, ad_user_data="granted", ad_personalization="granted")
    told = await told_of(made, crm, [answered_lead("нет"), MADE])
    assert await content(made) == [Consent(False, False)]
    assert [one["known_from"] for one in told["learnt"]] == ["lead:1"]


async def test_check_looks_at_what_consent_fields_can_hold(store: Store) -> None:
    """Beside the goals' names, where the CRM tells."""
    crm, _, made = at_work(store, SALE, field=FIELD)
    made.tenant.settings.destinations[ADS] = made.tenant.destinations[ADS].settings
    for choices, is_told in ((("Согласен", "Отказ"), True), (("Да", "Нет"), False)):
        crm.names = replace(NAMES, choices={FIELD: choices})
        found = (await checking.of_tenant(made.tenant))[f"{TENANT}/crm"]
        assert ([one.subject for one in found] == [f"consent of {ADS}", "goals"]) == is_told


async def test_a_sale_that_turns_out_to_be_spam_is_corrected_to_nothing_and_explained(store: Store) -> None:
    """By the same order key; ``explain`` names the goal that undid it, and what was corrected."""
    crm, ads, made = at_work(store, {**SALE, "undone_by": "spam"}, SPAM)
    won = lead(1)
    await read(made, crm, won)
    lost = StageChange(START + MINUTE, won.pipeline, "143", Outcome.LOST, "events")
    gone = replace(won, version="v2", stage="143", outcome=Outcome.LOST, history=(*won.history, lost))
    told = await read(made, crm, gone)
    (sale,) = [item for item in told["judgements"] if item["goal"] == "sale"]
    assert (sale["verdict"], sale["reason"][:28]) == ("excluded", 'undone by the goal "spam" at')
    assert [(item["kind"], item["value"]) for item in told["deliveries"]] == [
        ("original", "100.00 RUB"),
        ("restatement", "0.00 RUB"),
    ]
    assert len(ads.sent) == 2
    first, second = [codec.outgoing(row["content"]) for row in (await made.rows()).values()]
    assert first.order_key == second.order_key
