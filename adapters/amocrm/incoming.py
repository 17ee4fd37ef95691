"""What the forms of incoming leads ("неразобранное") tell of their visitors (contract amocrm 7, 14).

A lead does not name its form, and whether a form is listed after it was accepted is not verified: so the newest forms
are looked at before leads are read, and kept for leads that show later. Accounts without such leads are not asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from adapters.amocrm.api import UNSORTED, Api
from adapters.amocrm.wire import Unsorted
from bridge.model import ONCE, Clue

_PAGES = 4  # of 250 forms at most; older ones wait for weeks, or are decided
_KEPT = 20_000  # leads whose forms are remembered
_OVERLAP = 600  # seconds; a form may show late


@dataclass(slots=True)
class Incoming:
    """Forms of one account. ``clues`` looks into memory alone."""

    api: Api
    _clues: dict[int, tuple[Clue, ...]] = field(default_factory=dict)
    _newest: int = 0

    async def look(self) -> None:
        """Read the forms that came since the last look, newest first."""
        until = self._newest - _OVERLAP
        page = 0
        async for rows in self.api.pages(UNSORTED):
            page += 1
            for form in rows.items:
                self._newest = max(self._newest, form.created_at)
                self._keep(form)
            if page == _PAGES or (rows.items and rows.items[-1].created_at < until):
                break
        for lead in list(self._clues)[: len(self._clues) - _KEPT]:
            del self._clues[lead]

    def clues(self, lead: int) -> tuple[Clue, ...]:
        """Texts of the lead's form in which identifiers may be found, the page it stood on first."""
        return self._clues.get(lead, ())

    def _keep(self, form: Unsorted) -> None:
        told = (("form_page", form.metadata.form_page), ("referer", form.metadata.referer))
        clues = tuple([Clue(f"{ONCE}{name}", text) for name, text in told if isinstance(text, str) and text])
        if clues:
            self._clues |= {link.id: clues for link in form.embedded.leads or ()}
