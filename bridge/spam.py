"""Settings of spam rules: which signals a tenant looks for, and how many make a lead spam. Off by default."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from bridge.config_base import Duration, Model

WINDOW_MAX = timedelta(days=31)
SignalName = Literal[
    "phone_invalid", "email_invalid", "email_disposable", "honeypot", "too_fast",
    "duplicate", "burst_client", "burst_page", "burst_ip",
]  # fmt: skip
SIGNALS: tuple[SignalName, ...] = get_args(SignalName)


class Rule(Model):
    """One signal that is looked for. ``alone``: it is enough by itself, whatever ``needs`` says."""

    alone: bool = False


class Repeat(Rule):
    """The same person made another request at most so long before."""

    within: Annotated[Duration, Field(ge=timedelta(seconds=1), le=WINDOW_MAX)]


class Burst(Repeat):
    """At least ``count`` requests of one origin, this one and those at most so long before."""

    count: Annotated[int, Field(ge=2, le=10_000)]


def _switched(value: Any) -> Any:
    """``true`` looks for the signal, ``false`` does not, ``"alone"`` is also satisfied with it."""
    if isinstance(value, bool):
        return {} if value else None
    return {"alone": True} if value == "alone" else value


Switch = Annotated[Rule | None, BeforeValidator(_switched)]


class SpamSettings(Model):
    """Rules of one tenant: each is off until it is named. ``needs``: so many different signals make a lead spam.

    ``mark``: write-back marks deals that are spam in their CRM.
    """

    needs: Annotated[int, Field(ge=1, le=9)] = 2
    phone_invalid: Switch = None
    email_invalid: Switch = None
    email_disposable: Switch = None
    honeypot: Switch = None
    too_fast: Switch = None
    duplicate: Repeat | None = None
    burst_client: Burst | None = None
    burst_page: Burst | None = None
    burst_ip: Burst | None = None
    mark: bool = False

    @model_validator(mode="after")
    def _can_decide(self) -> SpamSettings:
        rules = self.rules
        if rules and len(rules) < self.needs and not any(rule.alone for rule in rules.values()):
            raise ValueError(
                f"needs = {self.needs}, and only {', '.join(rules)} can be noticed: nothing would ever be spam; "
                'look for more signals, lower needs, or let one be enough alone (honeypot = "alone")'
            )
        return self

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The rules that are on, by the name of their signal."""
        given = {name: getattr(self, name) for name in SIGNALS}
        return {name: rule for name, rule in given.items() if rule is not None}

    @property
    def meaning(self) -> str:
        """The rules as one text: equal texts judge alike."""
        return self.model_dump_json(exclude={"mark"}, exclude_none=True)
