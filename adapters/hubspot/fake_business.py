"""Translates the imaginary business into a portal's contacts and deals.

A person is one contact. Leads whose click stands in fields, and those of persons who come back, are deals at once (a
form with a workflow); the others are contacts that wander through the first lifecycle stages, until a deal is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from adapters.hubspot.fake_data import PortalData
from adapters.hubspot.fake_schema import CONTACTS, DEALS, SALES, STAGES
from bridge.sim.events import Carrier, Click, Happening, Lead, StageName, Step

_Values = dict[str, str | None]
_LIFECYCLE = {
    StageName.NEW: "lead",
    StageName.CONTACTED: "marketingqualifiedlead",
    StageName.WON: "customer",
}
_AT_ONCE = (Carrier.FIELD, Carrier.CONTACT)
_ORIGINS = ("ORGANIC_SEARCH", "PAID_SEARCH", "DIRECT_TRAFFIC")


class Business:
    """What managers and forms do in one portal."""

    def __init__(self, data: PortalData) -> None:
        self._data = data
        self._contacts: dict[int, int] = {}
        self._deals: dict[int, int] = {}

    def key(self, lead: int, person: int) -> str:
        """Where this lead's sale is: its deal if there is one, else the contact."""
        return f"deal:{self._deals[lead]}" if lead in self._deals else f"lead:{self._contacts[person]}"

    def happen(self, event: Happening) -> None:
        lead, step = event.lead, event.step
        if event.is_new:
            self._appear(lead, step.at)
        if lead.id in self._deals:
            self._data.update(DEALS, self._deals[lead.id], step.at, _moved(step))
        elif step.stage not in (StageName.NEW, StageName.CONTACTED) or lead.carrier in _AT_ONCE:
            self._add_deal(lead, step)
        else:
            self._live(lead, step)

    def _appear(self, lead: Lead, at: datetime) -> None:
        """The form: a new contact, or one that is known and filled in anew."""
        number = self._contacts.get(lead.person)
        told = {**_people(lead), **_carried(lead)}
        if number is None:
            about = {"hs_analytics_source": _ORIGINS[lead.id % 3], "lifecyclestage": "lead", "hs_lead_status": "NEW"}
            self._contacts[lead.person] = self._data.add(CONTACTS, at, {**about, **told})
        else:
            self._data.update(CONTACTS, number, at, told)

    def _live(self, lead: Lead, step: Step) -> None:
        values: _Values = {"lifecyclestage": _LIFECYCLE[step.stage], "hs_lead_status": "CONNECTED"}
        self._data.update(CONTACTS, self._contacts[lead.person], step.at, values)

    def _add_deal(self, lead: Lead, step: Step) -> None:
        """A deal beside the contact; of every third lead with the click copied to it."""
        copied = _carried(lead) if lead.carrier is Carrier.FIELD and lead.id % 3 == 0 else {}
        gclid = copied.pop("hs_google_click_id", None)
        about: _Values = {"dealname": f"Заявка {lead.id}", "pipeline": SALES, "gclid": gclid, **copied}
        number = self._data.add(DEALS, step.at, {**about, **_moved(step)})
        self._deals[lead.id] = number
        contact = self._contacts[lead.person]
        self._data.link(number, contact)
        stage = _LIFECYCLE.get(step.stage, "opportunity")
        if self._data.records[CONTACTS][contact].values.get("lifecyclestage") != "customer":
            self._data.update(CONTACTS, contact, step.at, {"lifecyclestage": stage})


def _moved(step: Step) -> _Values:
    values: _Values = {"dealstage": STAGES[step.stage]}
    if step.loss_reason is not None:
        values["closed_lost_reason"] = step.loss_reason
    if step.value is not None:
        values["amount"] = f"{step.value.quantize(Decimal('0.01')) if step.value % 1000 else step.value}"
    return values


def _people(lead: Lead) -> _Values:
    """E-mails are checked and made small by the vendor; phones are kept as typed."""
    first, _, last = lead.name.partition(" ")
    phones = [*lead.phones, None, None]
    emails = {"email": lead.emails[0].strip().lower()} if lead.emails else {}
    return {"firstname": first, "lastname": last, "phone": phones[0], "mobilephone": phones[1], **emails}


def _carried(lead: Lead) -> _Values:
    """Where this lead's contact keeps what is known of the click."""
    click = lead.click
    if lead.carrier is Carrier.GARBAGE:
        return {"yclid": lead.garbage, "ym_client_id": lead.garbage}
    if click is None:
        return {}
    tags: _Values = {"utm_source": "yandex" if click.yclid else "google"}
    if lead.carrier is Carrier.URL:
        return {**tags, "hs_analytics_first_url": click.landing}
    if lead.carrier is Carrier.UTM:
        return {**tags, "utm_content": f"cid-1|yclid={click.yclid}"}
    return {**tags, **_identifiers(click)}


def _identifiers(click: Click) -> Mapping[str, str | None]:
    found = {"yclid": click.yclid, "hs_google_click_id": click.gclid, "ym_client_id": click.client_id}
    return {name: value for name, value in found.items() if value}
