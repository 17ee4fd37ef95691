"""The whole of ``bridge init``: what is wanted, what the accounts tell, what is decided, what is written."""

from __future__ import annotations

import asyncio
import dataclasses
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ValidationError

from bridge import registry, terminal
from bridge.compose import Installation
from bridge.config import Config, SecretRef, TenantSettings, tenant_settings
from bridge.config_errors import describe
from bridge.errors import BridgeError, ConfigError
from bridge.frozen import frozen, replace
from bridge.init import filling, places, show, wanted
from bridge.init.asker import Asker, Nobody
from bridge.init.choosing import Chooser
from bridge.init.draft import Draft, suggestion, text_of
from bridge.init.look import Look, Seen, secrets_of
from bridge.init.places import Place
from bridge.init.suggest import GoalPlan
from bridge.init.wanted import Options, Section
from bridge.log import redact
from bridge.terminal import Outcome
from bridge.tools import Clock
from bridge.typed import option, program

_TIMEZONE, _CURRENCY = "Europe/Moscow", "RUB"
_MONTH = 30  # days


@frozen
class Step:
    """Something to do next, and what it is for. Unless ``is_manual`` it is a command line."""

    command: str
    why: str
    is_manual: bool = False


def init(options: Options, clock: Clock, asker: Asker) -> Outcome:
    """Write a new tenant's configuration, or look at an existing tenant's accounts.

    Only what talks to accounts runs in an event loop: at a question, Ctrl-C must end the program at once.

    Raises:
        ConfigError: something is missing or wrong and nobody can be asked; nothing was written.
    """
    config = places.installation(options.config, options.output)
    tenant = filling.tenant_name(options, asker)
    if tenant in config.broken:
        raise ConfigError("\n".join(config.broken[tenant]))
    with asyncio.Runner() as loop:
        if tenant in config.tenants:
            return _existing(options, config, tenant, _Means(loop, clock, asker))
        return _new(options, config, tenant, _Means(loop, clock, asker))


@frozen
class _Means:
    """By which it is done: a loop for what takes time, the time, and who can be asked."""

    loop: asyncio.Runner
    clock: Clock
    asker: Asker

    @contextmanager
    def look(self, config: Config, tenant: str) -> Iterator[Look]:
        """The tenant's adapters, closed at the end.

        The database is the real one: tokens that rotate are kept in it before they are used. It lies beside the file
        that is still to be written, so that their folder may have to be made.
        """
        config.folder.mkdir(parents=True, exist_ok=True)
        opened = Look.at(self.loop.run(Installation.open(config, self.clock)), tenant)
        try:
            yield opened
        finally:
            self.loop.run(opened.close())


def _new(options: Options, config: Config, tenant: str, means: _Means) -> Outcome:
    asker = means.asker
    place = places.place(config, tenant, options.output)
    sections = filling.chosen_sections(options, asker)
    wanted.take_values(sections, options)
    filler = filling.Filler(tenant, config.folder, asker)
    filler.fill(sections)
    draft = _draft(options, tenant, sections, asker)
    settings = _checked(draft.tenant, draft.data())
    lacking = lacking_secrets(sections, config.folder)
    chooser = Chooser(options, asker, sections)
    if options.is_offline or all(section.own in lacking for section in sections):
        _decide(draft, chooser)
    else:
        with means.look(replace(config, tenants={**config.tenants, tenant: settings}), tenant) as look:
            early = {*lacking, *(section.own for section in sections if section.is_granted)}
            chooser.seen = means.loop.run(look.see(early))
            if asker.is_there:
                show.show_seen(chooser.seen, terminal.err)
                _insist_on_consent(chooser, filler)
            _decide(draft, chooser)
            means.loop.run(chooser.create(draft.goals, look))
    return _written(draft, place, _End(chooser, lacking, means.clock.now()))


def _insist_on_consent(chooser: Chooser, filler: filling.Filler) -> None:
    """Where an account could not be asked a person decides: a wrong address or token is best typed again.

    Raises:
        ConfigError: nothing is to be written.
    """
    for line in _clean(chooser.seen.errors):
        chooser.asker.tell(f"! {line}")
    choices = {"stop": "write nothing, and forget the secrets typed just now", "write": "write it all the same"}
    if chooser.seen.errors and chooser.asker.one_of("Go on", choices, "stop") == "stop":
        filler.forget()
        raise ConfigError("nothing was written; run bridge init again")


# --- existing tenants --------------------------------------------------------------------------------------------


