"""Goals: when they are reached, by which rule, and what they are worth."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.catalogue import Catalogue, Pipeline, Stage
from bridge.frozen import replace
from bridge.model import DealKind, Judgement, Outcome, StageChange, ValueChange, Verdict
from bridge.rules.floor import Floor, Period
from bridge.rules.qualify import compile_goals, judge
from tests.unit.rules.kit import CATALOGUE, START, case, compiled, deal, goal, history, hour, money, verdict

SPAM = {"outcome": "lost", "loss_reason": ["Спам", "Дубль"]}


class TestHistory:
    def test_a_lead_qualified_and_then_lost_still_was_qualified(self) -> None:
        """With the true time of the first entry, and the history's own source as the reason."""
        result = verdict({"stage": "Квалифицирован"}, deal("1", "3", "143"))
        assert result == Judgement(
            "goal", Verdict.QUALIFIED, "stage Квалифицирован", "from events", occurred_at=hour(1)
        )

    def test_a_second_entry_changes_nothing(self) -> None:
        """Re-entering a stage is no second conversion (contract yandex 13)."""
        once = verdict({"stage": "Квалифицирован"}, deal("1", "3"))
        again = verdict({"stage": "Квалифицирован"}, deal("1", "3", "2", "3"))
        assert again == replace(once, again_at=hour(3)), "but when it came back is known"

    def test_a_stage_never_reached_is_excluded_with_its_reason(self) -> None:
        result = verdict({"stage": "Квалифицирован"}, deal("1", "2"))
        assert result == Judgement("goal", Verdict.EXCLUDED, "stage Квалифицирован", "stage never reached")

    @pytest.mark.parametrize(
        ("when", "reason"),
        [
            ({"outcome": ["won", "lost"]}, "outcome never won or lost"),
            ({"pipeline": "Сервис / ремонт"}, "pipeline never reached"),
        ],
    )
    def test_what_never_happened_is_named(self, when: dict[str, Any], reason: str) -> None:
        assert verdict(when, deal("1", "2")).reason == reason

    def test_stage_pipeline_and_outcome_must_hold_at_one_moment(self) -> None:
        """A stage in one pipeline and, later, another pipeline do not add up."""
        when = {"stage": "Квалифицирован", "pipeline": "Сервис / ремонт"}
        assert verdict(when, deal("1", "3", "20:142")).verdict is Verdict.EXCLUDED
        assert verdict(when, deal("1", "3", "20:5")).occurred_at == hour(2)

    @pytest.mark.parametrize(
        ("name", "at"),
        [
            ("Квалифицирован", 1),
            ("  квалифицирован ", 1),
            ("КВАЛИФИЦИРОВАН\u00a0", 1),
            ("Продажи/Квалифицирован", 1),
            ("продажи / квалифицирован", 1),
            ("10/3", 1),
            ("3", 1),
            ("Продажи/3", 1),
            ("Сервис / ремонт/Квалифицирован", 2),
            ("сервис/ремонт / квалифицирован", 2),
            ("20/5", 2),
            ("5", 2),
        ],
    )
    def test_a_stage_by_name_pipeline_and_name_or_id(self, name: str, at: int) -> None:
        """An ambiguous name means any of its stages; case, spaces and ё do not matter."""
        assert verdict({"stage": name}, deal("1", "3", "20:5")).occurred_at == hour(at)

    def test_equal_ids_of_leads_and_deals_are_not_confused(self) -> None:
        """Bitrix24 numbers the stages of leads and deals alike: "3" of a lead is another stage."""
        lead, converted = deal("1", "3"), deal("1", "3", kind=DealKind.DEAL)
        assert verdict({"stage": "Встреча назначена"}, converted).verdict is Verdict.QUALIFIED
        assert verdict({"stage": "Встреча назначена"}, lead).verdict is Verdict.EXCLUDED

    def test_without_a_history_the_record_itself_decides(self) -> None:
        at = START + timedelta(days=3)
        bare = replace(deal("1", "142"), history=(), closed_at=at)
        assert verdict({"outcome": "won"}, bare) == Judgement(
            "goal", Verdict.QUALIFIED, "outcome won", "from record", occurred_at=at
        )

    @given(st.permutations(history("1", "2", "3", "142")), st.sampled_from(["Квалифицирован", "2", "142"]))
    def test_a_shuffled_history_put_in_order_gives_the_same_judgement(
        self, changes: list[StageChange], stage: str
    ) -> None:
        """Pages may bring entries in any order; only their times matter."""
        ordered = tuple(sorted(changes, key=lambda change: change.at))
        known = deal("1", "2", "3", "142")
        assert verdict({"stage": stage}, replace(known, history=ordered)) == verdict({"stage": stage}, known)

    @given(st.lists(st.sampled_from(["1", "2", "3", "142", "143", "20:5"]), min_size=1, max_size=8))
    def test_a_goal_by_stage_is_the_first_entry_of_that_stage(self, stages: list[str]) -> None:
        """Against a plain search of the list."""
        result = verdict({"stage": "Продажи/Квалифицирован"}, deal(*stages))
        if "3" in stages:
            assert result.occurred_at == hour(stages.index("3"))
        else:
            assert result.verdict is Verdict.EXCLUDED

    @given(
        st.lists(st.sampled_from(["1", "2", "3", "142", "143"]), min_size=1, max_size=6), st.sampled_from(["1", "3"])
    )
    def test_what_happens_later_never_moves_a_goal_by_stage(self, stages: list[str], later: str) -> None:
        before = verdict({"stage": "Квалифицирован"}, deal("3", *stages))
        after = verdict({"stage": "Квалифицирован"}, deal("3", *stages, later))
        assert replace(after, again_at=None) == replace(before, again_at=None)

    @given(st.lists(st.sampled_from(["1", "2", "3"]), min_size=1, max_size=8))
    def test_coming_back_is_the_last_entry_after_a_departure(self, stages: list[str]) -> None:
        """Against a plain search of the list; staying, and never leaving, is no return."""
        entries = [n for n, stage in enumerate(stages) if stage == "3" and (n == 0 or stages[n - 1] != "3")]
        result = verdict({"stage": "Продажи/Квалифицирован"}, deal(*stages))
        assert result.again_at == (hour(entries[-1]) if len(entries) > 1 else None)


