"""Google's own messages of the Ads API: what we send, parsed strictly."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from google.protobuf import json_format  # type: ignore[import-untyped]  # ships no types

_SERVICES = "google.ads.googleads.v26.services.types"
_RESOURCES = "google.ads.googleads.v26.resources.types"


@cache
def message(place: str, name: str) -> Any:
    """A message class by its module and name. By name, because the package is large and has no types."""
    return getattr(import_module(place), name).pb()


def parse_adjustments(body: bytes) -> Any:
    """An UploadConversionAdjustmentsRequest.

    Raises:
        json_format.ParseError: the official parser refuses it.
    """
    made = message(f"{_SERVICES}.conversion_adjustment_upload_service", "UploadConversionAdjustmentsRequest")()
    return json_format.Parse(body, made)


def parse_answer(body: bytes) -> Any:
    """An UploadConversionAdjustmentsResponse, its errors with it."""
    import_module("google.ads.googleads.v26.errors.types.errors")  # so that ``@type`` of the details resolves
    made = message(f"{_SERVICES}.conversion_adjustment_upload_service", "UploadConversionAdjustmentsResponse")()
    return json_format.Parse(body, made)


def parse_resource(module: str, name: str, document: dict[str, Any]) -> Any:
    """A resource of a report, such as a ConversionAction."""
    return json_format.ParseDict(document, message(f"{_RESOURCES}.{module}", name)())


def parse_report(document: dict[str, Any]) -> Any:
    """A SearchGoogleAdsResponse."""
    return json_format.ParseDict(document, message(f"{_SERVICES}.google_ads_service", "SearchGoogleAdsResponse")())


def has_field(name: str) -> bool:
    """Whether a row of a report has a field such as ``metrics.clicks``."""
    at = message(f"{_SERVICES}.google_ads_service", "GoogleAdsRow").DESCRIPTOR
    for part in name.split("."):
        if at is None or part not in at.fields_by_name:
            return False
        at = at.fields_by_name[part].message_type
    return True


def error_names(module: str, name: str) -> set[str]:
    """Every value of an error enum."""
    place = import_module(f"google.ads.googleads.v26.errors.types.{module}")
    return {value.name for value in getattr(getattr(place, f"{name}Enum"), name)}
