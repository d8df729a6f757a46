"""The list of jobs: order, filters, and a row that keeps its selection wherever it moves."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QItemSelectionModel, Qt

from app.jobs.model import JobEvent
from app.jobs.states import State
from app.jobs.words import Group
from app.ui.queue.model import JobModel, Role
from tests.gui.harness import made_job
from worker.contract import Progress

DAY = 86_400.0
NOW = 1_800_000_000.0 - 1_800_000_000.0 % DAY + DAY / 2


def rows(model: JobModel) -> list[str]:
    """The list as a person reads it: heads and names."""
    return [str(model.index(row).data()) for row in range(model.rowCount())]


def filled(states: Sequence[State], now: float, **values: Any) -> JobModel:
    model = JobModel(now=lambda: now)
    model.load([made_job(n, state, now, **values) for n, state in enumerate(states, 1)])
    return model


def test_jobs_stand_in_groups_in_the_order_of_their_work(now: float) -> None:
    model = JobModel(now=lambda: now)
    model.load(
        [
            made_job(1, State.DONE, now, name="old", ended_at=now - 3 * DAY),
            made_job(2, State.FAILED, now, name="yesterday", ended_at=now - DAY),
            made_job(3, State.DONE, now, name="first", ended_at=now - 600),
            made_job(4, State.DONE, now, name="last", ended_at=now - 60),
            made_job(5, State.RUNNING, now, name="runs"),
            made_job(6, State.WAITING, now, name="next"),
            made_job(7, State.WAITING, now, name="after"),
            made_job(8, State.PREPARING, now, name="new"),
        ]
    )
    assert rows(model) == [
        "Running", "runs",
        "Waiting", "new", "next", "after",
        "Finished today", "last", "first",
        "Yesterday", "yesterday",
        "Earlier", "old",
    ]  # fmt: skip


def test_the_model_keeps_qts_rules(now: float, qtmodeltester: Any) -> None:
    model = filled([State.RUNNING, State.WAITING, State.DONE, State.FAILED], now)
    qtmodeltester.check(model, force_py=True)


def test_a_selected_job_stays_selected_from_waiting_to_done(now: float) -> None:
    model = filled([State.WAITING, State.WAITING, State.WAITING], now)
    selection = QItemSelectionModel(model)
    job = next(iter(model.jobs.values())).job
    selection.select(model.index_of(job.id), QItemSelectionModel.SelectionFlag.ClearAndSelect)
    for state in (State.RUNNING, State.DOWNLOADING, State.DONE):
        job = replace(job, state=state, ended_at=now if state is State.DONE else None)
        model.apply([JobEvent(job)])
        assert [model.entry(index).job.id for index in selection.selectedIndexes()] == [job.id]  # type: ignore[union-attr]
    assert rows(model)[0] == "Waiting"
    assert rows(model)[-2:] == ["Finished today", job.name]


def test_filters_and_search_show_what_fits(now: float) -> None:
    model = filled([State.RUNNING, State.DONE, State.FAILED], now)
    model.show_only("failed")
    assert rows(model) == ["Finished today", "workflow 3"]
    model.show_only("all", "WORKFLOW 2")
    assert rows(model) == ["Finished today", "workflow 2"]
    model.show_only("active", "nothing like it")
    assert rows(model) == []
    model.show_only("all")
    assert len(rows(model)) == 5


def test_a_job_that_no_longer_fits_the_filter_leaves_the_list(now: float) -> None:
    model = filled([State.RUNNING], now)
    model.show_only("active")
    job = next(iter(model.jobs.values())).job
    model.apply([JobEvent(replace(job, state=State.DONE, ended_at=now))])
    assert rows(model) == []
    assert model.counts() == (0, 0)


def test_a_removed_job_is_gone(now: float) -> None:
    model = filled([State.DONE, State.DONE], now)
    job = next(iter(model.jobs.values())).job
    model.apply([JobEvent(job, removed=True)])
    assert job.id not in model.jobs
    assert len(rows(model)) == 2


def test_progress_never_goes_back_and_begins_anew_with_the_next_attempt(now: float) -> None:
    model = filled([State.RUNNING], now)
    entry = next(iter(model.jobs.values()))
    for done in (3, 1):
        model.apply([JobEvent(entry.job, Progress(nodes_done=done, nodes_total=4))])
        assert entry.part == pytest.approx(0.75)
    model.apply([JobEvent(replace(entry.job, state=State.WAITING))])
    assert entry.part is None


def test_waiting_jobs_know_their_place_in_their_own_queue(now: float) -> None:
    model = JobModel(now=lambda: now)
    model.load([made_job(n, State.WAITING, now, target=f"t{n % 2}") for n in range(1, 5)])
    places = {entry.job.seq: model.place(entry.job) for entry in model.jobs.values()}
    assert places == {1: 1, 2: 1, 3: 2, 4: 2}


def test_at_midnight_today_becomes_yesterday(now: float) -> None:
    clock = [now]
    model = JobModel(now=lambda: clock[0])
    model.load([made_job(1, State.DONE, now)])
    clock[0] += DAY
    model.tick()
    assert rows(model)[0] == "Yesterday"


def test_a_row_reads_as_one_sentence(now: float) -> None:
    model = filled([State.RUNNING], now)
    text = model.index(1).data(Qt.ItemDataRole.AccessibleTextRole)
    assert text.startswith("workflow 1, running on the demo engine")
    assert model.index(0).data(Qt.ItemDataRole.AccessibleTextRole) == "Running, 1 jobs"


_EVENTS = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from([*State, None]), st.integers(0, 3)), min_size=1, max_size=40
)


@settings(max_examples=60, deadline=None)
@given(events=_EVENTS, seed=st.integers(0, 5))
def test_whatever_happens_the_rows_are_those_of_a_list_made_anew(
    events: list[tuple[int, State | None, int]], seed: int
) -> None:
    """Row by row Qt is told the truth: a view that only follows the signals has the same list."""
    model = JobModel(now=lambda: NOW)
    model.load([made_job(n, State.WAITING, NOW) for n in (1, 2)])
    mirror = _Mirror(model)
    chosen = random.Random(seed).choice(["all", "all", "active", "failed"])
    model.show_only(chosen)  # type: ignore[arg-type]
    for number, state, age in events:
        if state is None:
            model.apply([JobEvent(made_job(number, State.DONE, NOW), removed=True)])
        else:
            ended = NOW - age * DAY if state.value in ("done", "failed", "cancelled", "timed_out") else None
            model.apply([JobEvent(made_job(number, state, NOW, ended_at=ended))])
        assert mirror.rows == rows(model)
    fresh = JobModel(now=lambda: NOW)
    fresh.show_only(chosen)  # type: ignore[arg-type]
    fresh.load([entry.job for entry in model.jobs.values()])
    assert rows(fresh) == rows(model)


class _Mirror:
    """Keeps a list by the model's signals alone."""

    def __init__(self, model: JobModel) -> None:
        self._model = model
        self.rows = rows(model)
        model.modelReset.connect(self._reset)
        model.rowsInserted.connect(self._inserted)
        model.rowsRemoved.connect(self._removed)
        model.rowsMoved.connect(self._moved)

    def _reset(self) -> None:
        self.rows = rows(self._model)

    def _inserted(self, _parent: object, first: int, last: int) -> None:
        self.rows[first:first] = [str(self._model.index(row).data()) for row in range(first, last + 1)]

    def _removed(self, _parent: object, first: int, last: int) -> None:
        del self.rows[first : last + 1]

    def _moved(self, _parent: object, first: int, last: int, _to: object, row: int) -> None:
        assert first == last
        text = self.rows.pop(first)
        self.rows.insert(row - 1 if row > first else row, text)


def test_ten_thousand_jobs_come_in_without_a_reset(now: float) -> None:
    model = JobModel(now=lambda: now)
    jobs = [made_job(n, State.DONE, now, ended_at=now - n) for n in range(10_000)]
    resets: list[None] = []
    model.load(jobs[:200])
    model.modelReset.connect(lambda: resets.append(None))
    for begin in range(200, len(jobs), 200):
        model.load(jobs[begin : begin + 200])
    assert model.rowCount() >= 10_001
    assert not resets
    assert model.entry(model.index_of(jobs[9_999].id)) is model.jobs[jobs[9_999].id]
    assert next(head.group for head in _heads(model)) is Group.TODAY


def _heads(model: JobModel) -> list[Any]:
    found = [model.index(row).data(Role.HEAD) for row, _ in model.rows_of_groups()]
    return [head for head in found if head is not None]
