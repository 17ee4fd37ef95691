"""The snippet in a real headless Chromium, on pages with forms."""

from __future__ import annotations

import pytest

from bridge.model import IdKind
from tests.browser.conftest import NewTown
from tests.unit.collector.kit import CLIENT, GCLID, YCLID

FORM = """<form id=order action=/send method=post>
<input name=phone type=tel><input name=website>
<input type=hidden name=bridge_lead><input type=hidden name=ym_client_id>
<input type=hidden name=utm data-bridge=utm_campaign><input type=hidden name=page data-bridge=landing_page>
<button id=go>Go</button></form>"""
COOKIES = "".join(
    f"document.cookie = '{name}={value}; path=/';"
    for name, value in (
        ("_ym_uid", CLIENT),
        ("_ga", "GA1.1.1234567890.1772000000"),
        ("_ga_AB12CD34EF", "GS2.1.s1772000111$o1$g1$t1772000222$j60$l0$h0"),
        ("_gcl_aw", f"GCL.1772000000.{GCLID}"),
        ("session", "secret"),
    )
)
AD = f"/balkony?utm_source=yandex&utm_campaign=%D0%BE%D0%BA%D0%BD%D0%B0&yclid={YCLID}"
FIELDS = {"lead_key": "bridge_lead", "client_id": "ym_client_id"}


async def test_a_visitor_who_came_by_an_ad_sends_a_form(new_town: NewTown) -> None:
    """The site's form carries the lead key and ClientID, the collector knows the click of the page before under the
    same key, and cookies that are nobody's business stay where they are."""
    async with new_town(hidden_fields=FIELDS, phone_input="[type=tel]", honeypot="website") as town:
        town.site.pages = {"/zayavka": FORM}
        town.site.first = COOKIES
        await town.page.open(town.site.address(AD))
        await town.page.open(town.site.address("/zayavka"))
        await town.page.write("[name=phone]", "+7 916 123-45-67")
        await town.page.click("#go")
        (form,) = await town.told(1)
        sent = await town.sent()
        assert sent["bridge_lead"] == form.key
        assert (sent["ym_client_id"], sent["utm"], sent["phone"]) == (CLIENT, "окна", "+7 916 123-45-67")
        assert sent["page"] == town.site.address(AD)
        assert form.last is not None
        assert {item.kind: item.value for item in form.last.identifiers} == {IdKind.YCLID: YCLID}
        assert form.last.page == "http://127.0.0.1/balkony"
        assert {item.kind: item.value for item in form.cookies} == {
            IdKind.CLIENT_ID: CLIENT,
            IdKind.GA_CLIENT_ID: "1234567890.1772000000",
            IdKind.GA_SESSION_ID: "1772000111",
            IdKind.GCLID: GCLID,
        }
        assert len(form.joins) == 1
        assert form.facts["pages_seen"] == ("/zayavka", "/balkony")
        assert (form.facts["visits"], form.facts["honeypot"], form.facts["form"]) == (("1",), ("no",), ("order",))
        assert town.page.errors == []


async def test_the_last_click_counts_and_the_first_is_remembered(new_town: NewTown) -> None:
    """A later click replaces the one that counts, a visit without any does not; the first landing stays."""
    async with new_town() as town:
        town.site.pages = {"/": FORM}
        for path in (f"/?gclid={GCLID}", f"/?yclid={YCLID}", "/"):
            await town.page.open(town.site.address(path))
        await town.page.click("#go")
        (form,) = await town.told(1)
        assert form.first is not None
        assert form.last is not None
        assert [item.kind for item in form.first.identifiers] == [IdKind.GCLID]
        assert [item.kind for item in form.last.identifiers] == [IdKind.YCLID]


async def test_a_form_that_is_added_later_is_filled(new_town: NewTown) -> None:
    """By the time somebody enters it, and when it is sent; fields that it lacks are added where that is wanted."""
    async with new_town(hidden_fields=FIELDS, add_fields=True) as town:
        town.site.first = COOKIES
        await town.page.open(town.site.address("/"))
        plain = "<form action=/send method=post><input name=phone><button id=go>Go</button></form>"
        await town.page.run(f"document.body.innerHTML = {plain!r}")
        await town.page.write("[name=phone]", "1")
        filled = await town.page.run("document.forms[0].bridge_lead.value")
        await town.page.click("#go")
        sent = await town.sent()
        (form,) = await town.told(1)
        assert (sent["bridge_lead"], sent["ym_client_id"]) == (filled, CLIENT)
        assert form.key == filled


