"""Changes of leads through the simulated account's API (contract amocrm 9.1): arrays of objects, whole or not at all.

What became of valid items beside a refused one is not verified (contract amocrm 9.1); here nothing is saved then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from adapters.amocrm import fake_store as content
from adapters.amocrm.fake_http import as_json, problem
from adapters.amocrm.fake_store import Store
from bridge.tools import Clock

_MOST = 250
_FIELDS = {item[0]: item for item in content.LEAD_FIELDS}
_CODES = {item[2]: item[0] for item in content.LEAD_FIELDS if item[2]}
_TEXTS = ("text", "textarea", "url", "tracking_data", "numeric")


class WriteDesk:
    """Takes ``PATCH /api/v4/leads``. ``may_edit`` False: the token's user has no right to (403 in JSON)."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.may_edit = True
        self.refused: set[int] = set()  # leads that take no change: a required field of theirs is empty
        self.written = 0  # leads changed through the API

    async def patch(self, request: web.Request) -> web.Response:
        """Change leads and show only their ids and times; fields are never echoed."""
        if not self.may_edit:
            return problem(403, "Forbidden", "Нет прав")
        try:
            items = msgspec.json.decode(await request.read())
        except msgspec.DecodeError:
            return problem(400, "Bad Request", "Invalid JSON")
        if not isinstance(items, list) or not items or len(items) > _MOST:
            return problem(400, "Bad Request", "The body is no list of 1 to 250 items")
        errors = [
            {"request_id": str(item.get("request_id", number)), "errors": found}
            for number, item in enumerate(items)
            if (found := self._errors(item))
        ]
        if errors:
            title = {"title": "Bad Request", "type": "https://httpstatus.es/400", "status": 400}
            return as_json(msgspec.json.encode({"validation-errors": errors, **title, "detail": ""}), 400)
        at = int(self._clock.now().timestamp())
        rows = [self._change(item, at, str(item.get("request_id", number))) for number, item in enumerate(items)]
        return as_json(msgspec.json.encode({"_links": {"self": {"href": ""}}, "_embedded": {"leads": rows}}))

    def _errors(self, item: Mapping[str, Any]) -> list[dict[str, str]]:
        def error(code: str, path: str) -> list[dict[str, str]]:
            return [{"code": code, "path": path, "detail": ""}]

        lead = self._store.leads.get(item.get("id", 0))
        if lead is None or lead.is_deleted:
            return error("NotFound", "id")
        if lead.id in self.refused:
            return error("NotBlank", "custom_fields_values.0")
        if not isinstance(item.get("price", 0), int):
            return error("InvalidType", "price")
        for number, entry in enumerate(item.get("custom_fields_values") or ()):
            field = _FIELDS.get(entry.get("field_id") or _CODES.get(entry.get("field_code"), 0))
            values = entry.get("values")
            if field is None:
                return error("NotSupportedChoice", f"custom_fields_values.{number}.field_id")
            if values is not None and not (values and all("value" in value for value in values)):
                return error("InvalidType", f"custom_fields_values.{number}.values")
            if field[3] in _TEXTS and not all(isinstance(value["value"], str) for value in values or ()):
                return error("InvalidType", f"custom_fields_values.{number}.values.0.value")
        return []

    def _change(self, item: Mapping[str, Any], at: int, label: str) -> dict[str, Any]:
        lead = self._store.leads[item["id"]]
        if item.get("custom_fields_values") is not None:
            lead.custom = _with_fields(lead.custom, item["custom_fields_values"])
        lead.tags = _with_tags(lead.tags, item)
        if "price" in item:
            lead.price = item["price"]
        self.written += 1
        self._store.edited(lead, at)
        return {"id": lead.id, "updated_at": at, "request_id": label, "_links": {"self": {"href": ""}}}


def _with_fields(custom: bytes, entries: list[dict[str, Any]]) -> bytes:
    """A field that is sent replaces its whole set of values, ``null`` empties it; the others stay."""
    fields: dict[int, Any] = {item["field_id"]: item for item in msgspec.json.decode(custom) or ()}
    for entry in entries:
        own_id, name, code, kind = _FIELDS[entry.get("field_id") or _CODES[entry["field_code"]]]
        fields.pop(own_id, None)
        if entry.get("values"):
            values = [{"value": value["value"]} for value in entry["values"]]
            fields[own_id] = {"field_id": own_id, "field_name": name, "field_code": code, "field_type": kind}
            fields[own_id]["values"] = values
    return msgspec.json.encode(list(fields.values()) or None)


def _with_tags(tags: bytes, item: Mapping[str, Any]) -> bytes:
    """``_embedded.tags`` replaces all of them, ``null`` clears; ``tags_to_add`` and ``tags_to_delete`` are single."""
    names: list[str] = [tag["name"] for tag in msgspec.json.decode(tags)]
    before = list(names)
    if "tags" in item.get("_embedded", {}):
        names = [tag["name"] for tag in item["_embedded"]["tags"] or ()]
    gone = {tag.get("name") for tag in item.get("tags_to_delete") or ()}
    names = [name for name in names if name not in gone]
    names += [tag["name"] for tag in item.get("tags_to_add") or () if tag["name"] not in names]
    if names == before:
        return tags
    return msgspec.json.encode([{"id": 100_601 + len(name), "name": name, "color": None} for name in names])
