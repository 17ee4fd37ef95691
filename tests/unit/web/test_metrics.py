"""``/metrics``: everything a status says, as Prometheus reads it, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from bridge.states import DeliveryState
from bridge.web.metrics import CONTENT_TYPE, exposition
from bridge.web.status import Status


def source(**values: Any) -> dict[str, Any]:
    return {
        "watermark": "2026-03-02T09:00:00+00:00",
        "lag_s": 12,
        "deals": 7,
        "unmatched": 2,
        "methods": {"field": 4, "contact": 1},
        "quarantined": 1,
        "quarantine_codes": ["bad_amount"],
        "last_error": None,
        "failing_since": None,
        "credential_expires_at": None,
        "coverage": None,
        "swept_at": "2026-03-02T03:00:00+00:00",
        "sweep_age_s": 21600,
        "sweep_missed": 2,
        "sweep_gone": 3,
        "sweep_aside": 1,
        "sweep_error": None,
        "hook": True,
        "hook_age_s": 30,
        "hook_trouble": None,
        "hints_waiting": 4,
        "oldest_hint_s": 15,
        "write_back": True,
        "marks_waiting": 6,
        "marks_failing": 2,
        "oldest_mark_s": 300,
        "mark_error": None,
        **values,
    }


def destination(**values: Any) -> dict[str, Any]:
    states = {state.value: number for number, state in enumerate(DeliveryState, start=1)}
    return {
        **states,
        "in_doubt": 3,
        "oldest_pending_s": 90,
        "last_error": None,
        "failing_since": None,
        "expired_reasons": {"window_21d": 6, "gave_up": 1},
        "closing": {"count": 4, "overdue": 2, "first": "2026-03-03T09:00:00+00:00", "goals": {"sale": 4}},
        "audit": {"audited_at": "2026-03-02T03:00:00+00:00", "error": None, "lost": 3, "extra": 1, "message": "..."},
        **values,
    }


Parts = dict[str, dict[str, Any]]


def status(
    sources: Parts | None = None,
    destinations: Parts | None = None,
    goals: Parts | None = None,
    accounts: Parts | None = None,
) -> Status:
    parts = {"sources": sources or {}, "destinations": destinations or {}, "changed_goals": [], "goals": goals or {}}
    return {"tenants": {"okna": {**parts, "accounts": accounts or {}, "collector": None}}}


def samples(report: Status) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What a Prometheus server reads: name and labels without the tenant -> value."""
    text = exposition(report).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert sample.labels.pop("tenant") == "okna"
            found[sample.name, frozenset(sample.labels.items())] = sample.value
    return found


def one(report: Status, name: str, **labels: str) -> float:
    return samples(report)[name, frozenset(labels.items())]


def test_webhooks_have_figures_where_they_are_taken() -> None:
    """A source without them has none; trouble is 0, and a webhook that never came has no age."""
    sad = source(hook_trouble="Refused: http_402", hook_age_s=None, oldest_hint_s=None)
    report = status({"crm": sad, "b24": source(hook=False)})
    assert one(report, "bridge_hook_up", source="crm") == 0
    assert one(report, "bridge_oldest_hint_seconds", source="crm") == 0
    names = {name for name, labels in samples(report) if ("source", "b24") in labels}
    assert not any("hook" in name or "hint" in name for name in names)
    assert ("bridge_hook_age_seconds", frozenset({("source", "crm")})) not in samples(report)


def test_the_end_of_a_credential_is_a_time_or_absent() -> None:
    """An alert compares it with ``time()``; what never ends must not look ended."""
    ends = status({"crm": source(credential_expires_at="1970-01-02T00:00:00+00:00"), "b24": source()})
    found = {dict(labels)["source"]: value for (name, labels), value in samples(ends).items() if "credential" in name}
    assert found == {"crm": 86400}


