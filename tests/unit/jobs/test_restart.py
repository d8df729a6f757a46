"""The panel is killed in every state; the next one takes each job up where it was, and sends none twice."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from app.errors import Unreachable
from app.jobs import outputs
from app.jobs.model import Job
from app.jobs.states import State
from app.jobs.store import JobStore
from tests.unit.jobs.helpers import Gate, World, answers, spec, until


async def finished(world: World, job_id: str) -> None:
    """The job is run by the worker, once, and its one file arrives."""
    remote_id, job_input = await world.take()
    assert job_input["client_job_id"] == job_id
    world.finish(remote_id)
    job = await world.reaches(job_id, State.DONE)
    assert [path.name for path in world.out.iterdir()] == [Path(o.path).name for o in job.outputs]
    counts = world.platform.queue.counts()
    assert (counts["completed"], counts["inQueue"]) == (1, 0)


async def test_while_preparing(world: World) -> None:
    await world.reaches(await world.submit(id="first"), State.WAITING)
    world.targets["local"].problem = Unreachable("Down.")
    job_id = await world.submit()
    second = await world.submit()
    await world.reaches(job_id, State.ON_HOLD)
    await world.restart()
    await world.reaches(second, State.WAITING)
    sent = [(await world.take())[1]["client_job_id"] for _ in range(3)]
    assert sent == ["first", job_id, second]


async def test_while_submitting_and_the_request_arrived(world: World) -> None:
    gate = Gate(after=True)
    world.faults["run"] = [gate]
    job_id = await world.submit()
    await gate.reached.wait()
    await world.restart()
    gate.opened.set()
    await finished(world, job_id)
    assert world.calls["run"] == 1


async def test_while_submitting_and_the_request_died(world: World) -> None:
    gate = Gate(answers(500, {}))
    world.faults["run"] = [gate]
    job_id = await world.submit()
    await gate.reached.wait()
    await world.restart()
    gate.opened.set()
    await finished(world, job_id)
    assert world.calls["run"] == 2


async def test_while_submitting_and_the_request_arrives_late(world: World) -> None:
    """It is on its way when its sender dies: a look at the endpoint in that instant finds nothing."""
    gate = Gate()
    world.faults["run"] = [gate]
    job_id = await world.submit()
    await gate.reached.wait()
    # The platform ends a request whose sender has gone, so the late one is put in by hand.
    await world.kill()
    await world.begin()
    await until(lambda: world.calls["health"] > 1)
    world.platform.queue.submit({"input": {"client_job_id": job_id}})
    gate.opened.set()
    await finished(world, job_id)
    assert world.calls["run"] == 1


async def test_while_submitting_without_a_volume(far: World) -> None:
    gate = Gate(after=True)
    far.faults["run"] = [gate]
    job_id = await far.submit()
    await gate.reached.wait()
    await far.restart()
    gate.opened.set()
    job = await far.reaches(job_id, State.ON_HOLD)
    assert job.error is not None
    await far.reaches(await far.submit(), State.WAITING)
    assert far.calls["run"] == 2


@pytest.mark.parametrize("runs", [False, True])
async def test_while_the_platform_has_it(world: World, runs: bool) -> None:
    job_id = await world.submit()
    await world.reaches(job_id, State.WAITING)
    if runs:
        remote_id, _ = await world.take()
        await world.reaches(job_id, State.RUNNING)
        await world.kill()
        world.finish(remote_id)
        await world.begin()
        await world.reaches(job_id, State.DONE)
    else:
        await world.restart()
        await finished(world, job_id)
    assert world.calls["run"] == 1


async def test_while_cancelling(world: World) -> None:
    job_id = await world.submit()
    await world.take()
    await world.reaches(job_id, State.RUNNING)
    world.always["cancel"] = answers(500, {})
    await world.runner.cancel(job_id)
    assert (await world.job(job_id)).state is State.CANCELLING
    await world.kill()
    del world.always["cancel"]
    await world.begin()
    job = await world.reaches(job_id, State.CANCELLED)
    assert job.remote_word == "CANCELLED"


@pytest.mark.parametrize("step", ["entries_of", "plan", "_is_there", "_write", "_settle"])
async def test_while_downloading(world: World, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended amid each step of it: the same answer is fetched again, to the same paths."""
    world.out.mkdir()
    (world.out / "a.png").write_bytes(b"the user's own")
    job_id = await world.submit()
    remote_id, _ = await world.take()
    await world.reaches(job_id, State.RUNNING)
    reached, go_on = threading.Event(), threading.Event()

    def hangs(*_: object) -> None:
        reached.set()
        go_on.wait(10)
        raise OSError(5, "the process has ended")

    with monkeypatch.context() as patch:
        patch.setattr(outputs, step, hangs)
        world.finish(remote_id)
        await until(reached.is_set, step)
        await world.kill()
    go_on.set()
    await world.begin()
    job = await world.reaches(job_id, State.DONE)
    assert [Path(output.path).name for output in job.outputs] == ["a (2).png"]
    assert sorted(path.name for path in world.out.iterdir()) == ["a (2).png", "a.png"]
    assert (world.out / "a.png").read_bytes() == b"the user's own"


async def test_a_result_that_expired_while_we_were_away_is_said_plainly(world: World) -> None:
    job_id = await world.submit()
    remote_id, _ = await world.take()
    await world.reaches(job_id, State.RUNNING)
    await world.kill()
    store = JobStore(world.folder / "jobs.sqlite")
    await store.open()
    await store.change(job_id, state=State.DOWNLOADING)
    await store.close()
    for word in ("IN_QUEUE", "CANCELLED"):
        world.always["status"] = answers(200, {"id": remote_id, "status": word})
        if word == "IN_QUEUE":
            await world.begin()
            before = world.calls["status"]
            await until(lambda before=before: world.calls["status"] > before + 3)
            assert (await world.job(job_id)).state is State.DOWNLOADING
    job = await world.reaches(job_id, State.FAILED)
    assert job.error is not None
    assert job.error["code"] == "job_unknown"


async def test_a_job_of_a_target_that_is_no_more_stays_and_the_others_go_on(world: World) -> None:
    await world.kill()
    store = JobStore(world.folder / "jobs.sqlite")
    await store.open()
    strange = await store.add(spec(target="strange"))
    await store.close()
    await world.begin()
    await world.reaches(await world.submit(), State.WAITING)
    assert (await world.job(strange.id)).state is State.PREPARING


async def test_a_submit_during_the_start_is_taken_on_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the start has read from the store may be old when it comes to it."""
    stale = await world.runner.submit(spec(output_dir=str(world.out)))

    async def unfinished() -> list[Job]:
        return [stale]

    await world.reaches(stale.id, State.WAITING)
    monkeypatch.setattr(world.store, "unfinished", unfinished)
    await world.runner.start()
    await finished(world, stale.id)
    assert world.calls["run"] == 1
