"""Jobs brought to their end by whoever runs them: taking over from a runner that ended, and Ctrl+C."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.commands import follow
from app.commands.follow import Following
from app.errors import BadInput
from app.jobs.control import ControlServer, RunnerLock
from app.jobs.model import Job, JobSpec
from app.jobs.states import State
from app.settings import Settings
from tests.unit.jobs.helpers import Gate, World, cut_after, spec, until


@dataclass
class Place:
    """Whether this process may become the runner: on this world, as the program would on its data folder."""

    world: World
    free: bool = True
    became: int = 0
    closed: int = 0
    _locks: list[RunnerLock] = field(default_factory=list)

    async def become(self, settings: Settings) -> Any:
        if not self.free:
            return None
        self.became += 1
        lock = RunnerLock(settings.data_dir)
        assert lock.acquire()

        async def close() -> None:
            self.closed += 1

        return lock, SimpleNamespace(runner=self.world.runner, close=close)


@pytest.fixture
async def place(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    made = Place(world)
    monkeypatch.setattr(follow, "become_runner", made.become)
    monkeypatch.setattr(follow, "_LOOK_AGAIN_S", 0.01)
    yield made
    assert made.closed == made.became


Following_ = Callable[[], Following]


@pytest.fixture
def following(world: World) -> Following_:
    settings = Settings(data_dir=world.folder, output_dir=world.out)
    return lambda: Following(settings, lambda _event: None)


def specs(world: World, count: int) -> list[JobSpec]:
    return [spec(output_dir=str(world.out), name=str(n)) for n in range(count)]


async def play_worker(world: World, count: int) -> None:
    for _ in range(count):
        remote_id, _ = await world.take()
        world.finish(remote_id)


async def test_as_the_runner(world: World, place: Place, following: Following_) -> None:
    wanted = specs(world, 3)
    jobs, _ = await asyncio.gather(following().run(wanted), play_worker(world, 3))
    assert [(job.id, job.state) for job in jobs] == [(one.id, State.DONE) for one in wanted]
    assert place.became == 1
    retried, _ = await asyncio.gather(following().retry([jobs[0].id]), play_worker(world, 1))
    assert [(job.name, job.state) for job in retried] == [("0", State.DONE)]
    assert await following().wait([jobs[1].id]) == [jobs[1]]


async def test_as_a_client_of_the_runner(world: World, place: Place, following: Following_) -> None:
    place.free = False
    server = ControlServer(world.runner, world.folder)
    await server.start()
    wanted = specs(world, 2)
    jobs, _ = await asyncio.gather(following().run(wanted), play_worker(world, 2))
    assert [job.id for job in jobs] == [one.id for one in wanted]
    await server.close()


async def test_when_the_runner_ends_we_become_it(world: World, place: Place, following: Following_) -> None:
    place.free = False
    server = ControlServer(world.runner, world.folder)
    await server.start()
    wanted = specs(world, 3)
    running = asyncio.create_task(following().run(wanted))
    await play_worker(world, 1)
    await world.reaches(wanted[2].id, State.WAITING)
    await server.close()
    await world.restart()
    await asyncio.sleep(0.03)
    place.free = True
    await play_worker(world, 2)
    jobs = await running
    assert [(job.id, job.state) for job in jobs] == [(one.id, State.DONE) for one in wanted]
    assert (place.became, world.calls["run"]) == (1, 3)


async def test_ctrl_c_cancels_what_was_begun(world: World, place: Place, following: Following_) -> None:
    wanted = specs(world, 2)
    running = asyncio.create_task(following().run(wanted))
    await world.take()
    await world.reaches(wanted[0].id, State.RUNNING)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert {(await world.job(one.id)).state for one in wanted} == {State.CANCELLED}
    assert place.closed == 1


async def test_ctrl_c_amid_the_submitting_cancels_what_was_begun(
    world: World, place: Place, following: Following_, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, submit, third = specs(world, 4), world.runner.submit, asyncio.Event()

    async def slow(one: JobSpec) -> Job:
        if one.id == wanted[2].id:
            third.set()
            await asyncio.Event().wait()
        return await submit(one)

    monkeypatch.setattr(world.runner, "submit", slow)
    running = asyncio.create_task(following().run(wanted))
    await third.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    jobs = await world.store.newest()
    assert [(job.name, job.state) for job in jobs] == [("1", State.CANCELLED), ("0", State.CANCELLED)]
    assert place.became == 1


async def test_ctrl_c_ends_us_even_when_the_runner_is_gone(
    world: World, place: Place, following: Following_
) -> None:
    """Else we would become the runner and go on with what was to be stopped."""
    place.free = False
    server = ControlServer(world.runner, world.folder)
    await server.start()
    wanted = specs(world, 1)
    running = asyncio.create_task(following().run(wanted))
    await world.reaches(wanted[0].id, State.WAITING)
    gate = Gate()
    world.faults["cancel"] = [gate]
    running.cancel()
    await gate.reached.wait()
    place.free = True
    await server.close()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 10)
    gate.opened.set()
    assert place.became == 0


async def test_ctrl_c_ends_us_even_when_cancelling_takes_too_long(
    world: World, place: Place, following: Following_, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_CANCEL_GRACE_S", 0.05)
    world.always["cancel"] = gate = Gate()
    wanted = specs(world, 1)
    running = asyncio.create_task(following().run(wanted))
    await world.reaches(wanted[0].id, State.WAITING)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 10)
    gate.opened.set()
    assert (await world.job(wanted[0].id)).state is State.CANCELLING
    assert place.closed == 1


async def test_leaving_a_wait_cancels_nothing(world: World, place: Place, following: Following_) -> None:
    job_id = await world.submit()
    waiting = asyncio.create_task(following().wait([job_id]))
    await until(lambda: place.became)
    await world.reaches(job_id, State.WAITING)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await world.job(job_id)).state is State.WAITING


async def test_cancelling_sees_it_done(world: World, place: Place, following: Following_) -> None:
    running, waiting = await world.submit(), await world.submit()
    await world.take()
    await world.reaches(running, State.RUNNING)
    jobs = await following().cancel([running, waiting])
    assert {job.state for job in jobs} == {State.CANCELLED}
    assert place.closed == 1


async def test_a_job_that_waits_for_the_user_ends_the_following(
    far: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Place(far)
    monkeypatch.setattr(follow, "become_runner", made.become)
    settings = Settings(data_dir=far.folder, output_dir=far.out)
    far.faults["run"] = [cut_after]
    (job,) = await Following(settings, lambda _event: None).run(specs(far, 1))
    assert job.is_stuck
    retrying = asyncio.create_task(Following(settings, lambda _event: None).retry([job.id]))
    await play_worker(far, 2)
    (again,) = await retrying
    assert (again.id, again.state) == (job.id, State.DONE)


async def test_what_is_refused_is_raised(
    world: World, place: Place, following: Following_, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="no target"):
        await following().run([replace(one, target="nowhere") for one in specs(world, 1)])
    with pytest.raises(BadInput, match="no job"):
        await following().cancel(["0000000000"])
    assert place.closed == 2
