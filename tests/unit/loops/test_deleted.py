"""A deal that is deleted in the CRM: what was not sent never is, unless the deal comes back; nothing is sent twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.catalogue import Catalogue
from bridge.loops import assess, deliver, poll, reconcile
from bridge.model import Deal, Outcome
from bridge.ports import Admission, Fate, Pass, Proof
from bridge.rules.plan import DELETED
from bridge.store import Store
from bridge.store.reports import Reports
from tests.store.kit import ADS
from tests.unit.loops.kit import DAY, HOUR, MINUTE, Ads, Crm, Office, accept, answered, office
from tests.unit.loops.test_family import counted_on, made_from
from tests.unit.loops.test_poll import SALE, lead


def at_work(store: Store, ads: Ads) -> tuple[Office, Crm]:
    crm = Crm(names=Catalogue(is_open=True))
    return office(store, {ADS: ads}, {"crm": crm}, [SALE]), crm


def gone(deal: Deal, version: str = "deleted") -> Deal:
    """What a source tells of a deleted deal."""
    at = deal.updated_at + MINUTE
    return Deal(deal.kind, deal.id, version, at, at, "", "", Outcome.OPEN, is_deleted=True)


async def read(made: Office, crm: Crm, *deals: Deal) -> None:
    crm.scans = [[crm.shows(*deals)], []]
    made.clock.advance(MINUTE)
    assert (await poll.once(made.tenant, force=True)).problems == []
    await assess.once(made.tenant)


async def send(made: Office) -> None:
    made.clock.advance(HOUR)
    await reconcile.once(made.tenant)
    await deliver.once(made.tenant, force=True)


async def codes(made: Office) -> list[tuple[str, str | None]]:
    return [(row["state"], row["code"]) for row in (await made.rows()).values()]


async def test_a_deletion_before_sending_cancels_and_a_restoration_sends(store: Store) -> None:
    """With a reason, under one id, once."""
    ads = Ads()
    made, crm = at_work(store, ads)
    await read(made, crm, lead(1))
    await read(made, crm, gone(lead(1)))
    await send(made)
    assert ads.sent == []
    assert await codes(made) == [("cancelled", DELETED)]
    await read(made, crm, lead(1, version="v3"))
    await read(made, crm, lead(1, version="v4"))
    for _ in range(2):
        await send(made)
    assert [len(batch.rows) for batch in ads.sent] == [1]
    assert await made.states() == {"accepted": 1}
    assert await Reports(store).broken_chains() == 0


async def test_a_deletion_after_sending_changes_nothing_there_and_is_said(store: Store) -> None:
    """No destination takes a conversion back: explain says so."""
    ads = Ads()
    made, crm = at_work(store, ads)
    await read(made, crm, lead(1))
    await send(made)
    await read(made, crm, gone(lead(1)))
    await send(made)
    assert (await made.states(), len(ads.sent)) == ({"accepted": 1}, 1)
    told = await made.explained("lead:1")
    (skip,) = told["not_promised"]
    assert (skip["goal"], skip["destination"]) == ("sale", ADS)
    assert "it stays counted there" in skip["reason"]


async def test_what_comes_back_unsent_after_a_deletion_is_not_tried_again(store: Store) -> None:
    """The row was on its way when its deal was deleted, and the vendor did not take it."""
    ads = Ads(sends=[answered(Fate.AGAIN, "busy"), accept]).proving(Proof.ROW)
    made, crm = at_work(store, ads)
    await read(made, crm, lead(1))
    sealing = deliver._seal

    async def deleted_meanwhile(*args: object) -> object:
        sealed = await sealing(*args)  # type: ignore[arg-type]  # handed on as they came
        await read(made, crm, gone(lead(1)))
        return sealed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deliver, "_seal", deleted_meanwhile)
        await send(made)
    assert await codes(made) == [("cancelled", DELETED)]
    made.clock.advance(DAY)
    await send(made)
    assert len(ads.sent) == 1
    await read(made, crm, lead(1, version="v3"))
    await send(made)
    assert (await made.states(), len(ads.sent)) == ({"accepted": 1}, 2)


async def test_a_deletion_between_reading_and_sealing_holds_up_no_other_row(store: Store) -> None:
    """Both rows were due; one of them is withdrawn before the batch is sealed: the other goes alone."""
    ads = Ads()
    made, crm = at_work(store, ads)
    await read(made, crm, lead(1), lead(2))
    sealing = deliver._seal
    before: list[Callable[[], Awaitable[None]]] = [lambda: read(made, crm, gone(lead(1)))]

    async def deleted_meanwhile(*args: object) -> object:
        while before:
            await before.pop()()
        return await sealing(*args)  # type: ignore[arg-type]  # handed on as they came

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deliver, "_seal", deleted_meanwhile)
        await send(made)
    assert [len(batch.rows) for batch in ads.sent] == [1]
    assert await made.states() == {"accepted": 1, "cancelled": 1}


async def test_what_a_deleted_lead_had_counted_is_counted_by_the_deal_made_from_it(store: Store) -> None:
    """One sale, once, whichever of them is deleted and restored."""
    ads = Ads()
    made, crm = at_work(store, ads)
    child = made_from(lead(1), 7310)
    await read(made, crm, lead(1))
    await read(made, crm, child)
    assert await counted_on(store) == ["lead:1"]
    await read(made, crm, gone(lead(1)))
    assert await made.states() == {"cancelled": 1, "pending": 1}
    await read(made, crm, lead(1, version="v3"))
    assert await made.states() == {"cancelled": 1, "pending": 1}, "the deal has counted it"
    await read(made, crm, gone(child))
    assert await made.states() == {"cancelled": 1, "pending": 1}, "and now the lead again"
    await send(made)
    assert [len(batch.rows) for batch in ads.sent] == [1]


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_lead_deleted_on_the_page_of_its_deal(store: Store, *, is_first: bool) -> None:
    """The deal counts what its lead just gave up."""
    made, crm = at_work(store, Ads())
    child = made_from(lead(1), 7310)
    await read(made, crm, lead(1))
    page = (gone(lead(1)), child) if is_first else (child, gone(lead(1)))
    await read(made, crm, *page)
    assert await made.states() == {"cancelled": 1, "pending": 1}


async def test_a_row_that_waits_for_its_time_is_cancelled_at_once(store: Store) -> None:
    """Not only when it would be due: a young click waits for hours."""
    made, crm = at_work(store, Ads())
    await read(made, crm, lead(1))
    (key,) = await made.rows()
    ads = Ads(passes={key: Admission(Pass.WAIT, "click_age", made.clock.now() + DAY)})
    made.tenant.destinations[ADS].port = ads
    await send(made)
    assert await codes(made) == [("pending", "click_age")]
    await read(made, crm, gone(lead(1)))
    assert await codes(made) == [("cancelled", DELETED)]


# --- crashes -----------------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process ends here."""


