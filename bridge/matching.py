"""Settings of matching, of a tenant and of single destinations; what they do is in ``rules.match``."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from bridge.config_base import Duration, Model

FORM_GOAL = "form_goal"  # a field of a visit: it was "created" when it reached this goal, by sending a form
WITHIN_MOST = timedelta(minutes=15)  # see ``rules.pages``, whose keys are good for so long


class TouchModel(StrEnum):
    """Which touch of a person counts for a deal."""

    LAST_PAID_CLICK = "last_paid_click"
    LAST = "last"
    FIRST = "first"


class MatchSettings(Model):
    """How far matching looks. ``look_back``: a click this long before the deal; ``horizon``: waits for a late touch.

    ``call_after``: a tracker's call may be this much later than the deal that was made of it. ``shared_above``: a phone
    or e-mail of more people than that joins nobody. ``model``: which touch of a person counts. ``send_probable``: what
    may be another person's click is sent, too. ``wait_for_touches``: so long a conversion is not sent while trackers
    or the collector are not read up to its lead.
    """

    model: TouchModel = TouchModel.LAST_PAID_CLICK
    send_probable: bool = False
    look_back: Duration = timedelta(days=90)
    horizon: Duration = timedelta(days=30)
    call_after: Duration = timedelta(minutes=30)
    wait_for_touches: Duration = timedelta(hours=24)
    shared_above: Annotated[int, Field(ge=1)] = 10


class DestinationMatchSettings(Model):
    """Where a destination is matched otherwise than the tenant; see ``MatchSettings``."""

    model: TouchModel | None = None
    look_back: Duration | None = None
    send_probable: bool | None = None
