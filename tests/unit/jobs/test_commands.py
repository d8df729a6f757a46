"""``comfy-runpod jobs remove``, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli import _parser
from app.commands.jobs import jobs
from app.errors import BadInput
from app.jobs.model import Job
from app.jobs.states import State
from app.jobs.store import JobStore
from app.services import become_runner
from app.settings import Settings
from tests.unit.jobs.helpers import spec


@pytest.fixture
async def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out")


async def noted(settings: Settings, *states: State) -> list[Job]:
    store = JobStore(settings.data_dir / "jobs.sqlite")
    await store.open()
    made = [await store.add(spec(target="abcd1234")) for _ in states]
    changed = [await store.change(job.id, state=state) for job, state in zip(made, states, strict=True)]
    await store.close()
    return changed


async def left(settings: Settings) -> list[str]:
    store = JobStore(settings.data_dir / "jobs.sqlite")
    await store.open()
    found = [job.id for job in await store.newest()]
    await store.close()
    return found


@pytest.mark.parametrize("runner", [False, True])
async def test_ended_jobs_are_removed_by_the_beginning_of_their_ids(
    settings: Settings, capsys: pytest.CaptureFixture[str], runner: bool
) -> None:
    one, two, kept = await noted(settings, State.CANCELLED, State.FAILED, State.CANCELLED)
    became = await become_runner(settings) if runner else None
    arguments = _parser().parse_args(["jobs", "remove", one.id[:12], two.id, "--json"])
    assert await jobs(arguments, settings) == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == [one.id, two.id]
    assert await left(settings) == [kept.id]
    if became is not None:
        await became[1].close()
        became[0].release()


async def test_a_job_that_has_not_ended_is_named(settings: Settings) -> None:
    (held,) = await noted(settings, State.ON_HOLD)
    with pytest.raises(BadInput, match=held.id[:8]):
        await jobs(_parser().parse_args(["jobs", "remove", held.id]), settings)
    assert await left(settings) == [held.id]
