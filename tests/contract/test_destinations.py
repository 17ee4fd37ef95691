"""What every destination must do, whoever wrote it. A new adapter folder is tested here without being named."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from bridge.errors import Ambiguous, BridgeError, ConfigError, Throttled, Unavailable
from bridge.frozen import replace
from bridge.model import Identifier, IdKind, Money, Outgoing
from bridge.ports import Accepted, Answer, Destination, Fate, Level, Pass, Proof, RowVerdict, Sealed, Seen
from bridge.sim.events import Applied, Click
from bridge.sim.faults import Fault, FaultPlan
from tests.contract.rig import DESTINATIONS, DESTINATIONS_WITH_SERVER, Rig, rig, targets
from tests.support import START

ROWS = 5
LABEL = "0123456789abcdef0123456789abcdef"
with_server = pytest.mark.parametrize("kind", sorted(DESTINATIONS_WITH_SERVER))
every_destination = pytest.mark.parametrize("kind", DESTINATIONS)


@pytest.fixture
async def account(kind: str, tmp_path: Path) -> AsyncIterator[Rig]:
    """A destination on its simulator, which knows the clicks of the rows."""
    async with rig(kind, "destination", tmp_path) as made:
        for number in range(ROWS if made.fake else 0):
            made.fake.know(_click(number))
        yield made


def _click(number: int) -> Click:
    at = START - timedelta(days=2, minutes=number)
    yclid = f"10000000000000{number:04d}"
    return Click(
        id=number + 1,
        at=at,
        person=number,
        landing=f"https://okna.example/?yclid={yclid}",
        referrer="",
        yclid=yclid,
        gclid=f"Cj0KCQiAsample{number:040d}",
        client_id=f"17700000001234{number:04d}",
        ga_client_id=f"100000{number:04d}.{int(at.timestamp())}",
        fbclid=f"IwAR0sample{number:040d}",
        rb_clickid=f"AbCdEf{number:04d}",
        fb_lead_id=f"12345678901{number:04d}",
    )


def rows(account: Rig, count: int | None = None) -> list[Outgoing]:
    """Sendable rows: one click each, known to the simulator, with the identifiers this destination accepts.

    As many as one batch takes, up to ``ROWS``, or ``count``.
    """
    goal, target = next(iter(targets(account.kind).items()))
    return [_row(account, number, goal, target) for number in range(count or _most(account.port))]


def _most(port: Destination) -> int:
    """Rows that a batch may have here, however many are due."""
    return min(ROWS, port.batch_size(100_000))


def _row(account: Rig, number: int, goal: str, target: str) -> Outgoing:
    click = _click(number)
    has = {kind: value for kind in IdKind if (value := getattr(click, kind.value, None))}
    accepted = [kind for kind in account.port.traits.accepts if has.get(kind)]
    assert accepted, "the suite knows no click for this destination: add its identifier to _click"
    return Outgoing(
        delivery=f"{number:032x}",
        order_key=f"{number + 4096:032x}",
        target=target,
        goal=goal,
        occurred_at=START - timedelta(hours=3, seconds=number),
        deal_created_at=click.at + timedelta(hours=1),
        value=Money.of(1500 + number, "RUB"),
        identifiers=tuple(Identifier(kind, str(has[kind]), "field") for kind in accepted),
        touched_at=click.at,
    )


def seal(port: Destination, batch: Sequence[Outgoing], label: str = LABEL) -> Sealed:
    return Sealed(label, port.render(batch, label), tuple(row.delivery for row in batch))


def fates(answer: Answer) -> dict[str, Fate]:
    return {outcome.delivery: outcome.fate for outcome in answer.outcomes}


def reached(account: Rig) -> list[Applied]:
    applied: list[Applied] = account.fake.applied()
    return applied


# --- credentials and goals ---------------------------------------------------------------------------------------


@every_destination
async def test_a_sound_account_has_no_errors(account: Rig) -> None:
    """``bridge check`` finds the goals of the example configuration at the vendor."""
    findings = await account.port.check(targets(account.kind))
    assert [finding for finding in findings if finding.level is Level.ERROR] == []
    assert findings


@with_server
async def test_wrong_credentials_are_a_finding_and_not_a_crash(account: Rig) -> None:
    """A revoked secret is reported by ``check``, which never repeats it; if the vendor tells nobody, that is said."""
    secrets = account.fake.secrets()
    os.environ.update(dict.fromkeys(secrets, "no-such-secret-5f0e"))
    try:
        findings = await account.again().check(targets(account.kind))
    except ConfigError as error:
        texts = [str(error)]
    else:
        told = Level.ERROR if account.fake.tells_credentials else Level.WARNING
        texts = [f"{finding.subject} {finding.message}" for finding in findings if finding.level is told]
    assert texts
    assert not any(value in text for text in texts for value in [*secrets.values(), "no-such-secret-5f0e"])


# --- before sending ----------------------------------------------------------------------------------------------


@every_destination
async def test_a_good_row_may_be_sent_now(account: Rig) -> None:
    """Fresh enough, old enough, with an identifier: nothing to wait for."""
    assert {account.port.admit(row, START).verdict for row in rows(account)} == {Pass.SEND}


@every_destination
async def test_a_row_without_any_identifier_is_refused_with_a_code(account: Rig) -> None:
    """There is nothing to link it by, ever; people are told all the same."""
    admission = account.port.admit(replace(rows(account)[0], identifiers=(), persons=()), START)
    if not account.port.traits.needs_click:
        assert admission.verdict is Pass.SEND
        return
    assert admission.verdict is Pass.REFUSED
    assert admission.code


@with_server
async def test_a_row_whose_window_has_closed_has_expired(account: Rig) -> None:
    """It is not sent to be dropped silently by the vendor."""
    old = timedelta(days=400)
    row = rows(account)[0]
    assert row.touched_at is not None
    ancient = replace(
        row,
        occurred_at=row.occurred_at - old,
        deal_created_at=row.deal_created_at - old,
        touched_at=row.touched_at - old,
    )
    assert account.port.admit(ancient, START).verdict is Pass.EXPIRED


@every_destination
async def test_rendering_is_deterministic_across_processes(account: Rig) -> None:
    """The same rows and label give the same bytes, now and after a restart."""
    first = account.port.render(rows(account), LABEL)
    account.clock.advance(timedelta(hours=5))
    assert account.port.render(rows(account), LABEL) == first
    assert account.again().render(rows(account), LABEL) == first
    assert len(first.body) <= account.port.traits.max_bytes


@every_destination
async def test_a_batch_has_at_least_one_row_and_a_key(account: Rig) -> None:
    """Whatever is due, something can be sealed."""
    assert all(account.port.batch_size(due) >= 1 for due in (1, 10, 100_000))
    assert len({account.port.batch_key(row) for row in rows(account)}) == 1


# --- sending -----------------------------------------------------------------------------------------------------


@every_destination
async def test_an_answer_names_every_row_once(account: Rig) -> None:
    """No row is left in doubt by a good answer."""
    batch = seal(account.port, rows(account))
    answer = await account.port.send(batch)
    assert [outcome.delivery for outcome in answer.outcomes] == list(batch.rows)
    assert set(fates(answer).values()) == {Fate.ACCEPTED}


@with_server
async def test_what_was_sent_is_applied_once_and_verified(account: Rig) -> None:
    """The vendor's own statement, asked as often as the traits say, ends in "verified" for every row."""
    sent = rows(account)
    batch = seal(account.port, sent)
    answer = await account.port.send(batch)
    applied = reached(account)
    assert [item.reaches for item in applied] == [1] * len(batch.rows)
    assert all(item.is_linked for item in applied)
    if account.port.traits.verify_first is not None:
        assert {verdict.delivery: verdict.seen for verdict in await _verified(account, answer, sent)} == dict.fromkeys(
            batch.rows, Seen.VERIFIED
        )


