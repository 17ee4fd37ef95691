"""The state of things as plain data: what ``status --json`` prints, ``/metrics`` exposes and ``/healthz`` sums up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from bridge import registry
from bridge.collector.settings import CollectorSettings, collector_of
from bridge.config import Config, TenantSettings, hook_of
from bridge.errors import ConfigError
from bridge.marking import MarkedSettings
from bridge.model import Confidence
from bridge.ports import SOON, Api
from bridge.rules import audit
from bridge.rules.audit import Standing
from bridge.rules.coverage import Fall, Report, Row, Share, silence_words, words
from bridge.rules.definitions import Change, waiting
from bridge.rules.retirement import Ending, endings
from bridge.rules.windows import Closing
from bridge.store.audits import AuditReport
from bridge.store.codec import EPOCH
from bridge.store.collected import TAKEN, CollectedReport
from bridge.store.drift import Oddity
from bridge.store.hints import CLOSED, HookReport
from bridge.store.marks import MarkReport
from bridge.store.reports import DestinationReport, Reports, SourceReport, SweepReport

Status = dict[str, Any]
FRESH = timedelta(days=7)  # drift that was not seen for so long needs nobody's attention
_LISTED = 5


async def status(reports: Reports, config: Config, tenants: Sequence[str], now: datetime) -> Status:
    """Per tenant: sources, destinations, goals, and goals whose change waits for a decision.

    Keys are part of the public interface (design, section 11)."""
    result: Status = {"tenants": {}}
    for name in tenants:
        settings = config.tenants[name]
        seen = {own: await reports.source(name, own) for own in settings.sources}
        sources = {
            own: {
                **_source(seen[own], now),
                **_hook(await reports.hook(name, own), section, now),
                **_marks(await reports.marks(name, own), section, now),
                "credential_expires_at": _ends(section, config),
            }
            for own, section in settings.sources.items()
        }
        destinations = {own: _destination(await reports.destination(name, own), now) for own in settings.destinations}
        result["tenants"][name] = {
            "sources": sources,
            "destinations": destinations,
            "goals": await reports.goals(name),
            "collector": None if collector_of(settings) is None else _collector(await reports.collected(name)),
            "accounts": _accounts(settings, await reports.drift(name), now),
            "changed_goals": _changed(seen.values(), {goal.name for goal in settings.goals}),
        }
    return result


def _accounts(settings: TenantSettings, drift: Mapping[str, Sequence[Oddity]], now: datetime) -> dict[str, Any]:
    """By account: versions of the vendor's APIs that end, and its words that are in no contract."""
    found: dict[str, Any] = {}
    for own, section in (*settings.sources.items(), *settings.destinations.items()):
        if isinstance(section, CollectorSettings):  # nobody's API but ours
            continue
        ends = [
            {"api": str(one.api), "sunset": one.sunset.isoformat(), "days": one.days}
            for one in endings(registry.spec(section.kind).apis, now.date())
        ]
        words = [
            {"what": one.what, "value": one.value, "count": one.count, "seen_at": _text(one.seen_at)}
            for one in drift.get(own, ())
        ]
        found[own] = {"apis": ends, "drift": words}
    return found


def _aging(accounts: Mapping[str, Any], tenant: str, now: datetime) -> list[str]:
    """Versions that end soon, and words of vendors seen of late that nobody has told us of."""
    lines = []
    for own, account in accounts.items():
        for one in account["apis"]:
            ending = Ending(Api(one["api"]), date.fromisoformat(one["sunset"]), one["days"])
            lines += [f"{tenant}/{own}: {ending.words}"] if ending.is_near else []
        fresh = [one for one in account["drift"] if now - datetime.fromisoformat(one["seen_at"]) < FRESH]
        if fresh:
            told = ", ".join(f"{one['what']} {one['value']} ({one['count']})" for one in fresh[:_LISTED])
            more = f" and {len(fresh) - _LISTED} more" if len(fresh) > _LISTED else ""
            lines.append(f"{tenant}/{own}: its answers have words new to the bridge: {told}{more}; tell its authors")
    return lines


def _changed(reports: Iterable[SourceReport], names: set[str]) -> list[dict[str, Any]]:
    found: dict[str, Change] = {change.goal: change for report in reports for change in report.changed}
    listed = [change for goal, change in sorted(found.items()) if goal in names]
    return [{"goal": one.goal, "parts": list(one.parts), "since": _text(one.since)} for one in listed]


def _source(report: SourceReport, now: datetime) -> dict[str, Any]:
    return {
        "watermark": _text(report.watermark),
        "lag_s": _age(report.polled_at, now),
        "deals": report.deals,
        "unmatched": report.unmatched,
        "methods": dict(report.methods),
        "confidence": {name.value: report.confidence.get(name, 0) for name in Confidence},
        "quarantined": sum(report.quarantined.values()),
        "quarantine_codes": sorted(report.quarantined),
        "last_error": report.last_error,
        "failing_since": _text(report.failing_since),
        "coverage": None if report.coverage is None else _coverage(report.coverage),
        **_sweep(report.sweep, now),
    }


