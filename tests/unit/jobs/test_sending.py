"""Sending: in order, and each job exactly once, whatever happens to the request and its answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.endpoint.errors import KeyRefused
from app.errors import BadInput, NeedsSetup, Unreachable
from app.jobs.states import Hold, State
from tests.unit.jobs.helpers import Gate, World, answers, cut_after, cut_before


async def test_jobs_are_sent_in_their_order_and_say_what_they_are(world: World, tmp_path: Path) -> None:
    picture = tmp_path / "in.png"
    picture.write_bytes(b"\x89PNG")
    ids = [
        await world.submit(name=str(n), files={"a.png": str(picture)}, ui_workflow={"nodes": []})
        for n in range(5)
    ]
    picture.unlink()
    taken = [await world.take() for _ in ids]
    assert [job_input["client_job_id"] for _, job_input in taken] == ids
    assert taken[0][1] == {
        "workflow": {"1": {"class_type": "X", "inputs": {}}},
        "client_job_id": ids[0],
        "images": [{"name": "a.png", "image": "iVBORw=="}],
        "extra_pnginfo": {"workflow": {"nodes": []}},
    }
    for remote_id, _ in taken:
        world.finish(remote_id)
    done = [await world.reaches(job_id, State.DONE) for job_id in ids]
    assert [job.remote_id for job in done] == [remote_id for remote_id, _ in taken]
    assert world.calls["run"] == 5


async def test_a_limit_of_its_own_goes_to_worker_and_platform(world: World) -> None:
    job_id = await world.submit(timeout_s=3000.0)
    remote_id, job_input = await world.take()
    assert job_input["timeout"] == 3000
    remote = world.platform.queue.get(remote_id)
    assert remote is not None
    assert remote.execution_timeout_ms == 3_120_000
    longest = await world.submit(timeout_s=7 * 86_400.0)
    remote_id, _ = await world.take()
    remote = world.platform.queue.get(remote_id)
    assert remote is not None
    assert remote.execution_timeout_ms == remote.ttl_ms == 7 * 86_400_000
    await world.reaches(job_id, State.RUNNING)
    await world.reaches(longest, State.RUNNING)


async def test_the_same_specification_twice_is_one_job(world: World, tmp_path: Path) -> None:
    (tmp_path / "in.bin").write_bytes(b"x" * 100_000)
    given = {"id": "the-same", "files": {"a": str(tmp_path / "in.bin")}}
    assert set(await asyncio.gather(*(world.submit(**given) for _ in range(5)))) == {"the-same"}
    await world.reaches("the-same", State.WAITING)
    assert world.calls["run"] == 1
    assert len(await world.store.newest()) == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"target": "nowhere"}, "no target"),
        ({"id": "../../escaped"}, "client_job_id"),
        ({"files": {"a": "not/there"}}, "cannot be kept"),
    ],
)
async def test_what_cannot_be_a_job_is_not_noted(world: World, changes: dict[str, str], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        await world.submit(**changes)
    assert await world.store.newest() == []


async def test_submitting_is_all_or_nothing_when_its_caller_goes(world: World) -> None:
    submitting = asyncio.create_task(world.submit(id="begun"))
    await asyncio.sleep(0)
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    _, job_input = await world.take()
    assert job_input["client_job_id"] == "begun"


async def test_an_unanswered_submit_that_arrived_is_followed(world: World) -> None:
    world.faults["run"] = [cut_after]
    first, second = await world.submit(), await world.submit()
    remote_id, job_input = await world.take()
    assert job_input["client_job_id"] == first
    job = await world.reaches(first, State.RUNNING)
    assert job.remote_id == remote_id
    world.finish(remote_id)
    await world.reaches(first, State.DONE)
    remote_id, job_input = await world.take()
    assert job_input["client_job_id"] == second
    assert world.calls["run"] == 2


async def test_while_an_unanswered_submit_may_wait_it_is_not_sent_again(world: World) -> None:
    """The endpoint has something in its queue; whether that is ours, nothing tells."""
    world.faults["run"] = [cut_after]
    job_id = await world.submit()
    await until_calls(world, "health", 30)
    assert (await world.job(job_id)).state is State.SUBMITTING
    assert world.calls["run"] == 1
    await world.take()
    await world.reaches(job_id, State.RUNNING)
    assert world.calls["run"] == 1


async def test_a_submit_that_never_arrived_is_sent_again_once(world: World) -> None:
    world.faults["run"] = [cut_before]
    job_id = await world.submit()
    remote_id, _ = await world.take()
    world.finish(remote_id)
    await world.reaches(job_id, State.DONE)
    assert world.calls["run"] == 2
    assert "Was not received; it is sent again" in await world.notes(job_id)


async def test_an_answer_without_a_job_counts_as_none(world: World) -> None:
    world.faults["run"] = [answers(200, {"no": "id"}), answers(502, {"error": "gateway"})]
    job_id = await world.submit()
    await world.take()
    await world.reaches(job_id, State.RUNNING)
    assert world.calls["run"] == 3


async def test_without_a_volume_the_user_decides_and_the_others_go_on(far: World) -> None:
    far.faults["run"] = [cut_after]
    first, second = await far.submit(), await far.submit()
    held = await far.reaches(first, State.ON_HOLD)
    assert (held.hold, held.is_stuck) == (Hold.MAYBE_SENT, True)
    assert held.error is not None
    assert "no answer came" in held.error["summary"]
    assert first[:8] in held.error["hint"]
    await far.reaches(second, State.WAITING)
    assert far.calls["run"] == 2
    await far.restart()
    third = await far.submit()
    await far.reaches(third, State.WAITING)
    assert far.calls["run"] == 3
    assert (await far.job(first)).state is State.ON_HOLD


async def test_sending_again_is_the_same_job(far: World) -> None:
    """So a worker that has it already can tell that it is the same one."""
    far.faults["run"] = [cut_after]
    job_id = await far.submit()
    await far.reaches(job_id, State.ON_HOLD)
    again = await far.runner.retry(job_id)
    assert again.id == job_id
    job = await far.reaches(job_id, State.WAITING)
    assert job.error is None
    ids = [(await far.take())[1]["client_job_id"] for _ in range(2)]
    assert ids == [job_id, job_id]
    assert far.calls["run"] == 2


async def test_an_endpoint_that_is_down_holds_the_queue_and_nothing_is_lost(world: World) -> None:
    first = await world.submit(target="other")
    await world.reaches(first, State.WAITING)
    world.targets["other"].problem = Unreachable("The endpoint is down.")
    second, third = await world.submit(target="other"), await world.submit(target="other")
    held = await world.reaches(second, State.ON_HOLD)
    assert (held.hold, held.is_stuck) == (Hold.ENGINE_DOWN, False)
    assert held.error is not None
    assert held.error["summary"] == "The endpoint is down."
    assert (await world.job(third)).state is State.PREPARING
    world.targets["other"].problem = None
    await world.reaches(third, State.WAITING)
    job = await world.reaches(second, State.WAITING)
    assert (job.hold, job.error) == (None, None)
    assert [(await world.take())[1]["client_job_id"] for _ in range(3)] == [first, second, third]


async def test_a_rate_limit_is_waited_out(world: World) -> None:
    world.faults["run"] = [answers(429, {"error": "slow down"})] * 3
    job_id = await world.submit()
    await world.reaches(job_id, State.WAITING)
    assert world.calls["run"] == 4


@pytest.mark.parametrize(
    ("status", "code"), [(401, "key_refused"), (404, "unknown_endpoint"), (400, "refused")]
)
async def test_a_refusal_fails_this_job_only(world: World, status: int, code: str) -> None:
    world.faults["run"] = [answers(status, {"error": "because"})]
    first, second = await world.submit(), await world.submit()
    failed = await world.reaches(first, State.FAILED)
    assert failed.error is not None
    assert failed.error["code"] == code
    assert failed.error["summary"].endswith((".", "because"))
    await world.reaches(second, State.WAITING)


@pytest.mark.parametrize(
    "problem",
    [NeedsSetup("No key is set.", hint="Set it."), KeyRefused("The API key was refused.", status=401)],
)
async def test_a_target_that_cannot_be_had_fails_with_its_sentence(world: World, problem: NeedsSetup) -> None:
    await world.reaches(await world.submit(), State.WAITING)
    world.targets["local"].problem = problem
    failed = await world.reaches(await world.submit(), State.FAILED)
    assert failed.error is not None
    assert (failed.error["summary"], failed.error["hint"]) == (str(problem), problem.hint)


async def test_inputs_that_are_gone_or_too_large_fail_before_anything_is_sent(
    world: World, tmp_path: Path
) -> None:
    huge = {"nodes": ["x" * 10_000_000]}
    failed = await world.reaches(await world.submit(ui_workflow=huge), State.FAILED)
    assert failed.error is not None
    assert failed.error["code"] == "too_large"
    await world.reaches(await world.submit(id="sees-target"), State.WAITING)
    world.targets["local"].problem = Unreachable("Down.")
    (tmp_path / "small").write_bytes(b"x")
    lost = await world.submit(files={"a": str(tmp_path / "small")})
    await world.reaches(lost, State.ON_HOLD)
    for file in (world.folder / "inputs" / lost).iterdir():
        file.unlink()
    failed = await world.reaches(lost, State.FAILED)
    assert failed.error is not None
    assert "cannot be read" in failed.error["summary"]
    assert world.calls["run"] == 1


async def test_closing_waits_for_the_answer_to_a_request_under_way(world: World) -> None:
    gate = Gate(after=True)
    world.faults["run"] = [gate]
    job_id = await world.submit()
    await gate.reached.wait()
    closing = asyncio.create_task(world.runner.close())
    await asyncio.sleep(0.02)
    gate.opened.set()
    await closing
    job = await world.job(job_id)
    assert job.state is State.WAITING
    assert job.remote_id is not None
    with pytest.raises(BadInput, match="ending"):
        await world.submit()


async def until_calls(world: World, operation: str, count: int) -> None:
    before = world.calls[operation]
    while world.calls[operation] < before + count:
        await asyncio.sleep(0.005)
