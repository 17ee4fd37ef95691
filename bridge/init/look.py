"""What the accounts tell: names, fields, goals. Through the same adapters, limits and tokens as the daemon's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import TypeVar

from bridge.catalogue import Catalogue
from bridge.compose import Installation
from bridge.config import SecretRef
from bridge.errors import BridgeError, ConfigError
from bridge.init.wanted import Section
from bridge.log import redact
from bridge.survey import CreatesTargets, DestinationSurvey, ListsTargets, SourceSurvey, SurveysFields, Target
from bridge.tenant import DestinationUnit, SourceUnit

T = TypeVar("T")


@dataclass(slots=True)
class SourceSeen:
    """A source as it is. ``error`` says why it could not be asked; ``is_early``: it lacks a secret or a grant yet."""

    kind: str
    catalogue: Catalogue = field(default_factory=Catalogue)
    survey: SourceSurvey = field(default_factory=lambda: SourceSurvey(()))
    error: str = ""
    is_early: bool = False


@dataclass(slots=True)
class DestinationSeen:
    """A destination as it is; see :class:`SourceSeen`. ``can_create`` goals."""

    kind: str
    survey: DestinationSurvey = field(default_factory=DestinationSurvey)
    error: str = ""
    is_early: bool = False
    is_listed: bool = False
    can_create: bool = False


@dataclass(slots=True)
class Seen:
    """All accounts of a tenant, by own name."""

    sources: dict[str, SourceSeen] = field(default_factory=dict)
    destinations: dict[str, DestinationSeen] = field(default_factory=dict)

    def parts(self) -> dict[str, SourceSeen | DestinationSeen]:
        """Both sides."""
        return {**self.sources, **self.destinations}

    @property
    def errors(self) -> list[str]:
        """Accounts that could not be asked although nothing of theirs is missing."""
        return [f"{own}: {seen.error}" for own, seen in self.parts().items() if seen.error and not seen.is_early]


@dataclass(slots=True)
class Look:
    """An opened installation and the tenant's adapters. Close it when done."""

    installation: Installation
    sources: dict[str, SourceUnit]
    destinations: dict[str, DestinationUnit]

    @classmethod
    def at(cls, installation: Installation, tenant: str) -> Look:
        return cls(installation, *installation.units(tenant))

    async def see(self, early: Collection[str]) -> Seen:
        """Ask every account, side by side. What goes wrong with one is its own matter.

        ``early``: own names of those that cannot be expected to answer yet.
        """
        sources, destinations = await asyncio.gather(
            asyncio.gather(*(_source(unit) for unit in self.sources.values())),
            asyncio.gather(*(_destination(unit) for unit in self.destinations.values())),
        )
        seen = Seen(
            dict(zip(self.sources, sources, strict=True)), dict(zip(self.destinations, destinations, strict=True))
        )
        for own, item in seen.parts().items():
            item.is_early = bool(item.error) and own in early
        return seen

    async def create(self, own: str, identifier: str, name: str) -> Target:
        """A new goal at a destination.

        Raises:
            BridgeError: it was not created, or nobody knows.
        """
        port = self.destinations[own].port
        if not isinstance(port, CreatesTargets):
            raise ConfigError(f"goals of {own} cannot be created from here")
        return await port.create_target(identifier, name)

    async def close(self) -> None:
        units: list[SourceUnit | DestinationUnit] = [*self.sources.values(), *self.destinations.values()]
        for unit in units:
            if unit.port is not None:
                await unit.port.close()
        await self.installation.close()


async def _source(unit: SourceUnit) -> SourceSeen:
    seen = SourceSeen(unit.settings.kind)
    port = unit.port
    if port is None:
        seen.error = redact(unit.error)
        return seen
    catalogue, seen.error = await _asked(port.catalogue)
    seen.catalogue = catalogue or seen.catalogue
    if not seen.error and isinstance(port, SurveysFields):
        survey, seen.error = await _asked(port.survey)
        seen.survey = survey or seen.survey
    return seen


async def _destination(unit: DestinationUnit) -> DestinationSeen:
    port = unit.port
    seen = DestinationSeen(unit.settings.kind, can_create=isinstance(port, CreatesTargets))
    if port is None:
        seen.error = redact(unit.error)
    elif isinstance(port, ListsTargets):
        survey, seen.error = await _asked(port.targets)
        seen.survey = survey or seen.survey
        seen.is_listed = survey is not None and not survey.note
    return seen


async def _asked(ask: Callable[[], Awaitable[T]]) -> tuple[T | None, str]:
    try:
        return await ask(), ""
    except BridgeError as error:
        return None, redact(f"{type(error).__name__}: {error}")


def secrets_of(section: Section) -> list[SecretRef]:
    """Every reference to a secret in a section."""
    return [SecretRef(**value) for value in section.values.values() if _is_reference(value)]


def _is_reference(value: object) -> bool:
    return isinstance(value, dict) and set(value) <= {"env", "file"} and len(value) == 1
