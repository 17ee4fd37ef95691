"""The simulated Metrica as a source: the same counter, on whose site visitors send forms (contract yandex 9.2)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from adapters.yandex_metrica.fake import FORM, Metrica
from adapters.yandex_metrica.fake_stats import SimVisit
from bridge.sim.events import Call
from bridge.sim.faults import FaultPlan
from bridge.sim.server import VisitSimulator
from bridge.tools import Clock


class Visits(Metrica, VisitSimulator):
    """A counter whose logs are read. Without limits they are made at once."""

    def __init__(
        self, clock: Clock, faults: FaultPlan | None = None, *, name: str = "sim", is_limited: bool = True
    ) -> None:
        super().__init__(clock, faults, name=name, is_limited=is_limited)
        self.add_goal(FORM, kind="form")
        if not is_limited:
            self.statistics.making = timedelta(0)
        self._sent: dict[int, SimVisit] = {}

    def send(self, form: Call) -> None:
        """A visit of some minutes, from the click that brought the visitor or from nowhere, ends in a form."""
        began = form.at - timedelta(minutes=1 + form.id % 7)
        click = form.click
        client_id = (click and click.client_id) or f"{int(began.timestamp())}{form.id:08d}"
        url = click.landing if click else "https://okna.example/"
        self._sent[form.id] = self.fill_in(client_id, began, form.at, url)

    def visit_key(self, form: Call) -> str:
        return f"visit:{self._sent[form.id].number}"

    def settings(self) -> dict[str, Any]:
        """A section that reads this counter."""
        return visit_settings(self)


def visit_settings(counter: Metrica) -> dict[str, Any]:
    """A source that reads the visits of a counter, which may be written to as well."""
    section = counter.settings() if not isinstance(counter, Visits) else Metrica.settings(counter)
    known = ("kind", "counter_id", "token", "base_url")
    return {**{key: section[key] for key in known}, "form_goals": [FORM]}
