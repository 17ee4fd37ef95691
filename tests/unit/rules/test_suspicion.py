"""Signals of spam: what fires each, what they amount to, and what goals make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bridge.clues import Reading
from bridge.config import Goal, TenantSettings
from bridge.frozen import replace
from bridge.model import Background, Deal, DealKind, Identifier, IdKind, Method, Money, Signal, Verdict
from bridge.rules.definitions import RULE, Meanings, digests
from bridge.rules.suspicion import (
    Member,
    Reach,
    Request,
    background,
    forms_of,
    merged,
    request_of,
    spans_about,
    spans_after,
    spans_before,
    told,
)
from bridge.spam import SIGNALS, SpamSettings
from tests.unit.rules.kit import deal, goal, hour, verdict

MINUTE = timedelta(minutes=1)
ALL: dict[str, Any] = {
    **dict.fromkeys(("phone_invalid", "email_invalid", "email_disposable", "honeypot", "too_fast"), True),
    "duplicate": {"within": "24h"},
    "burst_client": {"within": "1h", "count": 3},
    "burst_page": {"within": "10m", "count": 3},
    "burst_ip": {"within": "1h", "count": 3, "alone": True},
}


def rules(**given: Any) -> SpamSettings:
    return SpamSettings.model_validate({**ALL, **given})


def came(number: int, minutes: int, *keys: str, signs: Sequence[str] = (), form: bool = False) -> Request:
    source, key = ("site", f"form:{number}") if form else ("crm", f"lead:{number}")
    return Request(source, key, hour(0) + minutes * MINUTE, keys, tuple(signs), form)


def crowd(*requests: Request) -> Mapping[str, list[Member]]:
    """Everybody by key."""
    found: dict[str, list[Member]] = {}
    for one in requests:
        for key in one.keys:
            found.setdefault(key, []).append(Member(key, one.at, one.source, one.deal))
    return found


def signals(request: Request, *others: Request, settings: SpamSettings | None = None) -> dict[str, str]:
    """Signals of a request among others, with their evidence."""
    settings = settings or rules()
    members = crowd(request, *others)
    places = forms_of(request, members, Reach(settings.rules, timedelta(minutes=30)))
    known = {one.place: one for one in others}
    forms = [known[place] for place in places]
    return {one.name: one.evidence for one in background(settings, request, forms, members).signals}


@pytest.mark.parametrize("sign", ["phone_invalid", "email_invalid", "email_disposable", "honeypot", "too_fast"])
def test_a_sign_is_a_signal_where_its_rule_is_on(sign: str) -> None:
    """Off by default: without its rule it is noticed by nobody."""
    request = came(1, 0, signs=[sign])
    assert list(signals(request)) == [sign]
    assert signals(request, settings=rules(**{sign: False})) == {}
    assert background(SpamSettings(), request, (), {}) == Background()


def test_a_repeat_is_another_request_of_the_same_person_before() -> None:
    """The later of two, within the window, of the same source; the first is none; a form of theirs is no request."""
    first, second = came(1, 0, "phone:a"), came(2, 60, "phone:a")
    assert signals(second, first) == {"duplicate": "lead:1 of the same person came 1 h before"}
    assert signals(first, second) == {}
    assert signals(came(2, 24 * 60, "phone:a"), first)
    assert signals(came(2, 24 * 60 + 1, "phone:a"), first) == {}
    assert signals(second, came(1, 0, "phone:b")) == {}
    assert signals(second, replace(first, source="other")) == {}
    assert signals(second, came(9, 55, "phone:a", form=True)) == {}


def test_a_burst_begins_with_the_request_that_makes_it_one() -> None:
    """Two of three are none; the third and those behind it are; whoever came before the window does not count."""
    three = [came(number, 20 * number, "client_id:1") for number in range(3)]
    assert [bool(signals(one, *three)) for one in three] == [False, False, True]
    assert signals(three[2], *three) == {"burst_client": "3 requests of one ClientID within 1 h"}
    assert signals(came(9, 61, "client_id:1"), *three[:2]) == {}
    assert signals(came(9, 40, "page:x"), came(1, 39, "page:x"), came(2, 38, "page:x"))


def test_a_form_lends_the_request_of_its_visitor_what_it_knows() -> None:
    """Its signs, and its address' crowd; not that of somebody else, and not of another hour."""
    lead = came(1, 60, "phone:a")
    form = came(5, 58, "phone:a", "ip:7", signs=["honeypot"], form=True)
    others = [came(6, 50, "phone:b", "ip:7", form=True), came(7, 51, "phone:c", "ip:7", form=True)]
    assert signals(lead, form, *others) == {
        "honeypot": "a field of the form that people do not see was filled in (site/form:5)",
        "burst_ip": "3 requests of one IP address within 1 h",
    }
    assert signals(lead, replace(form, keys=("phone:z", "ip:7")), *others) == {}
    assert signals(came(1, 58 + 61, "phone:a"), form, *others) == {}
    assert signals(came(1, 58 - 31, "phone:a"), form, *others) == {}