@pytest.mark.parametrize("is_asked_by_page", [True, False], ids=["attribute", "call"])
async def test_without_consent_nothing_is_remembered_filled_or_sent(new_town: NewTown, is_asked_by_page: bool) -> None:
    """With it, everything is, from the landing on; taken back, all is forgotten."""
    async with new_town(consent="required") as town:
        town.site.pages = {"/": FORM, "/agreed": FORM + ("<p data-bridge-consent>" if is_asked_by_page else "")}
        await town.page.open(town.site.address(f"/?yclid={YCLID}"))
        await town.page.write("[name=phone]", "1")
        assert await town.remembered() is None
        await town.page.click("#go")
        assert (await town.sent())["bridge_lead"] == ""
        assert await town.kept() == []
        await town.page.open(town.site.address(f"/agreed?yclid={YCLID}"))
        if not is_asked_by_page:
            assert await town.remembered() is None
            await town.page.run("bridgeCollector.consent(true)")
        memory = await town.remembered()
        assert (memory["n"], YCLID in memory["l"]["l"]) == (1, True)
        await town.page.open(town.site.address("/"))  # where nobody asks again
        await town.page.click("#go")
        (form,) = await town.told(1)
        assert (await town.sent())["bridge_lead"] == form.key
        await town.page.open(town.site.address("/"))
        await town.page.run("bridgeCollector.consent(false)")
        assert await town.remembered() is None
        await town.page.click("#go")
        assert (await town.sent())["bridge_lead"] == ""
        assert len(await town.kept()) == 1


async def test_a_robot_gives_itself_away(new_town: NewTown) -> None:
    """What no person sees is filled in, faster than anybody writes: both are told."""
    async with new_town(honeypot="website", too_fast="60s") as town:
        town.site.pages = {"/": FORM}
        await town.page.open(town.site.address("/"))
        await town.page.run("document.forms[0].website.value = 'x'; document.querySelector('#go').click()")
        (form,) = await town.told(1)
        assert (form.facts["honeypot"], form.facts["too_fast"]) == (("yes",), ("yes",))


async def test_metrica_itself_is_asked_for_the_client_id(new_town: NewTown) -> None:
    """Where its counter is named: a cookie may be kept from scripts."""
    async with new_town(metrica_counter=12345) as town:
        town.site.pages = {"/": FORM}
        town.site.first = (
            f"window.ym = function (n, what, f) {{ if (n == 12345 && what == 'getClientID') f('{CLIENT}') }}"
        )
        await town.page.open(town.site.address("/"))
        await town.page.click("#go")
        (form,) = await town.told(1)
        assert [(item.kind, item.value) for item in form.cookies] == [(IdKind.CLIENT_ID, CLIENT)]


BROKEN = """
Object.defineProperty(window, "localStorage", { get: function () { throw new Error("closed") } });
Object.defineProperty(window, "crypto", { value: undefined });
window.ym = function () { throw new Error("ym") };
navigator.sendBeacon = undefined;
"""


async def test_it_works_in_a_poor_browser_and_never_breaks_the_page(new_town: NewTown) -> None:
    """Without storage, random numbers, beacons, with a broken Metrica: the form is sent, the click told, no error seen;
    and the page has one more global than before."""
    async with new_town(metrica_counter=1) as town:
        town.site.first = f"{BROKEN} window.before = Object.getOwnPropertyNames(window)"
        town.site.how = "async"
        town.site.pages = {"/": f"{FORM}<form id=odd><input name=elements><input name=getAttribute></form>"}
        await town.page.open(town.site.address(f"/?utm_campaign=100%&yclid={YCLID}"))
        fresh = await town.page.run("Object.getOwnPropertyNames(window).filter(n => before.indexOf(n) < 0)")
        assert set(fresh) - {"before"} == {"bridgeCollector"}
        for call in ("fill()", "send()", "fill(1)", "send(document)", "fill(document.forms.odd)", "send(window)"):
            await town.page.run(f"bridgeCollector.{call}")
        await town.page.run("document.addEventListener('submit', e => e.preventDefault())")  # the page stays
        await town.page.run("document.querySelector('#go').click()")
        (form,) = await town.told(1)
        assert form.last is not None
        assert [item.kind for item in form.last.identifiers] == [IdKind.YCLID]
        assert town.page.errors == []


async def test_no_name_of_a_field_is_taken_for_one_of_ours(new_town: NewTown) -> None:
    """Every object of JavaScript has a "constructor": what people write into a field of that name stays."""
    async with new_town() as town:
        town.site.pages = {
            "/": "<form id=order action=/send method=post><input name=constructor>"
            "<input name=toString><input type=hidden name=bridge_lead><button id=go>Go</button></form>"
        }
        await town.page.open(town.site.address("/"))
        await town.page.write("[name=constructor]", "Stroy")
        await town.page.write("[name=toString]", "text")
        await town.page.click("#go")
        sent = await town.sent()
        (form,) = await town.told(1)
        assert sent == {"constructor": "Stroy", "toString": "text", "bridge_lead": form.key}
        assert town.page.errors == []
