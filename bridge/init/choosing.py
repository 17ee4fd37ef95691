"""The open questions, once the accounts have told what they know: fields, stages, where each goal goes.

What the command line says wins; what the accounts make sure is taken; the rest is asked, or stays a comment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from bridge.catalogue import Catalogue
from bridge.config import Goal
from bridge.errors import BridgeError, ConfigError
from bridge.init import suggest, wanted
from bridge.init.asker import Asker
from bridge.init.look import DestinationSeen, Look, Seen
from bridge.init.suggest import FieldView, GoalPlan, Send
from bridge.init.wanted import Options, Section
from bridge.model import IdKind
from bridge.rules.goals import compile_goals
from bridge.rules.names import gist

_NONE, _NEW = "none", "new"


@dataclass(slots=True)
class Chooser:
    """Decides with what is known.

    ``notes`` collects what did not work out; ``configured`` are names of fields that have a setting already.
    """

    options: Options
    asker: Asker
    sections: Sequence[Section]
    seen: Seen = field(default_factory=Seen)
    notes: list[str] = field(default_factory=list)
    configured: frozenset[str] = frozenset()

    # --- fields ---

    def views(self) -> dict[str, list[FieldView]]:
        """What looks like an identifier and is not configured yet, by source."""
        found = {own: suggest.field_views(source.survey.fields) for own, source in self.seen.sources.items()}
        return {own: [v for v in views if not self._is_configured(v)] for own, views in found.items()}

    def _is_configured(self, view: FieldView) -> bool:
        return any(name.casefold() in self.configured for name in (view.setting, *view.sample.names))

    def fields(self, views: Mapping[str, Sequence[FieldView]]) -> dict[str, dict[IdKind, list[str]]]:
        """Identifier fields to configure, by source.

        Raises:
            ConfigError: ``--field`` names no kind or source.
        """
        chosen = self._told_fields()
        told = {name for kinds in chosen.values() for names in kinds.values() for name in names}
        for own, found in views.items():
            for view in found:
                kind = None if view.is_known or view.setting in told else self._kind_of(own, view)
                if kind is not None:
                    chosen.setdefault(own, {}).setdefault(kind, []).append(view.setting)
        return chosen

    def _told_fields(self) -> dict[str, dict[IdKind, list[str]]]:
        sources = [section.own for section in self.sections if section.side == "sources"]
        chosen: dict[str, dict[IdKind, list[str]]] = {}
        for left, name in wanted.pairs("--field", self.options.fields):
            own, _, kind = left.rpartition(".")
            if kind not in {item.value for item in IdKind}:
                raise ConfigError(f"--field {left}: {kind} is none of {', '.join(item.value for item in IdKind)}")
            if own not in sources and (own or len(sources) > 1):
                raise ConfigError(f"--field {left}: write SOURCE.KIND=FIELD, the source being {' or '.join(sources)}")
            chosen.setdefault(own or sources[0], {}).setdefault(IdKind(kind), []).append(name)
        return chosen

    def _kind_of(self, own: str, view: FieldView) -> IdKind | None:
        if view.guess.is_sure:
            return view.guess.kind
        if not self.asker.is_there:
            return None
        self.asker.tell(f'{own}: field "{view.setting}" ({", ".join(view.sample.names)}): {view.guess.evidence}')
        kinds = [view.guess.kind, *(kind for kind in IdKind if kind is not view.guess.kind)]
        choices = {_NONE: "it is no identifier", **{kind.value: "" for kind in kinds}}
        answer = self.asker.one_of("What is in it", choices, _NONE)
        return None if answer == _NONE else IdKind(answer)

    # --- goals ---

    def goals(self) -> list[GoalPlan]:
        """The goals, with where each one goes, as far as that is known without creating anything.

        Raises:
            ConfigError: ``--qualified-stage`` or ``--send`` names what does not exist.
        """
        catalogues = self._catalogues()
        plans = suggest.goals(catalogues, self._qualified(catalogues))
        told = self._told_sends(plans)
        for plan in plans:
            for own, destination in self._destinations().items():
                plan.send[own] = self._send(plan, own, destination, told.get((plan.name, own)))
        return plans

    def _catalogues(self) -> list[Catalogue]:
        return [source.catalogue for source in self.seen.sources.values() if not source.error]

    def _destinations(self) -> dict[str, DestinationSeen]:
        owns = [section for section in self.sections if section.side == "destinations"]
        return {s.own: self.seen.destinations.get(s.own) or DestinationSeen(s.kind) for s in owns}

    def _qualified(self, catalogues: Sequence[Catalogue]) -> list[str]:
        if self.options.qualified:
            return [*self.options.qualified]
        stages = suggest.open_stages(catalogues)
        if not self.asker.is_there or not stages:
            return []
        question = "A lead is qualified when it reaches"
        return self.asker.many_of(question, dict.fromkeys(stages, ""), suggest.likely_stages(catalogues))

    def _told_sends(self, plans: Sequence[GoalPlan]) -> dict[tuple[str, str], str]:
        goals, destinations = [plan.name for plan in plans], [*self._destinations()]
        told = {}
        for left, target in wanted.pairs("--send", self.options.sends):
            goal, _, own = left.partition(".")
            if goal not in goals or own not in destinations:
                known = f"goals: {', '.join(goals)}; destinations: {', '.join(destinations)}"
                raise ConfigError(f"--send {left}: write GOAL.DESTINATION=ITS GOAL ({known})")
            told[goal, own] = target
        return told

    def _send(self, plan: GoalPlan, own: str, destination: DestinationSeen, told: str | None) -> Send:
        if told is not None:
            usable = {target.id for target in destination.survey.targets if target.is_usable}
            if destination.is_listed and told not in usable:
                self.notes.append(f'{own} has no goal "{told}" that could be sent to; create it there')
            return Send(told, True, "as you said")
        if not destination.is_listed:
            return self._unlisted(plan, own, destination)
        found = suggest.send_to(plan.name, destination.survey.targets)
        if self.options.creates_goals and destination.can_create and plan.is_sure:
            found.is_wanted = not found.is_sure and not found.target
        if found.is_sure or found.is_wanted or not self.asker.is_there:
            return found
        return self._asked_send(plan, own, found, can_create=destination.can_create and plan.is_sure)

    def _asked_send(self, plan: GoalPlan, own: str, found: Send, *, can_create: bool) -> Send:
        """Nothing is created unless that is chosen."""
        new = {_NEW: f'create the goal "{suggest.new_target(plan.name)[0]}" there'} if can_create else {}
        names = {target.id: target.name for target in found.candidates}
        if not new and not names:
            return found
        question = f'Where does "{plan.name}" go at {own}'
        answer = self.asker.one_of(question, {_NONE: "nowhere yet", **new, **names}, _NONE)
        if answer in new:
            return dataclasses.replace(found, is_wanted=True)
        return found if answer == _NONE else Send(answer, True, "as you said")

    def _unlisted(self, plan: GoalPlan, own: str, destination: DestinationSeen) -> Send:
        if any(section.own == own and section.form.takes_any_name for section in self.sections):
            return Send(plan.name, True, "any name will do")
        is_asked = own in self.seen.destinations and not destination.error
        answer = ""
        if self.asker.is_there and is_asked and plan.is_sure:
            answer = self.asker.maybe(f'The name or number of the goal for "{plan.name}" at {own} (Enter: later)')
        return Send(answer, True, "as you said") if answer else Send(why="name its goal there")

    # --- creating ---

    async def create(self, plans: Sequence[GoalPlan], look: Look) -> None:
        """Create the goals that are wanted; where nobody could be asked, say how."""
        for own, destination in self._destinations().items():
            for plan in plans:
                send, (identifier, title) = plan.send[own], suggest.new_target(plan.name)
                if not send.is_wanted:
                    if plan.is_sure and not send.target and destination.is_listed and destination.can_create:
                        send.why += f"; --create-goals creates {identifier}"
                    continue
                try:
                    made = await look.create(own, identifier, title)
                except BridgeError as error:
                    self.notes.append(f"{own}: {error}")
                    break
                plan.send[own] = Send(made.id, True, "created now")

    # --- the last look ---

    def insist(self, goals: Sequence[Goal], currency: str) -> None:
        """Names in active goals that no source knows are errors now, not at the first poll.

        Raises:
            ConfigError: there are such names; the nearest real ones are told.
        """
        catalogues = self._catalogues()
        problems = [compile_goals(goals, item, currency).problems for item in catalogues]
        gists = [{gist(line) for line in lines} for lines in problems]
        wrong = [line for line in chain(*problems) if all(gist(line) in known for known in gists)]
        if wrong:
            raise ConfigError("\n".join(dict.fromkeys(wrong)))
