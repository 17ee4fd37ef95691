"""The life of a delivery, as data: only the moves of the design's picture exist."""

from __future__ import annotations

from itertools import product

import pytest

from bridge.errors import StoreError
from bridge.states import STEPS, DeliveryState, Move, source_of, step

FINAL = {
    DeliveryState.VERIFIED,
    DeliveryState.UNLINKED,
    DeliveryState.REJECTED,
    DeliveryState.EXPIRED,
    DeliveryState.CANCELLED,
}


@pytest.mark.parametrize(("state", "move"), list(product([None, *DeliveryState], Move)))
def test_a_move_is_legal_or_an_error_of_the_store(state: DeliveryState | None, move: Move) -> None:
    """Nothing in between: an unknown move never leads anywhere by accident."""
    if (state, move) in STEPS:
        assert step(state, move) is STEPS[state, move]
    else:
        with pytest.raises(StoreError, match=f"cannot {move} from"):
            step(state, move)


def test_a_delivery_begins_pending_and_only_there() -> None:
    """Planning is the one way in."""
    assert [(move, after) for (before, move), after in STEPS.items() if before is None] == [
        (Move.PLAN, DeliveryState.PENDING)
    ]


def test_every_state_can_be_reached_and_every_open_one_left() -> None:
    """No dead end but the final states, and those are for ever; only a deal that is restored in the CRM leads back."""
    assert set(STEPS.values()) == set(DeliveryState)
    left = {before for before, move in STEPS if before and move is not Move.RESTORE}
    assert left == set(DeliveryState) - FINAL
    assert source_of(Move.RESTORE) is DeliveryState.CANCELLED


def test_only_a_sealed_row_can_be_answered() -> None:
    """What is pending again has to be sealed again, into a batch of its own, before anything is recorded of it."""
    answers = (Move.ACCEPT, Move.REJECT, Move.AGAIN, Move.HOLD, Move.DROP)
    assert {source_of(move) for move in answers} == {DeliveryState.SEALED}


def test_only_a_human_takes_a_held_row_further() -> None:
    """Resend, confirm and cancel are the three decisions; nothing else leaves ``held``."""
    decisions = {move: after for (before, move), after in STEPS.items() if before is DeliveryState.HELD}
    assert decisions == {
        Move.RESEND: DeliveryState.PENDING,
        Move.CONFIRM: DeliveryState.ACCEPTED,
        Move.CANCEL: DeliveryState.CANCELLED,
    }


@pytest.mark.parametrize("move", [move for move in Move if move is not Move.PLAN])
def test_every_move_has_one_beginning(move: Move) -> None:
    """So that an UPDATE can name the state it expects."""
    assert step(source_of(move), move) in DeliveryState


def test_planning_begins_nowhere() -> None:
    """Whoever asks for its beginning has made a mistake."""
    with pytest.raises(StoreError, match="starts from 0 states"):
        source_of(Move.PLAN)
