"""Joining the services: whoever cannot become the runner leaves nothing held."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.errors import BadInput
from app.jobs.control import ControlClient
from app.jobs.states import State
from app.jobs.store import JobStore
from app.services import RunPodTarget, become_runner, make_target
from app.settings import Secret, Settings
from tests.unit.jobs.helpers import spec


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out", runpod_api_key=Secret("k" * 20))


async def test_one_becomes_the_runner_after_the_other(settings: Settings) -> None:
    for _ in range(2):
        became = await become_runner(settings)
        assert became is not None
        lock, services = became
        assert await become_runner(settings) is None
        with pytest.raises(BadInput, match="no job"):
            await ControlClient(settings.data_dir).cancel("0000000000")
        await services.close()
        lock.release()


async def test_a_damaged_list_of_jobs_holds_no_lock(settings: Settings) -> None:
    settings.data_dir.mkdir()
    path = settings.data_dir / "jobs.sqlite"
    path.write_bytes(b"no database " * 100)
    with pytest.raises(BadInput, match="cannot be used"):
        await become_runner(settings)
    path.unlink()
    became = await become_runner(settings)
    assert became is not None
    await became[1].close()
    became[0].release()


async def test_a_start_that_fails_half_way_is_undone(settings: Settings) -> None:
    (settings.data_dir / "control.json").mkdir(parents=True)
    before = asyncio.all_tasks()
    with pytest.raises(OSError, match=r"control\.json"):
        await become_runner(settings)
    assert not {task for task in asyncio.all_tasks() - before if task.get_name().startswith("lane-")}
    (settings.data_dir / "control.json").rmdir()
    became = await become_runner(settings)
    assert became is not None
    await became[1].close()
    became[0].release()


async def test_no_secret_is_written_to_disk(settings: Settings) -> None:
    became = await become_runner(settings)
    assert became is not None
    lock, services = became
    job = await services.runner.submit(spec(target="abcdef123", output_dir=str(settings.output_dir)))
    await services.runner.cancel(job.id)
    await services.close()
    lock.release()
    files = [path for path in settings.data_dir.rglob("*") if path.is_file()]
    assert settings.data_dir / "jobs.sqlite" in files
    assert not [path for path in files if settings.runpod_api_key.reveal().encode() in path.read_bytes()]


async def test_what_was_left_is_taken_up_before_what_is_new(settings: Settings) -> None:
    store = JobStore(settings.data_dir / "jobs.sqlite")
    await store.open()
    job = await store.add(spec(target="abcdef123"))
    await store.change(job.id, state=State.SUBMITTING)
    await store.close()
    became = await become_runner(settings)
    assert became is not None
    lock, services = became
    while (await services.store.get(job.id)).state is State.SUBMITTING:
        await asyncio.sleep(0.005)
    assert (await services.store.get(job.id)).is_stuck
    await services.close()
    lock.release()


@pytest.mark.parametrize("name", ["", "x", "../x", "a b", "demo/", "ab cd", "-abcd", "a" * 65, "äbcde"])
def test_a_name_that_can_be_no_target_is_refused(settings: Settings, name: str) -> None:
    with pytest.raises(BadInput, match="no target"):
        make_target(name, settings)


async def test_the_key_goes_to_the_client_and_nowhere_else(settings: Settings) -> None:
    target = make_target("abcdef123", settings)
    assert isinstance(target, RunPodTarget)
    client = await target.client()
    assert await target.client() is client
    await target.close()
