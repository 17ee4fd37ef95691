"""Leads read from amoCRM. What to ask is in ``api`` and ``scan``, what it means in ``mapping`` and ``history``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import timedelta

from adapters.amocrm import api, auth, checks, mapping, marks, survey, wire
from adapters.amocrm.api import Api
from adapters.amocrm.events import Past, StageTimes
from adapters.amocrm.fates import Fates, Gone, gone_deal
from adapters.amocrm.incoming import Incoming
from adapters.amocrm.marks import LeadMarker
from adapters.amocrm.registration import Webhooks
from adapters.amocrm.scan import LeadScan, bad_of, head_of, seconds_of
from adapters.amocrm.settings import AmoCrmSettings
from adapters.amocrm.wire import Account, ContactLink, Lead
from bridge.catalogue import Catalogue
from bridge.errors import RecordInvalid
from bridge.frozen import replace
from bridge.model import Deal
from bridge.ports import BadRecord, Finding, Head, Listing, SourceTraits, Window
from bridge.survey import SourceSurvey
from bridge.tools import Tools

_RECENT = timedelta(minutes=10)
_LAG = timedelta(seconds=10)  # after a change, in which its event may not be there yet (contract amocrm 17)


class AmoCrmSource:
    """``ports.Source`` over one amoCRM account."""

    traits = SourceTraits(is_read_whole=True)

    def __init__(self, name: str, settings: AmoCrmSettings, tools: Tools) -> None:
        setup, self._integration = auth.account_setup(name, settings, tools)
        account = tools.http.account(setup)
        self._api = Api(account)
        self.registrar = Webhooks(self._api, account, is_wanted=settings.hook is not None and settings.hook.managed)
        self._settings = settings
        self._tools = tools
        self._lexicon = mapping.Lexicon(settings.fields)
        self._account: Account | None = None
        self._incoming = Incoming(self._api)
        listed = api.EVENTS_WITH_VALUES if tools.tenant.needs_values else api.EVENTS
        self._stages = StageTimes(self._api, tools.log, listed)
        self._own = marks.own_mark(settings.write_back)
        self._fates = Fates(self._api, self._own)
        self.marker = None if settings.write_back is None else LeadMarker(self._api, settings.write_back)

    async def check(self) -> list[Finding]:
        """See ``ports.Source.check``."""
        seen = checks.Seen(self._settings, self._tools.folder, self._integration, self._tools.clock.now())
        return await checks.check(self._api, seen)

    async def catalogue(self) -> Catalogue:
        """Pipelines, stages, loss reasons, lead fields. From time to time, so the account is asked anew as well."""
        self._account = None
        pipelines = await self._api.everything(api.PIPELINES)
        reasons = await self._api.everything(api.LOSS_REASONS)
        fields = [item for item in await self._api.everything(api.LEAD_FIELDS) if not marks.is_own(item, self._own)]
        for item in fields:
            if item.type not in wire.FIELD_TYPES:
                self._tools.drift.note("field type", item.type)
        return mapping.catalogue_of(pipelines, reasons, fields)

    async def survey(self) -> SourceSurvey:
        """See ``survey.SurveysFields``."""
        fields = await survey.survey(self._api)
        return SourceSurvey(fields, currency=await self._account_currency())

    async def scan(self, window: Window) -> AsyncGenerator[Listing, None]:
        """See ``ports.Source.scan``; oldest modification first, then what was deleted or came back."""
        self._stages.begin(window)
        await self._look_at_forms(window)
        async with aclosing(LeadScan(self._api, *seconds_of(window), self._own).listings()) as listings:
            async for listing in listings:
                yield listing
        fates = await self._fates.heads(window)
        for start in range(0, len(fates), api.MOST):
            yield Listing(tuple(fates[start : start + api.MOST]), done=1.0)

    async def fetch(self, keys: Sequence[str]) -> Listing:
        """See ``ports.Source.fetch``. What no list shows any more is looked for in the bin."""
        asked = {int(own) for kind, _, own in (key.partition(":") for key in keys) if kind == "lead" and own.isdigit()}
        heads: list[Head] = []
        bad: list[BadRecord] = []
        async for rows in self._api.by_ids(api.LEADS, asked):
            heads.extend(head_of(lead, self._own) for lead in rows.items if lead.id in asked)
            bad.extend(bad_of(row) for row in rows.bad)
        missing = asked.difference(
            [head.row.id for head in heads], [int(row.key.partition(":")[2] or 0) for row in bad]
        )
        if missing:
            heads += await self._fates.deleted(sorted(missing))
        return Listing(tuple(heads), tuple(bad))

    async def complete(self, heads: Sequence[Head], known: frozenset[str], window: Window) -> list[Deal | BadRecord]:
        """See ``ports.Source.complete``."""
        here = [head for head in heads if not isinstance(head.row, Gone)]
        if not self._stages.is_scanning(window) and any(head.key not in known for head in here):
            await self._look_at_forms(window)  # no scan has looked at them for a lead that a hint named first
        deals = await self._complete(here, known, window) if here else []
        if not self._stages.is_scanning(window):
            deals = [self._provisional(deal) for deal in deals]
        if len(here) == len(heads):
            return deals
        made = dict(zip([head.key for head in here], deals, strict=True))
        return [made.get(head.key) or gone_deal(head.row, head.version) for head in heads]

    async def _complete(self, heads: Sequence[Head], known: frozenset[str], window: Window) -> list[Deal | BadRecord]:
        """The same for leads that are there."""
        terms = mapping.Terms(await self._account_currency(), self._lexicon)
        contacts = await self._contacts([head.row for head in heads])
        histories = await self._stages.histories(heads, known, window)
        return [
            self._made(head, past, head.key in known, contacts, terms)
            for head, past in zip(heads, histories, strict=True)
        ]

    def _made(
        self, head: Head, past: Past, is_known: bool, contacts: dict[int, mapping.Card], terms: mapping.Terms
    ) -> Deal | BadRecord:
        """The deal, with what its form told where it came by one.

        The details are decoded here, one lead after the other: those of a whole page fit into no processor's cache.
        """
        lead: Lead = head.row
        try:
            whole = mapping.Whole(head, wire.details_of(lead), *past, is_known)
            deal = mapping.deal_of(whole, contacts, terms)
        except RecordInvalid as error:
            return BadRecord(head.key, error.code, str(error), head.version)
        clues = self._incoming.clues(lead.id)
        return replace(deal, clues=(*deal.clues, *clues)) if clues else deal

    def _provisional(self, deal: Deal | BadRecord) -> Deal | BadRecord:
        """A lead that a hint had read right after a change has a version of its own: the next window reads it again.

        By then the events of the change are there, also of a stage that it only passed through.
        """
        if isinstance(deal, BadRecord) or self._tools.clock.now() - deal.updated_at >= _LAG:
            return deal
        return replace(deal, version=f"{deal.version}-early")

    async def close(self) -> None:
        """Nothing of its own to close."""

    async def _known_account(self) -> Account:
        if self._account is None:
            self._account = await self._api.account()
        return self._account

    async def _account_currency(self) -> str:
        told = (await self._known_account()).currency or ""
        is_code = len(told) == 3 and told.isascii() and told.isupper()
        return told if is_code else self._tools.tenant.currency

    async def _look_at_forms(self, window: Window) -> None:
        """Forms are for leads that come in now; those of a backfill's leads are decided long since."""
        if self._tools.clock.now() - window.end < _RECENT and (await self._known_account()).is_unsorted_on:
            await self._incoming.look()

    async def _contacts(self, leads: Sequence[Lead]) -> dict[int, mapping.Card]:
        """The leads' contacts; of their own records, much larger, none is kept while the leads are made into deals."""
        ids = [link.id for lead in leads for link in _links(lead)]
        found: dict[int, mapping.Card] = {}
        async for rows in self._api.by_ids(api.CONTACTS, ids):
            found.update([(contact.id, mapping.card_of(contact, self._lexicon)) for contact in rows.items])
            for row in rows.bad:
                self._tools.log.warning("quirk", what="unreadable contact", id=row.id, reason=row.reason)
        return found


def _links(lead: Lead) -> Sequence[ContactLink]:
    """The lead's contacts; none where they cannot be read, which is told when it is made into a deal."""
    try:
        return mapping.main_first(wire.links_of(lead))
    except RecordInvalid:
        return ()


def build(name: str, settings: AmoCrmSettings, tools: Tools) -> AmoCrmSource:
    """The source of one ``[tenants.*.sources.*]`` section.

    Raises:
        ConfigError: a secret cannot be read.
    """
    return AmoCrmSource(name, settings, tools)
