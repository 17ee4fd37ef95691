"""What the simulated Google counts: conversions of known clicks, repeats, restatements (contract google 2.10)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from adapters.google_ads.fake_checks import Rules
from bridge.frozen import frozen
from bridge.sim.events import Applied

_PREFIX = "PROCESSING_ERROR_REASON_"


@dataclass(slots=True)
class Booked:
    """One conversion in the books; an unlinked one is kept so that it can be seen, and may still link later."""

    action: str
    at: datetime
    value: Decimal | None
    currency: str
    identifier: str
    order_key: str
    is_linked: bool
    is_braid: bool = False
    is_retracted: bool = False
    is_lost: bool = False  # by Google itself: the reports do not show it any more


@frozen
class Upload:
    """One event for one conversion action. ``click`` is gclid, gbraid or wbraid, "" for user data alone."""

    order_key: str
    action: str
    at: datetime
    click: str
    digests: tuple[str, ...]
    value: Decimal | None
    currency: str
    consent: str
    is_braid: bool = False
    is_wbraid: bool = False

    @classmethod
    def of(cls, event: dict[str, Any], action: str, consent: dict[str, Any]) -> Upload:
        """From a checked event; its own consent wins over the request's."""
        clicks = event.get("ad_identifiers", {})
        people = event.get("user_data", {}).get("user_identifiers", ())
        own = event.get("consent", consent)
        return cls(
            order_key=event.get("transaction_id", ""),
            action=action,
            at=event["event_timestamp"],
            click=clicks.get("gclid") or clicks.get("gbraid") or clicks.get("wbraid") or "",
            digests=tuple(person.get("email_address") or person.get("phone_number") or "" for person in people),
            value=event.get("conversion_value"),
            currency=event.get("currency", ""),
            consent=own.get("ad_user_data", ""),
            is_braid="gclid" not in clicks and ("gbraid" in clicks or "wbraid" in clicks),
            is_wbraid="wbraid" in clicks and "gclid" not in clicks and "gbraid" not in clicks,
        )

    @property
    def key(self) -> tuple[str, str]:
        """What makes it one conversion: its transaction id, else click and time, within the action."""
        return (self.order_key or f"{self.click}@{self.at.isoformat()}", self.action)


class Books:
    """Known clicks and counted conversions."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._clicks: dict[str, datetime] = {}
        self._counted: dict[tuple[str, str], Booked] = {}
        self._owners: dict[tuple[str, datetime, str], tuple[str, str]] = {}

    def know(self, identifier: str, at: datetime) -> None:
        """A click by its gclid, gbraid or wbraid, or the click of a person by an encoded digest."""
        self._clicks[identifier] = at

    def applied(self) -> list[Applied]:
        return [
            Applied(
                *(item.action, item.at, item.value, (item.identifier,), item.order_key),
                reaches=0 if item.is_retracted else 1,
                is_linked=item.is_linked,
            )
            for item in self._counted.values()
        ]

    def all(self) -> Collection[Booked]:
        """Everything in the books."""
        return self._counted.values()

    def lose(self, order_id: str, action: str) -> None:
        """Google shows it no more, and nobody took it back."""
        self._counted[order_id, action].is_lost = True

    def booked(self, order_id: str, action: str) -> Booked | None:
        """A conversion that was counted, by its order (transaction) id."""
        found = self._counted.get((order_id, action))
        return found if found is not None and found.is_linked else None

    def retract(self, order_id: str, action: str) -> None:
        """Value and count to zero, for good (contract google 3.5)."""
        found = self._counted[order_id, action]
        found.is_retracted, found.value = True, Decimal(0)

    def revalue(self, order_id: str, action: str, value: Decimal | None) -> None:
        """A restatement by the Google Ads API."""
        self._counted[order_id, action].value = value

    def take(self, uploads: list[Upload], now: datetime) -> Counter[str]:
        """Count uploads; how many failed for which ProcessingErrorReason."""
        reasons = Counter(self._one(upload, now) for upload in uploads)
        del reasons[""]
        return Counter({_PREFIX + reason: count for reason, count in reasons.items()})

    def _one(self, upload: Upload, now: datetime) -> str:
        known = self._counted.get(upload.key)
        if known is not None and known.is_linked:
            return _restate(known, upload)
        identifier, reason = self._link(upload, now)
        reason = self._refusal(upload) or reason
        self._counted[upload.key] = Booked(
            upload.action,
            upload.at,
            upload.value,
            upload.currency,
            identifier,
            upload.order_key,
            not reason,
            is_braid=upload.is_wbraid,
        )
        return reason or self._twin(upload)

    def _refusal(self, upload: Upload) -> str:
        """Reasons that go before the link: consent, and braids for an action that counts once per click (2.5)."""
        if upload.consent == "CONSENT_DENIED":
            return "DENIED_CONSENT"
        if self._rules.asks_consent and upload.consent != "CONSENT_GRANTED":
            return "NO_CONSENT"
        is_once = upload.is_braid and any(
            item.id == upload.action and item.counting == "ONE_PER_CLICK" for item in self._rules.listed
        )
        return "ONE_PER_CLICK_CONVERSION_ACTION_NOT_PERMITTED_WITH_BRAID" if is_once else ""

    def _twin(self, upload: Upload) -> str:
        """The same click and time under another transaction id: refused, but booked apart for an oracle to see."""
        if not upload.click:
            return ""
        owner = self._owners.setdefault((upload.click, upload.at, upload.action), upload.key)
        return "" if owner == upload.key else "DUPLICATE_GCLID"

    def _link(self, upload: Upload, now: datetime) -> tuple[str, str]:
        """The identifier to show, and why it does not link ("" when it does)."""
        if upload.click in self._clicks:
            clicked = self._clicks[upload.click]
            return upload.click, self._window(upload.at, clicked, now, is_person=False)
        for digest in upload.digests:
            if digest in self._clicks:
                return digest, self._window(upload.at, self._clicks[digest], now, is_person=True)
        return upload.click or next(iter(upload.digests), ""), "CLICK_NOT_FOUND"

    def _window(self, at: datetime, clicked: datetime, now: datetime, *, is_person: bool) -> str:
        if at < clicked:
            return "CONVERSION_PRECEDES_CLICK"
        if now - clicked < self._rules.click_age_min:
            return "TOO_RECENT_CLICK"
        window = self._rules.window_person if is_person else self._rules.window_click
        return "EVENT_TOO_OLD" if now - clicked > window else ""


def _restate(known: Booked, upload: Upload) -> str:
    """A known conversion again: another value replaces the old one, the same content is a duplicate."""
    if known.is_retracted:
        return ""  # nothing brings a retracted conversion back
    if (known.value, known.currency) == (upload.value, upload.currency):
        return "DUPLICATE_TRANSACTION_ID"
    known.value, known.currency = upload.value, upload.currency
    return ""