def _existing(options: Options, config: Config, tenant: str, means: _Means) -> Outcome:
    """Look at the accounts of a tenant that is configured already; no file is written.

    Raises:
        ConfigError: options ask for more than a look.
    """
    if options.sources or options.destinations or options.output:
        raise ConfigError(
            f"tenant {tenant} is in {config.path} already, and init never changes what is written; "
            "without --source, --destination and --output it lists what the tenant's accounts hold"
        )
    settings = config.tenants[tenant]
    draft = Draft(tenant, settings.title, settings.timezone, settings.currency, _sections_of(settings))
    named = {name.casefold() for item in settings.sources.values() for names in item.fields.values() for name in names}
    chooser = Chooser(options, Nobody(), draft.sections, configured=frozenset(named))
    with means.look(config, tenant) as look:
        chooser.seen = means.loop.run(look.see(()))
        _decide(draft, chooser)
        means.loop.run(chooser.create(draft.goals, look))
    attention = _clean([*chooser.seen.errors, *chooser.notes])
    told = {**show.seen_data(chooser.seen), "goals": show.goals_data(draft.goals)}
    text = suggestion(
        dataclasses.replace(draft, goals=[plan for plan in draft.goals if not _is_settled(plan, settings)])
    )
    data = {"tenant": tenant, "file": None, **told, "attention": attention, "next": []}

    def tell() -> None:
        out = terminal.out
        out.print(f"{tenant} is configured already; no file is changed. Its accounts hold:", markup=False)
        show.show_seen(chooser.seen, out)
        out.print("What that suggests; copy what is right:" if text else "Nothing more to configure follows from that.")
        out.print(text, markup=False, soft_wrap=True, end="")
        _tell_attention(attention)

    return Outcome(int(bool(attention)), data, tell)


def _is_settled(plan: GoalPlan, settings: TenantSettings) -> bool:
    """Whether the goal is configured, with every destination it could go to."""
    return any(goal.name == plan.name and set(plan.send) <= set(goal.send) for goal in settings.goals)


def _sections_of(settings: TenantSettings) -> list[Section]:
    sides = {"sources": settings.sources, "destinations": settings.destinations}
    return [
        Section(side, own, item.kind, wanted.form_of(side, item.kind))
        for side, items in sides.items()
        for own, item in items.items()
    ]


# --- new tenants -------------------------------------------------------------------------------------------------


def _draft(options: Options, tenant: str, sections: Sequence[Section], asker: Asker) -> Draft:
    title = options.title or (asker.text("The advertiser's name, for people", tenant) if asker.is_there else tenant)
    return Draft(tenant, title, options.timezone or _TIMEZONE, options.currency or _CURRENCY, sections)


def _checked(tenant: str, data: Mapping[str, Any]) -> TenantSettings:
    """The settings that a tenant's table means.

    Raises:
        ConfigError: it is wrong.
    """
    try:
        return tenant_settings(tenant, data, registry.settings_of)
    except ValidationError as error:
        raise ConfigError("\n".join(describe(error, None, ("tenants", tenant), TenantSettings))) from None


def lacking_secrets(sections: Sequence[Section], folder: Path) -> dict[str, list[SecretRef]]:
    """References that lead nowhere yet, by the section's own name."""
    lacking: dict[str, list[SecretRef]] = {}
    for section in sections:
        for reference in secrets_of(section):
            try:
                reference.read(folder)
            except ConfigError:
                lacking.setdefault(section.own, []).append(reference)
    return lacking


def _decide(draft: Draft, chooser: Chooser) -> None:
    """Fill the draft with what the accounts told and the operator chose.

    Raises:
        ConfigError: an option names what does not exist.
    """
    _learn(draft, chooser.options, chooser.seen)
    draft.views = chooser.views()
    draft.fields = chooser.fields(draft.views)
    draft.goals = chooser.goals()
    chooser.insist(draft.active_goals(), draft.currency)


def _learn(draft: Draft, options: Options, seen: Seen) -> None:
    """What the accounts know better than our defaults."""
    currencies = {source.survey.currency for source in seen.sources.values()} - {""}
    if not options.currency and len(currencies) == 1:
        draft.currency = currencies.pop()
    zones = {item.survey.timezone for item in seen.destinations.values() if _is_zone(item.survey.timezone)}
    if not options.timezone and len(zones) == 1:
        draft.timezone = zones.pop()


def _is_zone(name: str) -> bool:
    try:
        return bool(name and ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError):
        return False


