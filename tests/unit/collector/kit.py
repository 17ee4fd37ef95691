"""Posts as the snippet sends them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from bridge.collector.post import Border, Form, read
from bridge.collector.settings import CollectorSettings
from bridge.model import Contact
from tests.support import START

KEY = "bl4q8z1m7w2x5r9c3n6v0b8d2f"
YCLID, CLIENT = "17751101234567890123", "1772000000123456789"
GCLID = "EAIaIQobChMI4fX2-aBcDeFgHiJkLmNoPq"
LANDING = f"https://okna.example/balkony?utm_source=yandex&utm_medium=cpc&yclid={YCLID}"
SITE = "https://okna.example"


def settings(**changes: Any) -> CollectorSettings:
    return CollectorSettings.model_validate({"sites": ["okna.example"], **changes})


def body(**changes: Any) -> dict[str, Any]:
    """A whole post; keyword arguments replace parts of it, None takes them away."""
    whole = {
        "v": 1,
        "k": KEY,
        "c": {"client_id": CLIENT},
        "l": {"l": LANDING, "r": "https://yandex.ru/search/?text=1", "a": 60.5},
        "f": {"l": LANDING, "r": "https://yandex.ru/search/?text=1", "a": 60.5},
        "n": 2,
        "p": ["/zayavka", "/balkony"],
        "s": 42.7,
        "h": 0,
        "i": "order",
        "x": {"p": [], "e": []},
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def sealed(contact: Contact) -> tuple[str, ...]:
    """Stands for the tenant's digests: how many texts there were, nothing of them."""
    return tuple([f"digest {number}" for number in range(len(contact.phones) + len(contact.emails))])


def taken(told: Any, **changes: Any) -> tuple[Form, list[str]]:
    data = told if isinstance(told, bytes) else json.dumps(told).encode()
    return read(data, Border(settings(**changes), START, sealed))


AGO = timedelta(seconds=60.5)
