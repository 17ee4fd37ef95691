"""Prometheus text of a status. Gauges only: the database is the one place where things are counted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from bridge.states import DeliveryState

CONTENT_TYPE = CONTENT_TYPE_LATEST


class _Coverage:
    """Gauges of new leads. Channels are bounded in number: see ``rules.coverage``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        source, window = ("tenant", "source"), ("tenant", "source", "channel", "window")
        self._falls = Gauge("bridge_coverage_falls", "Shares that have fallen", source, registry=registry)
        self._silent = Gauge("bridge_coverage_silent", "1 while leads stay away", source, registry=registry)
        self._counts = {
            "leads": Gauge("bridge_coverage_leads", "New leads", window, registry=registry),
            "own": Gauge("bridge_coverage_own", "New leads with an identifier of their own", window, registry=registry),
            "joined": Gauge("bridge_coverage_joined", "New leads with another's identifier", window, registry=registry),
        }

    def set(self, tenant: str, source: str, values: dict[str, Any]) -> None:
        self._falls.labels(tenant, source).set(len(values["fallen"]))
        self._silent.labels(tenant, source).set(values["silence"] is not None)
        for window, channels in values["windows"].items():
            for channel, counts in channels.items():
                for name, gauge in self._counts.items():
                    gauge.labels(tenant, source, channel, window).set(counts[name])


def exposition(status: dict[str, Any]) -> bytes:
    """The text exposition of everything in a status; labels hold names from the configuration and of channels."""
    registry = CollectorRegistry()
    source = ("tenant", "source")
    destination = ("tenant", "destination")
    deals = Gauge("bridge_deals", "Deals stored", source, registry=registry)
    unmatched = Gauge("bridge_deals_unmatched", "Deals without a known click", source, registry=registry)
    matched = Gauge("bridge_deals_matched", "Deals by matching method", (*source, "method"), registry=registry)
    quarantined = Gauge("bridge_records_quarantined", "Records in quarantine", source, registry=registry)
    lag = Gauge("bridge_poll_age_seconds", "Seconds since the last good poll", source, registry=registry)
    up = Gauge("bridge_source_up", "1 while the source answers", source, registry=registry)
    ends = Gauge("bridge_credential_expires_seconds", "When the token ends, Unix time", source, registry=registry)
    deliveries = Gauge("bridge_deliveries", "Deliveries by state", (*destination, "state"), registry=registry)
    doubt = Gauge("bridge_batches_in_doubt", "Batches whose answer is not recorded", destination, registry=registry)
    oldest = Gauge(
        "bridge_oldest_pending_seconds", "Age of the oldest pending delivery", destination, registry=registry
    )
    reachable = Gauge("bridge_destination_up", "1 while the destination answers", destination, registry=registry)
    reached = Gauge("bridge_goal_reached", "Times a goal was reached", ("tenant", "goal"), registry=registry)
    coverage = _Coverage(registry)
    for tenant, name, values in _each(status, "sources"):
        if values["coverage"] is not None:
            coverage.set(tenant, name, values["coverage"])
        deals.labels(tenant, name).set(values["deals"])
        unmatched.labels(tenant, name).set(values["unmatched"])
        quarantined.labels(tenant, name).set(values["quarantined"])
        up.labels(tenant, name).set(values["last_error"] is None)
        if values["credential_expires_at"] is not None:
            ends.labels(tenant, name).set(datetime.fromisoformat(values["credential_expires_at"]).timestamp())
        if values["lag_s"] is not None:
            lag.labels(tenant, name).set(values["lag_s"])
        for method, count in values["methods"].items():
            matched.labels(tenant, name, method).set(count)
    for tenant, name, values in _each(status, "destinations"):
        for state in DeliveryState:
            deliveries.labels(tenant, name, state).set(values[state])
        doubt.labels(tenant, name).set(values["in_doubt"])
        oldest.labels(tenant, name).set(values["oldest_pending_s"] or 0)
        reachable.labels(tenant, name).set(values["last_error"] is None)
    for tenant, goal, counts in _each(status, "goals"):
        reached.labels(tenant, goal).set(counts["reached"])
    _sweeps(registry, status)
    _collectors(registry, status)
    _hooks(registry, status)
    _marks(registry, status)
    _windows(registry, status)
    _audits(registry, status)
    _accounts(registry, status)
    return generate_latest(registry)


