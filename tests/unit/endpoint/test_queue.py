"""The queue on disk: states, order, losses, limits, deadlines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.endpoint.queue import JobQueue, Verdict
from app.endpoint.states import MOVES, UNFINISHED, ForbiddenMove, Job, State
from tests.unit.endpoint.helpers import Clock, make_config


class Bench:
    """A queue with a clock in hand."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.clock = Clock()
        self.config = make_config(folder, **changes)
        self.path = folder / "queue.sqlite3"
        self.queue = JobQueue(self.path, self.config, clock=self.clock)

    def reopen(self) -> None:
        self.queue.close()
        self.queue = JobQueue(self.path, self.config, clock=self.clock)

    def add(self, *, sync: bool = False, **kwargs: Any) -> str:
        return self.queue.submit({"input": {"n": 1}}, sync=sync, **kwargs).id

    def take(self, worker: str = "w1", count: int = 1) -> list[str]:
        return [job_id for job_id, _ in self.queue.take(worker, count)]

    def job(self, job_id: str) -> Job:
        found = self.queue.get(job_id)
        assert found is not None
        return found

    def reply(self, job_id: str) -> dict[str, Any]:
        return dict(json.loads(self.queue.reply(self.job(job_id))))

    def in_state(self, state: State) -> str:
        """A job brought to a state by the public way there."""
        job_id = self.add()
        if state == State.IN_QUEUE:
            return job_id
        if state == State.CANCELLED:
            self.queue.cancel(self.job(job_id))
            return job_id
        assert self.take() == [job_id]
        if state == State.COMPLETED:
            self.queue.done("w1", job_id, {"output": 1})
        elif state == State.FAILED:
            self.queue.done("w1", job_id, {"error": "bad", "output": {"x": 1}})
        elif state == State.TIMED_OUT:
            self.clock.now += self.config.execution_timeout_ms / 1000 + 1
            self.queue.expire(self.clock.now)
        assert self.job(job_id).state == state
        return job_id


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.queue.close()


def test_jobs_come_in_order_and_only_once(bench: Bench) -> None:
    jobs = [bench.add() for _ in range(5)]
    assert bench.take() == jobs[:1]
    assert bench.take("w2", 3) == jobs[1:4]
    assert bench.take("w3", 3) == jobs[4:]
    assert bench.take("w4") == []


def test_a_worker_gets_id_input_and_s3_config_only(bench: Bench) -> None:
    job = bench.queue.submit({"input": {"ü": 1}, "s3Config": {"bucketName": "b"}})
    ((_, text),) = bench.queue.take("w1")
    assert json.loads(text) == {"id": job.id, "input": {"ü": 1}, "s3Config": {"bucketName": "b"}}


def test_ids_have_runpods_form(bench: Bench) -> None:
    assert bench.add().endswith("-u1")
    assert bench.add(sync=True).startswith("sync-")


@pytest.mark.parametrize("state", State)
def test_cancel_in_every_state(bench: Bench, state: State) -> None:
    job_id = bench.in_state(state)
    bench.queue.cancel(bench.job(job_id))
    assert bench.job(job_id).state == (State.CANCELLED if state in UNFINISHED else state)


@pytest.mark.parametrize("state", State)
def test_only_failed_and_timed_out_can_be_retried(bench: Bench, state: State) -> None:
    job_id = bench.in_state(state)
    other = bench.add()
    again = bench.queue.retry(bench.job(job_id))
    if state not in (State.FAILED, State.TIMED_OUT):
        assert again is None
        return
    assert bench.reply(job_id) == {"id": job_id, "status": "IN_QUEUE", "retries": 1}
    assert bench.take(count=2) == [other, job_id]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("to", State)
def test_moves_outside_the_table_are_refused(bench: Bench, state: State, to: State) -> None:
    job = bench.job(bench.in_state(state))
    if to in MOVES[state]:
        assert bench.queue._move(job, to).state == to
    else:
        with pytest.raises(ForbiddenMove):
            bench.queue._move(job, to)
        assert bench.job(job.id) == job


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(
    "body", [{"output": 2}, {"error": "late"}, {}, {"status": "IN_PROGRESS", "output": 9}]
)
def test_only_a_running_job_takes_results(bench: Bench, state: State, body: dict[str, Any]) -> None:
    job_id = bench.in_state(state)
    before = bench.reply(job_id)
    verdict = bench.queue.done("w1", job_id, body)
    assert (verdict is Verdict.ACCEPTED) == (state == State.IN_PROGRESS)
    assert (bench.reply(job_id) != before) == (state == State.IN_PROGRESS)