# --- the end -----------------------------------------------------------------------------------------------------


@frozen
class _End:
    """What is known when everything is decided."""

    chooser: Chooser
    lacking: Mapping[str, Sequence[SecretRef]]
    now: datetime


def _written(draft: Draft, place: Place, end: _End) -> Outcome:
    seen, is_shown = end.chooser.seen, end.chooser.asker.is_there
    text = text_of(draft, with_installation=place.is_whole)
    _insist_on_sense(draft, text)
    place.write(text)
    attention = _clean([*seen.errors, *end.chooser.notes])
    if place.include:
        attention.append(f"{place.config.path} does not read {place.target} yet: write {place.include} at its top")
    steps = next_steps(draft, place, end)
    data = {
        "tenant": draft.tenant,
        "file": str(place.target) if place.target else None,
        **({} if place.target else {"text": text}),
        **show.seen_data(seen),
        "goals": show.goals_data(draft.goals),
        "attention": attention,
        "next": [step.command for step in steps if not step.is_manual],
    }

    def tell() -> None:
        if place.target is None:
            print(text, end="")
            return
        if not is_shown:
            show.show_seen(seen, terminal.out)
        show.show_goals(draft.goals, terminal.out)
        _tell_end(place, attention, steps)

    return Outcome(int(bool(attention)), data, tell)


def _clean(lines: Sequence[str]) -> list[str]:
    return [redact(line) for line in lines]


def _insist_on_sense(draft: Draft, text: str) -> None:
    """The text says what was decided, to the letter.

    Raises:
        BridgeError: it does not; a fault of this program, and nothing is written.
    """
    told = tomllib.loads(text)["tenants"][draft.tenant]
    if _checked(draft.tenant, told) != _checked(draft.tenant, draft.data()):
        raise BridgeError("the text made of these answers does not mean them; report this as a defect of the bridge")


def next_steps(draft: Draft, place: Place, end: _End) -> list[Step]:
    """What to do now, in order."""
    seen, lacking, today = end.chooser.seen, end.lacking, end.now.astimezone(ZoneInfo(draft.timezone)).date()
    steps = [Step(*_secret_step(reference, place.config.folder)) for owns in lacking.values() for reference in owns]
    bridge, config = program(), option(place.config.path)
    tenant = f"--tenant {draft.tenant}{config}"
    answered = {own for own, item in seen.parts().items() if not item.error}
    for section in draft.sections:
        if section.is_granted and section.own not in answered:
            steps.append(Step(f"{bridge} auth {section.own} {tenant}", f"grants access to {section.own}"))
    if steps:
        steps.append(Step(f"{bridge} init {tenant}", "then lists the accounts' stages, fields and goals"))
    steps += _unsent(draft, place)
    steps.append(Step(f"{bridge} check {tenant}", "credentials, rights, every name; changes nothing"))
    since = (today - timedelta(days=_MONTH)).isoformat()
    steps.append(Step(f"{bridge} backfill {tenant} --since {since} --dry-run", "what a month would send"))
    steps.append(Step(f"{bridge} sync {tenant}", "one turn: read, match, judge, send"))
    return steps


def _unsent(draft: Draft, place: Place) -> list[Step]:
    """Goals that are written without a destination: nobody could say under which name it knows them."""
    names = [f'"{goal.name}"' for goal in draft.goals if goal.is_sure and not goal.sent]
    why = f"judged, sent nowhere until then: {', '.join(names)}"
    return [Step(f"write send for the goals in {place.target or 'the file'}", why, is_manual=True)] if names else []


def _secret_step(reference: SecretRef, folder: Path) -> tuple[str, str]:
    if reference.env is not None:
        return f"read -rs {reference.env} && export {reference.env}", "type the secret; it is not shown"
    path = shlex.quote(str(reference.path(folder)))
    return f"install -D -m 600 /dev/stdin {path}", "type or paste the secret, then Ctrl-D; or copy the file there"


def _tell_end(place: Place, attention: Sequence[str], steps: Sequence[Step]) -> None:
    out = terminal.out
    out.print(f"written: {place.target}", markup=False, soft_wrap=True)
    _tell_attention(attention)
    out.print("next:")
    width = max(len(step.command) for step in steps)
    for step in steps:
        out.print(f"  {step.command:<{width}}  # {step.why}", markup=False, soft_wrap=True)


def _tell_attention(attention: Sequence[str]) -> None:
    for line in attention:
        terminal.out.print(f"! {line}", style="yellow", markup=False, soft_wrap=True)
