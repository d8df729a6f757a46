"""Following: what each answer of a platform means for a job, and what its silence means."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from app.endpoint.errors import KeyRefused
from app.errors import Unreachable
from app.jobs.states import State
from tests.unit.jobs.helpers import FAST, PNG, World, answers, cut_before, until

HANDLER_RAISED = json.dumps(
    {"error_type": "<class 'ValueError'>", "error_message": "boom", "error_traceback": "Traceback …"}
)


async def running(world: World) -> tuple[str, str]:
    """A job that runs: its id here and there."""
    job_id = await world.submit()
    remote_id, _ = await world.take()
    await world.reaches(job_id, State.RUNNING)
    return job_id, remote_id


async def test_progress_is_told_and_not_written(world: World) -> None:
    job_id, remote_id = await running(world)
    moves = len(await world.store.timeline(job_id))
    shown = {"progress": {"node_id": "3", "nodes_done": 1, "nodes_total": 4, "preview": "aGk="}}
    world.post(remote_id, {"status": "IN_PROGRESS", "output": shown})
    event = await until(lambda: next((e for e in world.events if e.progress), None), "progress")
    assert (event.job.id, event.progress.node_id, event.progress.fraction) == (job_id, "3", 0.25)
    world.post(remote_id, {"status": "IN_PROGRESS", "output": ["another worker's own"]})
    world.finish(remote_id)
    job = await world.reaches(job_id, State.DONE)
    assert job.execution_ms is not None
    assert len(await world.store.timeline(job_id)) == moves + 2


async def test_a_lost_worker_brings_the_job_back_to_waiting(world: World) -> None:
    job_id, _ = await running(world)
    world.platform.queue.give_back("w1")
    job = await world.reaches(job_id, State.WAITING)
    assert (job.remote_word, job.retries) == ("IN_QUEUE", 1)


@pytest.mark.parametrize("body", [{}, {"output": None}])
async def test_a_result_that_the_platform_lost_is_a_failure(world: World, body: dict[str, Any]) -> None:
    job_id, remote_id = await running(world)
    world.post(remote_id, body)
    job = await world.reaches(job_id, State.FAILED)
    assert job.error is not None
    assert job.error["code"] == "result_lost"


@pytest.mark.parametrize(
    ("answer", "summary", "code", "details"),
    [
        (
            {"error": "Node 7 failed", "output": {"code": "node_failed", "hint": "h", "images": [PNG]}},
            "Node 7 failed",
            "node_failed",
            {"code": "node_failed", "hint": "h"},
        ),
        ({"error": HANDLER_RAISED}, "boom", "failed", {"raw": HANDLER_RAISED}),
        ({"error": "job timed out after 1 retries"}, "job timed out after 1 retries", "failed", {}),
        ({"error": "[" * 100_000}, "[" * 100_000, "failed", {}),
        ({}, "The job ended as FAILED without a reason.", "failed", {"raw": None}),
        ({"output": ["x"]}, "The job ended as FAILED without a reason.", "failed", {"raw": None}),
    ],
)
async def test_a_failure_says_what_the_worker_said(
    world: World, answer: dict[str, Any], summary: str, code: str, details: dict[str, Any]
) -> None:
    job_id, _ = await running(world)
    world.always["status"] = answers(200, {"id": "x", "status": "FAILED", **answer})
    job = await world.reaches(job_id, State.FAILED)
    assert job.error is not None
    assert (job.error["summary"], job.error["code"]) == (summary, code)
    assert job.error["details"] == details
    assert job.remote_word == "FAILED"


async def test_a_time_out_and_a_cancel_from_elsewhere_are_ends(world: World) -> None:
    for word, state in (("TIMED_OUT", State.TIMED_OUT), ("CANCELLED", State.CANCELLED)):
        job_id, _ = await running(world)
        world.always["status"] = answers(200, {"id": "x", "status": word, "executionTime": 5000})
        job = await world.reaches(job_id, state)
        assert (job.remote_word, job.execution_ms) == (word, 5000)
        assert job.error is not None
        del world.always["status"]
    assert job.error["code"] == "cancelled_elsewhere"


async def test_a_cancel_from_here_is_no_error(world: World) -> None:
    job_id, _ = await running(world)
    await world.runner.cancel(job_id)
    assert (await world.reaches(job_id, State.CANCELLED)).error is None


async def test_an_unknown_word_is_shown_and_followed(world: World) -> None:
    job_id, remote_id = await running(world)
    world.always["status"] = answers(200, {"id": "x", "status": "PONDERING"})
    await until_word(world, job_id, "PONDERING")
    assert (await world.job(job_id)).state is State.RUNNING
    del world.always["status"]
    world.finish(remote_id)
    await world.reaches(job_id, State.DONE)


async def test_a_job_that_the_endpoint_forgot_has_failed(world: World) -> None:
    job_id, _ = await running(world)
    world.always["status"] = answers(404, {"error": "job not found"})
    job = await world.reaches(job_id, State.FAILED)
    assert job.error is not None
    assert job.error["code"] == "job_unknown"


@pytest.mark.parametrize("fault", [cut_before, answers(500, {}), answers(429, {}), answers(200, [])])
async def test_lost_contact_comes_and_goes(world: World, fault: Any) -> None:
    job_id, remote_id = await running(world)
    world.always["status"] = fault
    since = await until_lost(world, job_id)
    before = world.calls["status"]
    await until(lambda: world.calls["status"] > before + 3, "asking again")
    assert (await world.job(job_id)).lost_contact_since == since
    assert [note[:12] for note in await world.notes(job_id)] == ["Lost contact"]
    del world.always["status"]
    await until_found(world, job_id)
    world.finish(remote_id)
    assert (await world.reaches(job_id, State.DONE)).lost_contact_since is None


@pytest.mark.parametrize(
    "problem", [Unreachable("Down."), KeyRefused("The API key was refused.", status=401)]
)
async def test_a_target_that_cannot_be_had_for_a_while_loses_no_job(
    world: World, problem: Unreachable
) -> None:
    job_id, remote_id = await running(world)
    world.targets["local"].problem = problem
    await until_lost(world, job_id)
    world.finish(remote_id)
    world.targets["local"].problem = None
    assert (await world.reaches(job_id, State.DONE)).lost_contact_since is None


@pytest.mark.parametrize("fault", [answers(429, {}), answers(500, {})])
async def test_an_endpoint_in_trouble_is_asked_less_often(world: World, fault: Any) -> None:
    world.pauses = replace(FAST, after_failure_s=(60,))
    await world.restart()
    await running(world)
    world.always["status"] = fault
    before = world.calls["status"]
    await until(lambda: world.calls["status"] > before, "the next look")
    before = world.calls["status"]
    await asyncio.sleep(0.1)
    assert world.calls["status"] == before


async def test_one_job_that_cannot_be_asked_for_does_not_hide_the_others(world: World) -> None:
    """Whatever is wrong with that one: its name here was spoilt, or the endpoint chokes on it."""
    bad, _ = await running(world)
    await world.kill()
    store = world.store.__class__(world.folder / "jobs.sqlite")
    await store.open()
    await store.change(bad, remote_id="no/such id")
    await store.close()
    await world.begin()
    await until_lost(world, bad)
    good, remote_id = await running(world)
    world.finish(remote_id)
    assert (await world.reaches(good, State.DONE)).lost_contact_since is None
    assert (await world.job(bad)).state is State.RUNNING


async def test_jobs_far_down_the_queue_are_looked_at_too(world: World) -> None:
    ids = [await world.submit() for _ in range(12)]
    await world.reaches(ids[-1], State.WAITING)
    last = world.platform.queue.get(str((await world.job(ids[-1])).remote_id))
    assert last is not None
    world.platform.dispatcher.cancel(last)
    await world.reaches(ids[-1], State.CANCELLED)


async def until_word(world: World, job_id: str, word: str) -> None:
    async def there() -> bool:
        return (await world.job(job_id)).remote_word == word

    await until(there, word)


async def until_lost(world: World, job_id: str) -> float:
    async def since() -> float | None:
        return (await world.job(job_id)).lost_contact_since

    found = await until(since, "lost contact")
    assert isinstance(found, float)
    return found


async def until_found(world: World, job_id: str) -> None:
    async def there() -> bool:
        return (await world.job(job_id)).lost_contact_since is None

    await until(there, "contact")