def test_signals_decide_together_or_where_the_tenant_says_so_alone() -> None:
    """One is not enough by default, two are; one that is enough alone is."""

    def is_spam(settings: SpamSettings, *signs: str) -> bool:
        return background(settings, came(1, 0, signs=signs), (), {}).is_spam

    assert not is_spam(rules(), "phone_invalid")
    assert is_spam(rules(), "phone_invalid", "too_fast")
    assert not is_spam(rules(needs=3), "phone_invalid", "too_fast")
    assert is_spam(rules(honeypot="alone"), "honeypot")
    assert is_spam(rules(honeypot={"alone": True}), "honeypot")
    assert is_spam(rules(needs=1), "phone_invalid")
    assert not is_spam(rules())


requests = st.builds(
    lambda number, minutes, keys, signs, form: came(number, minutes, *keys, signs=signs, form=form),
    st.integers(1, 99),
    st.integers(0, 90),
    st.lists(st.sampled_from(["phone:a", "phone:b", "client_id:1", "page:x", "ip:7"]), unique=True),
    st.lists(st.sampled_from(["phone_invalid", "honeypot"]), unique=True),
    st.booleans(),
)


@given(st.lists(requests, min_size=1, max_size=12, unique_by=lambda one: one.place), st.randoms())
def test_neither_order_nor_what_comes_later_changes_a_signal(world: list[Request], random: Any) -> None:
    """A request is judged by itself and what came before it, in whatever order that is listed."""
    for one in world:
        if not one.is_touch:
            shuffled = random.sample(world, len(world))
            leads = [other for other in shuffled if other.is_touch or other.order <= one.order]
            assert signals(one, *leads) == signals(one, *[other for other in world if other is not one])


@given(st.lists(requests, min_size=2, max_size=12, unique_by=lambda one: one.place))
def test_whoever_depends_on_a_request_is_found(world: list[Request]) -> None:
    """Without the last one some signals are others: all of these are behind it, or behind a form that is."""
    settings = rules()
    reach = Reach(settings.rules, timedelta(minutes=30))
    gone, rest = world[-1], world[:-1]

    def inside(one: Request, spans: Any) -> bool:
        return any(span.key in one.keys and span.since <= one.at <= span.until for span in spans)

    near = [one for one in rest if inside(one, spans_after(gone, reach))]
    near += [one for form in near if form.is_touch for one in rest if inside(one, spans_about(form, reach))]
    for one in rest:
        if not one.is_touch and signals(one, *rest) != signals(one, *world):
            assert one in near


@given(st.lists(requests, max_size=8))
def test_merged_spans_cover_the_same_times_once(world: list[Request]) -> None:
    """No two of a key overlap, and every end of every span is inside one."""
    spans = [span for one in world for span in spans_before(one, Reach(rules().rules, timedelta(minutes=30)))]
    result = merged(spans)
    for earlier, later in pairwise(result):
        assert (earlier.key, earlier.until) < (later.key, later.since) or earlier.key < later.key
    for span in spans:
        assert any(one.key == span.key and one.since <= span.since and span.until <= one.until for one in result)


def test_spans_are_told_for_people() -> None:
    """The two largest units."""
    spans = (timedelta(0), timedelta(seconds=5), 90 * MINUTE, timedelta(days=1, minutes=1), timedelta(days=2, hours=3))
    assert [told(span) for span in spans] == ["0 s", "5 s", "1 h 30 min", "1 d 1 min", "2 d 3 h"]


def test_a_collected_form_brings_its_facts() -> None:
    """Its signs, the digest of its address, and the key that the lead made of it carries; a CRM's field is no sign."""
    fields = {"honeypot": ("yes",), "too_fast": ("no",), "address": ("0123456789abcdef0123456789abcdef",)}
    reading = Reading(((Method.FIELD, Identifier(IdKind.CLIENT_ID, "17")),))
    form = replace(deal(kind=DealKind.FORM), fields=fields)
    made = request_of(form, reading, "site")
    assert (made.signs, made.keys) == (("honeypot",), ("client_id:17", "ip:0123456789abcdef0123"))
    assert request_of(replace(deal(), fields=fields), reading, "crm").signs == ()
    lead, sent = came(1, 5, "lead_key:bl1"), came(2, 0, "lead_key:bl1", signs=["too_fast"], form=True)
    assert list(signals(lead, sent)) == ["too_fast"]


