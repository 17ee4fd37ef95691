"""Verification: the vendor's last word on every accepted row, or a remark that none came."""

from __future__ import annotations

from bridge.errors import Refused, Unavailable
from bridge.frozen import replace
from bridge.loops import deliver, verify
from bridge.ports import Answer, Fate, RowOutcome, RowVerdict, Seen
from bridge.store import Store
from tests.store import kit as rows_kit
from tests.store.kit import ADS, conversion, key, plan
from tests.unit.loops.kit import DAY, HOUR, MINUTE, TRAITS, Ads, Office, office


async def accepted(store: Store, ads: Ads, *numbers: int) -> tuple[Office, list[str]]:
    """These rows were sent and accepted, and it is time to ask."""
    made = office(store, {ADS: ads})
    keys = await made.promise(*numbers)
    await deliver.once(made.tenant)
    made.clock.advance(10 * MINUTE)
    return made, keys


async def is_settled(made: Office) -> bool:
    """Nobody will be asked again."""
    return [batch["due"] for batch in await made.batches()] == [None]


async def test_nobody_is_asked_before_the_time(store: Store) -> None:
    """The vendor needs a while; its own delay is kept even when the operator hurries."""
    ads = Ads()
    made = office(store, {ADS: ads})
    await made.promise(1)
    await deliver.once(made.tenant)
    made.clock.advance(9 * MINUTE)
    await verify.once(made.tenant)
    assert ads.verified == []


async def test_each_row_ends_as_the_vendor_says(store: Store) -> None:
    """Verified, unlinked, rejected, each with its code; unknown stays accepted with a remark; then it is settled."""
    ads = Ads()
    made, keys = await accepted(store, ads, 1, 2, 3, 4)
    words = [(Seen.VERIFIED, ""), (Seen.UNLINKED, "no_visit"), (Seen.REJECTED, "late"), (Seen.UNKNOWN, "counts_only")]
    ads.verifies = [[RowVerdict(key, seen, code) for key, (seen, code) in zip(keys, words, strict=True)]]
    progress = await verify.once(made.tenant)
    rows = await made.rows()
    assert [(rows[key]["state"], rows[key]["code"]) for key in keys] == [
        ("verified", None),
        ("unlinked", "no_visit"),
        ("rejected", "late"),
        ("accepted", "counts_only"),
    ]
    assert progress.done == {"verified": 1, "unlinked": 1, "rejected": 1, "unknown": 1}
    assert await is_settled(made)
    made.clock.advance(DAY)
    await verify.once(made.tenant)
    assert len(ads.verified) == 1


async def test_too_early_means_ask_again_later(store: Store) -> None:
    """At the vendor's own pace, until it says something."""
    ads = Ads(verifies=[None])
    made, keys = await accepted(store, ads, 1)
    await verify.once(made.tenant)
    await verify.once(made.tenant)
    assert len(ads.verified) == 1
    ads.verifies = [[RowVerdict(keys[0], Seen.VERIFIED)]]
    made.clock.advance(ads.traits.verify_every)
    await verify.once(made.tenant)
    assert await made.states() == {"verified": 1}


async def test_rows_of_one_batch_may_settle_at_different_times(store: Store) -> None:
    """What is told now is stored now; the others stay accepted and alone are asked about again, until all are told."""
    ads = Ads()
    made, keys = await accepted(store, ads, 1, 2, 3)
    ads.verifies = [
        [RowVerdict(keys[0], Seen.VERIFIED, "seen"), RowVerdict(keys[1], Seen.LATER), RowVerdict(keys[2], Seen.LATER)],
        [RowVerdict(keys[1], Seen.UNLINKED, "no_visit"), RowVerdict(keys[2], Seen.LATER)],
        [RowVerdict(keys[2], Seen.VERIFIED)],
    ]
    progress = await verify.once(made.tenant)
    assert progress.done == {"verified": 1}
    assert await made.states() == {"verified": 1, "accepted": 2}
    for _ in range(4):
        made.clock.advance(ads.traits.verify_every)
        await verify.once(made.tenant)
    assert await made.states() == {"verified": 2, "unlinked": 1}
    assert [set(rows) for rows in ads.verified] == [set(keys), set(keys[1:]), set(keys[2:])]
    assert await is_settled(made)


