"""HubSpot as a source: contacts and deals by time of change, completed with histories and each other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import timedelta

from adapters.hubspot import auth, checks, clues, details, directory, entities, history, mapping, plan, survey, times
from adapters.hubspot.api import Api
from adapters.hubspot.details import Details
from adapters.hubspot.entities import CONTACT, DEAL, ENTITIES, Entity
from adapters.hubspot.mapping import Gone, Read
from adapters.hubspot.plan import Plan
from adapters.hubspot.scan import Scan
from adapters.hubspot.settings import HubSpotSettings
from adapters.hubspot.wire import Property, Rows
from bridge.catalogue import Catalogue
from bridge.errors import RecordInvalid
from bridge.model import Deal
from bridge.ports import BadRecord, Finding, Head, Listing, Source, SourceTraits, Window
from bridge.survey import SourceSurvey
from bridge.tools import Tools
from bridge.unbroken import together

_Plans = dict[Entity, Plan]


class HubSpotSource:
    """One portal through a private app or an OAuth app."""

    def __init__(self, name: str, settings: HubSpotSettings, tools: Tools) -> None:
        """Raises ConfigError when a secret is missing."""
        # A change may show seconds to minutes late in searches (contract hubspot 3): the overlap finds it.
        self.traits = SourceTraits(
            overlap=timedelta(minutes=10), settle=timedelta(seconds=15), restorable=timedelta(days=90)
        )
        self._settings = settings
        self._tools = tools
        self._read = [entity for entity in ENTITIES if entity.name in settings.entities]
        setup, self._app = auth.account_setup(name, settings, tools)
        self._api = Api(tools.http.account(setup), settings.objects_path)
        fields = {kind: tuple(names) for kind, names in settings.fields.items()}
        self._rules = plan.Rules(
            fields,
            settings.properties,
            settings.loss_reason_field,
            settings.home_currency or tools.tenant.currency,
            needs_values=tools.tenant.needs_values,
            parents=CONTACT in self._read,
        )
        self._names: directory.Directory | None = None
        self._plans: _Plans = {}
        self._unknown: set[tuple[str, str]] = set()  # stages that the portal does not name

    # --- checking and naming ---

    async def check(self) -> list[Finding]:
        """Token, scopes, names, configured properties, currency. Changes nothing."""
        seen = checks.Seen(self._settings, self._rules, self._read, self._app is not None)
        return await checks.check(self._api, seen, self._read_names)

    async def catalogue(self) -> Catalogue:
        """Pipelines (contacts are one called "contacts"), loss reasons, properties. Fresh.

        Raises:
            AuthError, Throttled, Unavailable, Refused, Drift: the portal's answer.
        """
        names = await self._fresh_names()
        rules = self._rules
        return directory.catalogue(names, self._read, rules.loss_reason_field, rules.properties)

    async def survey(self) -> SourceSurvey:
        """See ``survey.SurveysFields``. Contacts are looked at in any case: deals have their clicks from them."""
        names = self._names or await self._fresh_names()
        wanted = [entity for entity in ENTITIES if entity in self._read or entity is CONTACT]
        return SourceSurvey(await survey.survey(self._api, wanted, names))

    async def _read_names(self) -> directory.Directory:
        """Contacts' properties are read in any case: deals have their clicks from them."""

        async def properties(entity: Entity) -> list[Property]:
            return await self._api.properties(entity) if entity in self._read or entity is CONTACT else []

        contacts, deals = await together(properties(CONTACT), properties(DEAL))
        pipelines = await self._api.pipelines() if DEAL in self._read else []
        for odd in (directory.oddity(stage) for pipeline in pipelines for stage in pipeline.stages):
            if odd:
                self._tools.drift.note("stage isClosed", odd)
        return directory.build({CONTACT: contacts, DEAL: deals}, pipelines, has_leads=CONTACT in self._read)

    async def _fresh_names(self) -> directory.Directory:
        names = await self._read_names()
        self._names = names
        self._plans = {entity: plan.plan(entity, names, self._rules) for entity in ENTITIES}
        return names

    async def _ready(self) -> _Plans:
        if self._names is None:
            await self._fresh_names()
        return self._plans

    # --- listing ---

    async def scan(self, window: Window) -> AsyncGenerator[Listing, None]:
        """Every contact and deal modified inside the window, contacts first.

        Raises:
            Drift: records come unsorted, from outside the window, or a promised page is empty.
        """
        plans = await self._ready()
        for place, entity in enumerate(self._read):
            scan = Scan.of(self._api, entity, plans[entity].requested, window)
            async with aclosing(scan.rows()) as pages:
                async for rows in pages:
                    done = (place + scan.done) / len(self._read)
                    yield _listing(plans[entity], rows, scan.high, done)

    async def fetch(self, keys: Sequence[str]) -> Listing:
        """These records as they are now; deleted ones as such. Those that never were are left out."""
        plans = await self._ready()
        listings = await together(*(self._fetched(plans[entity], keys) for entity in self._read))
        heads = [head for listing in listings for head in listing.heads]
        return Listing(tuple(heads), tuple([bad for listing in listings for bad in listing.bad]))

    async def _fetched(self, plan: Plan, keys: Sequence[str]) -> Listing:
        entity = plan.entity
        ids = [own for key in keys if key.startswith(entity.prefix) and (own := entities.id_of(key)).isdigit()]
        found = await self._api.records(entity, ids, plan.requested)
        deleted = await self._api.archived(entity, sorted(found.missing.difference(found.merged)))
        listing = _listing(plan, found.rows)
        gone = [mapping.gone_head(entity, record) for record in deleted.rows.records]
        gone += [mapping.merged_head(entity, *one) for one in found.merged.items()]
        heads = [head for head in gone if isinstance(head, Head)]
        bad = [head for head in gone if isinstance(head, BadRecord)]
        return Listing((*listing.heads, *heads), (*listing.bad, *bad))

    # --- completing ---

    async def complete(self, heads: Sequence[Head], known: frozenset[str], window: Window) -> list[Deal | BadRecord]:
        """Heads made into deals, from what the records are at this moment: a search may lag behind.

        The whole history is read, of known keys too: it costs no request more.

        Raises:
            AuthError, Throttled, Unavailable, Refused, Drift: the portal's answer.
        """
        if not heads:
            return []
        plans = await self._ready()
        found = await details.read(self._api, [head for head in heads if not isinstance(head.row, Gone)], plans)
        plans = await self._with_stages(found, plans)
        return [_completed(head, found, plans) for head in heads]

    async def _with_stages(self, found: Details, plans: _Plans) -> _Plans:
        """The names, read again when a record is in a new stage; one that stays unknown is asked for once."""
        assert self._names is not None
        kinds = [(entity, record) for key, record in found.records.items() if (entity := entities.of_key(key))]
        current = {history.place_of(record, self._names, entity) for entity, record in kinds}
        unknown = {place for place in current if not self._names.is_known(*place)} - self._unknown
        if not unknown:
            return plans
        self._unknown |= unknown
        await self._fresh_names()
        return self._plans

    async def close(self) -> None:
        """Nothing of its own to close."""


