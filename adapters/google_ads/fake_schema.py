"""The shape of an IngestEventsRequest, strictly: what Google's JSON front end takes and refuses (contract google 9).

Used where the official messages are not installed, and to read bodies quickly; the tests hold both side by side.
Both spellings of a name are taken, unknown names and wrong types refused. The result has snake_case names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from bridge.frozen import frozen

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_INTEGER = re.compile(r"-?\d+")
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
_BODY = msgspec.json.Decoder(float_hook=Decimal)

Read = Callable[[Any, str], Any]
Message = dict[str, "Field"]


class SchemaError(Exception):
    """The front end refuses the body. ``path`` is of the generic form ``events[0].ad_identifiers``."""

    def __init__(self, path: str, description: str) -> None:
        super().__init__(f"{path}: {description}")
        self.path = path
        self.description = description


@frozen
class Field:
    """One field of a message: its proto name, how to read a value, and the oneof it belongs to."""

    name: str
    read: Read
    oneof: str = ""


def parse(body: bytes) -> dict[str, Any]:
    """The request as nested dictionaries, snake_case, times parsed, enums by name, decimals exact.

    Raises:
        SchemaError: no JSON, an unknown name, a value of the wrong type, or two members of a oneof.
    """
    try:
        raw = _BODY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise SchemaError("", "the payload is no JSON") from None
    parsed: dict[str, Any] = _REQUEST(raw, "")
    return parsed


def parse_adjustments(body: bytes) -> dict[str, Any]:
    """The same for an UploadConversionAdjustmentsRequest of the Google Ads API.

    Raises:
        SchemaError: as ``parse`` does.
    """
    try:
        raw = _BODY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise SchemaError("", "the payload is no JSON") from None
    parsed: dict[str, Any] = _ADJUSTMENTS(raw, "")
    return parsed


def _message(**fields: Read | tuple[str, Read]) -> Read:
    table: Message = {}
    for name, read in fields.items():
        field = Field(name, read[1], read[0]) if isinstance(read, tuple) else Field(name, read)
        table[name] = table[_camel(name)] = field

    def parse_message(value: Any, path: str) -> dict[str, Any]:
        return _fields(table, value, path)

    return parse_message


def _fields(table: Message, value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SchemaError(path, "an object is expected")
    found: dict[str, Any] = {}
    oneofs: set[str] = set()
    for key, item in value.items():
        field = table.get(key)
        if field is None:
            raise SchemaError(path, f"unknown name {key!r}: cannot find field")
        if field.name in found or (field.oneof and item is not None and field.oneof in oneofs):
            raise SchemaError(path, f"{field.name} is set twice, or beside another member of its oneof")
        if item is not None:
            oneofs.add(field.oneof)
            found[field.name] = field.read(item, f"{path}.{field.name}" if path else field.name)
    return found


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _many(read: Read) -> Read:
    def parse_list(value: Any, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise SchemaError(path, "a list is expected")
        return [read(item, f"{path}[{index}]") for index, item in enumerate(value)]

    return parse_list


def _enum(*names: str) -> Read:
    known = frozenset(names)

    def parse_enum(value: Any, path: str) -> str:
        if isinstance(value, str) and (value in known or _INTEGER.fullmatch(value)):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        raise SchemaError(path, "unknown enum value")

    return parse_enum


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise SchemaError(path, "a string is expected")
    return value


def _flag(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise SchemaError(path, "true or false is expected")
    return value


def _double(value: Any, path: str) -> Decimal:
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    if is_number or value in _NOT_FINITE:
        return Decimal(value)
    try:
        return Decimal(_text(value, path))
    except InvalidOperation:
        raise SchemaError(path, "a number is expected") from None


def _integer(value: Any, path: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise SchemaError(path, "an integer is expected")


def _time(value: Any, path: str) -> datetime:
    text = _text(value, path)
    try:
        if _TIME.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    raise SchemaError(path, "an RFC 3339 time with zone is expected")


_CONSENT_STATUS = _enum("CONSENT_STATUS_UNSPECIFIED", "CONSENT_GRANTED", "CONSENT_DENIED")
_CONSENT = _message(ad_user_data=_CONSENT_STATUS, ad_personalization=_CONSENT_STATUS)
_ACCOUNT = _message(
    product=_enum(
        "PRODUCT_UNSPECIFIED", "GOOGLE_ADS", "DISPLAY_VIDEO_PARTNER", "DISPLAY_VIDEO_ADVERTISER", "DATA_PARTNER"
    ),
    account_id=_text,
    account_type=_enum(
        "ACCOUNT_TYPE_UNSPECIFIED",
        "GOOGLE_ADS",
        "DISPLAY_VIDEO_PARTNER",
        "DISPLAY_VIDEO_ADVERTISER",
        "DATA_PARTNER",
        "GOOGLE_ANALYTICS_PROPERTY",
        "GOOGLE_AD_MANAGER_AUDIENCE_LINK",
        "FLOODLIGHT_CONFIG",
        "GOOGLE_AD_MANAGER",
    ),
)
_DESTINATION = _message(
    reference=_text,
    login_account=_ACCOUNT,
    linked_account=_ACCOUNT,
    operating_account=_ACCOUNT,
    product_destination_id=_text,
)
_DEVICE = _message(
    **dict.fromkeys(("user_agent", "ip_address", "category", "language_code", "operating_system"), _text),
    **dict.fromkeys(("operating_system_version", "model", "brand", "browser", "browser_version"), _text),
    screen_height=_integer,
    screen_width=_integer,
)
_ENCRYPTED_ID = _message(
    encrypted_id=_text,
    entity_type=_enum(
        "ENCRYPTION_ENTITY_TYPE_UNSPECIFIED",
        "CAMPAIGN_MANAGER_ACCOUNT",
        "CAMPAIGN_MANAGER_ADVERTISER",
        "DISPLAY_VIDEO_PARTNER",
        "DISPLAY_VIDEO_ADVERTISER",
        "GOOGLE_ADS_CUSTOMER",
        "GOOGLE_AD_MANAGER_NETWORK_CODE",
    ),
    entity_id=_integer,
    source=_enum("ENCRYPTION_SOURCE_UNSPECIFIED", "AD_SERVING", "DATA_TRANSFER"),
)
_AD_IDENTIFIERS = _message(
    **dict.fromkeys(("session_attributes", "gclid", "gbraid", "wbraid", "mobile_device_id", "dclid"), _text),
    **dict.fromkeys(("impression_id", "match_id", "ppid", "visitor_ppid"), _text),
    landing_page_device_info=_DEVICE,
    encrypted_user_ids=_many(_ENCRYPTED_ID),
)
_ADDRESS = _message(
    **dict.fromkeys(("given_name", "family_name", "region_code", "postal_code", "address_line", "city"), _text),
    administrative_area=_text,
)
_USER_IDENTIFIER = _message(
    email_address=("identifier", _text), phone_number=("identifier", _text), address=("identifier", _ADDRESS)
)
_USER_DATA = _message(user_identifiers=_many(_USER_IDENTIFIER))
_CUSTOM_VARIABLE = _message(variable=_text, value=_text, destination_references=_many(_text))
_PARAMETER = _message(parameter_name=_text, value=_text)
_ITEM = _message(
    **dict.fromkeys(("merchant_product_id", "item_id", "merchant_id", "merchant_feed_label"), _text),
    merchant_feed_language_code=_text,
    quantity=_integer,
    unit_price=_double,
    conversion_value=_double,
    additional_item_parameters=_many(_PARAMETER),
    custom_variables=_many(_CUSTOM_VARIABLE),
)
_CART = _message(
    **dict.fromkeys(("merchant_id", "merchant_feed_label", "merchant_feed_language_code"), _text),
    transaction_discount=_double,
    items=_many(_ITEM),
    coupon_codes=_many(_text),
)
_USER_PROPERTIES = _message(
    customer_type=_enum("CUSTOMER_TYPE_UNSPECIFIED", "NEW", "RETURNING", "REENGAGED"),
    customer_value_bucket=_enum("CUSTOMER_VALUE_BUCKET_UNSPECIFIED", "LOW", "MEDIUM", "HIGH"),
    additional_user_properties=_many(_message(property_name=_text, value=_text)),
)
_LOCATION = _message(
    **dict.fromkeys(("store_id", "city", "subdivision_code", "region_code", "subcontinent_code"), _text),
    continent_code=_text,
)
_EVENT = _message(
    **dict.fromkeys(("transaction_id", "currency", "event_name", "client_id", "user_id", "app_instance_id"), _text),
    destination_references=_many(_text),
    event_timestamp=_time,
    last_updated_timestamp=_time,
    user_data=_USER_DATA,
    third_party_user_data=_USER_DATA,
    consent=_CONSENT,
    ad_identifiers=_AD_IDENTIFIERS,
    conversion_value=_double,
    conversion_count=_double,
    event_source=_enum("EVENT_SOURCE_UNSPECIFIED", "WEB", "APP", "IN_STORE", "PHONE", "OTHER", "MESSAGE"),
    event_device_info=_DEVICE,
    cart_data=_CART,
    custom_variables=_many(_CUSTOM_VARIABLE),
    experimental_fields=_many(_message(field=_text, value=_text)),
    user_properties=_USER_PROPERTIES,
    additional_event_parameters=_many(_PARAMETER),
    event_location=_LOCATION,
)
_KEY_TYPE = _enum("KEY_TYPE_UNSPECIFIED", "XCHACHA20_POLY1305")
_ENCRYPTION = _message(
    gcp_wrapped_key_info=(
        "wrapped_key",
        _message(key_type=_KEY_TYPE, wip_provider=_text, kek_uri=_text, encrypted_dek=_text),
    ),
    aws_wrapped_key_info=(
        "wrapped_key",
        _message(key_type=_KEY_TYPE, role_arn=_text, kek_uri=_text, encrypted_dek=_text),
    ),
    coordinator_key_info=("wrapped_key", _message(key_id=_text)),
)
_REQUEST = _message(
    destinations=_many(_DESTINATION),
    events=_many(_EVENT),
    consent=_CONSENT,
    validate_only=_flag,
    encoding=_enum("ENCODING_UNSPECIFIED", "HEX", "BASE64"),
    encryption_info=_ENCRYPTION,
)

# --- the Google Ads API's adjustments (contract google 3.5, 9) ---

_PAIR = _message(gclid=_text, conversion_date_time=_text)
_ADS_ADDRESS = _message(
    **dict.fromkeys(("hashed_first_name", "hashed_last_name", "hashed_street_address", "city", "state"), _text),
    country_code=_text,
    postal_code=_text,
)
_ADS_IDENTIFIER = _message(
    user_identifier_source=_enum("UNSPECIFIED", "UNKNOWN", "FIRST_PARTY", "THIRD_PARTY"),
    hashed_email=("identifier", _text),
    hashed_phone_number=("identifier", _text),
    mobile_id=("identifier", _text),
    third_party_user_id=("identifier", _text),
    address_info=("identifier", _ADS_ADDRESS),
)
_ADJUSTMENT = _message(
    gclid_date_time_pair=_PAIR,
    order_id=_text,
    conversion_action=_text,
    adjustment_date_time=_text,
    adjustment_type=_enum("UNSPECIFIED", "UNKNOWN", "RETRACTION", "RESTATEMENT", "ENHANCEMENT"),
    restatement_value=_message(adjusted_value=_double, currency_code=_text),
    user_identifiers=_many(_ADS_IDENTIFIER),
    user_agent=_text,
)
_ADJUSTMENTS = _message(
    customer_id=_text,
    conversion_adjustments=_many(_ADJUSTMENT),
    partial_failure=_flag,
    validate_only=_flag,
    job_id=_integer,
)