class TestLossReasons:
    def test_a_deal_lost_for_that_reason_now(self) -> None:
        result = verdict(SPAM, deal("1", "143", loss_reason=("7", "Спам")))
        assert result.rule == "outcome lost, loss reason Спам"
        assert result.occurred_at == hour(1)

    @pytest.mark.parametrize(
        ("stages", "facts", "reason"),
        [
            (("1", "143", "2"), {"loss_reason": ("7", "Спам")}, "not lost now"),
            (("1", "143"), {}, "lost without a loss reason"),
            (("1", "143"), {"loss_reason": ("9", "Дорого")}, "loss reason is Дорого"),
        ],
    )
    def test_any_other_deal_is_excluded(self, stages: tuple[str, ...], facts: dict[str, Any], reason: str) -> None:
        """Above all one that was reopened: its old loss was undone."""
        result = verdict(SPAM, deal(*stages, **facts))
        assert (result.rule, result.reason) == ("loss reason Спам or Дубль", reason)

    def test_only_the_latest_loss_counts(self) -> None:
        """Lost, reopened, lost again: the reason belongs to the second loss."""
        assert verdict(SPAM, deal("143", "2", "143", loss_reason=("7", "Спам"))).occurred_at == hour(2)

    def test_a_repeated_record_of_the_same_stage_is_no_new_entry(self) -> None:
        """The record's own time, added after the event, does not move the loss."""
        assert verdict(SPAM, deal("1", "143", "143", loss_reason=("7", "Спам"))).occurred_at == hour(1)

    def test_a_reason_counts_by_id_when_its_name_is_missing(self) -> None:
        assert verdict(SPAM, deal("143", loss_reason=("8", ""))).rule == "outcome lost, loss reason 8"

    def test_a_reason_alone_is_enough(self) -> None:
        assert verdict({"loss_reason": "спам"}, deal("143", loss_reason=("7", "Спам"))).rule == "loss reason Спам"

    def test_the_current_stage_must_fit_the_stage_condition(self) -> None:
        when = {"stage": "Квалифицирован", "loss_reason": "Спам"}
        assert verdict(when, deal("3", "143", loss_reason=("7", "Спам"))).reason == "stage never reached"


