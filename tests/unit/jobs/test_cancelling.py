"""Cancelling in every state, and against every race: a cancelled job is not running anywhere."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.errors import BadInput, Unreachable
from app.jobs.states import State
from tests.unit.jobs.helpers import Gate, World, answers, cut_after, cut_before, until


async def held_back(world: World) -> str:
    """A job that waits behind another one whose request is under way."""
    gate = Gate()
    world.faults["run"] = [gate]
    first = await world.submit()
    second = await world.submit()
    await gate.reached.wait()
    assert (await world.job(second)).state is State.PREPARING
    await world.runner.cancel(second)
    gate.opened.set()
    await world.reaches(first, State.WAITING)
    return second


async def test_a_job_that_prepares_is_cancelled_at_once(world: World) -> None:
    job_id = await held_back(world)
    assert (await world.job(job_id)).state is State.CANCELLED
    assert await world.notes(job_id) == ["Cancelled before it was sent"]
    await world.restart()
    await world.reaches(await world.submit(), State.WAITING)
    assert world.calls["run"] == 2


async def test_a_job_on_hold_is_cancelled_at_once(world: World) -> None:
    await world.reaches(await world.submit(), State.WAITING)
    world.targets["local"].problem = Unreachable("Down.")
    job_id = await world.submit()
    await world.reaches(job_id, State.ON_HOLD)
    assert (await world.runner.cancel(job_id)).state is State.CANCELLED


async def test_while_submitting_its_answer_is_awaited_and_then_it_is_cancelled(world: World) -> None:
    gate = Gate(after=True)
    world.faults["run"] = [gate]
    job_id = await world.submit()
    await gate.reached.wait()
    assert (await world.runner.cancel(job_id)).state is State.SUBMITTING
    gate.opened.set()
    job = await world.reaches(job_id, State.CANCELLED)
    assert job.remote_id is not None
    remote = world.platform.queue.get(job.remote_id)
    assert remote is not None
    assert remote.state == "CANCELLED"


@pytest.mark.parametrize("fault", [answers(429, {}), answers(400, {"error": "no"}), cut_before])
async def test_while_a_submit_fails_it_is_cancelled_and_not_sent_again(world: World, fault: Any) -> None:
    gate = Gate(fault)
    world.faults["run"] = [gate]
    job_id = await world.submit()
    await gate.reached.wait()
    await world.runner.cancel(job_id)
    gate.opened.set()
    await world.reaches(job_id, State.CANCELLED)
    assert world.calls["run"] == 1


async def test_while_the_answer_is_lost_the_note_decides(world: World) -> None:
    world.faults["run"] = [cut_after]
    job_id = await world.submit()
    await until(lambda: world.calls["health"] > 2)
    await world.runner.cancel(job_id)
    remote_id, _ = await world.take()
    await world.reaches(job_id, State.CANCELLED)
    remote = world.platform.queue.get(remote_id)
    assert remote is not None
    assert remote.state == "CANCELLED"
    assert world.calls["run"] == 1


async def test_without_a_volume_a_lost_answer_is_told_with_the_cancel(far: World) -> None:
    gate = Gate(cut_after)
    far.faults["run"] = [gate, cut_after]
    job_id = await far.submit()
    await gate.reached.wait()
    await far.runner.cancel(job_id)
    gate.opened.set()
    job = await far.reaches(job_id, State.CANCELLED)
    assert job.error is not None
    assert job.error["code"] == "maybe_sent"
    on_hold = await far.submit()
    await far.reaches(on_hold, State.ON_HOLD)
    job = await far.runner.cancel(on_hold)
    assert job.state is State.CANCELLED
    assert job.error is not None
    assert job.error["code"] == "maybe_sent"


@pytest.mark.parametrize("runs", [False, True])
async def test_a_job_that_the_platform_has_is_cancelled_there(world: World, runs: bool) -> None:
    job_id = await world.submit()
    await world.reaches(job_id, State.WAITING)
    if runs:
        await world.take()
        await world.reaches(job_id, State.RUNNING)
    assert (await world.runner.cancel(job_id)).state in (State.CANCELLING, State.CANCELLED)
    job = await world.reaches(job_id, State.CANCELLED)
    assert job.remote_word == "CANCELLED"
    assert world.calls["cancel"] == 1


async def test_a_result_that_won_the_race_is_kept(world: World) -> None:
    job_id = await world.submit()
    remote_id, _ = await world.take()
    await world.reaches(job_id, State.RUNNING)
    gate = Gate()
    world.always["status"] = gate
    await gate.reached.wait()
    world.finish(remote_id)
    await world.runner.cancel(job_id)
    gate.opened.set()
    job = await world.reaches(job_id, State.DONE)
    assert len(job.outputs) == 1


async def test_a_cancel_that_is_lost_is_asked_for_again(world: World) -> None:
    job_id = await world.submit()
    await world.take()
    await world.reaches(job_id, State.RUNNING)
    world.faults["cancel"] = [cut_before, answers(429, {}), answers(500, {})]
    assert (await world.runner.cancel(job_id)).state is State.CANCELLING
    await world.reaches(job_id, State.CANCELLED)
    assert world.calls["cancel"] == 4


async def test_a_caller_that_goes_takes_its_wish_not_along(world: World) -> None:
    job_id = await world.submit()
    await world.take()
    await world.reaches(job_id, State.RUNNING)
    gate = Gate(cut_before)
    world.faults["cancel"] = [gate]
    asking = asyncio.create_task(world.runner.cancel(job_id))
    await gate.reached.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    gate.opened.set()
    await world.reaches(job_id, State.CANCELLED)


async def test_a_job_that_is_gone_when_it_is_cancelled_is_cancelled(world: World) -> None:
    job_id = await world.submit()
    await world.take()
    await world.reaches(job_id, State.RUNNING)
    world.always["cancel"] = answers(404, {"error": "no such job"})
    await world.runner.cancel(job_id)
    await world.reaches(job_id, State.CANCELLED)


async def test_cancelling_is_no_error_when_it_comes_late_or_twice(world: World) -> None:
    job_id = await world.submit()
    remote_id, _ = await world.take()
    await world.reaches(job_id, State.RUNNING)
    world.finish(remote_id)
    jobs = await asyncio.gather(*(world.runner.cancel(job_id) for _ in range(20)))
    assert {job.id for job in jobs} == {job_id}
    ended = await world.reaches(job_id, State.DONE, State.CANCELLED)
    assert await world.runner.cancel(job_id) == ended
    with pytest.raises(BadInput, match="no job"):
        await world.runner.cancel("0000000000")


@pytest.mark.parametrize("beats", range(12))
async def test_no_instant_of_a_submission_is_too_early_or_too_late(world: World, beats: int) -> None:
    """A cancel between any two steps ends the job, and leaves nothing running on the platform."""
    job_id = await world.submit()
    for _ in range(beats):
        await asyncio.sleep(0.001)
    await world.runner.cancel(job_id)
    job = await world.reaches(job_id, State.CANCELLED)
    assert world.platform.queue.counts()["inQueue"] == 0
    if job.remote_id is None:
        assert world.platform.queue.take("w1") == []


async def test_a_cancel_between_the_last_look_and_the_note_is_seen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store has not yet written that the request goes out; the one who cancels has read the old state."""
    change, begun, go_on = world.store.change, asyncio.Event(), asyncio.Event()

    async def slow(job_id: str, **values: Any) -> Any:
        if values.get("state") is State.SUBMITTING:
            begun.set()
            await go_on.wait()
        return await change(job_id, **values)

    monkeypatch.setattr(world.store, "change", slow)
    job_id = await world.submit()
    await begun.wait()
    await world.runner.cancel(job_id)
    go_on.set()
    await world.reaches(job_id, State.CANCELLED)
    assert world.calls["run"] == 0


async def test_a_cancel_of_what_has_just_moved_on_is_no_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store knows that the result is here; the news of it is still on its way to the lane."""
    change, written, go_on = world.store.change, asyncio.Event(), asyncio.Event()

    async def slow(job_id: str, **values: Any) -> Any:
        job = await change(job_id, **values)
        if values.get("state") is State.DOWNLOADING:
            written.set()
            await go_on.wait()
        return job

    job_id = await world.submit()
    remote_id, _ = await world.take()
    await world.reaches(job_id, State.RUNNING)
    monkeypatch.setattr(world.store, "change", slow)
    world.finish(remote_id)
    await written.wait()
    assert (await world.runner.cancel(job_id)).state is State.DOWNLOADING
    go_on.set()
    await world.reaches(job_id, State.DONE)


async def test_a_retry_is_a_new_job_and_only_of_one_that_ended(world: World) -> None:
    job_id = await held_back(world)
    again = await world.runner.retry(job_id)
    assert again.id != job_id
    assert again.name == "hello"
    await world.reaches(again.id, State.WAITING)
    with pytest.raises(BadInput, match="is still waiting"):
        await world.runner.retry(again.id)
