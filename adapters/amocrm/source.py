"""Leads read from amoCRM. What to ask is in ``api`` and ``scan``, what it means in ``mapping`` and ``history``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import pairwise

from adapters.amocrm import api, auth, checks, mapping
from adapters.amocrm.api import Api, together
from adapters.amocrm.history import Change, Moves, entries_of, is_settled, until
from adapters.amocrm.scan import LeadScan, bad_of, head_of, seconds_of
from adapters.amocrm.settings import AmoCrmSettings, LongLivedToken
from adapters.amocrm.wire import Contact, Lead
from bridge.errors import RecordInvalid
from bridge.model import Catalogue, Deal, StageChange
from bridge.ports import BadRecord, Finding, Head, Listing, SourceTraits, Tools, Window

_FEW = 20  # leads whose events are asked for by id (10 to a request) rather than reading the whole window's
_IDS = 10  # most entity ids in one request for events (contract amocrm 6)
_DAY = 86400
_CHAINS = 4  # a long window's events are read in so many parts side by side


class AmoCrmSource:
    """``ports.Source`` over one amoCRM account."""

    traits = SourceTraits()

    def __init__(self, name: str, settings: AmoCrmSettings, tools: Tools) -> None:
        setup = auth.account_setup(name, settings, tools)
        self._api = Api(tools.http.account(setup))
        self._settings = settings
        self._tools = tools
        is_static = isinstance(settings.auth, LongLivedToken)
        self._token = setup.tokens.access if is_static and setup.tokens else None
        self._lexicon = mapping.Lexicon(settings.fields)
        self._currency = ""
        self._moves: dict[Window, Moves | None] = {}  # of the windows being scanned; None: not read yet

    async def check(self) -> list[Finding]:
        """See ``ports.Source.check``."""
        return await checks.check(self._api, self._token, self._settings.fields, self._tools.clock.now())

    async def catalogue(self) -> Catalogue:
        """Pipelines, stages, loss reasons, lead fields."""
        pipelines = await self._api.everything(api.PIPELINES)
        reasons = await self._api.everything(api.LOSS_REASONS)
        return mapping.catalogue_of(pipelines, reasons, await self._api.everything(api.LEAD_FIELDS))

    async def scan(self, window: Window) -> AsyncGenerator[Listing, None]:
        """See ``ports.Source.scan``; oldest modification first."""
        self._moves[window] = None
        try:
            async with aclosing(LeadScan(self._api, *seconds_of(window)).listings()) as listings:
                async for listing in listings:
                    yield listing
        finally:
            self._moves.pop(window, None)

    async def fetch(self, keys: Sequence[str]) -> Listing:
        """See ``ports.Source.fetch``."""
        asked = {int(own) for kind, _, own in (key.partition(":") for key in keys) if kind == "lead" and own.isdigit()}
        heads: list[Head] = []
        bad: list[BadRecord] = []
        async for rows in self._api.by_ids(api.LEADS, asked):
            heads.extend(head_of(lead) for lead in rows.items if lead.id in asked)
            bad.extend(bad_of(row) for row in rows.bad)
        return Listing(tuple(heads), tuple(bad))

    async def complete(self, heads: Sequence[Head], known: frozenset[str], window: Window) -> list[Deal | BadRecord]:
        """See ``ports.Source.complete``."""
        if not heads:
            return []
        terms = mapping.Terms(await self._account_currency(), self._lexicon)
        leads: list[Lead] = [head.row for head in heads]
        contacts = await self._contacts(leads)
        histories = await self._histories(heads, known, window)
        return [_deal(head, contacts, history, terms) for head, history in zip(heads, histories, strict=True)]

    async def close(self) -> None:
        """Nothing of its own to close."""

    async def _account_currency(self) -> str:
        if not self._currency:
            told = (await self._api.account()).currency or ""
            is_code = len(told) == 3 and told.isascii() and told.isupper()
            self._currency = told if is_code else self._tools.tenant.currency
        return self._currency

    async def _contacts(self, leads: Sequence[Lead]) -> dict[int, Contact]:
        ids = (link.id for lead in leads for link in mapping.links_of(lead))
        found: dict[int, Contact] = {}
        async for rows in self._api.by_ids(api.CONTACTS, ids):
            found.update((contact.id, contact) for contact in rows.items)
        return found

    # --- history ---

    async def _histories(
        self, heads: Sequence[Head], known: frozenset[str], window: Window
    ) -> list[tuple[StageChange, ...]]:
        """Stage entries of each head, from the window's events; lead by lead where those cannot be enough."""
        moves = await self._window_moves(window, len(heads))
        start = seconds_of(window)[0]
        changes = {head.key: moves.of(head.row.id) if moves is not None else [] for head in heads}
        unclear = [
            head.row.id
            for head in heads
            if moves is None or _is_unclear(head.row, changes[head.key], start, head.key in known)
        ]
        if unclear:
            own = await self._own_moves(unclear)
            asked = frozenset(unclear)
            changes |= {head.key: own.of(head.row.id) for head in heads if head.row.id in asked}
        return [entries_of(head.row, until(head.row, changes[head.key]), is_known=head.key in known) for head in heads]

    async def _window_moves(self, window: Window, heads: int) -> Moves | None:
        """The window's events, read once per scan; None when asking lead by lead takes fewer requests."""
        moves = self._moves.get(window)
        if moves is None and window in self._moves and heads > _FEW:
            moves = await self._read_window(window)
            self._moves[window] = moves
        return moves

    async def _read_window(self, window: Window) -> Moves:
        moves = Moves()
        first, last = seconds_of(window)
        chains = _CHAINS if last - first > _DAY else 1
        edges = [first + (last + 1 - first) * part // chains for part in range(chains + 1)]
        await together(*(self._read_span(moves, start, end) for start, end in pairwise(edges)))
        return moves

    async def _read_span(self, moves: Moves, start: int, end: int) -> None:
        """Events of these seconds, and one more on both sides: bounds may be exclusive (contract amocrm 17)."""
        bounds = [("filter[created_at][from]", start - 1), ("filter[created_at][to]", end + 1)]
        async for rows in self._api.pages(api.EVENTS, bounds):
            moves.add(rows.items)

    async def _own_moves(self, leads: Sequence[int]) -> Moves:
        moves = Moves()
        for start in range(0, len(leads), _IDS):
            query = [("filter[entity_id][]", lead) for lead in leads[start : start + _IDS]]
            async for rows in self._api.pages(api.EVENTS, query):
                moves.add(rows.items)
        return moves


def _is_unclear(lead: Lead, changes: Sequence[Change], start: int, is_known: bool) -> bool:
    """Whether a lead's own events must be read: it is older than the window, or its stage is not explained."""
    if not is_known and lead.created_at < start:
        return True
    since = start if is_known else lead.created_at + 1
    return not is_settled(lead, until(lead, changes), since)


def _deal(
    head: Head, contacts: dict[int, Contact], history: tuple[StageChange, ...], terms: mapping.Terms
) -> Deal | BadRecord:
    try:
        return mapping.deal_of(head.row, head.version, contacts, history, terms)
    except RecordInvalid as error:
        return BadRecord(head.key, error.code, str(error), head.version)


def build(name: str, settings: AmoCrmSettings, tools: Tools) -> AmoCrmSource:
    """The source of one ``[tenants.*.sources.*]`` section.

    Raises:
        ConfigError: a secret cannot be read.
    """
    return AmoCrmSource(name, settings, tools)
