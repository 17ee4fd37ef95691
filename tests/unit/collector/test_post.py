"""What is read of a post, what is refused, and that nothing personal passes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.collector.post import BODY_MAX, Form
from bridge.errors import Refused
from bridge.model import IdKind
from tests.support import START
from tests.unit.collector.kit import AGO, CLIENT, GCLID, KEY, LANDING, YCLID, body, taken

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


def refused(told: Any) -> str:
    with pytest.raises(Refused) as error:
        taken(told)
    return error.value.code


def test_a_form_tells_its_click_and_its_behaviour() -> None:
    """Identifiers of the landing and of cookies, the page without its query, when it was, and neutral facts."""
    form, garbage = taken(body(), honeypot="website")
    assert garbage == []
    assert (form.key, form.at) == (KEY, START)
    assert form.last is not None
    assert (form.last.at, form.last.page, form.last.referrer) == (
        START - AGO,
        "https://okna.example/balkony",
        "https://yandex.ru/",
    )
    assert form.last.utm == (("utm_source", "yandex"), ("utm_medium", "cpc"))
    assert [(item.kind, item.value) for item in form.last.identifiers] == [(IdKind.YCLID, YCLID)]
    assert [(item.kind, item.value) for item in form.cookies] == [(IdKind.CLIENT_ID, CLIENT)]
    assert form.facts == {
        "form_seconds": ("42",),
        "too_fast": ("no",),
        "honeypot": ("no",),
        "visits": ("2",),
        "pages_seen": ("/zayavka", "/balkony"),
        "form": ("order",),
    }


def test_a_clock_that_was_set_back_loses_no_form() -> None:
    """What lies ahead of it is now; what lies too far behind is the most we remember."""
    form, _ = taken(body(s=-5, l={"l": LANDING, "a": -3600}, f={"l": LANDING, "a": 1e300}))
    assert form.last is not None
    assert form.first is not None
    assert (form.last.at, (START - form.first.at).days, form.facts["form_seconds"]) == (START, 400, ("0",))


def test_signs_of_a_robot_are_told_not_judged() -> None:
    """A form sent at once, with its honeypot filled in, is taken like any other."""
    form, _ = taken(body(s=0.8, h=1), honeypot="website")
    assert (form.facts["too_fast"], form.facts["honeypot"]) == (("yes",), ("yes",))
    assert taken(body(s=0.8), too_fast="0s")[0].facts["too_fast"] == ("no",)
    assert "honeypot" not in taken(body())[0].facts


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (b"", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"{" * 5000, "not_json"),
        (b"[]", "not_as_documented"),
        (b"null", "not_as_documented"),
        (body(k=7), "not_as_documented"),
        (body(extra=1), "not_as_documented"),
        (body(c={"client_id": 5}), "not_as_documented"),
        (body(n=-1), "not_as_documented"),
        (body(p=["/"] * 21), "not_as_documented"),
        (body(x={"p": ["1"] * 4}), "not_as_documented"),
        (body(l={"l": "x" * 3000}), "not_as_documented"),
        (body(v=2), "other_version"),
        (body(k=""), "no_lead_key"),
        (body(k="bl" + "A" * 24), "no_lead_key"),
        (b" " * (BODY_MAX + 1), "too_large"),
    ],
)
def test_what_the_snippet_would_not_send_is_refused(told: Any, code: str) -> None:
    """By a code, whatever is wrong."""
    assert refused(told) == code


def test_garbage_inside_a_good_post_is_left_out_and_named() -> None:
    """The rest of the post stays."""
    form, garbage = taken(
        body(c={"client_id": "undefined", "gclid": GCLID, "user_id": "someone", "lead_key": KEY, "": "x"})
    )
    assert [item.kind for item in form.cookies] == [IdKind.GCLID]
    assert sorted(garbage) == ["undefined", "unknown_identifier", "unknown_identifier", "unknown_identifier"]
    assert taken(body(l={"l": "https://okna.example/?yclid=%7Byclid%7D"}))[1] == ["placeholder"]


def test_nothing_personal_passes() -> None:
    """E-mails and phones in addresses, marks, paths and names leave no trace; those of the form are digests at once."""
    phone, email = "+7 916 123-45-67", "ivan.petrov@example.com"
    address = f"https://okna.example/u/{email}/+79161234567/x?utm_term={email}&phone=79161234567&email={email}"
    twice = "/ivan%252Epetrov%2540example.com"
    told = body(
        l={"l": address, "r": f"https://{email}/?q={email}"},
        f={"l": address},
        p=[f"/u/{email}/79161234567", "/ok", twice],
        i=email,
        x={"p": [phone], "e": [email]},
    )
    form, garbage = taken(told, phone_input="[type=tel]", email_input="[type=email]")
    assert form.joins == ("digest 0", "digest 1")
    text = msgspec.json.encode(form).decode()
    assert [part for part in ("ivan", "petrov", "9161234567", "123-45-67", "@") if part in text] == []
    assert "bad_utm" in garbage
    assert form.facts["pages_seen"] == ("/u/*/*", "/ok", "/*")


@pytest.mark.parametrize(
    "value",
    [
        *("%2B79161234567", "+79161234567", "79161234567", "8(916)123-45-67", "sms_9161234567", "916+123-45-67"),
        *("%2B49+171+1234567", "+375291234567", "8%2520916%2520123%252045%252067", "a%2540b.example"),
    ],
)
def test_a_mark_with_a_phone_or_an_e_mail_is_left_out(value: str) -> None:
    """Links in mailings name whom they were sent to; however it is encoded, and in whatever part of the text."""
    form, garbage = taken(body(l={"l": f"https://okna.example/?utm_source=sms&utm_content={value}"}))
    assert form.last is not None
    assert (form.last.utm, garbage) == ((("utm_source", "sms"),), ["bad_utm"])


@pytest.mark.parametrize(
    "value", ["cid|12345678|gid|5123456789|aid|16123456789", "st:search_pt:2026-03-01", "kwd-31234567890", "1-2-3"]
)
def test_numbers_of_campaigns_and_ads_are_no_phones(value: str) -> None:
    """They are what a mark is for; a number of ten digits is a campaign where campaigns are named."""
    form, garbage = taken(body(l={"l": f"https://okna.example/?utm_campaign=9123456789&utm_term={value}"}))
    assert form.last is not None
    assert (form.last.utm, garbage) == ((("utm_campaign", "9123456789"), ("utm_term", value)), [])


def test_contacts_nobody_asked_for_are_not_even_hashed() -> None:
    """Without the settings there is no digest, and it is counted that somebody sent a contact."""
    form, garbage = taken(body(x={"p": ["+79161234567"], "e": ["a@example.com"]}))
    assert (form.joins, garbage) == ((), ["contact_not_wanted"])
    assert taken(body(x={"p": ["+79161234567"], "e": ["a@b.c"]}), phone_input="#tel")[0].joins == ("digest 0",)


def _is_clean(form: Form) -> bool:
    """Whether everything in it is of the shapes it may have."""
    text = msgspec.json.encode(form).decode()
    landings = [one for one in (form.last, form.first) if one is not None]
    texts = [text for values in form.facts.values() for text in values]
    texts += [value for one in landings for value in (one.page, one.referrer, *[mark for _, mark in one.utm])]
    return "@" not in text and all(text.isprintable() and len(text) <= 420 for text in texts)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_form_or_refused(data: bytes) -> None:
    """Nothing else is raised."""
    try:
        form, _ = taken(data)
    except Refused:
        return
    assert _is_clean(form)


@given(st.dictionaries(st.sampled_from("vkclfnpshix"), json_values | st.text()), st.booleans())
def test_any_values_in_a_post_are_a_form_or_refused(values: dict[str, Any], is_sound: bool) -> None:
    """Whatever stands in its places, a form holds only printable texts without e-mails, and recognised identifiers."""
    told = {**body(), **values} if is_sound else {"v": 1, "k": KEY, **values}
    try:
        form, garbage = taken(json.dumps(told).encode(), phone_input="x")
    except Refused:
        return
    assert _is_clean(form)
    assert all(isinstance(reason, str) and reason for reason in garbage)


@given(st.text(max_size=300), st.text(max_size=300), st.lists(st.text(max_size=60), max_size=20), st.text(max_size=80))
def test_any_addresses_leave_nothing_but_clean_texts(landing: str, mark: str, pages: list[str], name: str) -> None:
    """Hosts, paths and marks in any alphabet, broken or not."""
    told = body(l={"l": f"https://okna.example/{landing}?utm_term={mark}"}, f={"l": landing}, p=pages, i=name)
    assert _is_clean(taken(told)[0])


def test_the_landing_that_counts_is_the_one_in_the_post() -> None:
    """The first one is another touch, with its own time."""
    first = f"https://okna.example/?gclid={GCLID}"
    form, _ = taken(body(f={"l": first, "a": 10 * 86400}))
    assert form.first is not None
    assert form.last is not None
    assert [item.kind for item in form.first.identifiers] == [IdKind.GCLID]
    assert (form.last.at - form.first.at).days == 9
    assert LANDING.startswith(form.last.page)
