"""What accounts tell whoever configures them: fields that a setting can name, goals that exist, nothing personal."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import BridgeError
from bridge.ports import Level
from bridge.sim.faults import Fault, FaultPlan
from bridge.sim.world import World
from bridge.survey import SAMPLE, ListsTargets, SurveysFields, guess, merged
from tests.contract.rig import (
    COUNTERS,
    DESTINATIONS_WITH_SERVER,
    SOURCES,
    SOURCES_WITH_SERVER,
    SPECS,
    TRACKERS,
    Rig,
    rig,
)
from tests.support import START

# Records of a call tracker or counter have no fields of the advertiser's own: there is nothing to survey.
every_source = pytest.mark.parametrize("kind", [kind for kind in SOURCES if kind not in (*TRACKERS, *COUNTERS)])
with_server = pytest.mark.parametrize("kind", sorted(SOURCES_WITH_SERVER.difference(TRACKERS, COUNTERS)))
every_destination = pytest.mark.parametrize("kind", sorted(DESTINATIONS_WITH_SERVER))


def live(made: Rig) -> World:
    """A small business goes through the account."""
    world = World.make(11, 60, start=START, days=20)
    for event in world.happenings() if made.fake else ():
        made.clock.set(event.at)
        made.fake.happen(event)
    made.clock.advance(timedelta(hours=1) if made.fake else timedelta(days=365))
    return world


@every_source
async def test_a_survey_finds_the_identifier_fields_of_a_business(kind: str, tmp_path: Path) -> None:
    """Where the business keeps its click ids is found and certain, with honest counts."""
    async with rig(kind, "source", tmp_path) as made:
        live(made)
        assert isinstance(made.port, SurveysFields)
        fields = (await made.port.survey()).fields
        sure = [sample for sample in merged(fields) if (found := guess(sample)) and found.is_sure and sample.fitting]
        assert sure
        assert all(0 <= item.fitting <= item.filled <= item.sampled <= SAMPLE for item in fields)
        assert all(sum(item.shapes.values()) >= item.filled for item in fields)


@with_server
async def test_a_survey_holds_nothing_of_what_it_has_seen(kind: str, tmp_path: Path) -> None:
    """Neither persons nor identifiers: counts alone leave the adapter."""
    async with rig(kind, "source", tmp_path) as made:
        world = live(made)
        told = repr(await made.port.survey())
        clicks = [text for click in world.clicks for text in (click.yclid, click.gclid, click.client_id) if text]
        assert [text for text in (*world.personal(), *clicks) if text in told] == []


@with_server
async def test_what_a_survey_names_is_what_the_setting_takes(kind: str, tmp_path: Path) -> None:
    """Every field found can be configured under the name given: ``check`` knows it."""
    async with rig(kind, "source", tmp_path) as made:
        live(made)
        names = [sample.setting for sample in (await made.port.survey()).fields]
        part = SPECS[kind].source
        assert part is not None
        section = {**made.fake.settings(), "fields": {"user_id": names}}
        findings = await part.build("own", part.settings.model_validate(section), made.tools).check()
        told = [finding for finding in findings if "fields" in finding.subject]
        assert len(told) == len(names)
        assert {finding.level for finding in told} == {Level.OK}


@with_server
async def test_an_empty_account_is_surveyed_too(kind: str, tmp_path: Path) -> None:
    """Fields without any record: names decide, nothing fails."""
    async with rig(kind, "source", tmp_path) as made:
        fields = (await made.port.survey()).fields
        assert fields
        assert {item.filled for item in fields} == {0}


@with_server
@pytest.mark.parametrize("fault", [Fault.CUT_BODY, Fault.ERROR_BEFORE])
async def test_trouble_in_a_survey_is_one_of_our_errors(kind: str, fault: Fault, tmp_path: Path) -> None:
    """Whatever the vendor answers, ``init`` can say it."""
    async with rig(kind, "source", tmp_path) as made:
        live(made)
        made.fake.faults = FaultPlan(1, {fault: 1.0})
        with pytest.raises(BridgeError):
            await made.port.survey()


@every_destination
async def test_the_goals_listed_are_those_the_check_accepts(kind: str, tmp_path: Path) -> None:
    """What may be sent to is exactly what ``check`` finds nothing wrong with."""
    async with rig(kind, "destination", tmp_path) as made:
        port: Any = made.port
        part = SPECS[kind].destination
        assert part is not None
        assert isinstance(port, ListsTargets) is not part.form.takes_any_name
        if part.form.takes_any_name:
            return
        survey = await port.targets()
        usable = [target.id for target in survey.targets if target.is_usable]
        if made.fake is not None and not made.fake.tells_credentials and not usable:
            assert survey.note  # a vendor that answers nothing; what to do instead is said
            return
        assert usable
        assert len(set(usable)) == len(usable)
        findings = await made.port.check({f"goal{number}": target for number, target in enumerate(usable)})
        assert {finding.level for finding in findings if "goal" in finding.subject} == {Level.OK}