def _coverage(report: Report) -> dict[str, Any]:
    """New leads and identifiers as they were last counted, at most an hour ago."""
    silence = report.silence
    return {
        "until": _text(report.until),
        "windows": {name: _shares(channels) for name, channels in report.windows.items()},
        "days": calendar(report.days, "day"),
        "weeks": calendar(report.weeks, "week"),
        "fallen": [_fallen(fall) for fall in report.standing],
        "silence": None
        if silence is None
        else {"since": _text(silence.since), "per_day": silence.per_day, "message": silence_words(silence)},
    }


def calendar(rows: Sequence[Row], what: str) -> list[dict[str, Any]]:
    """Days or weeks by their first day, each with its channels."""
    return [{what: row.start, "channels": _shares(row.channels)} for row in rows]


def _shares(channels: Mapping[str, Share]) -> dict[str, dict[str, int]]:
    """By channel: new leads, those with a usable identifier of their own, those with one only by joining."""
    return {name: {"leads": one.leads, "own": one.own, "joined": one.joined} for name, one in channels.items()}


def _fallen(fall: Fall) -> dict[str, Any]:
    return {
        "channel": fall.channel,
        "identifier": fall.kind or None,
        "since": _text(fall.since),
        "leads": fall.recent.leads,
        "share": round(fall.recent.share, 3),
        "usual": round(fall.usual.share, 3),
        "message": words(fall),
    }


def _sweep(report: SweepReport, now: datetime) -> dict[str, Any]:
    return {
        "swept_at": _text(report.swept_at),
        "sweep_age_s": _age(report.swept_at, now),
        "sweep_missed": report.missed,
        "sweep_gone": report.gone,
        "sweep_aside": report.aside,
        "sweep_error": report.last_error,
    }


def _hook(report: HookReport, section: Any, now: datetime) -> dict[str, Any]:
    """``hook``: whether webhooks are taken. Trouble counts while they are."""
    is_taken = hook_of(section) is not None
    return {
        "hook": is_taken,
        "hook_age_s": _age(report.received_at, now),
        "hook_checked_at": _text(report.checked_at),
        "hook_restored_at": _text(report.restored_at),
        "hook_trouble": report.trouble if is_taken else None,
        "hints_waiting": report.waiting,
        "oldest_hint_s": _age(report.oldest, now),
    }


def _marks(report: MarkReport, section: Any, now: datetime) -> dict[str, Any]:
    """``write_back``: whether deals are marked. What waits from before it was switched off does not count."""
    is_on = isinstance(section, MarkedSettings) and section.write_back is not None
    return {
        "write_back": is_on,
        "marks_waiting": report.waiting if is_on else 0,
        "marks_failing": report.failing if is_on else 0,
        "oldest_mark_s": _age(report.oldest, now) if is_on else None,
        "marked_at": _text(report.marked_at),
        "mark_error": report.last_error if is_on else None,
    }


def _collector(report: CollectedReport) -> dict[str, Any]:
    """How many forms came, and how often something was refused or left out, by its code."""
    counts = dict(report.counts)
    return {"taken": counts.pop(TAKEN, 0), "taken_at": _text(report.taken_at), "refused": counts}


def _age(moment: datetime | None, now: datetime) -> int | None:
    return None if moment is None else round((now - moment).total_seconds())


def _ends(section: Any, config: Config) -> str | None:
    """When a source's configured credential ends for good; None when it does not, or nobody can tell from here."""
    if isinstance(section, CollectorSettings):
        return None
    spec = registry.spec(section.kind).source
    try:
        return _text(spec.expires(section, config.folder)) if spec and spec.expires else None
    except ConfigError:  # the secret is not readable for this process; the source itself says so where it matters
        return None


def _destination(report: DestinationReport, now: datetime) -> dict[str, Any]:
    return {
        **report.states,
        "in_doubt": report.in_doubt,
        "oldest_pending_s": _age(report.oldest_pending, now),
        "last_error": report.last_error,
        "failing_since": _text(report.failing_since),
        "expired_reasons": dict(report.expired),
        "closing": _closing(report.closing),
        "audit": _audit(report.audit),
    }


def _closing(found: Closing | None) -> dict[str, Any]:
    """Waiting deliveries whose window closes within 48 hours, as looked at up to ten minutes ago."""
    found = found or Closing(EPOCH)
    return {"count": found.count, "overdue": found.overdue, "first": _text(found.first), "goals": dict(found.goals)}


def _audit(report: AuditReport) -> dict[str, Any]:
    """What the vendor counts otherwise than it was sent, of the last days; ``audited_at`` null: never compared."""
    found = [] if report.audited_at is None else audit.recent(report.days, report.audited_at)
    lost = [one for one in found if audit.standing(one) is Standing.LOST]
    return {
        "audited_at": _text(report.audited_at),
        "error": report.error,
        "lost": sum(map(audit.size, lost)),
        "extra": sum(map(audit.size, found)) - sum(map(audit.size, lost)),
        "message": audit.words(found) or None,
    }


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _failing(item: Mapping[str, Any]) -> str:
    since = datetime.fromisoformat(item["failing_since"])
    return f"failing since {since:%Y-%m-%d %H:%M} UTC: {item['last_error']}"


