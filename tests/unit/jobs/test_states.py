"""The table of moves, as a table."""

from __future__ import annotations

import pytest

from app.jobs.states import FINAL, MOVES, REMOTE, UNSENT, IllegalMove, State, check_move


def reachable(state: State) -> set[State]:
    seen, left = {state}, [state]
    while left:
        for following in MOVES[left.pop()] - seen:
            seen.add(following)
            left.append(following)
    return seen


def test_every_state_has_a_row_and_one_room() -> None:
    assert set(MOVES) == set(State)
    assert set(State) == FINAL | REMOTE | UNSENT
    assert len(FINAL) + len(REMOTE) + len(UNSENT) == len(State)


def test_final_states_have_no_way_out_and_all_others_lead_to_one() -> None:
    assert {state for state in State if not MOVES[state]} == FINAL
    assert all(reachable(state) & FINAL for state in State)
    assert reachable(State.PREPARING) == set(State)


@pytest.mark.parametrize("state", sorted(set(State) - FINAL - {State.DOWNLOADING}))
def test_what_is_not_downloading_can_be_cancelled(state: State) -> None:
    assert MOVES[state] & {State.CANCELLED, State.CANCELLING} or state is State.CANCELLING
    assert State.CANCELLED in reachable(state)


def test_a_downloading_job_cannot_be_cancelled() -> None:
    assert State.CANCELLED not in reachable(State.DOWNLOADING)


def test_a_forbidden_move_says_which() -> None:
    check_move(State.RUNNING, State.RUNNING)
    check_move(State.DONE, State.DONE)
    with pytest.raises(IllegalMove, match="from done to running"):
        check_move(State.DONE, State.RUNNING)
