"""Which adapters there are: folders of the ``adapters`` namespace package, then entry points of other distributions.

Nothing is imported until it is asked for, so a broken adapter hurts only the tenants that use it. A distribution adds
its own by an entry point in the group ``bridge.adapters``, named after the kind and pointing at its ``SPEC``.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from bridge.collector.settings import KIND, CollectorSettings
from bridge.errors import ConfigError
from bridge.ports import AdapterSpec

GROUP = "bridge.adapters"
_NAMESPACE = "adapters"
_SIDES = {"sources": "source", "destinations": "destination"}


def kinds() -> tuple[str, ...]:
    """Every kind that can be named in a configuration, sorted; imports none of them."""
    return tuple(sorted({*_folders(), *_plugins()}))


def adapters() -> dict[str, AdapterSpec]:
    """Every adapter by kind, all imported.

    Raises:
        ConfigError: one of them cannot be imported; the message names it.
    """
    return {kind: spec(kind) for kind in kinds()}


def spec(kind: str) -> AdapterSpec:
    """The adapter of this kind, imported on first use. A folder wins over an entry point of the same name.

    Raises:
        ConfigError: there is no such kind, or it cannot be imported.
    """
    if kind in _folders():
        return _imported(kind)
    if kind in _plugins():
        return _checked(kind, _loaded(kind, _plugins()[kind].load))
    raise ConfigError(f'unknown kind "{kind}"; {_near(kind, kinds())}')


def settings_of(section: str, kind: str) -> type[Any]:
    """The settings model of an adapter: what ``config.load`` needs.

    Args:
        section: "sources", "destinations", or "collector", which has one kind only.
        kind: as written in the configuration.

    Raises:
        ConfigError: no such kind, or it cannot be used on this side.
    """
    if section == KIND:
        return CollectorSettings
    side = _SIDES[section]
    part = getattr(spec(kind), side)
    if part is None:
        fitting = tuple(name for name, known in adapters().items() if getattr(known, side) is not None)
        raise ConfigError(f'kind "{kind}" cannot be a {side}; {_near(kind, fitting)}')
    settings: type[Any] = part.settings
    return settings


def _near(kind: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(kind, known, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(close)}? " if close and kind not in close else ""
    return f"{hint}known: {', '.join(known) or 'none'}"


@cache
def _folders() -> frozenset[str]:
    namespace = importlib.import_module(_NAMESPACE)
    return frozenset(module.name for module in pkgutil.iter_modules(namespace.__path__) if module.ispkg)


@cache
def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


@cache
def _imported(kind: str) -> AdapterSpec:
    folder = f"{_NAMESPACE}.{kind}"
    return _checked(kind, _loaded(kind, lambda: getattr(importlib.import_module(folder), "SPEC", None)))


def _loaded(kind: str, load: Callable[[], Any]) -> Any:
    # Whatever an adapter raises while it is imported becomes one message that names it: it must not hurt the others.
    try:
        return load()
    except Exception as error:
        raise ConfigError(f'adapter "{kind}" cannot be imported: {error!r}') from error


def _checked(kind: str, found: Any) -> AdapterSpec:
    if not isinstance(found, AdapterSpec) or found.kind != kind:
        raise ConfigError(f'adapter "{kind}" has no SPEC of that kind; reinstall or remove it')
    return found
