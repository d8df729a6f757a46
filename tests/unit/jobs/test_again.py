"""Running a job again, taking jobs off the list, and letting go of a target."""

from __future__ import annotations

import asyncio
import base64
import threading
from pathlib import Path

import pytest

from app.errors import BadInput
from app.jobs.model import Job
from app.jobs.states import Hold, State
from app.workflows.parameters import Expected
from tests.unit.jobs.helpers import Gate, World, cut_after, until


async def ended(world: World, **changes: object) -> Job:
    job_id = await world.submit(**changes)
    world.finish((await world.take())[0])
    return await world.reaches(job_id, State.DONE)


async def test_it_runs_with_the_inputs_that_were_kept(world: World, tmp_path: Path) -> None:
    given = tmp_path / "given.png"
    given.write_bytes(b"as it was")
    job = await ended(world, files={"a.png": str(given)})
    given.write_bytes(b"changed since")
    again = await world.runner.run_again(job.id)
    assert again.id != job.id
    assert (again.retry_of, again.target, again.name) == (job.id, job.target, job.name)
    await world.runner.remove([job.id])
    _, asked = await world.take()
    assert base64.b64decode(asked["images"][0]["image"]) == b"as it was"
    assert asked["client_job_id"] == again.id


async def test_any_ended_job_can_run_elsewhere(world: World) -> None:
    job_id = await world.submit()
    await world.reaches(job_id, State.WAITING)
    await world.runner.cancel(job_id)
    await world.reaches(job_id, State.CANCELLED)
    again = await world.runner.run_again(job_id, "other")
    assert (again.target, again.retry_of) == ("other", job_id)
    world.finish((await world.take())[0])
    await world.reaches(again.id, State.DONE)


async def test_a_retry_names_what_it_repeats(world: World) -> None:
    job = await ended(world)
    assert (await world.runner.retry(job.id)).retry_of == job.id


async def test_what_has_not_ended_is_not_run_again(far: World) -> None:
    job_id = await far.submit()
    await far.reaches(job_id, State.WAITING)
    with pytest.raises(BadInput, match="still waiting"):
        await far.runner.run_again(job_id)
    far.faults["run"] = [cut_after]
    stuck = await far.submit()
    await far.reaches(stuck, State.ON_HOLD)
    assert (await far.job(stuck)).hold is Hold.MAYBE_SENT
    with pytest.raises(BadInput, match="still on_hold"):
        await far.runner.run_again(stuck)


async def test_a_job_whose_inputs_are_gone_is_said_plainly(world: World, tmp_path: Path) -> None:
    given = tmp_path / "given.png"
    given.write_bytes(b"x")
    job = await ended(world, files={"a.png": str(given)})
    (kept,) = (await world.store.spec(job.id)).files.values()
    Path(kept).unlink()
    with pytest.raises(BadInput, match="input file"):
        await world.runner.run_again(job.id)


async def test_a_removed_job_is_gone_with_its_inputs_and_its_results_stay(
    world: World, tmp_path: Path
) -> None:
    given = tmp_path / "given.png"
    given.write_bytes(b"x")
    job = await ended(world, files={"a.png": str(given)})
    other = await ended(world, files={"a.png": str(given)})
    assert [gone.id for gone in await world.runner.remove([job.id])] == [job.id]
    assert [event.job.id for event in world.events if event.removed] == [job.id]
    assert [path.name for path in (world.folder / "inputs").iterdir()] == [other.id]
    assert await world.store.find(job.id) is None
    assert Path(job.outputs[0].path).is_file()
    assert await world.runner.remove([job.id]) == []


async def test_a_job_under_way_is_not_removed(world: World) -> None:
    job = await ended(world)
    running = await world.submit(name="slow")
    with pytest.raises(BadInput, match="slow"):
        await world.runner.remove([job.id, running])
    assert not [event for event in world.events if event.removed]
    assert await world.store.find(job.id) is not None


async def test_inputs_that_a_crash_left_go_at_the_next_start(world: World, tmp_path: Path) -> None:
    given = tmp_path / "given.png"
    given.write_bytes(b"x")
    job = await ended(world, files={"a.png": str(given)})
    stray = world.folder / "inputs" / "0123456789"
    stray.mkdir()
    (stray / "000.png").write_bytes(b"x")
    await world.restart()
    assert [path.name for path in (world.folder / "inputs").iterdir()] == [job.id]


# -- letting go of a target ---------------------------------------------------------------------------


async def test_a_forgotten_target_is_made_anew(world: World) -> None:
    job = await ended(world)
    first = world.targets["local"]
    assert await world.runner.forget_target("local")
    assert await world.runner.forget_target("local")
    assert await world.runner.forget_target("other")
    again = await world.runner.run_again(job.id)
    world.finish((await world.take())[0])
    await world.reaches(again.id, State.DONE)
    assert world.targets["local"] is not first


@pytest.mark.parametrize("sent", [False, True])
async def test_a_target_with_jobs_stays(world: World, sent: bool) -> None:
    gate = Gate()
    world.faults["run"] = [] if sent else [gate]
    job_id = await world.submit()
    if sent:
        await world.reaches(job_id, State.WAITING)
    assert not await world.runner.forget_target("local")
    gate.opened.set()
    world.finish((await world.take())[0])
    await world.reaches(job_id, State.DONE)


async def test_a_job_taken_on_while_its_target_is_let_go_of_runs(world: World) -> None:
    await ended(world)
    letting_go = Gate()
    close = world.targets["local"].close

    async def slowly() -> None:
        letting_go.reached.set()
        await letting_go.opened.wait()
        await close()

    world.targets["local"].close = slowly  # type: ignore[method-assign]
    forgetting = asyncio.create_task(world.runner.forget_target("local"))
    submitting = asyncio.create_task(world.submit())
    await letting_go.reached.wait()
    job_id = await submitting
    await asyncio.sleep(0.03)
    assert (await world.job(job_id)).state is State.PREPARING
    letting_go.opened.set()
    assert await forgetting
    world.finish((await world.take())[0])
    await world.reaches(job_id, State.DONE)


async def test_a_close_with_a_limit_leaves_what_hangs(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await ended(world)
    target = world.targets["local"]
    close = target.close

    async def hangs() -> None:
        await close()
        await asyncio.sleep(3600)

    target.close = hangs  # type: ignore[method-assign]
    begun = asyncio.get_running_loop().time()
    await world.runner.close(limit_s=0.1)
    assert asyncio.get_running_loop().time() - begun < 2
    assert "leave-local did not end in time" in caplog.text
    target.close = close  # type: ignore[method-assign]


async def test_a_mistake_while_closing_is_not_swallowed(world: World) -> None:
    await ended(world)
    target = world.targets["local"]
    close = target.close

    async def mistaken() -> None:
        await close()
        raise ZeroDivisionError("ours")

    target.close = mistaken  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        await world.runner.close()
    target.close = close  # type: ignore[method-assign]
    await until(lambda: world.runner.broken.done())


async def test_what_a_job_will_make_is_found_out_off_the_loop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, bool]] = []

    def expected(prompt: object) -> Expected:
        asked.append((prompt, threading.current_thread() is threading.main_thread()))
        return Expected("image", 4, 896, 1152)

    monkeypatch.setattr("app.jobs.runner.expected", expected)
    job_id = await world.submit()
    assert (await world.job(job_id)).expected == Expected("image", 4, 896, 1152)
    assert asked == [((await world.store.spec(job_id)).prompt, False)]
