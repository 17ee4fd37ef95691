"""The worked configurations of the page on scores, loaded as they are printed, judge deals as the page says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bridge.catalogue import Catalogue, Pipeline, Stage
from bridge.compose import load_config
from bridge.config import TenantSettings
from bridge.frozen import replace
from bridge.model import (
    Background,
    Deal,
    DealKind,
    Learnt,
    Money,
    Outcome,
    Payment,
    PaymentState,
    Person,
    StageChange,
    Verdict,
)
from bridge.rules.case import Case
from bridge.rules.floor import Floor
from bridge.rules.goals import Compiled, compile_goals
from bridge.rules.qualify import judgements
from bridge.rules.reach import Account, account
from tests.e2e import pages
from tests.e2e.pages import ROOT

PAGE = ROOT / "docs" / "howto" / "score-leads.md"
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
CALLER = Person(phone_sha256=("a",))


class Shop:
    """A configuration of the page, against a CRM with the stages it names."""

    def __init__(self, word: str, folder: Path, kind: DealKind, pipeline: str, *stages: str) -> None:
        (block,) = [one for one in pages.blocks(PAGE) if one.word == word]
        (folder / "config.toml").write_text(block.text, encoding="utf-8")
        loaded = load_config(folder / "config.toml")
        assert dict(loaded.broken) == {}
        ((_, self.settings),) = loaded.tenants.items()
        self.kind, self.names = kind, (*stages, "Успех")
        ends = tuple(Stage(name, name, Outcome.WON if name == "Успех" else Outcome.OPEN) for name in self.names)
        other = DealKind.DEAL if kind is DealKind.LEAD else DealKind.LEAD
        catalogue = Catalogue((Pipeline("p", pipeline, kind, ends), Pipeline("o", "Другое", other, ())))
        self.compiled = compiled_of(self.settings, catalogue)
        assert self.compiled.problems == ()

    def deal(self, *steps: tuple[str, float], **facts: Any) -> Deal:
        """A deal that entered these stages so many days after it was created."""
        entered = [
            StageChange(START + days * DAY, "p", name, Outcome.WON if name == "Успех" else Outcome.OPEN, "events")
            for name, days in steps
        ]
        last = entered[-1]
        known = {"history": tuple(entered), "persons": (CALLER,), **facts}
        return Deal(self.kind, "5", "v", START, last.at, "p", last.stage, last.outcome, **known)

    def reached(self, deal: Deal, days: float, channel: str = "") -> Mapping[str, float]:
        """Goals the deal has reached when so many days have passed, and after how many."""
        said = [
            one for goal in self.compiled.goals for one in judgements(goal, self.case(deal, days, channel), Floor())
        ]
        return {
            one.goal: (one.occurred_at - START) / DAY
            for one in said
            if one.verdict is Verdict.QUALIFIED and one.occurred_at is not None
        }

    def score(self, deal: Deal, days: float, channel: str = "") -> Account:
        return account(self.compiled.scores[0], self.case(deal, days, channel))

    def case(self, deal: Deal, days: float, channel: str) -> Case:
        made = Case(deal, "crm", START + days * DAY)
        return replace(made, reading=replace(made.reading, channel=channel))


def compiled_of(settings: TenantSettings, catalogue: Catalogue) -> Compiled:
    zone = ZoneInfo(settings.timezone)
    return compile_goals(settings.goals, catalogue, settings.currency, zone, settings.scores)


def visited(deal: Deal, **facts: tuple[str, ...]) -> Deal:
    """A deal whose form tells this of its visitor."""
    return replace(deal, background=Background(learnt={name: Learnt(one, "form") for name, one in facts.items()}))


def points(found: Account) -> tuple[int, str]:
    return found.points, found.band


@pytest.fixture
def services(tmp_path: Path) -> Shop:
    return Shop(
        "services", tmp_path, DealKind.LEAD, "Продажи", "Заявка", "Взят в работу", "Замер назначен", "Замер проведён"
    )


@pytest.fixture
def b2b(tmp_path: Path) -> Shop:
    return Shop("b2b", tmp_path, DealKind.DEAL, "Сделки", "Заявка", "Переговоры", "Коммерческое предложение")


@pytest.fixture
def school(tmp_path: Path) -> Shop:
    return Shop("school", tmp_path, DealKind.DEAL, "Продажи", "Заявка", "Был на вебинаре", "Пробный урок")


# --- services ----------------------------------------------------------------------------------------------------

MOBILE = {"phone_country": ("RU",), "phone_type": ("mobile",), "landing": ("/price/windows",)}
NEAR = {"Город": ("Химки",), "Площадь": ("12,5",)}


def test_a_lead_from_the_price_page_is_an_mql_at_once(services: Shop) -> None:
    """Its contact and its page are enough; one from elsewhere is not, until its town and its windows are known."""
    fresh = services.deal(("Заявка", 0), noted=MOBILE)
    assert points(services.score(fresh, 0)) == (30, "warm")
    assert services.reached(fresh, 0) == {"mql": 0}
    elsewhere = services.deal(("Заявка", 0), noted={**MOBILE, "landing": ("/",)})
    assert services.reached(elsewhere, 9) == {}
    assert points(services.score(replace(elsewhere, fields=NEAR), 9)) == (50, "warm")


def test_sales_accepts_what_it_has_taken_on_and_knows(services: Shop) -> None:
    """Two of three, and not before the stage; then the funnel goes on."""
    steps = (("Заявка", 0), ("Взят в работу", 0.5), ("Замер назначен", 2))
    half = services.deal(*steps, noted=MOBILE, fields={"Город": ("Химки",)})
    assert services.reached(half, 3) == {"mql": 0, "sal": 2}
    whole = services.deal(*steps, ("Замер проведён", 4), ("Успех", 30), fields=NEAR, value=Money.of(80_000, "RUB"))
    assert services.reached(whole, 40) == {"mql": 0, "sal": 0.5, "sql": 4, "sale": 30}


def test_an_appointment_is_worth_half_after_two_weeks(services: Shop) -> None:
    """A competitor is cold whatever else is there."""
    met = services.deal(("Заявка", 0), ("Замер назначен", 1), noted=MOBILE)
    assert [points(services.score(met, days)) for days in (1, 15, 29)] == [(60, "hot"), (45, "warm"), (38, "warm")]
    assert points(services.score(replace(met, tags=("Конкурент",)), 1)) == (10, "cold")


def test_who_looked_at_the_prices_twice_is_an_mql_from_any_page(services: Shop) -> None:
    """Once is not enough; a lead whose form nobody knows is judged by the rest."""
    elsewhere = services.deal(("Заявка", 0), noted={**MOBILE, "landing": ("/",)})
    assert services.reached(visited(elsewhere, pages_seen=("/", "/price/windows", "/", "/price")), 0) == {"mql": 0}
    assert services.reached(visited(elsewhere, pages_seen=("/", "/price")), 0) == {}


# --- B2B ---------------------------------------------------------------------------------------------------------

BANT = {"Бюджет": ("2 500 000 ₽",), "Говорим с ЛПР": ("да",)}
SOON = {"Потребность": ("Новый цех",), "Срок закупки": ("этот квартал",)}


def test_budget_and_authority_make_an_mql_and_three_of_four_a_sal(b2b: Shop) -> None:
    """The sale comes after 120 days; what teaches the algorithm came on the first and on the tenth."""
    begun = b2b.deal(("Заявка", 0), fields=BANT)
    assert points(b2b.score(begun, 1)) == (55, "medium")
    assert b2b.reached(begun, 1) == {"mql": 0}
    talked = b2b.deal(("Заявка", 0), ("Переговоры", 10), fields={**BANT, **SOON})
    assert b2b.reached(talked, 11) == {"mql": 0, "sal": 10}
    sold = b2b.deal(
        ("Заявка", 0), ("Переговоры", 10), ("Коммерческое предложение", 40), ("Успех", 120), fields={**BANT, **SOON}
    )
    assert b2b.reached(sold, 130) == {"mql": 0, "sal": 10, "sql": 40, "sale": 120}


def test_interest_gets_old_by_the_date_of_the_last_contact(b2b: Shop) -> None:
    """A point less each day since; without a date there is none; a renewed one brings it back."""
    silent = b2b.deal(("Заявка", 0), ("Переговоры", 10), fields=BANT)
    assert points(b2b.score(silent, 20)) == (55, "medium")
    spoken = replace(silent, fields={**BANT, "Последний контакт": ("12.03.2026",)})
    assert points(b2b.score(spoken, 20)) == (55 + 30 - 10, "high")
    renewed = replace(silent, fields={**BANT, "Последний контакт": ("22.03.2026",)})
    assert points(b2b.score(renewed, 20)) == (55 + 30, "high")
    assert b2b.reached(spoken, 20) == {"mql": 0}  # two of four are no SAL


def test_a_visitor_who_came_back_for_the_catalogue_is_warmer(b2b: Shop) -> None:
    """For a while: budget and that make an MQL, half of it after a month."""
    begun = visited(
        b2b.deal(("Заявка", 0), fields={"Бюджет": ("2 500 000",)}), visits_before=("3",), pages_seen=("/catalog/1", "/")
    )
    assert [points(b2b.score(begun, days)) for days in (0, 30)] == [(45, "medium"), (38, "low")]
    assert b2b.reached(begun, 0) == {"mql": 0}


# --- school ------------------------------------------------------------------------------------------------------


def test_a_lead_is_hot_after_webinar_and_lesson_and_then_cools_down(school: Shop) -> None:
    """Hot on the day of the lesson; cold on the day the points are gone, which is told beforehand."""
    keen = school.deal(("Заявка", 0), ("Был на вебинаре", 1), ("Пробный урок", 2))
    assert points(school.score(keen, 2)) == (18 + 22 + 20, "hot")
    assert school.reached(keen, 2) == {"hot": 2}
    cold_at = next(days for days in range(3, 60) if school.score(keen, days).points < 20)
    (waiting,) = [
        one
        for goal in school.compiled.goals
        for one in judgements(goal, school.case(keen, 3, ""), Floor())
        if one.recheck_at
    ]
    assert (waiting.goal, waiting.recheck_at) == ("cold", START + cold_at * DAY)
    assert school.reached(keen, 60) == {"hot": 2, "cold": cold_at}


def test_a_course_campaign_warms_a_lead_only_with_its_channel(school: Shop) -> None:
    fresh = school.deal(("Заявка", 0), noted={"utm_campaign": ("kurs_python",)})
    assert points(school.score(fresh, 0, "vk")) == (30, "warm")
    assert points(school.score(fresh, 0, "email")) == (20, "warm")
    assert points(school.score(fresh, 1, "email")) == (19, "cold")


def test_who_had_been_there_before_is_warmer(school: Shop) -> None:
    """Half of it after five days."""
    fresh = visited(school.deal(("Заявка", 0)), visits_before=("1",))
    assert [points(school.score(fresh, days)) for days in (0, 5)] == [(30, "warm"), (20, "warm")]


def test_each_payment_counts_for_itself(school: Shop) -> None:
    paid = tuple(Payment(f"payment:{n}", PaymentState.PAID, Money.of(5000, "RUB"), START + n * DAY) for n in (3, 33))
    buyer = school.deal(("Заявка", 0), ("Успех", 3), payments=paid)
    goal = next(one for one in school.compiled.goals if one.name == "paid")
    said = judgements(goal, school.case(buyer, 40, ""), Floor())
    assert [(one.occurred_at, one.value) for one in said] == [(one.paid_at, one.value) for one in paid]
