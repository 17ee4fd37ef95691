"""Which goals are suggested from an account's names, and where they would go."""

from __future__ import annotations

import pytest

from bridge.catalogue import Catalogue, Pipeline, Stage
from bridge.config import Goal
from bridge.init.draft import Draft
from bridge.init.suggest import goals, likely_stages, send_to
from bridge.model import DealKind, Outcome
from bridge.rules.goals import compile_goals
from bridge.survey import Target

SALES = Pipeline(
    "1",
    "Продажи",
    DealKind.LEAD,
    (
        Stage("10", "Новая заявка"),
        Stage("11", "Квалифицирован"),
        Stage("12", "Встреча назначена"),
        Stage("142", "Успешно реализовано", Outcome.WON),
        Stage("143", "Закрыто", Outcome.LOST),
    ),
)
REASONS = (("1", "Спам"), ("2", "Дубль заявки"), ("3", "Дорого"), ("4", "Не дозвонились"))
ACCOUNT = Catalogue((SALES,), REASONS)


def _pipeline(name: str, kind: DealKind, *stages: str) -> Pipeline:
    return Pipeline(name, name, kind, tuple(Stage(f"{name}{n}", stage) for n, stage in enumerate(stages)))


def test_the_three_goals_of_an_account() -> None:
    """Sale and spam are clear from the account; qualified is for a human, with a hint."""
    qualified, spam, sale = goals([ACCOUNT], ())
    assert (sale.when, sale.value, sale.is_sure) == ({"outcome": "won"}, "deal", True)
    assert (spam.when["loss_reason"], spam.is_sure) == (["Спам", "Дубль заявки"], True)
    assert (qualified.when, qualified.is_sure) == ({"stage": ["Квалифицирован"]}, False)


def test_a_stage_that_was_named_is_taken() -> None:
    """What the operator says needs no guess."""
    qualified = goals([ACCOUNT], ["Встреча назначена"])[0]
    assert (qualified.when, qualified.is_sure) == ({"stage": ["Встреча назначена"]}, True)


@pytest.mark.parametrize("reason", ["Дорого", "Выбрали других", "Не квалифицирован", "Отказ"])
def test_honest_losses_are_no_spam(reason: str) -> None:
    """Only what means a worthless click is suggested as spam."""
    assert not goals([Catalogue((SALES,), (("1", reason),))], ())[1].is_sure


@pytest.mark.parametrize("stage", ["Некачественный", "Не квалифицирован", "Нецелевой", "Disqualified", "Unqualified"])
def test_a_stage_that_denies_it_is_not_qualified(stage: str) -> None:
    """The opposite holds the same stem."""
    assert likely_stages([Catalogue((_pipeline("A", DealKind.LEAD, "Новая", stage),))]) == []


def test_leads_and_the_deals_they_become_are_not_counted_twice() -> None:
    """Where both have such a stage only the deals' is suggested."""
    leads = _pipeline("Лиды", DealKind.LEAD, "Новый", "Качественный лид")
    deals = _pipeline("Продажи", DealKind.DEAL, "Новая", "Квалифицирован")
    assert likely_stages([Catalogue((leads, deals))]) == ["Квалифицирован"]
    assert likely_stages([Catalogue((leads,))]) == ["Качественный лид"]


def test_a_name_that_two_pipelines_share_is_given_with_its_pipeline() -> None:
    """Else the goal would mean both."""
    first, second = (_pipeline(name, DealKind.DEAL, "Новая", "Квалифицирован") for name in ("Опт", "Розница"))
    assert likely_stages([Catalogue((first, second))]) == ["Опт/Квалифицирован", "Розница/Квалифицирован"]


def test_every_suggestion_compiles_against_the_account_it_came_from() -> None:
    """Nothing is suggested that the account does not have."""
    twins = tuple(_pipeline(name, DealKind.DEAL, "Новая", "Встреча / замер") for name in ("Опт", "Розница"))
    for catalogue in (ACCOUNT, Catalogue((SALES, *twins), REASONS)):
        plans = goals([catalogue], ())
        made = [Goal.model_validate({"name": plan.name, "when": plan.when}) for plan in plans]
        assert compile_goals(made, catalogue, "RUB").problems == ()


# --- where they go -----------------------------------------------------------------------------------------------

EVENTS = [Target(name, "", "action") for name in ("qualified_lead", "deal_won", "bad_lead", "callback")]


@pytest.mark.parametrize(
    ("goal", "target"), [("qualified", "qualified_lead"), ("sale", "deal_won"), ("spam", "bad_lead")]
)
def test_a_goal_finds_the_one_there_that_is_named_like_it(goal: str, target: str) -> None:
    """Exactly one fits: that is sure enough to be written."""
    found = send_to(goal, EVENTS)
    assert (found.target, found.is_sure) == (target, True)


def test_of_several_that_fit_a_human_chooses() -> None:
    """They are listed, none is taken."""
    found = send_to("sale", [Target("sale", "", "action"), Target("paid", "", "action")])
    assert not found.is_sure
    assert [target.id for target in found.candidates] == ["sale", "paid"]


def test_the_vendors_type_goes_before_a_name() -> None:
    """A conversion action of the category QUALIFIED_LEAD is one, whatever it is called."""
    typed = Target("7", "Импорт", "UPLOAD_CLICKS", means="qualified")
    assert send_to("qualified", [typed, Target("8", "Qualified", "UPLOAD_CLICKS")]).target == "7"


def test_what_cannot_be_sent_to_is_never_chosen() -> None:
    """Nor is a goal of another meaning offered for spam."""
    unusable = Target("1", "Спам", "url", is_usable=False)
    sale = Target("2", "Сделка", "UPLOAD_CLICKS", means="sale")
    found = send_to("spam", [unusable, sale])
    assert (found.target, found.candidates) == ("", ())


def test_a_draft_sends_only_what_is_sure() -> None:
    """An unsure destination of an active goal is no part of what the configuration means."""
    plan = goals([ACCOUNT], ())[2]
    plan.send = {"metrica": send_to("sale", EVENTS), "google": send_to("sale", [])}
    draft = Draft("okna", "Окна", "Europe/Moscow", "RUB", (), [plan])
    assert [goal.send for goal in draft.active_goals()] == [{"metrica": "deal_won"}]