# --- goals -------------------------------------------------------------------------------------------------------


def suspicious(*names: str, is_spam: bool = True) -> Deal:
    known = Background(signals=tuple(Signal(name, "why") for name in names), is_spam=is_spam)
    return deal("1", "3", background=known)


def test_a_goal_may_be_reached_by_spam_by_no_spam_or_by_a_signal() -> None:
    """A deal without any background is no spam."""
    spam, fine = suspicious("honeypot"), deal("1", "3")
    assert verdict({"spam": True}, spam).verdict is Verdict.QUALIFIED
    assert verdict({"spam": True}, fine).reason == "not spam by the rules (no signal)"
    assert verdict({"spam": False}, fine).verdict is Verdict.QUALIFIED
    assert verdict({"spam": False}, spam).reason == "spam: honeypot"
    assert verdict({"signal": ["too_fast", "honeypot"]}, spam).verdict is Verdict.QUALIFIED
    assert verdict({"signal": "too_fast"}, spam).reason == "no signal too_fast"


def test_a_goal_that_excludes_spam_takes_it_back() -> None:
    """What was promised becomes worth nothing; what is no spam is judged as ever; signals alone change nothing."""
    judged = verdict({"stage": "Квалифицирован"}, suspicious("honeypot", "duplicate"), exclude_spam=True)
    assert (judged.verdict, judged.is_retracted, judged.value) == (Verdict.EXCLUDED, True, Money(0, "RUB"))
    assert judged.reason == "spam: honeypot, duplicate"
    for other in (suspicious("honeypot", is_spam=False), deal("1", "3")):
        assert verdict({"stage": "Квалифицирован"}, other, exclude_spam=True).verdict is Verdict.QUALIFIED
    assert verdict({"stage": "Квалифицирован"}, suspicious("honeypot")).verdict is Verdict.QUALIFIED


def test_other_spam_rules_are_another_goal_only_where_it_looks_at_spam() -> None:
    """So nothing old is taken back or sent when rules change, and other goals are not touched."""

    def rule(made: Goal, meaning: str) -> str:
        return digests([made], "RUB", None, Meanings(spam=meaning))["a"][RULE]

    plain, excluding = goal("a", {"outcome": "won"}), goal("a", {"outcome": "won"}, exclude_spam=True)
    assert rule(plain, "1") == rule(plain, "2")
    assert rule(excluding, "1") != rule(excluding, "2")
    assert rule(excluding, "1") != rule(plain, "1")
    assert rule(goal("a", {"spam": True}), "1") != rule(goal("a", {"spam": False}), "1")


# --- settings ----------------------------------------------------------------------------------------------------


def test_everything_is_off_by_default() -> None:
    """No rule, and each can be switched on and off by its name."""
    assert SpamSettings().rules == {}
    assert tuple(rules().rules) == SIGNALS
    assert "honeypot" not in rules(honeypot=False).rules


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"honeypot": True}, "nothing would ever be spam"),
        ({"duplicate": {"within": "0s"}, "needs": 1}, "within"),
        ({"burst_ip": {"within": "1h", "count": 1}, "needs": 1}, "count"),
        ({"burst_ip": {"within": "400d", "count": 5}, "needs": 1}, "within"),
        ({"needs": 0}, "needs"),
        ({"honey": True}, "honey"),
    ],
)
def test_rules_that_cannot_work_are_refused(given: dict[str, Any], text: str) -> None:
    """By name."""
    with pytest.raises(ValidationError, match=text):
        SpamSettings.model_validate(given)


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"when": {"spam": True}}, "no spam rule is on"),
        ({"when": {"outcome": "won"}, "exclude_spam": True}, "no spam rule is on"),
        ({"when": {"signal": "honeypot"}}, 'signal "honeypot", which is off'),
        (
            {"when": {"outcome": "won"}, "exclude_spam": True, "per": "payment", "value": "payment"},
            "who pays is no spam",
        ),
    ],
)
def test_a_goal_that_looks_at_spam_needs_rules(facts: dict[str, Any], text: str) -> None:
    """It would never be reached, or exclude nothing."""
    with pytest.raises(ValidationError, match=text):
        TenantSettings.model_validate({"goals": [{"name": "a", **facts}]})
