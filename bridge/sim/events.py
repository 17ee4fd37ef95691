"""What happens in an imaginary business: clicks, and leads that wander through stages. Plain values.

The world (``sim/world.py``) makes them from a seed and is the oracle; every vendor's ``fake.py`` translates them into
its own entities. Stage names here are generic; each fake maps them to its own pipelines.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from bridge.frozen import frozen


class StageName(StrEnum):
    """The generic sales funnel. A fake shows these under Russian names (see ``STAGE_TITLES``)."""

    NEW = "new"
    CONTACTED = "contacted"
    QUALIFIED = "qualified"
    MEETING = "meeting"
    WON = "won"
    LOST = "lost"


STAGE_TITLES = {
    StageName.NEW: "Новая заявка",
    StageName.CONTACTED: "Первичный контакт",
    StageName.QUALIFIED: "Квалифицирован",
    StageName.MEETING: "Встреча назначена",
    StageName.WON: "Успешно реализовано",
    StageName.LOST: "Закрыто и не реализовано",
}
LOSS_REASONS = ("Спам", "Дубль", "Дорого", "Не дозвонились", "Выбрали других")


class Carrier(StrEnum):
    """Where a lead carries its click identifiers in the CRM."""

    FIELD = "field"  # in the identifier fields
    URL = "url"  # only inside the landing-page URL kept in a text field or predefined REFERRER field
    UTM = "utm"  # only inside a utm field ("utm_content=yclid:123..." or "...yclid=123...")
    CONVERTED = "converted"  # Bitrix24 only: on the lead, not copied to the deal made from it
    CONTACT = "contact"  # nowhere on this lead; an earlier lead of the same person has them
    GARBAGE = "garbage"  # the fields hold junk: "undefined", "{yclid}", "1,77511E+18"
    NONE = "none"


@frozen
class Click:
    """A paid visit. At least one identifier; ``client_id`` is the Metrica ClientID."""

    id: int
    at: datetime
    person: int
    landing: str  # full URL with query
    referrer: str
    yclid: str | None = None
    gclid: str | None = None
    client_id: str | None = None
    ga_client_id: str | None = None
    fbclid: str | None = None
    rb_clickid: str | None = None
    fb_lead_id: str | None = None


@frozen
class Call:
    """A call or (``is_form``) a form that a call tracker sees. ``click`` is what brought the caller, None: no ad.

    ``phone`` is digits with the country code, as trackers write them; ``seconds`` it lasted. ``key`` is the lead key of
    a form on our own collector.
    """

    id: int
    at: datetime
    person: int
    phone: str
    click: Click | None
    seconds: int = 60
    is_form: bool = False
    key: str = ""


@frozen
class Step:
    """A lead enters a stage, or (with the stage it is in) only its value changes."""

    at: datetime
    stage: StageName
    loss_reason: str | None = None
    value: Decimal | None = None  # budget in roubles from now on; None = unchanged


@frozen
class Lead:
    """One imaginary lead with its whole future. ``phones`` and ``emails`` are as messy as people type them."""

    id: int
    person: int
    created_at: datetime
    name: str
    phones: tuple[str, ...]
    emails: tuple[str, ...]
    click: Click | None
    carrier: Carrier
    garbage: str
    origin: str
    tags: tuple[str, ...]
    steps: tuple[Step, ...]  # the first one is NEW at created_at


@frozen
class Happening:
    """One thing at one moment: a lead appears (``step`` is its first) or takes a step."""

    at: datetime
    lead: Lead
    step: Step
    is_new: bool


@frozen
class Applied:
    """What a destination finally counts as one goal reach. ``reaches`` above 1 means it was doubled.

    ``identifiers`` are the values it was linked by; ``order_key`` where the vendor knows one, else "".
    """

    target: str
    at: datetime
    value: Decimal | None
    identifiers: tuple[str, ...]
    order_key: str
    reaches: int
    is_linked: bool
