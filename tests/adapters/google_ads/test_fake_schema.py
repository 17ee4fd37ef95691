"""The simulator's own reading of bodies agrees with Google's messages."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from google.ads import datamanager_v1
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from adapters.google_ads.fake import parse_official
from adapters.google_ads.fake_schema import SchemaError, parse
from tests.adapters.google_ads.kit import AGO, EMAIL, request, sample, with_

FULL = with_(
    request(
        userData={"userIdentifiers": [{"emailAddress": EMAIL}, {"address": {"givenName": EMAIL, "regionCode": "RU"}}]},
        consent={"adUserData": "CONSENT_GRANTED"},
        eventDeviceInfo={"userAgent": "x", "screenHeight": 5},
        cartData={"items": [{"quantity": "2", "unitPrice": 1.5}], "couponCodes": ["a"]},
        customVariables=[{"variable": "u1", "value": "x", "destinationReferences": ["sale"]}],
        lastUpdatedTimestamp=AGO,
        userProperties={"customerType": "NEW"},
    ),
    encoding="HEX",
    validateOnly=False,
    encryptionInfo={"gcpWrappedKeyInfo": {"keyType": "XCHACHA20_POLY1305", "kekUri": "x"}},
)
VALUES: list[Any] = [
    *(None, True, 0, 99, 1.5, "", "x", "5", "NaN", "WEB", "HEX", "CONSENT_GRANTED", "GRANTED"),
    *([], ["x"], [{}], [None], {}, {"x": 1}),
    *("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5+03:00", "2026-01-01 00:00:00", "2026-01-01T00:00:00"),
]
# Python's parser takes an empty text or list for an empty message, and makes numbers of true and 1.5 where an enum or
# a double is wanted. Google's servers are not written in Python; we refuse these.
LENIENT: tuple[Any, ...] = (True, 1.5, "", [])
NAMES = ["x", "gclid", "event_source", "eventSource", "emailAddress", "phoneNumber", "email_address", "jobId", "@type"]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every position inside a document, the document itself excluded."""
    pairs: Mapping[Any, Any] = (
        dict(enumerate(value)) if isinstance(value, list) else value if isinstance(value, dict) else {}
    )
    return [place for key, item in pairs.items() for place in [(*path, key), *_places(item, (*path, key))]]


def _parent(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        document = document[key]
    return document


def _changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    document = copy.deepcopy(FULL)
    _parent(document, path)[path[-1]] = value
    return document


def _added(path: tuple[Any, ...], name: str, value: Any) -> dict[str, Any]:
    """Not a name that is there in its other spelling: Google's own parser in Python takes both, and we neither."""
    document = copy.deepcopy(FULL)
    target = _parent(document, (*path, None))
    if isinstance(target, dict) and (name in target or _plain(name) not in map(_plain, target)):
        target[name] = value
    return document


def _plain(name: str) -> str:
    return name.replace("_", "").casefold()


PICKED = st.sampled_from(VALUES)
MUTATIONS = st.one_of(
    st.tuples(st.just(_changed), st.tuples(st.sampled_from(_places(FULL))), PICKED),
    st.tuples(st.just(_added), st.tuples(st.sampled_from([(), *_places(FULL)]), st.sampled_from(NAMES)), PICKED),
)


def _accepts(read: Callable[[bytes], Any], body: bytes) -> bool:
    try:
        read(body)
    except SchemaError:
        return False
    return True


@examples(deadline=None, max_examples=600)  # the first example imports Google's messages
@given(MUTATIONS)
def test_our_schema_takes_and_refuses_what_googles_messages_do(mutation: tuple[Any, tuple[Any, ...], Any]) -> None:
    """A full document changed in one place: both accept it, or both refuse it; or we are the stricter one."""
    change, where, value = mutation
    body = json.dumps(change(*where, value)).encode()
    ours, theirs = _accepts(parse, body), _accepts(parse_official, body)
    assert ours == theirs or (theirs and value in LENIENT)


@pytest.mark.parametrize("body", [b"", b"[1]", b"null", b"5", b'"x"', b"{", b'{"events": [}', b"\xff"])
def test_what_is_no_json_object_is_refused_by_both(body: bytes) -> None:
    """Whatever arrives, a 400 goes back."""
    assert not _accepts(parse, body)
    assert not _accepts(parse_official, body)


def test_our_schema_has_every_field_of_googles_request() -> None:
    """Field by field, through every nested message, from the official descriptor."""
    ours = parse(json.dumps(_everything(datamanager_v1.IngestEventsRequest.pb().DESCRIPTOR)).encode())
    assert ours == parse(
        json.dumps(_everything(datamanager_v1.IngestEventsRequest.pb().DESCRIPTOR, snake=True)).encode()
    )
    assert {field.name for field in datamanager_v1.Event.pb().DESCRIPTOR.fields} == set(ours["events"][0])


def _everything(descriptor: Any, *, snake: bool = False) -> Any:
    """A document in which every field of a message is set once (one member of each oneof)."""
    if descriptor.full_name == "google.protobuf.Timestamp":
        return AGO
    taken: set[str] = set()
    document = {}
    for field in descriptor.fields:
        oneof = field.containing_oneof.name if field.containing_oneof else field.name
        if oneof not in taken:
            taken.add(oneof)
            value = _example(field, snake)
            document[field.name if snake else field.json_name] = [value] if field.is_repeated else value
    return document


def _example(field: Any, snake: bool) -> Any:
    if field.message_type:
        return _everything(field.message_type, snake=snake)
    if field.enum_type:
        return field.enum_type.values[-1].name
    return {field.TYPE_STRING: "x", field.TYPE_BOOL: True}.get(field.type, 5)


def test_the_contracts_sample_passes_both() -> None:
    """The request shown in contract google 2.6."""
    assert parse(sample("ingest_request"))["encoding"] == "HEX"
    assert parse_official(sample("ingest_request")).encoding == 1
