"""The table of moves and the words, as tables."""

from __future__ import annotations

import pytest

from app.commands.display import job_line
from app.jobs.model import Job
from app.jobs.states import FINAL, MOVES, REMOTE, UNSENT, IllegalMove, State, check_move
from app.jobs.words import PILL

#: The design's pills, and the two states that it has no pill of its own for.
WORDS = {
    "preparing": "Preparing",
    "on_hold": "On hold",
    "uploading": "Uploading",
    "submitting": "Sending",
    "waiting": "Waiting",
    "starting": "Starting worker",
    "running": "Running",
    "cancelling": "Cancelling",
    "downloading": "Downloading",
    "done": "Done",
    "failed": "Failed",
    "cancelled": "Cancelled",
    "timed_out": "Timed out",
}


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


def test_words_and_states_are_one_to_one() -> None:
    assert {state.value: word for state, word in PILL.items()} == WORDS
    assert len(set(PILL.values())) == len(State)


@pytest.mark.parametrize("state", list(State))
def test_the_command_line_speaks_the_same_words(state: State) -> None:
    line = job_line(Job("0123456789", 1, "name", "demo", "out", state=state))
    assert line.split("  ")[1].strip().startswith(WORDS[state].lower())