async def _verified(account: Rig, answer: Answer, sent: Sequence[Outgoing]) -> list[RowVerdict]:
    """Ask like the core does: at the traits' pace, about the rows that still lack a verdict."""
    traits, open_rows, settled = account.port.traits, list(sent), []
    waited, answered_at = traits.verify_first, account.clock.now()
    account.clock.advance(waited)
    while open_rows:
        assert waited <= traits.verify_limit, "never settled"
        verdicts = await account.port.verify(Accepted(answer.receipt, tuple(open_rows), answered_at))
        settled += [verdict for verdict in verdicts or () if verdict.seen is not Seen.LATER]
        ended = {verdict.delivery for verdict in settled}
        open_rows = [row for row in open_rows if row.delivery not in ended]
        waited += traits.verify_every
        account.clock.advance(traits.verify_every)
    return settled


@with_server
async def test_one_bad_row_does_not_hold_back_the_others(account: Rig) -> None:
    """Whether the vendor names it or not: after splitting and sending again, only the bad row can be left behind."""
    good = rows(account, ROWS)
    bad = replace(good[1], identifiers=(Identifier(good[1].identifiers[0].kind, "x", "field"),))
    ended = await _send_all(account.port, [good[0], bad, *good[2:]])
    accepted = {name for name, fate in ended.items() if fate is Fate.ACCEPTED}
    assert set(ended) == {row.delivery for row in good}
    assert accepted >= {row.delivery for row in good} - {bad.delivery}


