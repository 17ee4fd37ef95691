"""The simulated endpoints: lists, records by id, batches, searches, names, associations (contract hubspot 2 to 5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from adapters.hubspot import fake_query
from adapters.hubspot.fake_data import PortalData, Record
from adapters.hubspot.fake_schema import CONTACTS, SINGULAR, ApiError, invalid, stamp
from bridge.frozen import frozen

_LIST_MAX, _BATCH_MAX, _HISTORY_MAX, _LINKS_MAX, _LINKS_PAGE = 100, 100, 50, 1000, 500
_TYPE = 3  # deal to contact (contract, unverified 1)


Query = Mapping[str, Sequence[str]]


def _first(query: Query, name: str) -> str:
    return next(iter(query.get(name, ())), "")


@frozen
class Reply:
    body: Mapping[str, Any]
    status: int = 200


# --- objects -----------------------------------------------------------------------------------------------------


def listed(data: PortalData, kind: str, query: Query) -> Reply:
    """Every record by id; ``after`` is the last id of the page before."""
    history = _names(query, "propertiesWithHistory")
    most = _HISTORY_MAX if history else _LIST_MAX
    limit = int(_first(query, "limit") or 10)
    if not 0 < limit <= most:
        raise invalid(f"limit must be between 1 and {most}")
    is_archived = _first(query, "archived") == "true"
    rows = [one for one in data.records[kind].values() if (one.archived_at is not None) == is_archived]
    after = int(_first(query, "after") or 0)
    rest = sorted((one for one in rows if one.number > after), key=lambda one: one.number)
    page = [_whole(data, kind, one, query) for one in rest[:limit]]
    paging = _next(str(rest[limit - 1].number)) if len(rest) > limit else {}
    return Reply({"results": page, **paging})


def one(data: PortalData, kind: str, number: str, query: Query) -> Reply:
    """One record by its id, or by the property named in ``idProperty``."""
    by = _first(query, "idProperty")
    if by:
        found = next((one for one in data.records[kind].values() if one.values.get(by) == number), None)
    else:
        asked = data.archived if _first(query, "archived") == "true" else data.live
        found = asked(kind, int(number)) if number.isdigit() else None
    if found is None:
        raise ApiError(404, "OBJECT_NOT_FOUND", "Object not found.  objectId are usually numeric.")
    return Reply(_whole(data, kind, found, query))


def batch(data: PortalData, kind: str, body: Mapping[str, Any], query: Query, now: datetime) -> Reply:
    """Records by id: 200, or 207 when some are not there. A merged record's id brings the one that it became."""
    history = body.get("propertiesWithHistory") or []
    most = _HISTORY_MAX if history else _BATCH_MAX
    ids = [str(item.get("id", "")) for item in body.get("inputs") or []]
    if len(ids) > most:
        raise invalid(f"The maximum number of inputs supported in a batch request for this endpoint is {most}")
    asked = data.archived if _first(query, "archived") == "true" else data.live
    found = {number: asked(kind, int(number)) if number.isdigit() else None for number in ids}
    unique = {one.number: one for one in found.values() if one is not None}
    names = body.get("properties") or []
    results = [{**data.shown(one, names, kind), **_history(data, kind, one, history)} for one in unique.values()]
    missing = [number for number, one in found.items() if one is None]
    return _partial(results, [_not_found(kind, missing)] if missing else [], now)


def search(data: PortalData, kind: str, body: Mapping[str, Any], now: datetime) -> Reply:
    """A page of a search over what the index knows by now."""
    found = fake_query.run(data.indexed(kind, now), body, data.properties[kind])
    names = body.get("properties") or []
    rows = [Record(row.number, now, dict(row.values)) for row in found.rows]
    results = [data.shown(one, names, kind) for one in rows]
    return Reply({"total": found.total, "results": results, **(_next(str(found.after)) if found.after else {})})


def _whole(data: PortalData, kind: str, record: Record, query: Query) -> dict[str, Any]:
    shown = data.shown(record, _names(query, "properties"), kind)
    found = {**shown, **_history(data, kind, record, _names(query, "propertiesWithHistory"))}
    if CONTACTS in _names(query, "associations"):
        linked = data.links.get(record.number, {})
        results = [{"id": str(contact), "type": "deal_to_contact"} for contact in sorted(linked)]
        found |= {"associations": {CONTACTS: {"results": results}}} if results else {}
    return found


def _names(query: Query, name: str) -> list[str]:
    """A comma list, or the parameter repeated."""
    return [text for value in query.get(name, ()) for text in value.split(",") if text]