def _each(status: dict[str, Any], part: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Tenant, own name and values of each of its sources, destinations, goals or accounts."""
    for tenant, parts in status["tenants"].items():
        for name, values in parts[part].items():
            yield tenant, name, values


def _sweeps(registry: CollectorRegistry, status: dict[str, Any]) -> None:
    source = ("tenant", "source")
    age = Gauge("bridge_sweep_age_seconds", "Seconds since the last whole deep sweep", source, registry=registry)
    missed = Gauge("bridge_sweep_missed", "Changes missed by readings, found by the sweep", source, registry=registry)
    gone = Gauge("bridge_sweep_gone", "Open deals that the CRM no longer has", source, registry=registry)
    aside = Gauge("bridge_sweep_aside", "Deals the sweep could not read and set aside", source, registry=registry)
    for tenant, name, values in _each(status, "sources"):
        aside.labels(tenant, name).set(values["sweep_aside"])
        missed.labels(tenant, name).set(values["sweep_missed"])
        gone.labels(tenant, name).set(values["sweep_gone"])
        if values["sweep_age_s"] is not None:
            age.labels(tenant, name).set(values["sweep_age_s"])


def _collectors(registry: CollectorRegistry, status: dict[str, Any]) -> None:
    posts = Gauge("bridge_collector_posts", "Posts to the collector", ("tenant", "code"), registry=registry)
    for tenant, parts in status["tenants"].items():
        if parts["collector"] is not None:
            counts = {"taken": parts["collector"]["taken"], **parts["collector"]["refused"]}
            for code, times in counts.items():
                posts.labels(tenant, code).set(times)


def _hooks(registry: CollectorRegistry, status: dict[str, Any]) -> None:
    source = ("tenant", "source")
    waiting = Gauge("bridge_hints_waiting", "Records named by webhooks, not read yet", source, registry=registry)
    oldest = Gauge("bridge_oldest_hint_seconds", "Age of the oldest waiting hint", source, registry=registry)
    up = Gauge("bridge_hook_up", "1 while nothing is wrong with our webhook", source, registry=registry)
    seen = Gauge("bridge_hook_age_seconds", "Seconds since the last webhook", source, registry=registry)
    for tenant, name, values in _each(status, "sources"):
        if not values["hook"]:
            continue
        waiting.labels(tenant, name).set(values["hints_waiting"])
        oldest.labels(tenant, name).set(values["oldest_hint_s"] or 0)
        up.labels(tenant, name).set(values["hook_trouble"] is None)
        if values["hook_age_s"] is not None:
            seen.labels(tenant, name).set(values["hook_age_s"])


def _marks(registry: CollectorRegistry, status: dict[str, Any]) -> None:
    source = ("tenant", "source")
    waiting = Gauge("bridge_marks_waiting", "Deals to be marked in the CRM", source, registry=registry)
    failing = Gauge("bridge_marks_failing", "Deals that could not be marked", source, registry=registry)
    oldest = Gauge("bridge_oldest_mark_seconds", "Longest time a deal waits for its mark", source, registry=registry)
    for tenant, name, values in _each(status, "sources"):
        if values["write_back"]:
            waiting.labels(tenant, name).set(values["marks_waiting"])
            failing.labels(tenant, name).set(values["marks_failing"])
            oldest.labels(tenant, name).set(values["oldest_mark_s"] or 0)


def _windows(registry: CollectorRegistry, status: dict[str, Any]) -> None:
    destination = ("tenant", "destination")
    closing = Gauge("bridge_deliveries_closing", "Waiting, and too late in 48 hours", destination, registry=registry)
    overdue = Gauge("bridge_deliveries_overdue", "Of these, waiting for an hour", destination, registry=registry)
    first = Gauge("bridge_window_closes_seconds", "When the first is too late", destination, registry=registry)
    expired = Gauge("bridge_deliveries_expired", "Expired, by reason", (*destination, "reason"), registry=registry)
    for tenant, name, values in _each(status, "destinations"):
        found = values["closing"]
        closing.labels(tenant, name).set(found["count"])
        overdue.labels(tenant, name).set(found["overdue"])
        if found["first"] is not None:
            first.labels(tenant, name).set(datetime.fromisoformat(found["first"]).timestamp())
        for reason, count in values["expired_reasons"].items():
            expired.labels(tenant, name, reason).set(count)


def _audits(registry: CollectorRegistry, status: dict[str, Any]) -> None:
    destination = ("tenant", "destination")
    lost = Gauge("bridge_audit_lost", "Accepted and not counted by the vendor", destination, registry=registry)
    extra = Gauge("bridge_audit_extra", "Counted by the vendor and never sent", destination, registry=registry)
    at = Gauge("bridge_audited_seconds", "When counts were last compared", destination, registry=registry)
    failing = Gauge("bridge_audit_failing", "1 while they cannot be compared", destination, registry=registry)
    for tenant, name, values in _each(status, "destinations"):
        found = values["audit"]
        if found["audited_at"] is not None:
            lost.labels(tenant, name).set(found["lost"])
            extra.labels(tenant, name).set(found["extra"])
            at.labels(tenant, name).set(datetime.fromisoformat(found["audited_at"]).timestamp())
        failing.labels(tenant, name).set(found["error"] is not None)


def _accounts(registry: CollectorRegistry, status: dict[str, Any]) -> None:
    account = ("tenant", "account")
    ends = Gauge("bridge_api_sunset_days", "Days until a version may be gone", (*account, "api"), registry=registry)
    drift = Gauge("bridge_drift", "Words of the vendor that no contract has", (*account, "what"), registry=registry)
    for tenant, name, values in _each(status, "accounts"):
        for api in values["apis"]:
            ends.labels(tenant, name, api["api"]).set(api["days"])
        for word in values["drift"]:
            drift.labels(tenant, name, word["what"]).inc(word["count"])