class TestPresent:
    @pytest.mark.parametrize(
        ("when", "facts", "reason"),
        [
            ({"tag": ["VIP", "Опт"]}, {"tags": ("опт ",)}, ""),
            ({"tag": "VIP"}, {"tags": ("опт",)}, "no tag VIP"),
            ({"source": "crm"}, {}, ""),
            ({"source": ["Сайт", "b24"]}, {"origin": ("77", "сайт")}, ""),
            ({"source": "77"}, {"origin": ("77", "сайт")}, ""),
            ({"source": "Сайт"}, {"origin": ("78", "Авито")}, "source is not Сайт"),
            ({"created_after": date(2026, 3, 1)}, {}, ""),
            ({"created_after": date(2026, 3, 2)}, {}, "created before 2026-03-02"),
            ({"created_after": datetime(2026, 3, 1, 9)}, {}, ""),  # noqa: DTZ001 - TOML's local time, read as UTC
            ({"field": {"Город": "спб"}}, {"fields": {"Город": ("СПб",)}}, ""),
            ({"field": {"Город": "спб"}}, {"fields": {"Город": ("Москва",)}}, "field Город is not = спб"),
            ({"expression": "deal.outcome == 'open' && 'a' in deal.tags"}, {"tags": ("a",)}, ""),
            ({"expression": "'a' in deal.tags"}, {}, "expression is false"),
        ],
    )
    def test_conditions_on_the_deal_as_it_is_now(
        self, when: dict[str, Any], facts: dict[str, Any], reason: str
    ) -> None:
        result = verdict(when, deal("1", "2", **facts))
        assert result.verdict is (Verdict.EXCLUDED if reason else Verdict.QUALIFIED)
        if reason:
            assert result.reason == reason
        else:
            assert result.occurred_at == START, "without a stage the goal is reached when the deal begins"

    def test_all_conditions_must_hold(self) -> None:
        when = {"stage": "Квалифицирован", "tag": "vip"}
        assert verdict(when, deal("3")).reason == "no tag vip"
        assert verdict(when, deal("1", tags=("vip",))).reason == "stage never reached"
        assert verdict(when, deal("3", tags=("vip",))).verdict is Verdict.QUALIFIED

    def test_a_condition_that_fails_to_compute_excludes_and_says_so(self) -> None:
        result = verdict({"expression": "deal.fields['Бюджет'] == '5'"}, deal("1"))
        assert result.reason == 'expression failed: there is no "Бюджет"'


class TestFloor:
    def test_what_happened_before_the_start_waits_for_a_backfill(self) -> None:
        result = verdict({"stage": "Квалифицирован"}, deal("1", "3"), floor=hour(2))
        assert result.verdict is Verdict.EXCLUDED
        assert result.reason.startswith("before_start")
        assert "bridge backfill --since 2026-03-01" in result.reason
        assert result.occurred_at is None

    def test_the_day_to_backfill_is_the_tenants(self) -> None:
        """01:30 in Moscow is still the evening before in Greenwich; a backfill takes days of the tenant."""
        zone = ZoneInfo("Europe/Moscow")
        ready = compile_goals([goal("goal", {"stage": "Новая заявка"})], CATALOGUE, "RUB", zone).goals[0]
        change = replace(deal("1").history[0], at=datetime(2026, 3, 1, 22, 30, tzinfo=UTC))
        result = judge(ready, case(replace(deal("1"), history=(change,))), Floor(change.at + timedelta(days=9)))
        assert "reached 2026-03-02 01:30 (Europe/Moscow)" in result.reason
        assert '"bridge backfill --since 2026-03-02"' in result.reason

    def test_what_was_backfilled_is_in_and_what_lies_after_it_is_not(self) -> None:
        """Up to the start everything else stays out."""
        ready = compiled({"stage": "Квалифицирован"}).goals[0]
        floor = Floor(hour(5)).opening(Period(hour(1), hour(2)))
        assert judge(ready, case(deal("1", "3")), floor).verdict is Verdict.QUALIFIED
        late = judge(ready, case(deal("1", "2", "3")), floor)
        assert (late.verdict, late.reason.partition(":")[0]) == (Verdict.EXCLUDED, "before_start")

    def test_the_start_itself_is_in(self) -> None:
        assert verdict({"stage": "Квалифицирован"}, deal("1", "3"), floor=hour(1)).verdict is Verdict.QUALIFIED