def _history(data: PortalData, kind: str, record: Record, names: Iterable[str]) -> dict[str, Any]:
    """Newest first."""
    wanted = [name for name in names if name in data.properties[kind]]
    told = {name: [one.shown() for one in reversed(record.history.get(name, []))] for name in wanted}
    return {"propertiesWithHistory": told} if wanted else {}


def _next(after: str) -> dict[str, Any]:
    return {"paging": {"next": {"after": after, "link": f"?after={after}"}}}


def _partial(results: Sequence[Any], errors: Sequence[Any], now: datetime) -> Reply:
    at = stamp(now)
    body = {"status": "COMPLETE", "results": results, "requestedAt": at, "startedAt": at, "completedAt": at}
    return Reply({**body, "numErrors": len(errors), "errors": errors}, 207) if errors else Reply(body)


def _not_found(kind: str, ids: Sequence[str]) -> dict[str, Any]:
    name = SINGULAR[kind].upper()
    text = f"Could not get some {name} objects, they may be deleted or not exist. Check that ids are valid."
    known = {"status": "error", "category": "OBJECT_NOT_FOUND", "message": text}
    return {**known, "context": {"ids": list(ids)}, "errors": [], "links": {}}


# --- names -------------------------------------------------------------------------------------------------------


def properties(data: PortalData, kind: str, name: str | None) -> Reply:
    """All properties of a kind, or one."""
    known = data.properties[kind]
    if name is None:
        return Reply({"results": [one.shown() for one in known.values()]})
    if name not in known:
        raise ApiError(404, "OBJECT_NOT_FOUND", f"Property {name} does not exist")
    return Reply(known[name].shown())


def pipelines(data: PortalData, kind: str, number: str | None) -> Reply:
    """All pipelines of deals, or one."""
    if kind == CONTACTS:
        raise invalid("contacts have no pipelines here")
    shown = [one.shown(place) for place, one in enumerate(data.pipelines)]
    if number is None:
        return Reply({"results": shown})
    found = next((one for one in shown if one["id"] == number), None)
    if found is None:
        raise ApiError(404, "OBJECT_NOT_FOUND", f"Pipeline {number} does not exist")
    return Reply(found)


# --- associations ------------------------------------------------------------------------------------------------


def links(data: PortalData, deal: str, query: Query) -> Reply:
    """The contacts of one deal, page by page."""
    limit, after = int(_first(query, "limit") or _LINKS_PAGE), int(_first(query, "after") or 0)
    if not 0 < limit <= _LINKS_PAGE:
        raise invalid(f"limit must be between 1 and {_LINKS_PAGE}")
    if not deal.isdigit() or data.live("deals", int(deal)) is None:
        raise ApiError(404, "OBJECT_NOT_FOUND", "deal not found")
    found = sorted(data.links.get(int(deal), {}).items())
    rest = [(contact, label) for contact, label in found if contact > after]
    paging = _next(str(rest[limit - 1][0])) if len(rest) > limit else {}
    return Reply({"results": [_link(*one) for one in rest[:limit]], **paging})


def batch_links(data: PortalData, body: Mapping[str, Any], page: int, now: datetime) -> Reply:
    """The contacts of many deals: 200, or 207 when some have none."""
    ids = [str(item.get("id", "")) for item in body.get("inputs") or []]
    if len(ids) > _LINKS_MAX:
        raise invalid(f"The maximum number of inputs supported in a batch request for this endpoint is {_LINKS_MAX}")
    results = []
    for number in ids:
        found = sorted(data.links.get(int(number), {}).items()) if number.isdigit() else []
        if found:
            more = _next(str(found[page - 1][0])) if len(found) > page else {}
            results.append({"from": {"id": number}, "to": [_link(*one) for one in found[:page]], **more})
    told = {item["from"]["id"] for item in results}
    return _partial(results, [_no_links(number) for number in ids if number not in told], now)


def _link(contact: int, label: str | None) -> dict[str, Any]:
    """``toObjectId`` is a number, unlike the ids of objects (contract 5)."""
    kinds = [{"category": "HUBSPOT_DEFINED", "typeId": _TYPE, "label": None}]
    kinds += [{"category": "USER_DEFINED", "typeId": 77, "label": label}] if label else []
    return {"toObjectId": contact, "associationTypes": kinds}


def _no_links(number: str) -> dict[str, Any]:
    known = {"status": "error", "category": "OBJECT_NOT_FOUND", "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND"}
    context = {"fromObjectId": [number], "fromObjectType": ["deal"], "toObjectType": ["contact"]}
    return {**known, "message": f"No contact is associated with deal {number}.", "context": context, "links": {}}
