"""What these tests share: rows, settings, batches, and a client standing before the simulator."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.google_ads import SPEC
from adapters.google_ads import destination as client
from adapters.google_ads.fake import GoogleAds
from adapters.google_ads.settings import GoogleAdsSettings
from bridge.model import Identifier, IdKind, Money, Outgoing, Person
from bridge.ports import Answer, Sealed
from bridge.tools import Clock, Response
from tests.support import START, adapter_tools

SAMPLES = Path(__file__).parents[3] / "adapters" / "google_ads" / "samples"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ACTION, OTHER = "7012345678", "7012345679"
LABEL = "0123456789abcdef0123456789abcdef"
GCLID = "Cj0KCQiA_Example-gclid_EALw_wcB"
EMAIL, PHONE = "e" * 64, "f" * 64  # digests, as far as the wire can tell
PERSON = Person(email_sha256=(EMAIL,), phone_sha256=(PHONE,))
AGO = (START - DAY).isoformat().replace("+00:00", "Z")
GRANTED = {"ad_user_data": "granted", "ad_personalization": "granted"}


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.json").read_bytes()


def settings(**changes: Any) -> GoogleAdsSettings:
    given = {"kind": "google_ads", "customer_id": "1234567890", "credentials": {"env": "X"}}
    return GoogleAdsSettings.model_validate({**given, **changes})


def row(number: int = 1, **changes: Any) -> Outgoing:
    """A delivery of a deal created two days before START and qualified one day before it."""
    given: dict[str, Any] = {
        "delivery": f"{number:032x}",
        "order_key": f"{number + 100_000:032x}",
        "target": ACTION,
        "goal": "qualified",
        "occurred_at": START - DAY,
        "deal_created_at": START - 2 * DAY,
        "value": Money.of("1500.50", "RUB"),
        "identifiers": (Identifier(IdKind.GCLID, GCLID),),
        "touched_at": START - 2 * DAY,
    }
    return Outgoing(**{**given, **changes})


def click(kind: IdKind, value: str) -> tuple[Identifier, ...]:
    return (Identifier(kind, value),)


def fates(answer: Answer) -> list[tuple[str, str]]:
    return [(outcome.fate.value, outcome.code) for outcome in answer.outcomes]


def response(status: int, body: bytes | dict[str, Any] = b"", **headers: str) -> Response:
    return Response(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def violation(field_: str, reason: str = "") -> dict[str, str]:
    return {"field": field_, "description": "words", **({"reason": reason} if reason else {})}


def bad_request(*violations: dict[str, str]) -> dict[str, Any]:
    """An error body in the form of contract google 2.7."""
    details = [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "INVALID_ARGUMENT"},
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": list(violations)},
    ]
    return {"error": {"code": 400, "message": "words", "status": "INVALID_ARGUMENT", "details": details}}


def request(**event: Any) -> dict[str, Any]:
    """A valid request of one event, changed; None takes a field out."""
    base = {
        "transactionId": "lead-1-qualified",
        "eventTimestamp": AGO,
        "eventSource": "WEB",
        "currency": "RUB",
        "conversionValue": 250.5,
        "adIdentifiers": {"gclid": GCLID},
    }
    changed = {key: value for key, value in {**base, **event}.items() if value is not None}
    account = {"accountType": "GOOGLE_ADS", "accountId": "1234567890"}
    destination = {"reference": "sale", "operatingAccount": account, "productDestinationId": ACTION}
    return {"destinations": [destination], "events": [changed]}


def with_(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**document, **changes}


@dataclass(slots=True)
class Bench:
    """A client before its simulator. ``remake`` gives another client of the same configuration (a restart)."""

    fake: GoogleAds
    port: client.GoogleAds
    remake: Any = field(repr=False)

    def sealed(self, rows: Sequence[Outgoing]) -> Sealed:
        return Sealed(LABEL, self.port.render(rows, LABEL), tuple(item.delivery for item in rows))

    async def send(self, *rows: Outgoing) -> Answer:
        return await self.port.send(self.sealed(rows))

    def know(self, *rows: Outgoing, at: datetime = START - 3 * DAY) -> None:
        """The clicks of these rows happened."""
        for item in rows:
            for identifier in item.identifiers:
                self.fake.know_id(identifier.value, at)


@asynccontextmanager
async def bench(
    fake: GoogleAds, clock: Clock, folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> AsyncIterator[Bench]:
    """The real client over real sockets, configured as the simulator says (with ``changes``)."""
    await fake.start()
    assert SPEC.destination is not None
    try:
        for name, secret in fake.secrets().items():
            monkeypatch.setenv(name, secret)
        given = GoogleAdsSettings.model_validate({**fake.settings(), **changes})
        async with adapter_tools(clock, folder) as tools:
            yield Bench(fake, client.build("google", given, tools), lambda: client.build("google", given, tools))
    finally:
        await fake.stop()
