"""A whole business played once, and everything it left behind, for the tests of ``test_business.py`` to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from bridge import explain
from bridge.frozen import frozen
from bridge.sim.events import Applied
from bridge.sim.faults import Fault, FaultPlan
from bridge.sim.oracle import Verdict
from bridge.sim.stage import SOURCE, Cast, Scene, Stage, simulator
from bridge.store import codec, schema
from bridge.web.metrics import exposition
from bridge.web.status import status
from tests.simulation.kit import CRMS, START, Play, captured_logs, column, play, staged

LAG = timedelta(days=2)  # a fault costs a whole step here, and several may follow each other


@frozen
class Played:
    """What is left after a business of a few days. Keys of ``verdicts`` and ``applied``: (tenant, destination)."""

    folder: Path
    verdicts: Mapping[tuple[str, str], Verdict]
    applied: Mapping[tuple[str, str], Sequence[Applied]]
    identifiers: Mapping[str, frozenset[str]]  # of each tenant's own clicks
    leads: Mapping[str, int]
    people: Mapping[str, int]  # of these leads: some come again
    status: dict[str, Any]
    explained: Mapping[str, Sequence[dict[str, Any]]]
    broken_chains: int
    faults: int
    logs: str
    metrics: str
    texts: Sequence[str]  # error texts and codes in the database
    stored: Sequence[bytes]  # what is kept of deals and sent to destinations' ledgers
    secrets: frozenset[str]
    personal: frozenset[str]


async def play_through(folder: Path, seed: int, step: timedelta, *, is_harsh: bool) -> Played:
    """Nine days of two advertisers, a turn of the bridge after each step, then calm."""
    stage = staged(Cast(seed, START, days=9, leads=50, kinds=CRMS, is_harsh=is_harsh))
    _log_in_by_oauth(stage, stage.scenes[0])
    with captured_logs() as stream:
        async with play(folder, stage) as made:
            await made.live(step)
            return await _look(made, stream.getvalue())


class _SparesTokens(FaultPlan):
    """A refresh token is good for one request: when its answer is lost, only a human can help (contract amocrm 1.4)."""

    def draw(self, name: str, is_write: bool) -> Fault | None:
        return None if name == "POST /oauth2/access_token" else super().draw(name, is_write)


def _log_in_by_oauth(stage: Stage, scene: Scene) -> None:
    """The amoCRM account with tokens that rotate: more secrets that may leak."""
    faults = _SparesTokens(stage.cast.seed, dict.fromkeys(Fault, 0.03)) if stage.cast.is_harsh else FaultPlan.calm()
    amocrm: Any = simulator("amocrm")
    scene.crm = amocrm(stage.clock, faults, name=scene.crm.name, is_limited=False, auth="oauth")


async def _look(made: Play, logs: str) -> Played:
    stage, installation = made.stage, made.installation
    store = installation.store
    report = await status(installation.reports, made.config, installation.names(), stage.clock.now())
    return Played(
        folder=made.folder,
        verdicts=stage.verdicts(LAG),
        applied={(s.tenant, name): account.applied() for s in stage.scenes for name, account in s.ads.items()},
        identifiers={scene.tenant: _identifiers(scene) for scene in stage.scenes},
        leads={scene.tenant: len(scene.world.leads) for scene in stage.scenes},
        people={scene.tenant: len({lead.person for lead in scene.world.leads}) for scene in stage.scenes},
        status=report,
        explained={scene.tenant: await _explained(made, scene.tenant) for scene in stage.scenes},
        broken_chains=await installation.reports.broken_chains(),
        faults=sum(sum(one.faults.drawn.values()) for scene in stage.scenes for one in scene.simulators),
        logs=logs,
        metrics=exposition(report).decode(),
        texts=await _texts(made),
        stored=await column(store, schema.deal.c.facts) + await column(store, schema.delivery.c.content),
        secrets=await _secrets(made),
        personal=stage.personal(),
    )


def _identifiers(scene: Scene) -> frozenset[str]:
    marks = {mark for click in scene.world.clicks for mark in (click.yclid, click.gclid, click.client_id)}
    return frozenset(mark for mark in marks if mark)


async def _explained(made: Play, name: str) -> list[dict[str, Any]]:
    tenant, reports = await made.installation.tenant(name), made.installation.reports
    keys = await column(made.installation.store, schema.deal.c.deal, schema.deal.c.tenant == name)
    return [await explain.explain(tenant, await reports.deal(name, SOURCE, key)) for key in keys]


async def _texts(made: Play) -> list[str]:
    """Every text about trouble that the database keeps."""
    store = made.installation.store
    places = (
        schema.source_state.c.last_error,
        schema.destination_trouble.c.last_error,
        schema.quarantine.c.message,
        schema.batch.c.error,
        schema.delivery_event.c.code,
        schema.request.c.error,
        schema.deal.c.unmatched,
    )
    return [text for place in places for text in await column(store, place, place.is_not(None))]


async def _secrets(made: Play) -> frozenset[str]:
    """What must stay secret: the configured secrets and what compound ones are made of, and every token in use."""
    found = {part for secret in made.stage.secrets().values() for part in _parts(secret)}
    for data in await column(made.installation.store, schema.token.c.tokens):
        tokens = codec.tokens(data)
        found |= {tokens.access, *([tokens.refresh] if tokens.refresh else [])}
    return frozenset(found)


def _parts(secret: str) -> list[str]:
    """A service account's key by lines, the code of a webhook, any other secret as it is."""
    if secret.startswith("{"):
        return [line for line in json.loads(secret)["private_key"].splitlines() if len(line) > 40]
    return [secret, secret.rpartition("/")[2]]
