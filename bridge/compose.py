"""Put an installation together: configuration, store, HTTP, adapters, tenants. Used by the daemon and the commands."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog

from bridge import registry
from bridge.collector.settings import CollectorSettings
from bridge.collector.source import CollectorSource
from bridge.config import Config, DatabaseSettings, SourceSettings, TenantSettings, hook_of, load
from bridge.errors import BridgeError, ConfigError
from bridge.frozen import replace
from bridge.hints import beginning_of
from bridge.net.http import HttpClient
from bridge.net.mail import MailClient
from bridge.net.token import grant
from bridge.ports import Authorization
from bridge.store.collected import Collected
from bridge.store.engine import CommitHook, Store, is_missing
from bridge.store.hints import Hints
from bridge.store.records import Records
from bridge.store.reports import Reports
from bridge.store.requests import Requests
from bridge.store.tokens import DatabaseTokens, TokensOnDemand
from bridge.tenant import DestinationUnit, SourceUnit, Tenant
from bridge.tools import Clock, Log, TenantFacts, Tokens, Tools


@dataclass(slots=True)
class Installation:
    """Everything of one configuration file, opened. Close it when done."""

    config: Config
    clock: Clock
    log: Log
    store: Store
    http: HttpClient
    tokens: DatabaseTokens
    reports: Reports
    requests: Requests
    hints: Hints
    seed: int | None = None
    _tenants: dict[str, Tenant] = field(default_factory=dict)
    _closing: AsyncExitStack = field(default_factory=AsyncExitStack)

    @classmethod
    async def open(
        cls, config: Config, clock: Clock, *, on_commit: CommitHook | None = None, seed: int | None = None
    ) -> Installation:
        """Open the database (migrating it) and the HTTP client.

        Raises:
            ConfigError: there is no tenant, or the database cannot be opened.
            StoreError: it cannot be opened now, which may pass by itself.
        """
        _insist_on_tenants(config)
        log: Log = structlog.get_logger()
        store = await Store.open(config.database_url(), on_commit)
        tokens = DatabaseTokens(store, clock)
        http = HttpClient(clock, log, tokens)
        return cls(config, clock, log, store, http, tokens, Reports(store), Requests(store, clock), Hints(store), seed)

    @classmethod
    async def look(cls, config: Config, clock: Clock) -> Installation:
        """The same for a look that leaves nothing behind: where there is no SQLite file yet, none is made.

        What is written meanwhile goes into one that is forgotten, all but tokens that have to be renewed: a spent one
        cannot be had again, so they make the real file.

        Raises:
            ConfigError: there is no tenant, or the database cannot be opened, or could not be made.
            StoreError: it cannot be opened now, which may pass by itself.
        """
        _insist_on_tenants(config)
        url = config.database_url()
        if not is_missing(url):
            return await cls.open(config, clock)
        stack = AsyncExitStack()
        try:
            folder = stack.enter_context(TemporaryDirectory(prefix="bridge-"))
            aside = replace(config, database=DatabaseSettings(url=f"sqlite:///{folder}/look.db"))
            made = await cls.open(aside, clock)
        except BaseException:
            await stack.aclose()
            raise
        kept = TokensOnDemand(url, clock)
        stack.push_async_callback(kept.close)
        await made.http.close()
        made.config, made.http, made._closing = config, HttpClient(clock, made.log, kept), stack
        return made

    async def tenant(self, name: str) -> Tenant:
        """The tenant at work; built once.

        Raises:
            ConfigError: no such tenant, or its section is broken.
        """
        if name not in self._tenants:
            self._tenants[name] = await self._build(name, self.settings(name))
        return self._tenants[name]

    def settings(self, name: str) -> TenantSettings:
        """The tenant's settings.

        Raises:
            ConfigError: no such tenant, or its section is broken.
        """
        if name in self.config.broken:
            raise ConfigError("\n".join(self.config.broken[name]))
        if name not in self.config.tenants:
            known = ", ".join(sorted(self.config.tenants)) or "none"
            raise ConfigError(f"there is no tenant {name} in {self.config.path} (known: {known})")
        return self.config.tenants[name]

    def source_settings(self, name: str, own: str) -> SourceSettings:
        """The settings of one of the tenant's sources.

        Raises:
            ConfigError: no such tenant or source, or the tenant's section is broken.
        """
        sources = self.settings(name).sources
        if own not in sources:
            raise ConfigError(f"tenant {name} has no source {own} (known: {', '.join(sources) or 'none'})")
        found: SourceSettings = sources[own]
        return found

    def authorization(self, name: str, own: str) -> Authorization:
        """How access to a source is granted; nothing is asked of the vendor yet.

        Raises:
            ConfigError: no such tenant or source, a secret is missing, or the source needs no code.
        """
        section = self.source_settings(name, own)
        spec = registry.spec(section.kind).source
        if spec is None or spec.authorize is None:
            raise ConfigError(f"source {own} of {name} is of kind {section.kind}, which is not authorized by a code")
        return spec.authorize(own, section, self._tools(own, _facts(name, self.settings(name))))

    async def grant(self, name: str, own: str, code: str) -> Tokens:
        """Exchange a code for a source and save what it is worth (see ``net.token.grant``); the source is due at once.

        Raises:
            ConfigError: as ``authorization`` does.
        """
        asked = self.authorization(name, own)
        tokens = await grant(asked, self.http.door(asked.setup), code, self.tokens)
        await Records(self.store).set_source(name, own, due=self.clock.now())
        return tokens

    def names(self, only: str | None = None) -> list[str]:
        """Tenants to work for: all sound ones, or the one asked for."""
        if only is None:
            return sorted(self.config.tenants)
        self.settings(only)
        return [only]

    async def close(self) -> None:
        for tenant in self._tenants.values():
            await tenant.close()
        await self.http.close()
        await self.store.close()
        await self._closing.aclose()

    def units(self, name: str) -> tuple[dict[str, SourceUnit], dict[str, DestinationUnit]]:
        """The tenant's adapters alone, for whoever only looks; the caller closes their ports.

        Raises:
            ConfigError: no such tenant, or its section is broken.
        """
        settings = self.settings(name)
        facts = _facts(name, settings)
        sources = {own: self._source(own, section, facts) for own, section in settings.sources.items()}
        destinations = {own: self._destination(own, section, facts) for own, section in settings.destinations.items()}
        return sources, destinations

    async def hindered(self, name: str) -> list[str]:
        """Why not one account of the tenant can work (missing secrets), one line for each; empty where one can.

        Raises:
            ConfigError: no such tenant, or its section is broken.
        """
        sources, destinations = self.units(name)
        units: list[SourceUnit | DestinationUnit] = [*sources.values(), *destinations.values()]
        ports = [unit.port for unit in units if unit.port is not None]
        for port in ports:
            await port.close()
        return [] if ports else [f"{name}/{unit.name}: {unit.error}" for unit in units]

    async def _build(self, name: str, settings: TenantSettings) -> Tenant:
        sources, destinations = self.units(name)
        join_key = await Records(self.store).join_key(name)
        dice = random.Random(self.seed)  # noqa: S311 - jitter of pauses, no secret
        bound = structlog.get_logger().bind(tenant=name)
        return Tenant(name, settings, sources, destinations, self.store, self.clock, bound, join_key, dice)

    def _source(self, own: str, section: Any, facts: TenantFacts) -> SourceUnit:
        if isinstance(section, CollectorSettings):
            return SourceUnit(own, section, CollectorSource(facts.name, section, Collected(self.store), self.clock))
        spec = registry.spec(section.kind).source
        assert spec is not None, "settings_of refused kinds without a source"
        tools = self._tools(own, facts)
        port, error = _built(spec.build, own, section, tools)
        unit = SourceUnit(own, section, port, error, apis=registry.spec(section.kind).apis, drift=tools.drift)
        self._address(unit, facts.name)
        return unit

    def _address(self, unit: SourceUnit, tenant: str) -> None:
        """Where this source's webhooks come to, if anywhere."""
        hook = hook_of(unit.settings)
        if hook is None:
            return
        try:
            secret = hook.path_secret(self.config.folder)
        except ConfigError as error:
            unit.hook_error = str(error)
            return
        if self.config.web.public_url:
            unit.hook_beginning = beginning_of(self.config.web.public_url, tenant, unit.name)
            unit.hook = f"{unit.hook_beginning}{secret}"

    def _destination(self, own: str, section: Any, facts: TenantFacts) -> DestinationUnit:
        spec = registry.spec(section.kind).destination
        assert spec is not None, "settings_of refused kinds without a destination"
        tools = self._tools(own, facts)
        port, error = _built(spec.build, own, section, tools)
        apis = registry.spec(section.kind).apis
        return DestinationUnit(own, section, port, error, spec.traits_for(section), apis=apis, drift=tools.drift)

    def _tools(self, own: str, facts: TenantFacts) -> Tools:
        log = structlog.get_logger().bind(tenant=facts.name, account=own)
        return Tools(self.http, self.clock, log, self.config.folder, facts, MailClient(self.clock))