def test_every_figure_of_a_source_is_there() -> None:
    """Deals, how they were matched, what could not be read, how old the last good poll is, what the sweep found."""
    report = status({"crm": source()})
    assert samples(report) == {
        (name, frozenset({("source", "crm"), *labels})): value
        for name, labels, value in (
            ("bridge_deals", (), 7),
            ("bridge_deals_unmatched", (), 2),
            ("bridge_deals_matched", (("method", "field"),), 4),
            ("bridge_deals_matched", (("method", "contact"),), 1),
            ("bridge_records_quarantined", (), 1),
            ("bridge_poll_age_seconds", (), 12),
            ("bridge_source_up", (), 1),
            ("bridge_sweep_age_seconds", (), 21600),
            ("bridge_sweep_missed", (), 2),
            ("bridge_sweep_gone", (), 3),
            ("bridge_sweep_aside", (), 1),
            ("bridge_hints_waiting", (), 4),
            ("bridge_oldest_hint_seconds", (), 15),
            ("bridge_hook_age_seconds", (), 30),
            ("bridge_hook_up", (), 1),
            ("bridge_marks_waiting", (), 6),
            ("bridge_marks_failing", (), 2),
            ("bridge_oldest_mark_seconds", (), 300),
        )
    }


def coverage(**values: Any) -> dict[str, Any]:
    counts = {"all": {"leads": 24, "own": 15, "joined": 2}, "vk": {"leads": 4, "own": 1, "joined": 0}}
    return {"windows": {"day": counts}, "fallen": [], "silence": None, **values}


def test_new_leads_are_counted_by_channel_and_window() -> None:
    """With those that have an identifier of their own or another's; falls are a number, silence a flag."""
    fallen = {"fallen": [{"channel": "vk"}], "silence": {"per_day": 12}}
    report = status({"crm": source(coverage=coverage()), "b24": source(coverage=coverage(**fallen))})
    assert one(report, "bridge_coverage_leads", source="crm", channel="all", window="day") == 24
    assert one(report, "bridge_coverage_own", source="crm", channel="vk", window="day") == 1
    assert one(report, "bridge_coverage_joined", source="crm", channel="all", window="day") == 2
    assert [one(report, "bridge_coverage_falls", source=name) for name in ("crm", "b24")] == [0, 1]
    assert [one(report, "bridge_coverage_silent", source=name) for name in ("crm", "b24")] == [0, 1]


@pytest.mark.parametrize("state", list(DeliveryState))
def test_every_state_of_a_delivery_is_counted(state: DeliveryState) -> None:
    """Also those with nothing in them: a graph must not end when the last held delivery is resolved."""
    report = status(destinations={"metrica": destination()})
    labels = {"destination": "metrica", "state": state.value}
    assert one(report, "bridge_deliveries", **labels) == list(DeliveryState).index(state) + 1
    empty = status(destinations={"metrica": destination(**dict.fromkeys(DeliveryState, 0))})
    assert one(empty, "bridge_deliveries", **labels) == 0


def test_doubt_and_waiting_can_be_alarmed_on() -> None:
    """Batches without a recorded answer, and the age of the oldest delivery that waits (zero when none does)."""
    report = status(destinations={"metrica": destination(), "google": destination(oldest_pending_s=None, in_doubt=0)})
    assert one(report, "bridge_batches_in_doubt", destination="metrica") == 3
    assert one(report, "bridge_oldest_pending_seconds", destination="metrica") == 90
    assert one(report, "bridge_oldest_pending_seconds", destination="google") == 0


def test_what_fails_is_down() -> None:
    """The words of the trouble are not in the metrics, the fact is."""
    trouble = {
        "last_error": "AuthError: token of +7 999 000-00-01 refused",
        "failing_since": "2026-03-02T09:00:00+00:00",
    }
    report = status({"crm": source(**trouble)}, {"metrica": destination(**trouble)})
    assert one(report, "bridge_source_up", source="crm") == 0
    assert one(report, "bridge_destination_up", destination="metrica") == 0
    assert b"999" not in exposition(report)