@dataclass(slots=True)
class Fuse:
    """The store's hook: raises once, at the given commit hook counted from the beginning."""

    left: int

    def __call__(self, label: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise Crash(label)


def story() -> Sequence[tuple[Deal, bool]]:
    """What the CRM tells, turn by turn, and whether something is sent then."""
    return [
        (lead(1), False),
        (gone(lead(1)), True),
        (lead(1, version="v3"), False),
        (gone(lead(1), "deleted again"), False),
        (lead(1, version="v5"), True),
        (gone(lead(1), "deleted at last"), True),
    ]


async def lived(folder: Path, fuse: Fuse) -> tuple[Ads, bool]:
    """The story to its end; after a crash the turn begins anew in another process."""
    ads, is_blown, passed = Ads().proving(Proof.ROW), False, 0
    turns = story()
    while passed < len(turns):
        store = await Store.open(f"sqlite:///{folder / 'crashing.db'}", fuse)
        made, crm = at_work(store, ads)
        try:
            while passed < len(turns):
                deal, is_sent = turns[passed]
                made.clock.set(deal.updated_at + HOUR * (passed + 2))
                await read(made, crm, deal)
                if is_sent:
                    await send(made)
                passed += 1
            assert await Reports(store).broken_chains() == 0
            assert await made.states() == {"accepted": 1}
        except Crash:
            is_blown = True
        finally:
            await store.close()
    return ads, is_blown


async def test_a_crash_at_any_commit_neither_sends_a_deleted_deal_nor_loses_a_restored_one(tmp_path: Path) -> None:
    """Deleted and restored twice, and deleted after it was sent: one row is sent, the same bytes if twice."""
    number, is_blown = 0, True
    while is_blown:
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        ads, is_blown = await lived(folder, Fuse(number))
        assert len({batch.payload.body for batch in ads.sent}) == 1, number
        assert all(len(batch.rows) == 1 for batch in ads.sent)
    assert number > 20