def test_a_result_of_another_worker_or_job_is_ignored(bench: Bench) -> None:
    job_id = bench.in_state(State.IN_PROGRESS)
    assert bench.queue.done("w2", job_id, {"output": 1}) is Verdict.IGNORED
    assert bench.queue.done("w1", "unknown", {"output": 1}) is Verdict.IGNORED
    assert bench.job(job_id).state == State.IN_PROGRESS


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"output": {"a": "ü"}}, {"status": "COMPLETED", "output": {"a": "ü"}}),
        ({"output": None}, {"status": "COMPLETED", "output": None}),
        ({}, {"status": "COMPLETED"}),
        ({"error": "bad"}, {"status": "FAILED", "error": "bad"}),
        (
            {"error": {"code": 1}, "output": {"x": 1}},
            {"status": "FAILED", "error": {"code": 1}, "output": {"x": 1}},
        ),
    ],
)
def test_what_a_result_becomes(bench: Bench, body: dict[str, Any], shown: dict[str, Any]) -> None:
    job_id = bench.add()
    bench.clock.now += 2
    bench.take()
    bench.clock.now += 3
    bench.queue.done("w1", job_id, body)
    times = {"id": job_id, "delayTime": 2000, "executionTime": 3000, "workerId": "w1"}
    assert bench.reply(job_id) == times | shown


def test_only_the_latest_progress_is_shown_and_only_while_running(bench: Bench) -> None:
    job_id = bench.in_state(State.IN_PROGRESS)
    assert "output" not in bench.reply(job_id)
    for step in range(3):
        bench.queue.done("w1", job_id, {"status": "IN_PROGRESS", "output": {"step": step}})
    assert bench.reply(job_id)["output"] == {"step": 2}
    bench.queue.done("w1", job_id, {"error": "bad"})
    assert "output" not in bench.reply(job_id)


def test_a_lost_workers_job_is_given_back_once(bench: Bench) -> None:
    first, second = bench.add(), bench.add()
    bench.clock.now += 1
    assert bench.take("w1") == [first]
    bench.clock.now += 10
    bench.queue.give_back("w1")
    assert bench.reply(first) == {"id": first, "status": "IN_QUEUE", "retries": 1}
    bench.clock.now += 4
    assert bench.take("w2", 2) == [first, second]
    assert bench.reply(first)["delayTime"] == 4000
    bench.queue.give_back("w2", only=[first])
    reply = bench.reply(first)
    assert (reply["status"], reply["error"], reply["retries"]) == (
        "FAILED",
        "job timed out after 1 retries",
        1,
    )
    assert bench.job(second).state == State.IN_PROGRESS


def test_several_jobs_are_given_back_in_their_order(bench: Bench) -> None:
    jobs = [bench.add() for _ in range(4)]
    bench.take("w1", 3)
    bench.queue.give_back("w1")
    assert bench.take("w2", 4) == jobs


def test_an_undelivered_job_is_as_if_never_taken(bench: Bench) -> None:
    job_id = bench.add()
    before = bench.job(job_id)
    bench.take()
    bench.queue.give_back("w1", counted=False)
    assert bench.job(job_id) == before


def test_a_restart_keeps_everything_and_counts_no_loss(bench: Bench) -> None:
    ended, running, waiting = bench.in_state(State.COMPLETED), bench.in_state(State.IN_PROGRESS), bench.add()
    for restart in (1, 2, 3):
        bench.reopen()
        assert bench.queue.recover() == 1
        assert bench.reply(running)["retries"] == restart
        assert bench.take() == [running]
    assert bench.reply(ended)["output"] == 1
    bench.queue.give_back("w1")
    assert bench.job(running).state == State.IN_QUEUE, "the one permitted loss was used up"
    assert bench.take("w1", 5) == [running, waiting]


def test_a_retry_may_lose_a_worker_again(bench: Bench) -> None:
    job_id = bench.add()
    for _ in range(2):
        bench.take()
        bench.queue.give_back("w1")
    assert bench.job(job_id).state == State.FAILED
    bench.queue.retry(bench.job(job_id))
    bench.take()
    bench.queue.give_back("w1")
    assert bench.job(job_id).state == State.IN_QUEUE


def test_purge_removes_waiting_jobs_only(bench: Bench) -> None:
    running = bench.in_state(State.IN_PROGRESS)
    waiting = [bench.add(), bench.add()]
    assert bench.queue.purge() == 2
    assert bench.queue.purge() == 0
    assert [bench.queue.get(job_id) for job_id in waiting] == [None, None]
    (kept,) = bench.queue._table._db.execute("SELECT COUNT(*) FROM payloads").fetchone()
    assert kept == 1, "an input outlived its job"
    assert bench.job(running).state == State.IN_PROGRESS