def test_a_source_that_was_never_polled_has_no_age() -> None:
    """Rather than one of zero seconds."""
    report = status({"crm": source(lag_s=None)})
    assert ("bridge_poll_age_seconds", frozenset({("source", "crm")})) not in samples(report)


def test_a_source_that_was_never_swept_has_no_age() -> None:
    """Nor has a table, which is never swept; what was missed is none as long as nobody has found any."""
    report = status({"crm": source(sweep_age_s=None, sweep_missed=0, sweep_gone=0, sweep_aside=0)})
    assert ("bridge_sweep_age_seconds", frozenset({("source", "crm")})) not in samples(report)
    assert one(report, "bridge_sweep_missed", source="crm") == 0


def test_a_source_that_is_not_written_back_to_has_no_marks() -> None:
    """Rather than none that wait."""
    report = status({"crm": source(write_back=False)})
    assert not any("mark" in name for name, _ in samples(report))


def test_goals_are_counted_by_deals_that_reached_them() -> None:
    """Whatever became of the deliveries."""
    report = status(goals={"sale": {"reached": 5, "verified": 3, "expired": 1}})
    assert one(report, "bridge_goal_reached", goal="sale") == 5


def test_no_tenant_no_sample() -> None:
    """An empty installation is no error."""
    assert samples({"tenants": {}}) == {}
    assert CONTENT_TYPE.startswith("text/plain")


names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,39}", fullmatch=True)


@given(st.dictionaries(names, st.integers(0, 10**9), min_size=1, max_size=5))
def test_any_name_of_a_configuration_is_a_legal_label(deals: dict[str, int]) -> None:
    """And each keeps its own figure."""
    report = status({name: source(deals=count) for name, count in deals.items()})
    assert {name: one(report, "bridge_deals", source=name) for name in deals} == deals


def test_windows_and_audits_can_be_alarmed_on() -> None:
    """What is too late soon, why others were, and what the vendor does not count; without a comparison no count."""
    never = {"audited_at": None, "error": "AuthError: no right", "lost": 0, "extra": 0, "message": None}
    report = status(destinations={"metrica": destination(), "vk": destination(audit=never)})
    metrica = {"destination": "metrica"}
    assert one(report, "bridge_deliveries_closing", **metrica) == 4
    assert one(report, "bridge_deliveries_overdue", **metrica) == 2
    assert one(report, "bridge_window_closes_seconds", **metrica) == 1772528400
    assert one(report, "bridge_deliveries_expired", reason="window_21d", **metrica) == 6
    assert one(report, "bridge_audit_lost", **metrica) == 3
    assert one(report, "bridge_audit_extra", **metrica) == 1
    assert [one(report, "bridge_audit_failing", destination=name) for name in ("metrica", "vk")] == [0, 1]
    assert not any("audit_lost" in name and ("destination", "vk") in labels for name, labels in samples(report))


def test_posts_are_counted_where_there_is_a_collector() -> None:
    """What was taken, and what was refused by its code."""
    report = status()
    report["tenants"]["okna"]["collector"] = {"taken": 7, "taken_at": None, "refused": {"other_site": 3}}
    assert one(report, "bridge_collector_posts", code="taken") == 7
    assert one(report, "bridge_collector_posts", code="other_site") == 3
    assert not any(name.startswith("bridge_collector") for name, _ in samples(status()))


def test_versions_that_end_and_words_of_no_contract_have_figures() -> None:
    """Days by version; words added up by where they stood, for their texts are without number."""
    words = [{"what": "request status", "value": value, "count": count} for value, count in (("NEW", 2), ("NEWER", 3))]
    apis = [{"api": "Ads API v26", "days": 59}]
    report = status(accounts={"google": {"apis": apis, "drift": words}, "crm": {"apis": [], "drift": []}})
    assert samples(report) == {
        ("bridge_api_sunset_days", frozenset({("account", "google"), ("api", "Ads API v26")})): 59,
        ("bridge_drift", frozenset({("account", "google"), ("what", "request status")})): 5,
    }