class TestValue:
    @pytest.mark.parametrize(
        ("value", "amount"),
        [
            (None, None),
            ("deal", "1500.50"),
            (1000, "1000"),
            ("1 000,50", "1000.50"),
            ("deal.value * 0.3", "450.15"),
            ("deal.value * 2", "3001"),
            ("deal.value > 1000 ? 500 : 0", "500"),
            ("number(deal.fields['Маржа'])", "30000.50"),
            ("deal.value - 0.005", "1500.50"),
            ("null", None),
        ],
    )
    def test_values(self, value: object, amount: str | None) -> None:
        """The deal's own, a number, or an expression; rounded half up to kopecks, without a float's dust."""
        subject = deal("142", value=money("1500.50"), fields={"Маржа": ("30 000,50 ₽",)})
        result = verdict({"outcome": "won"}, subject, value=value)
        assert result.value == (None if amount is None else money(amount))

    def test_a_value_may_be_that_of_the_moment_of_the_goal(self) -> None:
        """A lead qualified at 500 and sold at 900 was worth 500 when it was qualified; "deal" stays the price now."""
        changes = tuple(
            ValueChange(START + timedelta(minutes=minute), money(amount))
            for minute, amount in ((0, "0"), (90, "500"), (150, "900"))
        )
        subject = deal("1", "2", "3", "142", value=money("900"), value_changes=changes)
        when = {"stage": ["Квалифицирован"]}
        assert verdict(when, subject, value="deal_at_goal").value == money("500")
        assert verdict(when, subject, value="deal").value == money("900")
        assert verdict({"outcome": "won"}, subject, value="deal_at_goal").value == money("900")

    def test_without_a_history_of_values_the_deal_was_always_worth_what_it_is(self) -> None:
        """Before its first known value that one counts; a source without such a history loses nothing."""
        assert verdict({"outcome": "won"}, deal("142", value=money("7")), value="deal_at_goal").value == money("7")
        late = (ValueChange(START + timedelta(days=9), money("8")),)
        subject = deal("142", value=money("8"), value_changes=late)
        assert verdict({"outcome": "won"}, subject, value="deal_at_goal").value == money("8")

    def test_the_goals_currency_wins_for_numbers(self) -> None:
        assert verdict({"outcome": "won"}, deal("142"), value=10, currency="USD").value == money("10", "USD")

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ("deal.value * 2.0", "Unsupported operation: null * float"),
            ("deal.fields['Маржа'] == '' ? 1 : 2", 'there is no "Маржа"'),
            ("1 / size(deal.tags)", "division by zero"),
            ("size(deal.tags) == 0 ? 'a' : 1", "gives no number"),
            ("1.0 / double(size(deal.tags))", "gives a number out of range"),
        ],
    )
    def test_a_value_that_cannot_be_computed_is_visible(self, value: str, reason: str) -> None:
        result = verdict({"outcome": "won"}, deal("142"), value=value)
        assert result.verdict is Verdict.EXCLUDED
        assert result.rule == "value expression"
        assert result.reason == f"value expression failed: {reason}"

    @given(st.integers(0, 10**12))
    def test_the_deals_value_passes_an_expression_unchanged(self, minor: int) -> None:
        """Every amount up to ten milliards, to the kopeck."""
        own = replace(money("0"), minor=minor)
        assert verdict({"outcome": "won"}, deal("142", value=own), value="deal.value").value == own


