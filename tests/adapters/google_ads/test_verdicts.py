"""Request status to verdicts: counts by reason, no row named."""

from __future__ import annotations

from typing import Any

import pytest
from google.ads import datamanager_v1

from adapters.google_ads.verdicts import read_status
from bridge.errors import Drift, Refused
from bridge.ports import RowVerdict, Seen
from tests.adapters.google_ads.kit import bad_request, response, sample, violation

FORTY = tuple(f"row{number}" for number in range(40))
ONE = ("row",)
PREFIX = "PROCESSING_ERROR_REASON_"


def _status(status: str, **counts: int) -> dict[str, Any]:
    errors = [{"recordCount": str(count), "reason": PREFIX + reason} for reason, count in counts.items()]
    entry = {"requestStatus": status, **({"errorInfo": {"errorCounts": errors}} if errors else {})}
    return {"requestStatusPerDestination": [entry]}


def _seen(document: dict[str, Any] | bytes, rows: tuple[str, ...]) -> tuple[str, str] | None:
    """The one verdict all rows share."""
    verdicts = read_status(response(200, document), rows)
    if verdicts is None:
        return None
    assert [verdict.delivery for verdict in verdicts] == list(rows)
    ((seen, code),) = {(verdict.seen.value, verdict.code) for verdict in verdicts}
    return seen, code


@pytest.mark.parametrize("status", ["PROCESSING", "REQUEST_STATUS_UNKNOWN", "SOMETHING_NEW"])
def test_an_unsettled_request_is_too_early_to_judge(status: str) -> None:
    """Processing takes 30 minutes to 24 hours."""
    assert _seen(_status(status), ONE) is None
    assert _seen(sample("request_status_processing"), FORTY) is None


def test_success_verifies_every_row() -> None:
    """However many."""
    assert _seen(_status("SUCCESS"), FORTY) == ("verified", "")


@pytest.mark.parametrize(
    ("reason", "seen"),
    [
        ("DUPLICATE_GCLID", "verified"),
        ("DUPLICATE_TRANSACTION_ID", "verified"),
        ("CLICK_NOT_FOUND", "unlinked"),
        ("TOO_RECENT_CLICK", "unlinked"),
        ("INVALID_GCLID", "unlinked"),
        ("EVENT_TOO_OLD", "unlinked"),
        ("DENIED_CONSENT", "rejected"),
        ("INVALID_CUSTOM_VARIABLE", "rejected"),
        ("INVALID_FORMAT", "rejected"),
        ("MADE_UP_TOMORROW", "rejected"),
        ("INTERNAL_ERROR", "unknown"),
    ],
)
def test_a_single_row_gets_the_class_of_its_reason(reason: str, seen: str) -> None:
    """One event per request: the count is a verdict on the lead. A duplicate is there already: done."""
    assert _seen(_status("FAILED", **{reason: 1}), ONE) == (seen, reason)


def test_the_reason_without_the_usual_prefix_is_read_too() -> None:
    """One value lacks ``_REASON_`` (contract google 10.10)."""
    name = "PROCESSING_ERROR_OPERATING_ACCOUNT_MISMATCH_FOR_AD_IDENTIFIER"
    document = _status("FAILED", x=1)
    document["requestStatusPerDestination"][0]["errorInfo"]["errorCounts"][0]["reason"] = name
    assert _seen(document, ONE) == ("unlinked", "OPERATING_ACCOUNT_MISMATCH_FOR_AD_IDENTIFIER")


def test_of_several_reasons_a_single_row_keeps_the_one_that_tells_most() -> None:
    """Already there beats all; a refusal beats "no click"."""
    assert _seen(_status("FAILED", CLICK_NOT_FOUND=1, NO_CONSENT=1), ONE) == ("rejected", "NO_CONSENT")
    several = _status("FAILED", CLICK_NOT_FOUND=1, DUPLICATE_TRANSACTION_ID=1)
    assert _seen(several, ONE) == ("verified", "DUPLICATE_TRANSACTION_ID")


def test_the_contracts_mixed_status_names_nobody() -> None:
    """3 of 40 failed, nobody knows which: the rows stay accepted and say how many."""
    assert _seen(sample("request_status"), FORTY) == ("unknown", "2_of_40:CLICK_NOT_FOUND")


def test_several_reasons_are_told_largest_first() -> None:
    """What an operator reads in ``explain``."""
    document = _status("PARTIAL_SUCCESS", NO_CONSENT=1, CLICK_NOT_FOUND=5)
    assert _seen(document, FORTY) == ("unknown", "5_of_40:CLICK_NOT_FOUND+1_of_40:NO_CONSENT")


def test_one_reason_for_all_is_a_verdict_on_each() -> None:
    """All forty failed, for one reason."""
    assert _seen(_status("FAILED", CLICK_NOT_FOUND=40), FORTY) == ("unlinked", "CLICK_NOT_FOUND")


def test_duplicates_alone_are_success() -> None:
    """A batch sent twice after a lost answer: all of it is there."""
    seen = _seen(_status("PARTIAL_SUCCESS", DUPLICATE_TRANSACTION_ID=30, DUPLICATE_GCLID=2), FORTY)
    assert seen == ("verified", "DUPLICATE_GCLID+DUPLICATE_TRANSACTION_ID")


def test_a_failure_without_counts_proves_nothing() -> None:
    """Only a single row without errors counts as accepted (contract google 2.13)."""
    assert _seen(_status("FAILED"), ONE) == ("unknown", "FAILED")
    assert _seen(_status("PARTIAL_SUCCESS"), FORTY) == ("unknown", "PARTIAL_SUCCESS")
    assert _seen(_status("PARTIAL_SUCCESS"), ONE) == ("verified", "")


@pytest.mark.parametrize("reason", ["REQUEST_TOO_OLD", "INVALID_REQUEST_ID"])
def test_a_request_google_has_forgotten_is_unknown(reason: str) -> None:
    """The rows stay accepted; asking on would never help."""
    answer = response(400, bad_request(violation("request_id", reason)))
    assert read_status(answer, ONE) == [RowVerdict("row", Seen.UNKNOWN, reason)]
    by_info = {"error": {"code": 400, "details": [{"reason": reason}]}}
    assert read_status(response(400, by_info), ONE) is not None


def test_a_request_not_found_yet_is_asked_for_again() -> None:
    """Status may lag behind ingestion."""
    assert read_status(response(404, {"error": {"code": 404}}), ONE) is None


def test_another_refusal_of_the_status_call_is_told() -> None:
    """With its code."""
    with pytest.raises(Refused) as caught:
        read_status(response(400, bad_request(violation("request_id", "INVALID_FORMAT"))), ONE)
    assert caught.value.code == "INVALID_FORMAT"


@pytest.mark.parametrize("document", [b"{}", b'{"requestStatusPerDestination": 5}', b"[1]"])
def test_a_status_without_destinations_is_drift(document: bytes) -> None:
    """One element per destination is promised."""
    with pytest.raises(Drift):
        read_status(response(200, document), ONE)


@pytest.mark.parametrize("reason", datamanager_v1.ProcessingErrorReason.__members__)
def test_every_reason_google_knows_gives_each_row_one_verdict(reason: str) -> None:
    """No reason crashes, none is left unsettled."""
    document = _status("PARTIAL_SUCCESS", x=1)
    document["requestStatusPerDestination"][0]["errorInfo"]["errorCounts"][0]["reason"] = reason
    for rows in (ONE, FORTY):
        assert _seen(document, rows) is not None