def _insist_on_tenants(config: Config) -> None:
    """Nothing to do is not the same as nothing wrong.

    Raises:
        ConfigError: the configuration has no tenant, not even a broken one.
    """
    if config.tenants or config.broken:
        return
    named = " or ".join(f'"{pattern}"' for pattern in config.unmatched)
    why = f": include names {named}, and there is no such file" if named else ""
    raise ConfigError(f'{config.path} has no tenant to work for{why}; write one with "bridge init"')


def _facts(name: str, settings: TenantSettings) -> TenantFacts:
    needs_values = any(goal.value == "deal_at_goal" for goal in settings.goals)
    needs_payments = any(goal.is_per_payment for goal in settings.goals)
    needs = (needs_values, needs_payments)
    return TenantFacts(name, settings.timezone, settings.currency, settings.region, *needs)


def _built(build: Callable[[str, Any, Tools], Any], own: str, section: Any, tools: Tools) -> tuple[Any, str]:
    """An adapter, or why it could not be built (a missing secret): its tenant goes on without it."""
    try:
        return build(own, section, tools), ""
    except BridgeError as error:
        tools.log.error("tenant_broken", error=str(error))
        return None, str(error)


def load_config(path: Path) -> Config:
    """The configuration with every adapter's own settings.

    Raises:
        ConfigError: the file or its top level is wrong.
    """
    return load(path, registry.settings_of)


def settle_process() -> None:
    """What suits a process of ours, once everything is imported.

    Modules stay for ever and are never looked at again. Pages of records die young and by themselves: the three or four
    that are alive at a time are no reason to collect. The database's thread asks for the interpreter's lock some fifty
    times a page, and by default waits 5 ms each time.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    sys.setswitchinterval(0.0005)
