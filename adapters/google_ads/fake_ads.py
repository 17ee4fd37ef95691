"""What is simulated of the Google Ads API: ``googleAds:search`` over conversion actions (contract google 4.3)."""

from __future__ import annotations

import re
from typing import Any

from adapters.google_ads.ads_api import SCOPE
from bridge.frozen import frozen

PATH = "/v26/customers/{customer}/googleAds:search"
_QUERY = re.compile(r"SELECT ([a-z_0-9., ]+) FROM (conversion_action|customer)")
_ACTION_FIELDS = frozenset(
    f"conversion_action.{name}"
    for name in (
        *("id", "name", "type", "category", "status", "counting_type", "owner_customer", "primary_for_goal"),
        *("click_through_lookback_window_days", "value_settings.always_use_default_value", "resource_name"),
        *("value_settings.default_value", "attribution_model_settings.attribution_model"),
    )
)
_SETTING = "customer.conversion_tracking_setting"
_CUSTOMER_FIELDS = frozenset(
    (
        *("customer.id", "customer.descriptive_name", "customer.currency_code", "customer.time_zone"),
        *("customer.auto_tagging_enabled", "customer.manager", "customer.test_account"),
        *(f"{_SETTING}.{name}" for name in ("google_ads_conversion_customer", "conversion_tracking_status")),
        *(f"{_SETTING}.{name}" for name in ("accepted_customer_data_terms", "enablement_setting")),
        f"{_SETTING}.effective_enablement_setting",
    )
)
_PROBLEM = "type.googleapis.com/google.ads.googleads.v26.errors.GoogleAdsFailure"


@frozen
class FakeAction:
    """A conversion action of the simulated account; ``owner`` "": the account itself."""

    id: str
    name: str
    type: str = "UPLOAD_CLICKS"
    category: str = "DEFAULT"
    status: str = "ENABLED"
    counting: str = "MANY_PER_CLICK"
    owner: str = ""
    is_primary: bool = True
    window_days: int = 90
    has_default_value: bool = False
    attribution: str = "GOOGLE_SEARCH_ATTRIBUTION_DATA_DRIVEN"
    share: float = 1.0  # of each conversion, what attribution gives to clicks of this account

    def fields(self, customer: str) -> dict[str, Any]:
        """As the API tells them: int64 is text."""
        return {
            **{"id": self.id, "name": self.name, "type": self.type, "category": self.category},
            **{"status": self.status, "counting_type": self.counting, "primary_for_goal": self.is_primary},
            "owner_customer": f"customers/{self.owner or customer}",
            "click_through_lookback_window_days": str(self.window_days),
            "value_settings.always_use_default_value": self.has_default_value,
            "attribution_model_settings.attribution_model": self.attribution,
        }


ACTIONS = (
    FakeAction("7012345678", "CRM: квалифицированный лид", category="QUALIFIED_LEAD"),
    FakeAction("7012345679", "CRM: сделка", category="CONVERTED_LEAD"),
    FakeAction("7012345680", "Форма на сайте", type="WEBPAGE", category="SUBMIT_LEAD_FORM"),
    FakeAction("7012345681", "Старый импорт", status="REMOVED"),
)


@frozen
class FakeCustomer:
    """The simulated account; ``owner`` "": it owns its conversion actions itself."""

    has_tagging: bool = True
    has_terms: bool = True
    enablement: str = "ON"
    owner: str = ""
    is_manager: bool = False
    zone: str = "Europe/Moscow"

    def fields(self, customer: str) -> dict[str, Any]:
        return {
            "time_zone": self.zone,
            "auto_tagging_enabled": self.has_tagging,
            "manager": self.is_manager,
            "conversion_tracking_setting.google_ads_conversion_customer": f"customers/{self.owner or customer}",
            "conversion_tracking_setting.accepted_customer_data_terms": self.has_terms,
            "conversion_tracking_setting.effective_enablement_setting": self.enablement,
        }


_CUSTOMER = FakeCustomer()


def search(
    actions: tuple[FakeAction, ...], query: str, customer: str = "1234567890", account: FakeCustomer = _CUSTOMER
) -> dict[str, Any] | None:
    """The answer to a query, None when it cannot be parsed. What is unset is left out."""
    match = _QUERY.fullmatch(query.strip())
    if match is None:
        return None
    names, table = [name.strip() for name in match[1].split(",")], match[2]
    if not set(names) <= (_ACTION_FIELDS if table == "conversion_action" else _CUSTOMER_FIELDS):
        return None
    things = actions if table == "conversion_action" else (account,)
    keys = [name.partition(".")[2] for name in names]
    rows = [{camel(table): _nested(thing.fields(customer), keys)} for thing in things]
    return {"results": rows, "fieldMask": ",".join(names)} if rows else {"fieldMask": ",".join(names)}


def _nested(fields: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    """Dotted names as objects in objects."""
    found: dict[str, Any] = {}
    for key in keys:
        if key in fields:
            place, (*outer, last) = found, key.split(".")
            for name in outer:
                place = place.setdefault(camel(name), {})
            place[camel(last)] = fields[key]
    return found


def camel(name: str) -> str:
    """A field's name as JSON has it."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def failure(kind: str, code: str) -> dict[str, Any]:
    """The detail of an error of this API: ``authorizationError.USER_PERMISSION_DENIED``."""
    return failure_detail([{"errorCode": {kind: code}, "message": "refused"}])


def failure_detail(errors: list[dict[str, Any]]) -> dict[str, Any]:
    """Several of them in one detail, as partial failures come."""
    return {"@type": _PROBLEM, "errors": errors, "requestId": "Zk3VtQxS0pO1n2m3l4k5jw"}


__all__ = ["ACTIONS", "PATH", "SCOPE", "FakeAction", "FakeCustomer", "camel", "failure", "failure_detail", "search"]