def _ending(source: dict[str, Any], now: datetime) -> str:
    """A warning that the credential ends soon; "" when it does not."""
    ends = source["credential_expires_at"] and datetime.fromisoformat(source["credential_expires_at"])
    if not ends or ends - now >= SOON:
        return ""
    return f"its token {'ended' if ends <= now else 'ends'} on {ends:%Y-%m-%d}; make a new one"


def fewer(report: Status) -> list[str]:
    """What has become of new leads, one line for each trouble."""
    lines = []
    for tenant, parts in report["tenants"].items():
        for name, source in parts["sources"].items():
            coverage = source["coverage"] or {"fallen": [], "silence": None}
            troubles = [*coverage["fallen"], *([coverage["silence"]] if coverage["silence"] else [])]
            lines += [f"{tenant}/{name}: {trouble['message']}" for trouble in troubles]
    return lines


def _waiting(tenant: str, change: Mapping[str, Any]) -> str:
    return waiting(tenant, change["goal"], datetime.fromisoformat(change["since"]))


def miscounted(report: Status) -> list[str]:
    """What ad systems count otherwise than they were sent, one line for each trouble."""
    return [
        f"{tenant}/{name}: {line}"
        for tenant, parts in report["tenants"].items()
        for name, destination in parts["destinations"].items()
        for line in _compared(destination["audit"])
    ]


def _compared(found: Mapping[str, Any]) -> Iterator[str]:
    if found["message"]:
        yield f'{found["message"]}; see "bridge audit"'
    if found["error"]:
        yield f"its counts cannot be compared: {found['error']}"


def _pressing(closing: Mapping[str, Any]) -> Iterator[str]:
    """Windows that close on what is stuck."""
    if closing["overdue"]:
        first = datetime.fromisoformat(closing["first"])
        promises = "delivery is" if closing["overdue"] == 1 else "deliveries are"
        yield f"{closing['overdue']} {promises} overdue, and too late within 48 hours; first on {first:%m-%d %H:%M} UTC"


def _aside(source: Mapping[str, Any]) -> str:
    records = "record" if source["quarantined"] == 1 else "records"
    return f"{source['quarantined']} {records} in quarantine ({', '.join(source['quarantine_codes'])})"


def _swept(source: Mapping[str, Any]) -> Iterator[str]:
    if source["sweep_missed"]:
        yield f"{source['sweep_missed']} changes missed by readings, found by the sweep"
    if source["sweep_aside"]:
        yield f"{source['sweep_aside']} deals set aside by the sweep: the answers about them make no sense"
    if source["sweep_error"]:
        yield f"the deep sweep fails: {source['sweep_error']}"


def _hooked(trouble: str) -> str:
    if trouble.startswith(CLOSED):
        return f"its webhooks are answered 404, after which vendors give up: {trouble.removeprefix(CLOSED)}"
    return f"its webhook is not kept: {trouble}"


def _stuck(destination: Mapping[str, Any]) -> Iterator[str]:
    if destination["last_error"]:
        yield _failing(destination)
    if destination["held"]:
        yield f'{destination["held"]} deliveries held; see "bridge held list"'


async def stuck(reports: Reports, tenant: str, name: str, now: datetime) -> list[str]:
    """What keeps a destination's deliveries from their end, one line each: its trouble, decisions that are wanted."""
    found = _destination(await reports.destination(tenant, name), now)
    return [f"{tenant}/{name}: {line}" for line in _stuck(found)]


def attention(report: Status, config: Config, now: datetime) -> list[str]:
    """What a person should look at, one line each; empty when all is well."""
    lines = [line for broken in config.broken.values() for line in broken]
    for tenant, parts in report["tenants"].items():
        for name, source in parts["sources"].items():
            if source["last_error"]:
                lines.append(f"{tenant}/{name}: {_failing(source)}")
            if ending := _ending(source, now):
                lines.append(f"{tenant}/{name}: {ending}")
            if source["quarantined"]:
                lines.append(f"{tenant}/{name}: {_aside(source)}")
            lines += [f"{tenant}/{name}: {line}" for line in _swept(source)]
            if source["hook_trouble"]:
                lines.append(f"{tenant}/{name}: {_hooked(source['hook_trouble'])}")
            if source["mark_error"]:
                lines.append(f"{tenant}/{name}: {source['marks_failing']} deals not marked: {source['mark_error']}")
        for name, destination in parts["destinations"].items():
            told = (*_stuck(destination), *_pressing(destination["closing"]), *_compared(destination["audit"]))
            lines += [f"{tenant}/{name}: {line}" for line in told]
        lines += _aging(parts["accounts"], tenant, now)
        lines += [f"{tenant}: {_waiting(tenant, change)}" for change in parts["changed_goals"]]
    return lines + [f'{line}; see "bridge coverage"' for line in fewer(report)]
