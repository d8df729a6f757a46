"""Found again: jobs whose request got no answer, and answers that the platform no longer has."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import Unreachable
from app.jobs.carriers.base import MOST_READ
from app.jobs.model import Job
from app.jobs.request import Limits, limited, policy_of, ttl_of
from app.jobs.states import Hold, State
from tests.unit.jobs.helpers import FAST, PNG, World, answers, cut_after, cut_before, spec, until
from worker.contract import job_answer, job_note

ANSWER = {"status": "success", "images": [{"filename": "kept.png", "type": "base64", "data": PNG}]}


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[World]:
    """An endpoint that others use, too, with a volume that can be read from here."""
    made = World(tmp_path, ours=False)
    await made.start()
    yield made
    await made.stop()


def keep(world: World, job_id: str, content: Any) -> None:
    path = world.platform.config.volume_dir / job_answer(job_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


async def held(world: World) -> Job:
    """A job whose request got no answer, and none is known to have arrived."""
    return await world.reaches(await world.submit(), State.ON_HOLD)


async def test_what_may_have_been_sent_is_followed_once_a_worker_has_it(shared: World) -> None:
    shared.faults["run"] = [cut_after]
    job = await held(shared)
    assert job.hold is Hold.MAYBE_SENT
    # Others are not kept waiting.
    other = await shared.submit()
    await shared.reaches(other, State.WAITING)
    remote_id, job_input = await shared.take()
    assert job_input["client_job_id"] == job.id
    found = await shared.reaches(job.id, State.WAITING, State.RUNNING)
    assert (found.remote_id, found.hold, found.error) == (remote_id, None, None)
    shared.finish(remote_id)
    await shared.reaches(job.id, State.DONE)
    assert shared.calls["run"] == 2


async def test_the_next_start_seeks_too(shared: World) -> None:
    shared.faults["run"] = [cut_after]
    job = await held(shared)
    await shared.kill()
    remote_id, _ = await shared.take()
    await shared.begin()
    found = await shared.reaches(job.id, State.WAITING, State.RUNNING)
    assert found.remote_id == remote_id


async def test_a_new_doubt_does_not_wait_for_the_older_ones(tmp_path: Path) -> None:
    world = World(tmp_path, ours=False)
    world.pauses = replace(FAST, seek_s=(0.02, 60.0))
    await world.start()
    world.faults["run"] = [cut_before, cut_after]
    await held(world)
    # By now it is looked for once a minute.
    await seen_looks(world, 1)
    await asyncio.sleep(0.1)
    job = await held(world)
    await world.take()
    await world.reaches(job.id, State.WAITING, State.RUNNING)
    await world.stop()


@pytest.mark.parametrize("note", ["", "{", "[]", '{"id": 7}', "[" * 100_000])
async def test_a_note_that_says_nothing_changes_nothing(shared: World, note: str) -> None:
    shared.faults["run"] = [cut_before]
    job = await held(shared)
    path = shared.platform.config.volume_dir / job_note(job.id)
    path.parent.mkdir(parents=True)
    path.write_text(note)
    looks = await seen_looks(shared, 3)
    assert looks >= 3
    assert (await shared.job(job.id)).hold is Hold.MAYBE_SENT
    assert shared.calls["run"] == 1


async def seen_looks(world: World, count: int) -> int:
    """Wait for the volume to be read so many times."""
    carrier = world.targets["local"].carrier
    read, seen = carrier.read, [0]

    async def counted(path: Any) -> bytes | None:
        seen[0] += 1
        return await read(path)

    carrier.read = counted  # type: ignore[method-assign]
    await until(lambda: seen[0] >= count)
    return seen[0]


async def test_a_volume_that_cannot_be_read_for_a_moment_is_read_again(shared: World) -> None:
    shared.faults["run"] = [cut_after]
    job = await held(shared)
    carrier = shared.targets["local"].carrier
    read, failures = carrier.read, [3]

    async def failing(path: Any) -> bytes | None:
        failures[0] -= 1
        if failures[0] >= 0:
            raise Unreachable("The volume's S3 API cannot be reached.")
        return await read(path)

    carrier.read = failing  # type: ignore[method-assign]
    remote_id, _ = await shared.take()
    assert (await shared.reaches(job.id, State.WAITING, State.RUNNING)).remote_id == remote_id
    assert failures[0] < 0


@pytest.mark.parametrize("readable", [True, False])
async def test_what_was_never_heard_of_ends_with_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readable: bool
) -> None:
    world = World(tmp_path, volume=readable, ours=False)
    await world.start()
    world.faults["run"] = [cut_before]
    job_id = await world.submit(ttl_s=60.0)
    await world.reaches(job_id, State.ON_HOLD)
    now = time.time
    monkeypatch.setattr("app.jobs.traces.time.time", lambda: now() + 58)
    await seen_looks(world, 2)
    assert (await world.job(job_id)).hold is Hold.MAYBE_SENT
    monkeypatch.setattr("app.jobs.traces.time.time", lambda: now() + 62)
    ended = await world.reaches(job_id, State.FAILED)
    assert ended.error is not None
    assert ended.error["code"] == "never_heard_of"
    assert ended.error["details"]["first"]["code"] == "maybe_sent"
    assert world.calls["run"] == 1
    await world.stop()


async def test_a_cancelled_one_is_sought_no_more(shared: World) -> None:
    shared.faults["run"] = [cut_after, cut_after]
    first, second = await held(shared), await held(shared)
    await shared.runner.cancel(first.id)
    await shared.take()
    await shared.take()
    await shared.reaches(second.id, State.WAITING, State.RUNNING)
    assert (await shared.job(first.id)).state is State.CANCELLED


@pytest.mark.parametrize("ours", [True, False])
async def test_an_answer_that_the_platform_forgot_is_on_the_volume(tmp_path: Path, ours: bool) -> None:
    world = World(tmp_path, ours=ours)
    await world.start()
    job_id = await world.submit()
    await world.take()
    await world.reaches(job_id, State.RUNNING)
    keep(world, job_id, {"input_sha256": "0" * 64, "answer": ANSWER})
    world.always["status"] = answers(404, {"error": "job not found"})
    done = await world.reaches(job_id, State.DONE)
    assert [Path(output.path).read_bytes()[:4] for output in done.outputs] == [b"\x89PNG"]
    await world.stop()


async def test_an_answer_that_the_platform_dropped_is_on_the_volume(shared: World) -> None:
    job_id = await shared.submit()
    remote_id, _ = await shared.take()
    keep(shared, job_id, {"answer": ANSWER})
    shared.post(remote_id, {})
    done = await shared.reaches(job_id, State.DONE)
    assert [output.filename for output in done.outputs] == ["kept.png"]


@pytest.mark.parametrize("kept", ["", "{", '{"answer": []}', "7", "x" * (MOST_READ + 1)])
async def test_what_is_no_answer_is_none(shared: World, kept: str) -> None:
    job_id = await shared.submit()
    await shared.take()
    await shared.reaches(job_id, State.RUNNING)
    keep(shared, job_id, kept)
    shared.always["status"] = answers(404, {"error": "job not found"})
    failed = await shared.reaches(job_id, State.FAILED)
    assert failed.error is not None
    assert failed.error["code"] == "job_unknown"


def test_limits_of_the_settings_hold_where_a_job_has_none() -> None:
    limits = Limits(300.0, 86_400.0)
    assert policy_of(spec()) is None
    assert ttl_of(spec()) == 86_400
    both = policy_of(limited(spec(), limits))
    assert both is not None
    assert both.to_json() == {"executionTimeout": 420_000, "ttl": 86_400_000}
    own = policy_of(limited(spec(timeout_s=30.0, ttl_s=60.0), limits))
    assert own is not None
    assert own.to_json() == {"executionTimeout": 150_000, "ttl": 60_000}
    # One that may run for two days cannot be forgotten after one.
    longest = policy_of(limited(spec(timeout_s=2 * 86_400.0), limits))
    assert longest is not None
    assert longest.ttl_ms == 4 * 86_400_000
    assert ttl_of(spec(ttl_s=1.0)) == 10


async def test_the_targets_limits_go_to_platform_and_worker(shared: World) -> None:
    first = await shared.submit()
    await shared.reaches(first, State.WAITING)
    shared.targets["local"].limits = Limits(45.0, 4000.0)
    await shared.submit()
    await shared.take()
    remote_id, job_input = await shared.take()
    remote = shared.platform.queue.get(remote_id)
    assert remote is not None
    assert (remote.execution_timeout_ms, remote.ttl_ms, job_input["timeout"]) == (165_000, 4_000_000, 45.0)


async def test_requests_keep_their_distance(shared: World) -> None:
    first = await shared.submit()
    await shared.reaches(first, State.WAITING)
    shared.targets["local"].send_s = 0.05
    begun = time.monotonic()
    ids = [await shared.submit() for _ in range(5)]
    for job_id in ids:
        await shared.reaches(job_id, State.WAITING)
    assert time.monotonic() - begun >= 0.2
