"""What a simulated portal is made of: its properties, pipelines, and the vendor's errors (contract hubspot 4, 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bridge.frozen import frozen
from bridge.sim.events import STAGE_TITLES, StageName

CONTACTS, DEALS = "contacts", "deals"
CHANGED = {CONTACTS: "lastmodifieddate", DEALS: "hs_lastmodifieddate"}
SINGULAR = {CONTACTS: "contact", DEALS: "deal"}
TYPE_IDS = {"0-1": CONTACTS, "0-3": DEALS, "contact": CONTACTS, "deal": DEALS}
LIFECYCLE = {
    "subscriber": "Subscriber",
    "lead": "Lead",
    "marketingqualifiedlead": "Marketing Qualified Lead",
    "salesqualifiedlead": "Sales Qualified Lead",
    "opportunity": "Opportunity",
    "customer": "Customer",
    "evangelist": "Evangelist",
    "other": "Other",
    "51439524": "Trial",  # made in the portal: a number for an id
}
STATUSES = ("NEW", "OPEN", "IN_PROGRESS", "OPEN_DEAL", "UNQUALIFIED", "ATTEMPTED_TO_CONTACT", "CONNECTED", "BAD_TIMING")
SOURCES = {"ORGANIC_SEARCH": "Organic Search", "PAID_SEARCH": "Paid Search", "DIRECT_TRAFFIC": "Direct Traffic"}
STAGES = {
    StageName.NEW: "appointmentscheduled",
    StageName.QUALIFIED: "qualifiedtobuy",
    StageName.CONTACTED: "presentationscheduled",
    StageName.MEETING: "decisionmakerboughtin",
    StageName.WON: "closedwon",
    StageName.LOST: "closedlost",
}
SALES, SERVICE = "default", "74120931"
_MADE = "2026-01-10T08:00:00.000Z"


class ApiError(Exception):
    """An error of the vendor's: status, category, and what else its body has."""

    def __init__(self, status: int, category: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        known = {"status": "error", "message": message, "correlationId": "00000000-0000-4000-8000-000000000001"}
        self.body: dict[str, Any] = {**known, "category": category, "errors": [], "context": {}, "links": {}, **more}


def invalid(message: str, **more: Any) -> ApiError:
    """A request that does not pass validation."""
    return ApiError(400, "VALIDATION_ERROR", message, **more)


@frozen
class Property:
    """A property. ``options``: label by value."""

    name: str
    label: str
    type: str = "string"
    field_type: str = "text"
    options: Mapping[str, str] = field(default_factory=dict)
    is_own: bool = False

    def shown(self) -> dict[str, Any]:
        options = [
            {"label": label, "value": value, "displayOrder": place, "hidden": False}
            for place, (value, label) in enumerate(self.options.items())
        ]
        kind = {"type": self.type, "fieldType": self.field_type, "groupName": "information", "description": ""}
        marks = {"hubspotDefined": not self.is_own, "calculated": False, "hidden": False, "archived": False}
        dates = {"createdAt": _MADE, "updatedAt": _MADE}
        return {"name": self.name, "label": self.label, **kind, "options": options, **marks, **dates}


def _choice(name: str, label: str, options: Mapping[str, str], *, is_own: bool = False) -> Property:
    return Property(name, label, "enumeration", "select", options, is_own)


def _own(name: str, label: str = "") -> Property:
    return Property(name, label or name, is_own=True)


_ID = Property("hs_object_id", "Record ID", "number", "number")
_SHARED = (
    _ID,
    Property("createdate", "Create Date", "datetime", "date"),
    _choice("hs_analytics_source", "Original Traffic Source", SOURCES),
)
_TRACKING = (
    *(_own("yclid"), _own("ym_client_id", "ClientID Метрики"), _own("utm_source"), _own("utm_content")),
    _choice("object_kind", "Тип объекта", {"flat": "Квартира", "house": "Дом"}, is_own=True),
)
PROPERTIES: Mapping[str, Sequence[Property]] = {
    CONTACTS: (
        *_SHARED,
        *(
            Property("email", "Email"),
            Property("phone", "Phone Number"),
            Property("mobilephone", "Mobile Phone Number"),
        ),
        *(Property("firstname", "First Name"), Property("lastname", "Last Name")),
        Property("lastmodifieddate", "Last Modified Date", "datetime", "date"),
        _choice("lifecyclestage", "Lifecycle Stage", LIFECYCLE),
        _choice("hs_lead_status", "Lead Status", {one: one.replace("_", " ").title() for one in STATUSES}),
        Property("hs_analytics_first_url", "First Page Seen"),
        *(Property("hs_google_click_id", "Google ad click id"), Property("hs_facebook_click_id", "Facebook click id")),
        *_TRACKING,
    ),
    DEALS: (
        *_SHARED,
        *(Property("dealname", "Deal Name"), Property("pipeline", "Pipeline"), Property("dealstage", "Deal Stage")),
        *(Property("amount", "Amount", "number", "number"), Property("closedate", "Close Date", "datetime", "date")),
        Property("hs_lastmodifieddate", "Last Modified Date", "datetime", "date"),
        *(Property("hs_is_closed", "Is Deal Closed?", "bool"), Property("hs_is_closed_won", "Is Closed Won", "bool")),
        Property("closed_lost_reason", "Closed Lost Reason", "string", "textarea"),
        _own("gclid"),
        *_TRACKING,
    ),
}
CURRENCY = _choice("deal_currency_code", "Currency", {"RUB": "RUB", "KZT": "KZT", "USD": "USD"})


@dataclass(slots=True)
class Stage:
    """A deal's stage; its metadata is text, as the vendor's is."""

    id: str
    label: str
    probability: str
    is_closed: bool = False

    def shown(self, place: int) -> dict[str, Any]:
        metadata = {"isClosed": str(self.is_closed).lower(), "probability": self.probability}
        dates = {"createdAt": _MADE, "updatedAt": _MADE, "archived": False}
        about = {"id": self.id, "label": self.label, "displayOrder": place, "metadata": metadata}
        return {**about, **dates, "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT"}


@dataclass(slots=True)
class Pipeline:
    id: str
    label: str
    stages: list[Stage]

    def shown(self, place: int) -> dict[str, Any]:
        stages = [stage.shown(number) for number, stage in enumerate(self.stages)]
        dates = {"createdAt": _MADE, "updatedAt": _MADE, "archived": False}
        return {"id": self.id, "label": self.label, "displayOrder": place, "stages": stages, **dates}


def pipelines() -> list[Pipeline]:
    """Sales, whose stages have the vendor's own ids, and another one with numbers for ids."""
    ends = {StageName.WON: "1.0", StageName.LOST: "0.0"}
    sales = [Stage(number, STAGE_TITLES[name], ends.get(name, "0.4"), name in ends) for name, number in STAGES.items()]
    service = [Stage("151820001", "Заявка", "0.2"), Stage("151820002", "Выполнено", "1.0", is_closed=True)]
    return [Pipeline(SALES, "Продажи", sales), Pipeline(SERVICE, "Сервис", service)]


def stamp(at: datetime) -> str:
    """A time as the vendor writes it: UTC, milliseconds."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
