"""``bridge check`` for a portal: reads a little of everything the source will need. Changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

from adapters.hubspot.api import Api
from adapters.hubspot.directory import Directory
from adapters.hubspot.entities import CONTACT, DEAL, Entity
from adapters.hubspot.plan import Rules
from adapters.hubspot.settings import HubSpotSettings
from bridge.errors import AuthError, BridgeError
from bridge.model import frozen
from bridge.ports import Finding, Level

_NUMBERS = ("number", "bool", "date", "datetime")


@frozen
class Seen:
    """What is known before anything is asked. ``read``: the entities of the settings."""

    settings: HubSpotSettings
    rules: Rules
    read: Sequence[Entity]
    is_oauth: bool


async def check(api: Api, seen: Seen, read_names: Callable[[], Awaitable[Directory]]) -> list[Finding]:
    """Token, records, associations, names, configured properties, currency; each problem is a finding."""
    findings: list[Finding] = []
    looks: dict[str, Callable[[], Awaitable[Finding]]] = {
        **{f"{entity.path}": _look(api, entity) for entity in dict.fromkeys([*seen.read, CONTACT])},
        **({"associations": lambda: _associations(api)} if DEAL in seen.read else {}),
    }
    for subject, look in looks.items():
        try:
            findings.append(await look())
        except BridgeError as error:
            findings.append(Finding(Level.ERROR, subject, str(error)))
            if isinstance(error, AuthError):
                return [Finding(Level.ERROR, "token", str(error))]
    kind = "OAuth, renewed by itself" if seen.is_oauth else "a private app's; it has no end"
    findings.insert(0, Finding(Level.OK, "token", kind))
    try:
        names = await read_names()
    except BridgeError as error:
        return [*findings, Finding(Level.ERROR, "pipelines and properties", str(error))]
    return [*findings, *_names(names, seen), *_fields(names, seen), *_currency(names, seen)]


def _look(api: Api, entity: Entity) -> Callable[[], Awaitable[Finding]]:
    async def look() -> Finding:
        await api.search(entity, {"filterGroups": [], "sorts": [], "properties": [entity.changed], "limit": 1})
        why = "leads, and where deals have click ids, phones and e-mails from" if entity is CONTACT else "sales"
        return Finding(Level.OK, entity.path, f"readable; {why}")

    return look


async def _associations(api: Api) -> Finding:
    await api.contacts_of(["1"])
    return Finding(Level.OK, "associations", "readable; which contacts a deal has")


def _names(names: Directory, seen: Seen) -> Iterator[Finding]:
    shown = ", ".join(f'"{pipeline.name}"' for pipeline in names.pipelines)
    yield Finding(Level.OK, "pipelines", f"{len(names.pipelines)}: {shown}")
    missing = [
        f"{entity.path}.{name}"
        for entity in seen.read
        for name in (entity.changed, entity.stage, "createdate")
        if not names.has(entity, name)
    ]
    if missing:
        text = f"{', '.join(missing)} cannot be read: give the app's user access to these properties"
        yield Finding(Level.ERROR, "properties", text)


def _fields(names: Directory, seen: Seen) -> Iterator[Finding]:
    """Each configured property exists for contacts or deals; else the nearest real names."""
    for kind, wanted in seen.rules.fields.items():
        for name in wanted:
            yield _named(names, f"fields.{kind}", name, (CONTACT, DEAL), is_identifier=True)
    for name in seen.rules.properties:
        yield _named(names, "properties", name, seen.read)
    if DEAL in seen.read:
        yield _named(names, "loss_reason_field", seen.rules.loss_reason_field, (DEAL,))


def _named(
    names: Directory, setting: str, name: str, places: Sequence[Entity], *, is_identifier: bool = False
) -> Finding:
    found = [(entity, about) for entity in places if (about := names.about(entity, names.code(entity, name) or ""))]
    if not found:
        near = list(dict.fromkeys(text for entity in places for text in names.nearest(entity, name)))
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        return Finding(Level.ERROR, setting, f'no property is called "{name}"{hint}')
    where = " and ".join(entity.path for entity, _ in found)
    spoilt = [entity.path for entity, about in found if about.type in _NUMBERS]
    if is_identifier and spoilt:
        text = f'"{name}" of {" and ".join(spoilt)} is no text: long click ids lose digits; make a single-line text'
        return Finding(Level.WARNING, setting, text)
    return Finding(Level.OK, setting, f'"{name}" exists ({where})')


def _currency(names: Directory, seen: Seen) -> Iterator[Finding]:
    if DEAL not in seen.read:
        return
    if names.has(DEAL, "deal_currency_code"):
        text = f"each deal names its own; one that does not counts as {seen.rules.currency}"
    else:
        text = f"the account has one, taken for {seen.rules.currency}; if that is wrong, set home_currency"
    yield Finding(Level.OK, "currency", text)
