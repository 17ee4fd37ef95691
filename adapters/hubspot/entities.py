"""What is read of a portal: contacts as leads, and deals. Pure.

What they differ in on the wire stands here, so that one code path reads both (contract hubspot 2, 3, 4).
"""

from __future__ import annotations

from bridge.model import DealKind, IdKind, frozen

LIFECYCLE = "contacts"  # the one pipeline of contacts, whose stages are the lifecycle stages

# Properties of the vendor's own that hold a click id (contract 4).
CLICK_IDS = {"hs_google_click_id": IdKind.GCLID, "hs_facebook_click_id": IdKind.FBCLID}
# Names that the contract suggests for properties made for the purpose; found by themselves where they exist.
SUGGESTED = {
    "yclid": IdKind.YCLID,
    "ymclid": IdKind.YMCLID,
    "gclid": IdKind.GCLID,
    "gbraid": IdKind.GBRAID,
    "wbraid": IdKind.WBRAID,
    "ym_client_id": IdKind.CLIENT_ID,
    "fbclid": IdKind.FBCLID,
    "rb_clickid": IdKind.RB_CLICKID,
}
FIRST_URL = "hs_analytics_first_url"
UTM = "utm_"  # begins the names of properties made for campaign tags
ORIGIN = "hs_analytics_source"
LEAD_STATUS = "hs_lead_status"
PHONES = ("phone", "mobilephone")
_CLUES = (*CLICK_IDS, FIRST_URL, ORIGIN)


@frozen
class Entity:
    """One kind of record. ``name`` is what the operator writes, ``prefix`` what the keys of its records begin with.

    ``path`` is its name in addresses, ``changed`` the property that windows are cut by, ``stage`` the one whose history
    is the record's, ``standard`` the vendor's own properties that are read where the portal has them.
    """

    name: str
    kind: DealKind
    path: str
    prefix: str
    changed: str
    stage: str
    standard: tuple[str, ...]

    def key(self, number: str) -> str:
        """The key of its record with this id."""
        return f"{self.prefix}{number}"


CONTACT = Entity(
    "contact",
    DealKind.LEAD,
    "contacts",
    "lead:",
    "lastmodifieddate",  # contacts alone call it so (contract 3)
    "lifecyclestage",
    ("createdate", "lastmodifieddate", "lifecyclestage", LEAD_STATUS, "email", *PHONES, *_CLUES),
)
DEAL = Entity(
    "deal",
    DealKind.DEAL,
    "deals",
    "deal:",
    "hs_lastmodifieddate",
    "dealstage",
    (
        *("createdate", "hs_lastmodifieddate", "dealstage", "pipeline", "amount", "deal_currency_code"),
        *("hs_is_closed", "hs_is_closed_won", *_CLUES),
    ),
)
ENTITIES = (CONTACT, DEAL)


def of_key(key: str) -> Entity | None:
    """The entity a key belongs to; None for a key that is none of ours."""
    return next((entity for entity in ENTITIES if key.startswith(entity.prefix)), None)


def id_of(key: str) -> str:
    """The record's own id in a key."""
    return key.partition(":")[2]
