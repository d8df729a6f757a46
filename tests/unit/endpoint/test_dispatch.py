"""Silence, stops and reminders, with the clock in hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.endpoint.dispatch import STOP_AFTER_TAKE_S, STOP_AGAIN_S, STOP_BY_FORCE_S, Dispatcher, Phase
from app.endpoint.queue import JobQueue
from app.endpoint.states import Job
from tests.unit.endpoint.helpers import Clock, make_config


class Desk:
    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        config = make_config(folder, worker_lost_after_s=15.0, poll_hold_s=0.0)
        self.queue = JobQueue(folder / "q.sqlite3", config, clock=self.clock)
        self.hub = Dispatcher(self.queue, config, clock=self.clock)

    async def running(self) -> Job:
        submitted = self.queue.submit({"input": {"n": 1}})
        await self.hub.take("w1", 1, holds_nothing=False, gone=lambda: False)
        job = self.queue.get(submitted.id)
        assert job is not None
        return job

    async def stops(self) -> list[str]:
        return await self.hub.stops("w1", gone=lambda: False)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.queue.close()


def test_silence_counts_only_after_the_first_word(desk: Desk) -> None:
    desk.clock.now += 1000
    assert not desk.hub.is_lost("w1")
    assert desk.hub.phase("w1") == Phase.INITIALIZING
    desk.hub.hear("w1", [])
    assert desk.hub.phase("w1") == Phase.IDLE
    desk.clock.now += 15
    assert not desk.hub.is_lost("w1")
    desk.clock.now += 0.1
    assert desk.hub.is_lost("w1")


def test_after_a_sleep_of_the_computer_silence_begins_anew(desk: Desk) -> None:
    desk.hub.hear("w1")
    desk.clock.now += 1000
    desk.hub.hear_all()
    assert not desk.hub.is_lost("w1")
    desk.clock.now += 16
    assert desk.hub.is_lost("w1")


async def test_a_lost_workers_job_goes_back_but_not_while_closing(desk: Desk) -> None:
    job = await desk.running()
    assert desk.hub.phase("w1") == Phase.RUNNING
    desk.hub.worker_gone("w1")
    assert desk.queue.counts()["inQueue"] == 1
    assert (await desk.running()).id == job.id or desk.queue.counts()["inProgress"] == 1
    desk.hub.close()
    desk.hub.worker_gone("w1")
    assert desk.queue.counts()["inProgress"] == 1


async def test_a_stop_waits_until_the_worker_has_begun_the_job(desk: Desk) -> None:
    job = await desk.running()
    desk.hub.cancel(job)
    assert await desk.stops() == []
    desk.clock.now += STOP_AFTER_TAKE_S
    assert await desk.stops() == [job.id]
    assert await desk.stops() == []


async def test_a_worker_that_goes_on_is_told_again_once_and_then_replaced(desk: Desk) -> None:
    job = await desk.running()
    desk.hub.cancel(job)
    desk.clock.now += 1
    assert await desk.stops() == [job.id]
    desk.hub.hear("w1", [job.id])
    told = []
    for second in range(1, int(STOP_BY_FORCE_S) + 1):
        desk.clock.now += 1
        assert not desk.hub.wants_restart("w1")
        desk.hub.hear("w1", [job.id])
        if await desk.stops():
            told.append(second)
    assert told == [int(STOP_AGAIN_S)]
    assert desk.hub.wants_restart("w1")


async def test_a_job_in_hand_is_no_reason_for_a_stop(desk: Desk) -> None:
    job = await desk.running()
    for _ in range(100):
        desk.clock.now += 1
        desk.hub.hear("w1", [job.id])
    assert await desk.stops() == []
    assert not desk.hub.wants_restart("w1")


async def test_deadlines_stop_the_worker(desk: Desk) -> None:
    job = await desk.running()
    desk.clock.now += 601
    desk.hub.tick()
    assert await desk.stops() == [job.id]
    found = desk.queue.get(job.id)
    assert found is not None
    assert found.state == "TIMED_OUT"