async def test_a_row_that_is_put_off_for_ever_is_given_up_alone(store: Store) -> None:
    """The limit ends the asking; what was told before stands."""
    ads = Ads(replace(TRAITS, verify_limit=HOUR))
    made, keys = await accepted(store, ads, 1, 2)
    ads.verifies = [
        [RowVerdict(keys[0], Seen.VERIFIED), RowVerdict(keys[1], Seen.LATER)],
        [RowVerdict(keys[1], Seen.LATER)],
    ]
    for _ in range(10):
        await verify.once(made.tenant)
        made.clock.advance(ads.traits.verify_every)
    rows = await made.rows()
    assert [(rows[key]["state"], rows[key]["code"]) for key in keys] == [
        ("verified", None),
        ("accepted", "never_confirmed"),
    ]
    assert await is_settled(made)


async def test_the_destination_is_handed_the_rows_as_they_were_sent(store: Store) -> None:
    """Identifiers, target and time: with them alone a row can be looked for at the vendor."""
    ads = Ads()
    made, keys = await accepted(store, ads, 1)
    await verify.once(made.tenant)
    (asked,) = ads.asked
    assert [row.delivery for row in asked.rows] == keys
    assert asked.rows[0] == rows_kit.content(rows_kit.conversion(1))
    assert asked.receipt == {"upload": ads.sent[0].label[:8]}
    assert made.clock.now() - asked.answered_at == 10 * MINUTE


async def test_what_is_never_confirmed_says_so_and_is_left(store: Store) -> None:
    """After the destination's limit the row stays accepted, with the remark, and nobody is asked any more."""
    ads = Ads(replace(TRAITS, verify_limit=2 * HOUR), verifies=[None])
    made, keys = await accepted(store, ads, 1)
    for _ in range(20):
        await verify.once(made.tenant)
        made.clock.advance(ads.traits.verify_every)
    row = (await made.rows())[keys[0]]
    assert (row["state"], row["code"]) == ("accepted", "never_confirmed")
    assert await is_settled(made)
    assert len(ads.verified) == 13  # every ten minutes, until more than two hours have passed


async def test_a_vendor_that_refuses_to_tell_is_not_asked_again(store: Store) -> None:
    """The row stays accepted with the vendor's code."""
    ads = Ads(verifies=[Refused("gone", code="REQUEST_TOO_OLD")])
    made, keys = await accepted(store, ads, 1)
    await verify.once(made.tenant)
    row = (await made.rows())[keys[0]]
    assert (row["state"], row["code"]) == ("accepted", "REQUEST_TOO_OLD")
    assert await is_settled(made)


async def test_a_vendor_that_is_down_is_asked_once_a_turn(store: Store) -> None:
    """Two batches wait: the second is not tried in vain; both are settled when it is up again."""
    ads = Ads(verifies=[Unavailable("down")], size=1)
    made, keys = await accepted(store, ads, 1, 2)
    progress = await verify.once(made.tenant)
    assert progress.problems == [f"{ADS}: Unavailable: down"]
    assert len(ads.verified) == 1
    ads.verifies = [[RowVerdict(key, Seen.VERIFIED)] for key in await _asked_in_order(made)]
    made.clock.advance(ads.traits.verify_every)
    await verify.once(made.tenant)
    assert await made.states() == {"verified": 2}
    assert sorted(key for rows in ads.verified[1:] for key in rows) == sorted(keys)


async def _asked_in_order(made: Office) -> list[str]:
    """Rows of the open batches, the one that is due first in front."""
    batches = sorted(await made.batches(), key=lambda batch: (batch["due"], batch["sealed_at"]))
    found = await made.rows()
    return [key for batch in batches for key, row in found.items() if row["batch"] == batch["id"]]