class TestProblems:
    @pytest.mark.parametrize(
        ("when", "problem"),
        [
            ({"stage": "Квалифицырован"}, 'unknown stage "Квалифицырован"; nearest: "Квалифицирован"'),
            ({"stage": "Продажа/Квалифицирован"}, '"Продажи/Квалифицирован"'),
            ({"stage": "zzz"}, 'unknown stage "zzz"; known: "Новая заявка"'),
            ({"pipeline": "Продажа"}, 'unknown pipeline "Продажа"; nearest: "Продажи"'),
            ({"loss_reason": "Спамм"}, 'unknown loss reason "Спамм"; nearest: "Спам"'),
            ({"field": {"Бюджетт": 5}}, 'unknown field "Бюджетт"; nearest: "Бюджет"'),
            ({"field": {"Бюджет": {">": "много"}}}, '"> много" compares with neither a number nor a date'),
            ({"expression": "deal.value >"}, "expression: is no valid CEL: 1:13"),
            ({"expression": "deal.valeu > 1"}, 'expression: there is no "valeu"; did you mean "value"?'),
            ({"expression": "deal.zzz > 1"}, 'expression: there is no "zzz"'),
            ({"expression": "dael.value > 1"}, "expression: Undefined variable or function: 'dael'"),
            ({"expression": "deal.value"}, "expression: gives neither true nor false"),
            ({"expression": "deal.fields['Бюджет'] > 5"}, "expression: No such overload"),
        ],
    )
    def test_each_mistake_is_told_with_the_nearest_real_names(self, when: dict[str, Any], problem: str) -> None:
        (line,) = compiled(when).problems
        assert line.startswith('goal "goal": ')
        assert problem in line

    def test_a_misspelt_word_for_the_deals_own_value_is_answered_with_it(self) -> None:
        """It would be a valid CEL variable, were there one of that name."""
        ready = compiled({"outcome": "won"}, value="deal_at_gaol")
        (line,) = ready.problems
        assert line.endswith("'deal_at_gaol'; did you mean \"deal_at_goal\"?")
        assert "did you mean" not in compiled({"outcome": "won"}, value="1 +").problems[0]

    @pytest.mark.parametrize("value", ["deal.value *", "deal.amount", "deal.stage", "foo(deal.value)"])
    def test_a_wrong_value_is_a_problem_and_excludes(self, value: str) -> None:
        ready = compiled({"outcome": "won"}, value=value)
        assert len(ready.problems) == 1
        assert judge(ready.goals[0], case(deal("142")), Floor()).reason.startswith("value expression failed: ")

    def test_where_people_write_loss_reasons_as_text_any_name_is_legal(self) -> None:
        """A CRM without a list of reasons gives nothing to compare with; the name itself still decides."""
        free = replace(CATALOGUE, has_free_reasons=True)
        ready = compile_goals([goal("spam", {"outcome": "lost", "loss_reason": "накрутка"})], free, "RUB")
        assert ready.problems == ()
        lost = deal("143", loss_reason=("Накрутка", "Накрутка"))
        assert judge(ready.goals[0], case(lost), Floor()).verdict is Verdict.QUALIFIED

    def test_names_that_exist_still_work_beside_one_that_does_not(self) -> None:
        ready = compiled({"stage": ["Квалифицирован", "Нет такого"]})
        assert len(ready.problems) == 1
        assert judge(ready.goals[0], case(deal("3")), Floor()).verdict is Verdict.QUALIFIED

    def test_a_condition_that_cannot_be_compiled_never_holds(self) -> None:
        ready = compiled({"field": {"Бюджет": {">": "много"}}})
        result = judge(ready.goals[0], case(deal("1", fields={"Бюджет": ("5",)})), Floor())
        assert result.reason.startswith("field Бюджет cannot be used")

    def test_a_good_configuration_has_none(self) -> None:
        goals = [
            goal("qualified", {"stage": ["Квалифицирован", "Сделки/Встреча назначена"]}),
            goal("spam", SPAM),
            goal("sale", {"outcome": "won"}, value="deal"),
        ]
        ready = compile_goals(goals, CATALOGUE, "RUB")
        assert ready.problems == ()
        assert [one.name for one in ready.goals] == ["qualified", "spam", "sale"]