def _listing(plan: Plan, rows: Rows, high: int | None = None, done: float | None = None) -> Listing:
    """Heads of a page. One modified at the window's end or later belongs to the next window."""
    heads = [mapping.head(plan, record) for record in rows.records]
    bad = [head for head in heads if isinstance(head, BadRecord)]
    bad += [mapping.unreadable(plan.entity, number) for number in rows.bad]
    good = [head for head in heads if isinstance(head, Head)]
    inside = [head for head in good if high is None or times.millis(head.updated_at) < high]
    return Listing(tuple(inside), tuple(bad), done)


def _completed(head: Head, found: Details, plans: _Plans) -> Deal | BadRecord:
    entity = entities.of_key(head.key)
    assert entity is not None
    number = entities.id_of(head.key)
    if isinstance(head.row, Gone):
        return mapping.gone(entity, head.row, head.version)
    if head.key in found.gone:
        return mapping.gone(entity, Gone(number, head.updated_at), head.version)
    record = found.records.get(head.key)
    if record is None:
        bad = mapping.unreadable(entity, number)
        return BadRecord(bad.key, bad.code, bad.message, head.version)
    try:
        if entity is CONTACT:
            return mapping.lead(Read(record, head.version), plans[CONTACT])
        links = found.links.get(number, ())
        people = [found.people[link.number] for link in links if link.number in found.people]
        primary = frozenset([link.number for link in links if link.is_primary])
        ordered = clues.main_first(people, primary, plans[CONTACT], times.created_at(record))
        return mapping.deal(Read(record, head.version, ordered), plans[DEAL], plans[CONTACT])
    except RecordInvalid as error:
        return BadRecord(head.key, error.code, str(error), head.version)


def build(name: str, settings: HubSpotSettings, tools: Tools) -> Source:
    """The source behind a configuration section.

    Raises:
        ConfigError: a secret is missing.
    """
    return HubSpotSource(name, settings, tools)