async def test_rows_that_the_vendor_does_not_name_keep_a_remark(store: Store) -> None:
    """They stay accepted and say so; rows it names without being asked change nothing."""
    ads = Ads()
    made, keys = await accepted(store, ads, 1, 2)
    ads.verifies = [[RowVerdict(keys[0], Seen.VERIFIED)] * 2 + [RowVerdict("f" * 32, Seen.REJECTED)]]
    await verify.once(made.tenant)
    rows = await made.rows()
    assert [(rows[key]["state"], rows[key]["code"]) for key in keys] == [("verified", None), ("accepted", "not_told")]
    assert await is_settled(made)


async def test_only_accepted_rows_are_asked_about(store: Store) -> None:
    """What was rejected at once is over."""
    ads = Ads()
    made = office(store, {ADS: ads})
    keys = await made.promise(1, 2)
    ads.sends = [lambda _: Answer((RowOutcome(keys[0], Fate.ACCEPTED), RowOutcome(keys[1], Fate.REJECTED, "no")))]
    await deliver.once(made.tenant)
    made.clock.advance(10 * MINUTE)
    await verify.once(made.tenant)
    assert ads.verified == [(keys[0],)]


async def test_a_bug_in_one_adapter_does_not_keep_another_from_verifying(store: Store) -> None:
    """The other destination's rows get their verdict in the same turn."""
    broken, well = Ads(verifies=[ZeroDivisionError()]), Ads()
    made = office(store, {"broken": broken, ADS: well})
    (key,) = await made.promise(1)
    ordinary = rows_kit.promise(rows_kit.conversion(2), destination="broken")
    await made.tenant.records.write_page(rows_kit.page(rows_kit.assessed(rows_kit.deal(2), ordinary)))
    await deliver.once(made.tenant)
    made.clock.advance(DAY)
    well.verifies = [[RowVerdict(key, Seen.VERIFIED)]]
    progress = await verify.once(made.tenant)
    assert await made.states() == {"accepted": 1, "verified": 1}
    assert [problem.startswith("broken: ZeroDivisionError") for problem in progress.problems] == [True]


# --- again -------------------------------------------------------------------------------------------------------


async def test_a_row_without_a_verdict_goes_again_in_a_smaller_batch(store: Store) -> None:
    """Not before its time, and as many together as the destination says; each sending is told apart by its attempt."""
    ads = Ads()
    made, keys = await accepted(store, ads, 1, 2, 3, 4)
    later = made.clock.now() + HOUR
    ads.verifies = [[RowVerdict(one, Seen.AGAIN, "1_of_4:bad", later, 2) for one in keys]]
    progress = await verify.once(made.tenant)
    assert progress.done == {"again": 4}
    assert await made.states() == {"pending": 4}
    assert await is_settled(made)
    await deliver.once(made.tenant)
    assert len(ads.sent) == 1
    made.clock.advance(HOUR)
    await deliver.once(made.tenant)
    assert [len(batch.rows) for batch in ads.sent] == [4, 2, 2]
    made.clock.advance(HOUR)
    ads.verifies = [[RowVerdict(key, Seen.VERIFIED) for key in keys]]
    await verify.once(made.tenant)
    assert await made.states() == {"verified": 4}
    assert [row.attempt for asked in ads.asked for row in asked.rows] == [0, 0, 0, 0, 1, 1, 1, 1]


async def test_a_row_that_a_correction_has_followed_is_not_sent_again(store: Store) -> None:
    """Its old value would come last: it stays accepted with the code. One whose correction still waits goes first."""
    ads = Ads()
    made, keys = await accepted(store, ads, 1, 2)
    await plan(store, conversion(1, 1, value=7), now=made.clock.now())
    await deliver.once(made.tenant)
    await plan(store, conversion(2, 1, value=9), now=made.clock.now())
    ads.verifies = [[RowVerdict(one, Seen.AGAIN, "bad", None, 1) for one in keys]]
    await verify.once(made.tenant)
    rows = await made.rows()
    assert [(rows[one]["state"], rows[one]["code"]) for one in keys] == [("accepted", "bad"), ("pending", "bad")]
    for _ in range(2):
        made.clock.advance(MINUTE)
        await deliver.once(made.tenant)
    sent = [batch.rows for batch in ads.sent]
    assert set(sent[0]) == set(keys)
    assert sent[1:] == [(key(1, 1),), (keys[1],), (key(2, 1),)]
