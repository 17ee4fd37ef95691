"""Messages to people about conversions: who is told of what, in which words, and not at night. Pure.

What a message can say is what has passed the border: no name, phone or e-mail is known here. ``{id}`` in a link of
the template leads to the deal, for those who may see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time, timedelta, tzinfo
from string import Formatter
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field

from bridge.config import DestinationSettings, Duration
from bridge.model import Outgoing
from bridge.ports import Admission, Pass

PLACES = frozenset({"goal", "to", "deal", "source", "kind", "id", "value", "at", "created", "click"})
_NONE = "-"
_FORMAT = Formatter()


def _template(text: str) -> str:
    """Only plain places: ``{id}``, never ``{id.attribute}`` or ``{id:>10}``."""
    try:
        parts = list(_FORMAT.parse(text))
    except ValueError as error:
        raise ValueError(f"a brace too many or too few ({error}); write a real brace twice") from None
    for _, name, form, conversion in parts:
        if name is not None and (name not in PLACES or form or conversion):
            raise ValueError(f"unknown place {{{name}}}; there are {', '.join(sorted(PLACES))}")
    return text


def _quiet(value: Any) -> Any:
    """ "22:00-09:00" as a pair of times."""
    if not isinstance(value, str):
        return value
    begin, dash, end = value.partition("-")
    try:
        pair = time.fromisoformat(begin.strip()), time.fromisoformat(end.strip())
    except ValueError:
        dash = ""
    if not dash or pair[0] == pair[1]:
        raise ValueError('write the hours like "22:00-09:00"')
    return pair


Template = Annotated[str, AfterValidator(_template), Field(min_length=1, max_length=2000)]


class NoticeSettings(DestinationSettings):
    """What destinations for people have in common. ``quiet`` is in the tenant's time zone.

    A lost answer is followed by the message once more: told twice is better than never.
    """

    template: Template = "{goal}: {deal}, {value}, {at}"
    templates: dict[str, Template] = Field(default_factory=dict)  # by goal
    quiet: Annotated[tuple[time, time] | None, BeforeValidator(_quiet)] = None
    window: Duration = timedelta(hours=24)
    when_unsure: Literal["hold", "resend", "drop"] = "resend"


def admit(row: Outgoing, now: datetime, settings: NoticeSettings, zone: str) -> Admission:
    """Whether people are told now.

    Codes: ``future`` and ``quiet_hours`` wait, ``window`` expires: nobody wants to be told of last month.
    """
    if row.occurred_at > now:
        return Admission(Pass.WAIT, "future", row.occurred_at)
    if now - row.occurred_at > settings.window:
        return Admission(Pass.EXPIRED, "window")
    if settings.quiet is not None:
        until = quiet_until(now, settings.quiet, ZoneInfo(zone))
        if until is not None:
            return Admission(Pass.WAIT, "quiet_hours", until)
    return Admission(Pass.SEND)


def quiet_until(now: datetime, quiet: tuple[time, time], zone: tzinfo) -> datetime | None:
    """The end of the quiet hours that it is now, None outside of them. They may go over midnight."""
    begin, end = quiet
    local = now.astimezone(zone)
    of_day = local.time()
    is_quiet = begin <= of_day < end if begin < end else of_day >= begin or of_day < end
    if not is_quiet:
        return None
    day = local.date() + timedelta(days=1) if of_day >= end else local.date()
    return datetime.combine(day, end, zone).astimezone(now.tzinfo)


def text_of(row: Outgoing, settings: NoticeSettings, zone: str) -> str:
    """The message about a row, in the words for its goal."""
    return fill(settings.templates.get(row.goal, settings.template), row, zone)


def fill(template: str, row: Outgoing, zone: str) -> str:
    """A template with what is known of a row in its places."""
    return _FORMAT.vformat(template, (), _facts(row, ZoneInfo(zone)))


def _facts(row: Outgoing, zone: tzinfo) -> Mapping[str, str]:
    source, _, key = row.deal.rpartition("/")
    kind, _, own_id = key.partition(":")
    kinds = dict.fromkeys([identifier.kind.value for identifier in row.identifiers])
    return {
        "goal": row.goal,
        "to": row.target,
        "deal": key,
        "source": source,
        "kind": kind,
        "id": own_id,
        "value": str(row.value) if row.value is not None else _NONE,
        "at": _local(row.occurred_at, zone),
        "created": _local(row.deal_created_at, zone),
        "click": ", ".join(kinds) or _NONE,
    }


def _local(moment: datetime, zone: tzinfo) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"