def test_execution_timeout_ends_the_job_and_stops_the_worker(bench: Bench) -> None:
    job_id = bench.add(execution_timeout_ms=5000)
    bench.clock.now += 100
    bench.take()
    bench.clock.now += 5
    assert bench.queue.expire(bench.clock.now).changed == 0
    bench.clock.now += 0.1
    assert bench.queue.expire(bench.clock.now).to_stop == (("w1", job_id),)
    reply = bench.reply(job_id)
    assert reply["status"] == "TIMED_OUT"
    assert "5 s" in reply["error"]


@pytest.mark.parametrize("running", [False, True])
def test_ttl_removes_an_unfinished_job(bench: Bench, running: bool) -> None:
    job_id = bench.add(ttl_ms=10_000)
    if running:
        bench.take()
    bench.clock.now += 10
    assert bench.queue.expire(bench.clock.now).changed == 0
    bench.clock.now += 0.1
    expired = bench.queue.expire(bench.clock.now)
    assert expired.to_stop == ((("w1", job_id),) if running else ())
    assert bench.queue.get(job_id) is None


def test_ttl_can_be_set_later_and_spares_results(bench: Bench) -> None:
    waiting, ended = bench.add(), bench.in_state(State.CANCELLED)
    bench.queue.set_ttl(bench.job(waiting), 10_000)
    bench.queue.set_ttl(bench.job(ended), 10_000)
    bench.clock.now += 11
    bench.queue.expire(bench.clock.now)
    assert bench.queue.get(waiting) is None
    assert bench.job(ended).state == State.CANCELLED


@pytest.mark.parametrize(("sync", "kept_s"), [(False, 1800), (True, 60)])
def test_results_are_kept_for_a_while(bench: Bench, sync: bool, kept_s: float) -> None:
    job_id = bench.add(sync=sync)
    bench.take()
    bench.clock.now += 5
    bench.queue.done("w1", job_id, {"output": 1})
    bench.clock.now += kept_s
    bench.queue.expire(bench.clock.now)
    assert bench.job(job_id).state == State.COMPLETED
    bench.clock.now += 1
    bench.queue.expire(bench.clock.now)
    assert bench.queue.get(job_id) is None


@pytest.mark.parametrize(("sync", "limit"), [(False, 1000), (True, 2000)])
def test_an_oversized_result_is_lost_and_the_job_completed(tmp_path: Path, sync: bool, limit: int) -> None:
    bench = Bench(tmp_path, max_run_bytes=1000, max_sync_bytes=2000)
    fits, too_big = bench.add(sync=sync), bench.add(sync=sync)
    bench.take(count=2)
    assert bench.queue.done("w1", fits, {"output": 1}, limit) is Verdict.ACCEPTED
    for _ in range(3):  # the SDK tries three times
        assert bench.queue.done("w1", too_big, {"output": 1}, limit + 1) is Verdict.OVERSIZED
    assert bench.reply(too_big)["status"] == "COMPLETED"
    assert "output" not in bench.reply(too_big)
    bench.queue.close()


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED, State.TIMED_OUT])
def test_a_late_progress_overwrites_a_result_in_strict_mode_only(
    tmp_path: Path, strict: bool, state: State
) -> None:
    bench = Bench(tmp_path, strict_progress=strict)
    job_id = bench.in_state(state)
    bench.queue.done("w1", job_id, {"status": "IN_PROGRESS", "output": "late"})
    reply = bench.reply(job_id)
    overwritten = strict and state in (State.COMPLETED, State.FAILED)
    assert (reply["status"] == "IN_PROGRESS") == overwritten
    assert (reply.get("output") == "late") == overwritten
    assert bench.take() == []
    bench.queue.close()


def test_counts(bench: Bench) -> None:
    for state in (State.COMPLETED, State.FAILED, State.CANCELLED, State.TIMED_OUT, State.IN_QUEUE):
        bench.in_state(state)
    counts = bench.queue.counts()
    assert counts["inQueue"] == 1
    assert (counts["completed"], counts["failed"], counts["retried"]) == (1, 2, 0)
    bench.clock.now += 10_000
    bench.queue.expire(bench.clock.now)
    assert bench.queue.counts()["completed"] == 1, "what was forgotten still counts"


def test_a_failed_change_leaves_nothing_behind(bench: Bench) -> None:
    job_id = bench.in_state(State.COMPLETED)
    before = bench.queue.counts()
    with pytest.raises(ForbiddenMove):
        bench.queue._finish(bench.job(job_id), State.FAILED)
    assert bench.queue.counts() == before


@pytest.mark.skipif(os.name != "posix", reason="POSIX file modes")
def test_the_queue_is_readable_by_its_user_alone(bench: Bench) -> None:
    bench.add()
    assert [
        file.name for file in bench.path.parent.glob("queue.sqlite3*") if file.stat().st_mode & 0o077
    ] == []