class TestOpenCatalogue:
    """A table knows no names beforehand: any is legal, and ids are the normalised names."""

    OPEN = Catalogue(is_open=True)

    def judged(self, when: dict[str, Any], pipeline: str, stage: str) -> Verdict:
        ready = compiled(when, self.OPEN)
        assert ready.problems == ()
        change = StageChange(START, pipeline, stage, Outcome.OPEN, "record")
        return judge(ready.goals[0], case(replace(deal("1"), history=(change,)), "leads"), Floor()).verdict

    @pytest.mark.parametrize(
        ("name", "pipeline", "stage", "is_reached"),
        [
            ("Оплачён", "", "оплачен", True),
            ("оплачен", "опт", " Оплачён ", True),
            ("Опт/Оплачен", "опт", "оплачен", True),
            ("Опт/Оплачен", "розница", "оплачен", False),
            ("КП/счёт", "", "кп/счет", True),
            ("оплачен", "", "новый", False),
        ],
    )
    def test_names_are_compared_as_people_read_them(
        self, name: str, pipeline: str, stage: str, is_reached: bool
    ) -> None:
        assert (self.judged({"stage": name}, pipeline, stage) is Verdict.QUALIFIED) is is_reached

    def test_pipelines_too(self) -> None:
        assert self.judged({"pipeline": "ОПТ"}, "опт", "x") is Verdict.QUALIFIED
        assert self.judged({"pipeline": "ОПТ"}, "", "x") is Verdict.EXCLUDED

    def test_loss_reasons_and_fields_are_taken_as_written(self) -> None:
        ready = compiled({"loss_reason": "Спам", "field": {"Любое": 5}}, self.OPEN)
        assert ready.problems == ()
        subject = deal("143", loss_reason=("спам", "СПАМ"), fields={"любое": ("5",)})
        assert judge(ready.goals[0], case(subject, "leads"), Floor()).verdict is Verdict.QUALIFIED

    SEEN = Catalogue(
        (Pipeline("", "", DealKind.LEAD, (Stage("квалифицирован", "Квалифицирован"), Stage("кп/счет", "КП/Счёт"))),),
        (("спам", "Спам"),),
        ("Статус", "status", "Город"),
        is_open=True,
    )

    @pytest.mark.parametrize(
        ("when", "doubt"),
        [
            ({"stage": "Квалифицрован"}, 'unknown stage "Квалифицрован"; nearest: "Квалифицирован"'),
            ({"stage": "Опт/Квалифицирован"}, 'unknown stage "Опт/Квалифицирован"; nearest: "Квалифицирован"'),
            ({"pipeline": "Опт"}, 'unknown pipeline "Опт"; the source knows none'),
            ({"loss_reason": "Спамм"}, 'unknown loss reason "Спамм"; nearest: "Спам"'),
            ({"field": {"Горд": "Москва"}}, 'unknown field "Горд"; nearest: "Город"'),
        ],
    )
    def test_a_name_that_has_not_occurred_is_a_doubt_and_still_works(self, when: dict[str, Any], doubt: str) -> None:
        ready = compiled(when, self.SEEN)
        assert ready.problems == ()
        assert ready.doubts == (f'goal "goal": {doubt}',)

    @pytest.mark.parametrize(
        "when", [{"stage": ["квалифицирован", "КП / счет"]}, {"loss_reason": "спам"}, {"field": {"город": "Москва"}}]
    )
    def test_a_name_that_has_occurred_is_none(self, when: dict[str, Any]) -> None:
        assert compiled(when, self.SEEN).doubts == ()

    @pytest.mark.parametrize("when", [{"stage": "Нет такого"}, {"pipeline": "x"}, {"loss_reason": "x"}])
    def test_a_source_that_knows_its_names_has_no_doubts(self, when: dict[str, Any]) -> None:
        assert compiled(when).doubts == ()
        assert compiled(when).problems


@given(
    st.lists(st.sampled_from(["1", "2", "3", "142", "143", "20:5", "99:99"]), min_size=1, max_size=6),
    st.sampled_from([None, ("7", "Спам"), ("9", ""), ("", "")]),
    st.sampled_from([SPAM, {"outcome": "won"}, {"stage": "3"}, {"pipeline": "Продажи"}, {"tag": "x"}]),
)
def test_every_judgement_has_a_rule_a_reason_and_a_time_exactly_when_qualified(
    stages: list[str], reason: tuple[str, str] | None, when: dict[str, Any]
) -> None:
    """Nothing ends without a word that ``explain`` can print."""
    result = verdict(when, deal(*stages, loss_reason=reason))
    assert result.rule
    assert result.reason
    assert (result.occurred_at is not None) == (result.verdict is Verdict.QUALIFIED)
