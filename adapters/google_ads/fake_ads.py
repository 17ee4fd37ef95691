"""What is simulated of the Google Ads API: ``googleAds:search`` over conversion actions (contract google 4.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from adapters.google_ads.ads_api import SCOPE

PATH = "/v26/customers/{customer}/googleAds:search"
_QUERY = re.compile(r"SELECT ([a-z_., ]+) FROM conversion_action(?: WHERE (.+))?")
_FIELDS = {"conversion_action.id", "conversion_action.name", "conversion_action.type", "conversion_action.category"}
_CONDITION = re.compile(r"conversion_action\.(type|status) = '([A-Z_]+)'")
_PROBLEM = "type.googleapis.com/google.ads.googleads.v26.errors.GoogleAdsFailure"


@dataclass(frozen=True, slots=True)
class FakeAction:
    """A conversion action of the simulated account."""

    id: str
    name: str
    type: str = "UPLOAD_CLICKS"
    category: str = "DEFAULT"
    status: str = "ENABLED"


ACTIONS = (
    FakeAction("7012345678", "CRM: квалифицированный лид", category="QUALIFIED_LEAD"),
    FakeAction("7012345679", "CRM: сделка", category="CONVERTED_LEAD"),
    FakeAction("7012345680", "Форма на сайте", type="WEBPAGE", category="SUBMIT_LEAD_FORM"),
    FakeAction("7012345681", "Старый импорт", status="REMOVED"),
)


def search(actions: tuple[FakeAction, ...], query: str) -> dict[str, Any] | None:
    """The answer to a query, None when it cannot be parsed: unset fields are left out, int64 is text."""
    match = _QUERY.fullmatch(query.strip())
    if match is None:
        return None
    names = [name.strip() for name in match[1].split(",")]
    if not set(names) <= _FIELDS | {"conversion_action.status"}:
        return None
    wanted = dict(_CONDITION.findall(match[2] or ""))
    chosen = [item for item in actions if all(getattr(item, name) == value for name, value in wanted.items())]
    keys = [name.partition(".")[2] for name in names]
    rows = [{"conversionAction": {key: getattr(item, key) for key in keys}} for item in chosen]
    return {"results": rows, "fieldMask": ",".join(names)} if rows else {"fieldMask": ",".join(names)}


def failure(kind: str, code: str) -> dict[str, Any]:
    """The detail of an error of this API: ``authorizationError.USER_PERMISSION_DENIED``."""
    return {"@type": _PROBLEM, "errors": [{"errorCode": {kind: code}, "message": "refused"}]}


__all__ = ["ACTIONS", "PATH", "SCOPE", "FakeAction", "failure", "search"]