async def _send_all(port: Destination, waiting: list[Outgoing]) -> dict[str, Fate]:
    """Send until every row has ended, in halves where it is asked for; what is not admitted ends at once."""
    refused = [row.delivery for row in waiting if port.admit(row, START).verdict is Pass.REFUSED]
    ended = dict.fromkeys(refused, Fate.REJECTED)
    going, most = [row for row in waiting if row.delivery not in ended], _most(port)
    queue = [going[start : start + most] for start in range(0, len(going), most)]
    for number in range(20):
        if not queue:
            break
        batch = queue.pop()
        outcome = fates(await port.send(seal(port, batch, f"{number:032x}")))
        ended |= {name: fate for name, fate in outcome.items() if fate in (Fate.ACCEPTED, Fate.REJECTED)}
        again = [row for row in batch if row.delivery not in ended]
        half = len(again) // 2 if Fate.SPLIT in outcome.values() else 0
        queue += [part for part in (again[:half], again[half:]) if part]
    return ended


# --- lost answers ------------------------------------------------------------------------------------------------


async def _send_under(account: Rig, fault: Fault, batch: Sealed) -> BridgeError | None:
    """One send with every request hit by the fault; credentials are warm, so it hits the upload itself."""
    await account.port.check(targets(account.kind))
    account.fake.faults = FaultPlan(1, {fault: 1.0})
    try:
        await account.port.send(batch)
    except BridgeError as error:
        return error
    finally:
        account.fake.faults = FaultPlan.calm()
    return None


@with_server
@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.ERROR_AFTER, Fault.CUT_BODY, Fault.DROP_BEFORE])
async def test_after_a_lost_answer_the_declared_proof_leads_to_exactly_one(account: Rig, fault: Fault) -> None:
    """ROW: the same bytes again. TAG: found by its label, or absent and sent again. Either way each row counts once."""
    batch = seal(account.port, rows(account))
    error = await _send_under(account, fault, batch)
    assert error is not None or fault is Fault.CUT_BODY  # who reads no body has its whole answer
    sent_at = account.clock.now()
    account.clock.advance(account.port.traits.visibility + timedelta(minutes=1))
    answer = await account.port.lookup(batch, sent_at) if account.port.traits.proof is Proof.TAG else None
    if answer is None and (account.port.traits.proof is not Proof.NONE or not reached(account)):
        answer = await account.port.send(batch)
    assert answer is None or set(fates(answer).values()) == {Fate.ACCEPTED}
    assert [item.reaches for item in reached(account)] == [1] * len(batch.rows)


@with_server
async def test_an_answer_lost_after_the_write_is_never_taken_for_a_write_that_did_not_arrive(account: Rig) -> None:
    """Unless the vendor recognises repeated rows, a lost answer is Ambiguous, so that only proof decides."""
    error = await _send_under(account, Fault.LOST_ANSWER, seal(account.port, rows(account)))
    harmless = (Ambiguous, Unavailable) if account.port.traits.proof is Proof.ROW else (Ambiguous,)
    assert isinstance(error, harmless)


@with_server
async def test_a_throttled_send_applies_nothing(account: Rig) -> None:
    """429 means later, and the rows stay unsent."""
    error = await _send_under(account, Fault.THROTTLE, seal(account.port, rows(account)))
    assert isinstance(error, Throttled | Unavailable)
    assert reached(account) == []


@with_server
async def test_a_label_that_was_never_sent_is_not_found(account: Rig) -> None:
    """TAG: absence is told apart from presence."""
    if account.port.traits.proof is Proof.TAG:
        batch = seal(account.port, rows(account), "f" * 32)
        assert await account.port.lookup(batch, START) is None
