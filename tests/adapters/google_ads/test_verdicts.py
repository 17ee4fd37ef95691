"""Request status to verdicts: counts by reason, no row named."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from google.ads import datamanager_v1

from adapters.google_ads.verdicts import Asked
from adapters.google_ads.verdicts import read_status as read
from bridge.errors import Drift, Refused
from bridge.ports import RowVerdict, Seen
from bridge.tools import DriftCounts, Response
from tests.adapters.google_ads.kit import HOUR, bad_request, response, sample, violation
from tests.support import START

FORTY = tuple(f"row{number}" for number in range(40))
ONE = ("row",)
PREFIX = "PROCESSING_ERROR_REASON_"


def _status(status: str, **counts: int) -> dict[str, Any]:
    errors = [{"recordCount": str(count), "reason": PREFIX + reason} for reason, count in counts.items()]
    entry = {"requestStatus": status, **({"errorInfo": {"errorCounts": errors}} if errors else {})}
    return {"requestStatusPerDestination": [entry]}


def _asked(rows: Sequence[str] = ONE, attempt: int = 0, **changes: Any) -> Asked:
    """Rows that were sent before so often; all may go again unless ``changes`` say otherwise."""
    given = {"now": START, "resendable": frozenset(rows), "may_split": True, **changes}
    return Asked(dict.fromkeys(rows, attempt), **given)


def read_status(answer: Response, rows: Sequence[str]) -> list[RowVerdict] | None:
    """Where nothing may be sent again."""
    return read(answer, _asked(rows, resendable=frozenset(), may_split=False), DriftCounts())


def _again(document: dict[str, Any], asked: Asked) -> list[tuple[str, str, int | None]]:
    verdicts = read(response(200, document), asked, DriftCounts())
    return [(verdict.seen.value, verdict.code, verdict.max_rows) for verdict in verdicts or ()]


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


# --- again -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("failed", "size"), [(1, 20), (2, 10), (3, 6), (10, 2), (25, 1), (39, 1)])
def test_a_batch_that_failed_in_part_goes_again_in_parts_that_fit_its_failures(failed: int, size: int) -> None:
    """Two parts for each failure, so that about half of them are clean and settled by the next look."""
    verdicts = _again(_status("PARTIAL_SUCCESS", CLICK_NOT_FOUND=failed), _asked(FORTY))
    assert verdicts == [("again", f"{failed}_of_40:CLICK_NOT_FOUND", size)] * 40


def test_what_is_there_already_counts_for_no_failure() -> None:
    """Rows of a part that were counted the first time come back as duplicates."""
    document = _status("PARTIAL_SUCCESS", DUPLICATE_TRANSACTION_ID=37, CLICK_NOT_FOUND=3)
    assert {size for _, _, size in _again(document, _asked(FORTY))} == {6}


def test_rows_whose_window_has_closed_stay_as_they_are_while_the_others_go() -> None:
    """A row that may be counted must not end as expired."""
    verdicts = _again(_status("PARTIAL_SUCCESS", CLICK_NOT_FOUND=1), _asked(FORTY, resendable=frozenset(FORTY[1:])))
    assert [seen for seen, _, _ in verdicts] == ["unknown"] + ["again"] * 39


def test_without_calls_left_nothing_is_split() -> None:
    """The rows stay accepted, and say how many of them failed."""
    verdicts = _again(_status("PARTIAL_SUCCESS", CLICK_NOT_FOUND=1), _asked(FORTY, may_split=False))
    assert verdicts == [("unknown", "1_of_40:CLICK_NOT_FOUND", None)] * 40


@pytest.mark.parametrize(
    ("reason", "waits", "times", "ends"),
    [("TOO_RECENT_CLICK", 6 * HOUR, 8, "unlinked"), ("INTERNAL_ERROR", timedelta(minutes=30), 2, "unknown")],
)
@pytest.mark.parametrize("rows", [ONE, FORTY])
def test_what_passes_with_time_is_tried_again_so_often(
    reason: str, waits: timedelta, times: int, ends: str, rows: tuple[str, ...]
) -> None:
    """A click of less than six hours, a fault of Google's; for a lead alone and for all of a batch."""
    document = _status("FAILED", **{reason: len(rows)})
    for attempt in range(times + 2):
        verdicts = read(response(200, document), _asked(rows, attempt), DriftCounts()) or []
        seen = {verdict.seen.value for verdict in verdicts}
        assert seen == {"again" if attempt < times else ends}
        if attempt < times:
            assert {verdict.not_before for verdict in verdicts} == {START + waits}


def test_words_that_are_new_are_tolerated_and_counted() -> None:
    """A status, a reason, a field at any depth; the samples of the contract have none."""
    drift = DriftCounts()
    for name in ("request_status", "request_status_processing"):
        read(response(200, sample(name)), _asked(FORTY), drift)
    assert not drift.take()
    document = _status("SETTLED_IN_PART", MADE_UP_TOMORROW=1)
    document["requestStatusPerDestination"][0]["errorInfo"]["advice"] = {"text": "words"}
    assert read(response(200, document), _asked(ONE), drift) is None
    assert drift.take() == {
        ("request status", "SETTLED_IN_PART"): 1,
        ("processing error", "MADE_UP_TOMORROW"): 1,
        ("field", "errorInfo.advice"): 1,
    }
